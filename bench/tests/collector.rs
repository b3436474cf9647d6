//! The embedded collector counts what prost encodes, and answers as the OTLP specification says.

mod support;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use spanwire_bench::{
    collector::{Collector, Reply},
    shape::Signal,
    tally::Counts,
};
use support::{PROTOBUF, body, post, post_to};

#[test]
fn every_span_is_counted_once_by_its_id() {
    let collector = Collector::start().unwrap();
    let (first, second) = (body(&[1, 2, 3, 4, 5]), body(&[5, 6]));
    for request in [&first, &second] {
        let (status, answer) = post(&collector.endpoint(), PROTOBUF, request);
        assert_eq!(status, 200);
        let answer = ExportTraceServiceResponse::decode(answer.as_slice()).unwrap();
        assert_eq!(answer.partial_success, None);
    }
    assert_eq!(collector.records(Signal::Traces), 7);
    let bytes = (first.len() + second.len()) as u64;
    assert_eq!(
        collector.finish().traces,
        Counts { records: 7, unique: 6, requests: 2, malformed: 0, bytes, wire_bytes: bytes }
    );
}

#[test]
fn a_body_that_does_not_decode_is_refused_and_counted_apart() {
    let collector = Collector::start().unwrap();
    let mut cut = body(&[1, 2]);
    cut.pop();
    assert_eq!(post(&collector.endpoint(), PROTOBUF, &cut).0, 400);
    let counts = collector.finish().traces;
    assert_eq!((counts.records, counts.malformed), (0, 1));
}

#[test]
fn log_records_and_points_are_counted_apart() {
    let collector = Collector::start().unwrap();
    // Two records, one of them with the id of a span; in the other request a gauge with two points.
    let logs = wrapped(&[0x12, 10, 0x52, 8, 1, 1, 1, 1, 1, 1, 1, 1, 0x12, 0]);
    let metrics = wrapped(&[0x12, 6, 0x2a, 4, 0x0a, 0, 0x0a, 0]);
    assert_eq!(post_to(&collector.endpoint(), "/v1/logs", PROTOBUF, &logs).0, 200);
    assert_eq!(post_to(&collector.endpoint(), "/v1/metrics", PROTOBUF, &metrics).0, 200);
    assert_eq!(post_to(&collector.endpoint(), "/v1/profiles", PROTOBUF, &[]).0, 404);
    let received = collector.finish();
    assert_eq!((received.logs.records, received.logs.unique), (2, 2));
    assert_eq!((received.metrics.records, received.traces.records), (2, 0));
}

/// Records in a scope in a resource, up to 125 bytes.
fn wrapped(records: &[u8]) -> Vec<u8> {
    let length = records.len() as u8;
    [&[0x0a, length + 2, 0x12, length][..], records].concat()
}

#[test]
fn what_is_neither_protobuf_nor_json_is_not_understood() {
    let collector = Collector::start().unwrap();
    assert_eq!(post(&collector.endpoint(), "text/plain", b"{}").0, 415);
}

#[test]
fn the_script_decides_what_is_rejected_and_refused() {
    let script = |request| match request {
        0 => Reply::Reject(2),
        1 => Reply::Refuse(503),
        _ => Reply::Accept,
    };
    let collector = Collector::with_script(Box::new(script)).unwrap();
    let (status, answer) = post(&collector.endpoint(), PROTOBUF, &body(&[1, 2, 3]));
    let answer = ExportTraceServiceResponse::decode(answer.as_slice()).unwrap();
    assert_eq!((status, answer.partial_success.unwrap().rejected_spans), (200, 2));
    assert_eq!(post(&collector.endpoint(), PROTOBUF, &body(&[4])).0, 503);
    assert_eq!(post(&collector.endpoint(), PROTOBUF, &body(&[4])).0, 200);
    let counts = collector.finish().traces;
    assert_eq!((counts.records, counts.unique, counts.requests), (2, 2, 2));
}
