//! Waiting for a moment.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::current::{self, Armed, Timers};
use super::wheel::TICK;
use crate::sync::budget;

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
    let deadline = Instant::now().checked_add(duration);
    Sleep { deadline, armed: None, is_ahead: duration >= TICK }
}

/// Waits until `deadline`, rounded up to a millisecond. One that has passed is ready at once.
///
/// # Panics
///
/// The future panics when polled on a thread that is not a worker.
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline: Some(deadline), armed: None, is_ahead: false }
}

/// The future of [`sleep`] and [`sleep_until`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    /// None: never.
    deadline: Option<Instant>,
    /// The timer that was last armed for it.
    armed: Option<Armed>,
    /// It was more than a tick ahead when it was made, and was not polled since. Then the clock
    /// need not be asked again: should the moment have passed, the wheel notices as soon as the
    /// worker looks around.
    is_ahead: bool,
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
        self.is_ahead = false;
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
        ready!(budget::proceed(context));
        let ended = self.poll_unlimited(context);
        if ended.is_ready() {
            budget::spend();
        }
        ended
    }
}

impl Sleep {
    /// Polls whatever is left of the task's budget.
    pub(super) fn poll_unlimited(&mut self, context: &Context<'_>) -> Poll<()> {
        current::with_current(|timers| self.poll_in(timers, context))
    }

    fn poll_in(&mut self, timers: &Timers, context: &Context<'_>) -> Poll<()> {
        if let Some(armed) = self.armed.filter(|armed| timers.holds(*armed))
            && timers.rearm(armed, context.waker())
        {
            return Poll::Pending;
        }
        // Never armed here, or expired; the clock decides.
        self.armed = None;
        let Some(deadline) = self.deadline else { return Poll::Pending };
        let is_ahead = mem::take(&mut self.is_ahead);
        if !is_ahead && deadline <= Instant::now() {
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
