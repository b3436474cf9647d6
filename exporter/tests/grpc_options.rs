//! What goes together with OTLP/gRPC: compression, headers that change.
#![cfg(target_os = "linux")]

#[path = "support/grpc.rs"]
mod server;
mod support;

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spanwire::{Builder, Compression, FlushError, OutgoingRequest, Protocol};

use server::{GrpcReply, GrpcServer};
use support::otel::{Diagnostics, LONG, assert_balanced, drivers, end_spans, provider};

fn builder(endpoint: &str) -> (Builder, Diagnostics) {
    let (builder, diagnostics) = support::otel::builder(endpoint);
    (builder.protocol(Protocol::Grpc), diagnostics)
}

#[test]
fn a_compressed_message_says_so_in_its_flag_and_in_grpc_encoding() {
    for io in drivers() {
        let server =
            GrpcServer::scripted(|_| GrpcReply::Trailers(vec![("grpc-status", "0".into())]));
        let exporter =
            builder(server.endpoint()).0.io(io).compression(Compression::Gzip).build().unwrap();
        end_spans(&provider(&exporter, "service"), 500);
        exporter.flush(LONG).unwrap();
        let calls = server.calls();
        let call = calls.iter().find(|call| call.flag == 1).expect("one is compressed");
        assert_eq!(call.headers["grpc-encoding"], "gzip");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(&call.message[..]).read_to_end(&mut plain).unwrap();
        let request = ExportTraceServiceRequest::decode(&plain[..]).unwrap();
        assert!(!request.resource_spans[0].scope_spans[0].spans.is_empty());
        for call in calls.iter().filter(|call| call.flag == 0) {
            assert!(!call.headers.contains_key("grpc-encoding"));
        }
        assert_balanced(&exporter.stats(), 500);
    }
}

#[test]
fn a_peer_that_has_not_the_encoding_loses_that_request_and_gets_later_ones_plain() {
    let server = GrpcServer::scripted(|number| match number {
        0 => GrpcReply::TrailersOnly(200, vec![("grpc-status", "12".to_owned())]),
        _ => GrpcReply::Accept,
    });
    let exporter = builder(server.endpoint()).0.compression(Compression::Gzip).build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 200);
    assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 200, rejected: 0 }));
    end_spans(&provider, 200);
    exporter.flush(LONG).unwrap();
    let flags: Vec<_> = server.calls().iter().map(|call| call.flag).collect();
    assert_eq!((flags, server.ids().len()), (vec![1, 0], 200));
}

#[test]
fn headers_that_change_are_asked_for_and_told_of_unauthenticated() {
    for io in drivers() {
        let server = GrpcServer::scripted(|number| match number {
            0 => GrpcReply::TrailersOnly(200, vec![("grpc-status", "16".to_owned())]),
            _ => GrpcReply::Accept,
        });
        let was_told = Arc::new(AtomicBool::new(false));
        let telling = Arc::clone(&was_told);
        let source = move |request: &OutgoingRequest| {
            assert!(request.target().ends_with("TraceService/Export"));
            telling.fetch_or(request.is_after_refusal(), Ordering::SeqCst);
            let token = if request.is_after_refusal() { "new" } else { "old" };
            Ok(vec![("authorization".to_owned(), token.to_owned())])
        };
        let exporter = builder(server.endpoint()).0.io(io).headers_from(source).build().unwrap();
        let provider = provider(&exporter, "service");
        end_spans(&provider, 1);
        assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 1, rejected: 0 }));
        end_spans(&provider, 1);
        exporter.flush(LONG).unwrap();
        let calls = server.calls();
        let tokens: Vec<_> = calls.iter().map(|call| &call.headers["authorization"]).collect();
        assert_eq!(tokens, ["old", "new"], "{io:?}");
        assert!(was_told.load(Ordering::SeqCst));
    }
}

#[test]
fn a_binary_header_that_is_no_base64_is_told_of_and_nothing_is_sent_without_it() {
    let server = GrpcServer::scripted(|_| GrpcReply::Accept);
    let asked = AtomicUsize::new(0);
    let source = move |_: &OutgoingRequest| {
        let value = ["not base64!", "AAEC"][asked.fetch_add(1, Ordering::SeqCst).min(1)];
        Ok(vec![("x-token-bin".to_owned(), value.to_owned())])
    };
    let (builder, diagnostics) = builder(server.endpoint());
    let exporter = builder.headers_from(source).build().unwrap();
    end_spans(&provider(&exporter, "service"), 1);
    exporter.flush(LONG).unwrap();
    let told = diagnostics.wait_for("ExportFailing");
    assert!(told.contains("ends with -bin if its value is base64"), "{told}");
    let calls = server.calls();
    let tokens: Vec<_> =
        calls.iter().map(|call| call.headers.get("x-token-bin").unwrap()).collect();
    assert_eq!(tokens, ["AAEC"]);
}

#[test]
fn a_peer_that_speaks_http1_is_told_of_by_name_and_the_data_waits() {
    for io in drivers() {
        let listener = std::net::TcpListener::bind((support::own_ip(), 0)).unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            let answer = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
            std::io::Write::write_all(&mut peer, answer).unwrap();
            // Until the other end has had enough.
            let _ = std::io::copy(&mut peer, &mut std::io::sink());
        });
        let (builder, diagnostics) = builder(&endpoint);
        let exporter = builder.io(io).build().unwrap();
        // It would be flushed if it were dropped now.
        let provider = provider(&exporter, "service");
        end_spans(&provider, 1);
        assert!(exporter.flush(std::time::Duration::from_millis(1)).is_err());
        let told = diagnostics.wait_for("ExportFailing");
        assert!(told.contains("is not acceptable gRPC"), "{told}");
        assert!(told.contains("check that the endpoint is an OTLP/gRPC port"), "{told}");
        answering.join().unwrap();
        exporter.shutdown(std::time::Duration::ZERO).unwrap_err();
        assert_balanced(&exporter.stats(), 1);
    }
}
