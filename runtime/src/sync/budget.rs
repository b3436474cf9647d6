//! How much a task may do in one poll before it lets the others run.
//!
//! A task that awaits only what is ready at once never returns to its worker. So operations that
//! are ready spend a unit of their task's budget, and when none is left they say that they are
//! not ready, and wake the task: it goes on when the others had their turn.

use std::cell::Cell;
use std::task::{Context, Poll};

use super::shim::thread_local;

thread_local! {
    /// Units left of the present poll.
    static LEFT: Cell<u32> = const { Cell::new(UNLIMITED) };
}

/// A worker is about to poll a task.
#[inline]
pub fn refill() {
    set(UNITS);
}

/// This thread is no worker any more: what is polled here has no limit.
pub fn lift() {
    set(UNLIMITED);
}

/// Whether the operation that asks may proceed. If not, its task is polled again when the others
/// had their turn. An operation that is ready then calls [`spend`].
#[inline]
pub fn proceed(context: &Context<'_>) -> Poll<()> {
    if left() > 0 {
        return Poll::Ready(());
    }
    context.waker().wake_by_ref();
    Poll::Pending
}

/// An operation was ready.
#[inline]
pub fn spend() {
    let left = left();
    if left != UNLIMITED {
        set(left.saturating_sub(1));
    }
}

#[inline]
fn left() -> u32 {
    // A thread whose thread-locals are gone is no worker.
    LEFT.try_with(Cell::get).unwrap_or(UNLIMITED)
}

#[inline]
fn set(units: u32) {
    let _ = LEFT.try_with(|left| left.set(units));
}

/// Units of a poll. tokio's figure: enough to empty a socket, and a few microseconds of work.
pub const UNITS: u32 = 128;
/// Off the workers there are no others to wait for.
const UNLIMITED: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn a_poll_has_so_many_units_and_a_guest_has_no_limit() {
        let context = Context::from_waker(Waker::noop());
        let spent = |at_most: u32| {
            (0..at_most).take_while(|_| proceed(&context).is_ready()).map(|_| spend()).count()
        };
        assert_eq!(spent(1000), 1000);
        refill();
        assert_eq!(spent(1000), UNITS as usize);
        refill();
        assert_eq!(spent(1), 1);
        lift();
        assert_eq!(spent(1000), 1000);
    }
}
