//! A task that never has to wait lets the others run all the same.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use spanwire_runtime::time::sleep_until;
use spanwire_runtime::{Builder, consume_budget, spawn, yield_now};

/// How often another task of the same worker runs before `greedy` has ended.
fn turns_of_another<F>(greedy: F) -> usize
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = Builder::new().build().unwrap();
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let both = runtime.spawn(async move {
        let other = spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        spawn(greedy).await.unwrap();
        other.abort();
    });
    runtime.block_on(both).unwrap();
    turns.load(Ordering::Relaxed)
}

#[test]
fn a_loop_that_says_so_lets_others_run() {
    let turns = turns_of_another(async {
        for _ in 0..1280 {
            consume_budget().await;
        }
    });
    assert!((9..=13).contains(&turns), "{turns}: one for each 128 units");
}

#[test]
fn handles_that_are_ready_cost_units() {
    let turns = turns_of_another(async {
        let tasks: Vec<_> = (0..1280).map(|_| spawn(async {})).collect();
        yield_now().await;
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert!((9..=14).contains(&turns), "{turns}");
}

#[test]
fn timers_that_are_due_cost_units() {
    let turns = turns_of_another(async {
        let past = std::time::Instant::now();
        for _ in 0..1280 {
            sleep_until(past).await;
        }
    });
    assert!((9..=13).contains(&turns), "{turns}");
}

#[test]
fn each_poll_has_a_budget_of_its_own() {
    let runtime = Builder::new().build().unwrap();
    let mut polls = 0;
    let mut spent = Box::pin(async {
        for _ in 0..1000 {
            consume_budget().await;
        }
    });
    let task = runtime.spawn(poll_fn(move |context| {
        polls += 1;
        spent.as_mut().poll(context).map(|()| polls)
    }));
    assert_eq!(runtime.block_on(task).unwrap(), 1000_usize.div_ceil(128));
}

#[test]
fn off_the_workers_there_is_no_limit() {
    let mut spent = pin!(async {
        for _ in 0..10_000 {
            consume_budget().await;
        }
    });
    let polled = spent.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert_eq!(polled, Poll::Ready(()));
}
