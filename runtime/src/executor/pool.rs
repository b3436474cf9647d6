//! What all threads know of the workers, and how a task comes to one of them.

use std::future::Future;

use crossbeam_utils::CachePadded;

use super::local::{self, Local};
use super::mailbox::Mailbox;
use super::owned::Owned;
use super::refuse::refuse;
use super::tally::Tally;
use crate::sync::deque::{self, Stealer};
use crate::sync::doorbell::Doorbell;
use crate::sync::idle::Idle;
use crate::sync::injector::Injector;
use crate::sync::shim::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::shim::{Arc, Mutex};
use crate::sys::fork::Origin;
use crate::task::JoinHandle;
use crate::task::schedule::{self, Home, Runnable, Schedule};

/// Some workers that run tasks together: the scheduler of all their tasks.
///
/// ```text
///   spawn, wake from elsewhere            spawn, wake on the worker
///      |              |                      |             |
///   pinned         others                 others         pinned
///      v              v                      v             v
///   mailbox       injector    overflow    own queue     own list
///   of its  ---.  of all  <-------------- of 256 ---.   without
///   worker     |     |                       ^      |   bound
///              |     '---- a share ----------'      |      |
///              '---------------------------------- run ----'
/// ```
pub struct Pool {
    posts: Box<[Post]>,
    /// What comes from outside for any worker, and what did not fit into a worker's queue.
    injector: Injector<Runnable>,
    idle: Idle,
    /// Set once: the workers are to end.
    stop: AtomicBool,
    /// Counts pinned spawns from elsewhere, which the workers get in turn.
    turn: CachePadded<AtomicUsize>,
    /// The workers' process: a forked child has no worker, and locks that nobody may ever open.
    origin: Origin,
}

/// What other threads know of one worker.
struct Post {
    /// Pinned tasks from elsewhere.
    mailbox: Mailbox,
    doorbell: Arc<Doorbell>,
    /// The other end of its queue.
    stealer: Stealer<Runnable>,
    /// Its queue, until the worker begins.
    queue: Mutex<Option<deque::Local<Runnable>>>,
    /// The tasks that wait and are not pinned, of those that it polled first. Whoever completes
    /// one takes it out.
    waiting: CachePadded<Mutex<Owned>>,
    tally: CachePadded<Tally>,
}

impl Pool {
    /// Workers that do not run yet.
    ///
    /// # Panics
    ///
    /// If there are none, or more than [`WORKERS_MAX`].
    pub fn new(workers: usize) -> Arc<Self> {
        assert!((1..=WORKERS_MAX).contains(&workers), "{workers} workers");
        Arc::new(Self {
            posts: (0..workers).map(|_| Post::new()).collect(),
            injector: Injector::new(),
            idle: Idle::new(workers),
            stop: AtomicBool::new(false),
            turn: CachePadded::new(AtomicUsize::new(0)),
            origin: Origin::here(),
        })
    }

    /// How many workers there are.
    #[inline]
    pub fn workers(&self) -> usize {
        self.posts.len()
    }

    /// How to wake one of the workers.
    pub fn doorbell(&self, worker: usize) -> &Arc<Doorbell> {
        &self.posts[worker].doorbell
    }

    /// What one of the workers has done.
    pub fn tally(&self, worker: usize) -> &Tally {
        &self.posts[worker].tally
    }

    /// How many tasks wait for one of the workers that were pinned to it, and woken or spawned
    /// elsewhere.
    pub fn mail(&self, worker: usize) -> usize {
        self.posts[worker].mailbox.len()
    }

    /// How many tasks wait for any of the workers.
    pub fn injected(&self) -> usize {
        self.injector.len()
    }

    /// Spawns a task that any worker may run. When the workers are about to end, or are those of
    /// a parent process, the task is aborted here and now; nothing but its captures exists yet.
    #[inline]
    pub fn spawn<F>(pool: &Arc<Self>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (task, join) = schedule::spawn(future, local::scheduler_of(pool), pool.common());
        pool.submit(task);
        join
    }

    /// Spawns a task that one worker runs: this one, or, from outside, each in its turn.
    ///
    /// # Safety
    ///
    /// - `make` is `Send`, or this thread is one of the workers.
    pub unsafe fn spawn_pinned<M, F>(pool: &Arc<Self>, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let worker = local::number_in(pool).unwrap_or_else(|| pool.next_in_turn());
        // SAFETY: the caller's; a worker pins to itself.
        unsafe { Self::spawn_on(pool, worker, make) }
    }

    /// Spawns a task that the given worker runs.
    ///
    /// # Panics
    ///
    /// If there is no such worker.
    ///
    /// # Safety
    ///
    /// - `make` is `Send`, or this thread is that worker.
    pub unsafe fn spawn_on<M, F>(pool: &Arc<Self>, worker: usize, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        assert!(
            worker < pool.workers(),
            "there is no worker {worker}: this runtime has {}, counted from 0",
            pool.workers(),
        );
        let home = Home::worker(worker as u8);
        let scheduler = local::scheduler_of(pool);
        // SAFETY: for `make`, the caller's. Tasks with this home go to that worker's own list,
        // by itself, or to its mailbox, which only it empties. It keeps what it adopts in a
        // list that never leaves its thread, and what was never there is shut down by `submit`.
        let (task, join) = unsafe { schedule::spawn_pinned(make, scheduler, home) };
        pool.submit(task);
        join
    }

