//! Builder and Runtime: the one place that joins the parts.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::blocking::{self, Blocking, Pool, SharedPool};
use crate::driver::{self, Driver};
use crate::executor::{self, Park, Shared};
use crate::sync::doorbell::{Bed, Doorbell};
use crate::sync::shim::{Arc, Condvar, Mutex};
use crate::sync::{thread, watch};
use crate::sys::fork::Origin;
use crate::task::{JoinHandle, schedule};
use crate::time::Timers;

/// Sets up a [`Runtime`].
///
/// # Examples
///
/// ```
/// use spanwire_runtime::{Builder, driver};
///
/// let runtime = Builder::new().thread_name("telemetry").io(driver::Choice::Epoll).build()?;
/// assert_eq!(runtime.driver().kind, driver::Kind::Epoll);
/// # Ok::<(), spanwire_runtime::BuildError>(())
/// ```
#[must_use = "a builder does nothing until `build`"]
pub struct Builder {
    name: String,
    stack_bytes: usize,
    io: driver::Choice,
    hook: Hook,
}

/// Runs first on the worker thread; the result lives as long as the thread.
type Hook = Box<dyn FnOnce() -> Box<dyn std::any::Any> + Send>;

impl Builder {
    /// The defaults: a thread named `spanwire` with a stack of 512 KiB, and whichever driver
    /// works best.
    pub fn new() -> Self {
        Self {
            name: String::from("spanwire"),
            stack_bytes: STACK_BYTES,
            io: driver::Choice::default(),
            hook: Box::new(|| Box::new(())),
        }
    }

    /// Name of the worker thread; Linux shows its first 15 bytes. The threads for blocking
    /// calls add a number to it.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Stack of the worker thread, in bytes. Memory is used only as far as the stack grows.
    pub fn stack_bytes(mut self, bytes: usize) -> Self {
        self.stack_bytes = bytes;
        self
    }

    /// Which driver to use; [`driver::Choice::from_env`] reads `SPANWIRE_IO`.
    pub fn io(mut self, choice: driver::Choice) -> Self {
        self.io = choice;
        self
    }

    /// Runs on the worker thread before anything else; what it returns lives as long as the
    /// thread. The last hook counts.
    pub fn on_thread_start<G: 'static>(
        mut self,
        hook: impl FnOnce() -> G + Send + 'static,
    ) -> Self {
        self.hook = Box::new(|| Box::new(hook()));
        self
    }

    /// Starts the worker, and returns when it is ready. All signals are blocked in its thread.
    ///
    /// # Errors
    ///
    /// [`BuildError::Thread`] if the thread could not be started, or the hook panicked;
    /// [`BuildError::Driver`] if the driver that was asked for is not available.
    pub fn build(self) -> Result<Runtime, BuildError> {
        let parts = Parts {
            worker: Arc::new(Shared::new(Arc::new(Doorbell::new()))),
            pool: Pool::new(format!("{}-call", self.name)),
            ended: Arc::default(),
        };
        let (ready, opened) = mpsc::sync_channel(1);
        let (io, hook, on_thread) = (self.io, self.hook, parts.clone());
        // Nobody joins the thread, which might block: `ended` says when its work is done.
        let _detached = thread::spawn(&self.name, self.stack_bytes, move || {
            // Dropped last, panic or not.
            let _ends = Ends(Arc::clone(&on_thread.ended));
            on_thread.work(io, hook, &ready);
        })
        .map_err(BuildError::Thread)?;
        match opened.recv() {
            Ok(Ok(report)) => Ok(Runtime { handle: Handle(parts), report, is_shut_down: false }),
            Ok(Err(error)) => Err(BuildError::Driver(error)),
            Err(mpsc::RecvError) => Err(BuildError::Thread(io::Error::other(
                "the worker thread panicked before it was ready; see the panic's own message",
            ))),
        }
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// One worker thread with a queue, timers and a driver.
///
/// Dropping it shuts it down as [`shutdown`](Self::shutdown) does, and waits at most one
/// second; not at all on its own worker.
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
    report: driver::Report,
    /// `shutdown` has waited already.
    is_shut_down: bool,
}

