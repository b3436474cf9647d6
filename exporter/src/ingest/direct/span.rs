//! A finished span as plain data.

use spanwire_runtime::buf::Cursor;

use super::attribute::{Attribute, guess_len, put_attributes};
use crate::encode::limits::{AttributeLimits, Limits};
use crate::encode::traces;
use crate::wire::fields::span_kind;

/// A finished span, borrowed from the program.
///
/// # Examples
///
/// ```
/// use spanwire::direct::{Attribute, Kind, Span, Status};
///
/// let attributes = [Attribute::new("http.route", "/cart")];
/// let mut span = Span::new([0x4b; 16], [0x07; 8], "GET /cart");
/// span.kind = Kind::Server;
/// span.start_unix_nano = 1_764_000_000_000_000_000;
/// span.end_unix_nano = span.start_unix_nano + 1_500_000;
/// span.attributes = &attributes;
/// span.status = Status::Error("the cart is locked");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Span<'a> {
    /// The trace, in the byte order of W3C Trace Context.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// W3C trace state, or empty.
    pub trace_state: &'a str,
    /// The span's parent; zeros for a root.
    pub parent_span_id: [u8; 8],
    /// Whether the parent is in another process.
    pub parent_is_remote: bool,
    /// W3C trace flags. They are exported only: a span goes out whether it says sampled or not.
    pub trace_flags: u8,
    /// What the span is called.
    pub name: &'a str,
    /// Its part in a call.
    pub kind: Kind,
    /// Start, in nanoseconds since 1970.
    pub start_unix_nano: u64,
    /// End, in nanoseconds since 1970.
    pub end_unix_nano: u64,
    /// Of equal keys the last one stays.
    pub attributes: &'a [Attribute<'a>],
    /// Attributes that the program left out itself.
    pub dropped_attributes: u32,
    /// What happened on the way.
    pub events: &'a [Event<'a>],
    /// Events that the program left out itself.
    pub dropped_events: u32,
    /// Other spans that it has to do with.
    pub links: &'a [Link<'a>],
    /// Links that the program left out itself.
    pub dropped_links: u32,
    /// How it ended.
    pub status: Status<'a>,
}

/// A span's part in a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Work inside of the program.
    #[default]
    Internal,
    /// It answers a request.
    Server,
    /// It makes a request and waits for the answer.
    Client,
    /// It sends a message.
    Producer,
    /// It takes a message.
    Consumer,
}

/// How a span ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status<'a> {
    /// Nobody said.
    #[default]
    Unset,
    /// The program says that it went well.
    Ok,
    /// It failed; why.
    Error(&'a str),
}

/// Something that happened while a span was open.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Event<'a> {
    /// When, in nanoseconds since 1970.
    pub unix_nano: u64,
    /// What.
    pub name: &'a str,
    /// Of equal keys the last one stays.
    pub attributes: &'a [Attribute<'a>],
    /// Attributes that the program left out itself.
    pub dropped_attributes: u32,
}

/// A span that another one has to do with.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Link<'a> {
    /// The trace of the other span.
    pub trace_id: [u8; 16],
    /// The other span.
    pub span_id: [u8; 8],
    /// Its W3C trace state, or empty.
    pub trace_state: &'a str,
    /// Its W3C trace flags.
    pub trace_flags: u8,
    /// Whether it is in another process.
    pub is_remote: bool,
    /// Of equal keys the last one stays.
    pub attributes: &'a [Attribute<'a>],
    /// Attributes that the program left out itself.
    pub dropped_attributes: u32,
}

impl<'a> Span<'a> {
    /// A root span without anything else; set the fields that it has.
    pub const fn new(trace_id: [u8; 16], span_id: [u8; 8], name: &'a str) -> Self {
        Self {
            trace_id,
            span_id,
            trace_state: "",
            parent_span_id: [0; 8],
            parent_is_remote: false,
            trace_flags: SAMPLED,
            name,
            kind: Kind::Internal,
            start_unix_nano: 0,
            end_unix_nano: 0,
            attributes: &[],
            dropped_attributes: 0,
            events: &[],
            dropped_events: 0,
            links: &[],
            dropped_links: 0,
            status: Status::Unset,
        }
    }
}

