//! What the crate `hyper` asks of a runtime (`hyper::rt`).

use std::future::Future;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{self, ReadBufCursor};

use super::io::Io;
use crate::net::Stream;
use crate::task::JoinHandle;
use crate::{Handle, spawn_pinned, time};

/// Runs hyper's futures on the worker that runs the caller, so they need not be `Send`. That
/// is what connections over [`Io`] want, which belong to one worker.
///
/// # Panics
///
/// [`execute`](rt::Executor::execute) panics off a worker.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PinnedExecutor;

impl PinnedExecutor {
    /// The executor of whichever worker calls it.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<F: Future + 'static> rt::Executor<F> for PinnedExecutor {
    fn execute(&self, future: F) {
        // Dropping the handle detaches the task.
        drop(spawn_pinned(move || async move { drop(future.await) }));
    }
}

/// Runs hyper's futures on any worker; they have to be `Send`.
impl<F> rt::Executor<F> for Handle
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        drop(self.spawn(future));
    }
}

/// hyper's timers, on a runtime's timing wheels.
///
/// A timer of this crate belongs to the worker that polls it, but hyper wants timers that may
/// be polled anywhere. So each is a small task on a worker: it may be made, polled and
/// dropped on any thread, and costs as much as spawning a task. Once the runtime has shut
/// down, every timer has ended.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use hyper::rt::Timer;
/// use spanwire_runtime::{Builder, compat::TaskTimer};
///
/// let runtime = Builder::new().build()?;
/// let timer = TaskTimer::new(runtime.handle());
/// runtime.block_on(timer.sleep(Duration::from_millis(1)));
/// # Ok::<(), spanwire_runtime::BuildError>(())
/// ```
#[derive(Clone)]
pub struct TaskTimer(Handle);

impl TaskTimer {
    /// Timers on the workers of `runtime`.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self(runtime)
    }

    /// Timers on the runtime whose worker runs the caller.
    ///
    /// # Panics
    ///
    /// Off a worker.
    #[must_use]
    pub fn current() -> Self {
        Self(Handle::current())
    }

    fn start(
        &self,
        sleep: impl FnOnce() -> time::Sleep + Send + 'static,
    ) -> Pin<Box<dyn rt::Sleep>> {
        Box::pin(TaskSleep(Some(self.0.spawn_pinned(sleep))))
    }
}

impl rt::Timer for TaskTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        // From now on, and not from the task's first poll on.
        match Instant::now().checked_add(duration) {
            Some(deadline) => self.sleep_until(deadline),
            None => self.start(|| time::sleep(Duration::MAX)),
        }
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        self.start(move || time::sleep_until(deadline))
    }
}

impl std::fmt::Debug for TaskTimer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskTimer").finish_non_exhaustive()
    }
}

/// Waits for the task that sleeps, and ends it when dropped. None: it has ended.
struct TaskSleep(Option<JoinHandle<()>>);

impl Future for TaskSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(task) = &mut self.0 {
            // An error is a runtime that has shut down.
            let _ended = ready!(Pin::new(task).poll(cx));
            self.0 = None;
        }
        Poll::Ready(())
    }
}

impl rt::Sleep for TaskSleep {}

impl Drop for TaskSleep {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl<S: Deref<Target = Stream> + 'static> rt::Read for Io<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut target: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if target.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let io = self.get_mut();
        let unread = ready!(io.poll_fill(cx))?;
        let count = unread.len().min(target.remaining());
        target.put_slice(&unread[..count]);
        io.consume_unread(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: Deref<Target = Stream> + 'static> rt::Write for Io<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_take(cx, &[IoSlice::new(bytes)])
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_take(cx, pieces)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_sent(cx)
    }

    /// Flushes and ends the sending half; the stream is closed when it is dropped.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_end(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::mpsc;

    use super::*;
    use crate::Builder;

    #[test]
    fn a_timer_that_is_dropped_leaves_no_task_behind() {
        let runtime = Builder::new().build().unwrap();
        let (held, gone) = mpsc::channel::<()>();
        let task = runtime.spawn_pinned(move || async move {
            let _held = held;
            pending().await
        });
        drop(TaskSleep(Some(task)));
        // It would wait for ever if the task did.
        gone.recv().unwrap_err();
    }
}
