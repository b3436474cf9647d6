//! The protobuf wire format of OTLP: encoded telemetry is read without decoding it.
//!
//! A view, such as [`Span`], is a few words that point into the bytes. Its methods walk the fields
//! of its message and nothing else: they allocate nothing, copy nothing, and do not panic,
//! whatever the bytes are. A field that is absent has its default, as proto3 wants it; a field
//! that is malformed is an error, and the two are never confused. In detail:
//!
//! - Of a field that occurs several times, and of the members of a oneof, the last counts.
//! - The occurrences of a message field are merged: a view shows the fields of all of them. It can
//!   do so if they are in the same message and that is not split itself; if not, which no encoder
//!   is known to write, the answer is [`Malformed::Scattered`].
//! - Numbers of a repeated field may be packed, in several segments, or not packed at all.
//! - What is unknown is skipped, groups too. What is for profiles only, `string_value_strindex` and
//!   `key_strindex`, is treated as absent, as its description demands.
//! - Every length is checked against the message around it. Varints may be padded up to ten bytes,
//!   but keys have five at most. Messages and groups nest to [`DEPTH_MAX`].
//! - Strings must be UTF-8. They are checked when they are read.
//! - A field of another wire type than OTLP's is [`Malformed::Type`], where some parsers would take
//!   it for an unknown field.
//!
//! [`Request`] begins a walk over a whole request, [`Records`] over a run of records, and
//! [`Fields`] over any message at all.
// What encoders write: lengths are canonical (the shortest varint), and fields stand in the order
// of their numbers, so the bytes are those of other canonical encoders such as prost. The numbers
// are in `fields`; `write` puts varints, keys and messages through the runtime's cursor; `response`
// reads what a receiver answers.

#[allow(dead_code, reason = "a table of the protocol is whole, whoever needs which part of it")]
pub(crate) mod fields;
pub(crate) mod read;
pub(crate) mod response;
mod view;
#[cfg_attr(
    not(feature = "otel_0_33"),
    allow(dead_code, reason = "a writer is whole; only encoders need all of it")
)]
pub(crate) mod write;

pub use self::read::{DEPTH_MAX, Fields, Malformed, Records, Value};
pub use self::view::{
    AnyValue, Array, Attributes, Buckets, Event, Exemplar, ExponentialHistogram,
    ExponentialHistogramPoint, Gauge, Histogram, HistogramPoint, Link, LogRecord, Metric,
    MetricData, Number, NumberPoint, Packed, Quantile, Repeated, Request, Resource,
    ResourceRecords, Scope, ScopeRecords, Span, Status, Sum, Summary, SummaryPoint,
};
