//! Arbitrary spans, biased to defaults and to the lengths at which an encoding changes.

use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use proptest::collection::vec;
use proptest::prelude::*;

/// Any span that the API lets one make, with few or many attributes, events and links.
pub(super) fn span() -> impl Strategy<Value = SpanData> {
    let identity = (context(), span_id(), any::<bool>(), kind(), text(), time(), time());
    let contents = (attributes(), count(), events(), count(), links(), count(), status(), scope());
    (identity, contents).prop_map(|(identity, contents)| {
        let (span_context, parent_span_id, parent_span_is_remote, kind, name, start, end) =
            identity;
        let (attributes, dropped, events, dropped_events, links, dropped_links, status, scope) =
            contents;
        SpanData {
            span_context,
            parent_span_id,
            parent_span_is_remote,
            span_kind: kind,
            name: Cow::Owned(name),
            start_time: start,
            end_time: end,
            attributes,
            dropped_attributes_count: dropped,
            events: span_events(events, dropped_events),
            links: span_links(links, dropped_links),
            status,
            instrumentation_scope: scope,
        }
    })
}

/// A span with nothing in it that could be left out.
pub(super) fn empty_span() -> SpanData {
    SpanData {
        span_context: SpanContext::NONE,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: Cow::Borrowed(""),
        start_time: UNIX_EPOCH,
        end_time: UNIX_EPOCH,
        attributes: vec![],
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::default(),
    }
}

pub(super) fn span_events(events: Vec<Event>, dropped_count: u32) -> SpanEvents {
    let mut all = SpanEvents::default();
    all.events = events;
    all.dropped_count = dropped_count;
    all
}

pub(super) fn span_links(links: Vec<Link>, dropped_count: u32) -> SpanLinks {
    let mut all = SpanLinks::default();
    all.links = links;
    all.dropped_count = dropped_count;
    all
}

pub(super) fn scope() -> impl Strategy<Value = InstrumentationScope> {
    let optional = || proptest::option::of(text());
    (text(), optional(), optional(), few_attributes()).prop_map(
        |(name, version, url, attributes)| {
            let mut scope = InstrumentationScope::builder(name).with_attributes(attributes);
            if let Some(version) = version {
                scope = scope.with_version(version);
            }
            if let Some(url) = url {
                scope = scope.with_schema_url(url);
            }
            scope.build()
        },
    )
}

pub(super) fn resource() -> impl Strategy<Value = Resource> {
    (attributes(), text()).prop_map(|(attributes, url)| {
        Resource::builder_empty().with_schema_url(attributes, url).build()
    })
}

fn context() -> impl Strategy<Value = SpanContext> {
    (trace_id(), span_id(), any::<u8>(), any::<bool>(), trace_state()).prop_map(
        |(trace_id, span_id, flags, is_remote, state)| {
            SpanContext::new(trace_id, span_id, TraceFlags::new(flags), is_remote, state)
        },
    )
}

pub(super) fn trace_id() -> impl Strategy<Value = TraceId> {
    prop_oneof![Just(0_u128), Just(u128::MAX), any::<u128>()].prop_map(TraceId::from)
}

pub(super) fn span_id() -> impl Strategy<Value = SpanId> {
    prop_oneof![Just(0_u64), Just(u64::MAX), any::<u64>()].prop_map(SpanId::from)
}

/// Up to the 32 members that W3C allows, which are longer than a one-byte length tells.
fn trace_state() -> impl Strategy<Value = TraceState> {
    let members = vec(("[a-z][a-z0-9]{0,8}", "[a-z0-9]{1,12}"), 0..32);
    prop_oneof![
        3 => Just(TraceState::NONE),
        1 => members.prop_map(|members| TraceState::from_key_value(members).unwrap_or_default()),
    ]
}

fn kind() -> impl Strategy<Value = SpanKind> {
    prop_oneof![
        Just(SpanKind::Internal),
        Just(SpanKind::Server),
        Just(SpanKind::Client),
        Just(SpanKind::Producer),
        Just(SpanKind::Consumer),
    ]
}

