//! What a soak says at the end.

use std::fmt;

use serde_json::{Value, json};

use super::{Options, law::Ledger, phase::Trouble};
use crate::{histogram::Histogram, measure, receive::Protocol, report::rounded};

/// One trouble, and what came of it.
pub(super) struct Phase {
    pub(super) trouble: Trouble,
    pub(super) seconds: f64,
    pub(super) flush_ms: f64,
    pub(super) before: Ledger,
    pub(super) after: Ledger,
    pub(super) violations: Vec<String>,
    pub(super) peak_rss_mb: f64,
    pub(super) rss_mb: f64,
    pub(super) on_end: Histogram,
}

/// Everything that happened.
pub struct Report {
    minutes: u64,
    rate: u64,
    protocol: Protocol,
    seed: u64,
    /// Cycles that have ended.
    pub(super) cycles: u64,
    pub(super) driver: String,
    phases: Vec<Value>,
    last: Ledger,
    violations: Vec<String>,
    /// After the first calm phase.
    base_rss_mb: Option<f64>,
    peak_rss_mb: f64,
    rss_mb: f64,
    /// At the end of each cycle.
    rests: Vec<f64>,
    calm: Histogram,
    troubled: Histogram,
}

impl Phase {
    /// A line for people.
    pub(super) fn text(&self) -> String {
        let of = self.delta();
        let on_end = self.on_end.percentiles();
        let mut text = format!(
            "{:<26} {:>5.1} s {:>8} emitted {:>8} delivered {:>7} dropped {:>6} twice  \
             flush {:>6.0} ms  {:>5.1} MB  on_end p99.9 {:>6} ns",
            self.trouble.to_string(),
            self.seconds,
            of.emitted,
            of.delivered,
            of.dropped,
            of.records - of.unique,
            self.flush_ms,
            self.peak_rss_mb,
            on_end.p999
        );
        for violation in &self.violations {
            text += &format!("\n  VIOLATED: {violation}");
        }
        text
    }

    /// What this phase added.
    fn delta(&self) -> Ledger {
        let (after, before) = (&self.after, &self.before);
        Ledger {
            emitted: after.emitted - before.emitted,
            accepted: after.accepted.saturating_sub(before.accepted),
            delivered: after.delivered.saturating_sub(before.delivered),
            rejected: after.rejected.saturating_sub(before.rejected),
            dropped: after.dropped.saturating_sub(before.dropped),
            in_flight: after.in_flight,
            records: after.records.saturating_sub(before.records),
            unique: after.unique.saturating_sub(before.unique),
        }
    }

    fn to_json(&self) -> Value {
        let of = self.delta();
        let on_end = self.on_end.percentiles();
        json!({
            "trouble": self.trouble.to_string(),
            "seconds": rounded(self.seconds, 100.0),
            "flush_ms": self.flush_ms.round(),
            "emitted": of.emitted,
            "delivered": of.delivered,
            "rejected": of.rejected,
            "dropped": of.dropped,
            "received": of.unique,
            "duplicates": of.records - of.unique.min(of.records),
            "rss_mb": rounded(self.rss_mb, 10.0),
            "peak_rss_mb": rounded(self.peak_rss_mb, 10.0),
            "on_end_ns": { "p50": on_end.p50, "p99": on_end.p99, "p999": on_end.p999 },
            "violations": self.violations,
        })
    }
}

impl Report {
    pub(super) fn new(options: &Options, seed: u64) -> Self {
        Self {
            minutes: options.minutes,
            rate: options.rate,
            protocol: options.protocol,
            seed,
            cycles: 0,
            driver: String::new(),
            phases: Vec::new(),
            last: Ledger::default(),
            violations: Vec::new(),
            base_rss_mb: None,
            peak_rss_mb: 0.0,
            rss_mb: 0.0,
            rests: Vec::new(),
            calm: Histogram::default(),
            troubled: Histogram::default(),
        }
    }

    pub(super) fn add(&mut self, phase: Phase) {
        self.phases.push(phase.to_json());
        self.last = phase.after;
        let named = phase.violations.iter().map(|text| format!("{}: {text}", phase.trouble));
        self.violations.extend(named);
        self.base_rss_mb.get_or_insert(phase.rss_mb);
        self.peak_rss_mb = self.peak_rss_mb.max(phase.peak_rss_mb);
        self.rss_mb = phase.rss_mb;
        let on_end = if phase.trouble.is_calm() { &mut self.calm } else { &mut self.troubled };
        on_end.merge(&phase.on_end);
    }

