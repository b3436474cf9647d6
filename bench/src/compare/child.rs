//! One run of one row, in this process.
//!
//! A warm-up first: connections, thread-locals, pools and branch predictors. Then the measured
//! part, from the first record until the flush has returned:
//!
//! - `delivered_per_s`: delivered records by that time.
//! - `cpu_s_per_million`: getrusage of the whole process: producers with the SDK's own work, and
//!   the exporter. Looking at the pace and sleeping is in it, the same for all.
//! - `machine_s_per_million`: what all cores were busy with (/proc/stat) but for the sink's own
//!   time: the same from outside, with the kernel's work that no process is charged for, and with
//!   whatever else ran on the machine.
//! - `sink_s_per_million`: the sink's own time.
//! - `app_ns_per_span`: CPU time of the producing threads by their own clocks, pauses not included.
//! - `rss_mb`: the peak of the whole process, warm-up included.
//! - `exporter_cpu_percent`: CPU time of all threads but the producing ones, in percent of one core.
//! - `export_p50_ms`, `export_p99_ms`: from the batch that was cut to its answer, retries included;
//!   warm-up and connecting included. Of exporters that tell.
//! - `wire_bytes_per_span`, `compression_ratio`: of the bodies that the sink received.

use std::{
    fmt,
    path::PathBuf,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::number;
use crate::{
    drive::{self, Emitted, Plan},
    measure,
    receive::{Protocol, encoding::Encoding},
    report,
    shape::{Shape, Signal},
    span,
    subject::{self, Kind, Settings, Subject, Wire, ready},
};

/// The options of the hidden subcommand `compare-child`.
#[derive(Clone, Debug, clap::Args)]
pub struct ChildOptions {
    /// The peer to measure.
    #[arg(long)]
    pub peer: Kind,
    /// What it exports.
    #[arg(long, value_enum, default_value_t)]
    pub signal: Signal,
    /// How large a record is.
    #[arg(long, value_enum, default_value_t)]
    pub shape: Shape,
    /// Base URL of the receiver.
    #[arg(long)]
    pub endpoint: String,
    /// How OTLP is carried.
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// How bodies are compressed.
    #[arg(long, value_enum, default_value_t)]
    pub compression: Encoding,
    /// The certificate of the authority to trust.
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// Requests in flight at once; 0 is the exporter's default.
    #[arg(long, default_value_t = 0)]
    pub in_flight: usize,
    /// The buffer of exporters that count it in bytes.
    #[arg(long)]
    pub buffer_bytes: Option<usize>,
    /// The process of the receiver, whose CPU time is subtracted from the machine's.
    #[arg(long)]
    pub sink: Option<u32>,
    /// Records of the measured part.
    #[arg(long)]
    pub spans: u64,
    /// Records before it.
    #[arg(long, default_value_t = 0)]
    pub warm_up: u64,
    /// Producer threads.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Records a second.
    #[arg(long)]
    pub rate: Option<u64>,
    /// The limit of the closed loop; 0 is none, and leaves queues at their defaults.
    #[arg(long, default_value_t = 0)]
    pub outstanding: u64,
    /// Emits for this many seconds instead, and watches the memory.
    #[arg(long)]
    pub flood: Option<u64>,
}

/// What one run measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Delivered records a second; for the peer that drops everything, dropped ones.
    pub delivered_per_s: f64,
    /// CPU seconds of the process for a million records.
    pub cpu_s_per_million: f64,
    /// Seconds that the machine was busy for a million records, without the sink.
    pub machine_s_per_million: f64,
    /// CPU seconds of the sink for a million records.
    pub sink_s_per_million: f64,
    /// Peak resident memory in MB.
    pub rss_mb: f64,
    /// CPU time of the producing threads for one record, in nanoseconds.
    pub app_ns_per_span: f64,
    /// CPU time of all threads but the producing ones, in percent of one core.
    pub exporter_cpu_percent: f64,
    /// The median of how long exports took, in milliseconds; 0 of a peer that does not tell.
    pub export_p50_ms: f64,
    /// 99 % of the exports took no longer.
    pub export_p99_ms: f64,
    /// Bytes of request bodies for one record, as they were sent; filled in by the parent.
    pub wire_bytes_per_span: f64,
    /// How many times larger the bodies are without their compression; filled in by the parent.
    pub compression_ratio: f64,
    /// Records emitted, warm-up included.
    pub emitted: u64,
    /// Records that the peer says were rejected or dropped, warm-up included.
    pub refused: u64,
    /// What moved the bytes.
    pub driver: String,
}

