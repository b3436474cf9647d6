//! `opentelemetry.proto.trace.v1.Span`, one function a piece.
//!
//! A door calls them inside [`span`] in this order, which is the order of the field numbers:
//! [`head`], attributes, [`dropped_attributes`], [`event`]s, [`dropped_events`], [`link`]s,
//! [`dropped_links`], [`status_ok`] or [`status_error`], [`flags`].

use spanwire_runtime::buf::Cursor;

use crate::wire::fields::{self, scope_records};
use crate::wire::write::{
    Wire, field_len, key, message, put_fixed64_unless_zero, put_len, put_str_unless_empty,
    put_uint_unless_zero, wide_key,
};

/// The fields that stand before the attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'a> {
    /// The trace.
    pub(crate) trace_id: [u8; 16],
    /// The span.
    pub(crate) span_id: [u8; 8],
    /// W3C trace state, or empty.
    pub(crate) trace_state: &'a str,
    /// The parent; all zeros for a root.
    pub(crate) parent_span_id: [u8; 8],
    /// What the span is called.
    pub(crate) name: &'a str,
    /// One of [`fields::span_kind`].
    pub(crate) kind: u8,
    /// Start, in nanoseconds since 1970.
    pub(crate) start_unix_nano: u64,
    /// End, in nanoseconds since 1970.
    pub(crate) end_unix_nano: u64,
}

/// Where a link points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The trace.
    pub(crate) trace_id: [u8; 16],
    /// The span.
    pub(crate) span_id: [u8; 8],
    /// W3C trace state, or empty.
    pub(crate) trace_state: &'a str,
    /// W3C trace flags.
    pub(crate) trace_flags: u8,
    /// Whether the context came from another process.
    pub(crate) is_remote: bool,
}

/// Writes one record: a span as a member of `ScopeSpans`. `guess` is about how many bytes
/// `fill` will write; it costs time only if it is far off.
#[inline]
pub(crate) fn span(out: &mut Cursor<'_>, guess: usize, fill: impl FnOnce(&mut Cursor<'_>)) {
    message(out, RECORD, guess, fill);
}

/// Writes the fields up to the end time.
#[inline]
pub(crate) fn head(out: &mut Cursor<'_>, head: &Head<'_>) {
    out.put_row(([TRACE_ID, 16], head.trace_id, [SPAN_ID, 8], head.span_id));
    put_str_unless_empty(out, TRACE_STATE, head.trace_state);
    // A root has no parent, rather than a parent of zeros.
    if head.parent_span_id != [0; 8] {
        out.put_row(([PARENT_SPAN_ID, 8], head.parent_span_id));
    }
    let name = head.name.as_bytes();
    let has_times = head.start_unix_nano != 0 && head.end_unix_nano != 0;
    if !has_times || name.is_empty() || name.len() >= 1 << 7 {
        return put_unusual(out, head);
    }
    let start = ([START_TIME], head.start_unix_nano.to_le_bytes());
    let end = ([END_TIME], head.end_unix_nano.to_le_bytes());
    out.put_row(([NAME, name.len() as u8], name, [KIND, head.kind], start, end));
}

/// The fields from the name on, each for itself.
#[cold]
fn put_unusual(out: &mut Cursor<'_>, head: &Head<'_>) {
    put_str_unless_empty(out, NAME, head.name);
    out.put_array([KIND, head.kind]);
    put_fixed64_unless_zero(out, START_TIME, head.start_unix_nano);
    put_fixed64_unless_zero(out, END_TIME, head.end_unix_nano);
}

/// Writes how many attributes were dropped.
#[inline]
pub(crate) fn dropped_attributes(out: &mut Cursor<'_>, count: u32) {
    put_uint_unless_zero(out, DROPPED_ATTRIBUTES, count.into());
}

