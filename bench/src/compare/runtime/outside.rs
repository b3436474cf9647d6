//! Rows that begin outside of the runtime, on the main thread: spawning from there, waking from
//! there, and the seven of tokio's `benches/rt_multi_threaded.rs` under their names. What their
//! tasks do is as there; the figures are for one task, yield, ping or link, not for a lap.

use std::{
    future::poll_fn,
    hint,
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    row::Row,
    samples::Samples,
    seam::{Outside, Tasks},
    tasks::yields,
};
use crate::measure;

/// Runs the body of `row`; its figures in the order of [`Row::figures`].
pub fn body<R: Outside>(runtime: &R, row: Row, samples: Samples) -> Vec<f64> {
    match row {
        Row::SpawnOutside => spawn_outside(runtime, samples),
        Row::WakeIdle => wake_idle(runtime, samples),
        Row::SpawnManyLocal => spawn_many_local(runtime, samples),
        Row::SpawnManyRemoteIdle => spawn_many_remote(runtime, samples, SPAWNS),
        Row::SpawnManyRemoteBusy1 => busy_with_yields(runtime, samples),
        Row::SpawnManyRemoteBusy2 => busy_with_spawns(runtime, samples),
        Row::YieldMany => yield_many(runtime, samples),
        Row::PingPong => ping_pong(runtime, samples),
        Row::ChainedSpawn => chained_spawn(runtime, samples),
        _ => unreachable!("{row:?} is no row from outside"),
    }
}

/// Tasks that nobody waits for; the last of them says so. Time on the clock, and of all
/// processors.
fn spawn_outside<R: Outside>(runtime: &R, mut samples: Samples) -> Vec<f64> {
    let mut cpus = samples.clone();
    let countdown = Countdown::new();
    while let Some(begun) = samples.lap() {
        let cpu = measure::process_cpu();
        countdown.spawn_all(runtime, SPAWNS);
        samples.done(begun, SPAWNS);
        cpus.record(measure::process_cpu() - cpu, SPAWNS);
    }
    vec![samples.median(), cpus.median()]
}

/// As [`spawn_outside`]: tokio's bench calls it local because it spawns inside of `block_on`, on
/// the main thread, which is no worker.
fn spawn_many_local<R: Outside>(runtime: &R, mut samples: Samples) -> Vec<f64> {
    let countdown = Countdown::new();
    while let Some(begun) = samples.lap() {
        countdown.spawn_all(runtime, SPAWNS);
        samples.done(begun, SPAWNS);
    }
    vec![samples.median()]
}

/// Tells when the last of many tasks has run.
struct Countdown {
    left: Arc<AtomicUsize>,
    last: SyncSender<()>,
    ended: Receiver<()>,
}

impl Countdown {
    fn new() -> Self {
        let (last, ended) = sync_channel(1);
        Self { left: Arc::default(), last, ended }
    }

    fn spawn_all<R: Outside>(&self, runtime: &R, tasks: usize) {
        self.left.store(tasks, Relaxed);
        for _ in 0..tasks {
            let (left, last) = (Arc::clone(&self.left), self.last.clone());
            R::Tasks::detach(runtime.spawn(async move { count_down(&left, &last) }));
        }
        self.wait();
    }

    fn wait(&self) {
        self.ended.recv().expect("the sender is here as well");
    }
}

fn count_down(left: &AtomicUsize, last: &SyncSender<()>) {
    if left.fetch_sub(1, Relaxed) == 1 {
        last.send(()).expect("the main thread waits");
    }
}

/// Tasks whose handles are awaited, one after the other, once all are spawned.
fn spawn_many_remote<R: Outside>(runtime: &R, mut samples: Samples, tasks: usize) -> Vec<f64> {
    let mut joins = Vec::with_capacity(tasks);
    while let Some(begun) = samples.lap() {
        joins.extend((0..tasks).map(|_| runtime.spawn(async {})));
        runtime.block_on(async {
            for join in joins.drain(..) {
                join.await;
            }
        });
        samples.done(begun, tasks);
    }
    vec![samples.median()]
}

/// The same while two tasks a worker compute and yield.
fn busy_with_yields<R: Outside>(runtime: &R, samples: Samples) -> Vec<f64> {
    let busy = Arc::new(AtomicBool::new(true));
    for _ in 0..2 * runtime.workers() {
        let busy = Arc::clone(&busy);
        R::Tasks::detach(runtime.spawn(async move {
            while busy.load(Relaxed) {
                R::Tasks::yield_now().await;
                stall();
            }
        }));
    }
    let figures = spawn_many_remote(runtime, samples, SPAWNS);
    busy.store(false, Relaxed);
    figures
}

/// The same, with fewer tasks, while one task a worker computes and spawns its successor.
fn busy_with_spawns<R: Outside>(runtime: &R, samples: Samples) -> Vec<f64> {
    let busy = Arc::new(AtomicBool::new(true));
    for _ in 0..runtime.workers() {
        let busy = Arc::clone(&busy);
        R::Tasks::detach(runtime.spawn(async move { stall_and_spawn::<R::Tasks>(busy) }));
    }
    let figures = spawn_many_remote(runtime, samples, SPAWNS_BUSY);
    busy.store(false, Relaxed);
    figures
}

fn stall_and_spawn<R: Tasks>(busy: Arc<AtomicBool>) {
    R::detach(R::spawn(async move {
        if busy.load(Relaxed) {
            stall();
            stall_and_spawn::<R>(busy);
        }
    }));
}

