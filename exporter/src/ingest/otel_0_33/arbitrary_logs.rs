//! Arbitrary log records, biased like the spans of [`arbitrary`](super::arbitrary).

use std::collections::HashMap;
use std::sync::LazyLock;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::{Key, TraceFlags};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::arbitrary::{float, integer, span_id, text, time, trace_id};

/// Any log record that the API lets one make, with few or many attributes.
pub(super) fn log_record() -> impl Strategy<Value = SdkLogRecord> {
    let about = (option::of(time()), time(), severity(), static_text(), static_text());
    let contents = (option::of(value()), attributes(), option::of(context()), target());
    (about, contents).prop_map(|(about, contents)| {
        let (timestamp, observed, severity, severity_text, event_name) = about;
        let (body, attributes, context, target) = contents;
        let mut record = empty_record();
        record.set_observed_timestamp(observed);
        timestamp.into_iter().for_each(|time| record.set_timestamp(time));
        severity.into_iter().for_each(|severity| record.set_severity_number(severity));
        severity_text.into_iter().for_each(|text| record.set_severity_text(text));
        event_name.into_iter().for_each(|name| record.set_event_name(name));
        body.into_iter().for_each(|body| record.set_body(body));
        record.add_attributes(attributes);
        if let Some((trace_id, span_id, flags)) = context {
            record.set_trace_context(trace_id, span_id, flags);
        }
        target.into_iter().for_each(|target| record.set_target(target));
        record
    })
}

/// A log record of which nothing is known, not even when it was seen.
pub(super) fn empty_record() -> SdkLogRecord {
    static LOGGER: LazyLock<SdkLogger> =
        LazyLock::new(|| SdkLoggerProvider::builder().build().logger(""));
    LOGGER.create_log_record()
}

pub(super) const SEVERITIES: [Severity; 24] = {
    use Severity::*;
    [
        Trace, Trace2, Trace3, Trace4, Debug, Debug2, Debug3, Debug4, Info, Info2, Info3, Info4,
        Warn, Warn2, Warn3, Warn4, Error, Error2, Error3, Error4, Fatal, Fatal2, Fatal3, Fatal4,
    ]
};

/// Any value, with some lists and maps in each other.
pub(super) fn value() -> impl Strategy<Value = AnyValue> {
    let bytes = prop_oneof![
        vec(any::<u8>(), 0..16),
        prop::sample::select(vec![123_usize, 124, 125, 126, 127, 128, 16_384])
            .prop_map(|len| vec![0xff; len]),
    ];
    let leaf = prop_oneof![
        any::<bool>().prop_map(AnyValue::Boolean),
        integer().prop_map(AnyValue::Int),
        float().prop_map(AnyValue::Double),
        text().prop_map(AnyValue::from),
        bytes.prop_map(|bytes| AnyValue::Bytes(Box::new(bytes))),
    ];
    leaf.prop_recursive(5, 24, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|values| AnyValue::ListAny(Box::new(values))),
            prop::collection::hash_map(text(), inner, 0..6).prop_map(map),
        ]
    })
}

fn map(entries: HashMap<String, AnyValue>) -> AnyValue {
    entries.into_iter().collect()
}

/// As few as fit into a record, and more; some keys twice.
fn attributes() -> impl Strategy<Value = Vec<(Key, AnyValue)>> {
    let key = || prop_oneof![3 => text().prop_map(Key::from), 1 => "[ab]".prop_map(Key::from)];
    prop_oneof![
        1 => Just(vec![]),
        6 => vec((key(), value()), 1..12),
        1 => vec((key(), integer().prop_map(AnyValue::Int)), 120..140),
    ]
}

fn context()
-> impl Strategy<Value = (opentelemetry::TraceId, opentelemetry::SpanId, Option<TraceFlags>)> {
    let flags = option::of(any::<u8>().prop_map(TraceFlags::new));
    (trace_id(), span_id(), flags)
}

fn severity() -> impl Strategy<Value = Option<Severity>> {
    option::of(prop::sample::select(SEVERITIES.to_vec()))
}

fn target() -> impl Strategy<Value = Option<String>> {
    option::of(text())
}

/// The API takes some texts only if they are static.
fn static_text() -> impl Strategy<Value = Option<&'static str>> {
    static TEXTS: LazyLock<Vec<String>> = LazyLock::new(|| {
        let long = [126, 127, 128, 16_383, 16_384].map(|len| "t".repeat(len));
        ["", "INFO", "ünï\u{10FFFF}"].map(String::from).into_iter().chain(long).collect()
    });
    option::of((0..TEXTS.len()).prop_map(|index| TEXTS[index].as_str()))
}
