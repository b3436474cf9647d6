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
//! | place | the runner: whoever set `RUNNING` |
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
//! Where a future lives: it is polled by the worker that the scheduler chose. From its first
//! pending poll to its end it is on that worker's list, so the last reference is never the one
//! that drops a future: the worker does, at completion, abort or shutdown. A wake that comes too
//! late finds `COMPLETE`, or a closed queue, and does nothing.

mod header;
mod join;
mod raw;
mod run;
mod state;

use std::future::Future;

pub use self::join::{JoinError, JoinHandle};
#[doc(hidden)]
pub use self::run::{Runnable, TaskRef};
use crate::sync::shim::Arc;

/// Takes tasks that want to run to the worker that runs them.
#[doc(hidden)]
pub trait Schedule: Send + Sync + 'static {
    /// From any thread, with no lock held, and often from inside a poll. If the worker has
    /// closed its queue, it has dropped the future or will; then `task` is simply dropped.
    fn schedule(&self, task: Runnable);
}

/// The list of tasks whose futures a worker has to drop.
#[doc(hidden)]
pub trait Owner {
    /// Adds a task; the result names its place, and is not `u32::MAX`.
    fn adopt(&self, task: TaskRef) -> u32;

    /// Removes the task at `place`, if it is still there.
    fn release(&self, place: u32) -> Option<TaskRef>;
}

/// Makes a task that any worker may run. The caller gives the [`Runnable`] to a queue, or
/// shuts it down.
#[doc(hidden)]
pub fn spawn<F, S>(future: F, scheduler: Arc<S>) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    // SAFETY: the future may be touched by any thread.
    unsafe { new(future, scheduler) }
}

/// Makes a task that one worker runs. `make` is called there, at its first poll.
///
/// # Safety
///
/// - `make` is `Send`, or the caller is that worker;
/// - `scheduler` passes each [`Runnable`] of the task to the same worker's thread, or drops it;
/// - the caller passes the result to that thread too, or shuts it down before it was ever
///   there;
/// - that thread keeps what it adopts until it is released or shut down, and never leaks it
///   to another thread.
#[doc(hidden)]
pub unsafe fn spawn_pinned<M, F, S>(make: M, scheduler: Arc<S>) -> (Runnable, JoinHandle<F::Output>)
where
    M: FnOnce() -> F + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    // Before its first poll an async block holds what it captured and nothing else: `make`.
    // SAFETY: so the block is `Send` until its worker polls it; after that the caller's
    // promises keep it there.
    unsafe { new(async move { make().await }, scheduler) }
}

/// # Safety
///
/// The future is `Send`, or the promises of [`spawn_pinned`] are kept.
unsafe fn new<F, S>(future: F, scheduler: Arc<S>) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    let task = raw::allocate(future, scheduler);
    // SAFETY: a new task has NOTIFIED set and two references, one for each of these; its
    // output is the future's.
    unsafe { (Runnable::from_raw(task), JoinHandle::new(TaskRef::from_raw(task))) }
}
