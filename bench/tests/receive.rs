//! The receivers understand every protocol and encoding of OTLP, with TLS and without, and count the
//! same whatever carried it.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::{BufMut as _, Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use http::Request;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use spanwire_bench::{
    collector::{Collector, Reply},
    receive::{Protocol, tls},
    sink::SinkProcess,
    tally::Received,
};
use support::{PROTOBUF, body, connect, exchange, post_to, request};
use tokio::io::{AsyncRead, AsyncWrite};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The body in each encoding, with the encoding's name.
fn encoded(body: &[u8]) -> [(&'static str, Vec<u8>); 3] {
    [
        ("identity", body.to_vec()),
        ("gzip", gzip(body)),
        ("zstd", zstd::bulk::compress(body, 3).unwrap()),
    ]
}

fn head(kind: &str, encoding: &str, body: &[u8]) -> String {
    format!(
        "POST /v1/traces HTTP/1.1\r\nhost: test\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\
         content-encoding: {encoding}\r\nconnection: close\r\n\r\n",
        body.len()
    )
}

/// One unary call; the status of gRPC and the message.
async fn call<S>(stream: S, path: &str, encoding: &str, message: &[u8]) -> (String, Bytes)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let mut send = send.ready().await.unwrap();
    let request = Request::post(format!("http://test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding)
        .body(())
        .unwrap();
    let (response, mut body) = send.send_request(request, false).unwrap();
    let mut frame = BytesMut::new();
    frame.put_u8(u8::from(encoding != "identity"));
    frame.put_u32(message.len() as u32);
    frame.put_slice(message);
    let mut frame = frame.freeze();
    while !frame.is_empty() {
        body.reserve_capacity(frame.len());
        let room = std::future::poll_fn(|cx| body.poll_capacity(cx)).await.unwrap().unwrap();
        let part = frame.split_to(room.min(frame.len()));
        body.send_data(part, frame.is_empty()).unwrap();
    }
    let response = response.await.unwrap();
    let status = response.headers().get("grpc-status").cloned();
    let mut body = response.into_body();
    let mut answer = BytesMut::new();
    while let Some(data) = body.data().await {
        answer.extend_from_slice(&data.unwrap());
    }
    let trailers = body.trailers().await.unwrap_or_default();
    let status = status.or_else(|| trailers?.get("grpc-status").cloned()).expect("a status");
    (status.to_str().unwrap().to_owned(), answer.freeze())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn call_at(endpoint: &str, path: &str, encoding: &str, message: &[u8]) -> (String, Bytes) {
    let address = endpoint.strip_prefix("http://").unwrap();
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        call(stream, path, encoding, message).await
    })
}

#[test]
fn one_port_of_the_sink_counts_grpc_and_http_in_every_encoding() {
    let sink = SinkProcess::start_program(program(), None).unwrap();
    let (mut bytes, mut wire_bytes) = (0, 0);
    for (index, encoding) in ["identity", "gzip", "zstd"].into_iter().enumerate() {
        let ids = [10, 11, 12].map(|id| id + 100 * index as u64);
        let body = body(&ids);
        let (_, sent) = encoded(&body).into_iter().find(|(name, _)| *name == encoding).unwrap();
        let head = head(PROTOBUF, encoding, &sent);
        assert_eq!(exchange(sink.endpoint(), &[head.as_bytes(), &sent]).0, 200, "{encoding}");
        let answer = call_at(sink.endpoint(), TRACES, encoding, &sent);
        assert_eq!(answer, ("0".to_owned(), Bytes::from_static(&[0; 5])), "{encoding}");
        bytes += 2 * body.len() as u64;
        wire_bytes += 2 * sent.len() as u64;
    }
    let traces = sink.finish().unwrap().traces;
    assert_eq!((traces.records, traces.unique, traces.requests), (18, 9, 6));
    assert_eq!((traces.bytes, traces.wire_bytes), (bytes, wire_bytes));
}

#[test]
fn a_message_larger_than_the_window_arrives_whole() {
    let sink = SinkProcess::start_program(program(), None).unwrap();
    let ids: Vec<u64> = (1..=40_000).collect();
    let body = body(&ids);
    assert!(body.len() > 2 << 20);
    assert_eq!(call_at(sink.endpoint(), TRACES, "identity", &body).0, "0");
    assert_eq!(sink.finish().unwrap().traces.unique, 40_000);
}

#[test]
fn what_is_not_a_request_is_refused_by_its_status_and_counted() {
    let sink = SinkProcess::start_program(program(), None).unwrap();
    let status =
        |path, encoding, message: &[u8]| call_at(sink.endpoint(), path, encoding, message).0;
    assert_eq!(status(TRACES, "identity", b"nonsense"), "3");
    assert_eq!(status(TRACES, "gzip", b"not gzip"), "3");
    assert_eq!(status(TRACES, "br", b""), "12", "an encoding that nobody asked for");
    assert_eq!(status("/some.other.Service/Export", "identity", b""), "12");
    let wrong = head(PROTOBUF, "br", b"x");
    assert_eq!(exchange(sink.endpoint(), &[wrong.as_bytes(), b"x"]).0, 415);
    let traces = sink.finish().unwrap().traces;
    assert_eq!((traces.records, traces.malformed), (0, 2));
}

#[test]
fn json_counts_as_protobuf_does() {
    let sink = SinkProcess::start_program(program(), None).unwrap();
    let json = serde_json::to_vec(&request(&[1, 2, 3])).unwrap();
    for (encoding, sent) in encoded(&json) {
        let head = head("application/json", encoding, &sent);
        let answer = exchange(sink.endpoint(), &[head.as_bytes(), &sent]);
        assert_eq!(answer, (200, b"{}".to_vec()), "{encoding}");
    }
    let head = head("application/json", "identity", b"{");
    assert_eq!(exchange(sink.endpoint(), &[head.as_bytes(), b"{"]).0, 400);
    let traces = sink.finish().unwrap().traces;
    assert_eq!((traces.records, traces.unique, traces.malformed), (9, 3, 1));
    assert_eq!(traces.bytes, 3 * json.len() as u64);
}

/// A sink with TLS, and a client's configuration that trusts it alone.
fn tls_sink(name: &str, alpn: &[u8]) -> (SinkProcess, Arc<ClientConfig>, PathBuf) {
    let ca = std::env::temp_dir().join(format!("spanwire-{name}-{}.pem", std::process::id()));
    let options = ["--tls", ca.to_str().unwrap()];
    let sink = SinkProcess::start_program_with(program(), &options).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&ca).unwrap()).unwrap();
    let mut config =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    (sink, Arc::new(config), ca)
}

