//! What a driver has done, readable from any thread while it goes on.

use crate::sync::counter::Counter;

/// What a driver has done since it was opened. Every number only grows.
///
/// Each is counted on its own. Read on the worker's thread, or once the worker has ended, they
/// are exact: `started - completed` operations are in flight then, of which `leaked` will
/// never end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Operations started.
    pub started: u64,
    /// Operations that have ended, whatever their result.
    pub completed: u64,
    /// Operations whose cancellation was asked for, because their future was dropped or the
    /// driver shuts down.
    pub cancelled: u64,
    /// Operations whose future was dropped while the kernel had them.
    pub orphaned: u64,
    /// Times that an operation was started again, because it ended with an interruption that
    /// nobody had asked for and may safely be repeated.
    pub repeated: u64,
    /// Completions that named no operation in flight; each was ignored.
    pub stale: u64,
    /// Operations that had not ended when the driver was shut down: their memory is leaked,
    /// because the kernel may still touch it.
    pub leaked: u64,
    /// Times that completions found no room in the ring's queue and had to be fetched from the
    /// kernel's own list. None is lost by it.
    pub overflows: u64,
    /// System calls that submitted or waited: `io_uring_enter`, or a wait of the poller.
    pub enters: u64,
}

/// The counters behind [`Counts`]; only the worker's thread writes them.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(super) started: Counter,
    pub(super) completed: Counter,
    pub(super) cancelled: Counter,
    pub(super) orphaned: Counter,
    pub(super) repeated: Counter,
    pub(super) stale: Counter,
    pub(super) leaked: Counter,
    pub(super) overflows: Counter,
    pub(super) enters: Counter,
}

impl Tally {
    /// The counters as they are, from any thread.
    pub(crate) fn read(&self) -> Counts {
        Counts {
            started: self.started.get(),
            completed: self.completed.get(),
            cancelled: self.cancelled.get(),
            orphaned: self.orphaned.get(),
            repeated: self.repeated.get(),
            stale: self.stale.get(),
            leaked: self.leaked.get(),
            overflows: self.overflows.get(),
            enters: self.enters.get(),
        }
    }
}
