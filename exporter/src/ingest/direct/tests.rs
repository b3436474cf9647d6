//! What plain data becomes, beside prost's bytes of the same and the naive limits.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::{self as logs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_proto::tonic::trace::v1::{self as trace, ResourceSpans, ScopeSpans};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::attribute::{Attribute, Key, Value};
use super::door::{Resource, Scope, encode_resource, encode_scope};
use super::log::{LogRecord, encode_log_record};
use super::span::{Event, Kind, Link, Span, Status, encode_span};
use crate::encode::common::key::KeyRecord;
use crate::encode::envelope::{Group, Request};
use crate::encode::limits::Limits;
use crate::ingest::otel_0_33::naive::{self, limit, limited_span};
use crate::wire::write::to_bytes;

/// A value of the oracle, of any kind, in few others or many.
fn any_value() -> impl Strategy<Value = common::AnyValue> {
    let leaf = prop_oneof![
        1 => Just(None),
        1 => any::<bool>().prop_map(|value| Some(Any::BoolValue(value))),
        2 => prop_oneof![Just(0), Just(127), Just(128), Just(16_383), Just(16_384), Just(-1), any::<i64>()]
            .prop_map(|value| Some(Any::IntValue(value))),
        1 => any::<f64>().prop_map(|value| Some(Any::DoubleValue(value))),
        3 => text().prop_map(|value| Some(Any::StringValue(value))),
        2 => vec(any::<u8>(), 0..140).prop_map(|value| Some(Any::BytesValue(value))),
    ]
    .prop_map(|value| common::AnyValue { value });
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(array),
            vec((text(), inner), 0..5).prop_map(|entries| {
                map(entries.into_iter().map(|(key, value)| entry(&key, value)).collect())
            }),
        ]
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => Just(String::new()),
        6 => "[a-c]{1,2}",
        4 => "[a-z.]{3,70}",
        2 => vec(any::<char>(), 1..12).prop_map(String::from_iter),
        1 => (100_usize..140).prop_map(|len| "e".repeat(len)),
        1 => (16_370_usize..16_390).prop_map(|len| "s".repeat(len)),
    ]
}

fn attributes() -> impl Strategy<Value = Vec<common::KeyValue>> {
    vec((text(), any_value()).prop_map(|(key, value)| entry(&key, value)), 0..10)
}

fn entry(key: &str, value: common::AnyValue) -> common::KeyValue {
    common::KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() }
}

fn array(values: Vec<common::AnyValue>) -> common::AnyValue {
    common::AnyValue { value: Some(Any::ArrayValue(common::ArrayValue { values })) }
}

fn map(values: Vec<common::KeyValue>) -> common::AnyValue {
    common::AnyValue { value: Some(Any::KvlistValue(common::KeyValueList { values })) }
}

/// The oracle's attributes as plain data. Every other key is one that was encoded before. What is
/// borrowed is leaked: a test is short.
fn plain(attributes: &[common::KeyValue]) -> &'static [Attribute<'static>] {
    let plain = |(at, attribute): (usize, &common::KeyValue)| {
        let name: &'static str = attribute.key.clone().leak();
        let value = plain_value(attribute.value.as_ref().unwrap());
        if at % 2 == 0 {
            Attribute::new(name, value)
        } else {
            Key::of(Box::leak(Box::new(KeyRecord::new(name)))).value(value)
        }
    };
    attributes.iter().enumerate().map(plain).collect::<Vec<_>>().leak()
}

fn plain_value(value: &common::AnyValue) -> Value<'static> {
    match &value.value {
        None => Value::Empty,
        Some(Any::BoolValue(value)) => Value::Bool(*value),
        Some(Any::IntValue(value)) => Value::Int(*value),
        Some(Any::DoubleValue(value)) => Value::Double(*value),
        Some(Any::StringValue(value)) => Value::Str(value.clone().leak()),
        Some(Any::BytesValue(value)) => Value::Bytes(value.clone().leak()),
        Some(Any::ArrayValue(array)) => {
            Value::List(array.values.iter().map(plain_value).collect::<Vec<_>>().leak())
        }
        Some(Any::KvlistValue(list)) => Value::Map(plain(&list.values)),
        Some(other) => panic!("{other:?} is of profiles only"),
    }
}

