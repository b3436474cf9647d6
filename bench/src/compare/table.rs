//! From runs to medians, spreads, ratios and their intervals.

use serde_json::{Map, Value, json};

use super::{
    child::Row,
    interval::{self, Interval},
};
use crate::{
    report::rounded,
    subject::{Kind, Role},
};

/// All runs of one peer in one mode.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whose runs.
    pub peer: Kind,
    /// The runs in the order of the rounds, at least one.
    pub runs: Vec<Row>,
    /// Records without a fate, over all runs: emitted - (unique received + rejected + dropped).
    pub lost: i64,
}

/// A figure over several runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figure {
    /// The middle run, or the mean of the middle two.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// A figure of a run.
pub type Of = fn(&Row) -> f64;

/// A ratio or a difference of medians, and how sure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Compared {
    /// By the medians of all rounds.
    pub value: f64,
    /// Where it lies in 95 of 100 repetitions.
    pub interval: Interval,
}

impl Figure {
    /// Median and extremes of `values`; zeros when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        if values.is_empty() {
            return Self::default();
        }
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Self { median: interval::median(values), min, max }
    }
}

impl Line {
    /// Median and extremes of a figure.
    pub fn figure(&self, of: Of) -> Figure {
        Figure::of(self.runs.iter().map(of))
    }

    /// The median of a figure in these rounds.
    fn median(&self, of: Of, rounds: &[usize]) -> f64 {
        interval::median(rounds.iter().map(|&round| of(&self.runs[round])).collect())
    }

    /// Medians under stable keys; the extremes under `spread`.
    pub fn to_json(&self) -> Value {
        let mut row = Map::new();
        let mut spread = Map::new();
        for (key, of, parts) in FIGURES {
            let figure = self.figure(of);
            row.insert(key.into(), rounded(figure.median, parts).into());
            let extremes = [rounded(figure.min, parts), rounded(figure.max, parts)];
            spread.insert(key.into(), extremes.as_slice().into());
        }
        row.insert("peer".into(), self.peer.name().into());
        row.insert("lost".into(), self.lost.into());
        row.insert("runs".into(), self.runs.len().into());
        row.insert("spread".into(), spread.into());
        row.into()
    }

    /// A line of the table for people.
    pub fn text(&self) -> String {
        let cell = |of: Of, digits| {
            let Figure { median, min, max } = self.figure(of);
            format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
        };
        let short = |of: Of| format!("{:.3}", self.figure(of).median);
        let wire = match self.figure(RATIO).median {
            0.0 => "-".to_owned(),
            ratio => {
                format!("{:.0} /{ratio:.2}", self.figure(|row| row.wire_bytes_per_span).median)
            }
        };
        format!(
            "{:<16} {:>28} {:>21} {:>7} {:>6} {:>19} {:>18} {:>12} {:>6.1} {:>5}",
            self.peer,
            cell(|row| row.delivered_per_s, 0),
            cell(CPU, 3),
            short(|row| row.machine_s_per_million),
            short(|row| row.sink_s_per_million),
            cell(|row| row.rss_mb, 1),
            cell(APP, 0),
            wire,
            self.figure(EXPORTER_CPU).median,
            self.lost
        )
    }
}

/// The heading over [`Line::text`].
pub fn heading() -> String {
    format!(
        "{:<16} {:>28} {:>21} {:>7} {:>6} {:>19} {:>18} {:>12} {:>6} {:>5}",
        "peer",
        "delivered/s",
        "CPU s per 1M",
        "machine",
        "sink",
        "peak RSS MB",
        "app ns",
        "wire bytes",
        "exp. %",
        "lost"
    )
}

impl Compared {
    /// `statistic` of all rounds, and its interval.
    fn of(rounds: usize, statistic: impl Fn(&[usize]) -> f64) -> Self {
        let all: Vec<usize> = (0..rounds).collect();
        Self { value: statistic(&all), interval: Interval::of(rounds, statistic) }
    }

    /// The median of one line.
    pub fn alone(line: &Line, of: Of) -> Self {
        Self::of(line.runs.len(), |rounds| line.median(of, rounds))
    }

    /// How many times more `more` has than `less`.
    pub fn times(more: &Line, less: &Line, of: Of) -> Self {
        Self::of(common(&[more, less]), |rounds| more.median(of, rounds) / less.median(of, rounds))
    }

    /// The same, after what both pay anyway was taken off. Infinite when nothing is left of `less`.
    pub fn times_over(more: &Line, less: &Line, floor: &Line, of: Of) -> Self {
        Self::of(common(&[more, less, floor]), |rounds| {
            let floor = floor.median(of, rounds);
            let [more, less] = [more, less].map(|line| line.median(of, rounds) - floor);
            if less > 0.0 { more / less } else { f64::INFINITY }
        })
    }