impl Runtime {
    /// Polls `future` on the calling thread, and parks the thread while it is pending. No
    /// worker and no driver serves it: sockets and timers belong to tasks spawned on the
    /// worker, whose handles may be awaited here.
    ///
    /// # Panics
    ///
    /// On a worker of any spanwire runtime, where it would stop every task.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        executor::block_on(future)
    }

    /// Spawns a task that may be run by any worker. (There is one worker so far.) After
    /// shutdown the task is dropped at once, and its handle says `Aborted`.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Spawns a task that stays on one worker: `make` is called there, and the future may be
    /// `!Send`. It is polled and dropped there and nowhere else.
    pub fn spawn_pinned<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn_pinned(make)
    }

    /// A handle for spawning from elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The worker's doorbell, for a [`crate::pipe::Pipe`].
    pub fn doorbell(&self) -> Arc<Doorbell> {
        Arc::clone(self.handle.0.worker.doorbell())
    }

    /// Which driver runs, and why.
    pub fn driver(&self) -> &driver::Report {
        &self.report
    }

    /// Drops all tasks and ends the worker; waits at most `limit`. True if it ended in time.
    ///
    /// On its own worker it waits for nothing, and returns false. Neither does it in a process
    /// that was forked from the runtime's: that has no part of it.
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

/// Spawns tasks on a [`Runtime`] from anywhere. It may outlive the runtime; then tasks are
/// dropped at once, and their handles say `Aborted`.
#[derive(Clone)]
pub struct Handle(Parts);

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
        let here = |handle: &Self| handle.0.ended.origin.is_here();
        CURRENT.try_with(|current| current.borrow().clone()).ok().flatten().filter(here)
    }

    /// As [`Runtime::spawn`].
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (task, join) = schedule::spawn(future, Arc::clone(&self.0.worker));
        self.0.worker.submit(task);
        join
    }

    /// As [`Runtime::spawn_pinned`].
    pub fn spawn_pinned<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: `make` is `Send`, and for the rest see `pin_to`.
        unsafe { self.pin_to(make) }
    }

    /// Runs a call that blocks on the runtime's pool; see [`blocking::spawn_blocking`].
    pub fn spawn_blocking<F, T>(&self, call: F) -> Blocking<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        blocking::spawn_on(&self.0.pool, call)
    }

    /// # Safety
    ///
    /// `make` is `Send`, or this thread is the worker's.
    unsafe fn pin_to<M, F>(&self, make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        // SAFETY: `Shared` is the scheduler of one worker. It passes tasks to that worker's
        // queue, or to the mailbox that only the worker empties; the worker keeps what it
        // adopts in a list that never leaves its thread, and `submit` shuts down what was
        // never there.
        let (task, join) = unsafe { schedule::spawn_pinned(make, Arc::clone(&self.0.worker)) };
        self.0.worker.submit(task);
        join
    }
}

/// Spawns a task on the worker that runs the caller.
///
/// # Panics
///
/// Off a worker: use a [`Handle`] there.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    Handle::current().spawn(future)
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
    // SAFETY: a current handle is that of this thread's worker.
    unsafe { Handle::current().pin_to(make) }
}

/// Why a runtime did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// No thread could be started.
    Thread(io::Error),
    /// No driver could be opened.
    Driver(io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thread(error) => write!(f, "could not start the worker thread: {error}"),
            Self::Driver(error) => write!(f, "could not open the driver: {error}"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let (Self::Thread(error) | Self::Driver(error)) = self;
        Some(error)
    }
}

/// What the worker thread, the runtime and its handles share.
#[derive(Clone)]
struct Parts {
    worker: Arc<Shared>,
    pool: SharedPool,
    ended: Arc<Ended>,
}

impl Parts {
    /// The worker thread, from beginning to end.
    fn work(self, io: driver::Choice, hook: Hook, ready: &mpsc::SyncSender<Opened>) {
        let _guard = hook();
        let driver = match Driver::open(io) {
            Err(error) => return drop(ready.send(Err(error))),
            Ok((driver, report)) => {
                self.worker.doorbell().attach_driver(driver.unpark());
                // Whoever builds the runtime waits for this.
                drop(ready.send(Ok(report)));
                driver
            }
        };
        let timers = Timers::new();
        let mut look = Look { driver: &driver, timers: &timers, worker: &self.worker };
        // Tasks are dropped inside, where their sockets and timers still find their owners.
        driver.enter(|| timers.enter(|| self.enter(|| executor::run(&self.worker, &mut look))));
        if !self.ended.origin.is_here() {
            // A task has forked, and this is the child. Who waits for a timer is not its own.
            return std::mem::forget(timers);
        }
        driver.shutdown(DRIVER_LIMIT);
    }

