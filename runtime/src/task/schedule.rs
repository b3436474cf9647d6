//! What an executor needs of tasks: to make them, and to be told when they want to run.

use std::future::Future;

pub use super::header::{Home, Place};
use super::join::JoinHandle;
use super::raw;
pub use super::run::{Runnable, TaskRef};
use crate::sync::shim::Arc;

/// Takes tasks that want to run to a worker that runs them.
pub trait Schedule: Send + Sync + Sized + 'static {
    /// The same as [`schedule`](Self::schedule) without a reference to the scheduler: takes
    /// `task` if this thread is a worker of the scheduler at `this`, which keeps it alive, and
    /// gives the task back elsewhere. `this` is only compared.
    #[inline]
    fn schedule_here(this: *const Self, task: Runnable) -> Result<(), Runnable> {
        let _ = this;
        Err(task)
    }

    /// From any thread, with no lock held, and often from inside a poll. If all workers that
    /// may run it have closed their queues, the one that has it in its list has dropped the
    /// future, or will; then `task` is simply dropped.
    fn schedule(&self, task: Runnable);

    /// Whether this process is a fork of the workers': no task of theirs will ever end here.
    fn is_forked(&self) -> bool {
        false
    }

    /// A task was freed: here is its reference to the scheduler, for the next one.
    #[inline]
    fn reclaim(this: Arc<Self>) {
        drop(this);
    }
}

/// What the runner of a task tells the worker that it works for.
pub trait Owner {
    /// Adds a task to the list of those whose futures this worker has to drop before it ends.
    fn adopt(&self, task: TaskRef) -> Place;

    /// Removes the task from its list, if it is still there. The place may be in the list of
    /// another worker if the task's home is [`Home::ANYWHERE`].
    fn release(&self, home: Home, place: Place) -> Option<TaskRef>;

    /// Queues a task that wants to be run again, behind all others. The worker is still its
    /// runner: what is not run has to be shut down.
    fn requeue(&self, task: Runnable);
}

/// Makes a task that any worker may run, or with another `home` that one alone does. The caller
/// is its runner: it gives the [`Runnable`] to a queue, or shuts it down.
#[inline]
pub fn spawn<F, S>(future: F, scheduler: Arc<S>, home: Home) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    // SAFETY: the future may be touched by any thread.
    unsafe { new(future, scheduler, home) }
}

/// Makes a task that one worker runs. `make` is called there, at its first poll.
///
/// # Safety
///
/// - `make` is `Send`, or the caller is that worker;
/// - `home` is that worker, and `scheduler` passes each [`Runnable`] of the task to its thread,
///   or drops it;
/// - the caller passes the result to that thread too, or shuts it down before it was ever
///   there;
/// - that thread keeps what it adopts until it is released or shut down, and never leaks it
///   to another thread.
#[inline]
pub unsafe fn spawn_pinned<M, F, S>(
    make: M,
    scheduler: Arc<S>,
    home: Home,
) -> (Runnable, JoinHandle<F::Output>)
where
    M: FnOnce() -> F + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    // Before its first poll an async block holds what it captured and nothing else: `make`.
    // SAFETY: so the block is `Send` until its worker polls it; after that the caller's
    // promises keep it there.
    unsafe { new(async move { make().await }, scheduler, home) }
}

/// # Safety
///
/// The future is `Send`, or the promises of [`spawn_pinned`] are kept.
#[inline]
unsafe fn new<F, S>(future: F, scheduler: Arc<S>, home: Home) -> (Runnable, JoinHandle<F::Output>)
where
    F: Future + 'static,
    F::Output: Send + 'static,
    S: Schedule,
{
    let task = raw::allocate(future, scheduler, home);
    // SAFETY: a new task has a runner and two references, one for each of these; its output
    // is the future's.
    unsafe { (Runnable::from_raw(task), JoinHandle::new(TaskRef::from_raw(task))) }
}
