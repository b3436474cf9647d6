//! The attribute limits as one would write them down: over the oracle's structs, with copies.

use std::collections::HashSet;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span;

use proptest::prelude::*;

use crate::encode::limits::{AttributeLimits, Duplicates, Given, GivenModel, Limits};

/// A span of the oracle after the limits.
pub(crate) fn limited_span(mut span: Span, limits: &Limits) -> Span {
    limit(&mut span.attributes, &mut span.dropped_attributes_count, &limits.span);
    for event in &mut span.events {
        limit(&mut event.attributes, &mut event.dropped_attributes_count, &limits.event);
    }
    for link in &mut span.links {
        limit(&mut link.attributes, &mut link.dropped_attributes_count, &limits.link);
    }
    span
}

/// A log record of the oracle after the limits. Those of attributes do not cut its body.
pub(crate) fn limited_log(mut record: LogRecord, limits: &Limits) -> LogRecord {
    limit(&mut record.attributes, &mut record.dropped_attributes_count, &limits.log);
    record.body = record.body.map(|body| cut(body, &limits.exempt, 0, MESSAGES));
    record
}

/// Sets `attributes` one after another in a record with `limits`, and adds to `dropped` those
/// that find no room.
pub(crate) fn limit(attributes: &mut Vec<KeyValue>, dropped: &mut u32, limits: &AttributeLimits) {
    let mut kept: Vec<KeyValue> = Vec::new();
    for attribute in attributes.drain(..) {
        if limits.duplicates == Duplicates::LastWins {
            kept.retain(|other| other.key != attribute.key);
        }
        if kept.len() >= limits.count_max as usize {
            *dropped = dropped.saturating_add(1);
            continue;
        }
        let value = attribute.value.map(|value| cut(value, limits, 0, MESSAGES));
        kept.push(KeyValue { value, ..attribute });
    }
    *attributes = kept;
}

/// A value after the limits; `outer` arrays and maps are around it, and `messages` may still
/// stand in each other below it.
fn cut(value: AnyValue, limits: &AttributeLimits, outer: u32, messages: i64) -> AnyValue {
    let len = limits.value_len_max.map_or(usize::MAX, |len| len as usize);
    let too_deep = |needed: i64| outer >= limits.depth_max || messages < needed;
    let value = match value.value {
        Some(Value::StringValue(text)) => {
            Some(Value::StringValue(text.chars().take(len).collect()))
        }
        Some(Value::BytesValue(bytes)) => {
            Some(Value::BytesValue(bytes.into_iter().take(len).collect()))
        }
        Some(Value::ArrayValue(_)) if too_deep(2) => None,
        Some(Value::KvlistValue(_)) if too_deep(3) => None,
        Some(Value::ArrayValue(ArrayValue { values })) => {
            let cut = |value| cut(value, limits, outer + 1, messages - 2);
            Some(Value::ArrayValue(ArrayValue { values: values.into_iter().map(cut).collect() }))
        }
        Some(Value::KvlistValue(KeyValueList { mut values })) => {
            if limits.duplicates == Duplicates::LastWins {
                keep_last(&mut values);
            }
            for entry in &mut values {
                let value = entry.value.take();
                entry.value = value.map(|value| cut(value, limits, outer + 1, messages - 3));
            }
            Some(Value::KvlistValue(KeyValueList { values }))
        }
        other => other,
    };
    AnyValue { value }
}

/// Leaves the last entry of each key.
fn keep_last(values: &mut Vec<KeyValue>) {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> =
        values.drain(..).rev().filter(|entry| seen.insert(entry.key.clone())).collect();
    kept.reverse();
    *values = kept;
}

/// Limits of all kinds, with those that cut much among them.
pub(crate) fn limits() -> impl Strategy<Value = Limits> {
    let number = || {
        prop::sample::select(vec![None, Some(0), Some(1), Some(2), Some(5), Some(127), Some(128)])
    };
    let model = || (number(), number());
    let models = (model(), model(), model(), model(), model());
    (models, prop::option::of(0_u32..4), any::<bool>()).prop_map(|(models, depth_max, keep)| {
        let given = |(count_max, value_len_max)| GivenModel { count_max, value_len_max };
        let (general, span, event, link, log) = models;
        let (general, span, event) = (given(general), given(span), given(event));
        let duplicates = keep.then_some(Duplicates::Keep);
        let (link, log) = (given(link), given(log));
        Given { general, span, event, link, log, depth_max, duplicates }.resolve()
    })
}

/// What a receiver that takes 100 messages in each other leaves below an attribute of an
/// exemplar, which stands deepest.
const MESSAGES: i64 = 92;
