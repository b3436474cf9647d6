//! `spanwire load`: synthetic spans from a number of threads through spanwire, to an endpoint or to
//! a sink that it starts.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    drive::{self, Emitted, Plan},
    measure,
    report::Summary,
    shape::{Shape, Signal},
    sink::SinkProcess,
    span,
    subject::{self, Settings, Subject, Wire},
    tally,
    timed::Timings,
};

/// The options of `spanwire load`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Spans to emit, all threads together
    #[arg(long, default_value_t = 1_000_000)]
    pub spans: u64,
    /// Producer threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// Spans a second, all threads together [default: flat out, what the exporter cannot take is
    /// dropped and counted]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: Option<u64>,
    /// Pause while more spans than this are outstanding, so that nothing needs to be dropped
    #[arg(long, value_name = "SPANS", value_parser = clap::value_parser!(u64).range(1..))]
    pub outstanding: Option<u64>,
    /// Base URL of a receiver [default: a sink in a process of its own]
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// Write the id of every span emitted here, ascending, one in hex a line
    #[arg(long, value_name = "FILE")]
    pub ids: Option<PathBuf>,
    /// Afterwards stay idle for this many seconds and name the threads that woke up, on stderr
    #[arg(long, value_name = "SECONDS")]
    pub idle: Option<u64>,
    /// Threads of the exporter's runtime
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub workers: u8,
    /// End with one JSON object on the last line of stdout
    #[arg(long)]
    pub json: bool,
}

/// Runs the load to its end; returns the summary.
///
/// # Errors
///
/// When the exporter or the sink cannot be started, or a file cannot be written; the text tells.
pub fn run(options: &Options) -> Result<Summary, String> {
    let mut sink = None;
    if options.endpoint.is_none() {
        sink = Some(SinkProcess::start(None)?);
    }
    let timings = Timings::default();
    let subject = subject::open_spanwire(&Settings {
        endpoint: options
            .endpoint
            .clone()
            .or_else(|| sink.as_ref().map(|s| s.endpoint().to_owned())),
        resource: span::resource(),
        timings: Some(timings.clone()),
        workers: options.workers.into(),
        outstanding: options.outstanding.unwrap_or(0),
        buffer_bytes: None,
        signal: Signal::Traces,
        shape: Shape::Typical,
        wire: Wire::default(),
    })?;
    let (mut summary, emitted, patience) = measured(&subject, &plan(options));
    if let Some(seconds) = options.idle {
        idle(Duration::from_secs(seconds));
    }
    subject.shutdown(patience);
    summary.counts = subject.peer.counts();
    summary.on_end_ns = timings.percentiles();
    summary.decoded = sink.map(SinkProcess::finish).transpose()?.map(|counts| counts.traces.unique);
    write_ids(options, emitted)?;
    Ok(summary)
}

fn plan(options: &Options) -> Plan {
    Plan {
        records: options.spans,
        period: None,
        threads: usize::from(options.threads),
        rate: options.rate,
        outstanding: options.outstanding,
        keep_ids: options.ids.is_some(),
    }
}

/// The figures, the ids, and how long the end may take.
fn measured(subject: &Subject, plan: &Plan) -> (Summary, Emitted, Duration) {
    let (start, cpu) = (Instant::now(), measure::process_cpu());
    let emitted = drive::drive(subject, plan);
    let patience = subject.flush(PATIENCE);
    let summary = Summary {
        emitted: emitted.records,
        elapsed: start.elapsed(),
        cpu: measure::process_cpu() - cpu,
        rss_mb: measure::peak_rss_mb(),
        ..Summary::default()
    };
    (summary, emitted, patience)
}

/// Tells which threads of this process gave up the processor, and got it again, within `period`.
fn idle(period: Duration) {
    // The first empty interval may still end a batch by its age.
    thread::sleep(SETTLE);
    let before = measure::threads();
    thread::sleep(period);
    let after = measure::threads();
    eprintln!("voluntary context switches in {period:?} of idleness:");
    for thread in after {
        let earlier = before.iter().find(|earlier| earlier.id == thread.id);
        let earlier = earlier.map_or(0, |earlier| earlier.voluntary_switches);
        let main =
            if thread.id == std::process::id() { " (this one, asleep until now)" } else { "" };
        eprintln!("  {:<16} {}{main}", thread.name, thread.voluntary_switches - earlier);
    }
}

fn write_ids(options: &Options, mut emitted: Emitted) -> Result<(), String> {
    let Some(path) = &options.ids else {
        return Ok(());
    };
    emitted.ids.sort_unstable();
    tally::write_ids(path, &emitted.ids)
        .map_err(|error| format!("cannot write the span ids to {}: {error}", path.display()))
}

/// How long flush and shutdown may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than two default age intervals (1 s): what remains after it is idleness.
const SETTLE: Duration = Duration::from_secs(3);