/// Runs one row.
///
/// # Errors
///
/// When the peer cannot be opened or does not flush; the text tells.
pub fn run(options: &ChildOptions) -> Result<Row, String> {
    let subject = open(options)?;
    let outstanding = outstanding(options);
    let plan = |records, rate| Plan {
        records,
        rate,
        outstanding,
        threads: options.threads,
        ..Plan::default()
    };
    let warm_up = drive::drive(&subject, &plan(options.warm_up, None));
    subject.peer.flush(PATIENCE)?;
    let settled = subject.peer.settled();
    let used = Used::so_far(options.sink);
    let emitted = drive::drive(&subject, &plan(options.spans, options.rate));
    subject.peer.flush(PATIENCE)?;
    let used = Used::so_far(options.sink).since(&used, &emitted);
    let settled = subject.peer.settled() - settled;
    subject.peer.shutdown(PATIENCE)?;
    let counts = subject.peer.counts();
    let exports = subject.peer.exports().unwrap_or_default();
    Ok(Row {
        export_p50_ms: exports.p50.as_secs_f64() * 1e3,
        export_p99_ms: exports.p99.as_secs_f64() * 1e3,
        emitted: warm_up.records + emitted.records,
        refused: counts.rejected + counts.dropped,
        driver: counts.driver,
        ..used.row(settled, &emitted)
    })
}

/// Opens the peer of the options.
///
/// # Errors
///
/// With a text that begins with [`CANNOT_OPEN`].
pub(super) fn open(options: &ChildOptions) -> Result<Subject, String> {
    let settings = Settings {
        outstanding: options.outstanding,
        buffer_bytes: options.buffer_bytes,
        signal: options.signal,
        shape: options.shape,
        wire: Wire {
            protocol: Some(options.protocol),
            encoding: options.compression,
            level: level(options.compression),
            ca: options.ca.clone(),
            in_flight: options.in_flight,
            ..Wire::default()
        },
        ..Settings::new(Some(options.endpoint.clone()), span::resource())
    };
    subject::open(options.peer, &settings).map_err(|error| format!("{CANNOT_OPEN}{error}"))
}

/// The levels that opentelemetry-otlp and tonic have built in: flate2's default, and zstd's.
pub(super) fn level(encoding: Encoding) -> Option<u8> {
    match encoding {
        Encoding::None => None,
        Encoding::Gzip => Some(6),
        Encoding::Zstd => Some(3),
    }
}

/// Several batches are outstanding, so that a peer with large ones is not starved. A collection of
/// metrics is over when it was exported.
fn outstanding(options: &ChildOptions) -> Option<u64> {
    if options.outstanding == 0 || options.signal == Signal::Metrics {
        return None;
    }
    let batch = match options.signal {
        Signal::Traces => options.peer.batch(ready::span_bytes(options.shape)),
        Signal::Logs | Signal::Metrics => None,
    };
    let several = options.outstanding.max(4 * batch.unwrap_or(0) as u64);
    Some(several.min(options.peer.outstanding_max()))
}

/// What was used by a moment, or between two.
struct Used {
    clock: Instant,
    elapsed: Duration,
    process: Duration,
    machine: Duration,
    sink: Duration,
}

impl Used {
    fn so_far(sink: Option<u32>) -> Self {
        Self {
            clock: Instant::now(),
            elapsed: Duration::ZERO,
            process: measure::process_cpu(),
            machine: measure::machine_busy(),
            sink: sink.map_or(Duration::ZERO, measure::cpu_of),
        }
    }

