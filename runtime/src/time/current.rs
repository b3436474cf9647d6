//! The timers of the worker that runs on this thread.

use std::cell::{Cell, RefCell};
use std::ptr;
use std::rc::Rc;
use std::task::Waker;
use std::thread::{self, ThreadId};
use std::time::Instant;

use super::wheel::{Key, Wheel};
use crate::sync::unwind;

/// A worker's wheel. A worker has one, and a thread has one worker, so the thread names it.
pub(crate) struct Timers {
    thread: ThreadId,
    wheel: RefCell<Wheel<Waker>>,
    /// Kept for its memory.
    expired: Cell<Vec<Waker>>,
}

/// A timer in some thread's wheel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Armed {
    thread: ThreadId,
    key: Key,
}

impl Timers {
    /// A wheel for the calling thread.
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            thread: thread::current().id(),
            wheel: RefCell::new(Wheel::new(Instant::now())),
            expired: Cell::default(),
        })
    }

    /// Calls `work` with this wheel as the thread's.
    pub(crate) fn enter<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = Entered(CURRENT.with(|current| current.replace(self)));
        work()
    }

    /// Wakes what is due.
    pub(crate) fn fire(&self) {
        let mut expired = self.expired.take();
        {
            let mut wheel = self.wheel.borrow_mut();
            if !wheel.is_empty() {
                wheel.advance(Instant::now(), &mut expired);
            }
        }
        for waker in expired.drain(..) {
            unwind::quietly(|| waker.wake());
        }
        self.expired.set(expired);
    }

    /// When there is something to [`fire`](Self::fire).
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.wheel.borrow().next_deadline()
    }

    pub(super) fn arm(&self, deadline: Instant, waker: Waker) -> Armed {
        let key = self.wheel.borrow_mut().insert(deadline, waker);
        Armed { thread: self.thread, key }
    }

    /// Makes an armed timer wake `waker`. False: it has expired.
    pub(super) fn rearm(&self, armed: Armed, waker: &Waker) -> bool {
        match self.wheel.borrow_mut().get_mut(armed.key) {
            None => return false,
            Some(held) if held.will_wake(waker) => return true,
            Some(_) => {}
        }
        // Foreign code runs while the wheel is not borrowed.
        let mut waker = waker.clone();
        if let Some(held) = self.wheel.borrow_mut().get_mut(armed.key) {
            std::mem::swap(held, &mut waker);
        }
        true
    }

    /// Whether `armed` is in this wheel.
    pub(super) fn holds(&self, armed: Armed) -> bool {
        self.thread == armed.thread
    }
}

thread_local! {
    /// The wheel of the worker that runs on this thread; null elsewhere.
    static CURRENT: Cell<*const Timers> = const { Cell::new(ptr::null()) };
}

/// Calls `look` with this thread's wheel. None on a thread that is no worker.
#[inline]
fn with<R>(look: impl FnOnce(&Timers) -> R) -> Option<R> {
    let timers = CURRENT.try_with(Cell::get).unwrap_or(ptr::null());
    // SAFETY: `enter` borrows what it sets for as long as it is set, on this thread. It is not
    // `Sync`, and does not get to another one.
    unsafe { timers.as_ref() }.map(look)
}

/// Calls `look` with this thread's wheel.
///
/// # Panics
///
/// On a thread that is not a worker.
#[inline]
pub(super) fn with_current<R>(look: impl FnOnce(&Timers) -> R) -> R {
    with(look).expect(
        "a timer was used on a thread that is not a worker of the spanwire runtime: spawn the \
         future instead of polling it here",
    )
}

/// Disarms a timer of this thread. One of another thread lapses: it wakes its task once more,
/// for nothing.
pub(super) fn disarm(armed: Armed) {
    with(|timers| {
        if timers.holds(armed) {
            let waker = timers.wheel.borrow_mut().cancel(armed.key);
            unwind::quietly(|| drop(waker));
        }
    });
}

/// Puts back the wheel that the thread had before.
struct Entered(*const Timers);

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| current.set(self.0));
    }
}
