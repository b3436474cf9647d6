//! What spanwire wants to be, and whether a comparison shows it: a goal passes when the unfavourable
//! end of its 95 % interval does.

use serde_json::{Value, json};

use super::{
    Allocator,
    export::{Comparison, Mode, Options},
    flood::Flooded,
    table::{APP, CPU, Compared, DELIVERED, EXPORT_P99, EXPORTER_CPU, Line, RATIO, floor_of},
};
use crate::{
    receive::{Protocol, encoding::Encoding},
    report::rounded,
    shape::{Shape, Signal},
    subject::{Class, Kind, Role},
};

/// A goal and what was measured.
#[derive(Clone, Debug)]
pub struct Goal {
    /// What is measured, such as `cpu_vs_otlp_http`.
    name: String,
    peer: Kind,
    measured: Compared,
    wanted: Wanted,
}

/// What the figure is wanted to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Wanted {
    /// The lower end of the interval decides.
    AtLeast(f64),
    /// The upper end decides.
    AtMost(f64),
}

impl Wanted {
    /// Whether the unfavourable end of the interval is as wanted.
    pub fn is_met_by(self, measured: &Compared) -> bool {
        match self {
            Self::AtLeast(wanted) => measured.interval.low >= wanted,
            Self::AtMost(wanted) => measured.interval.high <= wanted,
        }
    }
}

impl Goal {
    fn passed(&self) -> bool {
        self.wanted.is_met_by(&self.measured)
    }

    /// One object; `passed` is what tools look at.
    pub fn to_json(&self) -> Value {
        let (key, wanted) = match self.wanted {
            Wanted::AtLeast(wanted) => ("at_least", wanted),
            Wanted::AtMost(wanted) => ("at_most", wanted),
        };
        let interval = self.measured.interval;
        json!({
            "goal": self.name,
            "peer": self.peer.name(),
            key: wanted,
            "value": rounded(self.measured.value, 1000.0),
            "interval": [rounded(interval.low, 1000.0), rounded(interval.high, 1000.0)],
            "passed": self.passed(),
        })
    }

    /// A line for people.
    pub fn text(&self) -> String {
        let (word, wanted) = match self.wanted {
            Wanted::AtLeast(wanted) => ("at least", wanted),
            Wanted::AtMost(wanted) => ("at most", wanted),
        };
        let Compared { value, interval } = self.measured;
        format!(
            "{} {:<16} {:<36} {value:>8.2} ({:.2}..{:.2}), wanted: {word} {wanted}",
            if self.passed() { "passed" } else { "MISSED" },
            self.peer,
            self.name,
            interval.low,
            interval.high
        )
    }
}

/// The goals that this comparison has figures for. They are about typical spans.
pub(super) fn of(comparison: &Comparison) -> Vec<Goal> {
    let options = comparison.options();
    if (options.signal, options.shape) != (Signal::Traces, Shape::Typical) {
        return Vec::new();
    }
    if !options.is_usual() {
        return of_a_wire(comparison);
    }
    let mut goals = Vec::new();
    for ours in comparison.lines_of(Mode::Fixed(PACED_RATE)).iter().filter(|line| is_ours(line)) {
        let cpu = Compared::alone(ours, EXPORTER_CPU);
        let most = Wanted::AtMost(PACED_CPU_PERCENT);
        goals.push(goal("exporter_cpu_percent_at_10k", ours, cpu, most));
        let latency = Compared::alone(ours, EXPORT_P99);
        let most = Wanted::AtMost(PACED_EXPORT_P99_MS);
        goals.push(goal("export_p99_ms_at_10k", ours, latency, most));
    }
    for ours in comparison.lines_of(Mode::Closed) {
        if is_ours(ours) {
            through_the_sdk(ours, comparison.lines_of(Mode::Closed), options.allocator, &mut goals);
        }
    }
    let alone = comparison.lines_of(Mode::Alone).iter();
    for ours in alone.filter(|line| line.peer.role() == Role::Ours) {
        let most = match options.allocator {
            Allocator::Glibc => ALONE_CPU_GLIBC,
            Allocator::Mimalloc => ALONE_CPU_MIMALLOC,
        };
        let measured = Compared::alone(ours, CPU);
        goals.push(goal("alone_cpu_s_per_million", ours, measured, Wanted::AtMost(most)));
    }
    goals
}

fn is_ours(line: &Line) -> bool {
    line.peer.class() == Class::Sdk && line.peer.role() == Role::Ours
}

/// Those of gRPC, of compression, of TLS and of a distance: against opentelemetry-otlp as it comes,
/// and over a distance against the fastest of its settings.
fn of_a_wire(comparison: &Comparison) -> Vec<Goal> {
    let (options, lines) = (comparison.options(), comparison.lines_of(Mode::Closed));
    let default = match options.protocol {
        Protocol::Grpc => Kind::OtlpGrpc,
        Protocol::Http | Protocol::HttpJson => Kind::OtlpHttp,
    };
    let default = lines.iter().find(|line| line.peer == default);
    let mut goals = Vec::new();
    for ours in lines.iter().filter(|line| is_ours(line)) {
        if options.rtt.is_some() {
            if let Some(fastest) = best(lines, DELIVERED, -1.0) {
                let delivered = Compared::times(ours, fastest, DELIVERED);
                let wanted = Wanted::AtLeast(FAR_DELIVERED_TIMES);
                goals.push(goal("delivered_vs_best_otlp", ours, delivered, wanted));
            }
            continue;
        }
        let Some(default) = default else { continue };
        let name = default.peer.name().replace('-', "_");
        if let Some(times) = wire_times(options) {
            let cpu = Compared::times(default, ours, CPU);
            goals.push(goal(&format!("cpu_vs_{name}"), ours, cpu, Wanted::AtLeast(times)));
        }
        if options.compression != Encoding::None {
            let ratio = Compared::times(ours, default, RATIO);
            let wanted = Wanted::AtLeast(RATIO_TIMES);
            goals.push(goal(&format!("ratio_vs_{name}"), ours, ratio, wanted));
        }
    }
    goals
}