impl<'a> Event<'a> {
    /// An event.
    pub const fn new(unix_nano: u64, name: &'a str, attributes: &'a [Attribute<'a>]) -> Self {
        Self { unix_nano, name, attributes, dropped_attributes: 0 }
    }
}

impl<'a> Link<'a> {
    /// A link to a sampled span of this process.
    pub const fn new(
        trace_id: [u8; 16],
        span_id: [u8; 8],
        attributes: &'a [Attribute<'a>],
    ) -> Self {
        let trace_flags = SAMPLED;
        Self {
            trace_id,
            span_id,
            trace_state: "",
            trace_flags,
            is_remote: false,
            attributes,
            dropped_attributes: 0,
        }
    }
}

/// Writes a span as one record: `12 <length> Span`, complete but for its scope.
#[inline]
pub(crate) fn encode_span(out: &mut Cursor<'_>, span: &Span<'_>, limits: &Limits) {
    traces::span(out, guess_span_len(span), |out| {
        put_head(out, span);
        let dropped = put_attributes(out, traces::ATTRIBUTES, span.attributes, &limits.span);
        traces::dropped_attributes(out, dropped.saturating_add(span.dropped_attributes));
        span.events.iter().for_each(|event| put_event(out, event, &limits.event));
        traces::dropped_events(out, span.dropped_events);
        span.links.iter().for_each(|link| put_link(out, link, &limits.link));
        traces::dropped_links(out, span.dropped_links);
        match span.status {
            Status::Unset => {}
            Status::Ok => traces::status_ok(out),
            Status::Error(why) => traces::status_error(out, why),
        }
        traces::flags(out, span.trace_flags, span.parent_is_remote);
    });
}

#[inline]
fn put_head(out: &mut Cursor<'_>, span: &Span<'_>) {
    let head = traces::Head {
        trace_id: span.trace_id,
        span_id: span.span_id,
        trace_state: span.trace_state,
        parent_span_id: span.parent_span_id,
        name: span.name,
        kind: kind(span.kind),
        start_unix_nano: span.start_unix_nano,
        end_unix_nano: span.end_unix_nano,
    };
    traces::head(out, &head);
}

fn put_event(out: &mut Cursor<'_>, event: &Event<'_>, limits: &AttributeLimits) {
    let (guess, dropped) = (guess_len(event.attributes), event.dropped_attributes);
    traces::event(out, event.unix_nano, event.name, dropped, guess, |out| {
        put_attributes(out, traces::EVENT_ATTRIBUTES, event.attributes, limits)
    });
}

fn put_link(out: &mut Cursor<'_>, link: &Link<'_>, limits: &AttributeLimits) {
    let target = traces::Target {
        trace_id: link.trace_id,
        span_id: link.span_id,
        trace_state: link.trace_state,
        trace_flags: link.trace_flags,
        is_remote: link.is_remote,
    };
    let (guess, dropped) = (guess_len(link.attributes), link.dropped_attributes);
    traces::link(out, &target, dropped, guess, |out| {
        put_attributes(out, traces::LINK_ATTRIBUTES, link.attributes, limits)
    });
}

fn kind(kind: Kind) -> u8 {
    match kind {
        Kind::Internal => span_kind::INTERNAL,
        Kind::Server => span_kind::SERVER,
        Kind::Client => span_kind::CLIENT,
        Kind::Producer => span_kind::PRODUCER,
        Kind::Consumer => span_kind::CONSUMER,
    }
}

fn guess_span_len(span: &Span<'_>) -> usize {
    let parts = span.events.len() + span.links.len();
    traces::SPAN_LEN + span.name.len() + guess_len(span.attributes) + parts * PART_LEN
}

/// The one W3C trace flag that spans of an SDK have.
const SAMPLED: u8 = 1;
/// Bytes of a typical event or link.
const PART_LEN: usize = 64;
