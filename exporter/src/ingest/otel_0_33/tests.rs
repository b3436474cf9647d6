//! Our bytes beside those of the oracle: opentelemetry-proto's transform and prost.

use std::mem::MaybeUninit;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, StringValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SpanData;
use proptest::prelude::*;
use prost::Message;
use spanwire_runtime::buf::Cursor;

use super::arbitrary::{self, empty_span, span_events, span_links};
use super::naive::{self, limit, limited_span};
use super::resource::encode_resource;
use super::scope::encode_scope;
use super::span_data::encode_span;
use crate::encode::envelope::{Group, Request};
use crate::encode::limits::{Duplicates, Given, GivenModel, Limits};
use crate::wire::read::Records;
use crate::wire::write::to_bytes;

/// What the oracle makes of a span, with the deviations of docs/decisions/001 and 005: a status
/// that is unset is left out, and of equal keys the last one stays.
fn expected(span: &SpanData) -> Span {
    expected_within(span, &Limits::DEFAULT)
}

fn expected_within(span: &SpanData, limits: &Limits) -> Span {
    let mut span = Span::from(span.clone());
    span.status = span.status.filter(|status| *status != Default::default());
    limited_span(span, limits)
}

/// The oracle's record: the span as field 2 of a message.
fn expected_record(span: &SpanData) -> Vec<u8> {
    let spans = vec![expected(span)];
    ScopeSpans { scope: None, spans, schema_url: String::new() }.encode_to_vec()
}

fn record(span: &SpanData) -> Bytes {
    to_bytes(1 << 12, |out| encode_span(out, span, &Limits::DEFAULT))
}

/// Our span, read back by the oracle.
fn decoded(span: &SpanData) -> Span {
    assert_eq!(record(span), expected_record(span));
    let mut scope = ScopeSpans::decode(record(span)).unwrap();
    assert_eq!(scope.spans.len(), 1);
    scope.spans.remove(0)
}

fn expected_scope(scope: &InstrumentationScope, spans: Vec<Span>) -> ScopeSpans {
    let mut inner = common::InstrumentationScope::from((scope, None));
    limit(&mut inner.attributes, &mut 0, &Limits::DEFAULT.exempt);
    ScopeSpans {
        scope: Some(inner),
        spans,
        schema_url: scope.schema_url().unwrap_or_default().to_owned(),
    }
}

/// The oracle's containers, attributes sorted as docs/decisions/002 says.
fn expected_resource(resource: &Resource, scope_spans: Vec<ScopeSpans>) -> ResourceSpans {
    let transformed = ResourceAttributesWithSchema::from(resource);
    let mut attributes = transformed.attributes.0;
    attributes.sort_by(|a, b| a.key.cmp(&b.key));
    let resource =
        opentelemetry_proto::tonic::resource::v1::Resource { attributes, ..Default::default() };
    let schema_url = transformed.schema_url.unwrap_or_default();
    ResourceSpans { resource: Some(resource), scope_spans, schema_url }
}

/// Spans whose keys are few, so that many are equal, also where hashes are.
fn span_with_equal_keys() -> impl Strategy<Value = SpanData> {
    let picks = prop::collection::vec(0_usize..12, 0..400);
    (arbitrary::span(), picks).prop_map(|(mut span, picks)| {
        let names = [
            "",
            "a",
            "b",
            "ab",
            "abc",
            "acb",
            "http.route",
            "http.scheme",
            "same.length.1.x",
            "same.length.2.x",
        ];
        for (at, pick) in picks.into_iter().enumerate() {
            let key = names
                .get(pick)
                .map_or_else(|| format!("key.{at}.of.many"), |name| (*name).to_owned());
            span.attributes.push(KeyValue::new(key, "v".repeat(at % 140)));
        }
        for event in &mut span.events.events {
            event.attributes.extend([
                KeyValue::new("a", 1),
                KeyValue::new("b", 2),
                KeyValue::new("a", 3),
            ]);
        }
        for link in &mut span.links.links {
            link.attributes.extend([KeyValue::new("", 1), KeyValue::new("", "two")]);
        }
        span
    })
}

