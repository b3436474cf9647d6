//! Bounding a future by a moment.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::sleep::{Sleep, sleep, sleep_until};

/// The deadline passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed;

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the deadline passed before the operation ended")
    }
}

impl Error for Elapsed {}

/// Bounds `future` by `limit`. The future is polled first, so one that is ready wins over a
/// limit of zero; [`Duration::MAX`] is no limit.
///
/// # Errors
///
/// [`Elapsed`] when the limit passed first; the future is then dropped with this one.
///
/// # Panics
///
/// The result panics when polled on a thread that is not a worker.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use spanwire_runtime::time::{Elapsed, timeout};
///
/// let runtime = spanwire_runtime::Builder::new().build()?;
/// let wait = runtime.spawn(timeout(Duration::from_millis(1), std::future::pending::<()>()));
/// assert!(runtime.block_on(wait)?.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn timeout<F: Future>(limit: Duration, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep(limit) }
}

/// Bounds `future` by `deadline`; otherwise as [`timeout`].
///
/// # Errors
///
/// [`Elapsed`] when the deadline passed first.
///
/// # Panics
///
/// The result panics when polled on a thread that is not a worker.
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout { future, sleep: sleep_until(deadline) }
}

/// The future of [`timeout`] and [`timeout_at`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Timeout<F> {
    /// Pinned with the whole; see `parts`.
    future: F,
    sleep: Sleep,
}

impl<F> Timeout<F> {
    fn parts(self: Pin<&mut Self>) -> (Pin<&mut F>, &mut Sleep) {
        // SAFETY: `future` is pinned whenever the whole is: it is never moved out, this type
        // has no `Drop`, and it is `Unpin` only if `F` is. `sleep` is `Unpin`.
        unsafe {
            let this = self.get_unchecked_mut();
            (Pin::new_unchecked(&mut this.future), &mut this.sleep)
        }
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (future, sleep) = self.parts();
        if let Poll::Ready(output) = future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        // The future may have spent all of the budget, in this poll and in each.
        sleep.poll_unlimited(context).map(|()| Err(Elapsed))
    }
}
