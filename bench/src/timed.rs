//! A span processor that times another one.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};

use crate::histogram::{Histogram, Percentiles};

/// The durations of `on_end` calls, in nanoseconds, of all threads. Cloning shares them.
///
/// A duration includes about one reading of the clock (20 to 25 ns).
#[derive(Clone, Debug)]
pub struct Timings(Arc<[Mutex<Shard>]>);

#[derive(Default)]
struct Shard(Histogram);

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} values", self.0.count())
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Timings {
    /// Mean and percentiles of all threads together.
    pub fn percentiles(&self) -> Percentiles {
        let mut sum = Histogram::default();
        for shard in self.0.iter() {
            sum.merge(&shard.lock().unwrap_or_else(PoisonError::into_inner).0);
        }
        sum.percentiles()
    }

    /// What was timed since the start or the last call of this; begins again from nothing.
    pub fn take(&self) -> Histogram {
        let mut sum = Histogram::default();
        for shard in self.0.iter() {
            let taken = std::mem::take(&mut *shard.lock().unwrap_or_else(PoisonError::into_inner));
            sum.merge(&taken.0);
        }
        sum
    }

    /// How many calls were timed.
    pub fn count(&self) -> u64 {
        self.0
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).0.count())
            .sum()
    }

    /// Each thread has its own shard while there are at most 16 of them, so the lock is free and
    /// its line is warm.
    fn record(&self, elapsed: Duration) {
        let shard = &self.0[THREAD.with(|thread| *thread) % SHARDS];
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        shard.lock().unwrap_or_else(PoisonError::into_inner).0.record(nanos);
    }
}

/// Times `on_end` of the processor inside, outside of which nothing is added to the measured span
/// of time.
#[derive(Debug)]
pub struct Timed<P> {
    inner: P,
    timings: Timings,
}

impl<P> Timed<P> {
    /// Wraps `inner`; the durations go to `timings`.
    pub fn new(inner: P, timings: Timings) -> Self {
        Self { inner, timings }
    }
}

impl<P: SpanProcessor> SpanProcessor for Timed<P> {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.inner.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        let start = Instant::now();
        self.inner.on_end(span);
        self.timings.record(start.elapsed());
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

thread_local! {
    // Ordering: Relaxed, a mere counter: only the uniqueness of its values matters, nothing is
    // published through it.
    static THREAD: usize = NEXT_THREAD.fetch_add(1, Ordering::Relaxed);
}

static NEXT_THREAD: AtomicUsize = AtomicUsize::new(0);
const SHARDS: usize = 16;
