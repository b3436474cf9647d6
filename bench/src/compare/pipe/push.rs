//! Threads that put records in, and one that takes them out.

use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use super::queue::{Drain, Push, Queue, Visit};
use crate::{compare::samples::Samples, histogram::Histogram, measure};

/// Nanoseconds of CPU time for a record: the lap in the middle, averaged over the threads; for one
/// or two threads then the percentiles of single calls, which include reading the clock.
///
/// A lap is a block of records by one thread. What it spends while the queue is full does not count:
/// it sleeps then.
#[derive(Clone, Debug)]
pub struct Times {
    /// Threads that push.
    pub threads: usize,
    /// How long.
    pub samples: Samples,
}

/// Allocations for a record, by the threads that push, when they are warm.
#[derive(Clone, Copy, Debug)]
pub struct Allocations {
    /// Threads that push.
    pub threads: usize,
}

impl<const N: usize> Visit<N> for Times {
    type Output = Result<Vec<f64>, String>;

    fn visit<Q: Queue<N>>(self) -> Self::Output {
        let wants_tail = self.threads <= TAIL_THREADS_MAX;
        let body = |push: &mut Q::Push| {
            let mean = laps(push, self.samples.clone());
            (mean, wants_tail.then(|| tail(push, self.samples.clone())))
        };
        let results = with_consumer::<N, Q, _>(self.threads, |_| (), body);
        let mean = results.iter().map(|(mean, _)| mean).sum::<f64>() / self.threads as f64;
        let mut calls = Histogram::default();
        results.iter().filter_map(|(_, tail)| tail.as_ref()).for_each(|tail| calls.merge(tail));
        let calls = calls.percentiles();
        let tail = [calls.p50, calls.p99, calls.p999].map(|nanos| nanos as f64);
        Ok([&[mean][..], if wants_tail { &tail } else { &[] }].concat())
    }
}

impl<const N: usize> Visit<N> for Allocations {
    type Output = Result<f64, String>;

    fn visit<Q: Queue<N>>(self) -> Self::Output {
        // Whatever a queue allocates for a place when that is first used has been allocated.
        let fill = |push: &mut Q::Push| while push.push(&[7; N]) {};
        let body = |push: &mut Q::Push| {
            block(push, COUNTED);
            measure::allocations(&mut || {
                block(push, COUNTED);
            })
        };
        let counts = with_consumer::<N, Q, _>(self.threads, fill, body);
        let count: Option<u64> = counts.into_iter().sum();
        let count = count.ok_or("this program counts no allocations; spanwire-counting does")?;
        Ok(count as f64 / (self.threads * COUNTED) as f64)
    }
}

/// Runs `prepare` on each thread, then `body` while another thread takes.
fn with_consumer<const N: usize, Q: Queue<N>, R: Send>(
    threads: usize,
    prepare: impl Fn(&mut Q::Push) + Sync,
    body: impl Fn(&mut Q::Push) -> R + Sync,
) -> Vec<R> {
    let (pushes, mut drain) = Q::open(threads);
    let (prepared, stopped) = (Barrier::new(threads + 1), AtomicBool::new(false));
    let produce = |mut push: Q::Push| {
        prepare(&mut push);
        prepared.wait();
        body(&mut push)
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            prepared.wait();
            consume(&mut drain, &stopped);
        });
        let produce = &produce;
        let spawn = |push: Q::Push| scope.spawn(move || produce(push));
        let producers: Vec<_> = pushes.into_iter().map(spawn).collect();
        let results =
            producers.into_iter().map(|producer| producer.join().expect("a producer panicked"));
        let results = results.collect();
        // Ordering: Relaxed, a mere flag: nothing is read on the strength of it.
        stopped.store(true, Relaxed);
        results
    })
}

/// Takes until it is told to stop. It looks again a moment after there was nothing: waking it is no
/// part of what is compared, since the queues wake, or do not, in different ways.
fn consume(drain: &mut impl Drain, stopped: &AtomicBool) {
    // Ordering: Relaxed, as where it is set.
    while !stopped.load(Relaxed) {
        if drain.drain() == 0 {
            thread::sleep(PAUSE);
        }
    }
}

fn laps<const N: usize>(push: &mut impl Push<N>, mut samples: Samples) -> f64 {
    while samples.lap().is_some() {
        let begun = measure::thread_cpu();
        let paused = block(push, BLOCK);
        let busy = measure::thread_cpu() - begun;
        samples.record(busy.saturating_sub(paused), BLOCK);
    }
    samples.median()
}

/// The durations of single calls that found room.
fn tail<const N: usize>(push: &mut impl Push<N>, mut samples: Samples) -> Histogram {
    let (mut calls, record) = (Histogram::default(), [7; N]);
    while let Some(begun) = samples.lap() {
        for _ in 0..BLOCK {
            let call = Instant::now();
            let pushed = push.push(black_box(&record));
            let nanos = call.elapsed().as_nanos();
            if pushed {
                calls.record(u64::try_from(nanos).unwrap_or(u64::MAX));
            } else {
                push_later(push, &record);
            }
        }
        samples.done(begun, BLOCK);
    }
    calls
}

/// Pushes so many; the CPU time of waiting for room.
fn block<const N: usize>(push: &mut impl Push<N>, records: usize) -> Duration {
    let (mut paused, record) = (Duration::ZERO, [7; N]);
    for _ in 0..records {
        if !push.push(black_box(&record)) {
            paused += push_later(push, &record);
        }
    }
    paused
}

/// Waits for room; the CPU time of doing so.
#[cold]
fn push_later<const N: usize>(push: &mut impl Push<N>, record: &[u8; N]) -> Duration {
    let begun = measure::thread_cpu();
    while !push.push(record) {
        thread::sleep(PAUSE);
    }
    measure::thread_cpu() - begun
}

/// Records in a lap: long beside asking for the CPU time, which is a system call.
const BLOCK: usize = 4096;
/// Records of each thread for the warm-up, and for the count.
const COUNTED: usize = 200_000;
/// Between two looks of somebody who waits.
const PAUSE: Duration = Duration::from_micros(50);
/// With more threads than processors, a tail is the scheduler's.
const TAIL_THREADS_MAX: usize = 2;
