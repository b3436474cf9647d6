//! A pinned task never leaves its worker, whatever the others do.

#[path = "support/probe.rs"]
mod probe;

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use probe::{runtime, worker_thread};
use spanwire_runtime::task::JoinError;
use spanwire_runtime::{Handle, spawn_pinned, yield_now};

/// Panics when it is touched or dropped on another thread than its own, and is `!Send`.
struct Home(ThreadId, Rc<Cell<usize>>);

impl Home {
    fn new() -> Self {
        Self(thread::current().id(), Rc::default())
    }

    fn check(&self) {
        assert_eq!(self.0, thread::current().id(), "left its thread");
        self.1.set(self.1.get() + 1);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.0 != thread::current().id() {
            // Unwinding would be swallowed with the task.
            std::process::abort();
        }
    }
}

#[test]
fn a_future_that_is_not_send_is_made_polled_and_dropped_on_its_worker() {
    let runtime = runtime();
    let task = runtime.spawn_pinned(|| {
        let home = Home::new();
        async move {
            home.check();
            yield_now().await;
            home.check();
            home.1.get()
        }
    });
    assert_eq!(runtime.block_on(task).unwrap(), 2);
}

#[test]
fn it_is_polled_by_its_worker_when_a_foreign_thread_wakes_it() {
    let runtime = runtime();
    let (wakers, woken) = mpsc::channel::<Waker>();
    let task = runtime.spawn_pinned(move || {
        let home = Home::new();
        let mut polls = 0;
        poll_fn(move |context| {
            home.check();
            polls += 1;
            if polls == 100 {
                return Poll::Ready(polls);
            }
            wakers.send(context.waker().clone()).unwrap();
            Poll::Pending
        })
    });
    let waking = thread::spawn(move || woken.into_iter().for_each(Waker::wake));
    assert_eq!(runtime.block_on(task).unwrap(), 100);
    waking.join().unwrap();
}

#[test]
fn it_is_polled_by_its_worker_when_the_worker_of_another_runtime_wakes_it() {
    let (runtime, other) = (runtime(), runtime());
    let handle = other.handle();
    let task = runtime.spawn_pinned(move || {
        let home = Home::new();
        async move {
            for _ in 0..100 {
                let elsewhere = handle.spawn(async { thread::current().id() });
                assert_ne!(elsewhere.await.unwrap(), home.0);
                home.check();
            }
        }
    });
    runtime.block_on(task).unwrap();
}

#[test]
fn an_aborted_one_is_dropped_by_its_worker() {
    let runtime = runtime();
    let task = runtime.spawn_pinned(|| {
        let home = Home::new();
        async move {
            home.check();
            pending::<()>().await;
            drop(home);
        }
    });
    worker_thread(&runtime);
    task.abort();
    assert!(matches!(runtime.block_on(task), Err(JoinError::Aborted)));
}

#[test]
fn at_shutdown_its_worker_drops_it_though_foreign_wakers_remain() {
    let runtime = runtime();
    let (wakers, woken) = mpsc::channel::<Waker>();
    let task = runtime.spawn_pinned(move || {
        let home = Home::new();
        poll_fn(move |context| {
            home.check();
            wakers.send(context.waker().clone()).unwrap();
            Poll::<()>::Pending
        })
    });
    let waker = woken.recv().unwrap();
    assert!(runtime.shutdown(Duration::MAX));
    waker.wake_by_ref();
    drop(task);
    // The last reference: frees the cell here, where there is no future left in it.
    drop(waker);
}

#[test]
fn after_shutdown_it_is_never_made() {
    let runtime = runtime();
    let handle = runtime.handle();
    drop(runtime);
    let task = handle.spawn_pinned(|| -> std::future::Ready<()> { unreachable!("made") });
    assert!(matches!(probe::runtime().block_on(task), Err(JoinError::Aborted)));
}

#[test]
fn on_the_worker_not_even_its_captures_have_to_be_send() {
    let runtime = runtime();
    let task = runtime.spawn_pinned(|| async {
        let shared = Rc::new(RefCell::new(vec![1]));
        let theirs = Rc::clone(&shared);
        spawn_pinned(move || async move { theirs.borrow_mut().push(2) }).await.unwrap();
        shared.take()
    });
    assert_eq!(runtime.block_on(task).unwrap(), [1, 2]);
}

#[test]
fn a_task_finds_the_handle_of_its_runtime() {
    let runtime = runtime();
    assert!(Handle::try_current().is_none());
    let task = runtime.spawn(async { Handle::current().spawn(async { 3 }).await });
    assert_eq!(runtime.block_on(task).unwrap().unwrap(), 3);
}

#[test]
#[should_panic(expected = "not a worker of the spanwire runtime")]
fn spawning_without_a_handle_off_the_worker_panics() {
    drop(spanwire_runtime::spawn(async {}));
}
