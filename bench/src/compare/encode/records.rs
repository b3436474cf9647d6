//! Spans and log records, from what the SDK's processors are given.

use std::{collections::VecDeque, hint::black_box, slice};

use opentelemetry_proto::tonic::{
    logs::v1::{LogRecord, ScopeLogs},
    trace::v1::{ScopeSpans, Span},
};
use opentelemetry_sdk::{logs::SdkLogRecord, trace::SpanData};
use prost::Message;
use spanwire::internals::{encode_log_record, encode_span};
use spanwire_runtime::buf::Cursor;

use super::{
    body::{Body, Chunk, verify},
    row::Peer,
};

/// A record of the SDK.
pub(super) trait Record: Clone + 'static {
    /// What has many of them as its only field, and with it their tags and lengths.
    type Scope: Message + Default;

    /// As spanwire does.
    fn encode(&self, out: &mut Cursor<'_>);

    /// As opentelemetry-otlp does, up to prost.
    fn transform(records: Vec<Self>) -> Self::Scope;

    /// The same, but for where spanwire deviates on purpose (docs/decisions).
    fn oracle(records: &[Self]) -> Self::Scope;

    /// About the memory that it takes on the heap.
    fn memory(&self) -> usize;
}

/// A few records again and again, all of them in the nearest caches.
pub(super) fn hot<R: Record>(
    mut source: impl FnMut(usize) -> Vec<R>,
    peer: Peer,
) -> Result<Body, String> {
    let records = source(HOT_RECORDS);
    let encoded = encoded(&records)?;
    let bytes = encoded.iter().map(Vec::len).sum();
    let mut chunk = Chunk::new();
    Ok(match peer {
        Peer::Spanwire => turns(bytes, move || {
            for record in &records {
                encode(record, &mut chunk);
            }
        }),
        Peer::Prost => {
            let scope = R::oracle(&records);
            turns(bytes, move || scope.encode(chunk.with_room(bytes)).expect(VEC_GROWS))
        }
        Peer::Transform => Body::consuming(
            HOT_RECORDS,
            bytes,
            move || records.clone(),
            move |records| R::transform(records).encode(chunk.with_room(bytes)).expect(VEC_GROWS),
        ),
        Peer::SpanwirePlain | Peer::Serde => return Err(peer.takes_no_part()),
        Peer::Memcpy => turns(bytes, move || {
            for record in &encoded {
                chunk.with_room(record.len()).extend_from_slice(black_box(record));
            }
        }),
    })
}

/// A queue of records that is larger than the caches: the one that was made first is encoded next,
/// as an exporter's thread does that gets them from others.
pub(super) fn cold<R: Record>(
    mut source: impl FnMut(usize) -> Vec<R> + 'static,
    peer: Peer,
) -> Result<Body, String> {
    let few = source(HOT_RECORDS);
    let encoded = encoded(&few)?;
    let bytes = encoded.iter().map(Vec::len).sum::<usize>() * COLD_LAP / HOT_RECORDS;
    let records = source(COLD_BYTES / few[0].memory());
    let mut chunk = Chunk::new();
    Ok(match peer {
        Peer::Spanwire => {
            let mut next = ring(records);
            Body::new(COLD_LAP, bytes, move || {
                (0..COLD_LAP).for_each(|_| encode(next(), &mut chunk));
            })
        }
        Peer::Prost => {
            let mut next =
                ring(records.iter().map(|record| R::oracle(slice::from_ref(record))).collect());
            Body::new(COLD_LAP, bytes, move || {
                for _ in 0..COLD_LAP {
                    next().encode(chunk.with_room(ROOM)).expect(VEC_GROWS);
                }
            })
        }
        Peer::Transform => {
            let mut queue = VecDeque::from(records);
            Body::consuming(
                COLD_LAP,
                bytes,
                move || {
                    queue.extend(source(COLD_LAP));
                    queue.drain(..COLD_LAP).collect::<Vec<_>>()
                },
                move |records| {
                    R::transform(records).encode(chunk.with_room(bytes)).expect(VEC_GROWS)
                },
            )
        }
        Peer::SpanwirePlain | Peer::Serde => return Err(peer.takes_no_part()),
        Peer::Memcpy => {
            let copies = COLD_BYTES / encoded[0].len();
            let mut next = ring((0..copies).map(|n| encoded[n % HOT_RECORDS].clone()).collect());
            Body::new(COLD_LAP, bytes, move || {
                for _ in 0..COLD_LAP {
                    let record: &Vec<u8> = next();
                    chunk.with_room(record.len()).extend_from_slice(record);
                }
            })
        }
    })
}

