//! The parts of a span's way, one by one: encode, append, count. Every figure is for the span of
//! `spanwire_bench::span`.
//!
//! `cargo bench -p spanwire-bench` runs all; `cargo bench -p spanwire-bench -- encode` some.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry::Context;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span as ProtoSpan},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, Span, SpanData, SpanProcessor},
};
use prost::Message as _;
use spanwire::internals::encode_span;
use spanwire_bench::{
    sink::walk,
    span::{self, SpanMaker},
};
use spanwire_runtime::{
    Doorbell,
    buf::Cursor,
    pipe::{Config, Pipe, Tag},
};

/// From borrowed SpanData to bytes, beside what opentelemetry-otlp does for the same.
fn encode(criterion: &mut Criterion) {
    let spans = spans();
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::Elements(BATCH as u64));
    let mut out = Vec::with_capacity(BATCH * ROOM);
    group.bench_function("spanwire", |bench| {
        bench.iter(|| {
            out.clear();
            for span in &spans {
                Cursor::append_to(&mut out, ROOM, |cursor| encode_span(cursor, span)).unwrap();
            }
            out.len()
        });
    });
    group.bench_function("transform and prost", |bench| {
        bench.iter_batched(
            || spans.clone(),
            |spans| request(spans).encode_to_vec().len(),
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// The queue between threads, from one of them: a batch appended, then taken and given back.
fn pipe(criterion: &mut Criterion) {
    let spans = spans();
    let (pipe, mut drainer) = Pipe::new(Config::default(), Arc::new(Doorbell::new()));
    let mut runs = Vec::new();
    let mut group = criterion.benchmark_group("pipe");
    group.throughput(Throughput::Elements(BATCH as u64));
    let record = [7; RECORD_BYTES];
    group.bench_function("append bytes, take", |bench| {
        bench.iter(|| {
            for _ in 0..BATCH {
                pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(&record)).unwrap();
            }
            drainer.take_all(&mut runs);
            runs.clear();
        });
    });
    group.bench_function("append encoded spans, take", |bench| {
        bench.iter(|| {
            for span in &spans {
                pipe.append(Tag::new(0, 0), |cursor| encode_span(cursor, span)).unwrap();
            }
            drainer.take_all(&mut runs);
            runs.clear();
        });
    });
    group.finish();
}

/// What counting costs the receivers.
fn count(criterion: &mut Criterion) {
    let body = request(spans()).encode_to_vec();
    let mut ids = Vec::with_capacity(BATCH);
    let mut group = criterion.benchmark_group("count");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("the sink's walk", |bench| {
        bench.iter(|| {
            ids.clear();
            walk::span_ids(&body, &mut ids).unwrap();
            ids.len()
        });
    });
    group.bench_function("a prost decode", |bench| {
        bench.iter(|| {
            ExportTraceServiceRequest::decode(body.as_slice()).unwrap().resource_spans.len()
        });
    });
    group.finish();
}

fn request(spans: Vec<SpanData>) -> ExportTraceServiceRequest {
    let spans = spans.into_iter().map(ProtoSpan::from).collect();
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
    }
}

fn spans() -> Vec<SpanData> {
    let keep = Keep::default();
    let provider = SdkTracerProvider::builder()
        .with_resource(span::resource())
        .with_span_processor(keep.clone())
        .build();
    let mut maker = SpanMaker::new(&provider);
    for _ in 0..BATCH {
        maker.emit();
    }
    std::mem::take(&mut *keep.0.lock().unwrap())
}

#[derive(Clone, Debug, Default)]
struct Keep(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Keep {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

criterion_group!(parts, encode, pipe, count);
criterion_main!(parts);

/// The batch of opentelemetry-otlp.
const BATCH: usize = 512;
/// About the size of the encoded span.
const RECORD_BYTES: usize = 538;
/// More than any of the spans needs.
const ROOM: usize = 1024;