    fn enter(&self, work: impl FnOnce()) {
        let _closes = Closes(&self.pool);
        let _entered = Entered(CURRENT.replace(Some(Handle(self.clone()))));
        self.pool.enter(work);
    }

    /// Tells the worker to end and waits for it. False if it takes longer, and at once in a forked
    /// child: the worker is the parent's.
    fn stop(&self, limit: Duration) -> bool {
        if !self.ended.origin.is_here() {
            return false;
        }
        self.worker.stop();
        !self.worker.is_here() && self.ended.wait(limit)
    }
}

/// What opening the driver came to.
type Opened = io::Result<driver::Report>;

/// How the worker looks around and sleeps: the wheel, the driver, the watches and the doorbell
/// together.
struct Look<'a> {
    driver: &'a Driver,
    timers: &'a Rc<Timers>,
    worker: &'a Shared,
}

impl Look<'_> {
    /// Sleeps until rung, or until the next timer or completion.
    fn sleep(&self, bed: Bed) {
        let deadline = self.timers.next_deadline();
        match bed {
            Bed::Futex => self.worker.doorbell().sleep(deadline),
            Bed::Driver => {
                let now = Instant::now();
                self.driver.park(deadline.map(|at| at.saturating_duration_since(now)));
            }
        }
    }
}

impl Park for Look<'_> {
    fn turn(&mut self) {
        self.driver.turn();
        self.timers.fire();
        watch::rescan_all();
    }

    fn park(&mut self, has_work: &dyn Fn() -> bool) -> bool {
        // The kernel owes nothing: then a futex is the cheaper bed, and shows no iowait.
        let bed = if self.driver.in_flight() == 0 { Bed::Futex } else { Bed::Driver };
        let doorbell = self.worker.doorbell();
        doorbell.lie_down(bed, watch::any_wants_first());
        // The last look, after the doorbell knows; see its picture.
        if has_work() || watch::rescan_all() {
            doorbell.get_up();
            return false;
        }
        self.sleep(bed);
        doorbell.get_up();
        self.timers.fire();
        watch::rescan_all();
        // On the futex there is nothing in flight that the driver could have ended.
        true
    }
}

/// Whether the worker thread has done all its work.
#[derive(Default)]
struct Ended {
    is: Mutex<bool>,
    changed: Condvar,
    /// The process of the thread.
    origin: Origin,
}

impl Ended {
    fn wait(&self, limit: Duration) -> bool {
        // A moment that no clock can express is no limit; a day at a time does as well.
        let deadline = Instant::now().checked_add(limit);
        let mut is = self.is.lock();
        while !*is {
            let left = deadline.map_or(DAY, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return false;
            }
            is = match self.changed.wait_timeout(is, left.min(DAY)) {
                Ok((is, _)) => is,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }
}

/// Says so when dropped.
struct Ends(Arc<Ended>);

impl Drop for Ends {
    fn drop(&mut self) {
        if self.0.origin.is_here() {
            *self.0.is.lock() = true;
            self.0.changed.notify_all();
        }
    }
}

/// Closes the pool when dropped.
struct Closes<'a>(&'a Pool);

impl Drop for Closes<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
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

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, stack_bytes, io, hook: _ } = self;
        f.debug_struct("Builder")
            .field("name", name)
            .field("stack_bytes", stack_bytes)
            .field("io", io)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("driver", &self.report).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

const _: () = {
    const fn anywhere<T: Send + Sync>() {}
    anywhere::<Runtime>();
    anywhere::<Handle>();
    // A handle passes the output on; it is not shared.
    anywhere::<JoinHandle<std::cell::Cell<u8>>>();
};

/// Enough for deep async call chains and a TLS handshake; a page at a time is used.
const STACK_BYTES: usize = 512 << 10;
/// How long dropping a runtime may keep its owner waiting.
const DROP_LIMIT: Duration = Duration::from_secs(1);
/// How long the worker waits for the kernel to let go of cancelled operations. What it still
/// holds after that is leaked.
const DRIVER_LIMIT: Duration = Duration::from_millis(500);
/// An upper bound for one wait on a condition, far from where systems overflow.
const DAY: Duration = Duration::from_secs(86_400);
const OFF_WORKER: &str = "this thread is not a worker of the spanwire runtime: spawn through a \
                          `Handle` that was taken from the `Runtime`";
