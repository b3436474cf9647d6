//! Spans.

use opentelemetry::InstrumentationScope;
use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::Decisions;

/// Any span that the API lets one make.
pub fn arbitrary(decisions: &mut Decisions<'_>) -> SpanData {
    let mut events = SpanEvents::default();
    events.events = (0..decisions.below(4)).map(|_| event(decisions)).collect();
    events.dropped_count = decisions.number() as u32;
    let mut links = SpanLinks::default();
    links.links = (0..decisions.below(4)).map(|_| link(decisions)).collect();
    links.dropped_count = decisions.number() as u32;
    SpanData {
        span_context: context(decisions),
        parent_span_id: span_id(decisions),
        parent_span_is_remote: decisions.is_true(),
        span_kind: kind(decisions),
        name: decisions.text().into(),
        start_time: decisions.time(),
        end_time: decisions.time(),
        attributes: decisions.attributes(20),
        dropped_attributes_count: decisions.number() as u32,
        events,
        links,
        status: status(decisions),
        instrumentation_scope: InstrumentationScope::default(),
    }
}

fn event(decisions: &mut Decisions<'_>) -> Event {
    let (name, time) = (decisions.text(), decisions.time());
    Event::new(name, time, decisions.attributes(5), decisions.number() as u32)
}

fn link(decisions: &mut Decisions<'_>) -> Link {
    Link::new(context(decisions), decisions.attributes(5), decisions.number() as u32)
}

fn context(decisions: &mut Decisions<'_>) -> SpanContext {
    let trace =
        TraceId::from(u128::from(decisions.number()) << 64 | u128::from(decisions.number()));
    let state = match decisions.below(3) {
        0 => TraceState::from_key_value([("vendor", "a=1;b=2"), ("rojo", "00f067aa")]),
        _ => Ok(TraceState::default()),
    };
    let (span, flags) = (span_id(decisions), TraceFlags::new(decisions.byte()));
    SpanContext::new(trace, span, flags, decisions.is_true(), state.unwrap_or_default())
}

fn span_id(decisions: &mut Decisions<'_>) -> SpanId {
    SpanId::from(decisions.number())
}

fn kind(decisions: &mut Decisions<'_>) -> SpanKind {
    match decisions.below(5) {
        0 => SpanKind::Internal,
        1 => SpanKind::Server,
        2 => SpanKind::Client,
        3 => SpanKind::Producer,
        _ => SpanKind::Consumer,
    }
}

fn status(decisions: &mut Decisions<'_>) -> Status {
    match decisions.below(3) {
        0 => Status::Unset,
        1 => Status::Ok,
        _ => Status::error(decisions.text()),
    }
}
