//! Makes of an encoded request the body that is sent: JSON if the protocol asks for it, then
//! compressed if that pays. Once a request, before its attempts.
//!
//! ```text
//! protobuf ──► [JSON] ──► shorter than compression_bytes_min, or refused before ──► as it is
//!                     └─► compressed, 64 KiB at a time ──┬─ smaller ──────────────► compressed
//!                                                        └─ not smaller, failed ──► as it is
//! ```

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use spanwire_runtime::{spawn, yield_now};

use crate::compress::{CompressError, Compressor};
use crate::encode::json;
use crate::model::{Encoding, Failure, Payload, Phase, Protocol, Signal};
use crate::pipeline::carrier::{Collector, Target};

/// How the bodies for a collector are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coding {
    /// How bodies are compressed; none is not at all.
    pub(crate) compression: Option<Plan>,
    /// Shorter bodies are not compressed.
    pub(crate) compression_bytes_min: usize,
    /// Longer bodies are not sent, compressed or not.
    pub(crate) request_bytes_max: usize,
}

/// A compression and how hard it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) encoding: Encoding,
    pub(crate) level: u8,
}

/// Makes the bodies of one destination. Its lanes share it, so that one of them learns for all
/// what the peer refuses.
#[derive(Debug)]
pub(crate) struct Codec {
    coding: Coding,
    /// The signal whose requests become JSON; none if they stay protobuf.
    json: Option<Signal>,
    /// Whether compressing may go to another worker.
    is_stealable: bool,
    /// The peer has refused a compressed body. For good: a peer that changes its mind is a peer
    /// that was replaced, and to try again costs a request each time.
    is_refused: Cell<bool>,
    pool: RefCell<Pool>,
}

/// The compressors of a destination: as many as there are workers to run them, as more would only
/// take turns.
#[derive(Debug)]
struct Pool {
    idle: Vec<Compressor>,
    /// Those that are still to be made.
    unmade: usize,
    /// Lanes that wait for one.
    waiting: Vec<Waker>,
}

impl Codec {
    /// The codec of requests of `signal` to `target`, on a runtime with `workers`.
    pub(crate) fn new(target: &Target, signal: Signal, workers: usize) -> Self {
        let (coding, json) = match target.collector() {
            Some(&Collector { coding, protocol, .. }) => {
                (coding, (protocol == Protocol::HttpJson).then_some(signal))
            }
            // A line is made where it is written.
            None => (Coding::default(), None),
        };
        Self::of(coding, json, workers)
    }

    fn of(coding: Coding, json: Option<Signal>, workers: usize) -> Self {
        let pool = Pool { idle: Vec::new(), unmade: workers, waiting: Vec::new() };
        Self {
            coding,
            json,
            is_stealable: workers > 1,
            is_refused: Cell::new(false),
            pool: RefCell::new(pool),
        }
    }

    /// Learns of a failed request: true if the peer has refused its encoding, and if that is news.
    pub(crate) fn learn(&self, payload: &Payload, why: &Failure) -> bool {
        let is_refused = payload.encoding.is_some() && why.refuses_encoding;
        is_refused && !self.is_refused.replace(true)
    }

    /// Takes back what was made for a request that is settled, to write into it again.
    pub(crate) fn recycle(&self, payload: Payload) {
        if payload.encoding.is_some()
            && let Some(compressor) = self.pool.borrow_mut().idle.last_mut()
        {
            payload.parts.into_iter().for_each(|piece| compressor.take_back(piece));
        }
    }

    /// How a body of `bytes` is to be compressed, if it is.
    fn plan(&self, bytes: usize) -> Option<Plan> {
        let is_worth_it = bytes >= self.coding.compression_bytes_min.max(1);
        self.coding.compression.filter(|_| is_worth_it && !self.is_refused.get())
    }

    /// A compressor, once there is one.
    async fn take(&self, plan: Plan) -> Result<Taken<'_>, CompressError> {
        let idle = poll_fn(|cx| self.pool.borrow_mut().poll_take(cx)).await;
        // From here on it is given back, or may be made by another, also if this is dropped.
        let mut taken = Taken { codec: self, compressor: idle };
        if taken.compressor.is_none() {
            taken.compressor = Some(Compressor::new(plan.encoding, plan.level)?);
        }
        Ok(taken)
    }
}