fn record(span: &Span<'_>, limits: &Limits) -> Vec<u8> {
    to_bytes(1 << 12, |out| encode_span(out, span, limits)).to_vec()
}

fn expected(span: trace::Span, limits: &Limits) -> Vec<u8> {
    let spans = vec![limited_span(span, limits)];
    ScopeSpans { spans, ..ScopeSpans::default() }.encode_to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_span_is_encoded_as_prost_does(
        of_span in attributes(),
        of_event in attributes(),
        of_link in attributes(),
        (name, why, state) in (text(), text(), text()),
        (trace_id, span_id, parent, remote) in any::<([u8; 16], [u8; 8], [u8; 8], bool)>(),
        (start, end, dropped) in any::<(u64, u64, u32)>(),
        (has_parent, has_times) in any::<(bool, bool)>(),
        limits in naive::limits(),
    ) {
        let (parent, start) = (if has_parent { parent } else { [0; 8] }, if has_times { start } else { 0 });
        let event = Event { dropped_attributes: 3, ..Event::new(end, name.as_str(), plain(&of_event)) };
        let link = Link { trace_state: &state, is_remote: remote, ..Link::new(trace_id, span_id, plain(&of_link)) };
        let mut span = Span::new(trace_id, span_id, &name);
        (span.parent_span_id, span.parent_is_remote, span.trace_state) = (parent, remote, &state);
        (span.start_unix_nano, span.end_unix_nano) = (start, end);
        (span.kind, span.status) = (Kind::Producer, Status::Error(&why));
        (span.attributes, span.dropped_attributes) = (plain(&of_span), dropped);
        let (events, links) = ([event, event], [link]);
        (span.events, span.links, span.dropped_events) = (&events, &links, dropped);

        let flags = 0x101 | if remote { 0x200 } else { 0 };
        let event = trace::span::Event {
            time_unix_nano: end, name: name.clone(), attributes: of_event, dropped_attributes_count: 3,
        };
        let link = trace::span::Link {
            trace_id: trace_id.to_vec(), span_id: span_id.to_vec(), trace_state: state.clone(),
            attributes: of_link, dropped_attributes_count: 0, flags,
        };
        let theirs = trace::Span {
            trace_id: trace_id.to_vec(), span_id: span_id.to_vec(), trace_state: state.clone(),
            parent_span_id: if parent == [0; 8] { vec![] } else { parent.to_vec() }, flags,
            name: name.clone(), kind: 4, start_time_unix_nano: start, end_time_unix_nano: end,
            attributes: of_span, dropped_attributes_count: dropped,
            events: vec![event.clone(), event], dropped_events_count: dropped,
            links: vec![link], dropped_links_count: 0,
            status: Some(trace::Status { message: why.clone(), code: 2 }),
        };
        prop_assert!(record(&span, &limits) == expected(theirs, &limits), "{span:#?}");
    }

    #[test]
    fn a_log_record_is_encoded_as_prost_does(
        of_record in attributes(),
        body in any_value(),
        (severity, event_name) in (text(), text()),
        (unix_nano, observed, number, flags) in any::<(u64, u64, u8, u8)>(),
        (trace_id, span_id) in any::<([u8; 16], [u8; 8])>(),
        limits in naive::limits(),
    ) {
        let mut record = LogRecord::new(unix_nano, plain_value(&body));
        record.observed_unix_nano = observed;
        (record.severity_number, record.severity_text) = (number, &severity);
        (record.attributes, record.event_name) = (plain(&of_record), &event_name);
        (record.trace_flags, record.trace_id, record.span_id) = (flags, trace_id, span_id);
        let ours = to_bytes(1 << 12, |out| encode_log_record(out, &record, &limits));

        let mut theirs = logs::LogRecord {
            time_unix_nano: unix_nano, observed_time_unix_nano: observed,
            severity_number: number.min(24).into(), severity_text: severity.clone(),
            attributes: of_record, flags: flags.into(),
            trace_id: trace_id.to_vec(), span_id: span_id.to_vec(), event_name: event_name.clone(),
            ..logs::LogRecord::default()
        };
        limit(&mut theirs.attributes, &mut theirs.dropped_attributes_count, &limits.log);
        let mut bodies = vec![entry("", body)];
        limit(&mut bodies, &mut 0, &limits.exempt);
        theirs.body = bodies.remove(0).value;
        if trace_id == [0; 16] { theirs.trace_id.clear(); }
        if span_id == [0; 8] { theirs.span_id.clear(); }
        let theirs = ScopeLogs { log_records: vec![theirs], ..ScopeLogs::default() };
        prop_assert!(ours == theirs.encode_to_vec(), "{record:#?}");
    }
}

