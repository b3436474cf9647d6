//! Calls that block, off the worker.

#[path = "support/probe.rs"]
mod probe;

use std::collections::HashSet;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use probe::{Drops, quiet_panics, runtime, worker_thread};
use spanwire_runtime::blocking::{BlockingError, spawn_blocking};
use spanwire_runtime::{Builder, Runtime};

/// As many as run at once, from the documentation.
const THREADS_MAX: usize = 4;
/// As many as wait, from the documentation.
const QUEUE_MAX: usize = 256;

#[test]
fn a_call_runs_on_another_thread_and_gives_its_result() {
    let runtime = Builder::new().thread_name("tele").build().unwrap();
    let task = runtime.spawn(async {
        spawn_blocking(|| (thread::current().id(), thread::current().name().map(String::from)))
            .await
            .unwrap()
    });
    let (id, name) = runtime.block_on(task).unwrap();
    assert_ne!(id, worker_thread(&runtime));
    assert_eq!(name.as_deref(), Some("tele-call-0"));
}

#[test]
fn the_worker_runs_other_tasks_meanwhile() {
    let runtime = runtime();
    let (gate, open) = mpsc::channel::<()>();
    let call = runtime.handle().spawn_blocking(move || open.recv());
    worker_thread(&runtime);
    gate.send(()).unwrap();
    assert!(runtime.block_on(call).unwrap().is_ok());
}

#[test]
fn a_panic_is_an_error_with_its_payload() {
    quiet_panics();
    let runtime = runtime();
    let call = runtime.handle().spawn_blocking(|| std::panic::panic_any(5_u8));
    let result: Result<(), _> = runtime.block_on(call);
    let Err(BlockingError::Panicked(panic)) = result else { panic!("not a panic") };
    assert_eq!(*panic.into_inner().downcast::<u8>().unwrap(), 5);
}

#[test]
fn a_few_calls_run_at_once_and_no_more() {
    let runtime = runtime();
    // All of them are there at once, or this never ends.
    let barrier = Arc::new(Barrier::new(THREADS_MAX));
    let calls: Vec<_> = (0..THREADS_MAX * 5)
        .map(|_| {
            let barrier = Arc::clone(&barrier);
            runtime.handle().spawn_blocking(move || {
                barrier.wait();
                thread::current().id()
            })
        })
        .collect();
    let threads: HashSet<_> =
        calls.into_iter().map(|call| runtime.block_on(call).unwrap()).collect();
    assert_eq!(threads.len(), THREADS_MAX);
}

#[test]
fn one_call_too_many_is_refused_and_dropped() {
    let runtime = runtime();
    let drops = Drops::default();
    let gates = block_all_threads(&runtime);
    let waiting: Vec<_> =
        (0..QUEUE_MAX).map(|n| runtime.handle().spawn_blocking(move || n)).collect();
    let token = drops.token();
    let refused = runtime.handle().spawn_blocking(move || drop(token));
    assert!(matches!(runtime.block_on(refused), Err(BlockingError::Full)));
    assert_eq!(drops.count(), 1);
    drop(gates);
    for (n, call) in waiting.into_iter().enumerate() {
        assert_eq!(runtime.block_on(call).unwrap(), n);
    }
}

#[test]
fn calls_that_wait_at_shutdown_are_dropped_and_say_so() {
    let runtime = runtime();
    let drops = Drops::default();
    let handle = runtime.handle();
    let gates = block_all_threads(&runtime);
    let token = drops.token();
    let waiting = handle.spawn_blocking(move || drop(token));
    // Running calls are not waited for.
    assert!(runtime.shutdown(Duration::MAX));
    assert_eq!(drops.count(), 1);
    let other = probe::runtime();
    assert!(matches!(other.block_on(waiting), Err(BlockingError::ShutDown)));
    let late = handle.spawn_blocking(|| ());
    assert!(matches!(other.block_on(late), Err(BlockingError::ShutDown)));
    drop(gates);
}

#[test]
fn off_a_worker_there_is_no_pool() {
    let result = runtime().block_on(spawn_blocking(|| ()));
    assert!(matches!(result, Err(BlockingError::NoRuntime)));
}

/// Keeps every thread of the pool busy until the result is dropped.
fn block_all_threads(runtime: &Runtime) -> Vec<mpsc::Sender<()>> {
    let (running, is_running) = mpsc::channel();
    let gates: Vec<_> = (0..THREADS_MAX)
        .map(|_| {
            let (gate, open) = mpsc::channel();
            let running = running.clone();
            drop(runtime.handle().spawn_blocking(move || {
                running.send(()).unwrap();
                let _: Result<(), _> = open.recv();
            }));
            gate
        })
        .collect();
    is_running.iter().take(THREADS_MAX).for_each(drop);
    gates
}
