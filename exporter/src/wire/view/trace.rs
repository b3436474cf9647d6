//! Spans.

use super::super::fields::{event, link, span, status};
use super::super::read::Malformed;
use super::common::Attributes;
use super::message::Message;
use super::repeated::Repeated;
use super::{getters, lists, view};

view! {
    /// A span.
    ///
    /// # Examples
    ///
    /// ```
    /// use spanwire::wire::Span;
    ///
    /// // Field 5 is the name, field 6 the kind, field 15 the status with its code in field 3.
    /// let span = Span::new(b"\x2a\x03GET\x30\x02\x7a\x02\x18\x02");
    /// assert_eq!((span.name()?, span.kind()?), ("GET", 2));
    /// assert_eq!(span.status()?.map(|status| status.code()), Some(Ok(2)));
    /// assert_eq!(span.trace_id()?, []);
    /// # Ok::<(), spanwire::wire::Malformed>(())
    /// ```
    Span
}

impl<'a> Span<'a> {
    /// Views a span, without the key and the length that it has in a run of records.
    pub fn new(span: &'a [u8]) -> Self {
        Self::over(Message::outermost(span))
    }

    getters! {
        /// `trace_id`: 16 bytes; but what stands there is what the sender wrote.
        trace_id: bytes -> &'a [u8] = span::TRACE_ID;
        /// `span_id`: 8 bytes, with the same reservation.
        span_id: bytes -> &'a [u8] = span::SPAN_ID;
        /// `trace_state`
        trace_state: text -> &'a str = span::TRACE_STATE;
        /// `parent_span_id`: empty for the root of a trace.
        parent_span_id: bytes -> &'a [u8] = span::PARENT_SPAN_ID;
        /// `flags`
        flags: fixed32 -> u32 = span::FLAGS;
        /// `name`
        name: text -> &'a str = span::NAME;
        /// `kind`: a `SpanKind`; internal is 1, server 2, client 3, producer 4, consumer 5.
        kind: int32 -> i32 = span::KIND;
        /// `start_time_unix_nano`
        start_time_unix_nano: fixed64 -> u64 = span::START_TIME_UNIX_NANO;
        /// `end_time_unix_nano`
        end_time_unix_nano: fixed64 -> u64 = span::END_TIME_UNIX_NANO;
        /// `dropped_attributes_count`
        dropped_attributes_count: uint32 -> u32 = span::DROPPED_ATTRIBUTES_COUNT;
        /// `dropped_events_count`
        dropped_events_count: uint32 -> u32 = span::DROPPED_EVENTS_COUNT;
        /// `dropped_links_count`
        dropped_links_count: uint32 -> u32 = span::DROPPED_LINKS_COUNT;
    }

    lists! {
        /// `events`
        events -> Event = span::EVENTS;
        /// `links`
        links -> Link = span::LINKS;
    }

    /// `attributes`
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, span::ATTRIBUTES)
    }

    /// `status`, if there is one.
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn status(&self) -> Result<Option<Status<'a>>, Malformed> {
        Ok(self.message.message(span::STATUS)?.map(Status::over))
    }
}

view! {
    /// An event of a span.
    Event
}

impl<'a> Event<'a> {
    getters! {
        /// `time_unix_nano`
        time_unix_nano: fixed64 -> u64 = event::TIME_UNIX_NANO;
        /// `name`
        name: text -> &'a str = event::NAME;
        /// `dropped_attributes_count`
        dropped_attributes_count: uint32 -> u32 = event::DROPPED_ATTRIBUTES_COUNT;
    }

    /// `attributes`
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, event::ATTRIBUTES)
    }
}

view! {
    /// A link of a span to another.
    Link
}

impl<'a> Link<'a> {
    getters! {
        /// `trace_id`
        trace_id: bytes -> &'a [u8] = link::TRACE_ID;
        /// `span_id`
        span_id: bytes -> &'a [u8] = link::SPAN_ID;
        /// `trace_state`
        trace_state: text -> &'a str = link::TRACE_STATE;
        /// `dropped_attributes_count`
        dropped_attributes_count: uint32 -> u32 = link::DROPPED_ATTRIBUTES_COUNT;
        /// `flags`
        flags: fixed32 -> u32 = link::FLAGS;
    }

    /// `attributes`
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, link::ATTRIBUTES)
    }
}

view! {
    /// How a span ended.
    Status
}

impl<'a> Status<'a> {
    getters! {
        /// `message`
        message: text -> &'a str = status::MESSAGE;
        /// `code`: a `StatusCode`; unset is 0, ok 1, error 2.
        code: int32 -> i32 = status::CODE;
    }
}
