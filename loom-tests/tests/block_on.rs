//! A thread that is parked in `block_on` against those that wake it.
//!
//! What is announced is relaxed, so only the waker's own orderings can make it visible. loom's
//! `unpark` orders as well; a wake that is folded into an earlier one does without it.
#![cfg(loom)]

use std::future::poll_fn;
use std::task::{Poll, Waker};

use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use spanwire_runtime::executor::block_on;

/// A lost wake is a deadlock, which loom reports.
#[test]
fn a_thread_that_waits_sees_what_each_of_two_wakes_announced() {
    loom::model(|| {
        let announced = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let mut first = true;
        block_on(poll_fn(move |context| {
            if std::mem::take(&mut first) {
                [0, 1].map(|which| announce(&announced, which, context.waker()));
            }
            let all = announced.iter().all(|flag| flag.load(Ordering::Relaxed));
            if all { Poll::Ready(()) } else { Poll::Pending }
        }));
    });
}

/// The future may use the thread's one token as well, and its thread is woken all the same.
#[test]
fn a_token_that_the_future_takes_is_not_the_wake() {
    loom::model(|| {
        let announced = Arc::new([AtomicBool::new(false), AtomicBool::new(false)]);
        let mut first = true;
        block_on(poll_fn(move |context| {
            if std::mem::take(&mut first) {
                announce(&announced, 0, context.waker());
                // Where loom may go on with the other thread; it does not at the next two calls.
                let _before = announced[0].load(Ordering::Relaxed);
                thread::current().unpark();
                thread::park();
                // Whether the wake has come already or will come: there has to be another poll.
                return Poll::Pending;
            }
            if announced[0].load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
        }));
    });
}

/// Nobody joins the thread: loom's `unpark` ends a `join`, too. A model ends with its last thread.
fn announce(flags: &Arc<[AtomicBool; 2]>, which: usize, waker: &Waker) {
    let (flags, waker) = (Arc::clone(flags), waker.clone());
    thread::spawn(move || {
        flags[which].store(true, Ordering::Relaxed);
        waker.wake();
    });
}