fn concatenated(request: &Request) -> Vec<u8> {
    request.parts.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_span_is_encoded_as_the_oracle_does(span in arbitrary::span()) {
        prop_assert!(record(&span) == expected_record(&span), "{span:#?}");
    }

    #[test]
    fn the_limits_are_the_naive_ones(span in span_with_equal_keys(), limits in naive::limits()) {
        let ours = to_bytes(1 << 12, |out| encode_span(out, &span, &limits));
        let spans = vec![expected_within(&span, &limits)];
        let expected = ScopeSpans { scope: None, spans, schema_url: String::new() };
        prop_assert!(ours == expected.encode_to_vec(), "{limits:?} {span:#?}");
    }

    #[test]
    fn a_scope_is_encoded_as_the_oracle_does(scope in arbitrary::scope()) {
        let frame = encode_scope(&scope, &Limits::DEFAULT);
        let ours = [frame.head, frame.tail].concat();
        prop_assert!(ours == expected_scope(&scope, vec![]).encode_to_vec(), "{scope:#?}");
    }

    #[test]
    fn a_resource_is_encoded_as_the_oracle_does(resource in arbitrary::resource()) {
        let frame = encode_resource(&resource, &Limits::DEFAULT);
        let ours = [frame.head, frame.tail].concat();
        prop_assert!(ours == expected_resource(&resource, vec![]).encode_to_vec());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_span_that_does_not_fit_overflows_and_one_that_just_fits_does_not(
        span in arbitrary::span(),
        short_by in 1_usize..200,
    ) {
        // The first of two equal keys needs room before it is given back.
        let limits = Given { duplicates: Some(Duplicates::Keep), ..Given::default() }.resolve();
        let whole = to_bytes(1 << 12, |out| encode_span(out, &span, &limits));
        // A wrong guess of the length needs up to two bytes more before they are given back.
        for (room, fits) in [(whole.len() - short_by.min(whole.len()), false), (whole.len() + 2, true)] {
            let mut memory = vec![MaybeUninit::uninit(); room];
            let mut out = Cursor::new(&mut memory);
            encode_span(&mut out, &span, &limits);
            prop_assert_eq!(out.is_overflowed(), !fits);
            prop_assert!(!fits || out.written() == &whole[..]);
        }
    }

    #[test]
    fn a_request_is_the_oracles(
        resource in arbitrary::resource(),
        scopes in prop::collection::vec(
            (arbitrary::scope(), prop::collection::vec(arbitrary::span(), 0..4)),
            0..4,
        ),
        cut in 0_usize..4,
    ) {
        let resource_frame = encode_resource(&resource, &Limits::DEFAULT);
        let groups: Vec<Group> = scopes.iter().map(|(scope, spans)| group(scope, spans, cut)).collect();
        let request = Request::new(&resource_frame, groups);

        let scope_spans: Vec<ScopeSpans> = scopes
            .iter()
            .filter(|(_, spans)| !spans.is_empty())
            .map(|(scope, spans)| expected_scope(scope, spans.iter().map(expected).collect()))
            .collect();
        let mut resource_spans = vec![expected_resource(&resource, scope_spans)];
        resource_spans.retain(|resource_spans| !resource_spans.scope_spans.is_empty());
        let expected = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let ours = concatenated(&request);
        prop_assert!(ours == expected);
        prop_assert_eq!(request.bytes, ours.len());
        prop_assert!(request.parts.iter().all(|part| !part.is_empty()));
    }
}

/// The spans of a scope as two runs, cut before record `cut`.
fn group(scope: &InstrumentationScope, spans: &[SpanData], cut: usize) -> Group {
    let records: Vec<Bytes> = spans.iter().map(record).collect();
    let (first, second) = records.split_at(cut.min(records.len()));
    let runs = vec![first.concat().into(), second.concat().into()];
    Group { scope: encode_scope(scope, &Limits::DEFAULT), runs }
}

#[test]
fn a_request_without_records_has_no_parts() {
    let resource = encode_resource(&Resource::builder().build(), &Limits::DEFAULT);
    let empty = Group {
        scope: encode_scope(&InstrumentationScope::default(), &Limits::DEFAULT),
        runs: vec![],
    };
    let request = Request::new(&resource, vec![empty]);
    assert_eq!((request.parts.len(), request.bytes), (0, 0));
}

#[test]
fn records_are_passed_on_and_not_copied() {
    let records = record(&empty_span());
    let scope = encode_scope(&InstrumentationScope::builder("scope").build(), &Limits::DEFAULT);
    let groups = vec![Group { scope, runs: vec![records.clone()] }];
    let request = Request::new(
        &encode_resource(&Resource::builder_empty().build(), &Limits::DEFAULT),
        groups,
    );
    assert!(request.parts.iter().any(|part| part.as_ptr() == records.as_ptr()));
}

#[test]
fn every_length_class_of_a_span_is_canonical() {
    for target in [127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
        for offset in -6_i32..=6 {
            let mut span = empty_span();
            let body = expected(&span).encoded_len() as i32;
            span.name = "n".repeat((target - body + offset).max(0) as usize).into();
            assert_eq!(record(&span), expected_record(&span), "{target} {offset}");
        }
    }
}

#[test]
fn every_length_class_of_keys_and_values_is_canonical() {
    let lens =
        [0, 1, 100, 110, 115, 116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128];
    let long = [16_370, 16_374, 16_376, 16_378, 16_379, 16_380, 16_381, 16_382, 16_383, 16_384];
    for key_len in lens {
        for value_len in lens.into_iter().chain(long) {
            let key = "k".repeat(key_len);
            let value = "v".repeat(value_len);
            let mut span = empty_span();
            span.attributes = vec![
                KeyValue::new(key.clone(), value.clone()),
                KeyValue::new(value.clone() + "a", true),
                KeyValue::new(value.clone() + "b", -1),
                KeyValue::new(value.clone() + "c", 0.5),
                KeyValue::new(
                    key + "d",
                    Value::Array(vec![StringValue::from(value), "".into()].into()),
                ),
            ];
            assert_eq!(record(&span), expected_record(&span), "{key_len} {value_len}");
        }
    }
}

#[test]
fn an_empty_span_keeps_its_ids_kind_and_flags_only() {
    let expected = [
        &[0x12, 36, 0x0a, 16][..],
        &[0; 16],
        &[0x12, 8],
        &[0; 8],
        &[0x30, 1, 0x85, 0x01, 0, 1, 0, 0],
    ];
    assert_eq!(record(&empty_span()), expected.concat());
}

// What went wrong in other encoders of OTLP, by name.

/// opentelemetry-dotnet #6117: the length of a status with a description of 128 bytes or more was
/// wrong, and the whole batch was refused.
#[test]
fn a_status_description_may_be_longer_than_a_one_byte_length_tells() {
    for len in [0, 1, 123, 124, 125, 126, 127, 128, 129, 16_380, 16_384] {
        let mut span = empty_span();
        span.status = Status::error("d".repeat(len));
        let status = decoded(&span).status.unwrap();
        assert_eq!((status.code, status.message.len()), (2, len));
    }
}

/// opentelemetry-dotnet #6149 and opentelemetry-java #8014, #3911: an attribute whose value was
/// empty or zero lost its value or its type.
#[test]
fn empty_and_zero_values_keep_their_type() {
    let mut span = empty_span();
    span.attributes = vec![
        KeyValue::new("text", ""),
        KeyValue::new("truth", false),
        KeyValue::new("number", 0),
        KeyValue::new("fraction", 0.0),
        KeyValue::new("list", Value::Array(Vec::<i64>::new().into())),
        KeyValue::new("", ""),
    ];
    let values: Vec<_> =
        decoded(&span).attributes.into_iter().map(|kv| kv.value.unwrap().value.unwrap()).collect();
    use common::any_value::Value::{ArrayValue, BoolValue, DoubleValue, IntValue, StringValue};
    let empty = || StringValue(String::new());
    let list = ArrayValue(common::ArrayValue::default());
    let expected = [empty(), BoolValue(false), IntValue(0), DoubleValue(0.0), list, empty()];
    assert_eq!(values, expected);
}

/// opentelemetry-dotnet #7368: span kinds were off by one.
#[test]
fn every_kind_keeps_its_name() {
    let kinds = [
        (SpanKind::Internal, "SPAN_KIND_INTERNAL"),
        (SpanKind::Server, "SPAN_KIND_SERVER"),
        (SpanKind::Client, "SPAN_KIND_CLIENT"),
        (SpanKind::Producer, "SPAN_KIND_PRODUCER"),
        (SpanKind::Consumer, "SPAN_KIND_CONSUMER"),
    ];
    for (kind, name) in kinds {
        let span = SpanData { span_kind: kind, ..empty_span() };
        assert_eq!(decoded(&span).kind().as_str_name(), name);
    }
}

/// opentelemetry-dotnet #7747: a link's trace state was written under the span's field number.
#[test]
fn a_link_keeps_its_trace_state_and_flags() {
    let state = TraceState::from_key_value([("vendor", "value"), ("other", "1")]).unwrap();
    let linked = |is_remote| {
        let flags = opentelemetry::trace::TraceFlags::SAMPLED;
        let span_id = SpanId::from(7);
        let context = SpanContext::new(9_u128.into(), span_id, flags, is_remote, state.clone());
        Link::new(context, vec![KeyValue::new("a", 1)], 3)
    };
    let span = SpanData { links: span_links(vec![linked(false), linked(true)], 2), ..empty_span() };
    let span = decoded(&span);
    assert_eq!(span.dropped_links_count, 2);
    let flags: Vec<u32> = span.links.iter().map(|link| link.flags).collect();
    assert_eq!(flags, [0x101, 0x301]);
    for link in span.links {
        assert_eq!(link.trace_state, "vendor=value,other=1");
        assert_eq!((link.attributes.len(), link.dropped_attributes_count), (1, 3));
    }
}

/// opentelemetry-collector #13641: repeated fields came out in the reverse order.
#[test]
fn repeated_fields_keep_their_order() {
    let names = || ["c", "a", "d", "b"].into_iter();
    let attributes = || names().map(|name| KeyValue::new(name, name)).collect::<Vec<_>>();
    let event = |name| Event::new(name, UNIX_EPOCH, attributes(), 0);
    let mut span = empty_span();
    span.attributes = attributes();
    span.attributes.push(KeyValue::new("list", Value::Array(vec![3, 1, 2].into())));
    span.events = span_events(names().map(event).collect(), 0);
    let span = decoded(&span);
    let keys: Vec<_> = span.attributes.iter().map(|kv| kv.key.as_str()).collect();
    assert_eq!(keys, ["c", "a", "d", "b", "list"]);
    assert!(span.events.iter().map(|event| event.name.as_str()).eq(names()));
}

/// opentelemetry-dotnet-contrib #5147: lengths of 16384 bytes and more were wrong.
#[test]
fn a_span_of_three_hundred_attributes_and_long_text_is_whole() {
    let mut span = empty_span();
    span.attributes = (0..300)
        .map(|index| KeyValue::new(format!("attribute.{index}"), "\u{1f980}".repeat(20)))
        .collect();
    span.attributes.push(KeyValue::new("long", "x".repeat(70_000)));
    assert_eq!(decoded(&span).attributes.len(), 301);
}

#[test]
fn of_equal_keys_the_last_stays_where_it_stands_and_none_counts_as_dropped() {
    let mut span = empty_span();
    let set = [("a", 1), ("b", 2), ("a", 3), ("c", 4), ("b", 5)];
    span.attributes = set.map(|(key, value)| KeyValue::new(key, value)).to_vec();
    let span = decoded(&span);
    let keys: Vec<_> = span.attributes.iter().map(|kv| kv.key.as_str()).collect();
    assert_eq!(keys, ["a", "c", "b"]);
    assert_eq!(
        span.attributes[0].value,
        Some(common::AnyValue { value: Some(common::any_value::Value::IntValue(3)) })
    );
    assert_eq!(span.dropped_attributes_count, 0);
}

#[test]
fn dropped_attributes_are_the_sdks_and_ours() {
    let general = GivenModel { count_max: Some(1), value_len_max: None };
    let limits = Given { general, ..Given::default() }.resolve();
    let attributes = || vec![KeyValue::new("a", 1), KeyValue::new("b", 2), KeyValue::new("c", 3)];
    let mut span = empty_span();
    span.attributes = attributes();
    span.dropped_attributes_count = u32::MAX;
    span.events = span_events(vec![Event::new("event", UNIX_EPOCH, attributes(), 7)], 0);
    let record = to_bytes(1 << 12, |out| encode_span(out, &span, &limits));
    let span = ScopeSpans::decode(record).unwrap().spans.remove(0);
    assert_eq!((span.attributes.len(), span.dropped_attributes_count), (1, u32::MAX));
    assert_eq!((span.events[0].attributes.len(), span.events[0].dropped_attributes_count), (1, 9));
}

/// opentelemetry-cpp #2257: half a character made receivers refuse the whole batch.
#[test]
fn a_text_is_cut_after_characters_and_not_within_one() {
    let crab = "a\u{1f980}\u{e9}bc";
    for (len, kept) in
        [(0, ""), (1, "a"), (2, "a\u{1f980}"), (3, "a\u{1f980}\u{e9}"), (5, crab), (6, crab)]
    {
        let general = GivenModel { count_max: None, value_len_max: Some(len) };
        let limits = Given { general, ..Given::default() }.resolve();
        let mut span = empty_span();
        span.attributes = vec![
            KeyValue::new("text", crab),
            KeyValue::new("texts", Value::Array(vec![StringValue::from(crab)].into())),
        ];
        let record = to_bytes(1 << 12, |out| encode_span(out, &span, &limits));
        let attributes = ScopeSpans::decode(record).unwrap().spans.remove(0).attributes;
        let text = common::AnyValue {
            value: Some(common::any_value::Value::StringValue(kept.to_owned())),
        };
        assert_eq!(attributes[0].value.as_ref(), Some(&text), "{len}");
        let texts = common::any_value::Value::ArrayValue(common::ArrayValue { values: vec![text] });
        assert_eq!(attributes[1].value, Some(common::AnyValue { value: Some(texts) }), "{len}");
    }
}

#[test]
fn flags_carry_whether_the_parent_is_remote() {
    let mut span = empty_span();
    assert_eq!(decoded(&span).flags, 0x100);
    span.parent_span_is_remote = true;
    assert_eq!(decoded(&span).flags, 0x300);
}

#[test]
fn a_time_that_no_field_can_hold_is_the_last_one_that_fits() {
    let mut span = empty_span();
    span.end_time = UNIX_EPOCH + Duration::from_secs(u64::MAX / 1_000_000_000 + 1);
    let scope = ScopeSpans::decode(record(&span)).unwrap();
    assert_eq!(scope.spans[0].end_time_unix_nano, u64::MAX);
}

#[test]
fn a_run_of_records_can_be_walked() {
    let spans: Vec<SpanData> = (0..5)
        .map(|index| SpanData { name: "n".repeat(index * 60).into(), ..empty_span() })
        .collect();
    let records: Vec<Bytes> = spans.iter().map(record).collect();
    let run = records.concat();
    let walked: Result<Vec<&[u8]>, _> = Records::new(&run).collect();
    assert_eq!(walked.unwrap(), records);
}

#[test]
fn equal_resources_have_equal_frames() {
    let attributes = |reversed: bool| {
        let mut attributes: Vec<_> =
            (0..20).map(|index| KeyValue::new(format!("key.{index}"), index)).collect();
        if reversed {
            attributes.reverse();
        }
        encode_resource(
            &Resource::builder_empty().with_attributes(attributes).build(),
            &Limits::DEFAULT,
        )
    };
    assert_eq!(attributes(false), attributes(true));
}