#[test]
fn a_map_of_many_entries_has_each_key_once_too() {
    for len in [511, 512, 513, 2_000] {
        let number = |number| common::AnyValue { value: Some(Any::IntValue(number)) };
        let entries = (0..len).map(|at| entry(&format!("key.{}", at * 7 % 900), number(at)));
        let of_span = vec![entry("map", map(entries.collect()))];
        let mut span = Span::new([1; 16], [2; 8], "span");
        span.attributes = plain(&of_span);
        let ours = ScopeSpans::decode(&*record(&span, &Limits::DEFAULT)).unwrap();
        let mut theirs = of_span;
        limit(&mut theirs, &mut 0, &Limits::DEFAULT.span);
        assert_eq!(ours.spans[0].attributes, theirs, "{len}");
    }
}

/// A value in `depth` others: arrays, maps, or both in turn.
fn nested(depth: usize, is_map: impl Fn(usize) -> bool) -> common::AnyValue {
    let leaf = common::AnyValue { value: Some(Any::IntValue(7)) };
    (0..depth).rev().fold(leaf, |inner, at| {
        if is_map(at) { map(vec![entry("in", inner)]) } else { array(vec![inner]) }
    })
}

/// Protobuf in C++, Python (upb), Java and prost refuses a request with more than 100 messages in
/// each other, with all records that are in it.
#[test]
fn what_nests_deeply_is_decoded_by_receivers_that_take_100_messages() {
    let kinds: [fn(usize) -> bool; 3] = [|_| false, |_| true, |at| at % 2 == 0];
    for (kind, deepest) in kinds.into_iter().zip([46, 30, 36]) {
        for depth in 0..=66 {
            let of_span = [entry("nested", nested(depth, kind))];
            let attributes = plain(&of_span);
            let event = [Event::new(1, "event", attributes)];
            let mut span = Span::new([1; 16], [2; 8], "span");
            (span.attributes, span.events) = (attributes, &event);
            let resource = Resource::new(attributes);
            let records = record(&span, &Limits::DEFAULT).into();
            let scope = encode_scope(&Scope::default(), &Limits::DEFAULT);
            let groups = vec![Group { scope, runs: vec![records] }];
            let request = Request::new(&encode_resource(&resource, &Limits::DEFAULT), groups);
            // Decoding is the test: prost has that limit.
            let decoded = ExportTraceServiceRequest::decode(&*request.parts.concat()).unwrap();
            let span = &decoded.resource_spans[0].scope_spans[0].spans[0];
            let value = nested(depth.min(deepest + 1), kind);
            let kept = if depth <= deepest { value } else { emptied(value) };
            assert_eq!(span.attributes[0].value.as_ref(), Some(&kept), "{depth}");
            assert_eq!(span.events[0].attributes[0].value.as_ref(), Some(&kept), "{depth}");
        }
    }
}

