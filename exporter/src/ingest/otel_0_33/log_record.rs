//! A log record of opentelemetry_sdk 0.33.

use opentelemetry::logs::AnyValue;
use opentelemetry_sdk::logs::{SdkLogRecord, TraceContext};
use spanwire_runtime::buf::Cursor;

use super::clock::unix_nano;
use crate::encode::common::{Attributes, Place, Value};
use crate::encode::limits::Limits;
use crate::encode::logs;

/// Writes a log record as one record: `12 <length> LogRecord`, complete but for its scope.
///
/// If it does not fit, the cursor is overflowed and what it holds is of no use.
pub(crate) fn encode_log_record(out: &mut Cursor<'_>, record: &SdkLogRecord, limits: &Limits) {
    logs::record(out, guess_record_len(record), |out| {
        put_head(out, record);
        if let Some(body) = record.body() {
            // A body is not an attribute: the limits of those do not cut it.
            body.put(Place::field(out, logs::BODY, &limits.exempt));
        }
        put_attributes(out, record, limits);
        if let Some(context) = record.trace_context() {
            put_context(out, context);
        }
        let observed = record.observed_timestamp().map_or(0, unix_nano);
        logs::tail(out, observed, record.event_name().unwrap_or_default());
    });
}

#[inline]
fn put_head(out: &mut Cursor<'_>, record: &SdkLogRecord) {
    let head = logs::Head {
        unix_nano: record.timestamp().map_or(0, unix_nano),
        // The API's numbers are those of the protocol.
        severity_number: record.severity_number().map_or(0, |severity| severity as u8),
        severity_text: record.severity_text().unwrap_or_default(),
    };
    logs::head(out, &head);
}

#[inline]
fn put_attributes(out: &mut Cursor<'_>, record: &SdkLogRecord, limits: &Limits) {
    let mut attributes = Attributes::begin(out, logs::ATTRIBUTES, &limits.log);
    for (key, value) in record.attributes_iter() {
        attributes.put(out, key.as_str(), value);
    }
    logs::dropped_attributes(out, attributes.end());
}

#[inline]
fn put_context(out: &mut Cursor<'_>, context: &TraceContext) {
    let context = logs::Context {
        trace_flags: context.trace_flags.map_or(0, |flags| flags.to_u8()),
        trace_id: context.trace_id.to_bytes(),
        span_id: context.span_id.to_bytes(),
    };
    logs::context(out, &context);
}

/// About how many bytes the record takes; it is enough to know whether they are more than 127,
/// which they are with two attributes or so.
#[inline]
fn guess_record_len(record: &SdkLogRecord) -> usize {
    let body_len = match record.body() {
        Some(AnyValue::String(text)) => text.as_str().len(),
        _ => 0,
    };
    let has_attributes = record.attributes_iter().next().is_some();
    logs::RECORD_LEN + body_len + if has_attributes { ATTRIBUTES_LEN } else { 0 }
}

/// Bytes of a few attributes.
const ATTRIBUTES_LEN: usize = 100;
