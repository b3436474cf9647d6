//! Spans that cover every field of `Span`.

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry::trace::{
    Event, Link, Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt,
    TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    IdGenerator, SdkTracer, SdkTracerProvider, SpanData, SpanLimits, SpanProcessor,
};
use spanwire::Exporter;

use crate::json::{self, key_values, list, nanos, object, scope, string};
use crate::values::{every_value, strings, time};
use crate::{LIMIT, Sent};

/// Sends them through two doors with a resource each: one exporter must keep them apart.
pub(crate) fn send(exporter: &Exporter, sent: &Sent) -> Result<(), Box<dyn Error>> {
    for door in [Door::wide(), Door::narrow()] {
        let provider = SdkTracerProvider::builder()
            .with_resource(door.resource)
            .with_span_limits(door.limits)
            .with_id_generator(door.ids)
            .with_span_processor(Recorder { sent: sent.clone(), resource: String::new() })
            .with_span_processor(spanwire::otel_0_33::SpanProcessor::new(exporter))
            .build();
        door.scopes.into_iter().for_each(|scope| emit(&provider.tracer_with_scope(scope)));
        provider.shutdown_with_timeout(LIMIT)?;
    }
    Ok(())
}

/// A provider to be: its resource, scopes and limits.
struct Door {
    resource: Resource,
    scopes: Vec<InstrumentationScope>,
    limits: SpanLimits,
    ids: CountingIds,
}

impl Door {
    /// Everything there is, nothing dropped by the SDK.
    fn wide() -> Self {
        let resource = Resource::builder_empty()
            .with_service_name("interop")
            .with_schema_url(every_value(), "https://opentelemetry.io/schemas/1.44.0");
        let full = InstrumentationScope::builder("full")
            .with_version("1.2.3")
            .with_schema_url("https://example.org/scope")
            .with_attributes(every_value());
        let scopes = vec![full.build(), InstrumentationScope::builder("name-only").build()];
        let limits = SpanLimits { max_attributes_per_span: 512, ..SpanLimits::default() };
        Self { resource: resource.build(), scopes, limits, ids: CountingIds::new(1) }
    }

    /// No resource, no scope, and limits that make the SDK drop and count.
    fn narrow() -> Self {
        let limits = SpanLimits {
            max_attributes_per_span: 5,
            max_events_per_span: 1,
            max_links_per_span: 1,
            max_attributes_per_event: 2,
            max_attributes_per_link: 3,
        };
        let scopes = vec![InstrumentationScope::default()];
        let resource = Resource::builder_empty().build();
        Self { resource, scopes, limits, ids: CountingIds::new(2) }
    }
}

/// Ends spans that between them use each field with default, usual and boundary values.
fn emit(tracer: &SdkTracer) {
    for kind in KINDS {
        end(tracer, span("kind").with_kind(kind), &Context::new());
    }
    for status in [Status::Unset, Status::Ok, Status::error(""), Status::error("e".repeat(200))] {
        let mut started = span("status").start_with_context(tracer, &Context::new());
        started.set_status(status);
        started.end_with_timestamp(time(2));
    }
    for name in strings() {
        end(
            tracer,
            span(name.clone()).with_attributes([KeyValue::new(name.clone(), name)]),
            &Context::new(),
        );
    }
    end(tracer, span("values").with_attributes(every_value()), &Context::new());
    let many = (0..300_i64).map(|i| KeyValue::new(format!("key.{i}"), i));
    end(tracer, span("many attributes").with_attributes(many), &Context::new());
    end(tracer, span("events").with_events(events()), &Context::new());
    end(tracer, span("links").with_links(links()), &Context::new());
    for context in contexts() {
        let parent = Context::new().with_remote_span_context(context);
        end(tracer, span("child").with_links(links()).with_events(events()), &parent);
    }
    for times in [(0, 0), (1, u64::MAX >> 1), (5, 3)] {
        let timed = span("times").with_start_time(time(times.0));
        timed.start_with_context(tracer, &Context::new()).end_with_timestamp(time(times.1));
    }
    for number in 0..SMALL_SPANS {
        let small = span("small").with_attributes([KeyValue::new("number", number)]);
        end(tracer, small, &Context::new());
    }
}

fn span(name: impl Into<std::borrow::Cow<'static, str>>) -> SpanBuilder {
    SpanBuilder::from_name(name).with_start_time(time(1))
}

fn end(tracer: &SdkTracer, span: SpanBuilder, parent: &Context) {
    span.start_with_context(tracer, parent).end_with_timestamp(time(2));
}

fn events() -> Vec<Event> {
    let with = |count: usize| every_value().into_iter().take(count).collect();
    vec![
        Event::new("event", time(3), with(1), 0),
        Event::new("", time(0), vec![], 7),
        Event::new("e".repeat(128), time(4), with(20), u32::MAX),
    ]
}

