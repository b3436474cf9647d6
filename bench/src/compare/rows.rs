//! A comparison whose rows need nothing but a process of their own: what `compare encode` and
//! `compare pipe` have in common.
//!
//! A subject is an enum of rows ([`Row`]) with an enum of peers. A round starts a child for each
//! peer of each row, in random order; the child measures laps for its time budget and reports the
//! lap in the middle; the parent takes the median of the rounds.

use std::{fmt, path::Path, time::Duration};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{
    Allocator, children,
    lines::{self, Table, Unit},
    program,
    samples::{Extent, Samples},
    versions,
};
use crate::{measure, subject::NEEDS_RIVALS};

/// What is measured: one body, and a figure or several from each run of it.
pub trait Row: ValueEnum + Copy + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Who takes part.
    type Peer: lines::Peer + ValueEnum + fmt::Debug + Send + Sync + 'static;

    /// What is compared, such as `encode`.
    const SUBJECT: &'static str;
    /// The hidden subcommand that measures one row of one peer.
    const CHILD: &'static str;
    /// The packages whose versions a report names.
    const PACKAGES: &'static [&'static str];
    /// What the figures ought to be.
    const GOALS: &'static [Goal];

    /// Whether `peer` takes part.
    fn suits(self, peer: Self::Peer) -> bool;

    /// The benches that its figures are reported as.
    fn figures(self) -> Vec<(String, Unit)>;

    /// Whether `peer` is in this program; the others need the feature `rivals`.
    fn has(peer: Self::Peer) -> bool;

    /// Measures in this process; the figures in the order of [`figures`](Self::figures).
    ///
    /// # Errors
    ///
    /// When the row cannot run, or its result is not the oracle's; the text tells.
    fn measure(self, peer: Self::Peer, samples: Samples) -> Result<Vec<f64>, String>;

    /// The name in tables and on the command line.
    fn name(self) -> String {
        name_of(&self)
    }
}

/// The most that a figure of spanwire's ought to be.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// Of which bench.
    pub bench: &'static str,
    /// Of which peer of ours.
    pub peer: &'static str,
    /// The limit.
    pub at_most: Limit,
}

/// The most that a figure may be.
#[derive(Clone, Copy, Debug)]
pub enum Limit {
    /// So much, in the unit of the bench.
    Value(f64),
    /// So many times what this peer needs.
    Times(f64, &'static str),
}

/// What may be chosen of a comparison of `R`, its rows, and `P`, its peers.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct Choices<R, P>
where
    R: ValueEnum + Clone + Send + Sync + 'static,
    P: ValueEnum + Clone + Send + Sync + 'static,
{
    /// Runs of each row of each peer
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// About how long a run measures, in milliseconds
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub budget_ms: u64,
    /// Only these rows
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "ROWS",
        hide_possible_values = true
    )]
    pub only: Vec<R>,
    /// Only these peers
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PEERS")]
    pub peers: Vec<P>,
    /// The allocator of all rows
    #[arg(long, value_enum, default_value_t)]
    pub allocator: Allocator,
    /// End with one JSON object on the last line of stdout
    #[arg(long)]
    pub json: bool,
}

/// The options of the subcommand.
pub type Options<R> = Choices<R, <R as Row>::Peer>;

/// The options of the hidden subcommand: one row of one peer.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub struct ChildOptions<R: Row> {
    /// The row.
    #[arg(long, value_enum)]
    pub row: R,
    /// Whose.
    #[arg(long, value_enum)]
    pub peer: R::Peer,
    /// About how long.
    #[arg(long, default_value_t = 100)]
    pub budget_ms: u64,
    /// So many laps instead.
    #[arg(long)]
    pub laps: Option<usize>,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Comparison<R: Row> {
    options: Options<R>,
    /// The figures.
    pub table: Table<R::Peer>,
    /// What else a reader must know.
    pub notes: Vec<String>,
}

/// Runs the whole comparison. Each run says a line on stderr.
///
/// # Errors
///
/// When a peer is not compiled in, or a row fails; the text tells.
pub fn run<R: Row>(options: &Options<R>) -> Result<Comparison<R>, String> {
    if !options.peers().iter().all(|&peer| R::has(peer)) {
        return Err(NEEDS_RIVALS.to_owned());
    }
    let program = program::on(options.allocator)?;
    let mut comparison =
        Comparison { options: options.clone(), table: Table::default(), notes: Vec::new() };
    for round in 0..options.runs {
        let mut cells = options.cells();
        fastrand::shuffle(&mut cells);
        for (row, peer) in cells {
            let figures = cell(&program, options, row, peer)?;
            children::report(round, options.runs, row.name(), peer, &text(row, &figures));
            comparison.add(row, peer, &figures);
        }
    }
    comparison.sort();
    Ok(comparison)
}

