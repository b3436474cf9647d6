//! `spanwire soak`: a steady load while everything goes wrong by turns.
//!
//! ```text
//! this process            ── spanwire ──▶  spanwire proxy ──▶  spanwire sink
//! 50 000 spans/s               │           delays, stalls,     killed, frozen;
//! memory, on_end              stats        resets, answers     its ids outlive it
//! ```
//!
//! A phase has one trouble for half of its time, then none. At its end the producers stop and a flush
//! returns; then the [law](law::Ledger) must hold: every span has one fate, and those that were
//! acknowledged did arrive. Memory must stay within its bound all the time, and must not grow from
//! cycle to cycle. What ending a span took is reported beside what it took in calm phases.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal as SystemSignal, kill},
    unistd::Pid,
};

use self::{law::Ledger, phase::Trouble, report::Phase};
use crate::{
    drive::{self, Plan},
    faults::{Fault, ProxyProcess},
    histogram::Histogram,
    measure,
    receive::Protocol,
    sink::SinkProcess,
    span,
    subject::{self, Settings, Subject, Wire},
    timed::Timings,
};

pub use report::Report;

pub mod law;
pub mod phase;
mod report;

/// The options of `spanwire soak`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// About how long; at least one cycle of all troubles, which is about a minute
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub minutes: u64,
    /// Spans a second
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// How OTLP is carried
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// Chooses the order of troubles and their details; the report names it [default: any]
    #[arg(long)]
    pub seed: Option<u64>,
    /// How long a phase lasts, in milliseconds
    #[arg(long, default_value_t = 3500, value_parser = clap::value_parser!(u64).range(100..))]
    pub phase_ms: u64,
    /// So many cycles of all troubles instead
    #[arg(long, conflicts_with = "minutes", value_parser = clap::value_parser!(u64).range(1..))]
    pub cycles: Option<u64>,
    /// End with one JSON object on the last line of stdout
    #[arg(long)]
    pub json: bool,
}

/// Runs to the end; a line on stderr for each phase.
///
/// # Errors
///
/// When a process cannot be started or is gone; the text tells. A law that does not hold is in the
/// report.
pub fn run(options: &Options) -> Result<Report, String> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut site = Site::open(options)?;
    let mut report = Report::new(options, seed);
    let end = Instant::now() + Duration::from_secs(60 * options.minutes);
    let is_over = |cycles: u64| match options.cycles {
        Some(wanted) => cycles >= wanted,
        None => cycles > 0 && Instant::now() >= end,
    };
    'day: while !is_over(report.cycles) {
        for trouble in phase::cycle(&mut random, options.protocol) {
            // Every trouble came once by then; a second cycle need not be a whole one.
            if report.cycles > 0 && is_over(report.cycles) {
                break 'day;
            }
            let phase = site.phase(trouble)?;
            eprintln!("{}", phase.text());
            report.add(phase);
        }
        report.end_cycle();
    }
    site.subject.shutdown(PATIENCE);
    report.driver = site.subject.peer.counts().driver;
    Ok(report)
}

/// The exporter and everything behind it.
struct Site {
    subject: Subject,
    timings: Timings,
    proxy: ProxyProcess,
    collector: Collector,
    phase: Duration,
    rate: u64,
    /// At the rest before.
    ledger: Ledger,
    /// Whether what was before may still arrive.
    hidden_before: bool,
}

/// A sink that can be killed.
struct Collector {
    program: PathBuf,
    /// `None` while it is dead.
    sink: Option<SinkProcess>,
    address: SocketAddr,
    journal: PathBuf,
}

impl Site {
    fn open(options: &Options) -> Result<Self, String> {
        let collector = Collector::start()?;
        let proxy = ProxyProcess::start(collector.address, Fault::Pass)?;
        let timings = Timings::default();
        let wire = Wire {
            protocol: Some(options.protocol),
            // Shorter than what goes wrong, so that attempts end by it.
            timeout: Some(Duration::from_millis(options.phase_ms / 4)),
            ..Wire::default()
        };
        let endpoint = format!("http://{}", proxy.address());
        let subject = subject::open_spanwire(&Settings {
            wire,
            timings: Some(timings.clone()),
            ..Settings::new(Some(endpoint), span::resource())
        })?;
        Ok(Self {
            subject,
            timings,
            proxy,
            collector,
            phase: Duration::from_millis(options.phase_ms),
            rate: options.rate,
            ledger: Ledger::default(),
            hidden_before: false,
        })
    }

