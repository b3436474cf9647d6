//! Calls that block, off the worker: a small pool of threads for each runtime.
//!
//! At most 4 calls run at once and 256 wait; a call more is refused, not queued without bound.
//! Threads without work leave after 10 seconds. What runs cannot be interrupted: when the
//! runtime shuts down, calls that wait are dropped, and those that run are left to themselves.

mod pool;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use self::pool::Refusal;
pub(crate) use self::pool::{Hook, Pool, SharedPool};
use crate::sync::shim::Mutex;
use crate::sync::unwind::{self, Panic, Payload};
use crate::sys::fork::Origin;

/// Runs `call` on a thread that may block, and returns its result.
///
/// Dropping the result detaches the call. Its error is found when it is awaited:
///
/// # Errors
///
/// See [`BlockingError`]. Off a worker there is no pool, which is an error too.
///
/// # Examples
///
/// ```
/// let runtime = spanwire_runtime::Builder::new().build()?;
/// let task = runtime.spawn(async {
///     spanwire_runtime::blocking::spawn_blocking(|| std::fs::read("/proc/self/stat")).await
/// });
/// assert!(runtime.block_on(task)???.len() > 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn spawn_blocking<F, T>(call: F) -> Blocking<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match pool::current() {
        Some(pool) => spawn_on(&pool, call),
        None => Blocking::refused(BlockingError::NoRuntime),
    }
}

/// As [`spawn_blocking`], on a given pool.
pub(crate) fn spawn_on<F, T>(pool: &SharedPool, call: F) -> Blocking<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let slot = Arc::new(Mutex::new(Slot::Running(None)));
    let promise = Promise(Arc::clone(&slot));
    let job = Box::new(move || {
        let result = unwind::catch(call).map_err(|payload| BlockingError::Panicked(payload.into()));
        promise.keep(result);
    });
    // A job that is refused is dropped with its promise; the reason comes second and stays.
    match pool.submit(job) {
        Ok(()) => Blocking { slot, origin: Origin::here() },
        Err(refusal) => Blocking::refused(refusal.into()),
    }
}

/// Waits for a call on the blocking pool; see [`spawn_blocking`].
#[must_use = "the call runs anyway, but its result is lost unless this is awaited"]
pub struct Blocking<T> {
    slot: Arc<Mutex<Slot<T>>>,
    /// Where the call runs, if it does: no child will see its end, nor may it touch the lock.
    origin: Origin,
}

/// Why a blocking call has no result.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlockingError {
    /// The call panicked; here is what it panicked with.
    Panicked(Panic),
    /// Too many calls wait already: try again later.
    Full,
    /// The runtime shut down before the call began.
    ShutDown,
    /// No thread could be started for it.
    NoThread(io::Error),
    /// The runtime is a parent process's, from which this one was forked: start one here.
    Forked,
    /// The caller is not on a worker of a runtime: spawn a task that makes the call.
    NoRuntime,
}

impl BlockingError {
    /// Whether the call panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }

    /// What the call panicked with, for [`std::panic::resume_unwind`].
    ///
    /// # Errors
    ///
    /// Gives the error back if the call did not panic.
    pub fn into_panic(self) -> Result<Payload, Self> {
        match self {
            Self::Panicked(panic) => Ok(panic.into_inner()),
            other => Err(other),
        }
    }
}

/// What the two ends share.
enum Slot<T> {
    /// Not there yet; who waits.
    Running(Option<Waker>),
    /// The result.
    Done(Result<T, BlockingError>),
    /// Taken.
    Taken,
}

impl<T> Blocking<T> {
    fn refused(error: BlockingError) -> Self {
        Self { slot: Arc::new(Mutex::new(Slot::Done(Err(error)))), origin: Origin::here() }
    }
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, BlockingError>;

    /// # Panics
    ///
    /// When polled again after it has returned the result.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.origin.is_here() {
            return Poll::Ready(Err(BlockingError::Forked));
        }
        // Foreign code runs while the slot is not locked: the clone now, the drop of an old
        // waker after the lock.
        let mut waker = Some(context.waker().clone());
        let mut slot = self.slot.lock();
        if let Slot::Running(waiting) = &mut *slot {
            mem::swap(waiting, &mut waker);
            drop(slot);
            return Poll::Pending;
        }
        match mem::replace(&mut *slot, Slot::Taken) {
            Slot::Done(result) => Poll::Ready(result),
            _ => panic!("a blocking call must not be polled after it has returned its result"),
        }
    }
}

/// The duty to fill a slot; dropped unkept, it says that the runtime shut down.
struct Promise<T>(Arc<Mutex<Slot<T>>>);

impl<T> Promise<T> {
    fn keep(self, result: Result<T, BlockingError>) {
        self.fill(result);
    }

    /// Fills the slot unless it is full.
    fn fill(&self, result: Result<T, BlockingError>) {
        let mut slot = self.0.lock();
        let Slot::Running(waiting) = &mut *slot else { return };
        let waiting = waiting.take();
        *slot = Slot::Done(result);
        drop(slot);
        unwind::quietly(|| waiting.into_iter().for_each(Waker::wake));
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        self.fill(Err(BlockingError::ShutDown));
    }
}

impl From<Refusal> for BlockingError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full => Self::Full,
            Refusal::Closed => Self::ShutDown,
            Refusal::Forked => Self::Forked,
            Refusal::NoThread(error) => Self::NoThread(error),
        }
    }
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(panic) => {
                let text = panic.message().unwrap_or("something that is not text");
                write!(f, "the blocking call panicked: {text}")
            }
            Self::Full => {
                write!(f, "{} blocking calls wait already, try again later", pool::QUEUE_MAX)
            }
            Self::ShutDown => f.write_str("the runtime shut down before the blocking call began"),
            Self::NoThread(error) => {
                write!(f, "the system refused a thread for the blocking call: {error}")
            }
            Self::Forked => f.write_str(
                "the runtime belongs to the process that this one was forked from, start one here",
            ),
            Self::NoRuntime => f.write_str(
                "a blocking call was made off the workers of the spanwire runtime, spawn a task \
                 that makes it",
            ),
        }
    }
}

impl Error for BlockingError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoThread(error) => Some(error),
            _ => None,
        }
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}
