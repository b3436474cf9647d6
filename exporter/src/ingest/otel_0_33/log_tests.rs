//! Our bytes of log records beside those of the oracle: opentelemetry-proto's transform of a
//! `LogBatch`, and prost.

use std::mem::MaybeUninit;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use opentelemetry::logs::{AnyValue, LogRecord as _};
use opentelemetry::{InstrumentationScope, Key, SpanId, TraceFlags, TraceId};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LogBatch, SdkLogRecord};
use proptest::prelude::*;
use prost::Message;
use spanwire_runtime::buf::Cursor;

use super::arbitrary;
use super::arbitrary_logs::{self, SEVERITIES, empty_record};
use super::log_record::encode_log_record;
use super::naive;
use super::resource::encode_resource;
use super::scope::encode_named_scope;
use crate::encode::envelope::{Group, Request};
use crate::encode::limits::{AttributeLimits, Duplicates, Limits};
use crate::wire::write::to_bytes;

/// Limits that nothing meets.
fn no_limits() -> Limits {
    let mut limits = Limits::DEFAULT;
    limits.exempt.duplicates = Duplicates::Keep;
    limits.log = AttributeLimits { count_max: u32::MAX, ..limits.exempt };
    limits
}

/// What the oracle makes of a record, with the one deviation of docs/decisions/007: ids of zeros
/// are left out.
fn expected(record: &SdkLogRecord) -> LogRecord {
    let mut expected = LogRecord::from(record);
    for id in [&mut expected.trace_id, &mut expected.span_id] {
        if id.iter().all(|&byte| byte == 0) {
            id.clear();
        }
    }
    expected
}

/// The oracle's record: the log record as field 2 of a message.
fn framed(record: LogRecord) -> Vec<u8> {
    ScopeLogs { log_records: vec![record], ..ScopeLogs::default() }.encode_to_vec()
}

fn record_within(record: &SdkLogRecord, limits: &Limits) -> Bytes {
    to_bytes(1 << 12, |out| encode_log_record(out, record, limits))
}

/// Our record, read back by the oracle.
fn decoded(record: &SdkLogRecord) -> LogRecord {
    decoded_within(record, &no_limits())
}

fn decoded_within(record: &SdkLogRecord, limits: &Limits) -> LogRecord {
    let mut scope = ScopeLogs::decode(record_within(record, limits)).unwrap();
    assert_eq!(scope.log_records.len(), 1);
    scope.log_records.remove(0)
}

/// A record that the oracle takes: it insists on the time of the observation.
fn seen_record() -> SdkLogRecord {
    let mut record = empty_record();
    record.set_observed_timestamp(UNIX_EPOCH);
    record
}

fn with_body(body: impl Into<AnyValue>) -> SdkLogRecord {
    let mut record = seen_record();
    record.set_body(body.into());
    record
}

fn with_attribute(value: AnyValue) -> SdkLogRecord {
    let mut record = seen_record();
    record.add_attribute("key", value);
    record
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_log_record_is_encoded_as_the_oracle_does(record in arbitrary_logs::log_record()) {
        let expected = framed(expected(&record));
        prop_assert!(record_within(&record, &no_limits()) == expected, "{record:#?}");
    }

    #[test]
    fn a_log_record_that_does_not_fit_is_an_overflow_and_no_panic(
        record in arbitrary_logs::log_record(),
        missing_by in 1_usize..300,
    ) {
        let limits = no_limits();
        let whole = record_within(&record, &limits);
        // A length is reserved by a guess, so one that fits exactly may need a byte or two more.
        for (room, fits) in [(whole.len() - missing_by.min(whole.len()), false), (whole.len() + 8, true)] {
            let mut memory = vec![MaybeUninit::uninit(); room];
            let mut out = Cursor::new(&mut memory);
            encode_log_record(&mut out, &record, &limits);
            prop_assert_eq!(out.is_overflowed(), !fits);
            prop_assert!(!fits || out.written() == &whole[..]);
        }
    }

    #[test]
    fn attributes_are_cut_as_a_naive_cut_would(
        record in arbitrary_logs::log_record(),
        limits in naive::limits(),
    ) {
        let expected = naive::limited_log(expected(&record), &limits);
        prop_assert!(record_within(&record, &limits) == framed(expected), "{record:#?}");
    }
}

