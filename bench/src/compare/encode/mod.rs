//! `spanwire compare encode`: what it takes to make bytes of telemetry, beside others.
//!
//! In scope: one thread, from what the caller has to bytes in memory. Out of scope: what the queue
//! costs ([`super::pipe`]), and what the SDK and the network cost (`compare export`).
//!
//! A [`Body`] is one row by one peer: inputs, and a lap over them that is timed. Before it is, the
//! bytes are compared with the oracle's (opentelemetry-proto and prost): a row whose bytes differ
//! fails. The criterion benches run the same bodies.

pub use self::{
    body::Body,
    row::{Peer, Row},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, trace::v1::ResourceSpans,
};
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;

use self::{
    inputs::{Points, spans},
    records::Record as _,
};
use crate::shape::Shape;

mod body;
mod inputs;
mod plain;
mod points;
mod reading;
mod records;
pub mod row;

/// The options of `spanwire compare encode`.
pub type Options = super::rows::Options<Row>;
/// The options of the hidden subcommand.
pub type ChildOptions = super::rows::ChildOptions<Row>;

/// The body of `row` by `peer`, checked.
///
/// # Errors
///
/// When the bytes are not the oracle's, or the peer is not compiled in; the text tells.
pub fn body(row: Row, peer: Peer) -> Result<Body, String> {
    match row {
        Row::SpanBare if peer == Peer::SpanwirePlain => plain::hot(Shape::Bare),
        Row::SpanBare => records::hot(spans(Shape::Bare), peer),
        Row::SpanTypical if peer == Peer::SpanwirePlain => plain::hot(Shape::Typical),
        Row::SpanTypical => records::hot(spans(Shape::Typical), peer),
        Row::SpanHeavy => records::hot(spans(Shape::Heavy), peer),
        Row::SpanSpec if peer == Peer::SpanwirePlain => plain::hot(Shape::Spec),
        Row::SpanSpec => records::hot(spans(Shape::Spec), peer),
        Row::SpanTypicalCold => records::cold(spans(Shape::Typical), peer),
        Row::JsonSpan => reading::json(peer),
        Row::WalkFound | Row::WalkAbsent | Row::WalkAll => reading::walk(row, peer),
        Row::PointsRebuilt => points::rebuilt(Points::Numbers, peer),
        Row::PointsVerified => points::verified(Points::Numbers),
        Row::PointsPatched => points::patched(Points::Numbers),
        Row::HistogramsRebuilt => points::rebuilt(Points::Histograms, peer),
        Row::HistogramsVerified => points::verified(Points::Histograms),
        Row::HistogramsPatched => points::patched(Points::Histograms),
        Row::Log5 => records::hot(inputs::logs(Shape::Typical), peer),
    }
}

/// A request of so many typical spans, by prost.
pub fn request(count: usize) -> Vec<u8> {
    let scope_spans = vec![SpanData::transform(spans(Shape::Typical)(count))];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}
