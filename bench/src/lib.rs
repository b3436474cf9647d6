//! The `spanwire` command: a demonstration, a load, a receiver, a proxy that misbehaves, a soak, and
//! a comparison with other exporters.
//!
//! In scope: everything that shows what spanwire does and measures what it costs. Out of scope:
//! anything that an application links; this package is not published.
//!
//! ```text
//! demo     a real service ── spanwire ──▶ collector.rs  one process, counts from both ends
//! load     drive.rs ── spanwire ──▶ a sink process    figures of the exporter alone
//! compare  one child process a row ── peer ──▶ one sink     figures side by side
//! soak     drive.rs ── spanwire ──▶ faults/ ──▶ a sink process that is killed and comes back
//! ```
//!
//! [`subject`] is the one place that knows exporters; [`collector`] and [`sink`] decode on their
//! own and share no code with spanwire.

#![forbid(unsafe_code)]

use std::process::ExitCode;

pub mod cli;
pub mod collector;
pub mod compare;
pub mod demo;
pub mod drive;
pub mod env;
pub mod faults;
pub mod histogram;
pub mod load;
pub mod log;
pub mod measure;
pub mod metric;
pub mod receive;
pub mod report;
pub mod seen;
pub mod shape;
pub mod sink;
pub mod soak;
pub mod span;
pub mod subject;
pub mod tally;
pub mod timed;
pub mod waterfall;

/// The whole command: reads the arguments of the process, runs, and says whether nothing was lost.
pub fn main() -> ExitCode {
    cli::main()
}

/// The same in a program whose allocator counts: `allocations` runs what it is given and tells how
/// many there were on this thread.
pub fn main_counting(allocations: measure::CountAllocations) -> ExitCode {
    measure::count_allocations_by(allocations);
    cli::main()
}
