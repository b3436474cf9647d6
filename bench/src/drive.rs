//! Producers: threads that emit records of one signal, flat out, at a rate, or in a closed loop.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    log::LogMaker,
    measure,
    span::SpanMaker,
    subject::{Peer, Subject},
};

/// Emits records from one thread.
pub trait Producer: Send {
    /// Emits up to `records` records, at least one, and adds their ids to `ids`; returns how many
    /// it emitted. A producer that can only emit a fixed number at once may emit more.
    fn burst(&mut self, records: u64, ids: &mut Ids) -> u64;

    /// How many records a burst has, when the plan does not end earlier.
    fn burst_len(&self) -> u64 {
        BURST
    }

    /// What the bursts so far spent on getting ready for what is measured.
    fn aside(&self) -> Aside {
        Aside::default()
    }
}

/// Time that is not part of what is measured.
#[derive(Clone, Copy, Debug, Default)]
pub struct Aside {
    /// By the clock.
    pub elapsed: Duration,
    /// CPU time of the whole process.
    pub cpu: Duration,
}

/// The ids of emitted records, if anybody wants them.
#[derive(Debug, Default)]
pub struct Ids(Option<Vec<u64>>);

/// What to emit, and how fast.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Records, all threads together.
    pub records: u64,
    /// Goes on until this time has passed, whatever `records` says.
    pub period: Option<Duration>,
    /// Producer threads, at least 1.
    pub threads: usize,
    /// Records a second, all threads together; `None` is as fast as the rest allows.
    pub rate: Option<u64>,
    /// Pause while more records than this have no fate yet; `None` never pauses.
    pub outstanding: Option<u64>,
    /// Keep the ids of the emitted records, 8 bytes each.
    pub keep_ids: bool,
}

/// What was emitted, and what it cost the producing threads.
#[derive(Debug, Default)]
pub struct Emitted {
    /// Records emitted: the producers' own count.
    pub records: u64,
    /// CPU time of the producing threads, pauses not included.
    pub app_cpu: Duration,
    /// CPU time of their pauses.
    pub paused_cpu: Duration,
    /// Their ids, if the plan asks for them, in no order.
    pub ids: Vec<u64>,
    /// What is not part of the measurement, all threads together.
    pub aside: Aside,
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
                let producer = subject.producer();
                let (pace, share) = (&pace, share(plan.records, threads, index));
                scope.spawn(move || produce(producer, share, pace, plan))
            })
            .collect();
        let mut sum = Emitted::default();
        for producer in producers {
            sum.add(producer.join().expect("a producer panicked"));
        }
        sum
    })
}

impl Ids {
    /// Adds the id of one record.
    #[inline]
    pub fn add(&mut self, id: u64) {
        if let Some(ids) = &mut self.0 {
            ids.push(id);
        }
    }
}

impl Emitted {
    fn add(&mut self, mut other: Self) {
        self.records += other.records;
        self.app_cpu += other.app_cpu;
        self.paused_cpu += other.paused_cpu;
        self.ids.append(&mut other.ids);
        self.aside.elapsed += other.aside.elapsed;
        self.aside.cpu += other.aside.cpu;
    }
}

impl Producer for SpanMaker {
    fn burst(&mut self, records: u64, ids: &mut Ids) -> u64 {
        for _ in 0..records {
            ids.add(self.emit());
        }
        records
    }
}

impl Producer for LogMaker {
    fn burst(&mut self, records: u64, ids: &mut Ids) -> u64 {
        for _ in 0..records {
            ids.add(self.emit());
        }
        records
    }
}

fn produce(mut producer: Box<dyn Producer>, share: u64, pace: &Pace<'_>, plan: &Plan) -> Emitted {
    let mut emitted = Emitted::default();
    let mut ids = Ids(plan.keep_ids.then(Vec::new));
    if let Some(ids) = &mut ids.0 {
        ids.reserve_exact(usize::try_from(share).unwrap_or(0));
    }
    let start = measure::thread_cpu();
    let mut paused = Duration::ZERO;
    while !pace.is_over(emitted.records, share) {
        paused += pace.wait();
        let burst = match plan.period {
            None => producer.burst_len().min(share - emitted.records),
            Some(_) => producer.burst_len(),
        };
        let burst = producer.burst(burst, &mut ids);
        emitted.records += burst;
        pace.add(burst);
    }
    emitted.app_cpu = (measure::thread_cpu() - start).saturating_sub(paused);
    emitted.paused_cpu = paused;
    emitted.aside = producer.aside();
    emitted.ids = ids.0.unwrap_or_default();
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

    /// Whether a thread has done its share, or the time is up.
    fn is_over(&self, emitted: u64, share: u64) -> bool {
        match self.plan.period {
            None => emitted >= share,
            Some(period) => self.start.elapsed() >= period,
        }
    }

    fn add(&self, records: u64) {
        // Ordering: Relaxed, here and in the loads below: the pace may be some spans late, nothing
        // is published through it.
        self.emitted.fetch_add(records, Ordering::Relaxed);
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

/// The part of `records` that the thread `index` of `threads` emits.
fn share(records: u64, threads: usize, index: usize) -> u64 {
    let (threads, index) = (threads as u64, index as u64);
    records / threads + u64::from(index < records % threads)
}

/// Records between two looks at the pace: asking costs some 100 ns, so a few nanoseconds a record.
const BURST: u64 = 64;
/// At a rate, records come in bursts of this length of time, so that the cost of sleeping stays small
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
