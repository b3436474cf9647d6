//! Keeps what h2 says through `tracing` out of the program's subscriber.
//!
//! The exporter must not make telemetry of its own work: each event would be exported, and make
//! more. h2 has spans and events for every frame. So it is only ever polled, and dropped, while
//! this thread has a default dispatcher that takes nothing.
//!
//! The dispatcher is set for each poll and not for the thread's life: as long as any thread has
//! one of its own, all threads of the program look for theirs at each event, which costs them
//! some nanoseconds. And it is not set at all while the program has no subscriber: `tracing`'s
//! way of writing to the crate `log` ends for good where a dispatcher is set.

use std::future::Future;
use std::pin::Pin;
use std::sync::Once;
use std::task::{Context, Poll};

use tracing_core::dispatcher::{self, DefaultGuard, Dispatch};
use tracing_core::{callsite, subscriber::NoSubscriber};

/// Runs `work`; nothing that it says through `tracing` is heard.
pub(super) fn quiet<T>(work: impl FnOnce() -> T) -> T {
    let _guard = deafen();
    work()
}

/// A future that is polled and dropped [`quiet`]ly.
pub(super) struct Quiet<'a, T> {
    /// Taken out on drop only.
    future: Option<Pin<Box<dyn Future<Output = T> + 'a>>>,
}

impl<'a, T> Quiet<'a, T> {
    pub(super) fn new(future: impl Future<Output = T> + 'a) -> Self {
        Self { future: Some(Box::pin(future)) }
    }
}

impl<T> Future for Quiet<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.future {
            Some(future) => quiet(|| future.as_mut().poll(cx)),
            None => Poll::Pending,
        }
    }
}

impl<T> Drop for Quiet<'_, T> {
    fn drop(&mut self) {
        let future = self.future.take();
        quiet(|| drop(future));
    }
}

fn deafen() -> Option<DefaultGuard> {
    if !dispatcher::has_been_set() {
        return None;
    }
    keep_interests_true();
    Some(dispatcher::set_default(&Dispatch::none()))
}

/// Sees to it that the program's subscriber is asked about h2's events, and not this thread's.
///
/// `tracing` asks once what a subscriber thinks of an event and remembers the answer for all
/// threads. If there is one subscriber only, it asks the dispatcher of the thread that comes to
/// the event first: ours, which wants nothing, so that a server in the same program would lose
/// h2's events too. Once there have been two, it asks those that it has a list of. So there is a
/// second one, for a moment.
fn keep_interests_true() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        drop(Dispatch::new(NoSubscriber::default()));
        // It was asked as well; now it is not any more.
        callsite::rebuild_interest_cache();
    });
}
