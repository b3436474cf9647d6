//! Spawning from anywhere, and what all handles and workers share.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::stats::{Stats, WorkerStats};
use super::worker::Io;
use crate::blocking::{self, Blocking, Hook, Pool as BlockingPool, SharedPool};
use crate::driver;
use crate::executor::{self, Pool};
use crate::sync::doorbell::Doorbell;
use crate::sync::shim::{Arc, Condvar, Mutex};
use crate::sys::fork::Origin;
use crate::task::JoinHandle;

/// Spawns tasks on a [`Runtime`](super::Runtime) from anywhere. It may outlive the runtime; then
/// tasks are dropped at once, and their handles say `Aborted`.
///
/// # Examples
///
/// ```
/// use spanwire_runtime::{Builder, Handle};
///
/// let runtime = Builder::new().build()?;
/// let handle = runtime.handle();
/// let elsewhere = std::thread::spawn(move || handle.spawn(async { 7 }));
/// assert_eq!(runtime.block_on(elsewhere.join().unwrap())?, 7);
/// assert!(Handle::try_current().is_none(), "this thread is no worker");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Handle(pub(super) Arc<Inner>);

impl Handle {
    /// The handle of the runtime whose worker runs on this thread.
    ///
    /// # Panics
    ///
    /// Off a worker; see [`try_current`](Self::try_current).
    #[must_use]
    pub fn current() -> Self {
        Self::try_current().expect(OFF_WORKER)
    }

    /// The handle of the runtime whose worker runs on this thread, if one does.
    #[must_use]
    pub fn try_current() -> Option<Self> {
        let here = |handle: &Self| !handle.0.pool.is_forked();
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten().filter(here)
    }

    /// As [`Runtime::spawn`](super::Runtime::spawn).
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Pool::spawn(&self.0.pool, future)
    }

    /// As [`Runtime::spawn_pinned`](super::Runtime::spawn_pinned).
    pub fn spawn_pinned<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: `make` is `Send`.
        unsafe { Pool::spawn_pinned(&self.0.pool, make) }
    }

    /// As [`Runtime::spawn_pinned_on`](super::Runtime::spawn_pinned_on).
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
        // SAFETY: `make` is `Send`.
        unsafe { Pool::spawn_on(&self.0.pool, worker, make) }
    }

    /// Runs a call that blocks on the runtime's pool; see [`blocking::spawn_blocking`].
    pub fn spawn_blocking<F, T>(&self, call: F) -> Blocking<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        blocking::spawn_on(&self.0.blocking, call)
    }

    /// How many workers the runtime was built with.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.0.pool.workers()
    }

    /// As [`Runtime::stats`](super::Runtime::stats).
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }
}

/// Spawns a task on the workers of the runtime that runs the caller.
///
/// # Panics
///
/// Off a worker: use a [`Handle`] there.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    executor::with_pool(|pool| Pool::spawn(pool, future)).expect(OFF_WORKER)
}

/// Spawns a task that stays on the worker that runs the caller. Neither `make` nor the future
/// has to be `Send`.
///
/// # Panics
///
/// Off a worker: use a [`Handle`] there.
pub fn spawn_pinned<M, F>(make: M) -> JoinHandle<F::Output>
where
    M: FnOnce() -> F + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    // SAFETY: this thread is one of the pool's workers.
    executor::with_pool(|pool| unsafe { Pool::spawn_pinned(pool, make) }).expect(OFF_WORKER)
}

/// What the worker threads, the runtime and its handles share.
pub(super) struct Inner {
    pub(super) pool: Arc<Pool>,
    pub(super) blocking: SharedPool,
    /// One a worker, once all have started.
    drivers: OnceLock<Box<[Io]>>,
    alive: Arc<Alive>,
}

impl Inner {
    pub(super) fn new(workers: usize, name: &str, hook: Hook) -> Self {
        Self {
            pool: Pool::new(workers),
            blocking: BlockingPool::new(format!("{name}-call"), hook),
            drivers: OnceLock::new(),
            alive: Arc::default(),
        }
    }

    /// The drivers of the workers, in their order. The first call counts.
    pub(super) fn set_drivers(&self, drivers: Box<[Io]>) {
        let _ = self.drivers.set(drivers);
    }

    /// Which driver a worker has, and why.
    pub(super) fn driver(&self, worker: usize) -> &driver::Report {
        &self.io(worker).report
    }

    pub(super) fn doorbell(&self, worker: usize) -> Arc<Doorbell> {
        Arc::clone(self.pool.doorbell(worker))
    }

    fn io(&self, worker: usize) -> &Io {
        &self.drivers.get().expect("handles are given out once all workers have started")[worker]
    }

    pub(super) fn stats(&self) -> Stats {
        let workers = (0..self.pool.workers()).map(|worker| {
            let (tally, io) = (self.pool.tally(worker), self.io(worker));
            WorkerStats {
                polls: tally.polls.get(),
                steals: tally.steals.get(),
                stolen: tally.stolen.get(),
                parks: tally.parks.get(),
                rung: tally.rung.get(),
                queued: tally.queued.get(),
                pinned: tally.pinned.get(),
                mailbox: self.pool.mail(worker) as u64,
                driver: io.report.clone(),
                io: io.tally.read(),
            }
        });
        Stats { workers: workers.collect(), injected: self.pool.injected() as u64 }
    }

    /// A worker thread is about to start; it has ended when the result is dropped.
    pub(super) fn begin(&self) -> Begun {
        *self.alive.workers.lock() += 1;
        Begun(Arc::clone(&self.alive))
    }

    /// Tells the workers to end and waits for them. False if it takes longer, and at once in a
    /// forked child: the workers are the parent's.
    pub(super) fn stop(&self, limit: Duration) -> bool {
        if self.pool.is_forked() {
            return false;
        }
        self.pool.stop();
        !self.pool.is_here() && self.alive.wait(limit)
    }
}

/// Calls `work` with the runtime as the thread's.
pub(super) fn enter(inner: &Arc<Inner>, work: impl FnOnce()) {
    let _entered = Entered(CURRENT.replace(Some(Handle(Arc::clone(inner)))));
    work();
}

thread_local! {
    /// The runtime whose worker runs on this thread.
    static CURRENT: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// Puts back the handle that the thread had before.
struct Entered(Option<Handle>);

impl Drop for Entered {
    fn drop(&mut self) {
        drop(CURRENT.replace(self.0.take()));
    }
}

/// How many worker threads have not done all their work.
#[derive(Default)]
struct Alive {
    workers: Mutex<usize>,
    changed: Condvar,
    /// The process of the threads.
    origin: Origin,
}

impl Alive {
    fn wait(&self, limit: Duration) -> bool {
        // A moment that no clock can express is no limit; a day at a time does as well.
        let deadline = Instant::now().checked_add(limit);
        let mut workers = self.workers.lock();
        while *workers > 0 {
            let left = deadline.map_or(DAY, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            workers = match self.changed.wait_timeout(workers, left.min(DAY)) {
                Ok((workers, _)) => workers,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }
}

/// Says that a worker has ended when dropped.
pub(super) struct Begun(Arc<Alive>);

impl Drop for Begun {
    fn drop(&mut self) {
        if self.0.origin.is_here() {
            *self.0.workers.lock() -= 1;
            self.0.changed.notify_all();
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("workers", &self.workers()).finish_non_exhaustive()
    }
}

/// An upper bound for one wait on a condition, far from where systems overflow.
const DAY: Duration = Duration::from_secs(86_400);
const OFF_WORKER: &str = "this thread is not a worker of the spanwire runtime: spawn through a \
                          `Handle` that was taken from the `Runtime`";