/// Writes one event; `attributes` writes its attributes under [`EVENT_ATTRIBUTES`], in about
/// `guess` bytes, and says how many it dropped besides those that were before.
#[inline]
pub(crate) fn event(
    out: &mut Cursor<'_>,
    unix_nano: u64,
    name: &str,
    dropped_attributes: u32,
    guess: usize,
    attributes: impl FnOnce(&mut Cursor<'_>) -> u32,
) {
    message(out, EVENT, guess + EVENT_LEN + name.len(), |out| {
        put_fixed64_unless_zero(out, EVENT_TIME, unix_nano);
        put_str_unless_empty(out, EVENT_NAME, name);
        let dropped = attributes(out).saturating_add(dropped_attributes);
        put_uint_unless_zero(out, EVENT_DROPPED_ATTRIBUTES, dropped.into());
    });
}

/// Writes how many events were dropped.
#[inline]
pub(crate) fn dropped_events(out: &mut Cursor<'_>, count: u32) {
    put_uint_unless_zero(out, DROPPED_EVENTS, count.into());
}

/// Writes one link; `attributes` writes its attributes under [`LINK_ATTRIBUTES`], in about
/// `guess` bytes, and says how many it dropped besides those that were before.
pub(crate) fn link(
    out: &mut Cursor<'_>,
    target: &Target<'_>,
    dropped_attributes: u32,
    guess: usize,
    attributes: impl FnOnce(&mut Cursor<'_>) -> u32,
) {
    message(out, LINK, guess + LINK_LEN + target.trace_state.len(), |out| {
        out.put_row(([LINK_TRACE_ID, 16], target.trace_id, [LINK_SPAN_ID, 8], target.span_id));
        put_str_unless_empty(out, LINK_TRACE_STATE, target.trace_state);
        let dropped = attributes(out).saturating_add(dropped_attributes);
        put_uint_unless_zero(out, LINK_DROPPED_ATTRIBUTES, dropped.into());
        out.put_row(([LINK_FLAGS], flag_bits(target.trace_flags, target.is_remote).to_le_bytes()));
    });
}

/// Writes how many links were dropped.
#[inline]
pub(crate) fn dropped_links(out: &mut Cursor<'_>, count: u32) {
    put_uint_unless_zero(out, DROPPED_LINKS, count.into());
}

/// Writes the status Ok. (Unset is the absence of a status.)
pub(crate) fn status_ok(out: &mut Cursor<'_>) {
    out.put_array([STATUS, 2, STATUS_CODE, fields::status_code::OK]);
}

/// Writes the status Error.
pub(crate) fn status_error(out: &mut Cursor<'_>, description: &str) {
    let message_len = if description.is_empty() { 0 } else { field_len(description.len()) };
    put_len(out, STATUS, message_len + 2);
    put_str_unless_empty(out, STATUS_MESSAGE, description);
    out.put_array([STATUS_CODE, fields::status_code::ERROR]);
}

/// Writes the flags, which end the span.
#[inline]
pub(crate) fn flags(out: &mut Cursor<'_>, trace_flags: u8, parent_is_remote: bool) {
    let [first, second] = FLAGS;
    let [a, b, c, d] = flag_bits(trace_flags, parent_is_remote).to_le_bytes();
    out.put_array([first, second, a, b, c, d]);
}

/// The low byte is W3C's; two more bits say that it is known whether the context (the parent's,
/// or the linked one) is remote, and whether it is (trace.proto, `SpanFlags`).
#[inline]
fn flag_bits(trace_flags: u8, is_remote: bool) -> u32 {
    let remote = if is_remote { fields::span_flags::CONTEXT_IS_REMOTE } else { 0 };
    u32::from(trace_flags) | fields::span_flags::CONTEXT_HAS_IS_REMOTE | remote
}

/// The key of a span's attributes.
pub(crate) const ATTRIBUTES: u8 = key(fields::span::ATTRIBUTES, Wire::Len);
/// The key of an event's attributes.
pub(crate) const EVENT_ATTRIBUTES: u8 = key(fields::event::ATTRIBUTES, Wire::Len);
/// The key of a link's attributes.
pub(crate) const LINK_ATTRIBUTES: u8 = key(fields::link::ATTRIBUTES, Wire::Len);

/// Bytes of a span with a parent, without its name and whatever else varies.
pub(crate) const SPAN_LEN: usize = 28 + 10 + 2 + 2 + 18 + 6;
/// Bytes of an event without its name and attributes.
const EVENT_LEN: usize = 9 + 2;
/// Bytes of a link without trace state and attributes.
const LINK_LEN: usize = 28 + 5;

const RECORD: u8 = key(scope_records::RECORDS, Wire::Len);
const TRACE_ID: u8 = key(fields::span::TRACE_ID, Wire::Len);
const SPAN_ID: u8 = key(fields::span::SPAN_ID, Wire::Len);
const TRACE_STATE: u8 = key(fields::span::TRACE_STATE, Wire::Len);
const PARENT_SPAN_ID: u8 = key(fields::span::PARENT_SPAN_ID, Wire::Len);
const NAME: u8 = key(fields::span::NAME, Wire::Len);
const KIND: u8 = key(fields::span::KIND, Wire::Varint);
const START_TIME: u8 = key(fields::span::START_TIME_UNIX_NANO, Wire::Fixed64);
const END_TIME: u8 = key(fields::span::END_TIME_UNIX_NANO, Wire::Fixed64);
const DROPPED_ATTRIBUTES: u8 = key(fields::span::DROPPED_ATTRIBUTES_COUNT, Wire::Varint);
const EVENT: u8 = key(fields::span::EVENTS, Wire::Len);
const DROPPED_EVENTS: u8 = key(fields::span::DROPPED_EVENTS_COUNT, Wire::Varint);
const LINK: u8 = key(fields::span::LINKS, Wire::Len);
const DROPPED_LINKS: u8 = key(fields::span::DROPPED_LINKS_COUNT, Wire::Varint);
const STATUS: u8 = key(fields::span::STATUS, Wire::Len);
const FLAGS: [u8; 2] = wide_key(fields::span::FLAGS, Wire::Fixed32);
const EVENT_TIME: u8 = key(fields::event::TIME_UNIX_NANO, Wire::Fixed64);
const EVENT_NAME: u8 = key(fields::event::NAME, Wire::Len);
const EVENT_DROPPED_ATTRIBUTES: u8 = key(fields::event::DROPPED_ATTRIBUTES_COUNT, Wire::Varint);
const LINK_TRACE_ID: u8 = key(fields::link::TRACE_ID, Wire::Len);
const LINK_SPAN_ID: u8 = key(fields::link::SPAN_ID, Wire::Len);
const LINK_TRACE_STATE: u8 = key(fields::link::TRACE_STATE, Wire::Len);
const LINK_DROPPED_ATTRIBUTES: u8 = key(fields::link::DROPPED_ATTRIBUTES_COUNT, Wire::Varint);
const LINK_FLAGS: u8 = key(fields::link::FLAGS, Wire::Fixed32);
const STATUS_MESSAGE: u8 = key(fields::status::MESSAGE, Wire::Len);
const STATUS_CODE: u8 = key(fields::status::CODE, Wire::Varint);