/// A program may end spans on threads with little stack, and its values may come from outside.
#[test]
fn what_nests_deeply_needs_little_stack() {
    let attributes = plain(&[entry("nested", nested(66, |at| at % 2 == 0))]);
    let encode = move || {
        let mut span = Span::new([1; 16], [2; 8], "span");
        span.attributes = attributes;
        record(&span, &Limits::DEFAULT).len()
    };
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(encode).unwrap();
    assert!(thread.join().unwrap() > 66 * 2);
}

/// A test is not optimised, which takes several times the stack.
const STACK_BYTES: usize = 512 << 10;

/// The same with nothing in place of the innermost array or map.
fn emptied(value: common::AnyValue) -> common::AnyValue {
    let emptied_inside = |inner: common::AnyValue| match inner.value {
        Some(Any::IntValue(_)) => None,
        _ => Some(emptied(inner)),
    };
    match value.value {
        Some(Any::ArrayValue(mut list)) => emptied_inside(list.values.remove(0))
            .map_or_else(Default::default, |inner| array(vec![inner])),
        Some(Any::KvlistValue(mut list)) => {
            let inner = list.values.remove(0).value.unwrap();
            emptied_inside(inner)
                .map_or_else(Default::default, |inner| map(vec![entry("in", inner)]))
        }
        _ => common::AnyValue::default(),
    }
}

#[test]
fn keys_of_every_length_are_encoded_alike_before_and_at_run_time() {
    for len in 0..200 {
        let name: &'static str = "k".repeat(len).leak();
        let key = Key::of(Box::leak(Box::new(KeyRecord::new(name))));
        assert_eq!(key.name(), name);
        let texts = ["", "v", &"v".repeat(60), &"v".repeat(127), &"v".repeat(20_000)];
        let mut values = texts.map(Value::Str).to_vec();
        values.extend([0, 127, 128, 16_383, 16_384, -1].map(Value::Int));
        values.extend([
            Value::Bool(true),
            Value::Double(0.5),
            Value::Empty,
            Value::Bytes(b"bytes"),
        ]);
        for value in values {
            let encode = |attribute| {
                let attributes = [attribute];
                let mut span = Span::new([1; 16], [2; 8], "span");
                span.attributes = &attributes;
                record(&span, &Limits::DEFAULT)
            };
            assert_eq!(encode(key.value(value)), encode(Attribute::new(name, value)), "{len}");
        }
    }
}

#[test]
fn the_resource_and_the_scope_are_those_given() {
    let of_resource =
        [entry("service.name", common::AnyValue { value: Some(Any::StringValue("shop".into())) })];
    let mut resource = Resource::new(plain(&of_resource));
    resource.schema_url = "https://example.org/1";
    let mut scope = Scope::new("cart", "1.2");
    scope.attributes = plain(&of_resource);
    let frame = encode_resource(&resource, &Limits::DEFAULT);
    let expected = ResourceSpans {
        resource: Some(ProtoResource { attributes: of_resource.to_vec(), ..Default::default() }),
        schema_url: "https://example.org/1".into(),
        scope_spans: vec![],
    };
    assert_eq!([frame.head, frame.tail].concat(), expected.encode_to_vec());
    let frame = encode_scope(&scope, &Limits::DEFAULT);
    let expected = ScopeSpans {
        scope: Some(common::InstrumentationScope {
            name: "cart".into(),
            version: "1.2".into(),
            attributes: of_resource.to_vec(),
            dropped_attributes_count: 0,
        }),
        ..ScopeSpans::default()
    };
    assert_eq!([frame.head, frame.tail].concat(), expected.encode_to_vec());
}

#[test]
fn a_key_is_made_of_a_constant_whatever_that_is_called() {
    const RECORD: &str = "record";
    assert_eq!(crate::key!(RECORD).name(), RECORD);
}
