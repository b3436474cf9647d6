//! Producers: threads that emit the span of [`crate::span`], flat out, at a rate, or in a closed
//! loop.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    measure,
    span::SpanMaker,
    subject::{Peer, Subject},
};

/// What to emit, and how fast.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Spans, all threads together.
    pub spans: u64,
    /// Producer threads, at least 1.
    pub threads: usize,
    /// Spans a second, all threads together; `None` is as fast as the rest allows.
    pub rate: Option<u64>,
    /// Pause while more spans than this have no fate yet; `None` never pauses.
    pub outstanding: Option<u64>,
    /// Keep the ids of the emitted spans, 8 bytes each.
    pub keep_ids: bool,
}

/// What was emitted, and what it cost the producing threads.
#[derive(Debug, Default)]
pub struct Emitted {
    /// Spans ended: the producers' own count.
    pub spans: u64,
    /// CPU time of the producing threads, pauses not included.
    pub app_cpu: Duration,
    /// Their ids, if the plan asks for them, in no order.
    pub ids: Vec<u64>,
}

/// Runs the plan to its end; does not flush.
///
/// # Panics
///
/// When a producer panics, which is a bug.
pub fn drive(subject: &Subject, plan: &Plan) -> Emitted {
    let pace = Pace::new(subject.peer.as_ref(), plan);
    let threads = plan.threads.max(1);
    thread::scope(|scope| {
        let producers: Vec<_> = (0..threads)
            .map(|index| {
                let maker = SpanMaker::new(&subject.provider);
                let (pace, share) = (&pace, share(plan.spans, threads, index));
                scope.spawn(move || produce(maker, share, pace, plan))
            })
            .collect();
        let mut sum = Emitted::default();
        for producer in producers {
            sum.add(producer.join().expect("a producer panicked"));
        }
        sum
    })
}

impl Emitted {
    fn add(&mut self, mut other: Self) {
        self.spans += other.spans;
        self.app_cpu += other.app_cpu;
        self.ids.append(&mut other.ids);
    }
}

fn produce(mut maker: SpanMaker, share: u64, pace: &Pace<'_>, plan: &Plan) -> Emitted {
    let mut emitted = Emitted::default();
    if plan.keep_ids {
        emitted.ids.reserve_exact(usize::try_from(share).unwrap_or(0));
    }
    let start = measure::thread_cpu();
    let mut paused = Duration::ZERO;
    while emitted.spans < share {
        let burst = CHECK_EVERY.min(share - emitted.spans);
        paused += pace.wait();
        for _ in 0..burst {
            let id = maker.emit();
            if plan.keep_ids {
                emitted.ids.push(id);
            }
        }
        emitted.spans += burst;
        pace.add(burst);
    }
    emitted.app_cpu = (measure::thread_cpu() - start).saturating_sub(paused);
    emitted
}

/// When producers may go on.
struct Pace<'a> {
    peer: &'a dyn Peer,
    plan: &'a Plan,
    start: Instant,
    settled_before: u64,
    emitted: AtomicU64,
}

impl<'a> Pace<'a> {
    fn new(peer: &'a dyn Peer, plan: &'a Plan) -> Self {
        let settled_before = peer.settled();
        Self { peer, plan, start: Instant::now(), settled_before, emitted: AtomicU64::new(0) }
    }

    fn add(&self, spans: u64) {
        // Ordering: Relaxed, here and in the loads below: the pace may be some spans late, nothing
        // is published through it.
        self.emitted.fetch_add(spans, Ordering::Relaxed);
    }

    /// Sleeps while the producers are ahead; returns the CPU time of doing so.
    fn wait(&self) -> Duration {
        if !self.is_ahead() && !self.is_full(1) {
            return Duration::ZERO;
        }
        let start = measure::thread_cpu();
        while self.is_ahead() {
            thread::sleep(RATE_TICK);
        }
        // Goes on at half of the limit, so that a pause is worth its two context switches.
        while self.is_full(2) {
            thread::sleep(POLL);
        }
        measure::thread_cpu() - start
    }

    fn is_ahead(&self) -> bool {
        self.plan.rate.is_some_and(|rate| {
            let due = self.start.elapsed().as_secs_f64() * rate as f64;
            self.emitted.load(Ordering::Relaxed) as f64 > due
        })
    }

    /// Whether more than a `fraction`th of the limit is outstanding.
    fn is_full(&self, fraction: u64) -> bool {
        self.plan.outstanding.is_some_and(|limit| {
            let settled = self.peer.settled() - self.settled_before;
            let emitted = self.emitted.load(Ordering::Relaxed);
            emitted.saturating_sub(settled) > limit / fraction
        })
    }
}

/// The part of `spans` that the thread `index` of `threads` emits.
fn share(spans: u64, threads: usize, index: usize) -> u64 {
    let (threads, index) = (threads as u64, index as u64);
    spans / threads + u64::from(index < spans % threads)
}

/// Spans between two looks at the pace: asking costs some 100 ns, so a few nanoseconds a span.
const CHECK_EVERY: u64 = 64;
/// At a rate, spans come in bursts of this length of time, so that the cost of sleeping stays small
/// beside them.
const RATE_TICK: Duration = Duration::from_millis(5);
/// Between two looks while a closed loop is full.
const POLL: Duration = Duration::from_micros(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_threads_add_up_to_the_whole() {
        for spans in [0, 1, 7, 64, 1001] {
            for threads in 1..9 {
                let shares: Vec<_> = (0..threads).map(|n| share(spans, threads, n)).collect();
                assert_eq!(shares.iter().sum::<u64>(), spans);
                assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
            }
        }
    }
}
