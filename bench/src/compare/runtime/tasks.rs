//! Rows of tasks: bodies that run as a task and spawn others.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Poll},
};

use super::{row::Row, samples::Samples, seam::Tasks};
use crate::measure;

/// Runs the body of `row`; its figures in the order of [`Row::figures`].
pub async fn body<R: Tasks>(row: Row, samples: Samples) -> Vec<f64> {
    match row {
        Row::IdleTask | Row::IdleTaskPinned => idle_task::<R>(samples).await,
        Row::SpawnJoinBatch | Row::SpawnJoinBatchPinned => spawn_join_batch::<R>(samples).await,
        Row::SpawnJoinOne | Row::SpawnJoinOnePinned => spawn_join_one::<R>(samples).await,
        Row::YieldOne | Row::YieldOnePinned => yield_one::<R>(samples).await,
        Row::YieldThousand | Row::YieldThousandPinned => yield_thousand::<R>(samples).await,
        Row::PingPongChannel | Row::PingPongChannelPinned => ping_pong_channel::<R>(samples).await,
        _ => unreachable!("{row:?} is no row of tasks"),
    }
}

/// Memory of a task that waits, with its handle: what the process grew by, whoever needed it.
async fn idle_task<R: Tasks>(samples: Samples) -> Vec<f64> {
    let tasks = samples.extent().things(IDLE_TASKS_A_MILLI, IDLE_TASKS_MAX);
    // Whatever grows at the first spawn has grown.
    R::spawn(async {}).await;
    let before = measure::anonymous_bytes();
    let mut joins = Vec::with_capacity(tasks);
    for spawned in 1..=tasks {
        joins.push(R::spawn(Idle(&POLLED)));
        if spawned % IDLE_BATCH == 0 || spawned == tasks {
            // Idle is what was polled once; and no queue shall grow long. A task behind them all:
            // yielding is no use where whoever yields comes first again, as with monoio.
            while POLLED.load(Relaxed) < spawned {
                R::spawn(async {}).await;
            }
        }
    }
    let grown = measure::anonymous_bytes().saturating_sub(before);
    joins.into_iter().for_each(R::detach);
    vec![grown as f64 / tasks as f64]
}

/// A future of eight bytes that never ends.
struct Idle(&'static AtomicUsize);

impl Future for Idle {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        self.0.fetch_add(1, Relaxed);
        Poll::Pending
    }
}

/// A thousand tasks, then all of their results: for each task.
async fn spawn_join_batch<R: Tasks>(mut samples: Samples) -> Vec<f64> {
    let mut joins = Vec::with_capacity(BATCH);
    while let Some(begun) = samples.lap() {
        joins.extend((0..BATCH).map(|n| R::spawn(async move { n })));
        for join in joins.drain(..) {
            join.await;
        }
        samples.done(begun, BATCH);
    }
    vec![samples.median()]
}

/// A task, its result, the next task.
async fn spawn_join_one<R: Tasks>(mut samples: Samples) -> Vec<f64> {
    while let Some(begun) = samples.lap() {
        for n in 0..BATCH {
            R::spawn(async move { n }).await;
        }
        samples.done(begun, BATCH);
    }
    vec![samples.median()]
}

/// One task alone that yields.
async fn yield_one<R: Tasks>(mut samples: Samples) -> Vec<f64> {
    while let Some(begun) = samples.lap() {
        for _ in 0..BATCH {
            R::yield_now().await;
        }
        samples.done(begun, BATCH);
    }
    vec![samples.median()]
}

/// A thousand tasks that yield: for each yield.
async fn yield_thousand<R: Tasks>(mut samples: Samples) -> Vec<f64> {
    let mut joins = Vec::with_capacity(BATCH);
    while let Some(begun) = samples.lap() {
        joins.extend((0..BATCH).map(|_| R::spawn(yields::<R>(YIELDS))));
        for join in joins.drain(..) {
            join.await;
        }
        samples.done(begun, BATCH * YIELDS);
    }
    vec![samples.median()]
}

/// Yields so often.
pub(super) async fn yields<R: Tasks>(times: usize) {
    for _ in 0..times {
        R::yield_now().await;
    }
}

/// Two tasks and two channels of one place: for each way there and back.
async fn ping_pong_channel<R: Tasks>(mut samples: Samples) -> Vec<f64> {
    let (ping, pings) = async_channel::bounded(1);
    let (pong, pongs) = async_channel::bounded(1);
    R::detach(R::spawn(async move {
        while let Ok(n) = pings.recv().await {
            if pong.send(n).await.is_err() {
                return;
            }
        }
    }));
    // The root may be special to a runtime; two tasks are alike.
    R::spawn(async move {
        while let Some(begun) = samples.lap() {
            for n in 0..ROUNDS {
                ping.send(n).await.expect("the partner receives until this end is dropped");
                pongs.recv().await.expect("the partner answers each time");
            }
            samples.done(begun, ROUNDS);
        }
        vec![samples.median()]
    })
    .await
}

/// Polls `future` once, with the waker of the task that asks.
pub(super) async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Idle tasks that were polled. Each row has a process of its own, so it starts at 0.
static POLLED: AtomicUsize = AtomicUsize::new(0);
/// Tasks in a batch.
const BATCH: usize = 1000;
/// Yields of each of the thousand.
const YIELDS: usize = 20;
/// Round trips in a lap.
const ROUNDS: usize = 500;
/// Enough that a page is a small part.
const IDLE_TASKS_MAX: usize = 100_000;
const IDLE_TASKS_A_MILLI: usize = 1000;
/// Idle tasks that wait for their first poll at a time.
const IDLE_BATCH: usize = 100;
