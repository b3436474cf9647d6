//! How a runtime is set up and started.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc as StdArc, mpsc};

use super::handle::{Handle, Inner};
use super::worker::{Opened, work};
use super::{DROP_LIMIT, Runtime};
use crate::blocking::Hook;
use crate::driver;
use crate::executor::WORKERS_MAX;
use crate::sync::shim::Arc;
use crate::sync::thread;

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
    workers: usize,
    name: String,
    stack_bytes: usize,
    io: driver::Choice,
    hook: Hook,
}

impl Builder {
    /// The defaults: one worker, a thread named `spanwire` with a stack of 512 KiB, and whichever
    /// driver works best.
    pub fn new() -> Self {
        Self {
            workers: 1,
            name: String::from("spanwire"),
            stack_bytes: STACK_BYTES,
            io: driver::Choice::default(),
            hook: StdArc::new(|| Box::new(())),
        }
    }

    /// How many workers to start: threads with a driver, timers and queues of their own. 1 by
    /// default, at most 64.
    ///
    /// With one worker, each task is at home there, and nothing is paid for stealing. More
    /// workers share the tasks of [`Runtime::spawn`]; a pinned task, and with it each socket,
    /// stays where it was spawned.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Name of the worker thread; Linux shows its first 15 bytes. If there are several, a number
    /// follows it, from 0; the threads for blocking calls add `-call-` and a number.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Stack of a worker thread, in bytes. Memory is used only as far as the stack grows.
    pub fn stack_bytes(mut self, bytes: usize) -> Self {
        self.stack_bytes = bytes;
        self
    }

    /// Which driver to use; [`driver::Choice::from_env`] reads `SPANWIRE_IO`.
    pub fn io(mut self, choice: driver::Choice) -> Self {
        self.io = choice;
        self
    }

    /// Runs on each thread of the runtime before anything else, workers and those for blocking
    /// calls; what it returns lives as long as the thread. The last hook counts.
    pub fn on_thread_start<G: 'static>(
        mut self,
        hook: impl Fn() -> G + Send + Sync + 'static,
    ) -> Self {
        self.hook = StdArc::new(move || Box::new(hook()));
        self
    }

    /// Starts the workers, and returns when they are ready. Signals are blocked in their threads,
    /// but for those that a thread causes itself. If one cannot start, the others end.
    ///
    /// # Errors
    ///
    /// [`BuildError::Workers`] if there shall be none or too many; [`BuildError::Thread`] if a
    /// thread could not be started, or the hook panicked; [`BuildError::Driver`] if the driver
    /// that was asked for is not available.
    pub fn build(self) -> Result<Runtime, BuildError> {
        if !(1..=WORKERS_MAX).contains(&self.workers) {
            return Err(BuildError::Workers(self.workers));
        }
        let inner = Arc::new(Inner::new(self.workers, &self.name, StdArc::clone(&self.hook)));
        self.start(&inner).inspect_err(|_| {
            // Those that have started end, and the others begin and find that they shall.
            _ = inner.stop(DROP_LIMIT);
        })?;
        Ok(Runtime::new(Handle(inner)))
    }

    fn start(&self, inner: &Arc<Inner>) -> Result<(), BuildError> {
        let (ready, opened) = mpsc::channel();
        for worker in 0..self.workers {
            self.start_worker(inner, worker, ready.clone())?;
        }
        // If all threads die before they have said anything, nobody is left to send.
        drop(ready);
        let mut workers: Vec<_> = (0..self.workers).map(|_| None).collect();
        for _ in 0..self.workers {
            let (worker, opened) = opened.recv().map_err(|_| BuildError::Thread(died()))?;
            workers[worker] = Some(opened.map_err(BuildError::Driver)?);
        }
        inner.set_drivers(workers.into_iter().flatten().collect());
        Ok(())
    }

    fn start_worker(
        &self,
        inner: &Arc<Inner>,
        worker: usize,
        ready: mpsc::Sender<(usize, Opened)>,
    ) -> Result<(), BuildError> {
        let name = match self.workers {
            1 => self.name.clone(),
            _ => format!("{}-{worker}", self.name),
        };
        let (inner, io, hook) = (Arc::clone(inner), self.io, StdArc::clone(&self.hook));
        let begun = inner.begin();
        // Nobody joins the thread, which might block: the guard says when its work is done.
        let started = thread::spawn(&name, self.stack_bytes, move || {
            // Dropped last, panic or not: what the others hold on to goes before.
            let _ends = begun;
            let (inner, hook) = (inner, hook);
            work(&inner, worker, io, &hook, ready);
        });
        started.map(drop).map_err(BuildError::Thread)
    }
}

fn died() -> io::Error {
    io::Error::other("a worker thread panicked before it was ready; see the panic's own message")
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a runtime did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// So many workers cannot be started.
    Workers(usize),
    /// No thread could be started.
    Thread(io::Error),
    /// No driver could be opened.
    Driver(io::Error),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workers(workers) => {
                write!(f, "{workers} workers were asked for: ask for 1 to {WORKERS_MAX}")
            }
            Self::Thread(error) => write!(f, "could not start the worker thread: {error}"),
            Self::Driver(error) => write!(f, "could not open the driver: {error}"),
        }
    }
}

impl Error for BuildError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Workers(_) => None,
            Self::Thread(error) | Self::Driver(error) => Some(error),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workers, name, stack_bytes, io, hook: _ } = self;
        f.debug_struct("Builder")
            .field("workers", workers)
            .field("name", name)
            .field("stack_bytes", stack_bytes)
            .field("io", io)
            .finish_non_exhaustive()
    }
}

/// Enough for deep async call chains and a TLS handshake; a page at a time is used.
const STACK_BYTES: usize = 512 << 10;
