//! What an executor needs of tasks: to make them, and to be told when they want to run.

use std::future::Future;

use super::join::JoinHandle;
use super::raw;
pub use super::run::{Runnable, TaskRef};
use crate::sync::shim::Arc;

/// Takes tasks that want to run to the worker that runs them.
pub trait Schedule: Send + Sync + 'static {
    /// From any thread, with no lock held, and often from inside a poll. If the worker has
    /// closed its queue, it has dropped the future or will; then `task` is simply dropped.
    fn schedule(&self, task: Runnable);

    /// Whether this process is a fork of the workers': no task of theirs will ever end here.
    fn is_forked(&self) -> bool {
        false
    }
}

/// The list of tasks whose futures a worker has to drop.
pub trait Owner {
    /// Adds a task; the result names its place, and is not `u32::MAX`.
    fn adopt(&self, task: TaskRef) -> u32;

    /// Removes the task at `place`, if it is still there.
    fn release(&self, place: u32) -> Option<TaskRef>;
}

/// Makes a task that any worker may run. The caller gives the [`Runnable`] to a queue, or
/// shuts it down.
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
