//! Counters of one exporter, as its user sees them.

use std::sync::Arc;

use crate::model::{DestinationName, Signal};

mod exports;

pub use self::exports::{ByCause, Durations, ExporterStats, ProcessorStats, Server};

/// What happened to every record so far. Returned by `Exporter::stats`.
///
/// Each term is counted where it happens; only what is still in the queue is the difference of
/// what was accepted and what has left it. At quiescence (producers stopped, a flush returned)
/// they balance exactly:
///
/// `emitted = delivered + rejected + dropped.total() + in_flight`
///
/// While producers run, a snapshot may be a few records out of balance.
///
/// With [several destinations](crate::Builder::destination), all this is about the main one. Each
/// of the others has accounts of its own in [`destinations`](Self::destinations).
///
/// # Examples
///
/// ```
/// let stats = spanwire::Stats::default();
/// assert_eq!(stats.accounted_for(), stats.emitted);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Records that ended at a door of this exporter, whatever became of them.
    pub emitted: u64,
    /// Records that the collector accepted.
    pub delivered: u64,
    /// Records that the collector said it did not keep (`partial_success`).
    pub rejected: u64,
    /// Records that never reached the collector, by reason.
    pub dropped: Dropped,
    /// Records accepted by a door and neither delivered, rejected nor dropped yet.
    pub in_flight: u64,
    /// Requests sent, retries included.
    pub requests: u64,
    /// Requests sent again after an attempt that may succeed later.
    pub retries: u64,
    /// The driver that moves the bytes: `uring` or `epoll`.
    pub driver: &'static str,
    /// Why the driver is not io_uring, if io_uring was considered.
    pub driver_reason: Option<Arc<str>>,
    /// The terms above for spans alone.
    pub traces: SignalStats,
    /// The terms above for log records alone.
    pub logs: SignalStats,
    /// The terms above for metrics alone, counted in data points.
    pub metrics: SignalStats,
    /// What the exporter of each signal and destination did, in the terms of the specification's self-metrics:
    /// the figures of `otel.sdk.exporter.*`.
    pub exporters: Vec<ExporterStats>,
    /// What the buffers in front of them did: the figures of `otel.sdk.processor.*`.
    pub processors: Vec<ProcessorStats>,
    /// What came of the copies for the destinations beside the main one, in the order in which
    /// the builder got them.
    pub destinations: Vec<DestinationStats>,
}

/// What came of the records that one destination beside the main one was to get. The terms of
/// [`SignalStats`] balance for it as for the main one, where `emitted` counts the records that
/// were handed to it: those of its signals that came into the buffer and were cut into requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DestinationStats {
    /// What the builder called it.
    pub name: DestinationName,
    /// Requests sent to it, retries included.
    pub requests: u64,
    /// Requests sent to it again after an attempt that may succeed later.
    pub retries: u64,
    /// Spans.
    pub traces: SignalStats,
    /// Log records.
    pub logs: SignalStats,
    /// Metrics, counted in data points.
    pub metrics: SignalStats,
}

/// What happened to every record of one signal: the terms of [`Stats`], which balance for each
/// signal as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SignalStats {
    /// Records that ended at a door of this signal, whatever became of them.
    pub emitted: u64,
    /// Records that the collector accepted.
    pub delivered: u64,
    /// Records that the collector said it did not keep.
    pub rejected: u64,
    /// Records that never reached the collector, by reason.
    pub dropped: Dropped,
    /// Records accepted by a door and neither delivered, rejected nor dropped yet.
    pub in_flight: u64,
}

impl Stats {
    /// Everything whose fate is known or pending: equals `emitted` at quiescence.
    #[must_use]
    pub fn accounted_for(&self) -> u64 {
        sum([self.delivered, self.rejected, self.dropped.total(), self.in_flight])
    }

    /// The terms of one signal.
    ///
    /// ```
    /// use spanwire::{Signal, Stats};
    ///
    /// let stats = Stats::default();
    /// for signal in Signal::ALL {
    ///     let of_signal = stats.signal(signal);
    ///     assert_eq!(of_signal.accounted_for(), of_signal.emitted);
    /// }
    /// ```
    #[must_use]
    pub fn signal(&self, signal: Signal) -> &SignalStats {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }

    /// The sums over the signals; `parts` are in the order of [`Signal::ALL`].
    pub(crate) fn of(parts: [SignalStats; 3]) -> Self {
        let [traces, logs, metrics] = parts;
        Self {
            emitted: sum(parts.map(|part| part.emitted)),
            delivered: sum(parts.map(|part| part.delivered)),
            rejected: sum(parts.map(|part| part.rejected)),
            dropped: parts.into_iter().fold(Dropped::default(), |sum, part| sum.plus(part.dropped)),
            in_flight: sum(parts.map(|part| part.in_flight)),
            traces,
            logs,
            metrics,
            ..Self::default()
        }
    }
}

impl DestinationStats {
    /// Of `parts`, in the order of [`Signal::ALL`].
    pub(crate) fn of(name: DestinationName, parts: [SignalStats; 3]) -> Self {
        let [traces, logs, metrics] = parts;
        Self { name, requests: 0, retries: 0, traces, logs, metrics }
    }

