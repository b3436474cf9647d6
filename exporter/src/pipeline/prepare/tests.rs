//! What becomes of a body before it is sent.

use std::io::Read;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use flate2::read::GzDecoder;
use spanwire_runtime::Builder;

use super::*;
use crate::model::Status;

const GZIP: Plan = Plan { encoding: Encoding::Gzip, level: 1 };

fn codec(json: Option<Signal>, workers: usize) -> Codec {
    let coding = Coding {
        compression: Some(GZIP),
        compression_bytes_min: 1 << 10,
        request_bytes_max: 4 << 20,
    };
    Codec::of(coding, json, workers)
}

/// A body of so many slices, which compress well.
fn payload(slices: usize, slice_bytes: usize) -> Payload {
    let slice = |index: usize| Bytes::from(vec![index as u8; slice_bytes]);
    Payload::new((0..slices).map(slice).collect(), 7)
}

fn gunzip(payload: &Payload) -> Vec<u8> {
    assert_eq!(payload.encoding, Some(Encoding::Gzip));
    let mut plain = Vec::new();
    GzDecoder::new(&*payload.joined()).read_to_end(&mut plain).unwrap();
    plain
}

/// Runs what does not wait for anything but its turn.
fn run<T>(future: impl Future<Output = T>) -> (T, usize) {
    let mut future = pin!(future);
    for yields in 0..1000 {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return (output, yields);
        }
    }
    panic!("it waits");
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_body_is_compressed_in_steps_and_says_so() {
    let (codec, plain) = (codec(None, 1), payload(9, STEP_BYTES));
    let (prepared, yields) = run(prepare(plain.clone(), &codec));
    let prepared = prepared.unwrap();
    assert_eq!(yields, 8, "others run between the steps");
    assert_eq!((prepared.records, gunzip(&prepared)), (7, plain.joined().into_owned()));
    assert!(prepared.bytes < plain.bytes);
    // A single slice is taken in steps as well.
    let large = payload(1, 3 * STEP_BYTES + 1);
    assert_eq!(run(prepare(large, &codec)).1, 3);
}

#[test]
fn a_short_body_and_one_that_does_not_shrink_go_as_they_are() {
    let codec = codec(None, 1);
    let short = payload(1, 1023);
    assert_eq!(run(prepare(short, &codec)).0.unwrap().encoding, None);
    let enough = payload(1, 1024);
    assert_eq!(run(prepare(enough, &codec)).0.unwrap().encoding, Some(Encoding::Gzip));
    let mut random = vec![0; 100_000];
    fastrand::Rng::with_seed(1).fill(&mut random);
    let noise = Payload::new(vec![random.clone().into()], 1);
    let prepared = run(prepare(noise, &codec)).0.unwrap();
    assert_eq!((prepared.encoding, &*prepared.joined()), (None, &random[..]));
}

#[test]
fn a_peer_that_refuses_the_encoding_is_believed_once_and_for_good() {
    let codec = codec(None, 1);
    let compressed = run(prepare(payload(1, 4096), &codec)).0.unwrap();
    let other = Failure::answer(Status::Http(400), "");
    let refusal = Failure { refuses_encoding: true, ..other.clone() };
    assert!(!codec.learn(&compressed, &other), "400 is about the data");
    assert!(!codec.learn(&payload(1, 4096), &refusal), "it was not encoded");
    assert!(codec.learn(&compressed, &refusal));
    assert!(!codec.learn(&compressed, &refusal), "no news");
    assert_eq!(run(prepare(payload(1, 4096), &codec)).0.unwrap().encoding, None);
}