fn status() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Unset),
        Just(Status::Ok),
        text().prop_map(|text| Status::Error { description: text.into() }),
    ]
}

/// Times that fit into 64 bits of nanoseconds, and some before 1970.
pub(super) fn time() -> impl Strategy<Value = SystemTime> {
    prop_oneof![
        Just(UNIX_EPOCH),
        Just(UNIX_EPOCH - Duration::from_nanos(1)),
        Just(UNIX_EPOCH - Duration::from_secs(1 << 33)),
        Just(UNIX_EPOCH + Duration::from_nanos(1)),
        Just(UNIX_EPOCH + Duration::from_nanos(u64::MAX)),
        any::<u64>().prop_map(|nanos| UNIX_EPOCH + Duration::from_nanos(nanos)),
    ]
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![5 => Just(0), 1 => prop::sample::select(vec![1, 127, 128, 16_383, 16_384, u32::MAX])]
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = || {
        (text(), time(), few_attributes(), count()).prop_map(|(name, time, attributes, dropped)| {
            Event::new(name, time, attributes, dropped)
        })
    };
    prop_oneof![2 => Just(vec![]), 2 => vec(event(), 1..4), 1 => vec(event(), 40..60)]
}

fn links() -> impl Strategy<Value = Vec<Link>> {
    let link = || {
        (context(), few_attributes(), count())
            .prop_map(|(context, attributes, dropped)| Link::new(context, attributes, dropped))
    };
    prop_oneof![2 => Just(vec![]), 2 => vec(link(), 1..4), 1 => vec(link(), 40..60)]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    prop_oneof![
        1 => Just(vec![]),
        6 => vec(attribute(), 1..12),
        1 => vec((text(), any::<i64>()).prop_map(|(key, value)| KeyValue::new(key, value)), 300),
    ]
}

fn few_attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    vec(attribute(), 0..4)
}

fn attribute() -> impl Strategy<Value = KeyValue> {
    (text(), value()).prop_map(|(key, value)| KeyValue::new(key, value))
}

fn value() -> impl Strategy<Value = Value> {
    let string = || text().prop_map(StringValue::from);
    prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        integer().prop_map(Value::I64),
        float().prop_map(Value::F64),
        string().prop_map(Value::String),
        vec(any::<bool>(), elements()).prop_map(|values| Value::Array(Array::Bool(values))),
        vec(integer(), elements()).prop_map(|values| Value::Array(Array::I64(values))),
        vec(float(), elements()).prop_map(|values| Value::Array(Array::F64(values))),
        vec(string(), elements()).prop_map(|values| Value::Array(Array::String(values))),
    ]
}

fn elements() -> std::ops::Range<usize> {
    0..16
}

pub(super) fn integer() -> impl Strategy<Value = i64> {
    let edges = vec![0, 1, -1, 127, 128, 16_383, 16_384, 2_097_151, i64::MIN, i64::MAX];
    prop_oneof![prop::sample::select(edges), any::<i64>()]
}

pub(super) fn float() -> impl Strategy<Value = f64> {
    let edges = vec![0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, f64::MIN, f64::MIN_POSITIVE];
    prop_oneof![prop::sample::select(edges), any::<f64>()]
}

/// Short text mostly; now and then one at the end of a length class, or from any Unicode plane.
pub(super) fn text() -> impl Strategy<Value = String> {
    let edges = vec![100, 110, 116, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 300];
    let sparse = vec![16_300, 16_370, 16_376, 16_380, 16_383, 16_384];
    prop_oneof![
        4 => Just(String::new()),
        24 => "[a-z.]{1,24}",
        8 => vec(any::<char>(), 1..12).prop_map(String::from_iter),
        8 => prop::sample::select(edges).prop_map(|len| "e".repeat(len)),
        1 => prop::sample::select(sparse).prop_map(|len| "s".repeat(len)),
    ]
}
