//! The handle of a running exporter.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::builder::Builder;
use crate::error::{BuildError, FlushError, ShutdownError};
use crate::pipeline::home::{Home, Live};
use crate::pipeline::shared::GRACE;
use crate::stats::Stats;

/// A running exporter: one thread that delivers what its doors (such as
/// `otel_0_33::SpanProcessor`) take in.
///
/// Cloning gives another handle of the same exporter. Doors hold one too. When the last handle is
/// dropped without a [`shutdown`](Self::shutdown), what is buffered is flushed for at most
/// [`DROP_LIMIT`]. A provider kept in a global is never dropped: call `shutdown`.
///
/// # Forks
///
/// A forked child has this exporter too: empty, with statistics of its own, and with a thread,
/// buffers and connections of its own as soon as a record ends in it. What the parent had is the
/// parent's, and it does not notice. Doors and handles go on working in the child, and so does
/// the last handle's flush. An exporter that was shut down before the fork is shut down in the
/// child. A handler of diagnostics and a source of headers are called in both processes, so they
/// must not rely on a lock that another thread may have held at the fork; the same holds for a
/// caller's own TLS configuration. What this crate does not do: the
/// SDK's own batch processors and periodic reader have threads that stay in the parent, and its
/// generator of ids is copied, so that parent and child give out the same ids.
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
    home: Arc<Home>,
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

    pub(crate) fn assembled(home: Home) -> Self {
        Self { inner: Arc::new(Inner { home: Arc::new(home) }) }
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
    /// any more, [`FlushError::Forked`] in a forked child that could start no exporter.
    pub fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        match self.inner.home.existing() {
            None => Ok(()),
            Some(Err(absent)) => Err(absent.flush_error()),
            Some(Ok(Live { shared, .. })) => shared.flush(None, deadline_in(limit), &shared.told),
        }
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
        let begun = match self.inner.home.existing() {
            None => Err(Ok(())),
            Some(Err(absent)) => Err(Err(absent.flush_error())),
            Some(Ok(live)) => Ok(Arc::clone(&live.shared).flush_async(deadline_in(limit))),
        };
        async move {
            match begun {
                Ok(flush) => flush.await,
                Err(done) => done,
            }
        }
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
        let begun = match inner.begin_shutdown() {
            Err(done) => Err(done),
            Ok(live) => Ok(Arc::clone(&live.shared).shut_down_async(deadline_in(limit))),
        };
        async move {
            let result = match begun {
                Ok(ended) => ended.await,
                Err(done) => done,
            };
            // Held until here: the last handle to go would cut the delivery off.
            drop(inner);
            result
        }
    }

    /// What happened to every record so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.inner.home.stats()
    }

    /// Whether somebody is to get the records of `signal`.
    #[cfg(feature = "otel_0_33")]
    pub(crate) fn wants(&self, signal: crate::Signal) -> bool {
        !self.inner.home.settings().lines[signal.index()].is_off
    }

    pub(crate) fn home(&self) -> Arc<Home> {
        Arc::clone(&self.inner.home)
    }

    /// Makes the delivery of traces panic, to show what happens then.
    #[cfg(feature = "internals")]
    #[doc(hidden)]
    pub fn inject_panic(&self) {
        if let Some(live) = self.inner.home.live() {
            let line = live.shared.line(crate::Signal::Traces);
            line.commands.send(crate::pipeline::command::Command::Panic);
        }
    }
}

impl Inner {
    fn shutdown(&self, limit: Duration) -> Result<(), ShutdownError> {
        let deadline = deadline_in(limit);
        let live = match self.begin_shutdown() {
            Ok(live) => live,
            Err(done) => return done,
        };
        let result = live.shared.shut_down(deadline);
        // Another call's shutdown is left to that call.
        let is_ours = !matches!(result, Err(ShutdownError::AlreadyShutDown));
        if is_ours && !live.shared.is_exporter_thread() {
            end_thread(live, deadline);
        }
        result
    }

    /// What there is to shut down in this process; if there is nothing, that was it.
    fn begin_shutdown(&self) -> Result<&Live, Result<(), ShutdownError>> {
        let is_first = self.home.close();
        match self.home.existing() {
            Some(Ok(live)) => Ok(live),
            Some(Err(absent)) => Err(Err(absent.shutdown_error())),
            None if is_first => Err(Ok(())),
            None => Err(Err(ShutdownError::AlreadyShutDown)),
        }
    }
}

impl Drop for Inner {
    /// Delivers what came in, in this process; what its parent has is the parent's.
    fn drop(&mut self) {
        let Some(Ok(live)) = self.home.existing() else { return };
        if !live.shared.end.has_begun() {
            // Nobody is left to be told; what is lost is reported as it happens.
            let _ = self.shutdown(DROP_LIMIT);
        } else if !live.has_ended() && !live.shared.is_exporter_thread() {
            // Perhaps a shutdown whose future was dropped is still delivering.
            let deadline = deadline_in(DROP_LIMIT);
            live.shared.end.wait(DROP_LIMIT);
            end_thread(live, deadline);
        }
    }
}

/// Ends the exporter's thread. A thread that does not end in time is left behind.
fn end_thread(live: &Live, deadline: Option<Instant>) {
    let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
    if let Some(runtime) = live.take_runtime() {
        runtime.shutdown(left.unwrap_or(Duration::MAX).max(GRACE));
    }
}

/// `None`, which is never, if the clock cannot count so far.
fn deadline_in(limit: Duration) -> Option<Instant> {
    Instant::now().checked_add(limit)
}
