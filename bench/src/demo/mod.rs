//! `spanwire demo`: a real HTTP service, driven by real requests, whose traces, logs and metrics
//! travel through spanwire to a real collector.
//!
//! ```text
//! this thread       clients  ──HTTP──▶  service        one request: 4.4 spans on average
//!                      └── spans ──┐       └── spans, log records, points ──┐
//! exporter's thread                └──▶ spanwire ◀──────────────────────────┘
//! collector's thread                         └────OTLP────▶ collector (decodes with prost)
//! ```
//!
//! Service and clients run on tokio threads of their own; spanwire uses neither.

use std::{
    env, fmt,
    io::{self, IsTerminal as _},
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use opentelemetry_sdk::Resource;

use crate::{
    collector::Collector,
    measure,
    receive::Protocol,
    report::{SignalSummary, Summary},
    shape::Signal,
    subject::{self, Peer as _, Settings, Telemetry, Wire},
    tally::Received,
    timed::Timings,
    waterfall::{self, Style, Trace},
};

mod client;
mod pace;
mod progress;
mod service;
mod shop;

use pace::Pace;
use shop::Shop;

/// The options of `spanwire demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// HTTP requests to drive through the service
    #[arg(long, default_value_t = 60_000)]
    pub requests: u64,
    /// Connections that drive the service at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Threads of the exporter's runtime
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub workers: u8,
    /// How OTLP is carried [default: http, or what the environment says if it has an endpoint]
    #[arg(long, value_enum)]
    pub protocol: Option<Protocol>,
    /// End with one JSON object on the last line of stdout
    #[arg(long)]
    pub json: bool,
    /// No progress lines on stderr
    #[arg(long)]
    pub quiet: bool,
}

/// What a demonstration ends with.
#[derive(Clone, Debug)]
pub struct Demonstration {
    /// The figures.
    pub summary: Summary,
    /// One of the traces that the embedded collector received.
    pub trace: Option<Trace>,
}

impl fmt::Display for Demonstration {
    /// The trace first, as wide as the terminal, so that the figures are the last to be seen.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(trace) = &self.trace {
            writeln!(f, "{}", waterfall::draw(trace, style()))?;
        }
        self.summary.fmt(f)
    }
}

/// Runs the demonstration to its end.
///
/// # Errors
///
/// When the exporter, the service or the collector cannot be started, or the service fails; the
/// text tells.
pub fn run(options: &Options) -> Result<Demonstration, String> {
    let elsewhere = signals_with_an_endpoint();
    let collector = if elsewhere.is_empty() { Some(Collector::start()?) } else { None };
    let signals = if elsewhere.is_empty() { Signal::ALL.to_vec() } else { elsewhere };
    let timings = Timings::default();
    let resource = Resource::builder().with_service_name("spanwire-demo").build();
    let protocol = options.protocol.unwrap_or_default();
    let endpoint = collector.as_ref().map(|collector| collector.endpoint_of(protocol));
    let settings = Settings {
        timings: Some(timings.clone()),
        workers: options.workers.into(),
        wire: Wire {
            protocol: options.protocol.or_else(|| collector.as_ref().map(|_| protocol)),
            ..Wire::default()
        },
        ..Settings::new(endpoint, resource)
    };
    let telemetry = Telemetry::open(&settings, &signals, COLLECT_EVERY)?;
    let (mut summary, patience) = measured(&telemetry, options, collector.as_ref(), &timings)?;
    subject::patience_after(telemetry.shutdown(patience), patience);
    let (received, trace) = collector.map(Collector::finish_with_trace).unzip();
    summary.counts = telemetry.counts_of(Signal::Traces);
    summary.decoded = received.map(|received| received.traces.unique);
    summary.signals = signals
        .into_iter()
        .map(|signal| of_signal(signal, &telemetry, summary.emitted, received.as_ref()))
        .collect();
    Ok(Demonstration { summary, trace: trace.flatten() })
}

/// As the terminal is; elsewhere of a usual width and without colours.
fn style() -> Style {
    let is_terminal = io::stdout().is_terminal();
    let columns = measure::terminal_columns().filter(|_| is_terminal);
    // https://no-color.org
    let color = is_terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Style { width: columns.unwrap_or(COLUMNS).clamp(60, 160), color }
}

/// The counts at both ends, after everything has ended.
fn of_signal(
    signal: Signal,
    telemetry: &Telemetry,
    spans: u64,
    received: Option<&Received>,
) -> SignalSummary {
    let (emitted, decoded) = match signal {
        Signal::Traces => (spans, received.map(|received| received.traces.unique)),
        Signal::Logs => (telemetry.log_records(), received.map(|received| received.logs.records)),
        Signal::Metrics => (telemetry.points(), received.map(|received| received.metrics.records)),
    };
    SignalSummary { signal, emitted, counts: telemetry.counts_of(signal), decoded }
}

/// Those that the environment has an endpoint for. The OpenTelemetry specification treats an empty
/// variable as unset.
fn signals_with_an_endpoint() -> Vec<Signal> {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let all = is_set("OTEL_EXPORTER_OTLP_ENDPOINT");
    let own = |signal: &Signal| {
        let name = signal.name().to_uppercase();
        all || is_set(&format!("OTEL_EXPORTER_OTLP_{name}_ENDPOINT"))
    };
    Signal::ALL.into_iter().filter(own).collect()
}

/// The figures, and how long the end may take.
fn measured(
    telemetry: &Telemetry,
    options: &Options,
    collector: Option<&Collector>,
    timings: &Timings,
) -> Result<(Summary, Duration), String> {
    let served = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), measure::process_cpu());
    let watched = progress::Watched { served: &served, options, telemetry, collector, timings };
    progress::during(&watched, || drive(telemetry, options, Arc::clone(&served)))?;
    let patience = subject::patience_after(telemetry.flush(PATIENCE), PATIENCE);
    let summary = Summary {
        // What the timed processor saw end: the program's count, before any exporter's.
        emitted: timings.count(),
        elapsed: start.elapsed(),
        cpu: measure::process_cpu() - cpu,
        rss_mb: measure::peak_rss_mb(),
        on_end_ns: timings.percentiles(),
        ..Summary::default()
    };
    Ok((summary, patience))
}

/// Starts the service, sends all requests, stops the service.
fn drive(telemetry: &Telemetry, options: &Options, served: Arc<AtomicU64>) -> Result<(), String> {
    let traces = telemetry.traces();
    let shop = Shop::new(&traces, &telemetry.logs(), &telemetry.metrics());
    let service = service::Service::start(shop)?;
    let pace = Pace::new(telemetry.backlog());
    let answered = client::drive(&traces, service.address(), options, served, pace);
    service.stop();
    answered
}

/// Often enough that a short demonstration has several collections.
const COLLECT_EVERY: Duration = Duration::from_millis(200);
/// Of a screen that nobody tells about.
const COLUMNS: usize = 100;
/// How long flush and shutdown may take.
const PATIENCE: Duration = Duration::from_secs(10);