proptest! {
    // Several records each.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_request_of_logs_is_the_oracles(
        resource in arbitrary::resource(),
        scope in arbitrary::scope(),
        records in prop::collection::vec(arbitrary_logs::log_record(), 1..4),
        target in proptest::option::of("[a-z:]{0,12}"),
    ) {
        let records: Vec<_> = records.into_iter().map(|record| retargeted(record, &target)).collect();
        let batch: Vec<_> = records.iter().map(|record| (record, &scope)).collect();
        let oracle = group_logs_by_resource_and_scope(
            &LogBatch::new(&batch),
            &ResourceAttributesWithSchema::from(&resource),
        );
        prop_assert!(request(&resource, &scope, &records) == as_written_down(oracle, &records));
    }
}

fn retargeted(mut record: SdkLogRecord, target: &Option<String>) -> SdkLogRecord {
    // A record keeps a target for good, so one that has another is made anew.
    if let Some(target) = target {
        record.set_target(target.clone());
    } else if record.target().is_some() {
        record = seen_record();
    }
    record
}

/// What our envelope makes of records that share a scope and a target.
fn request(resource: &Resource, scope: &InstrumentationScope, records: &[SdkLogRecord]) -> Vec<u8> {
    let limits = no_limits();
    let name = records[0].target().map_or_else(|| scope.name(), AsRef::as_ref);
    let runs = records.iter().map(|record| record_within(record, &limits)).collect();
    let group = Group { scope: encode_named_scope(scope, name, &limits), runs };
    Request::new(&encode_resource(resource, &limits), vec![group]).parts.concat()
}

