//! Builder and Runtime: the one place that joins the parts.

use std::future::Future;
use std::time::Duration;

use crate::driver;
use crate::sync::doorbell::Doorbell;
use crate::sync::shim::Arc;
use crate::task::JoinHandle;

/// Sets up a [`Runtime`].
#[derive(Default)]
pub struct Builder {
    _todo: (),
}

impl Builder {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }
    /// Name of the worker thread.
    pub fn thread_name(self, _name: impl Into<String>) -> Self {
        todo!()
    }
    /// Stack of the worker thread, in bytes.
    pub fn stack_bytes(self, _bytes: usize) -> Self {
        todo!()
    }
    /// Which driver to use.
    pub fn io(self, _choice: driver::Choice) -> Self {
        todo!()
    }
    /// Runs on the worker thread before anything else; what it returns lives as long as the thread.
    pub fn on_thread_start<G: 'static>(self, _hook: impl FnOnce() -> G + Send + 'static) -> Self {
        todo!()
    }
    /// Starts the worker.
    pub fn build(self) -> Result<Runtime, BuildError> {
        todo!()
    }
}

/// Why a runtime did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum BuildError {
    /// No thread could be started.
    Thread(std::io::Error),
    /// No driver could be opened.
    Driver(std::io::Error),
}

/// One worker thread with a queue, timers and a driver.
#[derive(Debug)]
pub struct Runtime {
    _todo: (),
}

impl Runtime {
    /// Polls `future` on the calling thread, which may be any but the worker's.
    pub fn block_on<F: Future>(&self, _future: F) -> F::Output {
        todo!()
    }
    /// Spawns a stealable task.
    pub fn spawn<F>(&self, _future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        todo!()
    }
    /// Spawns a task that stays on one worker; the future is made there and may be `!Send`.
    pub fn spawn_pinned<M, F>(&self, _make: M) -> JoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        todo!()
    }
    /// The worker's doorbell, for a [`crate::pipe::Pipe`].
    pub fn doorbell(&self) -> Arc<Doorbell> {
        todo!()
    }
    /// Which driver runs, and why.
    pub fn driver(&self) -> &driver::Report {
        todo!()
    }
    /// Drops all tasks and ends the worker; waits at most `limit`. True if it ended in time.
    pub fn shutdown(self, _limit: Duration) -> bool {
        todo!()
    }
}
