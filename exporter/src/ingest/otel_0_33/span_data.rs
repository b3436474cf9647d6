//! A finished span of opentelemetry_sdk 0.33.

use std::borrow::Cow;

use opentelemetry::trace::{Event, Link, SpanContext, SpanKind, Status, TraceState};
use opentelemetry_sdk::trace::SpanData;
use spanwire_runtime::buf::Cursor;

use super::attributes::{guess_len, put_attributes};
use super::clock::unix_nano;
use crate::encode::limits::{AttributeLimits, Limits};
use crate::encode::traces;
use crate::wire::fields::span_kind;

/// Writes a span as one record: `12 <length> Span`, complete but for its scope.
///
/// If it does not fit, the cursor is overflowed and what it holds is of no use.
pub(crate) fn encode_span(out: &mut Cursor<'_>, span: &SpanData, limits: &Limits) {
    traces::span(out, guess_span_len(span), |out| {
        put_head(out, span);
        let dropped = put_attributes(out, traces::ATTRIBUTES, &span.attributes, &limits.span);
        traces::dropped_attributes(out, dropped.saturating_add(span.dropped_attributes_count));
        span.events.events.iter().for_each(|event| put_event(out, event, &limits.event));
        traces::dropped_events(out, span.events.dropped_count);
        span.links.links.iter().for_each(|link| put_link(out, link, &limits.link));
        traces::dropped_links(out, span.links.dropped_count);
        put_status(out, &span.status);
        traces::flags(out, span.span_context.trace_flags().to_u8(), span.parent_span_is_remote);
    });
}

#[inline]
fn put_head(out: &mut Cursor<'_>, span: &SpanData) {
    let head = traces::Head {
        trace_id: span.span_context.trace_id().to_bytes(),
        span_id: span.span_context.span_id().to_bytes(),
        trace_state: &trace_state(&span.span_context),
        parent_span_id: span.parent_span_id.to_bytes(),
        name: &span.name,
        kind: kind(&span.span_kind),
        start_unix_nano: unix_nano(span.start_time),
        end_unix_nano: unix_nano(span.end_time),
    };
    traces::head(out, &head);
}

fn put_event(out: &mut Cursor<'_>, event: &Event, limits: &AttributeLimits) {
    let time = unix_nano(event.timestamp);
    let guess = guess_len(&event.attributes);
    traces::event(out, time, &event.name, event.dropped_attributes_count, guess, |out| {
        put_attributes(out, traces::EVENT_ATTRIBUTES, &event.attributes, limits)
    });
}

fn put_link(out: &mut Cursor<'_>, link: &Link, limits: &AttributeLimits) {
    let context = &link.span_context;
    let target = traces::Target {
        trace_id: context.trace_id().to_bytes(),
        span_id: context.span_id().to_bytes(),
        trace_state: &trace_state(context),
        trace_flags: context.trace_flags().to_u8(),
        is_remote: context.is_remote(),
    };
    let guess = guess_len(&link.attributes);
    traces::link(out, &target, link.dropped_attributes_count, guess, |out| {
        put_attributes(out, traces::LINK_ATTRIBUTES, &link.attributes, limits)
    });
}

fn put_status(out: &mut Cursor<'_>, status: &Status) {
    match status {
        Status::Unset => {}
        Status::Ok => traces::status_ok(out),
        Status::Error { description } => traces::status_error(out, description),
    }
}

/// The API hands a trace state out as a new string only; most spans have none.
fn trace_state(context: &SpanContext) -> Cow<'static, str> {
    let state = context.trace_state();
    if *state == TraceState::NONE { Cow::Borrowed("") } else { Cow::Owned(state.header()) }
}

fn kind(kind: &SpanKind) -> u8 {
    match kind {
        SpanKind::Internal => span_kind::INTERNAL,
        SpanKind::Server => span_kind::SERVER,
        SpanKind::Client => span_kind::CLIENT,
        SpanKind::Producer => span_kind::PRODUCER,
        SpanKind::Consumer => span_kind::CONSUMER,
    }
}

fn guess_span_len(span: &SpanData) -> usize {
    let parts = span.events.len() + span.links.len();
    traces::SPAN_LEN + span.name.len() + guess_len(&span.attributes) + parts * PART_LEN
}

/// Bytes of a typical event or link.
const PART_LEN: usize = 64;
