//! One row of one peer, in this process.

use std::{net::SocketAddr, time::Duration};

use super::{
    peer::Peer,
    row::Row,
    samples::{Extent, Samples},
};

/// The options of the hidden subcommand `compare-runtime-child`.
#[derive(Clone, Debug, clap::Args)]
pub struct ChildOptions {
    /// The runtime to measure.
    #[arg(long, value_enum)]
    pub peer: Peer,
    /// The row.
    #[arg(long, value_enum)]
    pub row: Row,
    /// About how long.
    #[arg(long, default_value_t = 100)]
    pub budget_ms: u64,
    /// So many laps instead.
    #[arg(long)]
    pub laps: Option<usize>,
    /// The echo server.
    #[arg(long)]
    pub server: SocketAddr,
}

/// Measures; the figures in the order of [`Row::figures`].
///
/// # Errors
///
/// When the runtime cannot be opened; the text tells.
pub fn run(options: &ChildOptions) -> Result<Vec<f64>, String> {
    let time = Extent::Time(Duration::from_millis(options.budget_ms));
    let samples = Samples::new(options.laps.map_or(time, Extent::Laps));
    options.peer.measure(options.row, samples, options.server)
}
