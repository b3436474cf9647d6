//! What the runtime says that it has done is what it did.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll};
use std::time::Duration;

use spanwire_runtime::{Builder, Runtime, Stats, driver, spawn, yield_now};

fn runtime(workers: usize) -> Runtime {
    Builder::new().workers(workers).build().unwrap()
}

/// Counts the polls of a future.
struct Counted<F>(Arc<AtomicU64>, Pin<Box<F>>);

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.as_mut().poll(context)
    }
}

#[test]
fn every_poll_is_counted_once() {
    for workers in [1, 2, 4] {
        let runtime = runtime(workers);
        let polls = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&polls);
        let root = runtime.spawn(Counted(
            Arc::clone(&polls),
            Box::pin(async move {
                let tasks: Vec<_> = (0..2000)
                    .map(|_| spawn(Counted(Arc::clone(&count), Box::pin(yield_now()))))
                    .collect();
                for task in tasks {
                    task.await.unwrap();
                }
            }),
        ));
        runtime.block_on(root).unwrap();
        let handle = runtime.handle();
        assert!(runtime.shutdown(Duration::MAX));
        assert_eq!(handle.stats().polls(), polls.load(Ordering::Relaxed), "{workers} workers");
    }
}

#[test]
fn what_waits_for_a_busy_worker_is_seen() {
    let runtime = runtime(1);
    let (gate, open) = mpsc::channel::<()>();
    let (begun, has_begun) = mpsc::channel();
    let busy = runtime.spawn(async move {
        begun.send(()).unwrap();
        open.recv().unwrap_err();
    });
    has_begun.recv().unwrap();
    let waiting: Vec<_> = (0..5).map(|_| runtime.spawn(async {})).collect();
    assert_eq!(runtime.stats().workers[0].mailbox, 5);
    drop(gate);
    for task in waiting {
        runtime.block_on(task).unwrap();
    }
    runtime.block_on(busy).unwrap();
    assert_eq!(runtime.stats().workers[0].mailbox, 0);
}

#[test]
fn what_waits_for_several_busy_workers_is_seen() {
    let runtime = runtime(2);
    let gates: Vec<_> = (0..2)
        .map(|worker| {
            let (begun, has_begun) = mpsc::channel();
            let (hold, held) = mpsc::channel::<()>();
            drop(runtime.spawn_pinned_on(worker, move || async move {
                begun.send(()).unwrap();
                held.recv().unwrap_err();
            }));
            has_begun.recv().unwrap();
            hold
        })
        .collect();
    let waiting: Vec<_> = (0..5).map(|_| runtime.spawn(async {})).collect();
    assert_eq!(runtime.stats().injected, 5);
    drop(gates);
    for task in waiting {
        runtime.block_on(task).unwrap();
    }
}

/// Without timers and operations, each sleep but the present one was ended by somebody who rang.
#[test]
fn a_sleep_is_counted_once() {
    let runtime = runtime(1);
    for _ in 0..1000 {
        runtime.block_on(runtime.spawn(async {})).unwrap();
    }
    let worker = runtime.stats().workers.remove(0);
    assert!(worker.parks <= worker.rung + 1, "{} sleeps, {} rung", worker.parks, worker.rung);
}

#[test]
fn sleeps_and_rings_are_counted() {
    let runtime = runtime(1);
    for _ in 0..10 {
        runtime.block_on(runtime.spawn(async {})).unwrap();
        wait_until_asleep(&runtime);
    }
    let stats = runtime.stats();
    let worker = &stats.workers[0];
    assert!(worker.rung >= 9, "{worker:?}");
    assert!(worker.parks >= worker.rung, "{worker:?}");
}

/// Until the worker has counted a sleep more than it has been woken from.
fn wait_until_asleep(runtime: &Runtime) {
    let is_asleep = |stats: Stats| stats.workers[0].parks > stats.workers[0].rung;
    while !is_asleep(runtime.stats()) {
        std::thread::yield_now();
    }
}

#[test]
fn each_worker_tells_its_driver() {
    let runtime = Builder::new().workers(3).io(driver::Choice::Epoll).build().unwrap();
    let stats = runtime.stats();
    assert_eq!(stats.workers.len(), 3);
    for worker in stats.workers {
        assert_eq!(worker.driver.kind, driver::Kind::Epoll);
        assert_eq!(worker.driver.reason.as_deref(), Some("epoll was chosen"));
        assert_eq!(worker.io.started, worker.io.completed);
    }
}