    /// How much `line` has beyond `floor`.
    pub fn beyond(line: &Line, floor: &Line, of: Of) -> Self {
        Self::of(common(&[line, floor]), |rounds| {
            line.median(of, rounds) - floor.median(of, rounds)
        })
    }
}

/// The rounds that all lines took part in.
fn common(lines: &[&Line]) -> usize {
    lines.iter().map(|line| line.runs.len()).min().unwrap_or(0)
}

/// How spanwire's lines stand to the rivals' and to the floor, by medians. For each of spanwire's
/// peers: `cpu_vs_R` (how many times less), `delivered_vs_R` (how many times more), `rss_vs_R` and
/// `app_vs_R` (how many times less) for each rival R; `cpu_over_noop_vs_R`, the first without what
/// the SDK costs anyway; and `app_ns_over_noop`, the nanoseconds that the application's thread pays
/// over a processor that drops the span.
pub fn ratios(lines: &[Line]) -> Value {
    by_peer(lines, |of| json!(rounded(of.value, 100.0)))
}

/// The 95 % intervals of the [`ratios`], under the same keys.
pub fn intervals(lines: &[Line]) -> Value {
    by_peer(lines, |of| json!([rounded(of.interval.low, 100.0), rounded(of.interval.high, 100.0)]))
}

fn by_peer(lines: &[Line], show: fn(Compared) -> Value) -> Value {
    let ours = lines.iter().filter(|line| line.peer.role() == Role::Ours);
    let ours = ours.map(|line| {
        let ratios = compared(line, lines).into_iter().map(|(key, of)| (key, show(of)));
        (line.peer.name().to_owned(), Value::Object(ratios.collect()))
    });
    Value::Object(ours.collect())
}

/// One of spanwire's lines beside all that it meets.
pub fn compared(ours: &Line, lines: &[Line]) -> Vec<(String, Compared)> {
    let floor = floor_of(ours, lines);
    let mut ratios = Vec::new();
    for other in lines.iter().filter(|other| ours.peer.meets(other.peer)) {
        let rival = other.peer.name().replace('-', "_");
        let mut add = |figure, ratio| ratios.push((format!("{figure}_vs_{rival}"), ratio));
        add("cpu", Compared::times(other, ours, CPU));
        add("delivered", Compared::times(ours, other, DELIVERED));
        add("rss", Compared::times(other, ours, |row| row.rss_mb));
        add("app", Compared::times(other, ours, APP));
        if let Some(floor) = floor.filter(|_| other.peer.class() == ours.peer.class()) {
            add("cpu_over_noop", Compared::times_over(other, ours, floor, CPU));
        }
    }
    if let Some(floor) = floor {
        ratios.push(("app_ns_over_noop".to_owned(), Compared::beyond(ours, floor, APP)));
    }
    ratios
}

/// The line of those that only pay what `line` pays anyway.
pub fn floor_of<'a>(line: &Line, lines: &'a [Line]) -> Option<&'a Line> {
    let is_floor =
        |other: &&Line| other.peer.role() == Role::Floor && other.peer.class() == line.peer.class();
    lines.iter().find(is_floor)
}

/// CPU seconds of the process for a million records.
pub const CPU: Of = |row| row.cpu_s_per_million;
/// Delivered records a second.
pub const DELIVERED: Of = |row| row.delivered_per_s;
/// CPU time of the producing threads for one record.
pub const APP: Of = |row| row.app_ns_per_span;

/// CPU time of all threads but the producing ones, in percent of one core.
pub const EXPORTER_CPU: Of = |row| row.exporter_cpu_percent;
/// What 99 % of the exports took at most, in milliseconds.
pub const EXPORT_P99: Of = |row| row.export_p99_ms;
/// How many times smaller bodies became.
pub const RATIO: Of = |row| row.compression_ratio;

/// Each figure with its key and the parts of one that it is rounded to.
const FIGURES: [(&str, Of, f64); 11] = [
    ("delivered_per_s", DELIVERED, 1.0),
    ("cpu_s_per_million", CPU, 1000.0),
    ("machine_s_per_million", |row| row.machine_s_per_million, 1000.0),
    ("sink_s_per_million", |row| row.sink_s_per_million, 1000.0),
    ("rss_mb", |row| row.rss_mb, 10.0),
    ("app_ns_per_span", APP, 1.0),
    ("exporter_cpu_percent", EXPORTER_CPU, 100.0),
    ("export_p50_ms", |row| row.export_p50_ms, 1000.0),
    ("export_p99_ms", EXPORT_P99, 1000.0),
    ("wire_bytes_per_span", |row| row.wire_bytes_per_span, 10.0),
    ("compression_ratio", RATIO, 100.0),
];
