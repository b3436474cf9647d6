//! `spanwire compare runtime`: spanwire's runtime beside others, each row of each in a process of
//! its own, in random order, one at a time.
//!
//! ```text
//! compare runtime ──▶ `spanwire compare-runtime-child --peer X --row Y` again and again
//!       └── two echo servers, for all
//! ```
//!
//! A child measures laps for its time budget and reports the lap in the middle ([`samples`]); the
//! parent takes the median of the runs. The bodies are written once ([`tasks`], [`io`],
//! [`outside`]) against a small seam ([`seam`]) that each peer fills in ([`peer`]). What is not
//! measured: fairness, tails other than the wake-up's, more than two processors.

use std::{fmt, path::Path};

use serde_json::{Value, json};

use self::{
    echo::Servers,
    peer::{CANNOT_OPEN, Peer},
    row::Row,
};
use super::{
    children,
    lines::{self, Peer as _, Table, Unit},
    program, rows, samples, versions,
};
use crate::{measure, subject::NEEDS_RIVALS};

pub use child::{ChildOptions, run as run_child};

pub mod child;
pub mod echo;
pub mod io;
pub mod outside;
pub mod peer;
pub mod row;
pub mod seam;
mod strace;
pub mod tasks;

/// The options of `spanwire compare runtime`.
pub type Options = rows::Choices<Row, Peer>;

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Comparison {
    options: Options,
    /// The figures.
    pub table: Table<Peer>,
    /// Peers that cannot run here, each with its reason.
    pub skipped: Vec<(Peer, String)>,
    /// What else a reader must know.
    pub notes: Vec<String>,
}

/// Runs the whole comparison. Each run says a line on stderr.
///
/// # Errors
///
/// When the rivals are not compiled in, or a row fails; the text tells. A driver or a ring that this
/// machine does not have is no failure: its peer is skipped.
pub fn run(options: &Options) -> Result<Comparison, String> {
    let peers = options.peers();
    if cfg!(not(feature = "rivals")) && !peers.iter().all(|peer| peer.is_ours()) {
        return Err(NEEDS_RIVALS.to_owned());
    }
    let servers =
        Servers::start().map_err(|error| format!("cannot start the echo servers: {error}"))?;
    let program = program::on(options.allocator)?;
    let bench = Bench { options, program: &program, servers };
    let mut comparison = Comparison::new(options);
    let peers = bench.leave_out_what_cannot_run(peers, &mut comparison)?;
    for round in 0..options.runs {
        let mut cells = options.cells(&peers);
        fastrand::shuffle(&mut cells);
        for (row, peer) in cells {
            let figures = bench.cell(row, peer)?;
            let text = figures.iter().map(|figure| format!("{figure:.1}")).collect::<Vec<_>>();
            let (text, unit) = (text.join(" "), row.unit());
            children::report(round, options.runs, row, peer, &format!("{text} {unit}"));
            comparison.add(row, peer, &figures);
        }
    }
    if options.rows().contains(&Row::EchoTcp) {
        bench.count_syscalls(&peers, &mut comparison);
    }
    if peers.contains(&Peer::Monoio) && options.rows().contains(&Row::YieldThousandPinned) {
        comparison.notes.push(MONOIO_YIELDS.to_owned());
    }
    comparison.table.sort(&benches());
    Ok(comparison)
}

struct Bench<'a> {
    options: &'a Options,
    program: &'a Path,
    servers: Servers,
}