/// Measures one row of one peer in this process.
///
/// # Errors
///
/// As [`Row::measure`].
pub fn run_child<R: Row>(options: &ChildOptions<R>) -> Result<Vec<f64>, String> {
    let time = Extent::Time(Duration::from_millis(options.budget_ms));
    let samples = Samples::new(options.laps.map_or(time, Extent::Laps));
    options.row.measure(options.peer, samples)
}

/// One run.
fn cell<R: Row>(
    program: &Path,
    options: &Options<R>,
    row: R,
    peer: R::Peer,
) -> Result<Vec<f64>, String> {
    let budget = options.budget_ms.to_string();
    let arguments = [&arguments(row, peer)[..], &["--budget-ms".to_owned(), budget]].concat();
    children::output(program, &arguments)
        .and_then(|output| children::figures(&output, row.figures().len()))
        .map_err(|error| format!("{peer}, {}: {error}", row.name()))
}

/// What starts a child, but for how long it measures.
pub(super) fn arguments<R: Row>(row: R, peer: R::Peer) -> Vec<String> {
    let words = [R::CHILD, "--row", &row.name(), "--peer", &peer.to_string()];
    words.map(str::to_owned).to_vec()
}

fn text<R: Row>(row: R, figures: &[f64]) -> String {
    let units = row.figures().into_iter().map(|(_, unit)| unit);
    let texts = figures.iter().zip(units).map(|(figure, unit)| format!("{figure:.1} {unit}"));
    texts.collect::<Vec<_>>().join(", ")
}

/// The name of a value on the command line.
pub(super) fn name_of(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("no variant is hidden");
    value.get_name().to_owned()
}

impl<R: Row> Choices<R, R::Peer> {
    /// Those that were asked for, or all that this program has.
    pub(super) fn peers(&self) -> Vec<R::Peer> {
        if self.peers.is_empty() {
            R::Peer::value_variants().iter().copied().filter(|&peer| R::has(peer)).collect()
        } else {
            self.peers.clone()
        }
    }

    fn rows(&self) -> Vec<R> {
        if self.only.is_empty() { R::value_variants().to_vec() } else { self.only.clone() }
    }

    /// What one round runs.
    pub(super) fn cells(&self) -> Vec<(R, R::Peer)> {
        let peers = self.peers();
        let of = |row: R| peers.iter().map(move |&peer| (row, peer));
        self.rows().into_iter().flat_map(of).filter(|(row, peer)| row.suits(*peer)).collect()
    }
}

impl<R: Row> Comparison<R> {
    fn add(&mut self, row: R, peer: R::Peer, figures: &[f64]) {
        for ((bench, unit), &figure) in row.figures().iter().zip(figures) {
            self.table.add(bench, peer, *unit, figure);
        }
    }

    fn sort(&mut self) {
        let figures = R::value_variants().iter().flat_map(|row| row.figures());
        self.table.sort(&figures.map(|(bench, _)| bench).collect::<Vec<_>>());
    }

    /// How the figures stand to the goals; without those that were not measured.
    pub fn goals(&self) -> Value {
        R::GOALS.iter().filter_map(|goal| self.goal(goal)).collect()
    }

    fn goal(&self, goal: &Goal) -> Option<Value> {
        let value = self.table.median(goal.bench, goal.peer)?;
        let at_most = match goal.at_most {
            Limit::Value(limit) => limit,
            Limit::Times(times, peer) => times * self.table.median(goal.bench, peer)?,
        };
        let of = match goal.at_most {
            Limit::Value(_) => Value::Null,
            Limit::Times(times, peer) => json!({ "times": times, "peer": peer }),
        };
        Some(json!({
            "bench": goal.bench,
            "peer": goal.peer,
            "value": lines::digits(value),
            "at_most": lines::digits(at_most),
            "at_most_of": of,
            "met": value <= at_most,
        }))
    }

    /// The object for tools. Its keys are stable.
    pub fn to_json(&self) -> Value {
        json!({
            "subject": R::SUBJECT,
            "rows": self.table.to_json(true),
            "counts": self.table.to_json(false),
            "ratios": self.table.ratios(),
            "goals": self.goals(),
            "notes": self.notes,
            "machine": measure::machine(),
            "versions": versions::of(R::PACKAGES),
            "allocator": self.options.allocator.to_string(),
            "runs": self.options.runs,
            "budget_ms": self.options.budget_ms,
        })
    }
}