/// How many times less CPU a span is wanted, where anybody said so.
fn wire_times(options: &Options) -> Option<f64> {
    match (options.compression, options.tls, options.protocol) {
        (Encoding::Gzip | Encoding::Zstd, false, _) => Some(COMPRESSED_CPU_TIMES),
        (Encoding::None, true, Protocol::Http) => Some(TLS_CPU_TIMES),
        (Encoding::None, false, Protocol::Grpc) => Some(GRPC_CPU_TIMES),
        _ => None,
    }
}

/// Against opentelemetry-otlp as it comes, and as its best settings make it.
fn through_the_sdk(ours: &Line, lines: &[Line], allocator: Allocator, goals: &mut Vec<Goal>) {
    let floor = floor_of(ours, lines);
    let less = match allocator {
        Allocator::Glibc => CPU_TIMES_GLIBC,
        Allocator::Mimalloc => CPU_TIMES_MIMALLOC,
    };
    let default = lines.iter().find(|line| line.peer == Kind::OtlpHttp);
    let mut against = |name: &str, cheapest: &Line, fastest: &Line| {
        let cpu = Compared::times(cheapest, ours, CPU);
        goals.push(goal(&format!("cpu_vs_{name}"), ours, cpu, Wanted::AtLeast(less)));
        if let Some(floor) = floor {
            let cpu = Compared::times_over(cheapest, ours, floor, CPU);
            let wanted = Wanted::AtLeast(CPU_TIMES_OVER_NOOP);
            goals.push(goal(&format!("cpu_over_noop_vs_{name}"), ours, cpu, wanted));
        }
        let delivered = Compared::times(ours, fastest, DELIVERED);
        let wanted = Wanted::AtLeast(DELIVERED_TIMES);
        goals.push(goal(&format!("delivered_vs_{name}"), ours, delivered, wanted));
    };
    if let Some(default) = default {
        against("otlp_http", default, default);
    }
    if let (Some(cheapest), Some(fastest)) = (best(lines, CPU, 1.0), best(lines, DELIVERED, -1.0)) {
        against("best_otlp", cheapest, fastest);
    }
    if let Some(floor) = floor {
        let measured = Compared::beyond(ours, floor, APP);
        goals.push(goal("app_ns_over_noop", ours, measured, Wanted::AtMost(APP_NS_OVER_NOOP)));
    }
}

/// The line of opentelemetry-otlp whose median is the least; with a `sign` of -1 the greatest.
fn best(lines: &[Line], of: fn(&super::Row) -> f64, sign: f64) -> Option<&Line> {
    let otlp = lines.iter().filter(|line| line.peer.is_otlp());
    otlp.min_by(|one, other| {
        let [one, other] = [one, other].map(|line| sign * line.figure(of).median);
        one.total_cmp(&other)
    })
}

/// What a flood ought to leave behind.
pub(super) fn of_flood(flooded: &[Flooded]) -> Vec<Goal> {
    let ours = flooded.iter().filter(|flooded| flooded.peer.role() == Role::Ours);
    ours.flat_map(|flooded| {
        [
            ("flood_dropped", flooded.refused as f64, 0.0),
            ("flood_rss_mb", flooded.rss_mb(), FLOOD_RSS_MB),
            ("flood_rss_growth_mb", flooded.rss_growth_mb(), FLOOD_GROWTH_MB),
        ]
        .map(|(name, value, most)| {
            let interval = super::interval::Interval { low: value, high: value };
            Goal {
                name: name.to_owned(),
                peer: flooded.peer,
                measured: Compared { value, interval },
                wanted: Wanted::AtMost(most),
            }
        })
    })
    .collect()
}

fn goal(name: &str, ours: &Line, measured: Compared, wanted: Wanted) -> Goal {
    Goal { name: name.to_owned(), peer: ours.peer, measured, wanted }
}

/// CPU a span, spanwire against opentelemetry-otlp.
const CPU_TIMES_GLIBC: f64 = 8.0;
const CPU_TIMES_MIMALLOC: f64 = 6.0;
/// The same after the SDK's own cost was taken off both.
const CPU_TIMES_OVER_NOOP: f64 = 20.0;
/// Delivered spans a second.
const DELIVERED_TIMES: f64 = 6.0;
/// The application's thread, over a processor that drops the span.
const APP_NS_OVER_NOOP: f64 = 110.0;
/// Ready batches through the SDK's exporter trait.
const ALONE_CPU_GLIBC: f64 = 0.46;
const ALONE_CPU_MIMALLOC: f64 = 0.35;
/// The same over gRPC, compressed, and over TLS.
const GRPC_CPU_TIMES: f64 = 8.0;
const COMPRESSED_CPU_TIMES: f64 = 2.0;
const TLS_CPU_TIMES: f64 = 5.0;
/// Bodies not more than 5 % larger.
const RATIO_TIMES: f64 = 0.95;
/// Delivered spans a second over a distance.
const FAR_DELIVERED_TIMES: f64 = 3.0;
/// At 10 000 spans a second.
const PACED_RATE: u64 = 10_000;
const PACED_CPU_PERCENT: f64 = 1.5;
const PACED_EXPORT_P99_MS: f64 = 3.0;
/// A flood at default settings.
const FLOOD_RSS_MB: f64 = 40.0;
/// What counts as flat: a few chunks of the pool and stacks that are touched late.
const FLOOD_GROWTH_MB: f64 = 2.0;