impl Bench<'_> {
    /// A short run of each peer.
    fn leave_out_what_cannot_run(
        &self,
        peers: Vec<Peer>,
        comparison: &mut Comparison,
    ) -> Result<Vec<Peer>, String> {
        let mut able = Vec::new();
        for peer in peers {
            match self.child(&self.arguments(Row::TimerCancel, peer, &["--laps", "1"])) {
                Ok(_) => able.push(peer),
                Err(error) if error.contains(CANNOT_OPEN) => comparison.skipped.push((peer, error)),
                Err(error) => return Err(format!("{peer} failed: {error}")),
            }
        }
        Ok(able)
    }

    /// One run.
    fn cell(&self, row: Row, peer: Peer) -> Result<Vec<f64>, String> {
        let budget = self.options.budget_ms.to_string();
        let output = self.child(&self.arguments(row, peer, &["--budget-ms", &budget]));
        let output = output.map_err(|error| format!("{peer}, {row} failed: {error}"))?;
        children::figures(&output, row.figures().len())
            .map_err(|error| format!("{peer}, {row}: {error}"))
    }

    /// Of the echo row, once: the counts hardly vary. Two runs of different length, so that what
    /// opening the runtime takes cancels out.
    fn count_syscalls(&self, peers: &[Peer], comparison: &mut Comparison) {
        for &peer in peers {
            match self.syscalls_of(peer) {
                Ok([total, enters]) => {
                    comparison.table.add(ECHO_SYSCALLS, peer, Unit::Calls, total);
                    comparison.table.add(ECHO_ENTERS, peer, Unit::Calls, enters);
                }
                Err(error) => {
                    comparison.notes.push(format!("system calls are not counted: {error}"));
                    return;
                }
            }
        }
    }

    fn syscalls_of(&self, peer: Peer) -> Result<[f64; 2], String> {
        let laps = |laps: usize| {
            let arguments = self.arguments(Row::EchoTcp, peer, &["--laps", &laps.to_string()]);
            strace::count(self.program, &arguments)
        };
        let (short, long) = (laps(TRACED_LAPS)?, laps(2 * TRACED_LAPS)?);
        Ok(["total", "io_uring_enter"].map(|name| {
            let calls = strace::of(&long, name).saturating_sub(strace::of(&short, name));
            calls as f64 / (TRACED_LAPS * io::ECHO_ROUNDS) as f64
        }))
    }

    fn arguments(&self, row: Row, peer: Peer, extent: &[&str; 2]) -> Vec<String> {
        let server = self.servers.of(row).to_string();
        let (row, peer) = (row.to_string(), peer.to_string());
        let words = ["compare-runtime-child", "--row", &row, "--peer", &peer, "--server", &server];
        words.iter().chain(extent).map(|&word| word.to_owned()).collect()
    }

    /// Runs a child to its end; what it wrote to stdout.
    fn child(&self, arguments: &[String]) -> Result<String, String> {
        children::output(self.program, arguments)
    }
}

impl Options {
    fn peers(&self) -> Vec<Peer> {
        if self.peers.is_empty() { Peer::all() } else { self.peers.clone() }
    }

    fn rows(&self) -> Vec<Row> {
        if self.only.is_empty() { Row::all() } else { self.only.clone() }
    }

    /// What one round runs.
    fn cells(&self, peers: &[Peer]) -> Vec<(Row, Peer)> {
        let of = |row: Row| peers.iter().map(move |&peer| (row, peer));
        self.rows().into_iter().flat_map(of).filter(|(row, peer)| row.suits(*peer)).collect()
    }
}

impl Comparison {
    fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            table: Table::default(),
            skipped: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn add(&mut self, row: Row, peer: Peer, figures: &[f64]) {
        for (bench, &figure) in row.figures().iter().zip(figures) {
            self.table.add(bench, peer, row.unit(), figure);
        }
    }

    /// The object for tools. Its keys are stable.
    pub fn to_json(&self) -> Value {
        let skipped = self.skipped.iter();
        json!({
            "subject": "runtime",
            "rows": self.table.to_json(true),
            "counts": self.table.to_json(false),
            "ratios": self.table.ratios(),
            "skipped": skipped
                .map(|(peer, reason)| json!({ "peer": peer.to_string(), "reason": reason }))
                .collect::<Vec<_>>(),
            "notes": self.notes,
            "machine": measure::machine(),
            "versions": versions::of(&VERSIONS_OF),
            "allocator": self.options.allocator.to_string(),
            "runs": self.options.runs,
            "budget_ms": self.options.budget_ms,
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { runs, budget_ms, allocator, .. } = &self.options;
        writeln!(f, "{}", measure::machine())?;
        writeln!(f, "{}, {allocator}", versions::of(&VERSIONS_OF))?;
        writeln!(f, "{runs} runs of {budget_ms} ms; medians\n")?;
        write!(f, "{}", self.table)?;
        for (peer, reason) in &self.skipped {
            write!(f, "\nskipped {peer}: {reason}")?;
        }
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}

/// All of them, in the order of the table.
fn benches() -> Vec<String> {
    let mut benches: Vec<String> = Row::all().into_iter().flat_map(Row::figures).collect();
    let after_echo = benches.iter().position(|bench| *bench == Row::EchoTcp.to_string());
    let at = after_echo.map_or(benches.len(), |at| at + 1);
    benches.splice(at..at, [ECHO_SYSCALLS, ECHO_ENTERS].map(str::to_owned));
    benches
}

/// System calls of a round trip of the echo row, and how many of them are `io_uring_enter`.
const ECHO_SYSCALLS: &str = "echo_tcp_syscalls";
const ECHO_ENTERS: &str = "echo_tcp_io_uring_enters";
/// `LocalScheduler::yield_now` of monoio 0.2.4 pushes to the front of its queue.
const MONOIO_YIELDS: &str =
    "monoio runs a task that wakes itself before all others: its yield lets nobody else run";
/// Laps of a hundred round trips in the shorter of the two traced runs.
const TRACED_LAPS: usize = 10;
pub(super) const VERSIONS_OF: [&str; 7] = [
    "spanwire-runtime",
    "tokio",
    "async-executor",
    "async-io",
    "async-channel",
    "monoio",
    "glommio",
];
