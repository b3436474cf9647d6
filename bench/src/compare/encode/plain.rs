//! Spans from plain data: what a program without an SDK has.

use opentelemetry::Value as SdkValue;
use opentelemetry_sdk::trace::SpanData;
use spanwire::{
    direct::{Attribute, Event, Key, Kind, Span, Value},
    internals::encode_plain_span,
    key,
};

use super::{
    body::{Body, Chunk, verify},
    inputs::spans,
    records::{HOT_RECORDS, encode_by, encoded, turns},
};
use crate::shape::Shape;

/// The same spans as those of the SDK, with the same bytes.
pub(super) fn hot(shape: Shape) -> Result<Body, String> {
    let sources = spans(shape)(HOT_RECORDS);
    let encoded = encoded(&sources)?;
    let plain = sources.into_iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    let mut chunk = Chunk::new();
    for (span, expected) in plain.iter().zip(&encoded) {
        encode_by(&mut chunk, |out| encode_plain_span(out, span));
        verify(&chunk.take(), expected)?;
    }
    let bytes = encoded.iter().map(Vec::len).sum();
    Ok(turns(bytes, move || {
        for span in &plain {
            encode_by(&mut chunk, |out| encode_plain_span(out, span));
        }
    }))
}

/// Borrows from memory that lives as long as the process that measures.
fn plain(source: SpanData) -> Result<Span<'static>, String> {
    let source: &'static SpanData = Box::leak(Box::new(source));
    let context = &source.span_context;
    let ids = (context.trace_id().to_bytes(), context.span_id().to_bytes());
    let mut span = Span::new(ids.0, ids.1, &source.name);
    span.parent_span_id = source.parent_span_id.to_bytes();
    span.parent_is_remote = source.parent_span_is_remote;
    span.trace_flags = context.trace_flags().to_u8();
    span.kind = Kind::Server;
    span.start_unix_nano = unix_nano(source.start_time);
    span.end_unix_nano = unix_nano(source.end_time);
    span.attributes = attributes(&source.attributes)?;
    span.events = source.events.iter().map(event).collect::<Result<Vec<_>, _>>()?.leak();
    Ok(span)
}

fn event(source: &'static opentelemetry::trace::Event) -> Result<Event<'static>, String> {
    let mut event = Event::default();
    event.unix_nano = unix_nano(source.timestamp);
    event.name = &source.name;
    event.attributes = attributes(&source.attributes)?;
    Ok(event)
}

fn attributes(
    sources: &'static [opentelemetry::KeyValue],
) -> Result<&'static [Attribute<'static>], String> {
    let attribute = |source: &'static opentelemetry::KeyValue| {
        let name = source.key.as_str();
        let key = KEYS.iter().find(|key| key.name() == name);
        let key = key.ok_or_else(|| format!("{name:?} is not encoded beforehand"))?;
        Ok::<_, String>(key.value(value(&source.value)?))
    };
    Ok(sources.iter().map(attribute).collect::<Result<Vec<_>, _>>()?.leak())
}

fn value(source: &'static SdkValue) -> Result<Value<'static>, String> {
    Ok(match source {
        SdkValue::String(text) => Value::Str(text.as_str()),
        SdkValue::I64(number) => Value::Int(*number),
        SdkValue::F64(number) => Value::Double(*number),
        SdkValue::Bool(truth) => Value::Bool(*truth),
        other => return Err(format!("no shape has the value {other:?}")),
    })
}

fn unix_nano(time: std::time::SystemTime) -> u64 {
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The keys of the typical span and of the specification's.
static KEYS: [Key; 22] = [
    key!("http.request.method"),
    key!("http.route"),
    key!("url.path"),
    key!("enduser.id"),
    key!("server.address"),
    key!("http.response.status_code"),
    key!("http.response.body.size"),
    key!("server.port"),
    key!("cache.hit"),
    key!("app.discount.ratio"),
    key!("cache.key"),
    key!("cache.shard"),
    key!("benchmark.attribute0"),
    key!("benchmark.attribute1"),
    key!("benchmark.attribute2"),
    key!("benchmark.attribute3"),
    key!("benchmark.attribute4"),
    key!("benchmark.attribute5"),
    key!("benchmark.attribute6"),
    key!("benchmark.attribute7"),
    key!("benchmark.attribute8"),
    key!("benchmark.attribute9"),
];