    /// One trouble from its begin to the rest after it.
    fn phase(&mut self, trouble: Trouble) -> Result<Phase, String> {
        let (start, before) = (Instant::now(), self.ledger);
        let plan =
            Plan { period: Some(self.phase), threads: 2, rate: Some(self.rate), ..Plan::default() };
        let (proxy, collector, phase) = (&mut self.proxy, &mut self.collector, self.phase);
        let (emitted, troubled, peak_rss_mb) = thread::scope(|scope| {
            let troubled = scope.spawn(move || make(trouble, proxy, collector, phase));
            let (end, ended) = std::sync::mpsc::channel::<()>();
            let memory = scope.spawn(move || peak_rss_mb(&ended));
            let emitted = drive::drive(&self.subject, &plan).records;
            let troubled = troubled.join().unwrap_or_else(|_| Err("a bug in the soak".into()));
            drop(end);
            (emitted, troubled, memory.join().unwrap_or(f64::INFINITY))
        });
        troubled?;
        let flush = Instant::now();
        // What was dropped makes it fail, and is counted.
        let _ = self.subject.peer.flush(PATIENCE);
        let flush = flush.elapsed();
        self.ledger = self.at_rest(before.emitted + emitted)?;
        let hides = trouble.hides_outcomes();
        let known = !hides && !self.hidden_before;
        self.hidden_before = hides;
        let on_end: Histogram = self.timings.take();
        Ok(Phase {
            trouble,
            seconds: start.elapsed().as_secs_f64(),
            flush_ms: flush.as_secs_f64() * 1e3,
            before,
            after: self.ledger,
            violations: self.ledger.violations(&before, known),
            peak_rss_mb: peak_rss_mb.max(measure::rss_mb()),
            rss_mb: measure::rss_mb(),
            on_end,
        })
    }

    fn at_rest(&mut self, emitted: u64) -> Result<Ledger, String> {
        // What a stall held may arrive only now, long after the exporter gave it up.
        while self.proxy.status()?["queued"].as_u64() > Some(0) {
            thread::sleep(LOOK_EVERY);
        }
        let received = self.collector.alive()?.count()?.traces;
        let counts = self.subject.peer.counts();
        Ok(Ledger {
            emitted,
            accepted: counts.emitted,
            delivered: counts.delivered,
            rejected: counts.rejected,
            dropped: counts.dropped,
            in_flight: counts.in_flight,
            records: received.records,
            unique: received.unique,
        })
    }
}

/// Lets one thing go wrong in the first half of a phase, from its tenth on.
fn make(
    trouble: Trouble,
    proxy: &mut ProxyProcess,
    collector: &mut Collector,
    phase: Duration,
) -> Result<(), String> {
    thread::sleep(phase / 10);
    match trouble {
        Trouble::Wire(fault) => drop(proxy.set(fault)?),
        Trouble::Killed => collector.kill(),
        Trouble::Frozen => collector.signal(SystemSignal::SIGSTOP)?,
    }
    thread::sleep(phase / 2);
    match trouble {
        Trouble::Wire(_) => drop(proxy.set(Fault::Pass)?),
        Trouble::Killed => collector.revive()?,
        Trouble::Frozen => collector.signal(SystemSignal::SIGCONT)?,
    }
    Ok(())
}

/// The greatest resident memory of this process until the end.
fn peak_rss_mb(ended: &std::sync::mpsc::Receiver<()>) -> f64 {
    let mut peak = measure::rss_mb();
    while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_EVERY) {
        peak = peak.max(measure::rss_mb());
    }
    peak
}

impl Collector {
    fn start() -> Result<Self, String> {
        let program = env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
        let journal = env::temp_dir().join(format!("spanwire-soak-{}.ids", std::process::id()));
        // One of another process with this number; it would count as received.
        let _ = fs::remove_file(&journal);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let sink = start_sink(&program, any, &journal)?;
        let address = sink.endpoint().trim_start_matches("http://");
        let address = address.parse().map_err(|_| format!("{address:?} is not an address"))?;
        Ok(Self { program, sink: Some(sink), address, journal })
    }

    fn alive(&mut self) -> Result<&mut SinkProcess, String> {
        self.sink.as_mut().ok_or_else(|| "the collector is dead".to_owned())
    }

    /// As a machine's owner would: by SIGKILL.
    fn kill(&mut self) {
        self.sink = None;
    }

    fn revive(&mut self) -> Result<(), String> {
        self.sink = Some(start_sink(&self.program, self.address, &self.journal)?);
        Ok(())
    }

    fn signal(&mut self, signal: SystemSignal) -> Result<(), String> {
        let process = Pid::from_raw(self.alive()?.id().cast_signed());
        kill(process, signal).map_err(|error| format!("cannot send {signal}: {error}"))
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.sink = None;
        // It may not have been written to.
        let _ = fs::remove_file(&self.journal);
    }
}

fn start_sink(program: &Path, listen: SocketAddr, journal: &Path) -> Result<SinkProcess, String> {
    let journal = journal.to_str().ok_or("the temporary directory's name is not text")?;
    SinkProcess::start_at(program, listen, &["--journal", journal])
}

/// How long a flush may take; a retry after the last trouble comes much sooner.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
