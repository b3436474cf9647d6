//! What a join handle promises.

#[path = "support/probe.rs"]
mod probe;

use std::any::Any;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};

use probe::{Drops, pending_with, runtime};
use spanwire_runtime::task::{JoinError, JoinHandle};
use spanwire_runtime::yield_now;

#[test]
fn a_handle_gives_the_output() {
    let runtime = runtime();
    let task = runtime.spawn(async { String::from("done") });
    assert_eq!(runtime.block_on(task).unwrap(), "done");
}

#[test]
fn every_task_of_many_runs_to_its_end() {
    let runtime = runtime();
    let tasks: Vec<_> = (0..1000_u64)
        .map(|n| {
            runtime.spawn(async move {
                yield_now().await;
                n
            })
        })
        .collect();
    let sum: u64 = runtime.block_on(async {
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, 499_500);
}

#[test]
fn a_task_waits_for_another_one_on_the_same_worker() {
    let runtime = runtime();
    let outer = runtime.spawn(async {
        let inner = spanwire_runtime::spawn(async {
            yield_now().await;
            7
        });
        inner.await.unwrap() + 1
    });
    assert_eq!(runtime.block_on(outer).unwrap(), 8);
}

#[test]
fn a_detached_task_runs_on_and_its_output_is_dropped_on_the_worker() {
    let runtime = runtime();
    let drops = Drops::default();
    let (done, is_done) = mpsc::channel();
    let (detached, is_detached) = mpsc::channel();
    let token = drops.token();
    drop(runtime.spawn(async move {
        // Before it is, the output would be the handle's to drop.
        while is_detached.try_recv().is_err() {
            yield_now().await;
        }
        done.send(()).unwrap();
        token
    }));
    detached.send(()).unwrap();
    is_done.recv().unwrap();
    // The worker has dropped the output before it runs the next task.
    let worker = probe::worker_thread(&runtime);
    assert_eq!(drops.threads(), [worker]);
}

#[test]
fn a_finished_task_says_so_and_keeps_its_output() {
    let runtime = runtime();
    let task = runtime.spawn(async { 5 });
    probe::worker_thread(&runtime);
    assert!(task.is_finished());
    assert_eq!(runtime.block_on(task).unwrap(), 5);
}

#[test]
fn the_output_of_a_dropped_handle_is_dropped_once() {
    let runtime = runtime();
    let drops = Drops::default();
    let token = drops.token();
    let task = runtime.spawn(async move { token });
    probe::worker_thread(&runtime);
    assert_eq!(drops.count(), 0);
    drop(task);
    assert_eq!(drops.count(), 1);
}

#[test]
fn an_output_that_nobody_wants_does_not_live_on_with_a_waker() {
    let runtime = runtime();
    let drops = Drops::default();
    let (wakers, held) = mpsc::channel();
    let ready_with = |token| {
        let (wakers, mut token) = (wakers.clone(), Some(token));
        poll_fn(move |context| {
            wakers.send(context.waker().clone()).unwrap();
            Poll::Ready(token.take())
        })
    };
    drop(runtime.spawn(ready_with(drops.token())));
    probe::worker_thread(&runtime);
    assert_eq!(drops.count(), 1);
    let late = runtime.spawn(ready_with(drops.token()));
    probe::worker_thread(&runtime);
    assert_eq!(drops.count(), 1);
    drop(late);
    assert_eq!(drops.count(), 2);
    assert_eq!(held.try_iter().count(), 2);
}

#[test]
fn the_latest_waker_is_woken_and_the_earlier_one_is_let_go() {
    let runtime = runtime();
    let (gate, open) = mpsc::channel::<()>();
    let mut task = runtime.spawn(async move { open.recv().is_ok() });
    let (old, new) = (Arc::new(Count::default()), Arc::new(Count::default()));
    assert!(poll(&mut task, &old).is_pending());
    assert!(poll(&mut task, &new).is_pending());
    assert_eq!(Arc::strong_count(&old), 1);
    gate.send(()).unwrap();
    probe::worker_thread(&runtime);
    assert_eq!((old.0.load(Ordering::SeqCst), new.0.load(Ordering::SeqCst)), (0, 1));
    assert!(matches!(poll(&mut task, &new), Poll::Ready(Ok(true))));
    drop(task);
    assert_eq!(Arc::strong_count(&new), 1);
}

#[test]
#[should_panic(expected = "must not be polled after it has returned the output")]
fn polling_again_after_the_output_panics() {
    let runtime = runtime();
    let mut task = runtime.spawn(async {});
    runtime.block_on(&mut task).unwrap();
    let _ = runtime.block_on(&mut task);
}

#[test]
fn a_waker_outlives_the_runtime_and_works_from_any_thread() {
    let runtime = runtime();
    let (wakers, woken) = mpsc::channel();
    let drops = Drops::default();
    let task = runtime.spawn(pending_with(drops.token(), wakers));
    let waker = woken.recv().unwrap();
    drop(runtime);
    assert_eq!(drops.count(), 1);
    std::thread::spawn(move || {
        waker.wake_by_ref();
        let clone = waker.clone();
        waker.wake();
        drop(clone);
    })
    .join()
    .unwrap();
    assert_eq!(drops.count(), 1);
    drop(task);
}

#[test]
fn a_handle_outlives_the_runtime() {
    let runtime = runtime();
    let done = runtime.spawn(async { 1 });
    let never = runtime.spawn(std::future::pending::<u8>());
    probe::worker_thread(&runtime);
    drop(runtime);
    let other = probe::runtime();
    assert_eq!(other.block_on(done).unwrap(), 1);
    assert!(matches!(other.block_on(never), Err(JoinError::Aborted)));
}

#[test]
fn a_handle_goes_wherever_its_output_may_go() {
    fn is_send_and_sync<T: Send + Sync>() {}
    is_send_and_sync::<JoinHandle<String>>();
    // The output need not be `Sync`: a shared handle does not reach it.
    is_send_and_sync::<JoinHandle<std::cell::Cell<u8>>>();
}

#[test]
fn errors_say_what_happened() {
    assert_eq!(JoinError::Aborted.to_string(), "the task was aborted, or its runtime shut down");
    let panicked = |payload: Box<dyn Any + Send>| JoinError::Panicked(payload.into()).to_string();
    assert_eq!(panicked(Box::new("no")), "the task panicked: no");
    assert_eq!(panicked(Box::new(String::from("no"))), "the task panicked: no");
    assert_eq!(panicked(Box::new(7)), "the task panicked: something that is not text");
}

#[test]
fn an_error_tells_its_kind_and_gives_the_panic_out() {
    assert!(JoinError::Aborted.is_aborted() && !JoinError::Aborted.is_panic());
    assert!(JoinError::Aborted.into_panic().unwrap_err().is_aborted());
    let payload: Box<dyn Any + Send> = Box::new(5_u8);
    let panicked = JoinError::Panicked(payload.into());
    assert!(panicked.is_panic() && !panicked.is_aborted());
    assert_eq!(panicked.into_panic().unwrap().downcast_ref(), Some(&5_u8));
}

/// A waker that counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<T>(task: &mut JoinHandle<T>, count: &Arc<Count>) -> Poll<Result<T, JoinError>> {
    let waker = Waker::from(Arc::clone(count));
    Pin::new(task).poll(&mut Context::from_waker(&waker))
}