impl<R: Row> fmt::Display for Comparison<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { runs, budget_ms, allocator, .. } = &self.options;
        writeln!(f, "{}", measure::machine())?;
        writeln!(f, "{}, {allocator}", versions::of(R::PACKAGES))?;
        writeln!(f, "{runs} runs of {budget_ms} ms; medians\n")?;
        write!(f, "{}", self.table)?;
        for goal in self.goals().as_array().into_iter().flatten() {
            let met = if goal["met"] == true { "met" } else { "MISSED" };
            let words =
                [&goal["bench"], &goal["peer"]].map(|word| word.as_str().unwrap_or_default());
            let [bench, peer] = words;
            write!(
                f,
                "\ngoal {met}: {bench} of {peer} {} of at most {}",
                goal["value"], goal["at_most"]
            )?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        cli::{Cli, Command},
        compare::{self, encode, pipe},
    };

    fn options(line: &str) -> Options<encode::Row> {
        let cli = Cli::try_parse_from(line.split(' ')).expect("a right line");
        match cli.command {
            Some(Command::Compare(compare::Command::Encode(options))) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn comparison(figures: &[(&str, encode::Peer, f64)]) -> Comparison<encode::Row> {
        let options = options("spanwire compare encode");
        let mut comparison = Comparison { options, table: Table::default(), notes: Vec::new() };
        for &(bench, peer, ns) in figures {
            comparison.table.add(bench, peer, Unit::Ns, ns);
        }
        comparison
    }

    #[test]
    fn a_goal_is_met_at_its_limit_and_missed_above() {
        use encode::Peer::{Memcpy, SpanwirePlain};
        for (ns, met) in [(45.0, [true, true]), (45.1, [false, false])] {
            let figures = [("span_typical", SpanwirePlain, ns), ("span_typical", Memcpy, 9.0)];
            let goals = comparison(&figures).goals();
            let goals = goals.as_array().expect("a list");
            let found: Vec<_> = goals.iter().map(|goal| goal["met"].as_bool()).collect();
            assert_eq!(found, met.map(Some), "{goals:?}");
            assert_eq!(goals[1]["at_most_of"], json!({ "times": 5.0, "peer": "memcpy" }));
        }
    }

    #[test]
    fn a_goal_without_its_figures_is_left_out() {
        let alone = comparison(&[("span_typical", encode::Peer::SpanwirePlain, 1.0)]).goals();
        assert_eq!(alone.as_array().map(Vec::len), Some(1), "nothing to multiply: {alone}");
        assert_eq!(comparison(&[]).goals(), json!([]));
    }

    #[test]
    fn every_goal_is_of_a_figure_that_somebody_measures() {
        fn unknown<R: Row>(also: impl Fn(R) -> Vec<String>) -> Vec<&'static str> {
            let rows = R::value_variants().iter();
            let benches = rows.flat_map(|row| {
                row.figures().into_iter().map(|(bench, _)| bench).chain(also(*row))
            });
            let benches: Vec<_> = benches.collect();
            let peers: Vec<_> = R::Peer::value_variants().iter().map(name_of).collect();
            let is_known = |goal: &&Goal| {
                let of = match goal.at_most {
                    Limit::Value(_) => goal.peer,
                    Limit::Times(_, peer) => peer,
                };
                let is_peer = |name: &str| peers.iter().any(|peer| peer == name);
                benches.iter().any(|bench| bench == goal.bench) && is_peer(goal.peer) && is_peer(of)
            };
            R::GOALS.iter().filter(|goal| !is_known(goal)).map(|goal| goal.bench).collect()
        }
        assert_eq!(unknown::<encode::Row>(|_| Vec::new()), Vec::<&str>::new());
        let counts = |row: pipe::Row| vec![format!("{}_allocations", row.name())];
        assert_eq!(unknown::<pipe::Row>(counts), Vec::<&str>::new());
    }

    #[test]
    fn a_round_runs_each_row_by_each_peer_that_it_suits() {
        let cells = options("spanwire compare encode --only log_5,points_patched").cells();
        let of = |row| cells.iter().filter(|(found, _)| *found == row).count();
        assert_eq!(of(encode::Row::Log5), 4, "{cells:?}");
        assert_eq!(of(encode::Row::PointsPatched), 1, "{cells:?}");
        assert_eq!(cells.len(), 5);
    }
}