impl Pool {
    /// One that is idle, or none if one may be made.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<Option<Compressor>> {
        if let Some(compressor) = self.idle.pop() {
            return Poll::Ready(Some(compressor));
        }
        if self.unmade > 0 {
            self.unmade -= 1;
            return Poll::Ready(None);
        }
        // The lanes of a destination are polled by one task, so this is usually one waker.
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// A compressor in use.
struct Taken<'c> {
    codec: &'c Codec,
    /// None if it was lost.
    compressor: Option<Compressor>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut pool = self.codec.pool.borrow_mut();
        match self.compressor.take() {
            Some(compressor) => pool.idle.push(compressor),
            None => pool.unmade += 1,
        }
        let waiting = std::mem::take(&mut pool.waiting);
        drop(pool);
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// Makes the body of one request.
///
/// # Errors
/// It cannot be sent: it has become longer than requests may be ([`Phase::Size`]), or what we have
/// encoded cannot be read, which is a bug of ours.
pub(crate) async fn prepare(payload: Payload, codec: &Codec) -> Result<Payload, Failure> {
    let payload = match codec.json {
        Some(signal) => in_json(signal, payload, codec).await?,
        None => payload,
    };
    let Some(plan) = codec.plan(payload.bytes) else { return Ok(payload) };
    let compressed = compressed(&payload, plan, codec).await;
    Ok(match compressed {
        Ok(smaller) if smaller.bytes < payload.bytes => smaller,
        // Sent as it is, it is not lost.
        _ => payload,
    })
}

/// The same request as JSON; made in one go, on whichever worker is idle.
async fn in_json(signal: Signal, payload: Payload, codec: &Codec) -> Result<Payload, Failure> {
    let bytes_max = codec.coding.request_bytes_max;
    if !codec.is_stealable {
        return transcoded(signal, &payload, bytes_max);
    }
    let task = spawn(async move { transcoded(signal, &payload, bytes_max) });
    task.await.map_err(|error| Failure::new(Phase::Encode, error.to_string()))?
}

/// The same request as JSON.
fn transcoded(signal: Signal, payload: &Payload, bytes_max: usize) -> Result<Payload, Failure> {
    let mut json = Vec::with_capacity(JSON_FACTOR.saturating_mul(payload.bytes));
    json::transcode(signal, &payload.joined(), &mut json)
        .map_err(|error| Failure::new(Phase::Encode, format!("the encoded request {error}")))?;
    if json.len() > bytes_max {
        let text = format!("{} bytes of JSON, at most {bytes_max} are allowed", json.len());
        return Err(Failure::new(Phase::Size, text));
    }
    Ok(Payload::new(vec![json.into()], payload.records))
}

async fn compressed(
    payload: &Payload,
    plan: Plan,
    codec: &Codec,
) -> Result<Payload, CompressError> {
    let mut taken = codec.take(plan).await?;
    let parts = match codec.is_stealable {
        true => compress_anywhere(&mut taken, payload.clone()).await?,
        false => {
            let compressor = taken.compressor.as_mut().ok_or(CompressError)?;
            compress(compressor, payload).await?
        }
    };
    Ok(Payload { encoding: Some(plan.encoding), ..Payload::new(parts, payload.records) })
}

/// Compresses on whichever worker is idle.
async fn compress_anywhere(
    taken: &mut Taken<'_>,
    payload: Payload,
) -> Result<Vec<Bytes>, CompressError> {
    let mut compressor = taken.compressor.take().ok_or(CompressError)?;
    let task = spawn(async move {
        let parts = compress(&mut compressor, &payload).await;
        (compressor, parts)
    });
    let (compressor, parts) = task.await.map_err(|_| CompressError)?;
    taken.compressor = Some(compressor);
    parts
}

/// Compresses, and lets others run after every [`STEP_BYTES`] of the body.
async fn compress(
    compressor: &mut Compressor,
    payload: &Payload,
) -> Result<Vec<Bytes>, CompressError> {
    compressor.begin(payload.bytes)?;
    let mut since_yield = 0;
    for slice in payload.parts.iter().flat_map(|part| part.chunks(STEP_BYTES)) {
        if since_yield + slice.len() > STEP_BYTES {
            yield_now().await;
            since_yield = 0;
        }
        compressor.feed(slice)?;
        since_yield += slice.len();
    }
    compressor.finish()
}

/// About how much longer OTLP/JSON is than the same in protobuf.
const JSON_FACTOR: usize = 3;
/// So much is compressed at a time: below a millisecond of work at the usual levels.
const STEP_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;
