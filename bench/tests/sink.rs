//! The sink counts exactly what prost would decode, and speaks its line protocol as a process.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::Shutdown,
    path::Path,
    process::{Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{ResourceSpans, ScopeSpans, Span, span},
};
use proptest::prelude::*;
use prost::Message as _;
use spanwire_bench::{
    sink::{SinkProcess, walk},
    tally::{Counts, Received},
};
use support::{PROTOBUF, body, connect, exchange, post};

/// The naive oracle: a full decode.
fn decoded_ids(body: &[u8]) -> Option<Vec<u64>> {
    let request = ExportTraceServiceRequest::decode(body).ok()?;
    let resources = request.resource_spans.into_iter();
    let spans = resources.flat_map(|r| r.scope_spans).flat_map(|s| s.spans);
    spans
        .map(|span| {
            let _: [u8; 16] = span.trace_id.try_into().ok()?;
            Some(u64::from_be_bytes(span.span_id.try_into().ok()?))
        })
        .collect()
}

fn walked_ids(body: &[u8]) -> Option<Vec<u64>> {
    let mut ids = Vec::new();
    walk::span_ids(body, &mut ids).ok().map(|()| ids)
}

fn any_span() -> impl Strategy<Value = Span> {
    let text = "[a-zé]{0,200}";
    (any::<u64>(), text, any::<[u8; 16]>(), any::<u64>(), prop::collection::vec(text, 0..4))
        .prop_map(|(id, name, trace_id, time, values)| Span {
            trace_id: trace_id.to_vec(),
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: vec![1; 8],
            name,
            start_time_unix_nano: time,
            flags: time as u32,
            dropped_events_count: time as u32,
            attributes: values.into_iter().map(attribute).collect(),
            events: vec![span::Event { name: "event".into(), ..Default::default() }],
            ..Span::default()
        })
}

fn attribute(text: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(text)) });
    KeyValue { key: "key".into(), value, ..Default::default() }
}

fn any_request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope = prop::collection::vec(any_span(), 0..4).prop_map(|spans| ScopeSpans {
        spans,
        schema_url: "https://example.com".into(),
        ..Default::default()
    });
    let resource = prop::collection::vec(scope, 0..3).prop_map(|scope_spans| ResourceSpans {
        scope_spans,
        resource: Some(Default::default()),
        ..Default::default()
    });
    prop::collection::vec(resource, 0..3)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

proptest! {
    #[test]
    fn the_walk_finds_the_ids_that_a_decode_finds(request in any_request()) {
        let body = request.encode_to_vec();
        prop_assert_eq!(walked_ids(&body), decoded_ids(&body));
    }

    #[test]
    fn the_walk_takes_any_bytes_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = walked_ids(&body);
    }

    /// Where the decode fails for what the walk does not look at (a name that is not UTF-8), the
    /// walk may go on.
    #[test]
    fn a_changed_byte_never_makes_the_walk_find_other_ids_than_a_decode(
        request in any_request(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut body = request.encode_to_vec();
        // Groups (wire types 3 and 4) are deprecated and not in OTLP; prost skips them, the walk
        // refuses.
        if body.is_empty() || matches!(byte & 7, 3 | 4) {
            return Ok(());
        }
        let at = at.index(body.len());
        body[at] = byte;
        if let Some(decoded) = decoded_ids(&body) {
            prop_assert_eq!(Some(decoded), walked_ids(&body));
        }
    }
}

#[test]
fn ids_of_the_wrong_width_are_malformed() {
    for width in [0, 7, 9] {
        let mut request = support::request(&[1]);
        request.resource_spans[1].scope_spans[1].spans[0].span_id = vec![1; width];
        assert_eq!(walked_ids(&request.encode_to_vec()), None, "a span id of {width} bytes");
    }
}

#[test]
fn a_sink_process_counts_marks_and_writes_the_ids() {
    let directory = tempdir("ids");
    let ids = directory.join("ids.txt");
    let mut sink = SinkProcess::start_program(program(), Some(&ids)).unwrap();
    let endpoint = sink.endpoint().to_owned();
    let first = body(&[3, 1, 2]);
    assert_eq!(post(&endpoint, PROTOBUF, &first).0, 200);
    let counts =
        Counts { records: 3, unique: 3, requests: 1, malformed: 0, bytes: first.len() as u64 };
    assert_eq!(sink.mark().unwrap(), Received { traces: counts, ..Received::default() });
    assert_eq!(sink.mark().unwrap(), Received::default());

    let second = body(&[0xab, 9, 0xab]);
    assert_eq!(post(&endpoint, PROTOBUF, &second).0, 200);
    assert_eq!(post(&endpoint, PROTOBUF, &[0xff; 20]).0, 400);
    let counts =
        Counts { records: 3, unique: 2, requests: 1, malformed: 1, bytes: second.len() as u64 };
    assert_eq!(sink.finish().unwrap().traces, counts);
    assert_eq!(fs::read_to_string(ids).unwrap(), "0000000000000009\n00000000000000ab\n");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn several_requests_share_a_connection_however_they_are_cut() {
    let mut sink = SinkProcess::start_program(program(), None).unwrap();
    let mut stream = connect(sink.endpoint());
    let mut bytes = Vec::new();
    for id in 0..5 {
        let body = body(&[id]);
        let head = format!("POST /v1/traces HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&body);
    }
    for piece in bytes.chunks(37) {
        stream.write_all(piece).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 5);
    assert_eq!(sink.mark().unwrap().traces.unique, 5);
}

#[test]
fn what_the_sink_does_not_do_is_said_by_a_status() {
    let sink = SinkProcess::start_program(program(), None).unwrap();
    let status = |head: &str| exchange(sink.endpoint(), &[head.as_bytes()]).0;
    assert_eq!(status("POST /v1/traces HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"), 411);
    assert_eq!(status("POST /v1/profiles HTTP/1.1\r\ncontent-length: 0\r\n\r\n"), 404);
    assert_eq!(status("POST /v1/traces HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n"), 413);
}

#[test]
fn a_signal_ends_the_sink_with_its_counts() {
    let mut child = Command::new(program())
        .args(["sink", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let endpoint = lines.next().unwrap().unwrap();
    assert_eq!(post(&endpoint, PROTOBUF, &body(&[1, 2])).0, 200);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let last = lines.last().unwrap().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(Received::from_json(&last).unwrap().traces.unique, 2);
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_spanwire"))
}

fn tempdir(name: &str) -> std::path::PathBuf {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}
