//! From runs to medians, spreads and ratios.

use serde_json::{Map, Value, json};

use super::child::Row;
use crate::{report::rounded, subject::Kind};

/// All runs of one peer in one mode.
#[derive(Clone, Debug)]
pub struct Line {
    /// Whose runs.
    pub peer: Kind,
    /// The runs in the order they were made, at least one.
    pub runs: Vec<Row>,
    /// Spans without a fate, over all runs: emitted - (unique ids received + rejected + dropped).
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

impl Figure {
    /// Median and extremes of `values`; zeros when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Self::default();
        };
        let upper = values.len() / 2;
        let lower = (values.len() - 1) / 2;
        Self { median: f64::midpoint(values[lower], values[upper]), min, max }
    }
}

impl Line {
    /// Delivered spans a second.
    pub fn delivered_per_s(&self) -> Figure {
        self.figure(|row| row.delivered_per_s)
    }

    /// CPU seconds of the process for a million spans.
    pub fn cpu_s_per_million(&self) -> Figure {
        self.figure(|row| row.cpu_s_per_million)
    }

    /// Peak resident memory in MB.
    pub fn rss_mb(&self) -> Figure {
        self.figure(|row| row.rss_mb)
    }

    /// CPU time of the producing threads for one span.
    pub fn app_ns_per_span(&self) -> Figure {
        self.figure(|row| row.app_ns_per_span)
    }

    fn figure(&self, of: impl Fn(&Row) -> f64) -> Figure {
        Figure::of(self.runs.iter().map(of))
    }

    /// Medians under stable keys; the extremes under `spread`.
    pub fn to_json(&self) -> Value {
        let mut row = Map::new();
        let mut spread = Map::new();
        for (key, figure, parts) in self.figures() {
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

    /// Each figure with its key and the parts of one that it is rounded to.
    fn figures(&self) -> [(&'static str, Figure, f64); 4] {
        [
            ("delivered_per_s", self.delivered_per_s(), 1.0),
            ("cpu_s_per_million", self.cpu_s_per_million(), 1000.0),
            ("rss_mb", self.rss_mb(), 10.0),
            ("app_ns_per_span", self.app_ns_per_span(), 1.0),
        ]
    }

    /// A line of the table for people.
    pub fn text(&self) -> String {
        let cell = |figure: Figure, digits| {
            let Figure { median, min, max } = figure;
            format!("{median:.digits$} ({min:.digits$}..{max:.digits$})")
        };
        format!(
            "{:<15} {:>28} {:>21} {:>20} {:>18} {:>5}",
            self.peer,
            cell(self.delivered_per_s(), 0),
            cell(self.cpu_s_per_million(), 3),
            cell(self.rss_mb(), 1),
            cell(self.app_ns_per_span(), 0),
            self.lost
        )
    }
}

/// The heading over [`Line::text`].
pub fn heading() -> String {
    format!(
        "{:<15} {:>28} {:>21} {:>20} {:>18} {:>5}",
        "peer", "delivered spans/s", "CPU s per 1M", "peak RSS MB", "app ns/span", "lost"
    )
}

/// How spanwire's lines stand to the rivals' and to the floor, by medians. For each of spanwire's
/// peers: `cpu_vs_R` (how many times less), `delivered_vs_R` (how many times more), `rss_vs_R` and
/// `app_vs_R` (how many times less) for each rival R, and `app_ns_over_noop`, the nanoseconds that
/// the application's thread pays over a processor that drops the span.
pub fn ratios(lines: &[Line]) -> Value {
    let of = |spanwire| lines.iter().filter(move |line| line.peer.io().is_some() == spanwire);
    let ours = of(true).map(|line| {
        let mut ratios = Map::new();
        for other in of(false) {
            compare(line, other, &mut ratios);
        }
        (line.peer.name().to_owned(), Value::from(ratios))
    });
    Value::Object(ours.collect())
}

fn compare(ours: &Line, other: &Line, ratios: &mut Map<String, Value>) {
    let times = |more: Figure, less: Figure| rounded(more.median / less.median, 100.0);
    let app = other.app_ns_per_span();
    if other.peer == Kind::Noop {
        let added = ours.app_ns_per_span().median - app.median;
        ratios.insert("app_ns_over_noop".into(), json!(added.round()));
        return;
    }
    let rival = other.peer.name().replace('-', "_");
    let figures = [
        ("cpu", times(other.cpu_s_per_million(), ours.cpu_s_per_million())),
        ("delivered", times(ours.delivered_per_s(), other.delivered_per_s())),
        ("rss", times(other.rss_mb(), ours.rss_mb())),
        ("app", times(app, ours.app_ns_per_span())),
    ];
    for (figure, ratio) in figures {
        ratios.insert(format!("{figure}_vs_{rival}"), json!(ratio));
    }
}