fn links() -> Vec<Link> {
    let attributes = [0, 1, 20].map(|count| every_value().into_iter().take(count).collect());
    contexts()
        .into_iter()
        .zip(attributes)
        .map(|(context, some)| Link::new(context, some, 3))
        .collect()
}

/// Local and remote, with and without trace state, with flags that nobody has defined yet.
fn contexts() -> [SpanContext; 3] {
    let state = [("vendor", "a=1;b=2"), ("rojo", "00f067aa0ba902b7")];
    let state = TraceState::from_key_value(state).unwrap_or_default();
    let context = |flags, remote, state| {
        let trace = TraceId::from_bytes([0xA5; 16]);
        SpanContext::new(trace, SpanId::from_bytes([0x5A; 8]), flags, remote, state)
    };
    [
        context(TraceFlags::SAMPLED, true, state.clone()),
        context(TraceFlags::SAMPLED, false, TraceState::default()),
        context(TraceFlags::new(0xFF), true, state),
    ]
}

/// Ids that are the same in each run.
#[derive(Debug)]
struct CountingIds {
    door: u8,
    next: AtomicU64,
}

impl CountingIds {
    fn new(door: u8) -> Self {
        Self { door, next: AtomicU64::new(1) }
    }

    fn next(&self) -> [u8; 8] {
        // Ordering: a counter alone; nothing is published through it.
        let mut id = self.next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        id[0] = self.door;
        id
    }
}

impl IdGenerator for CountingIds {
    fn new_trace_id(&self) -> TraceId {
        let mut id = [0xEE; 16];
        id[8..].copy_from_slice(&self.next());
        TraceId::from_bytes(id)
    }

    fn new_span_id(&self) -> SpanId {
        SpanId::from_bytes(self.next())
    }
}

/// Writes each span down as it ends.
#[derive(Debug)]
struct Recorder {
    sent: Sent,
    resource: String,
}

impl SpanProcessor for Recorder {
    fn on_start(&self, _span: &mut opentelemetry_sdk::trace::Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        let scope = scope(&span.instrumentation_scope, span.instrumentation_scope.name());
        self.sent.line(&self.resource, &scope, "span", &record(&span));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _limit: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = json::resource(resource);
    }
}

fn record(span: &SpanData) -> String {
    let (code, message) = match &span.status {
        Status::Unset => (0, ""),
        Status::Ok => (1, ""),
        Status::Error { description } => (2, description.as_ref()),
    };
    let parent = match span.parent_span_id {
        SpanId::INVALID => String::new(),
        id => id.to_string(),
    };
    object(&[
        ("trace_id", string(&span.span_context.trace_id().to_string())),
        ("span_id", string(&span.span_context.span_id().to_string())),
        ("parent_span_id", string(&parent)),
        ("trace_state", string(&span.span_context.trace_state().header())),
        ("flags", flags(&span.span_context, span.parent_span_is_remote)),
        ("name", string(&span.name)),
        ("kind", kind(&span.span_kind).to_string()),
        ("start", nanos(span.start_time)),
        ("end", nanos(span.end_time)),
        ("attributes", key_values(&span.attributes)),
        ("dropped_attributes", span.dropped_attributes_count.to_string()),
        ("events", list(span.events.iter().map(event))),
        ("dropped_events", span.events.dropped_count.to_string()),
        ("links", list(span.links.iter().map(link))),
        ("dropped_links", span.links.dropped_count.to_string()),
        ("status", object(&[("code", code.to_string()), ("message", string(message))])),
    ])
}

fn event(event: &Event) -> String {
    object(&[
        ("time", nanos(event.timestamp)),
        ("name", string(&event.name)),
        ("attributes", key_values(&event.attributes)),
        ("dropped_attributes", event.dropped_attributes_count.to_string()),
    ])
}

fn link(link: &Link) -> String {
    let context = &link.span_context;
    object(&[
        ("trace_id", string(&context.trace_id().to_string())),
        ("span_id", string(&context.span_id().to_string())),
        ("trace_state", string(&context.trace_state().header())),
        ("attributes", key_values(&link.attributes)),
        ("dropped_attributes", link.dropped_attributes_count.to_string()),
        ("flags", flags(context, context.is_remote())),
    ])
}

/// Bits 0 to 7 are the trace flags, 8 says that 9 is known, 9 that the context is remote:
/// <https://github.com/open-telemetry/opentelemetry-proto/blob/v1.9.0/opentelemetry/proto/trace/v1/trace.proto> (SpanFlags).
fn flags(context: &SpanContext, remote: bool) -> String {
    let remote = if remote { 0x200 } else { 0 };
    (u32::from(context.trace_flags().to_u8()) | 0x100 | remote).to_string()
}

fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
        SpanKind::Producer => 4,
        SpanKind::Consumer => 5,
    }
}

const KINDS: [SpanKind; 5] = [
    SpanKind::Internal,
    SpanKind::Server,
    SpanKind::Client,
    SpanKind::Producer,
    SpanKind::Consumer,
];
/// Enough for several chunks.
const SMALL_SPANS: i64 = 2000;
