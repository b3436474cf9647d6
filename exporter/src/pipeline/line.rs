//! A line: all that an exporter has once for each signal.

use spanwire_runtime::pipe::Pipe;

use crate::pipeline::command::Commands;
use crate::pipeline::ledger::{Ledger, Life};
use crate::stats::{Dropped, SignalStats};

/// From the doors of one signal to its collector. A task of its own delivers what is in the
/// pipe, over lanes of its own.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) pipe: Pipe,
    pub(crate) ledger: Ledger,
    pub(crate) commands: Commands,
}

impl Line {
    pub(crate) fn new(pipe: Pipe) -> Self {
        Self { pipe, ledger: Ledger::new(), commands: Commands::default() }
    }

    /// Records accepted whose fate is open.
    pub(crate) fn pending(&self) -> u64 {
        self.ledger.in_flight(&self.pipe.counters())
    }

    pub(crate) fn has_died(&self) -> bool {
        self.ledger.life() == Life::Died
    }

    /// The counters now.
    pub(crate) fn stats(&self) -> SignalStats {
        let (pipe, ledger) = (self.pipe.counters(), &self.ledger);
        SignalStats {
            emitted: ledger.emitted(&pipe),
            delivered: ledger.delivered(),
            rejected: ledger.rejected(),
            dropped: ledger.dropped(&pipe),
            in_flight: ledger.in_flight(&pipe),
        }
    }

    /// What came of records in a forked child: nothing. The parent's counts are the parent's.
    pub(crate) fn stats_of_child(&self) -> SignalStats {
        let forked = self.ledger.forked();
        let dropped = Dropped { forked, ..Dropped::default() };
        SignalStats { emitted: forked, dropped, ..SignalStats::default() }
    }
}