    /// The terms of one signal.
    #[must_use]
    pub fn signal(&self, signal: Signal) -> &SignalStats {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }
}

impl SignalStats {
    /// Everything whose fate is known or pending: equals `emitted` at quiescence.
    #[must_use]
    pub fn accounted_for(&self) -> u64 {
        sum([self.delivered, self.rejected, self.dropped.total(), self.in_flight])
    }
}

/// Records that were given up, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dropped {
    /// The buffer was full, or a destination's share of it: producers were faster than delivery for
    /// too long. With
    /// [`WhenFull::Block`](crate::WhenFull::Block), also for longer than they were to wait.
    pub queue_full: u64,
    /// Accepted, and dropped before anybody sent them to make room for newer ones:
    /// [`WhenFull::DropOldest`](crate::WhenFull::DropOldest), or a destination beside the main one
    /// whose share of the buffer was full.
    pub evicted: u64,
    /// One record alone was larger than the request limit, or than half of the buffer.
    pub oversize: u64,
    /// A record ended while its own thread was encoding another (an instrumented allocator).
    pub reentrant: u64,
    /// The record ended after shutdown.
    pub after_shutdown: u64,
    /// The collector refused the request for good (400, 413, 500 ...).
    pub refused: u64,
    /// The retry budget ran out while the collector was away or overloaded.
    pub retries_exhausted: u64,
    /// Still pending when the deadline of a shutdown passed.
    pub shutdown: u64,
    /// The exporter's thread died with these in its hands.
    pub exporter_died: u64,
    /// The encoder panicked on them, in the thread that ended them (a bug).
    pub encoder_panicked: u64,
    /// Their instrumentation scope was one too many for the exporter's table.
    pub too_many_scopes: u64,
    /// They ended in a forked process whose exporter could not be started. Each process counts its
    /// own: what the parent counts is not shown in a child.
    pub forked: u64,
}

impl Dropped {
    /// The sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_reason().fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// The sums of each reason.
    fn plus(self, more: Self) -> Self {
        Self {
            queue_full: self.queue_full.saturating_add(more.queue_full),
            evicted: self.evicted.saturating_add(more.evicted),
            oversize: self.oversize.saturating_add(more.oversize),
            reentrant: self.reentrant.saturating_add(more.reentrant),
            after_shutdown: self.after_shutdown.saturating_add(more.after_shutdown),
            refused: self.refused.saturating_add(more.refused),
            retries_exhausted: self.retries_exhausted.saturating_add(more.retries_exhausted),
            shutdown: self.shutdown.saturating_add(more.shutdown),
            exporter_died: self.exporter_died.saturating_add(more.exporter_died),
            encoder_panicked: self.encoder_panicked.saturating_add(more.encoder_panicked),
            too_many_scopes: self.too_many_scopes.saturating_add(more.too_many_scopes),
            forked: self.forked.saturating_add(more.forked),
        }
    }

    /// Every reason with its count, in the order of the fields.
    ///
    /// ```
    /// let dropped = spanwire::Stats::default().dropped;
    /// for (reason, count) in dropped.by_reason().filter(|(_, count)| *count > 0) {
    ///     println!("{count} records dropped: {reason}");
    /// }
    /// ```
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        // Taken apart without `..`, so that a new reason cannot be left out of the total.
        let Self {
            queue_full,
            evicted,
            oversize,
            reentrant,
            after_shutdown,
            refused,
            retries_exhausted,
            shutdown,
            exporter_died,
            encoder_panicked,
            too_many_scopes,
            forked,
        } = *self;
        [
            ("queue_full", queue_full),
            ("evicted", evicted),
            ("oversize", oversize),
            ("reentrant", reentrant),
            ("after_shutdown", after_shutdown),
            ("refused", refused),
            ("retries_exhausted", retries_exhausted),
            ("shutdown", shutdown),
            ("exporter_died", exporter_died),
            ("encoder_panicked", encoder_panicked),
            ("too_many_scopes", too_many_scopes),
            ("forked", forked),
        ]
        .into_iter()
    }
}

fn sum<const N: usize>(terms: [u64; N]) -> u64 {
    terms.into_iter().fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_counts_every_reason_once() {
        let dropped = Dropped {
            queue_full: 1,
            oversize: 2,
            reentrant: 4,
            after_shutdown: 8,
            refused: 16,
            retries_exhausted: 32,
            shutdown: 64,
            exporter_died: 128,
            encoder_panicked: 256,
            too_many_scopes: 512,
            forked: 1024,
            evicted: 2048,
        };
        assert_eq!(dropped.total(), 4095);
        let twice = dropped.plus(dropped);
        let doubled = dropped.by_reason().map(|(reason, count)| (reason, 2 * count));
        assert!(twice.by_reason().eq(doubled), "{twice:?}");
    }

    #[test]
    fn sums_saturate_instead_of_wrapping() {
        let dropped = Dropped { refused: u64::MAX, shutdown: 1, ..Dropped::default() };
        let stats = Stats { delivered: 5, dropped, ..Stats::default() };
        assert_eq!(stats.accounted_for(), u64::MAX);
    }
}
