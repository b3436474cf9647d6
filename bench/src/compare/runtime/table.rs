//! From runs to medians, spreads and ratios.

use std::fmt;

use serde_json::{Map, Value, json};

use super::{peer::Peer, row::Unit};
use crate::{compare::table::Figure, report::rounded};

/// All runs of one bench by one peer.
#[derive(Clone, Debug)]
pub struct Line {
    /// What was measured.
    pub bench: String,
    /// Whose runs.
    pub peer: Peer,
    /// What the figures count.
    pub unit: Unit,
    /// The runs in the order they were made.
    pub runs: Vec<f64>,
}

impl Line {
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
#[derive(Clone, Debug, Default)]
pub struct Table(pub Vec<Line>);

impl Table {
    /// Adds a run.
    pub fn add(&mut self, bench: &str, peer: Peer, unit: Unit, value: f64) {
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
        let place = |line: &Line| benches.iter().position(|bench| *bench == line.bench);
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
    fn ratios_of(&self, ours: &Line) -> Map<String, Value> {
        let least = ours.figure().median;
        let rivals = self.0.iter().filter(|line| line.bench == ours.bench && !line.peer.is_ours());
        let rivals = rivals.map(|line| (line.peer.to_string(), line.figure().median));
        let rivals = rivals.filter(|(_, median)| *median > 0.0 && least > 0.0);
        rivals.map(|(rival, median)| (rival, json!(rounded(median / least, 100.0)))).collect()
    }

    fn peers(&self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self.0.iter().map(|line| line.peer).collect();
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

    fn cell(&self, bench: &str, peer: Peer) -> String {
        let line = self.0.iter().find(|line| line.bench == bench && line.peer == peer);
        line.map_or_else(|| "-".to_owned(), |line| short(line.figure().median))
    }
}

impl fmt::Display for Table {
    /// A line a bench, a column a peer: medians. Then the ratios.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers = self.peers();
        write!(f, "{:<26} {:<5}", "bench", "unit")?;
        peers.iter().try_for_each(|peer| write!(f, " {:>16}", peer.to_string()))?;
        for (bench, unit) in self.benches() {
            write!(f, "\n{bench:<26} {unit:<5}")?;
            peers.iter().try_for_each(|&peer| write!(f, " {:>16}", self.cell(bench, peer)))?;
        }
        self.write_ratios(f)
    }
}

impl Table {
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
                let rivals: Vec<_> =
                    rivals.map(|(rival, times)| format!("{rival} {times}")).collect();
                write!(f, "\n{bench:<26} {peer:<17} {}", rivals.join(", "))?;
            }
        }
        Ok(())
    }
}

/// A tenth is enough below a hundred.
fn digits(value: f64) -> f64 {
    rounded(value, if value < 100.0 { 10.0 } else { 1.0 })
}

fn short(value: f64) -> String {
    let digits = usize::from(value < 100.0);
    format!("{value:.digits$}")
}
