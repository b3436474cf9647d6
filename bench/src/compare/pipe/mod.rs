//! `spanwire compare pipe`: what it takes to hand a finished record to another thread, beside other
//! queues; and what a span's end costs through the SDK.
//!
//! In scope: what producers pay, with a consumer that takes all the time. Out of scope: encoding
//! ([`super::encode`]) and delivery (`compare export`).
//!
//! The queues are filled by the same bodies ([`push`]) through a small seam ([`queue`]) that each
//! peer fills in ([`peer`]); spans end in [`on_end`]. Allocations are counted in a program of their
//! own, whose allocator counts, so that counting is in no figure of time.

use std::fmt;

use serde_json::Value;

pub use self::row::{Peer, Row};
use super::{
    children,
    lines::Unit,
    program,
    rows::{self, Comparison},
};

pub mod on_end;
pub mod peer;
pub mod push;
pub mod queue;
pub mod row;

/// The options of `spanwire compare pipe`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What all comparisons of rows have.
    #[command(flatten)]
    pub rows: rows::Options<Row>,
    /// Count no allocations: that needs another program, which is built first
    #[arg(long)]
    pub no_allocations: bool,
}

/// The options of the hidden subcommand.
#[derive(Clone, Debug, clap::Args)]
pub struct ChildOptions {
    /// What all comparisons of rows have.
    #[command(flatten)]
    pub row: rows::ChildOptions<Row>,
    /// Count allocations instead of time.
    #[arg(long)]
    pub allocations: bool,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Report(Comparison<Row>);

/// Runs the whole comparison. Each run says a line on stderr.
///
/// # Errors
///
/// When a peer is not compiled in, or a row fails; the text tells. When allocations cannot be
/// counted, that is a note.
pub fn run(options: &Options) -> Result<Report, String> {
    let mut comparison = rows::run(&options.rows)?;
    if !options.no_allocations
        && let Err(error) = count_allocations(&options.rows, &mut comparison)
    {
        comparison.notes.push(format!("allocations are not counted: {error}"));
    }
    Ok(Report(comparison))
}

/// Measures one row of one peer in this process.
///
/// # Errors
///
/// As [`run`]; allocations are only counted in the program `spanwire-counting`.
pub fn run_child(options: &ChildOptions) -> Result<Vec<f64>, String> {
    if options.allocations {
        let rows::ChildOptions { row, peer, .. } = options.row;
        return row.allocations(peer).map(|count| vec![count]);
    }
    rows::run_child(&options.row)
}

/// Of each cell once: the counts hardly vary.
fn count_allocations(
    options: &rows::Options<Row>,
    comparison: &mut Comparison<Row>,
) -> Result<(), String> {
    let cells = options.cells().into_iter().filter(|(row, _)| row.counts_allocations());
    let cells: Vec<_> = cells.collect();
    if cells.is_empty() {
        return Ok(());
    }
    let program = program::counting()?;
    for (row, peer) in cells {
        let arguments = [rows::arguments(row, peer), vec!["--allocations".to_owned()]].concat();
        let output = children::output(&program, &arguments)?;
        let count = children::figures(&output, 1)?[0];
        comparison.table.add(&row.allocations_bench(), peer, Unit::Allocations, count);
    }
    Ok(())
}

impl Report {
    /// The object for tools. Its keys are stable.
    pub fn to_json(&self) -> Value {
        self.0.to_json()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