impl Record for SpanData {
    type Scope = ScopeSpans;

    #[inline]
    fn encode(&self, out: &mut Cursor<'_>) {
        encode_span(out, self);
    }

    fn transform(records: Vec<Self>) -> ScopeSpans {
        let spans = records.into_iter().map(Span::from).collect();
        ScopeSpans { spans, ..ScopeSpans::default() }
    }

    /// Without an unset status.
    fn oracle(records: &[Self]) -> ScopeSpans {
        let mut scope = Self::transform(records.to_vec());
        for span in &mut scope.spans {
            span.status = span.status.take().filter(|status| *status != Default::default());
        }
        scope
    }

    fn memory(&self) -> usize {
        let events = self.events.iter();
        let of_events = events.map(|event| event.attributes.len()).sum::<usize>();
        let attributes = self.attributes.len() + of_events;
        size_of::<Self>() + attributes * (size_of::<opentelemetry::KeyValue>() + STRING_BYTES)
    }
}

impl Record for SdkLogRecord {
    type Scope = ScopeLogs;

    #[inline]
    fn encode(&self, out: &mut Cursor<'_>) {
        encode_log_record(out, self);
    }

    fn transform(records: Vec<Self>) -> ScopeLogs {
        let log_records = records.iter().map(LogRecord::from).collect();
        ScopeLogs { log_records, ..ScopeLogs::default() }
    }

    fn oracle(records: &[Self]) -> ScopeLogs {
        Self::transform(records.to_vec())
    }

    fn memory(&self) -> usize {
        size_of::<Self>()
    }
}

#[inline]
fn encode(record: &impl Record, chunk: &mut Chunk) {
    encode_by(chunk, |out| record.encode(out));
}

#[inline]
pub(super) fn encode_by(chunk: &mut Chunk, encode: impl FnOnce(&mut Cursor<'_>)) {
    let written = Cursor::append_to(chunk.with_room(ROOM), ROOM, encode);
    written.expect("no shape needs more room");
}

/// Each record as spanwire writes it, if that is what prost writes.
pub(super) fn encoded<R: Record>(records: &[R]) -> Result<Vec<Vec<u8>>, String> {
    let encoded = |record: &R| {
        let mut chunk = Chunk::new();
        encode(record, &mut chunk);
        let encoded = chunk.take();
        verify(&encoded, &R::oracle(slice::from_ref(record)).encode_to_vec())?;
        Ok(encoded)
    };
    records.iter().map(encoded).collect()
}

/// Several turns over the inputs, of so many bytes each, make a lap that is long beside reading the
/// clock.
pub(super) fn turns(bytes: usize, mut turn: impl FnMut() + 'static) -> Body {
    let run = move || (0..HOT_TURNS).for_each(|_| turn());
    Body::new(HOT_RECORDS * HOT_TURNS, bytes * HOT_TURNS, run)
}

/// One after the other, and then from the first on.
fn ring<T>(items: Vec<T>) -> impl FnMut() -> &'static T
where
    T: 'static,
{
    // Lives as long as the process that measures it.
    let items: &'static [T] = items.leak();
    let mut next = items.iter().cycle();
    move || next.next().expect("a cycle over something")
}

/// Few enough for the nearest cache.
pub(super) const HOT_RECORDS: usize = 16;
pub(super) const HOT_TURNS: usize = 16;
/// Memory of the records that are not in a cache: many times the 1 MiB of the processors that this
/// was made on, and more than a share of their last cache.
const COLD_BYTES: usize = 40 << 20;
const COLD_LAP: usize = 256;
/// About what a string of an attribute takes on the heap.
const STRING_BYTES: usize = 16;
/// More than a record of any shape needs.
const ROOM: usize = 8 << 10;
const VEC_GROWS: &str = "a vector has room for all";