    pub(super) fn end_cycle(&mut self) {
        self.cycles += 1;
        self.rests.push(self.rss_mb);
    }

    /// Whether the law held, and memory stayed within its bounds.
    pub fn passed(&self) -> bool {
        self.violations.is_empty() && self.is_memory_bounded() && self.is_memory_flat()
    }

    fn base(&self) -> f64 {
        self.base_rss_mb.unwrap_or(0.0)
    }

    fn is_memory_bounded(&self) -> bool {
        self.peak_rss_mb <= self.base() + MEMORY_MB
    }

    /// From the first cycle, which touches what there is to touch, to the last.
    fn growth(&self) -> f64 {
        let ends = self.rests.first().zip(self.rests.last());
        ends.map_or(0.0, |(first, last)| (last - first).max(0.0))
    }

    fn is_memory_flat(&self) -> bool {
        self.growth() <= GROWTH_MB
    }

    /// The object for tools. Its keys are stable.
    pub fn to_json(&self) -> Value {
        let last = &self.last;
        let on_end = |of: &Histogram| {
            let of = of.percentiles();
            json!({ "p50": of.p50, "p99": of.p99, "p999": of.p999 })
        };
        json!({
            "passed": self.passed(),
            "violations": self.violations,
            "minutes": self.minutes,
            "cycles": self.cycles,
            "rate": self.rate,
            "protocol": self.protocol.name(),
            "driver": self.driver,
            "seed": self.seed,
            "emitted": last.emitted,
            "delivered": last.delivered,
            "rejected": last.rejected,
            "dropped": last.dropped,
            "received": last.unique,
            "duplicates": last.duplicates(),
            "lost": last.lost(),
            "memory": {
                "base_mb": rounded(self.base(), 10.0),
                "peak_mb": rounded(self.peak_rss_mb, 10.0),
                "peak_mb_max": rounded(self.base() + MEMORY_MB, 10.0),
                "bounded": self.is_memory_bounded(),
                "growth_mb": rounded(self.growth(), 10.0),
                "growth_mb_max": GROWTH_MB,
                "flat": self.is_memory_flat(),
            },
            "on_end_ns": { "calm": on_end(&self.calm), "troubled": on_end(&self.troubled) },
            "phases": self.phases,
            "machine": measure::machine(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = &self.last;
        let (calm, troubled) = (self.calm.percentiles(), self.troubled.percentiles());
        writeln!(
            f,
            "{} cycles over {} with {}, seed {}",
            self.cycles, self.protocol, self.driver, self.seed
        )?;
        writeln!(f, "  emitted     {:>12}  spans ended by the program", last.emitted)?;
        writeln!(f, "  delivered   {:>12}  acknowledged to the exporter", last.delivered)?;
        writeln!(f, "  received    {:>12}  unique ids at the collector", last.unique)?;
        writeln!(
            f,
            "  duplicates  {:>12}  after outcomes that nobody could know",
            last.duplicates()
        )?;
        writeln!(f, "  dropped     {:>12}  by the exporter, counted", last.dropped)?;
        writeln!(f, "  lost        {:>12}  without a trace", last.lost())?;
        writeln!(
            f,
            "  memory      {:>12.1}  MB at its peak, of at most {:.1}; {:.1} grown, of at most {GROWTH_MB}",
            self.peak_rss_mb,
            self.base() + MEMORY_MB,
            self.growth()
        )?;
        writeln!(
            f,
            "  on_end      {:>12}  ns p99.9 in trouble; {} when calm (p99 {} and {})",
            troubled.p999, calm.p999, troubled.p99, calm.p99
        )?;
        for violation in &self.violations {
            writeln!(f, "  VIOLATED    {violation}")?;
        }
        write!(f, "  {}", if self.passed() { "passed" } else { "FAILED" })
    }
}

/// What may come on top of a process that delivers calmly: the buffer of spans with its room for long
/// ones (24 MiB), an answer of 4 MiB for each of four requests, and slack for stacks and the allocator.
const MEMORY_MB: f64 = 50.0;
/// From cycle to cycle: what counts as flat.
const GROWTH_MB: f64 = 4.0;
