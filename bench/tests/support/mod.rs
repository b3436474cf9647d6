//! What several tests need: requests in the types of opentelemetry-proto, and the plainest possible
//! HTTP client.

// Each test is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message as _;

/// A request whose spans have these ids, spread over two resources and their scopes.
pub(crate) fn request(ids: &[u64]) -> ExportTraceServiceRequest {
    let (first, second) = ids.split_at(ids.len() / 2);
    let scope = |ids: &[u64]| ScopeSpans {
        spans: ids.iter().map(|id| span(*id)).collect(),
        schema_url: "https://example.com/scope".into(),
        ..ScopeSpans::default()
    };
    let resource = |scope_spans| ResourceSpans {
        scope_spans,
        schema_url: "https://example.com/resource".into(),
        ..ResourceSpans::default()
    };
    let (third, fourth) = second.split_at(second.len() / 2);
    ExportTraceServiceRequest {
        resource_spans: vec![
            resource(vec![scope(first)]),
            resource(vec![scope(third), scope(fourth)]),
        ],
    }
}

/// The bytes of [`request`].
pub(crate) fn body(ids: &[u64]) -> Vec<u8> {
    request(ids).encode_to_vec()
}

fn span(id: u64) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: id.to_be_bytes().to_vec(),
        name: "a span".into(),
        start_time_unix_nano: 1,
        end_time_unix_nano: u64::MAX,
        flags: 1,
        ..Span::default()
    }
}

/// POSTs to `/v1/traces` at `endpoint` on a connection of its own; returns the status and the body
/// of the answer.
pub(crate) fn post(endpoint: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
    post_to(endpoint, "/v1/traces", kind, body)
}

/// As [`post`], to another path.
pub(crate) fn post_to(endpoint: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    exchange(endpoint, &[head.as_bytes(), body])
}

/// Sends `parts` one by one; returns the status and the body of the answer.
pub(crate) fn exchange(endpoint: &str, parts: &[&[u8]]) -> (u16, Vec<u8>) {
    let mut stream = connect(endpoint);
    for part in parts {
        stream.write_all(part).unwrap();
    }
    // Ending our side first would race: a server may take that for a client that has gone.
    let mut answer = Vec::new();
    let mut some = [0; 4096];
    while !is_whole(&answer) {
        let read = stream.read(&mut some).unwrap();
        assert_ne!(read, 0, "the answer ends early: {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&some[..read]);
    }
    split(&answer)
}

/// Whether the head is there, and as much body as it announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(end) = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.expect("a length").trim().parse().expect("a number");
    answer.len() >= end + 4 + length
}

/// A connection to `http://host:port`.
pub(crate) fn connect(endpoint: &str) -> TcpStream {
    TcpStream::connect(endpoint.strip_prefix("http://").unwrap()).unwrap()
}

fn split(answer: &[u8]) -> (u16, Vec<u8>) {
    let text = String::from_utf8_lossy(answer);
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("an answer");
    (status.expect("a status"), answer[end + 4..].to_vec())
}

/// What OTLP/HTTP sends.
pub(crate) const PROTOBUF: &str = "application/x-protobuf";
