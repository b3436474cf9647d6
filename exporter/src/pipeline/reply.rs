//! One answer, from the exporter thread to a caller that waits for it as a thread or as a future.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Makes the two ends of one answer.
pub(crate) fn reply<T>() -> (Asked<T>, Answer<T>) {
    let slot = Arc::new(Slot { state: Mutex::new(State::Open(None)), changed: Condvar::new() });
    (Asked { slot: Arc::clone(&slot) }, Answer { slot })
}

/// The end that answers. Dropping it unanswered tells the caller that nobody will.
#[derive(Debug)]
pub(crate) struct Asked<T> {
    slot: Arc<Slot<T>>,
}

/// The end that waits. As a future it resolves to `None` if nobody will answer.
#[derive(Debug)]
#[must_use = "nothing waits for the answer otherwise"]
pub(crate) struct Answer<T> {
    slot: Arc<Slot<T>>,
}

/// How a blocking wait ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Waited<T> {
    /// Here is the answer.
    Answered(T),
    /// The other end is gone.
    Abandoned,
    /// The deadline passed first.
    TimedOut,
}

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
enum State<T> {
    /// Not answered yet; whom to wake then.
    Open(Option<Waker>),
    /// Answered, not yet read.
    Answered(T),
    /// Read, or never to be answered.
    Closed,
}

impl<T> Asked<T> {
    /// Whether anybody still waits.
    pub(crate) fn is_wanted(&self) -> bool {
        Arc::strong_count(&self.slot) > 1
    }

    /// Answers.
    pub(crate) fn answer(self, value: T) {
        self.slot.close(State::Answered(value));
    }
}

impl<T> Drop for Asked<T> {
    fn drop(&mut self) {
        self.slot.close(State::Closed);
    }
}

impl<T> Answer<T> {
    /// Blocks this thread until the answer is there, at most until `deadline`.
    pub(crate) fn wait_until(self, deadline: Option<Instant>) -> Waited<T> {
        let mut state = self.slot.lock();
        loop {
            match std::mem::replace(&mut *state, State::Closed) {
                State::Answered(value) => return Waited::Answered(value),
                State::Closed => return Waited::Abandoned,
                open @ State::Open(_) => *state = open,
            }
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            state = match left {
                Some(Duration::ZERO) => return Waited::TimedOut,
                Some(left) => {
                    let waited = self.slot.changed.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.slot.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.slot.lock();
        match std::mem::replace(&mut *state, State::Closed) {
            State::Answered(value) => Poll::Ready(Some(value)),
            State::Closed => Poll::Ready(None),
            State::Open(_) => {
                *state = State::Open(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves from open to `last`; what was answered before stays.
    fn close(&self, last: State<T>) {
        let mut state = self.lock();
        let State::Open(waker) = &mut *state else { return };
        let waker = waker.take();
        *state = last;
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            // It is somebody else's code; its panic is not to end the delivery.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reaches_a_waiting_thread() {
        let (asked, answer) = reply();
        let waiter = std::thread::spawn(move || answer.wait_until(None));
        asked.answer(7);
        assert_eq!(waiter.join().unwrap(), Waited::Answered(7));
    }

    #[test]
    fn an_answer_given_before_the_wait_is_kept() {
        let (asked, answer) = reply();
        asked.answer("early");
        assert_eq!(answer.wait_until(Some(Instant::now())), Waited::Answered("early"));
    }

    #[test]
    fn a_dropped_asker_is_told_from_a_timeout() {
        let (asked, answer) = reply::<()>();
        drop(asked);
        assert_eq!(answer.wait_until(None), Waited::Abandoned);
        let (_asked, answer) = reply::<()>();
        assert_eq!(answer.wait_until(Some(Instant::now())), Waited::TimedOut);
    }

    #[test]
    fn it_is_known_whether_anybody_waits() {
        let (asked, answer) = reply::<()>();
        assert!(asked.is_wanted());
        drop(answer);
        assert!(!asked.is_wanted());
    }

    #[test]
    fn a_waker_that_panics_harms_nobody() {
        struct Panics;
        impl std::task::Wake for Panics {
            fn wake(self: Arc<Self>) {
                panic!("a waker's bug");
            }
        }
        let (asked, answer) = reply();
        let mut answer = std::pin::pin!(answer);
        let waker = Waker::from(Arc::new(Panics));
        assert!(answer.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        asked.answer(1);
        let polled = answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(polled, Poll::Ready(Some(1)));
    }

    #[test]
    fn a_future_is_woken_by_the_answer_and_by_its_absence() {
        let mut cx = Context::from_waker(Waker::noop());
        let (asked, answer) = reply();
        let mut answer = std::pin::pin!(answer);
        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Pending);
        asked.answer(1);
        assert_eq!(answer.as_mut().poll(&mut cx), Poll::Ready(Some(1)));
        let (asked, answer) = reply::<()>();
        drop(asked);
        assert_eq!(std::pin::pin!(answer).poll(&mut cx), Poll::Ready(None));
    }
}
