//! The program's own counts of log records and data points, taken where the SDK hands them over and
//! before any exporter's.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
};

use crate::metric;

/// A count of records. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<AtomicU64>);

impl Seen {
    /// Records so far.
    pub fn count(&self) -> u64 {
        // Ordering: Relaxed, here and in `add`: a mere counter; it is read for good after a flush,
        // whose answer orders what came before it.
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, records: u64) {
        self.0.fetch_add(records, Ordering::Relaxed);
    }
}

/// As a processor beside others, counts the log records of its provider.
impl LogProcessor for Seen {
    fn emit(&self, _: &mut SdkLogRecord, _: &InstrumentationScope) {
        self.add(1);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
}

/// Counts the data points that the exporter inside is given.
pub struct Counted<E> {
    inner: E,
    seen: Seen,
}

impl<E> Counted<E> {
    /// Wraps `inner`; the points are counted in `seen`.
    pub fn new(inner: E, seen: Seen) -> Self {
        Self { inner, seen }
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Counted<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.seen.add(metric::points(metrics));
        self.inner.export(metrics).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}
