//! What is encoded: records as the SDK hands them to its processors.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use opentelemetry::{Context, InstrumentationScope};
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
    metric::MetricMaker,
    shape::Shape,
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

/// Two collections of the same data points, one after the other, that differ in their numbers.
pub(super) fn collections(shape: Shape) -> [ResourceMetrics; 2] {
    let reader = Arc::new(ManualReader::builder().build());
    let provider = SdkMeterProvider::builder()
        .with_resource(span::resource())
        .with_reader(SharedReader(Arc::clone(&reader)))
        .build();
    let mut maker = MetricMaker::new(&provider, shape);
    [(), ()].map(|()| {
        maker.record();
        let mut metrics = ResourceMetrics::default();
        reader.collect(&mut metrics).expect("the provider lives");
        metrics
    })
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
