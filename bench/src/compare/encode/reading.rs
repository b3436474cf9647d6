//! What reads encoded telemetry: the walker, and OTLP/JSON made by it.

use std::hint::black_box;

use opentelemetry_proto::tonic::{common::v1::any_value::Value, trace::v1 as proto};
use opentelemetry_sdk::trace::SpanData;
use prost::Message as _;
use serde_json::Value as Json;
use spanwire::{Signal, internals::json_transcode, wire::Span};

use super::{
    body::Body,
    inputs::spans,
    records::{HOT_RECORDS, HOT_TURNS, Record as _},
    row::{Peer, Row},
};
use crate::shape::Shape;

/// A request of a few typical spans to JSON: for each span.
pub(super) fn json(peer: Peer) -> Result<Body, String> {
    let request = super::request(JSON_SPANS);
    let mut out = Vec::new();
    json_transcode(Signal::Traces, &request, &mut out).map_err(|error| error.to_string())?;
    has_all_spans(&out)?;
    let bytes = out.len();
    if peer == Peer::Serde {
        return serde(&request, bytes);
    }
    Ok(Body::new(JSON_SPANS, bytes, move || {
        out.clear();
        json_transcode(Signal::Traces, &request, &mut out).expect("it was transcoded before");
    }))
}

/// By serde, from the structs of prost.
fn serde(request: &[u8], bytes: usize) -> Result<Body, String> {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

    let request = ExportTraceServiceRequest::decode(request).map_err(|error| error.to_string())?;
    let mut out = Vec::with_capacity(2 * bytes);
    Ok(Body::new(JSON_SPANS, bytes, move || {
        out.clear();
        serde_json::to_writer(&mut out, &request).expect("a vector takes it all");
    }))
}

fn has_all_spans(json: &[u8]) -> Result<(), String> {
    let json: Json = serde_json::from_slice(json).map_err(|error| format!("no JSON: {error}"))?;
    let spans = &json["resourceSpans"][0]["scopeSpans"][0]["spans"];
    if spans.as_array().is_some_and(|spans| spans.len() == JSON_SPANS) {
        Ok(())
    } else {
        Err(format!("the JSON lacks spans: {json}"))
    }
}

/// Attributes of a typical span that is encoded.
pub(super) fn walk(row: Row, peer: Peer) -> Result<Body, String> {
    let scope = SpanData::oracle(&spans(Shape::Typical)(HOT_RECORDS));
    let spans: Vec<_> = scope.spans.iter().map(proto::Span::encode_to_vec).collect();
    let bytes = spans.iter().map(Vec::len).sum::<usize>() * HOT_TURNS;
    for span in &spans {
        let (ours, oracle) = (look(row, span), look_decoded(row, span));
        if ours != oracle {
            return Err(format!("the walker says {ours:?}, prost says {oracle:?}"));
        }
    }
    let look = if peer == Peer::Prost { look_decoded } else { look };
    Ok(Body::new(HOT_RECORDS * HOT_TURNS, bytes, move || {
        for _ in 0..HOT_TURNS {
            for span in &spans {
                black_box(look(row, black_box(span)));
            }
        }
    }))
}

/// What the walker finds: a value, or how many attributes there are.
#[inline]
fn look(row: Row, span: &[u8]) -> Option<i64> {
    let attributes = Span::new(span).attributes();
    match row {
        Row::WalkFound => attributes.get(SEVENTH).ok()??.as_i64(),
        Row::WalkAbsent => attributes.get(ABSENT).ok()??.as_i64(),
        _ => Some(attributes.map_while(Result::ok).map(|(key, _)| key.len() as i64).sum()),
    }
}

/// The same by decoding all of it.
fn look_decoded(row: Row, span: &[u8]) -> Option<i64> {
    let span = proto::Span::decode(span).ok()?;
    let find = |key: &str| span.attributes.iter().rfind(|attribute| attribute.key == key);
    let found = match row {
        Row::WalkFound => find(SEVENTH)?,
        Row::WalkAbsent => find(ABSENT)?,
        _ => return Some(span.attributes.iter().map(|pair| pair.key.len() as i64).sum()),
    };
    match found.value.as_ref()?.value.as_ref()? {
        Value::IntValue(number) => Some(*number),
        _ => None,
    }
}

/// The key of the seventh attribute of ten.
const SEVENTH: &str = "http.response.body.size";
/// As long as another one.
const ABSENT: &str = "http.request.body.length";
/// Spans of a request that becomes JSON.
const JSON_SPANS: usize = 64;
