//! The executor: runs tasks on a worker thread, and knows no I/O.
//!
//! A worker has a queue that only it touches, and a mailbox for everyone else. A wake on the
//! worker's own thread goes to the queue and rings nobody; a wake from elsewhere goes to the
//! mailbox, then rings the doorbell. What the worker does when it has nothing to run, and every
//! 61 tasks in between, is up to its `Park`.

mod block_on;
mod mailbox;
mod owned;
mod worker;
mod yield_now;

#[cfg(not(feature = "internals"))]
pub(crate) use self::block_on::block_on;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use self::block_on::block_on;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use self::mailbox::Mailbox;
pub(crate) use self::worker::{Shared, is_worker, run};
pub use self::yield_now::{YieldNow, yield_now};

/// How a worker looks around and how it waits.
pub(crate) trait Park {
    /// Looks for timers, completions and the like that are due, and wakes their tasks. Does not
    /// block.
    fn turn(&mut self);

    /// Waits until there may be something to do. The worker has nothing to run now; whoever
    /// gives it something later rings its doorbell, and until then `has_work` says whether
    /// somebody has. Returns whether it has looked around as [`turn`](Self::turn) does: not if
    /// there was work, so that busy neighbours cannot keep timers and driver waiting for ever.
    fn park(&mut self, has_work: &dyn Fn() -> bool) -> bool;
}

#[cfg(test)]
mod tests;
