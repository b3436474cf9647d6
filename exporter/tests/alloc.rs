//! In steady state neither a span nor a log record allocates anything that the SDK does not. A
//! test binary of its own, because it counts the allocations of threads.

mod support;

use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt, TraceFlags, TraceId,
    TraceState, Tracer, TracerProvider as _,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor};
use spanwire::Exporter;
use spanwire::direct::{self, Key, LogRecord, Logs, Resource, Scope, Spans};
use spanwire_runtime::sys::counting::Counting;

use support::Collector;
use support::otel::{LONG, builder, drivers, logger_provider, provider};

#[global_allocator]
static COUNTING: Counting = Counting::new();

/// Records that are made between two flushes: far less than the buffer has room for.
const BURST: u64 = 500;
const BURSTS: u64 = 40;
/// The smallest buffer has 16 chunks, and each allocates its table of runs when it is first used.
const BUFFER_BYTES: usize = 1 << 20;
const CHUNKS: u64 = 16;

/// Lets `make` make bursts of records, which are delivered meanwhile, beside `by_itself`, which
/// makes the same without us. The first burst finds its thread's places; of the others at most
/// one for each chunk allocates, once.
fn assert_allocates_nothing(exporter: &Exporter, make: impl Fn(), by_itself: impl Fn()) {
    let count = |make: &dyn Fn()| {
        let before = Counting::of_this_thread();
        (0..BURST).for_each(|_| make());
        Counting::of_this_thread() - before
    };
    count(&by_itself);
    let expected = count(&by_itself);
    count(&make);
    exporter.flush(LONG).unwrap();
    let mut extra = 0;
    for _ in 0..BURSTS {
        extra += count(&make).checked_sub(expected).expect("no fewer than without us");
        exporter.flush(LONG).unwrap();
    }
    assert!(extra <= CHUNKS, "{extra} allocations of {} records", BURST * BURSTS);
    let stats = exporter.stats();
    assert_eq!((stats.delivered, stats.dropped.total()), (BURST * (BURSTS + 1), 0));
}

fn exporters() -> impl Iterator<Item = (Exporter, Collector)> {
    drivers().into_iter().map(|io| {
        let collector = Collector::start();
        let builder = builder(&collector.endpoint()).0.io(io).buffer_bytes(BUFFER_BYTES);
        (builder.build().unwrap(), collector)
    })
}

#[test]
fn a_span_of_the_sdk_allocates_nothing_of_ours() {
    for (exporter, _collector) in exporters() {
        let ours = provider(&exporter, "service").tracer_with_scope(scope());
        let noop = SdkTracerProvider::builder().with_span_processor(Noop).build();
        let noop = noop.tracer_with_scope(scope());
        assert_allocates_nothing(&exporter, || end_span(&ours), || end_span(&noop));
    }
}

#[test]
fn a_log_record_of_the_sdk_allocates_nothing_of_ours() {
    for (exporter, _collector) in exporters() {
        let ours = logger_provider(&exporter, "service").logger_with_scope(scope());
        let noop = SdkLoggerProvider::builder().with_log_processor(Noop).build();
        let noop = noop.logger_with_scope(scope());
        assert_allocates_nothing(&exporter, || emit(&ours), || emit(&noop));
    }
}

#[test]
fn plain_data_allocates_nothing() {
    const KEY: Key = spanwire::key!("key");
    for (exporter, _collector) in exporters() {
        let attributes = [KEY.str("value"), direct::Attribute::new("other", 7)];
        let resource = Resource::new(&attributes);
        let spans = Spans::new(&exporter, &resource, &Scope::new("scope", ""));
        let mut span = direct::Span::new([1; 16], [2; 8], "span");
        span.attributes = &attributes;
        assert_allocates_nothing(&exporter, || spans.end(&span), || {});
    }
    for (exporter, _collector) in exporters() {
        let logs = Logs::new(&exporter, &Resource::default(), &Scope::new("scope", ""));
        let record = LogRecord::new(1, direct::Value::Str("message"));
        assert_allocates_nothing(&exporter, || logs.emit(&record), || {});
    }
}

/// A scope that owns what it says, with attributes.
fn scope() -> InstrumentationScope {
    InstrumentationScope::builder("scope".to_owned())
        .with_version("1.2".to_owned())
        .with_attributes([KeyValue::new("key", "value")])
        .build()
}

fn end_span(tracer: &SdkTracer) {
    let remote = SpanContext::new(
        TraceId::from(7),
        SpanId::from(7),
        TraceFlags::SAMPLED,
        true,
        TraceState::NONE,
    );
    let parent = Context::new().with_remote_span_context(remote);
    let attributes = [
        KeyValue::new("http.request.method", "GET"),
        KeyValue::new("url.path", "/a/path".to_owned()),
        KeyValue::new("http.response.status_code", 200),
        KeyValue::new("ratio", 0.5),
        KeyValue::new("hit", true),
        KeyValue::new("hit", false),
    ];
    let builder =
        SpanBuilder::from_name("span").with_kind(SpanKind::Server).with_attributes(attributes);
    let mut span = tracer.build_with_context(builder, &parent);
    span.add_event("event", vec![KeyValue::new("key", 1)]);
    span.end();
}

fn emit(logger: &SdkLogger) {
    let mut record = logger.create_log_record();
    record.set_target("target");
    record.set_severity_number(Severity::Warn);
    record.set_body(AnyValue::from("a message"));
    record.add_attribute("key", "value");
    record.add_attribute("number", 7);
    logger.emit(record);
}

#[derive(Debug)]
struct Noop;

impl SpanProcessor for Noop {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl LogProcessor for Noop {
    fn emit(&self, _: &mut SdkLogRecord, _: &InstrumentationScope) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
