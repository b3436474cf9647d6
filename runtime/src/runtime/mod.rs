//! Builder, Runtime and Handle: the one place that joins the parts.

mod builder;
mod handle;
mod stats;
mod worker;

use std::fmt;
use std::future::Future;
use std::time::Duration;

pub use self::builder::{BuildError, Builder};
pub use self::handle::{Handle, spawn, spawn_pinned};
pub use self::stats::{Stats, WorkerStats};
use crate::blocking::Blocking;
use crate::driver;
use crate::executor;
use crate::sync::doorbell::Doorbell;
use crate::sync::shim::Arc;
use crate::task::JoinHandle;

/// Worker threads, each with queues, timers and a driver.
///
/// Dropping it shuts it down as [`shutdown`](Self::shutdown) does, and waits at most one
/// second; not at all on one of its own workers.
///
/// # Examples
///
/// ```
/// let runtime = spanwire_runtime::Builder::new().build()?;
/// let task = runtime.spawn(async { 6 * 7 });
/// assert_eq!(runtime.block_on(task)?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "dropping a runtime ends its tasks"]
pub struct Runtime {
    handle: Handle,
    /// `shutdown` has waited already.
    is_shut_down: bool,
}

impl Runtime {
    fn new(handle: Handle) -> Self {
        Self { handle, is_shut_down: false }
    }

    /// Polls `future` on the calling thread, and parks the thread while it is pending. No
    /// worker and no driver serves it: sockets and timers belong to tasks spawned on a worker,
    /// whose handles may be awaited here.
    ///
    /// # Panics
    ///
    /// On a worker of any spanwire runtime, where it would stop every task.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        executor::block_on(future)
    }

    /// Spawns a task that any worker may run, and that moves to another one when that has
    /// nothing else to do. After shutdown the task is dropped at once, and its handle says
    /// `Aborted`.
    ///
    /// Nobody is woken for the one task that a worker is about to run next: what a task spawns or
    /// wakes last may wait for its present poll to end, even if other workers sleep. A poll that
    /// computes for long yields now and then, and one that blocks belongs into
    /// [`spawn_blocking`](Self::spawn_blocking).
    ///
    /// Sockets and timers belong to the worker that made them: a task that owns some is better
    /// pinned.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Spawns a task that stays on one worker: `make` is called there, and the future may be
    /// `!Send`. It is polled and dropped there and nowhere else. On a worker of this runtime,
    /// that is the worker; from elsewhere each worker has its turn.
    pub fn spawn_pinned<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn_pinned(make)
    }

    /// As [`spawn_pinned`](Self::spawn_pinned), on the worker with that number, from 0.
    ///
    /// # Panics
    ///
    /// If there is no such worker.
    pub fn spawn_pinned_on<M, F>(&self, worker: usize, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn_pinned_on(worker, make)
    }

    /// Runs a call that blocks on the runtime's pool of threads for that; see
    /// [`blocking::spawn_blocking`](crate::blocking::spawn_blocking).
    pub fn spawn_blocking<F, T>(&self, call: F) -> Blocking<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.handle.spawn_blocking(call)
    }

    /// A handle for spawning from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// How many workers there are.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.handle.workers()
    }

    /// The doorbell of worker 0, for a [`crate::pipe::Pipe`] that is drained there.
    pub fn doorbell(&self) -> Arc<Doorbell> {
        self.doorbell_of(0)
    }

    /// The doorbell of the worker with that number, from 0.
    ///
    /// # Panics
    ///
    /// If there is no such worker.
    pub fn doorbell_of(&self, worker: usize) -> Arc<Doorbell> {
        self.handle.0.doorbell(worker)
    }

    /// Which driver worker 0 has, and why. The others have the same, unless the system ran short
    /// of something in between: see [`stats`](Self::stats).
    pub fn driver(&self) -> &driver::Report {
        self.handle.0.driver(0)
    }

    /// What the workers have done, and what is queued now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.stats()
    }

    /// Drops all tasks and ends the workers; waits at most `limit`. True if they ended in time.
    ///
    /// On one of its own workers it waits for nothing, and returns false. Neither does it in a
    /// process that was forked from the runtime's: that has no part of it.
    pub fn shutdown(mut self, limit: Duration) -> bool {
        self.is_shut_down = true;
        self.handle.0.stop(limit)
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.is_shut_down {
            self.handle.0.stop(DROP_LIMIT);
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("workers", &self.workers())
            .field("driver", self.driver())
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn anywhere<T: Send + Sync>() {}
    anywhere::<Runtime>();
    anywhere::<Handle>();
    // A handle passes the output on; it is not shared.
    anywhere::<JoinHandle<std::cell::Cell<u8>>>();
    anywhere::<crate::task::JoinError>();
    anywhere::<crate::blocking::BlockingError>();
};

/// How long dropping a runtime may keep its owner waiting.
const DROP_LIMIT: Duration = Duration::from_secs(1);
