//! The figures of the specification's self-metrics: what the queue in front of an exporter did,
//! and what each exporter did.
//!
//! Source of names and counting rules: semantic conventions 1.44, `model/otel/metrics.yaml`.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use crate::model::Signal;

/// What the buffer of one signal did: `otel.sdk.processor.*`. Part of [`Stats`](crate::Stats).
///
/// It counts what ended at a processor or a direct door. What the SDK's own processors hand to an
/// exporter of this crate was counted by them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessorStats {
    /// What the records are.
    pub signal: Signal,
    /// `otel.component.type`: `spanwire::SpanProcessor` or `spanwire::LogProcessor`.
    pub component_type: &'static str,
    /// `otel.component.name`: the type, and a number in this process.
    pub component_name: Arc<str>,
    /// Records that wait: accepted, and not handed to the exporter.
    pub queue_size: u64,
    /// How many records of the mean size so far have room in the buffer, which is bounded in
    /// bytes; none before the first were handed to the exporter.
    pub queue_capacity: Option<u64>,
    /// Records that were handed to the exporter (without a cause), or given up before (with one):
    /// `queue_full` (also those evicted to make room), `already_shutdown`, and the names of
    /// [`Dropped`](crate::Dropped) for what has no name in the specification.
    pub processed: Vec<ByCause>,
}

/// What one exporter did: the deliveries of one signal to one destination,
/// `otel.sdk.exporter.*`. Part of [`Stats`](crate::Stats).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExporterStats {
    /// What the records are.
    pub signal: Signal,
    /// `otel.component.type`, such as `otlp_http_span_exporter`.
    pub component_type: &'static str,
    /// `otel.component.name`: the type, and a number in this process.
    pub component_name: Arc<str>,
    /// `server.address` and `server.port`; none of a file.
    pub server: Option<Server>,
    /// Records handed to the exporter whose fate is open, retries and pauses included.
    pub in_flight: u64,
    /// Records whose export has ended: those that the collector kept without a cause, all others
    /// under the `error.type` of their last attempt. Each is counted once.
    pub exported: Vec<ByCause>,
    /// How long operations took: requests from their first attempt to the end of their last.
    pub durations: Durations,
}

/// A number of records that came to the same end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ByCause {
    /// `error.type`; none is success.
    pub error_type: Option<Cow<'static, str>>,
    /// How many.
    pub records: u64,
}

/// Whom an exporter sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// The host of the endpoint, or the path of a Unix domain socket.
    pub address: Arc<str>,
    /// The port; none of a Unix domain socket.
    pub port: Option<u16>,
}

/// How long things took, by size: each is known to an eighth of itself, or to a microsecond.
///
/// # Examples
///
/// ```
/// let durations = spanwire::Durations::default();
/// assert_eq!((durations.count(), durations.quantile(0.99)), (0, None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many fell into each bucket, up to the last that is not empty.
    buckets: Vec<u64>,
    count: u64,
    sum: Duration,
}

impl Server {
    pub(crate) fn new(address: impl Into<Arc<str>>, port: Option<u16>) -> Self {
        Self { address: address.into(), port }
    }
}

impl ByCause {
    pub(crate) fn new(error_type: Option<Cow<'static, str>>, records: u64) -> Self {
        Self { error_type, records }
    }
}

impl Durations {
    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// An upper bound of the smallest time that a share of `q` (0 to 1) of them did not exceed;
    /// none if there were none.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        // A count is far below 2^52; what is no number is the smallest.
        let rank = ((q.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut below = 0;
        let bucket = self.buckets.iter().position(|count| {
            below += count;
            below >= rank
        });
        bucket.map(|bucket| Duration::from_micros(upper_bound(bucket)))
    }

    /// Adds one.
    pub(crate) fn record(&mut self, duration: Duration) {
        let bucket = bucket_of(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        if self.buckets.len() <= bucket {
            self.buckets.resize(bucket + 1, 0);
        }
        self.buckets[bucket] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(duration);
    }
}

/// Each power of two is cut into this many buckets.
const STEPS: u64 = 8;
/// The logarithm of it.
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Below [`STEPS`] each number has a bucket; above, its highest bit and the bits behind that name it.
fn bucket_of(micros: u64) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let shift = micros.ilog2() - STEP_BITS;
    (u64::from(shift) * STEPS + (micros >> shift)) as usize
}

/// The largest number of a bucket.
fn upper_bound(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let first = (bucket % STEPS + STEPS) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_the_bucket_whose_bounds_hold_it() {
        let around = (0..64).flat_map(|bit| {
            let power = 1_u64 << bit;
            [power - 1, power, power + power / 3]
        });
        for micros in around.chain([u64::MAX]) {
            let bucket = bucket_of(micros);
            assert!(micros <= upper_bound(bucket), "{micros}");
            assert!(bucket == 0 || micros > upper_bound(bucket - 1), "{micros}");
            assert!(upper_bound(bucket) - micros <= micros / 8, "{micros}");
        }
    }

    #[test]
    fn quantiles_are_the_ranks_of_a_sorted_list() {
        let mut durations = Durations::default();
        (1..=1000).for_each(|millis| durations.record(Duration::from_millis(millis)));
        assert_eq!((durations.count(), durations.sum().as_millis()), (1000, 500_500));
        for (q, millis) in [(0.0, 1), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let bound = durations.quantile(q).unwrap();
            let exact = Duration::from_millis(millis);
            assert!(bound >= exact && bound <= exact * 9 / 8, "{q}: {bound:?}");
        }
    }
}
