//! Tasks: one heap cell a future.
//!
//! A cell has a header, a scheduler and a stage (the future, then its output). It is reached
//! through counted references: one of the queue it waits in (or of whoever runs it), one of the
//! [`JoinHandle`], one of its worker's list, and one of each waker. Who may touch a field is
//! decided by the state word (`state.rs`) alone:
//!
//! | field | who, and when |
//! |---|---|
//! | state | anyone with a reference |
//! | scheduler | shared, read only |
//! | place, lister | the runner |
//! | stage | before `COMPLETE` the runner; then the join handle; without one, the runner that completed it |
//! | join waker | by the rules below |
//!
//! The join waker:
//!
//! 1. `JOIN_WAKER` starts as 0. While it is 0 and there is a join handle, the field is the
//!    handle's to read and write.
//! 2. While it is 1, the handle may read it; so may the runner once `COMPLETE` is set. Nobody
//!    writes.
//! 3. Before `COMPLETE` only the handle changes the bit (to lend the waker or to take it back);
//!    after it only the runner does, once, when it has woken the handle.
//! 4. The handle goes first: before `COMPLETE` it takes the waker back and drops it; after it,
//!    it drops the waker if the bit is 0, else the runner does, on finding no handle.
//!
//! Where a future lives: it is polled by the workers that the scheduler chose. From the first
//! poll that leaves it waiting to its end it is on the list of the worker that made this poll, so
//! the last reference is never the one that drops a future: a worker does, at completion, abort
//! or shutdown. While a task is queued by its runner (a new one, or one that yielded) it may be on
//! no list yet: then whoever empties that queue drops the future. A wake that comes too late
//! finds `COMPLETE`, or a closed queue, and does nothing.

mod header;
mod join;
mod raw;
mod run;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod schedule;
#[cfg(not(feature = "internals"))]
pub(crate) mod schedule;
mod state;

pub use self::join::{JoinError, JoinHandle};
pub use crate::sync::unwind::Panic;
