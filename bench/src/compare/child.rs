//! One run of one row, in this process.
//!
//! A warm-up first: connections, thread-locals, pools and branch predictors. Then the measured
//! part, from the first span until the flush has returned:
//!
//! - `delivered_per_s`: delivered spans by that time.
//! - `cpu_s_per_million`: getrusage of the whole process: producers with the SDK's own work, and
//!   the exporter. Looking at the pace and sleeping is in it, the same for all.
//! - `app_ns_per_span`: CPU time of the producing threads by their own clocks, pauses not included.
//! - `rss_mb`: the peak of the whole process, warm-up included.

use std::{
    fmt,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::number;
use crate::{
    drive::{self, Plan},
    measure, report, span,
    subject::{Kind, Settings, Subject},
};

/// The options of the hidden subcommand `compare-child`.
#[derive(Clone, Debug, clap::Args)]
pub struct ChildOptions {
    /// The peer to measure.
    #[arg(long)]
    pub peer: Kind,
    /// Base URL of the receiver.
    #[arg(long)]
    pub endpoint: String,
    /// Spans of the measured part.
    #[arg(long)]
    pub spans: u64,
    /// Spans before it.
    #[arg(long, default_value_t = 0)]
    pub warm_up: u64,
    /// Producer threads.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Spans a second.
    #[arg(long)]
    pub rate: Option<u64>,
    /// The limit of the closed loop.
    #[arg(long)]
    pub outstanding: u64,
}

/// What one run measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Delivered spans a second; for the peer that drops everything, dropped ones.
    pub delivered_per_s: f64,
    /// CPU seconds of the process for a million spans.
    pub cpu_s_per_million: f64,
    /// Peak resident memory in MB.
    pub rss_mb: f64,
    /// CPU time of the producing threads for one span, in nanoseconds.
    pub app_ns_per_span: f64,
    /// Spans ended, warm-up included.
    pub emitted: u64,
    /// Spans that the peer says were rejected or dropped, warm-up included.
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
    let warm_up = drive::drive(&subject, &plan(options, options.warm_up, None));
    flush(&subject)?;
    let settled_before = subject.peer.settled();
    let (start, cpu) = (Instant::now(), measure::process_cpu());
    let emitted = drive::drive(&subject, &plan(options, options.spans, options.rate));
    flush(&subject)?;
    let (elapsed, cpu) = (start.elapsed(), measure::process_cpu() - cpu);
    let settled = subject.peer.settled() - settled_before;
    subject.peer.shutdown(&subject.provider, PATIENCE)?;
    let counts = subject.peer.counts();
    let spans = options.spans.max(1) as f64;
    Ok(Row {
        delivered_per_s: settled as f64 / elapsed.as_secs_f64(),
        cpu_s_per_million: cpu.as_secs_f64() * 1e6 / spans,
        rss_mb: measure::peak_rss_mb(),
        app_ns_per_span: emitted.app_cpu.as_secs_f64() * 1e9 / spans,
        emitted: warm_up.spans + emitted.spans,
        refused: counts.rejected + counts.dropped,
        driver: counts.driver,
    })
}

fn open(options: &ChildOptions) -> Result<Subject, String> {
    let opened = options.peer.open(&Settings {
        endpoint: Some(options.endpoint.clone()),
        resource: span::resource(),
        timings: None,
        workers: 1,
        outstanding: options.outstanding,
    });
    opened.map_err(|error| format!("{CANNOT_OPEN}{error}"))
}

fn plan(options: &ChildOptions, spans: u64, rate: Option<u64>) -> Plan {
    let (threads, outstanding) = (options.threads, Some(options.outstanding));
    Plan { spans, threads, rate, outstanding, keep_ids: false }
}

fn flush(subject: &Subject) -> Result<(), String> {
    subject.peer.flush(&subject.provider, PATIENCE)
}

impl Row {
    /// The line that the parent reads.
    pub fn to_json(&self) -> Value {
        json!({
            "delivered_per_s": self.delivered_per_s,
            "cpu_s_per_million": self.cpu_s_per_million,
            "rss_mb": self.rss_mb,
            "app_ns_per_span": self.app_ns_per_span,
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
            rss_mb: number(&value, "rss_mb")?,
            app_ns_per_span: number(&value, "app_ns_per_span")?,
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
            "{:>9.0} spans/s  {:>6} CPU s per 1M  {:>6.1} MB  {:>5.0} ns/span",
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
const PATIENCE: Duration = Duration::from_secs(30);