    /// As [`spawn_on`](Self::spawn_on), for what any thread may ask for.
    pub fn spawn_sent_to<M, F>(pool: &Arc<Self>, worker: usize, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: `make` is `Send`.
        unsafe { Self::spawn_on(pool, worker, make) }
    }

    /// Queues a new task, from any thread.
    #[inline]
    fn submit(&self, task: Runnable) {
        if let Err(task) = local::offer(self, task, Local::submit) {
            self.submit_from_outside(task);
        }
    }

    #[inline(never)]
    fn submit_from_outside(&self, task: Runnable) {
        if let Err(task) = self.post(task) {
            refuse(task);
        }
    }

    /// Leaves a task where its worker finds it, and wakes one that may run it. Gives it back if
    /// the workers have ended, or are a parent process's.
    pub(super) fn post(&self, task: Runnable) -> Result<(), Runnable> {
        if self.is_forked() {
            return Err(task);
        }
        if let Some(worker) = task.home().pinned_to() {
            let post = &self.posts[worker];
            post.mailbox.push(task)?;
            post.doorbell.ring();
        } else {
            self.injector.push(task)?;
            self.wake_one();
        }
        Ok(())
    }

    /// Wakes a worker, if there is one that could help.
    #[inline]
    pub(super) fn wake_one(&self) {
        if let Some(worker) = self.idle.worker_to_wake() {
            self.posts[worker].doorbell.ring();
        }
    }

    /// Asks the workers to end.
    pub fn stop(&self) {
        // Ordering: Relaxed; `ring` fences, and so does a worker before it looks a last time.
        self.stop.store(true, Ordering::Relaxed);
        self.posts.iter().for_each(|post| post.doorbell.ring());
    }

    #[inline]
    pub(super) fn is_stopping(&self) -> bool {
        // Ordering: Relaxed; see `stop`.
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether this process is a fork of the workers'.
    #[inline]
    pub fn is_forked(&self) -> bool {
        !self.origin.is_here()
    }

    /// Whether the calling thread is one of the workers.
    pub fn is_here(&self) -> bool {
        local::number_in(self).is_some()
    }

    /// The home of a task that any worker may run. A lone worker has no use for the queues that
    /// are shared: all its tasks are at home there.
    #[inline]
    pub(super) fn common(&self) -> Home {
        if self.workers() == 1 { Home::worker(0) } else { Home::ANYWHERE }
    }

    fn next_in_turn(&self) -> usize {
        // Ordering: Relaxed; any order of turns is fair.
        self.turn.fetch_add(1, Ordering::Relaxed) % self.workers()
    }

    pub(super) fn idle(&self) -> &Idle {
        &self.idle
    }

    pub(super) fn injector(&self) -> &Injector<Runnable> {
        &self.injector
    }

    pub(super) fn mailbox(&self, worker: usize) -> &Mailbox {
        &self.posts[worker].mailbox
    }

    pub(super) fn stealer(&self, worker: usize) -> &Stealer<Runnable> {
        &self.posts[worker].stealer
    }

    pub(super) fn waiting(&self, worker: usize) -> &Mutex<Owned> {
        &self.posts[worker].waiting
    }

    /// The queue of a worker that begins.
    ///
    /// # Panics
    ///
    /// If it has begun before.
    pub(super) fn begin(&self, worker: usize) -> deque::Local<Runnable> {
        let queue = self.posts[worker].queue.lock().take();
        queue.unwrap_or_else(|| panic!("worker {worker} was started twice"))
    }

    /// Whether there is something that an idle worker might take.
    pub(super) fn has_common_work(&self) -> bool {
        // In this order: tasks move from the injector to the workers' own queues.
        !self.injector.is_empty() || self.posts.iter().any(|post| !post.stealer.is_empty())
    }
}

impl Post {
    fn new() -> Self {
        let (queue, stealer) = deque::deque();
        Self {
            mailbox: Mailbox::default(),
            doorbell: Arc::new(Doorbell::new()),
            stealer,
            queue: Mutex::new(Some(queue)),
            waiting: CachePadded::default(),
            tally: CachePadded::default(),
        }
    }
}

impl Schedule for Pool {
    #[inline]
    fn schedule_here(this: *const Self, task: Runnable) -> Result<(), Runnable> {
        local::offer(this, task, Local::wake)
    }

    fn schedule(&self, task: Runnable) {
        let Err(task) = self.post(task) else { return };
        if self.is_forked() {
            // The future may be half-way through a poll of the parent's: nobody here may touch
            // it.
            std::mem::forget(task);
        } else {
            // Workers that are gone have dropped the future, or will, so the reference is all
            // there is.
            drop(task);
        }
    }

    fn is_forked(&self) -> bool {
        Self::is_forked(self)
    }

    #[inline]
    fn reclaim(this: Arc<Self>) {
        local::keep(this);
    }
}

/// More workers than this are a mistake: a task's header has 8 bits for their number, and
/// whoever has more cores starts several runtimes.
pub const WORKERS_MAX: usize = 64;
