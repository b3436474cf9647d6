//! The threads, and the queue in front of them.

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::shim::{Condvar, Mutex};
use crate::sync::{thread, unwind};
use crate::sys::fork::Origin;

/// A pool of at most [`THREADS_MAX`] threads; none runs while there is nothing to do for
/// [`IDLE_MAX`].
pub(crate) struct Pool {
    name: String,
    hook: Hook,
    inside: Mutex<Inside>,
    /// A job was queued, or the pool was closed.
    changed: Condvar,
    /// A forked child has none of the threads, and perhaps a lock that stays locked.
    origin: Origin,
}

/// What a thread calls before anything else; what it returns lives as long as the thread.
pub(crate) type Hook = Arc<dyn Fn() -> Box<dyn Any> + Send + Sync>;

/// A pool is no part of any model, so its count is the standard library's.
pub(crate) type SharedPool = Arc<Pool>;

/// Something to run on a thread of the pool; dropped unrun when the pool is closed.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// Why a job was not taken.
#[derive(Debug)]
pub(super) enum Refusal {
    /// [`QUEUE_MAX`] jobs wait already.
    Full,
    /// The runtime has shut down.
    Closed,
    /// The pool is a parent process's.
    Forked,
    /// There is no thread, and none could be started.
    NoThread(io::Error),
}

#[derive(Default)]
struct Inside {
    jobs: VecDeque<Job>,
    threads: usize,
    /// Threads that wait for a job, or were woken for one and are on their way.
    idle: usize,
    closed: bool,
}

impl Pool {
    /// A pool whose threads have `name` and a number, and begin with `hook`.
    pub(crate) fn new(name: String, hook: Hook) -> SharedPool {
        Arc::new(Self {
            name,
            hook,
            inside: Mutex::new(Inside::default()),
            changed: Condvar::new(),
            origin: Origin::here(),
        })
    }

    /// Runs `job` soon.
    pub(super) fn submit(self: &Arc<Self>, job: Job) -> Result<(), Refusal> {
        if !self.origin.is_here() {
            return Err(Refusal::Forked);
        }
        let mut inside = self.inside.lock();
        if inside.closed {
            return Err(Refusal::Closed);
        }
        if inside.jobs.len() >= QUEUE_MAX {
            return Err(Refusal::Full);
        }
        inside.jobs.push_back(job);
        // Each idle thread takes one job, so what exceeds them needs a thread more.
        if inside.jobs.len() <= inside.idle || inside.threads >= THREADS_MAX {
            self.changed.notify_one();
            return Ok(());
        }
        let Err(error) = self.start_thread(&mut inside) else { return Ok(()) };
        // Its destructors are the user's, and run without the lock.
        let refused = inside.jobs.pop_back();
        drop(inside);
        drop(refused);
        Err(Refusal::NoThread(error))
    }

    /// Drops the jobs that wait and sends idle threads away; running jobs run to their end, on
    /// threads that nobody waits for. Nothing in a forked child.
    pub(crate) fn close(&self) {
        if !self.origin.is_here() {
            return;
        }
        let jobs = {
            let mut inside = self.inside.lock();
            inside.closed = true;
            std::mem::take(&mut inside.jobs)
        };
        self.changed.notify_all();
        // Destructors of the user's run without the lock.
        jobs.into_iter().for_each(|job| unwind::quietly(|| drop(job)));
    }

    /// An error if there is no thread, and none could be started.
    fn start_thread(self: &Arc<Self>, inside: &mut Inside) -> io::Result<()> {
        let name = format!("{}-{}", self.name, inside.threads);
        let pool = Arc::clone(self);
        match thread::spawn(&name, STACK_BYTES, move || pool.work()) {
            Ok(_detached) => inside.threads += 1,
            // Some thread will come to it.
            Err(_) if inside.threads > 0 => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// What a thread of the pool does.
    fn work(&self) {
        // It is the user's code; a thread that it has failed works all the same.
        let mut guard = None;
        unwind::quietly(|| guard = Some((self.hook)()));
        while let Some(job) = self.next() {
            unwind::quietly(job);
        }
    }

    /// Waits for a job. None: the thread is counted out, and leaves.
    fn next(&self) -> Option<Job> {
        let mut inside = self.inside.lock();
        loop {
            if let Some(job) = inside.jobs.pop_front() {
                return Some(job);
            }
            if inside.closed {
                inside.threads -= 1;
                return None;
            }
            inside.idle += 1;
            let (woken, wait) = match self.changed.wait_timeout(inside, IDLE_MAX) {
                Ok(woken) => woken,
                Err(poisoned) => poisoned.into_inner(),
            };
            inside = woken;
            inside.idle -= 1;
            if wait.timed_out() && inside.jobs.is_empty() {
                inside.threads -= 1;
                return None;
            }
        }
    }
}

/// More calls at once than this wait for each other.
pub(crate) const THREADS_MAX: usize = 4;
/// More waiting calls than this are refused.
pub(crate) const QUEUE_MAX: usize = 256;
/// A thread without work leaves after this long.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Stack of a thread: getaddrinfo with its plugins is the hungriest of what runs here.
const STACK_BYTES: usize = 512 << 10;

thread_local! {
    /// The pool of the runtime whose worker runs on this thread.
    static CURRENT: RefCell<Option<Arc<Pool>>> = const { RefCell::new(None) };
}

/// This thread's pool; none off a worker.
pub(super) fn current() -> Option<Arc<Pool>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

impl Pool {
    /// Calls `work` with this pool as the thread's.
    pub(crate) fn enter<R>(self: &Arc<Self>, work: impl FnOnce() -> R) -> R {
        let _entered = Entered(CURRENT.replace(Some(Arc::clone(self))));
        work()
    }
}

/// Puts back the pool that the thread had before.
struct Entered(Option<Arc<Pool>>);

impl Drop for Entered {
    fn drop(&mut self) {
        drop(CURRENT.replace(self.0.take()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Makes another call when it is dropped.
    struct Again(Arc<Pool>, Arc<AtomicUsize>);

    impl Drop for Again {
        fn drop(&mut self) {
            let refused = self.0.submit(Box::new(|| ()));
            assert!(matches!(refused, Err(Refusal::NoThread(_))));
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_call_that_gets_no_thread_is_dropped_without_the_lock() {
        // No thread can have such a name.
        let pool = Pool::new(String::from("\0"), Arc::new(|| Box::new(())));
        let drops = Arc::new(AtomicUsize::new(0));
        let again = Again(Arc::clone(&pool), Arc::clone(&drops));
        let refused = pool.submit(Box::new(move || drop(again)));
        assert!(matches!(refused, Err(Refusal::NoThread(_))));
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    }
}
