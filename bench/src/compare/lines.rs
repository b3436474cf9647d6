//! From runs of benches by peers to medians, spreads and ratios.

use std::fmt;

use serde_json::{Map, Value, json};

use super::table::Figure;
use crate::report::rounded;

/// Who takes part; the order is that of the columns.
pub trait Peer: Copy + Ord + fmt::Display {
    /// Whether it is spanwire.
    fn is_ours(self) -> bool;
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Ns,
    /// Bytes.
    Bytes,
    /// System calls.
    Calls,
    /// Memory allocations.
    Allocations,
}

/// All runs of one bench by one peer.
#[derive(Clone, Debug)]
pub struct Line<P> {
    /// What was measured.
    pub bench: String,
    /// Whose runs.
    pub peer: P,
    /// What the figures count.
    pub unit: Unit,
    /// The runs in the order they were made.
    pub runs: Vec<f64>,
}

impl<P: Peer> Line<P> {
    /// Median and extremes.
    pub fn figure(&self) -> Figure {
        Figure::of(self.runs.iter().copied())
    }

    /// The median under the name of its unit, the extremes under `spread`.
    pub fn to_json(&self) -> Value {
        let figure = self.figure();
        let [median, min, max] = [figure.median, figure.min, figure.max].map(digits);
        json!({
            "bench": self.bench,
            "peer": self.peer.to_string(),
            self.unit.to_string(): median,
            "spread": [min, max],
            "runs": self.runs.len(),
        })
    }
}

/// The lines of all peers for each bench, in the order of their first line.
#[derive(Clone, Debug)]
pub struct Table<P>(pub Vec<Line<P>>);

impl<P> Default for Table<P> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<P: Peer> Table<P> {
    /// Adds a run.
    pub fn add(&mut self, bench: &str, peer: P, unit: Unit, value: f64) {
        let line = self.0.iter_mut().find(|line| line.bench == bench && line.peer == peer);
        match line {
            Some(line) => line.runs.push(value),
            None => {
                self.0.push(Line { bench: bench.to_owned(), peer, unit, runs: vec![value] });
            }
        }
    }

    /// Sorts by the position of bench and peer in these lists, as runs came in random order.
    pub fn sort(&mut self, benches: &[String]) {
        let place = |line: &Line<P>| benches.iter().position(|bench| *bench == line.bench);
        self.0.sort_by_key(|line| (place(line), line.peer));
    }

    /// Times, or everything else.
    pub fn to_json(&self, times: bool) -> Value {
        let lines = self.0.iter().filter(|line| (line.unit == Unit::Ns) == times);
        lines.map(Line::to_json).collect()
    }

    /// How many times less spanwire needs than each rival, by medians: bench, peer of ours, rival.
    pub fn ratios(&self) -> Value {
        let mut benches = Map::new();
        for ours in self.0.iter().filter(|line| line.peer.is_ours()) {
            let ratios = self.ratios_of(ours);
            if !ratios.is_empty() {
                let bench = benches.entry(&ours.bench).or_insert_with(|| json!({}));
                bench[ours.peer.to_string()] = ratios.into();
            }
        }
        benches.into()
    }

    /// Not with a median of nothing, which no number of times is less than.
    fn ratios_of(&self, ours: &Line<P>) -> Map<String, Value> {
        let least = ours.figure().median;
        let rivals = self.0.iter().filter(|line| line.bench == ours.bench && !line.peer.is_ours());
        let rivals = rivals.map(|line| (line.peer.to_string(), line.figure().median));
        let rivals = rivals.filter(|(_, median)| *median > 0.0 && least > 0.0);
        rivals.map(|(rival, median)| (rival, json!(rounded(median / least, 100.0)))).collect()
    }

    /// The median of a bench by the peer of that name, in the unit of the bench.
    pub fn median(&self, bench: &str, peer: &str) -> Option<f64> {
        let line = self.0.iter().find(|line| line.bench == bench && line.peer.to_string() == peer);
        line.map(|line| line.figure().median)
    }

    fn peers(&self) -> Vec<P> {
        let mut peers: Vec<P> = self.0.iter().map(|line| line.peer).collect();
        peers.sort();
        peers.dedup();
        peers
    }

    fn benches(&self) -> Vec<(&str, Unit)> {
        let mut benches: Vec<_> =
            self.0.iter().map(|line| (line.bench.as_str(), line.unit)).collect();
        benches.dedup();
        benches
    }

    fn cell(&self, bench: &str, peer: P) -> String {
        let line = self.0.iter().find(|line| line.bench == bench && line.peer == peer);
        line.map_or_else(|| "-".to_owned(), |line| short(line.figure().median))
    }
}

impl<P: Peer> fmt::Display for Table<P> {
    /// A line a bench, a column a peer: medians. Then the ratios.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.peers();
        write!(f, "{:<26} {:<11}", "bench", "unit")?;
        peers.iter().try_for_each(|peer| write!(f, " {:>16}", peer.to_string()))?;
        for (bench, unit) in self.benches() {
            write!(f, "\n{bench:<26} {unit:<11}")?;
            peers.iter().try_for_each(|&peer| write!(f, " {:>16}", self.cell(bench, peer)))?;
        }
        self.write_ratios(f)
    }
}

impl<P: Peer> Table<P> {
    fn write_ratios(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ratios = self.ratios();
        if ratios.as_object().is_none_or(Map::is_empty) {
            return Ok(());
        }
        write!(f, "\n\nhow many times less spanwire needs (more than 1: it is ahead)")?;
        for (bench, _) in self.benches() {
            let ours = ratios[bench].as_object().into_iter().flatten();
            for (peer, rivals) in ours {
                let rivals = rivals.as_object().into_iter().flatten();
                let rivals = rivals.filter(|(_, times)| **times != SAME);
                let rivals: Vec<_> =
                    rivals.map(|(rival, times)| format!("{rival} {times}")).collect();
                if !rivals.is_empty() {
                    write!(f, "\n{bench:<26} {peer:<17} {}", rivals.join(", "))?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ns => "ns",
            Self::Bytes => "bytes",
            Self::Calls => "calls",
            Self::Allocations => "allocations",
        })
    }
}

/// A tenth is enough below a hundred.
pub(super) fn digits(value: f64) -> f64 {
    rounded(value, if value < 100.0 { 10.0 } else { 1.0 })
}

fn short(value: f64) -> String {
    let digits = usize::from(value < 100.0);
    format!("{value:.digits$}")
}

/// A ratio that nobody needs to read.
const SAME: f64 = 1.0;