/// The oracle's request, with the deviations of docs/decisions/002 and 007.
fn as_written_down(
    mut resource_logs: Vec<opentelemetry_proto::tonic::logs::v1::ResourceLogs>,
    records: &[SdkLogRecord],
) -> Vec<u8> {
    let scope_logs = &mut resource_logs[0].scope_logs;
    // With a NaN among its attributes a scope is not equal to itself, so the oracle has it twice.
    let scope = scope_logs[0].scope.clone().unwrap().encode_to_vec();
    assert!(scope_logs.drain(1..).all(|other| other.scope.unwrap().encode_to_vec() == scope));
    let resource = resource_logs[0].resource.as_mut().unwrap();
    resource.attributes.sort_by(|a, b| a.key.cmp(&b.key));
    resource_logs[0].scope_logs[0].log_records = records.iter().map(expected).collect();
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

#[test]
fn a_record_of_which_nothing_is_known_is_empty() {
    assert_eq!(record_within(&empty_record(), &Limits::DEFAULT), &[0x12, 0][..]);
}

#[test]
fn every_length_class_of_a_log_record_is_canonical() {
    for target in [127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
        for offset in -8_i32..=8 {
            let record = with_body("b".repeat((target + offset) as usize - 20));
            assert_eq!(record_within(&record, &no_limits()), framed(expected(&record)));
        }
    }
}

#[test]
fn every_severity_keeps_its_name() {
    for severity in SEVERITIES {
        let mut record = seen_record();
        record.set_severity_number(severity);
        let name = decoded(&record).severity_number().as_str_name();
        assert_eq!(name, format!("SEVERITY_NUMBER_{}", severity.name()));
    }
}

/// `levels` lists, or maps, or both in turn, in each other.
fn nested(levels: usize, is_map: impl Fn(usize) -> bool) -> AnyValue {
    (0..levels).fold(AnyValue::from("innermost"), |inner, level| {
        if is_map(level) {
            AnyValue::from_iter([("k", inner)])
        } else {
            AnyValue::from_iter([inner])
        }
    })
}

/// How many lists and maps are in each other, and what the innermost value is.
fn levels(value: &common::AnyValue) -> (usize, Option<&Value>) {
    let inner = match &value.value {
        Some(Value::ArrayValue(list)) => &list.values[0],
        Some(Value::KvlistValue(map)) => map.values[0].value.as_ref().unwrap(),
        innermost => return (0, innermost.as_ref()),
    };
    let (below, innermost) = levels(inner);
    (below + 1, innermost)
}

/// A receiver that stops at 100 messages in each other, as most do, reads whatever we write;
/// what is too deep for it is an empty value.
#[test]
fn values_are_nested_as_deep_as_receivers_read_and_no_deeper() {
    let shapes: [fn(usize) -> bool; 3] = [|_| false, |_| true, |level| level % 2 == 0];
    let limits = Limits::DEFAULT;
    for shape in shapes {
        let mut deepest = 0;
        for depth in 0..=66 {
            let mut record = with_attribute(nested(depth, shape));
            record.set_body(nested(depth, shape));
            let ours = request_of(record_within(&record, &limits));
            let request = ExportLogsServiceRequest::decode(&ours[..]).unwrap();
            let arrived = &request.resource_logs[0].scope_logs[0].log_records[0];
            let (found, innermost) = levels(arrived.attributes[0].value.as_ref().unwrap());
            let (in_body, _) = levels(arrived.body.as_ref().unwrap());
            assert_eq!(innermost.is_some(), found == depth, "{depth}");
            assert!(found <= depth && in_body >= found, "{depth}");
            deepest = deepest.max(found);
            if found == depth {
                assert_eq!(record_within(&record, &limits), framed(expected(&record)), "{depth}");
            }
        }
        // An event's and an exemplar's attributes stand deeper than a log record's, and what may
        // be in them is the same. So a second level more is one that the oracle does not read.
        let more = framed(expected(&with_attribute(nested(deepest + 2, shape))));
        let is_readable = ExportLogsServiceRequest::decode(&request_of(more.into())[..]).is_ok();
        assert!(!is_readable, "{deepest} levels could be more");
    }
}

fn request_of(record: Bytes) -> Vec<u8> {
    let scope = encode_named_scope(&InstrumentationScope::default(), "", &Limits::DEFAULT);
    let resource = encode_resource(&Resource::builder_empty().build(), &Limits::DEFAULT);
    Request::new(&resource, vec![Group { scope, runs: vec![record] }]).parts.concat()
}

#[test]
fn a_body_is_not_cut() {
    let mut limits = Limits::DEFAULT;
    limits.log.value_len_max = Some(3);
    let mut record = with_body("a long body");
    record.add_attribute("key", "a long value");
    let record = decoded_within(&record, &limits);
    let text = |text: &str| Some(Value::StringValue(text.to_owned()));
    assert_eq!(record.body.unwrap().value, text("a long body"));
    assert_eq!(record.attributes[0].value.as_ref().unwrap().value, text("a l"));
}

#[test]
fn a_record_without_a_valid_span_has_no_ids() {
    for (trace_id, span_id) in [(0_u128, 0_u64), (1, 0), (0, 1), (1, 1)] {
        let mut record = seen_record();
        record.set_trace_context(TraceId::from(trace_id), SpanId::from(span_id), None);
        let record = decoded(&record);
        assert_eq!(record.trace_id.len(), if trace_id == 0 { 0 } else { 16 });
        assert_eq!(record.span_id.len(), if span_id == 0 { 0 } else { 8 });
    }
}

#[test]
fn times_outside_of_the_range_are_the_nearest_one_inside() {
    let mut record = empty_record();
    record.set_timestamp(UNIX_EPOCH - Duration::from_secs(1));
    record.set_observed_timestamp(UNIX_EPOCH + Duration::from_secs(u64::MAX / 1_000_000_000 + 1));
    let record = decoded(&record);
    assert_eq!((record.time_unix_nano, record.observed_time_unix_nano), (0, u64::MAX));
}

// What went wrong in other encoders of OTLP, by name.

/// opentelemetry-dotnet #7489: reserved bits of the flags were set. opentelemetry-java #8493: the
/// flags were an integer with a sign, which was extended.
#[test]
fn flags_are_one_byte_without_a_sign() {
    for flags in [0, 1, 0x7f, 0x80, 0xff] {
        let mut record = seen_record();
        let context = Some(TraceFlags::new(flags));
        record.set_trace_context(TraceId::from(1), SpanId::from(1), context);
        assert_eq!(record_within(&record, &no_limits()), framed(expected(&record)));
        assert_eq!(decoded(&record).flags, u32::from(flags));
    }
}

/// opentelemetry-dotnet #6149: what had no value lost the field of the value, and Loki refused
/// the batch. otel-arrow #1447 and opentelemetry-java #8014: values at the default of their type
/// were left out.
#[test]
fn empty_and_zero_values_keep_their_type_in_attributes_bodies_lists_and_maps() {
    let values = || {
        [
            AnyValue::from(""),
            AnyValue::from(false),
            AnyValue::from(0),
            AnyValue::from(0.0),
            AnyValue::Bytes(Box::default()),
            AnyValue::ListAny(Box::default()),
            AnyValue::Map(Box::default()),
        ]
    };
    for value in values() {
        assert!(decoded(&with_body(value.clone())).body.unwrap().value.is_some());
        assert!(
            decoded(&with_attribute(value)).attributes[0].value.as_ref().unwrap().value.is_some()
        );
    }
    let list = decoded(&with_body(AnyValue::from_iter(values()))).body.unwrap().value;
    let Some(Value::ArrayValue(list)) = list else { panic!("{list:?}") };
    assert!(list.values.len() == 7 && list.values.iter().all(|value| value.value.is_some()));
}

/// opentelemetry-dotnet #6149 again: a value that is cut away leaves an empty value behind.
#[test]
fn a_value_that_is_too_deep_is_an_empty_message_and_not_absent() {
    let mut limits = Limits::DEFAULT;
    (limits.log.depth_max, limits.exempt.depth_max) = (0, 0);
    let mut record = with_attribute(AnyValue::from_iter([1]));
    record.set_body(AnyValue::from_iter([("a", 1)]));
    let record = decoded_within(&record, &limits);
    assert_eq!(record.attributes[0].value, Some(common::AnyValue::default()));
    assert_eq!(record.body, Some(common::AnyValue::default()));
}

/// opentelemetry-collector #13127: the name of an event was left out.
#[test]
fn a_named_event_keeps_its_name() {
    let mut record = seen_record();
    record.set_event_name("browser.page_view");
    assert_eq!(decoded(&record).event_name, "browser.page_view");
}

/// opentelemetry-collector #13483: bytes came out as something else.
#[test]
fn bytes_stay_bytes_whatever_they_are() {
    let bytes = vec![0xff, 0x00, 0xc3, 0x28];
    let value = AnyValue::Bytes(Box::new(bytes.clone()));
    let record = decoded(&with_body(AnyValue::from_iter([("bytes", value)])));
    let Some(Value::KvlistValue(map)) = record.body.unwrap().value else { panic!("no map") };
    assert_eq!(map.values[0].value.as_ref().unwrap().value, Some(Value::BytesValue(bytes)));
}

/// opentelemetry-collector #13641: repeated fields came out in the reverse order. A map has the
/// order of the SDK's hash map.
#[test]
fn attributes_lists_and_maps_keep_their_order() {
    let map: std::collections::HashMap<Key, AnyValue> =
        (0..40).map(|index| (Key::from(format!("key {index}")), AnyValue::from(index))).collect();
    let keys: Vec<String> = map.keys().map(ToString::to_string).collect();
    let mut record = with_body(AnyValue::Map(Box::new(map)));
    record.add_attributes(keys.iter().map(|key| (key.clone(), AnyValue::from_iter(0..9))));
    let record = decoded(&record);
    let names = |attributes: &[common::KeyValue]| -> Vec<String> {
        attributes.iter().map(|attribute| attribute.key.clone()).collect()
    };
    let Some(Value::KvlistValue(body)) = record.body.unwrap().value else { panic!("no map") };
    assert_eq!(names(&body.values), keys);
    assert_eq!(names(&record.attributes), keys);
    let list = record.attributes[0].value.as_ref().unwrap().value.as_ref();
    let Some(Value::ArrayValue(list)) = list else { panic!("no list") };
    let numbers = list.values.iter().map(|value| value.value.clone().unwrap());
    assert!(numbers.eq((0..9).map(Value::IntValue)));
}

/// opentelemetry-rust's bridge from `tracing` names every field with an error in it
/// `exception.message`, so a record has that key twice.
#[test]
fn of_two_equal_keys_the_last_one_stays() {
    let mut record = seen_record();
    for (key, value) in [("exception.message", 1), ("other", 2), ("exception.message", 3)] {
        record.add_attribute(key, value);
    }
    let found = |record: LogRecord| -> Vec<(String, Option<Value>)> {
        let pair = |kv: common::KeyValue| (kv.key, kv.value.unwrap().value);
        record.attributes.into_iter().map(pair).collect()
    };
    let expected = [("other", 2), ("exception.message", 3)];
    let expected = expected.map(|(key, value)| (key.to_owned(), Some(Value::IntValue(value))));
    let ours = decoded_within(&record, &Limits::DEFAULT);
    assert_eq!(ours.dropped_attributes_count, 0);
    assert_eq!(found(ours), expected);
    assert_eq!(found(decoded(&record)).len(), 3);
}
