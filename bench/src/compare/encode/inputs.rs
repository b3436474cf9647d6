//! What is encoded: records as the SDK hands them to its processors.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use opentelemetry::{Context, InstrumentationScope, KeyValue, metrics::MeterProvider as _};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord, SdkLoggerProvider},
    metrics::{
        InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Temporality,
        data::ResourceMetrics, reader::MetricReader,
    },
    trace::{SdkTracerProvider, Span, SpanData, SpanProcessor},
};

use crate::{
    log::LogMaker,
    shape::{Attribute, Shape},
    span::{self, SpanMaker},
};

/// Makes as many spans as are asked for.
pub(super) fn spans(shape: Shape) -> impl FnMut(usize) -> Vec<SpanData> {
    let kept = Kept::default();
    let provider = SdkTracerProvider::builder()
        .with_resource(span::resource())
        .with_span_processor(kept.clone())
        .build();
    let mut maker = SpanMaker::shaped(&provider, shape);
    move |count| {
        for _ in 0..count {
            maker.emit();
        }
        kept.take()
    }
}

/// Makes as many log records as are asked for.
pub(super) fn logs(shape: Shape) -> impl FnMut(usize) -> Vec<SdkLogRecord> {
    let kept = Kept::default();
    let provider = SdkLoggerProvider::builder()
        .with_resource(span::resource())
        .with_log_processor(kept.clone())
        .build();
    let mut maker = LogMaker::new(&provider, shape);
    move |count| {
        for _ in 0..count {
            maker.emit();
        }
        kept.take()
    }
}

/// Two collections of the same data points, one after the other, that differ in their
/// numbers: of a counter, or of a histogram with the SDK's default bounds.
pub(super) fn collections(of: Points) -> [ResourceMetrics; 2] {
    let reader = Arc::new(ManualReader::builder().build());
    let provider = SdkMeterProvider::builder()
        .with_resource(span::resource())
        .with_reader(SharedReader(Arc::clone(&reader)))
        .build();
    let meter = provider.meter(span::SCOPE_NAME);
    let requests = meter.u64_counter("bench.requests").with_unit("{request}").build();
    let duration = meter.f64_histogram("bench.duration").with_unit("s").build();
    let sets: Vec<_> = (0..of.count()).map(attributes).collect();
    [1.0, 64.0].map(|value| {
        sets.iter().for_each(|set| match of {
            Points::Numbers => requests.add(value as u64, set),
            Points::Histograms => duration.record(value, set),
        });
        let mut metrics = ResourceMetrics::default();
        reader.collect(&mut metrics).expect("the provider lives");
        metrics
    })
}

/// Which data points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Points {
    /// A number.
    Numbers,
    /// Counts of 16 buckets, sum, least and greatest.
    Histograms,
}

impl Points {
    /// Data points of a collection. The SDK's limit for an instrument is 2000; and a metric of more
    /// than 256 KiB is written as several, which the oracle does not do.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Numbers => 1000,
            Self::Histograms => 250,
        }
    }
}

/// Five, one of which is different in each set.
fn attributes(set: usize) -> Vec<KeyValue> {
    let mut attributes = Shape::Typical.record_attributes(set);
    attributes.truncate(4);
    let attributes = attributes.iter().map(Attribute::to_key_value);
    attributes.chain([KeyValue::new("bench.set", set as i64)]).collect()
}

/// The provider wants to own its reader.
#[derive(Debug)]
struct SharedReader(Arc<ManualReader>);

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}

/// A processor that keeps what it is given.
#[derive(Clone, Debug)]
struct Kept<R>(Arc<Mutex<Vec<R>>>);

impl<R> Default for Kept<R> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<R> Kept<R> {
    fn push(&self, record: R) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(record);
    }

    fn take(&self) -> Vec<R> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SpanProcessor for Kept<SpanData> {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl LogProcessor for Kept<SdkLogRecord> {
    fn emit(&self, record: &mut SdkLogRecord, _: &InstrumentationScope) {
        self.push(record.clone());
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
}
