//! Letting the others run.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::sync::budget;

/// Lets every other task that is ready run first.
///
/// # Examples
///
/// ```
/// let runtime = spanwire_runtime::Builder::new().build()?;
/// let sum = runtime.spawn(async {
///     let mut sum = 0;
///     for n in 0..100_000_u64 {
///         sum += n;
///         if n % 1000 == 0 {
///             spanwire_runtime::yield_now().await;
///         }
///     }
///     sum
/// });
/// assert_eq!(runtime.block_on(sum)?, 4_999_950_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        // A task woken during its own poll goes to the back of the queue.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Lets the others run if this task has done enough: a unit of the task's budget is spent, and when
/// all 128 of a poll are, this yields. For loops that never wait for anything.
///
/// Sockets, timers and join handles that are ready spend units by themselves. Off a worker there
/// are no others, and no limit.
///
/// # Examples
///
/// ```
/// let runtime = spanwire_runtime::Builder::new().build()?;
/// let sum = runtime.spawn(async {
///     let mut sum = 0;
///     for n in 0..100_000_u64 {
///         sum += n;
///         spanwire_runtime::consume_budget().await;
///     }
///     sum
/// });
/// assert_eq!(runtime.block_on(sum)?, 4_999_950_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn consume_budget() {
    poll_fn(|context| {
        ready!(budget::proceed(context));
        budget::spend();
        Poll::Ready(())
    })
    .await;
}