#[test]
fn over_tls_the_sink_speaks_http_with_one_cipher_suite() {
    let (sink, config, ca) = tls_sink("http", b"http/1.1");
    let address = sink.endpoint().strip_prefix("https://").expect("https").to_owned();
    let client = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(client, TcpStream::connect(address).unwrap());
    let body = body(&[1, 2]);
    stream.write_all(head(PROTOBUF, "identity", &body).as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = [0; 15];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    let suite = stream.conn.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(format!("{suite:?}"), tls::CIPHER);
    assert_eq!(sink.finish().unwrap().traces.unique, 2);
    std::fs::remove_file(ca).unwrap();
}

#[test]
fn over_tls_the_sink_speaks_grpc_to_whom_asks_for_http2() {
    let (sink, config, ca) = tls_sink("grpc", b"h2");
    let address = sink.endpoint().strip_prefix("https://").unwrap().to_owned();
    let status = runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        let stream = connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap();
        call(stream, TRACES, "identity", &body(&[1, 2, 3])).await.0
    });
    assert_eq!(status, "0");
    assert_eq!(sink.finish().unwrap().traces.unique, 3);
    std::fs::remove_file(ca).unwrap();
}

#[test]
fn a_sink_with_tls_has_nothing_to_say_in_the_clear() {
    let (sink, _, ca) = tls_sink("clear", b"h2");
    let mut stream = connect(&sink.endpoint().replace("https", "http"));
    stream.write_all(head(PROTOBUF, "identity", b"").as_bytes()).unwrap();
    let mut answer = Vec::new();
    // It may be reset, or an alert of TLS comes.
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    drop(sink);
    std::fs::remove_file(ca).unwrap();
}

#[test]
fn the_embedded_collector_counts_the_same_over_every_protocol() {
    let received = [Protocol::Grpc, Protocol::Http, Protocol::HttpJson].map(|protocol| {
        let collector = Collector::start().unwrap();
        let endpoint = collector.endpoint_of(protocol);
        let body = body(&[5, 6, 7]);
        match protocol {
            Protocol::Grpc => assert_eq!(call_at(&endpoint, TRACES, "identity", &body).0, "0"),
            Protocol::Http => assert_eq!(post_to(&endpoint, "/v1/traces", PROTOBUF, &body).0, 200),
            Protocol::HttpJson => {
                let json = serde_json::to_vec(&request(&[5, 6, 7])).unwrap();
                let (status, answer) = post_to(&endpoint, "/v1/traces", "application/json", &json);
                let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
                assert_eq!((status, &answer["partialSuccess"]), (200, &serde_json::Value::Null));
            }
        }
        let Received { traces, .. } = collector.finish();
        (traces.records, traces.unique, traces.requests)
    });
    assert_eq!(received, [(3, 3, 1); 3]);
}

#[test]
fn a_script_of_the_collector_holds_over_grpc_too() {
    let script = |number| match number {
        0 => Reply::Refuse(503),
        1 => Reply::Reject(1),
        _ => Reply::Accept,
    };
    let collector = Collector::with_script(Box::new(script)).unwrap();
    let endpoint = collector.endpoint_of(Protocol::Grpc);
    let statuses = [0; 3].map(|_| call_at(&endpoint, TRACES, "identity", &body(&[1, 2, 3])));
    assert_eq!(statuses.each_ref().map(|(status, _)| status.as_str()), ["14", "0", "0"]);
    assert!(statuses[1].1.len() > 5, "a partial success has a message");
    assert_eq!(collector.finish().traces.records, 5);
}

#[test]
fn the_collector_keeps_a_trace_to_look_at() {
    let collector = Collector::start().unwrap();
    post_to(&collector.endpoint(), "/v1/traces", PROTOBUF, &body(&[5, 6]));
    let (_, trace) = collector.finish_with_trace();
    let trace = trace.unwrap();
    assert_eq!((trace.id, trace.spans.len()), (u128::from_be_bytes([7; 16]), 2));
    assert_eq!(trace.spans[0].name, "a span");
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_spanwire"))
}
