//! `opentelemetry.proto.logs.v1.LogRecord`, one function a piece.
//!
//! A door calls them inside [`record`] in this order, which is the order of the field numbers:
//! [`head`], the body under [`BODY`], attributes under [`ATTRIBUTES`], [`dropped_attributes`],
//! [`context`], [`tail`].

use spanwire_runtime::buf::Cursor;

use crate::wire::fields::{log_record, scope_records};
use crate::wire::write::{
    Wire, key, message, put_fixed64_unless_zero, put_str_unless_empty, put_uint_unless_zero,
};

/// The fields that stand before the body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head<'a> {
    /// When the event happened, in nanoseconds since 1970; 0 if that is unknown.
    pub(crate) unix_nano: u64,
    /// A value of [`crate::wire::fields::severity_number`]; 0 if there is none.
    pub(crate) severity_number: u8,
    /// What the source calls the severity, or empty.
    pub(crate) severity_text: &'a str,
}

/// The span in which an event happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Context {
    /// W3C trace flags. The other 24 bits of the field are reserved and stay 0.
    pub(crate) trace_flags: u8,
    /// The trace; all zeros if there is none.
    pub(crate) trace_id: [u8; 16],
    /// The span; all zeros if there is none.
    pub(crate) span_id: [u8; 8],
}

/// Writes one record: a log record as a member of `ScopeLogs`. `guess` is about how many bytes
/// `fill` will write; it costs time only if it is far off.
#[inline]
pub(crate) fn record(out: &mut Cursor<'_>, guess: usize, fill: impl FnOnce(&mut Cursor<'_>)) {
    message(out, RECORD, guess, fill);
}

/// Writes the fields up to the severity.
#[inline]
pub(crate) fn head(out: &mut Cursor<'_>, head: &Head<'_>) {
    put_fixed64_unless_zero(out, TIME, head.unix_nano);
    if head.severity_number != 0 {
        debug_assert!(head.severity_number < 1 << 7, "a varint of one byte");
        out.put_array([SEVERITY_NUMBER, head.severity_number]);
    }
    put_str_unless_empty(out, SEVERITY_TEXT, head.severity_text);
}

/// Writes how many attributes were dropped.
#[inline]
pub(crate) fn dropped_attributes(out: &mut Cursor<'_>, count: u32) {
    put_uint_unless_zero(out, DROPPED_ATTRIBUTES, count.into());
}

/// Writes the span in which the event happened. Ids of zeros are invalid (logs.proto), so they
/// are left out.
#[inline]
pub(crate) fn context(out: &mut Cursor<'_>, context: &Context) {
    if context.trace_flags != 0 {
        out.put_array([FLAGS, context.trace_flags, 0, 0, 0]);
    }
    if context.trace_id != [0; 16] {
        out.put_array([TRACE_ID, 16]);
        out.put_array(context.trace_id);
    }
    if context.span_id != [0; 8] {
        out.put_array([SPAN_ID, 8]);
        out.put_array(context.span_id);
    }
}

/// Writes when the event was seen first and what it is called, if it has a name.
#[inline]
pub(crate) fn tail(out: &mut Cursor<'_>, observed_unix_nano: u64, event_name: &str) {
    put_fixed64_unless_zero(out, OBSERVED_TIME, observed_unix_nano);
    put_str_unless_empty(out, EVENT_NAME, event_name);
}

/// The key of the body.
pub(crate) const BODY: u8 = key(log_record::BODY, Wire::Len);
/// The key of a record's attributes.
pub(crate) const ATTRIBUTES: u8 = key(log_record::ATTRIBUTES, Wire::Len);

/// Bytes of a record in a span, without its texts, body and attributes.
pub(crate) const RECORD_LEN: usize = 9 + 2 + 5 + 18 + 10 + 9 + 2;

const RECORD: u8 = key(scope_records::RECORDS, Wire::Len);
const TIME: u8 = key(log_record::TIME_UNIX_NANO, Wire::Fixed64);
const SEVERITY_NUMBER: u8 = key(log_record::SEVERITY_NUMBER, Wire::Varint);
const SEVERITY_TEXT: u8 = key(log_record::SEVERITY_TEXT, Wire::Len);
const DROPPED_ATTRIBUTES: u8 = key(log_record::DROPPED_ATTRIBUTES_COUNT, Wire::Varint);
const FLAGS: u8 = key(log_record::FLAGS, Wire::Fixed32);
const TRACE_ID: u8 = key(log_record::TRACE_ID, Wire::Len);
const SPAN_ID: u8 = key(log_record::SPAN_ID, Wire::Len);
const OBSERVED_TIME: u8 = key(log_record::OBSERVED_TIME_UNIX_NANO, Wire::Fixed64);
const EVENT_NAME: u8 = key(log_record::EVENT_NAME, Wire::Len);
