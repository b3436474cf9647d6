//! The handle of a running exporter.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use spanwire_runtime::Runtime;

use crate::builder::Builder;
use crate::error::{BuildError, FlushError, ShutdownError};
use crate::pipeline::shared::{GRACE, Shared};
use crate::stats::Stats;

/// A running exporter: one thread that delivers what its doors (such as
/// `otel_0_33::SpanProcessor`) take in.
///
/// Cloning gives another handle of the same exporter. Doors hold one too. When the last handle is
/// dropped without a [`shutdown`](Self::shutdown), what is buffered is flushed for at most
/// [`DROP_LIMIT`]. A provider kept in a global is never dropped: call `shutdown`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
/// // ... hand `&exporter` to `spanwire::otel_0_33::SpanProcessor::new` ...
/// exporter.flush(Duration::from_secs(5))?;
/// exporter.shutdown(Duration::from_secs(5))?;
/// let stats = exporter.stats();
/// assert_eq!(stats.emitted, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Exporter {
    inner: Arc<Inner>,
}

/// How long dropping the last handle may take.
pub const DROP_LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// `None` once shut down.
    runtime: Mutex<Option<Runtime>>,
}

impl Exporter {
    /// Sets up an exporter; see [`Builder`].
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// An exporter as the environment describes it: `builder().build()`.
    ///
    /// # Errors
    ///
    /// As [`Builder::build`].
    pub fn from_env() -> Result<Self, BuildError> {
        Self::builder().build()
    }

    pub(crate) fn assembled(shared: Arc<Shared>, runtime: Runtime) -> Self {
        Self { inner: Arc::new(Inner { shared, runtime: Mutex::new(Some(runtime)) }) }
    }

    /// Delivers everything that was accepted before the call, within `limit`; blocks this thread.
    ///
    /// It works from any thread, inside any async runtime (it needs none of its threads), and from
    /// `Drop`. `Duration::MAX` waits as long as it takes; zero starts the delivery and reports at
    /// once. Requests that wait for their next attempt are tried at once. On a busy machine the
    /// call may overrun its limit by a tenth of a second. Called on the exporter's own thread (by
    /// a diagnostic handler) it cannot wait and reports a timeout.
    ///
    /// # Errors
    ///
    /// [`FlushError::Timeout`] if the limit passed first (nothing is given up: delivery goes on),
    /// [`FlushError::Lost`] if any of it was dropped or rejected since the last flush that told
    /// of losses, [`FlushError::ShutDown`] and [`FlushError::Dead`] if nothing will be delivered
    /// any more, [`FlushError::Forked`] in a forked child.
    pub fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        let shared = &self.inner.shared;
        shared.flush(None, deadline_in(limit), &shared.told)
    }

    /// As [`flush`](Self::flush), as a future for any async runtime. The deadline is kept by the
    /// exporter's own thread. The flush begins with the call, not with the first poll; dropping
    /// the future stops the wait, not the delivery.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub fn flush_async(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<(), FlushError>> + Send + 'static {
        Arc::clone(&self.inner.shared).flush_async(deadline_in(limit))
    }

    /// Stops accepting records, delivers what is buffered within `limit`, and ends the exporter's
    /// thread; blocks this thread. Everything after it is a counted no-op. On a busy machine the
    /// call may overrun its limit by two tenths of a second. Called on the exporter's own thread
    /// (by a diagnostic handler) it begins the shutdown and reports a timeout.
    ///
    /// # Errors
    ///
    /// [`ShutdownError::Timeout`] if the limit passed first: what was left is dropped and counted.
    /// [`ShutdownError::Lost`] if anything accepted was dropped or rejected since the last flush
    /// that told of losses. [`ShutdownError::AlreadyShutDown`] and [`ShutdownError::Dead`] if
    /// there is nothing left to shut down.
    pub fn shutdown(&self, limit: Duration) -> Result<(), ShutdownError> {
        self.inner.shutdown(limit)
    }

    /// As [`shutdown`](Self::shutdown), as a future for any async runtime. The deadline is kept by
    /// the exporter's own thread, which ends once the last handle is dropped. The shutdown begins
    /// with the call, not with the first poll.
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Self::shutdown).
    pub fn shutdown_async(
        &self,
        limit: Duration,
    ) -> impl Future<Output = Result<(), ShutdownError>> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        let ended = Arc::clone(&inner.shared).shut_down_async(deadline_in(limit));
        async move {
            let result = ended.await;
            // Held until here: the last handle to go would cut the delivery off.
            drop(inner);
            result
        }
    }

    /// What happened to every record so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.shared.stats()
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.inner.shared)
    }

    /// Makes the exporter believe that this process is a fork of its own.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn inject_fork(&self) {
        self.inner.shared.plays_child.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Makes the delivery of traces panic, to show what happens then.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn inject_panic(&self) {
        let line = self.inner.shared.line(crate::Signal::Traces);
        line.commands.send(crate::pipeline::command::Command::Panic);
    }
}

impl Inner {
    fn shutdown(&self, limit: Duration) -> Result<(), ShutdownError> {
        let deadline = deadline_in(limit);
        let result = self.shared.shut_down(deadline);
        // Another call's shutdown is left to that call.
        let is_ours = !matches!(result, Err(ShutdownError::AlreadyShutDown));
        if is_ours && !self.shared.is_exporter_thread() && !self.shared.is_forked() {
            self.end_thread(deadline);
        }
        result
    }

    /// Ends the exporter's thread. A thread that does not end in time is left behind.
    fn end_thread(&self, deadline: Option<Instant>) {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if let Some(runtime) = self.take_runtime() {
            runtime.shutdown(left.unwrap_or(Duration::MAX).max(GRACE));
        }
    }

    fn take_runtime(&self) -> Option<Runtime> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.shared.is_forked() {
            // The thread is the parent's; there is nothing here to end or to wait for.
            // Not by the lock, which may be held for ever.
            let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner);
            return std::mem::forget(runtime.take());
        }
        if !self.shared.end.has_begun() {
            // Nobody is left to be told; what is lost is reported as it happens.
            let _ = self.shutdown(DROP_LIMIT);
        } else if !self.shared.is_exporter_thread() {
            // Perhaps a shutdown whose future was dropped is still delivering.
            let deadline = deadline_in(DROP_LIMIT);
            self.shared.end.wait(DROP_LIMIT);
            self.end_thread(deadline);
        }
    }
}

/// `None`, which is never, if the clock cannot count so far.
fn deadline_in(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}
