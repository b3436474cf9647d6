//! Waiting on a thread that is no worker.

#[path = "support/probe.rs"]
mod probe;

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;

use probe::{quiet_panics, runtime};
use spanwire_runtime::task::JoinError;

#[test]
fn any_thread_may_wait() {
    let runtime = runtime();
    thread::scope(|scope| {
        for n in 0..8 {
            let runtime = &runtime;
            scope.spawn(move || {
                let task = runtime.spawn(async move { n });
                assert_eq!(runtime.block_on(task).unwrap(), n);
            });
        }
    });
}

#[test]
fn a_future_may_borrow_from_the_caller() {
    let text = String::from("borrowed");
    assert_eq!(runtime().block_on(async { text.len() }), 8);
}

#[test]
fn a_wake_during_the_poll_is_not_lost() {
    let mut polls = 0;
    runtime().block_on(poll_fn(|context| {
        polls += 1;
        context.waker().wake_by_ref();
        if polls < 1000 { Poll::Pending } else { Poll::Ready(()) }
    }));
    assert_eq!(polls, 1000);
}

#[test]
fn a_future_that_parks_the_thread_itself_loses_no_wake() {
    let woken = Arc::new(AtomicBool::new(false));
    runtime().block_on(poll_fn(|context| {
        if woken.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        let (waker, flag) = (context.waker().clone(), Arc::clone(&woken));
        thread::spawn(move || {
            flag.store(true, Ordering::SeqCst);
            waker.wake();
        })
        .join()
        .unwrap();
        // Takes the token that the wake left.
        thread::park();
        Poll::Pending
    }));
}

#[test]
fn one_runtime_may_wait_for_the_task_of_another() {
    let (one, two) = (runtime(), runtime());
    let task = one.spawn(async { 1 });
    let task = two.spawn(async move { task.await.unwrap() + 1 });
    assert_eq!(one.block_on(task).unwrap(), 2);
}

#[test]
fn on_a_worker_it_panics_instead_of_waiting_for_itself() {
    quiet_panics();
    let runtime = Arc::new(runtime());
    let inner = Arc::clone(&runtime);
    let task = runtime.spawn(async move { inner.block_on(async {}) });
    let Err(JoinError::Panicked(panic)) = runtime.block_on(task) else {
        panic!("did not panic");
    };
    let text = panic.message().unwrap();
    assert!(text.contains("block_on was called on a worker"), "{text}");
}
