//! What `demo` and `load` say at the end: a table for people, one JSON object on the last line of
//! stdout for tools.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use crate::{histogram::Percentiles, shape::Signal, subject::Counts};

/// The figures of one run.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Spans ended: the program's own count, not the exporter's.
    pub emitted: u64,
    /// The exporter's own counts.
    pub counts: Counts,
    /// Unique span ids that the receiver decoded; `None` when the receiver is not ours.
    pub decoded: Option<u64>,
    /// From the first span to the end of the flush.
    pub elapsed: Duration,
    /// CPU time of this process in that time.
    pub cpu: Duration,
    /// Peak resident memory of this process.
    pub rss_mb: f64,
    /// Durations of `on_end`.
    pub on_end_ns: Percentiles,
    /// All signals of a program that has several, traces included.
    pub signals: Vec<SignalSummary>,
}

/// The counts of one signal at both ends.
#[derive(Clone, Debug)]
pub struct SignalSummary {
    /// Which.
    pub signal: Signal,
    /// Records that the program handed to the SDK, by the program's own count.
    pub emitted: u64,
    /// The exporter's own counts.
    pub counts: Counts,
    /// Records that the receiver decoded; `None` when the receiver is not ours. Spans are counted
    /// by unique id. Log records and data points have nothing to tell them apart, so one that
    /// arrived twice would show as a negative loss.
    pub decoded: Option<u64>,
}

impl SignalSummary {
    /// As [`Summary::lost`].
    pub fn lost(&self) -> i64 {
        let received = self.decoded.unwrap_or(self.counts.delivered);
        let known = received + self.counts.rejected + self.counts.dropped;
        self.emitted.wrapping_sub(known).cast_signed()
    }

    fn to_json(&self) -> Value {
        json!({
            "emitted": self.emitted,
            "delivered": self.counts.delivered,
            "decoded": self.decoded,
            "rejected": self.counts.rejected,
            "dropped": self.counts.dropped,
            "lost": self.lost(),
        })
    }
}

impl Summary {
    /// Emitted spans that have no fate: neither received (by unique id; by the exporter's word when
    /// the receiver is not ours), nor rejected, nor dropped. Negative when spans that arrived were
    /// also counted as dropped.
    pub fn lost(&self) -> i64 {
        let received = self.decoded.unwrap_or(self.counts.delivered);
        let known = received + self.counts.rejected + self.counts.dropped;
        self.emitted.wrapping_sub(known).cast_signed()
    }

    /// Whether every record of every signal has a fate.
    pub fn is_complete(&self) -> bool {
        self.lost() == 0 && self.signals.iter().all(|signal| signal.lost() == 0)
    }

    /// Delivered spans a second.
    pub fn spans_per_s(&self) -> f64 {
        per(self.counts.delivered as f64, self.elapsed.as_secs_f64())
    }

    /// CPU seconds of this process for each million of emitted spans.
    pub fn cpu_s_per_million(&self) -> f64 {
        per(self.cpu.as_secs_f64() * 1e6, self.emitted as f64)
    }

    /// The object for tools. Its keys are stable: those of traces, and the same counts of all
    /// signals under `signals` when there are several.
    pub fn to_json(&self) -> Value {
        let mut json = self.traces_to_json();
        if !self.signals.is_empty() {
            let signals = self.signals.iter();
            json["signals"] =
                signals.map(|of| (of.signal.name().to_owned(), of.to_json())).collect();
        }
        json
    }

    fn traces_to_json(&self) -> Value {
        json!({
            "emitted": self.emitted,
            "delivered": self.counts.delivered,
            "decoded": self.decoded,
            "rejected": self.counts.rejected,
            "dropped": self.counts.dropped,
            "lost": self.lost(),
            "spans_per_s": self.spans_per_s().round(),
            "cpu_s_per_million": rounded(self.cpu_s_per_million(), 1000.0),
            "rss_mb": rounded(self.rss_mb, 10.0),
            "driver": self.counts.driver,
            "driver_reason": self.counts.driver_reason,
            "on_end_ns": {
                "mean": rounded(self.on_end_ns.mean, 10.0),
                "p50": self.on_end_ns.p50,
                "p99": self.on_end_ns.p99,
                "p999": self.on_end_ns.p999,
            },
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decoded =
            self.decoded.map_or_else(|| "not known".to_owned(), |spans| spans.to_string());
        let on_end = self.on_end_ns;
        writeln!(f, "  emitted     {:>12}  spans ended by the program", self.emitted)?;
        writeln!(f, "  delivered   {:>12}  acknowledged to the exporter", self.counts.delivered)?;
        writeln!(f, "  decoded     {decoded:>12}  unique ids at the receiver")?;
        writeln!(f, "  rejected    {:>12}  by the receiver", self.counts.rejected)?;
        writeln!(f, "  dropped     {:>12}  by the exporter", self.counts.dropped)?;
        writeln!(f, "  lost        {:>12}  without a trace", self.lost())?;
        for of in self.signals.iter().filter(|of| of.signal != Signal::Traces) {
            let decoded =
                of.decoded.map_or_else(|| "not known".to_owned(), |records| records.to_string());
            writeln!(
                f,
                "  {:<11} {:>12}  {} emitted; delivered {}, decoded {decoded}, rejected {}, \
                 dropped {}, lost {}",
                of.signal,
                of.emitted,
                of.signal.records(),
                of.counts.delivered,
                of.counts.rejected,
                of.counts.dropped,
                of.lost()
            )?;
        }
        writeln!(f, "  rate        {:>12.0}  delivered spans a second", self.spans_per_s())?;
        writeln!(
            f,
            "  cpu         {:>12.2}  seconds for a million spans, whole process",
            self.cpu_s_per_million()
        )?;
        writeln!(f, "  memory      {:>12.1}  MB at its peak, whole process", self.rss_mb)?;
        writeln!(
            f,
            "  on_end      {:>12.0}  ns mean; p50 {}, p99 {}, p99.9 {}",
            on_end.mean, on_end.p50, on_end.p99, on_end.p999
        )?;
        let driver = &self.counts.driver;
        let reason = Some(&self.counts.driver_reason).filter(|reason| !reason.is_empty());
        write!(f, "  driver      {driver:>12}  {}", reason.map_or("", String::as_str))
    }
}

/// `value` rounded to a part of one, for people and for JSON alike.
pub fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// `amount` for each of `units`; 0 when there are none.
fn per(amount: f64, units: f64) -> f64 {
    if units > 0.0 { amount / units } else { 0.0 }
}