/// Computes, as far as the runtime can tell.
fn stall() {
    let begun = Instant::now();
    while begun.elapsed() < STALL {
        thread::yield_now();
    }
}

/// 200 tasks yield 1000 times each: for each yield.
fn yield_many<R: Outside>(runtime: &R, mut samples: Samples) -> Vec<f64> {
    let (ended, ends) = sync_channel(YIELDERS);
    while let Some(begun) = samples.lap() {
        for _ in 0..YIELDERS {
            let ended = ended.clone();
            R::Tasks::detach(runtime.spawn(async move {
                yields::<R::Tasks>(YIELDS).await;
                ended.send(()).expect("the main thread waits");
            }));
        }
        for _ in 0..YIELDERS {
            ends.recv().expect("the sender is here as well");
        }
        samples.done(begun, YIELDERS * YIELDS);
    }
    vec![samples.median()]
}

/// A task spawns 1000 that each spawn a partner and exchange two messages with it.
fn ping_pong<R: Outside>(runtime: &R, mut samples: Samples) -> Vec<f64> {
    let countdown = Countdown::new();
    while let Some(begun) = samples.lap() {
        countdown.left.store(PINGS, Relaxed);
        let (left, last) = (Arc::clone(&countdown.left), countdown.last.clone());
        R::Tasks::detach(runtime.spawn(async move {
            for _ in 0..PINGS {
                let (left, last) = (Arc::clone(&left), last.clone());
                R::Tasks::detach(R::Tasks::spawn(async move {
                    ping::<R::Tasks>().await;
                    count_down(&left, &last);
                }));
            }
        }));
        countdown.wait();
        samples.done(begun, PINGS);
    }
    vec![samples.median()]
}

async fn ping<R: Tasks>() {
    let (ping, pinged) = oneshot::channel();
    let (pong, ponged) = oneshot::channel();
    R::detach(R::spawn(async move {
        pinged.await.expect("the other end sends");
        pong.send(()).expect("the other end waits");
    }));
    ping.send(()).expect("the partner waits");
    ponged.await.expect("the partner answers");
}

/// Each task spawns the next, 1000 links: for each.
fn chained_spawn<R: Outside>(runtime: &R, mut samples: Samples) -> Vec<f64> {
    let (last, ended) = sync_channel(1);
    while let Some(begun) = samples.lap() {
        let last = last.clone();
        R::Tasks::detach(runtime.spawn(async move { link::<R::Tasks>(last, LINKS) }));
        ended.recv().expect("the sender is here as well");
        samples.done(begun, LINKS);
    }
    vec![samples.median()]
}

fn link<R: Tasks>(last: SyncSender<()>, links: usize) {
    if links == 0 {
        last.send(()).expect("the main thread waits");
        return;
    }
    R::detach(R::spawn(async move { link::<R>(last, links - 1) }));
}

/// Wakes a task of a runtime that sleeps: what the call costs the caller, and how long it takes
/// until the task runs, in the middle and at the 99th percentile. The caller spins: it has other
/// work to do, on a processor of its own.
fn wake_idle<R: Outside>(runtime: &R, samples: Samples) -> Vec<f64> {
    let (mut calls, mut delays) = (samples.clone(), samples);
    let sleeper = Arc::new(Sleeper::default());
    let task = runtime.spawn({
        let sleeper = Arc::clone(&sleeper);
        poll_fn(move |context| sleeper.poll(context.waker()))
    });
    while delays.lap().is_some() {
        let (waker, seen) = (sleeper.waker(), sleeper.polls.load(Acquire));
        thread::sleep(UNTIL_ASLEEP);
        let woken = Instant::now();
        waker.wake();
        let call = woken.elapsed();
        sleeper.wait_for_more_than(seen);
        let ran = *sleeper.ran.lock().unwrap();
        calls.record(call, 1);
        delays.record(ran.map_or(Duration::ZERO, |ran| ran.saturating_duration_since(woken)), 1);
    }
    sleeper.ends.store(true, Relaxed);
    sleeper.waker().wake();
    runtime.block_on(task);
    vec![calls.median(), delays.median(), delays.quantile(0.99)]
}

/// A task that is woken, and says when it ran.
#[derive(Default)]
struct Sleeper {
    waker: Mutex<Option<Waker>>,
    ran: Mutex<Option<Instant>>,
    polls: AtomicU64,
    ends: AtomicBool,
}

impl Sleeper {
    fn poll(&self, waker: &Waker) -> Poll<()> {
        *self.ran.lock().unwrap() = Some(Instant::now());
        // Between the two: whoever sees it sees `ran`, and whoever has the waker has seen it.
        self.polls.fetch_add(1, Release);
        *self.waker.lock().unwrap() = Some(waker.clone());
        if self.ends.load(Relaxed) { Poll::Ready(()) } else { Poll::Pending }
    }

    fn waker(&self) -> Waker {
        loop {
            if let Some(waker) = self.waker.lock().unwrap().take() {
                return waker;
            }
            hint::spin_loop();
        }
    }

    fn wait_for_more_than(&self, polls: u64) {
        while self.polls.load(Acquire) == polls {
            hint::spin_loop();
        }
    }
}

/// Tasks in a lap, as in tokio's bench.
const SPAWNS: usize = 10_000;
const SPAWNS_BUSY: usize = 1000;
const YIELDERS: usize = 200;
const YIELDS: usize = 1000;
const PINGS: usize = 1000;
const LINKS: usize = 1000;
const STALL: Duration = Duration::from_micros(10);
/// Longer than any of the runtimes looks for work before it sleeps.
const UNTIL_ASLEEP: Duration = Duration::from_micros(300);
