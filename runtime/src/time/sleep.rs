//! Waiting for a moment.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::current::{self, Armed};

/// Waits for `duration`, rounded up to a millisecond. Zero is ready at once; a duration that
/// no clock can express, such as [`Duration::MAX`], never ends.
///
/// # Panics
///
/// The future panics when polled on a thread that is not a worker.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let runtime = spanwire_runtime::Builder::new().build()?;
/// let nap = runtime.spawn(spanwire_runtime::time::sleep(Duration::from_millis(1)));
/// runtime.block_on(nap)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    Sleep { deadline: Instant::now().checked_add(duration), armed: None }
}

/// Waits until `deadline`, rounded up to a millisecond. One that has passed is ready at once.
///
/// # Panics
///
/// The future panics when polled on a thread that is not a worker.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline: Some(deadline), armed: None }
}

/// The future of [`sleep`] and [`sleep_until`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    /// None: never.
    deadline: Option<Instant>,
    /// The timer that was last armed for it.
    armed: Option<Armed>,
}

impl Sleep {
    /// When it ends; none if never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends at `deadline` instead, also if it has ended before.
    pub fn reset(&mut self, deadline: Instant) {
        self.disarm();
        self.deadline = Some(deadline);
    }

    /// Never ends.
    pub(super) fn stop(&mut self) {
        self.disarm();
        self.deadline = None;
    }

    fn disarm(&mut self) {
        if let Some(armed) = self.armed.take() {
            current::disarm(armed);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let timers = current::current();
        if let Some(armed) = self.armed.filter(|armed| timers.holds(*armed))
            && timers.rearm(armed, context.waker())
        {
            return Poll::Pending;
        }
        // Never armed here, or expired; the clock decides.
        self.armed = None;
        let Some(deadline) = self.deadline else { return Poll::Pending };
        if deadline <= Instant::now() {
            return Poll::Ready(());
        }
        self.armed = Some(timers.arm(deadline, context.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}
