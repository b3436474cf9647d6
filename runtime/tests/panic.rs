//! Foreign code may panic; the worker lives on.

#[path = "support/probe.rs"]
mod probe;

use std::future::{Future, pending};
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use probe::{Drops, quiet_panics, runtime, worker_thread};
use spanwire_runtime::task::JoinError;
use spanwire_runtime::time::sleep;

#[test]
fn a_panic_comes_out_of_the_handle_with_its_payload() {
    quiet_panics();
    let runtime = runtime();
    let task = runtime.spawn(async { panic_any(42_u64) });
    let Err(JoinError::Panicked(panic)) = runtime.block_on(task) else {
        panic!("not reported as a panic");
    };
    assert_eq!(*panic.into_inner().downcast::<u64>().unwrap(), 42);
}

#[test]
fn the_worker_survives_and_runs_the_next_task() {
    quiet_panics();
    let runtime = runtime();
    let before = worker_thread(&runtime);
    let task = runtime.spawn(async { panic!("as planned") });
    let result: Result<(), _> = runtime.block_on(task);
    assert!(matches!(result, Err(JoinError::Panicked(_))));
    assert_eq!(worker_thread(&runtime), before);
}

#[test]
fn what_a_panicking_task_held_is_dropped_once() {
    quiet_panics();
    let runtime = runtime();
    let drops = Drops::default();
    let token = drops.token();
    let task = runtime.spawn(async move {
        let _token = token;
        panic!("as planned")
    });
    let result: Result<(), _> = runtime.block_on(task);
    assert!(result.is_err());
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_destructor_that_panics_at_completion_is_a_panic_of_the_task() {
    quiet_panics();
    let runtime = runtime();
    let task = runtime.spawn(DropBomb);
    assert!(matches!(runtime.block_on(task), Err(JoinError::Panicked(_))));
    worker_thread(&runtime);
}

#[test]
fn a_destructor_that_panics_at_an_abort_is_a_panic_of_the_task() {
    quiet_panics();
    let runtime = runtime();
    let bomb = Bomb;
    let task = runtime.spawn(async move {
        let _bomb = bomb;
        pending::<()>().await;
    });
    worker_thread(&runtime);
    task.abort();
    assert!(matches!(runtime.block_on(task), Err(JoinError::Panicked(_))));
}

#[test]
fn destructors_that_panic_at_shutdown_spare_the_other_tasks() {
    quiet_panics();
    let runtime = runtime();
    let drops = Drops::default();
    for _ in 0..3 {
        let (bomb, token) = (Bomb, drops.token());
        drop(runtime.spawn(async move {
            let (_token, _bomb) = (token, bomb);
            pending::<()>().await;
        }));
    }
    worker_thread(&runtime);
    assert!(runtime.shutdown(Duration::MAX));
    assert_eq!(drops.count(), 3);
}

#[test]
fn an_output_that_panics_when_dropped_harms_nobody() {
    quiet_panics();
    let runtime = runtime();
    drop(runtime.spawn(async { Bomb }));
    worker_thread(&runtime);
    let late = runtime.spawn(async { Bomb });
    worker_thread(&runtime);
    drop(late);
    worker_thread(&runtime);
}

#[test]
fn a_payload_that_panics_when_dropped_harms_nobody() {
    quiet_panics();
    let runtime = runtime();
    drop(runtime.spawn(async { panic_any(Bomb) }));
    worker_thread(&runtime);
}

#[test]
fn a_join_waker_that_panics_harms_nobody() {
    quiet_panics();
    let runtime = runtime();
    let (gate, open) = mpsc::channel::<()>();
    let mut task = runtime.spawn(async move { open.recv().is_ok() });
    let waker = Waker::from(Arc::new(WakeBomb));
    assert!(Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
    gate.send(()).unwrap();
    worker_thread(&runtime);
    assert!(runtime.block_on(task).unwrap());
}

#[test]
fn a_timer_whose_waker_panics_harms_no_other_timer() {
    quiet_panics();
    let runtime = runtime();
    let task = runtime.spawn(async {
        let mut armed = Box::pin(sleep(Duration::from_millis(1)));
        let waker = Waker::from(Arc::new(WakeBomb));
        assert!(armed.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        sleep(Duration::from_millis(2)).await;
        drop(armed);
    });
    runtime.block_on(task).unwrap();
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a destructor that panics");
        }
    }
}

/// A future that is ready, and panics when it is dropped.
struct DropBomb;

impl Future for DropBomb {
    type Output = u8;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
        Poll::Ready(1)
    }
}

impl Drop for DropBomb {
    fn drop(&mut self) {
        panic!("a destructor that panics");
    }
}

struct WakeBomb;

impl Wake for WakeBomb {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}
