//! The end of a runtime: bounded, complete, and on the worker.

#[path = "support/probe.rs"]
mod probe;

use std::future::pending;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use probe::{Drops, Token, pending_with, runtime, worker_thread};
use spanwire_runtime::task::JoinError;
use spanwire_runtime::{BuildError, Builder, Handle, yield_now};

#[test]
fn every_task_is_dropped_once_and_on_the_worker() {
    let runtime = runtime();
    let worker = worker_thread(&runtime);
    let drops = Drops::default();
    let (wakers, woken) = mpsc::channel();
    // One that waits and is woken from elsewhere, one that is queued again and again.
    let waits = runtime.spawn(pending_with(drops.token(), wakers));
    let waker = woken.recv().unwrap();
    let busy = runtime.spawn(busy_with(drops.token()));
    waker.wake_by_ref();
    assert!(runtime.shutdown(Duration::MAX));
    assert_eq!(drops.threads(), [worker, worker]);
    let other = probe::runtime();
    assert!(matches!(other.block_on(waits), Err(JoinError::Aborted)));
    assert!(matches!(other.block_on(busy), Err(JoinError::Aborted)));
}

#[test]
fn a_task_that_was_never_polled_is_dropped_too() {
    let runtime = runtime();
    let drops = Drops::default();
    let (gate, open) = mpsc::channel::<()>();
    drop(runtime.spawn(async move { open.recv() }));
    let tokens: Vec<_> = (0..10).map(|_| runtime.spawn(busy_with(drops.token()))).collect();
    gate.send(()).unwrap();
    assert!(runtime.shutdown(Duration::MAX));
    assert_eq!(drops.count(), 10);
    drop(tokens);
}

#[test]
fn whoever_waits_for_a_task_hears_of_the_shutdown() {
    let runtime = runtime();
    let task = runtime.spawn(pending::<()>());
    let waiting = thread::spawn({
        let other = probe::runtime();
        move || other.block_on(task)
    });
    worker_thread(&runtime);
    drop(runtime);
    assert!(matches!(waiting.join().unwrap(), Err(JoinError::Aborted)));
}

#[test]
fn a_task_spawned_afterwards_is_dropped_at_once() {
    let runtime = runtime();
    let handle = runtime.handle();
    drop(runtime);
    let drops = Drops::default();
    let task = handle.spawn(busy_with(drops.token()));
    assert_eq!(drops.count(), 1);
    assert!(task.is_finished());
}

#[test]
fn destructors_may_spawn_and_wake_while_the_worker_ends() {
    let runtime = runtime();
    let drops = Drops::default();
    let (wakers, woken) = mpsc::channel();
    drop(runtime.spawn(pending_with(drops.token(), wakers)));
    let waker = woken.recv().unwrap();
    let inner = drops.token();
    let unruly = OnDrop(Some(move || {
        waker.wake();
        drop(Handle::current().spawn(busy_with(inner)));
        drop(spanwire_runtime::spawn_pinned(pending::<()>));
    }));
    drop(runtime.spawn(async move {
        let _unruly = unruly;
        pending::<()>().await;
    }));
    worker_thread(&runtime);
    assert!(runtime.shutdown(Duration::MAX));
    assert_eq!(drops.count(), 2);
}

#[test]
fn a_stuck_worker_is_not_waited_for_beyond_the_limit() {
    let runtime = runtime();
    let (gate, open) = mpsc::channel::<()>();
    let (stuck, is_stuck) = mpsc::channel();
    let task = runtime.spawn(async move {
        stuck.send(()).unwrap();
        open.recv()
    });
    is_stuck.recv().unwrap();
    assert!(!runtime.shutdown(Duration::ZERO));
    // The worker ends once it gets the chance, and the task with its output.
    gate.send(()).unwrap();
    assert!(probe::runtime().block_on(task).unwrap().is_ok());
}

#[test]
fn a_runtime_may_be_dropped_on_its_own_worker() {
    let runtime = runtime();
    let handle = runtime.handle();
    let (give, take) = mpsc::channel();
    let task = handle.spawn(async move {
        drop(take.recv().unwrap());
        "still here"
    });
    give.send(runtime).unwrap();
    assert_eq!(probe::runtime().block_on(task).unwrap(), "still here");
}

#[test]
fn shutting_down_on_the_own_worker_waits_for_nothing() {
    let runtime = runtime();
    let handle = runtime.handle();
    let (give, take) = mpsc::channel::<spanwire_runtime::Runtime>();
    let task = handle.spawn(async move { take.recv().unwrap().shutdown(Duration::MAX) });
    give.send(runtime).unwrap();
    assert!(!probe::runtime().block_on(task).unwrap());
}

#[test]
fn what_the_start_hook_returned_lives_as_long_as_the_thread() {
    let drops = Drops::default();
    let on_thread = drops.clone();
    let (started, has_started) = mpsc::channel();
    let runtime = Builder::new()
        .on_thread_start(move || {
            started.send(thread::current().id()).unwrap();
            on_thread.token()
        })
        .build()
        .unwrap();
    assert_eq!(has_started.recv().unwrap(), worker_thread(&runtime));
    assert_eq!(drops.count(), 0);
    assert!(runtime.shutdown(Duration::MAX));
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_start_hook_that_panics_is_an_error_of_the_build() {
    probe::quiet_panics();
    let built = Builder::new().on_thread_start(|| panic!("as planned")).build();
    let error = built.map(drop).unwrap_err();
    assert!(matches!(error, BuildError::Thread(_)));
    assert!(error.to_string().contains("panicked before it was ready"), "{error}");
}

#[test]
fn a_thread_name_that_the_system_cannot_take_is_an_error() {
    let error = Builder::new().thread_name("a\0b").build().map(drop).unwrap_err();
    assert!(error.to_string().contains(r#""a\0b" contains a NUL"#), "{error}");
}

#[test]
fn many_runtimes_come_and_go() {
    for _ in 0..50 {
        let runtime = runtime();
        drop(runtime.spawn(pending::<()>()));
        assert!(runtime.shutdown(Duration::MAX));
    }
}

async fn busy_with(token: Token) {
    let _token = token;
    loop {
        yield_now().await;
    }
}

struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        self.0.take().unwrap()();
    }
}
