//! What aborting a task promises.

#[path = "support/probe.rs"]
mod probe;

use std::future::pending;
use std::sync::mpsc;

use probe::{Drops, pending_with, runtime, worker_thread};
use spanwire_runtime::task::JoinError;
use spanwire_runtime::yield_now;

#[test]
fn an_aborted_task_is_dropped_on_its_worker() {
    let runtime = runtime();
    let drops = Drops::default();
    let (wakers, woken) = mpsc::channel();
    let task = runtime.spawn(pending_with(drops.token(), wakers));
    let _waker = woken.recv().unwrap();
    task.abort();
    assert!(matches!(runtime.block_on(task), Err(JoinError::Aborted)));
    assert_eq!(drops.threads(), [worker_thread(&runtime)]);
}

#[test]
fn a_task_that_never_waits_long_is_aborted_between_two_polls() {
    let runtime = runtime();
    let task = runtime.spawn(async {
        loop {
            yield_now().await;
        }
    });
    worker_thread(&runtime);
    task.abort();
    let result: Result<(), _> = runtime.block_on(task);
    assert!(matches!(result, Err(JoinError::Aborted)));
}

#[test]
fn a_task_aborted_before_its_first_poll_never_runs() {
    let runtime = runtime();
    let (gate, open) = mpsc::channel::<()>();
    let (ran, has_run) = mpsc::channel();
    let blocker = runtime.spawn(async move { open.recv() });
    let task = runtime.spawn(async move { ran.send(()) });
    task.abort();
    gate.send(()).unwrap();
    assert!(matches!(runtime.block_on(task), Err(JoinError::Aborted)));
    assert!(has_run.try_recv().is_err());
    runtime.block_on(blocker).unwrap().unwrap();
}

#[test]
fn a_finished_task_keeps_its_output() {
    let runtime = runtime();
    let task = runtime.spawn(async { 9 });
    worker_thread(&runtime);
    task.abort();
    assert_eq!(runtime.block_on(task).unwrap(), 9);
}

#[test]
fn aborting_twice_is_aborting_once() {
    let runtime = runtime();
    let drops = Drops::default();
    let token = drops.token();
    let task = runtime.spawn(async move {
        let _token = token;
        pending::<()>().await;
    });
    task.abort();
    task.abort();
    assert!(matches!(runtime.block_on(task), Err(JoinError::Aborted)));
    assert_eq!(drops.count(), 1);
}

#[test]
fn a_task_may_abort_itself_and_runs_to_its_next_wait() {
    let runtime = runtime();
    let (give, take) = mpsc::channel::<spanwire_runtime::task::JoinHandle<()>>();
    let (reached, has_reached) = mpsc::channel();
    let drops = Drops::default();
    let token = drops.token();
    drop(runtime.spawn(async move {
        let task = spanwire_runtime::spawn(async move {
            let _token = token;
            take.recv().unwrap().abort();
            reached.send("after the abort").unwrap();
            pending::<()>().await;
        });
        give.send(task).unwrap();
    }));
    assert_eq!(has_reached.recv().unwrap(), "after the abort");
    worker_thread(&runtime);
    assert_eq!(drops.count(), 1);
}