#[test]
fn a_body_in_json_is_compressed_after_and_bounded() {
    // ExportTraceServiceRequest { resource_spans: [ResourceSpans { schema_url: "x..." }] }
    let request = |url_bytes: usize| {
        let mut request = vec![0x0a];
        put_varint(&mut request, 1 + varint_len(url_bytes) + url_bytes);
        request.push(0x1a);
        put_varint(&mut request, url_bytes);
        request.resize(request.len() + url_bytes, b'x');
        Payload::new(request.chunks(1000).map(Bytes::copy_from_slice).collect(), 1)
    };
    let mut codec = codec(Some(Signal::Traces), 1);
    let prepared = run(prepare(request(5000), &codec)).0.unwrap();
    let json: serde_json::Value = serde_json::from_slice(&gunzip(&prepared)).unwrap();
    assert_eq!(json["resourceSpans"][0]["schemaUrl"], "x".repeat(5000));
    codec.coding.request_bytes_max = 5000;
    let why = run(prepare(request(5000), &codec)).0.unwrap_err();
    assert_eq!(why.phase, Phase::Size);
    let broken = Payload::new(vec![Bytes::from_static(b"\x0a")], 1);
    assert_eq!(run(prepare(broken, &codec)).0.unwrap_err().phase, Phase::Encode);
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_len(value: usize) -> usize {
    let mut out = Vec::new();
    put_varint(&mut out, value);
    out.len()
}

#[test]
fn who_finds_no_compressor_is_woken_when_one_is_given_back() {
    struct Woken(AtomicUsize);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let codec = codec(None, 1);
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut second = pin!(prepare(payload(2, 1000), &codec));
    {
        let mut first = pin!(prepare(payload(2, STEP_BYTES), &codec));
        assert!(poll(first.as_mut()).is_pending());
        assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(second.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        // The first is given up in the middle: its compressor is not lost.
    }
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert_eq!(gunzip(&run(second).0.unwrap()).len(), 2000);
}

#[test]
fn what_was_sent_is_written_into_again() {
    let codec = codec(None, 1);
    let address = |payload: &Payload| payload.parts[0].as_ptr() as usize;
    let first = run(prepare(payload(4, 1000), &codec)).0.unwrap();
    let before = address(&first);
    codec.recycle(first);
    // What was freed instead would be given to these.
    let others: Vec<_> = (0..8).map(|_| Vec::<u8>::with_capacity(STEP_BYTES)).collect();
    assert_eq!(address(&run(prepare(payload(4, 1000), &codec)).0.unwrap()), before);
    drop(others);
    // A body that was not compressed is not ours to write into.
    let plain = payload(1, STEP_BYTES);
    codec.recycle(plain.clone());
    assert_eq!(plain.joined()[0], 0);
}

#[test]
fn json_may_be_made_by_another_worker() {
    let runtime = Builder::new().workers(2).build().unwrap();
    let task = runtime.spawn_pinned(|| async {
        let codec = codec(Some(Signal::Logs), 2);
        let empty = Payload::new(vec![Bytes::from_static(b"\x0a\x00")], 1);
        let prepared = prepare(empty, &codec).await.unwrap();
        assert_eq!(&*prepared.joined(), br#"{"resourceLogs":[{}]}"#);
    });
    runtime.block_on(task).unwrap();
}

#[test]
fn several_workers_compress_what_several_lanes_have() {
    let runtime = Builder::new().workers(3).build().unwrap();
    let task = runtime.spawn_pinned(|| async {
        let codec = codec(None, 3);
        let bodies: Vec<_> = (1..9).map(|slices| payload(slices, STEP_BYTES / 2)).collect();
        let mut lanes: Vec<_> =
            bodies.iter().map(|body| Box::pin(prepare(body.clone(), &codec))).collect();
        let mut prepared: Vec<Option<Payload>> = vec![None; lanes.len()];
        poll_fn(|cx| {
            for (lane, prepared) in lanes.iter_mut().zip(&mut prepared) {
                if prepared.is_none()
                    && let Poll::Ready(ended) = lane.as_mut().poll(cx)
                {
                    *prepared = Some(ended.unwrap());
                }
            }
            if prepared.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        for (body, prepared) in bodies.iter().zip(&prepared) {
            assert_eq!(gunzip(prepared.as_ref().unwrap()), body.joined().into_owned());
        }
        assert_eq!(codec.pool.borrow().idle.len(), 3, "one a worker, and all are back");
    });
    runtime.block_on(task).unwrap();
}