    /// From `before` until now, without what the producers set aside.
    fn since(&self, before: &Self, emitted: &Emitted) -> Self {
        let aside = emitted.aside;
        let without =
            |now: Duration, then: Duration, aside| now.saturating_sub(then).saturating_sub(aside);
        Self {
            clock: self.clock,
            elapsed: (self.clock - before.clock).saturating_sub(aside.elapsed),
            process: without(self.process, before.process, aside.cpu),
            machine: without(self.machine, before.machine, aside.cpu),
            sink: without(self.sink, before.sink, Duration::ZERO),
        }
    }

    /// The figures of `settled` records; counts are left to the caller.
    fn row(&self, settled: u64, emitted: &Emitted) -> Row {
        let records = emitted.records.max(1) as f64;
        let per_million = |time: Duration| time.as_secs_f64() * 1e6 / records;
        let app = emitted.app_cpu.saturating_sub(emitted.aside.cpu);
        let others = self.process.saturating_sub(app + emitted.paused_cpu);
        Row {
            delivered_per_s: settled as f64 / self.elapsed.as_secs_f64(),
            cpu_s_per_million: per_million(self.process),
            machine_s_per_million: per_million(self.machine.saturating_sub(self.sink)),
            sink_s_per_million: per_million(self.sink),
            rss_mb: measure::peak_rss_mb(),
            app_ns_per_span: app.as_secs_f64() * 1e9 / records,
            exporter_cpu_percent: others.as_secs_f64() * 100.0 / self.elapsed.as_secs_f64(),
            ..Row::default()
        }
    }
}

impl Row {
    /// The line that the parent reads.
    pub fn to_json(&self) -> Value {
        json!({
            "delivered_per_s": self.delivered_per_s,
            "cpu_s_per_million": self.cpu_s_per_million,
            "machine_s_per_million": self.machine_s_per_million,
            "sink_s_per_million": self.sink_s_per_million,
            "rss_mb": self.rss_mb,
            "app_ns_per_span": self.app_ns_per_span,
            "exporter_cpu_percent": self.exporter_cpu_percent,
            "export_p50_ms": self.export_p50_ms,
            "export_p99_ms": self.export_p99_ms,
            "emitted": self.emitted,
            "refused": self.refused,
            "driver": self.driver,
        })
    }

    /// Reads what `to_json` wrote.
    ///
    /// # Errors
    ///
    /// When `line` is not JSON or lacks one of the keys; the text names which.
    pub fn from_json(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line)
            .map_err(|error| format!("a row is not JSON ({error}): {line:?}"))?;
        Ok(Self {
            delivered_per_s: number(&value, "delivered_per_s")?,
            cpu_s_per_million: number(&value, "cpu_s_per_million")?,
            machine_s_per_million: number(&value, "machine_s_per_million")?,
            sink_s_per_million: number(&value, "sink_s_per_million")?,
            rss_mb: number(&value, "rss_mb")?,
            app_ns_per_span: number(&value, "app_ns_per_span")?,
            exporter_cpu_percent: number(&value, "exporter_cpu_percent")?,
            export_p50_ms: number(&value, "export_p50_ms")?,
            export_p99_ms: number(&value, "export_p99_ms")?,
            wire_bytes_per_span: 0.0,
            compression_ratio: 0.0,
            emitted: number(&value, "emitted")? as u64,
            refused: number(&value, "refused")? as u64,
            driver: value["driver"].as_str().unwrap_or_default().to_owned(),
        })
    }
}

impl fmt::Display for Row {
    /// Rounded, for one line on stderr.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>9.0}/s  {:>6} CPU s per 1M  {:>6.1} MB  {:>5.0} ns each",
            self.delivered_per_s,
            report::rounded(self.cpu_s_per_million, 1000.0),
            self.rss_mb,
            self.app_ns_per_span
        )
    }
}

/// What the parent knows a peer by that cannot even start here, as opposed to one that fails at its
/// work.
pub(super) const CANNOT_OPEN: &str = "cannot start: ";
/// How long flush and shutdown may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
