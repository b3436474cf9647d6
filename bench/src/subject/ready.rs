//! Records that are made before they are measured: finished spans, batches of them, and encoded
//! requests.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context as TaskContext, Poll, Wake},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use opentelemetry::Context;
use opentelemetry_proto::{
    tonic::{collector::trace::v1::ExportTraceServiceRequest, trace::v1 as proto},
    transform::{
        common::tonic::ResourceAttributesWithSchema,
        trace::tonic::group_spans_by_resource_and_scope,
    },
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, Span, SpanData, SpanProcessor},
};
use prost::Message as _;

use crate::{
    drive::{Aside, Ids, Producer},
    measure,
    shape::Shape,
    span::{self, SpanMaker},
};

/// Finished spans as a batch processor would have them.
pub fn spans(count: usize, shape: Shape) -> Vec<SpanData> {
    let kept = Keep::default();
    let provider = SdkTracerProvider::builder()
        .with_resource(span::resource())
        .with_span_processor(kept.clone())
        .build();
    let mut maker = SpanMaker::shaped(&provider, shape);
    for _ in 0..count {
        maker.emit();
    }
    kept.take()
}

/// Bytes of one encoded span of this shape.
pub fn span_bytes(shape: Shape) -> usize {
    spans(1, shape).pop().map_or(0, |span| proto::Span::from(span).encoded_len())
}

/// The request that opentelemetry-otlp would make of `count` spans.
pub fn request(count: usize, shape: Shape) -> Vec<u8> {
    let resource = ResourceAttributesWithSchema::from(&span::resource());
    let resource_spans = group_spans_by_resource_and_scope(spans(count, shape), &resource);
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// Runs `future` on this thread, without a runtime, as the SDK's processors do.
pub(super) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(thread::current())).into();
    let mut context = TaskContext::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// Calls `export` with ready batches of 512 spans. What it takes to make them is set aside.
pub(super) struct Batches<E> {
    export: E,
    shape: Shape,
    ready: Vec<Vec<SpanData>>,
    aside: Aside,
}

impl<E: FnMut(Vec<SpanData>) + Send> Batches<E> {
    pub(super) fn new(export: E, shape: Shape) -> Self {
        Self { export, shape, ready: Vec::new(), aside: Aside::default() }
    }

    fn next(&mut self) -> Vec<SpanData> {
        if self.ready.is_empty() {
            let (start, cpu) = (Instant::now(), measure::process_cpu());
            for _ in 0..READY_BATCHES {
                self.ready.push(spans(BATCH, self.shape));
            }
            self.aside.elapsed += start.elapsed();
            self.aside.cpu += measure::process_cpu().saturating_sub(cpu);
        }
        self.ready.pop().unwrap_or_default()
    }
}

impl<E: FnMut(Vec<SpanData>) + Send> Producer for Batches<E> {
    fn burst(&mut self, records: u64, ids: &mut Ids) -> u64 {
        let mut batch = self.next();
        batch.truncate(usize::try_from(records).unwrap_or(usize::MAX));
        for span in &batch {
            ids.add(u64::from_be_bytes(span.span_context.span_id().to_bytes()));
        }
        let records = batch.len() as u64;
        (self.export)(batch);
        records
    }

    fn burst_len(&self) -> u64 {
        BATCH as u64
    }

    fn aside(&self) -> Aside {
        self.aside
    }
}

/// Keeps every span.
#[derive(Clone, Debug, Default)]
struct Keep(Arc<Mutex<Vec<SpanData>>>);

impl Keep {
    fn take(&self) -> Vec<SpanData> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl SpanProcessor for Keep {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The SDK's default.
const BATCH: usize = 512;
/// Batches made at once: enough that a reading of the clock is nothing beside it, few enough to
/// leave the figures of memory alone (about 10 MB).
const READY_BATCHES: usize = 16;
