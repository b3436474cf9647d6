//! OTLP/gRPC against a scripted server: what is delivered, retried, refused; and connections that
//! go away, die, stall.
#![cfg(target_os = "linux")]

#[path = "support/grpc.rs"]
mod server;
mod support;

use std::time::Duration;

use h2::Reason;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use spanwire::{BuildError, Builder, Compression, FlushError, Protocol, ShutdownError};

use server::{GrpcOptions, GrpcReply, GrpcServer};
use support::otel::{
    Diagnostics, LONG, assert_balanced, drivers, emit_logs, end_large_spans, end_spans,
    logger_provider, provider,
};

fn builder(endpoint: &str) -> (Builder, Diagnostics) {
    let (builder, diagnostics) = support::otel::builder(endpoint);
    (builder.protocol(Protocol::Grpc), diagnostics)
}

/// The fields of a status, with a RetryInfo that asks for so many milliseconds, if for any.
fn status(code: u8, retry_after_ms: Option<u8>) -> Vec<(&'static str, String)> {
    let mut fields =
        vec![("grpc-status", code.to_string()), ("grpc-message", "caf%C3%A9".to_owned())];
    if retry_after_ms == Some(1) {
        // Status { code, details: [Any { RetryInfo { retry_delay: 1 ms } }] }, without padding.
        let any = "GjIKKHR5cGUuZ29vZ2xlYXBpcy5jb20vZ29vZ2xlLnJwYy5SZXRyeUluZm8SBgoEEMCEPQ";
        fields.push(("grpc-status-details-bin", any.to_owned()));
    }
    fields
}

/// What becomes of five spans if the first request is answered with `reply`, and all others are
/// accepted: how many requests there were, and the stats.
fn fate_of(reply: GrpcReply) -> (usize, spanwire::Stats) {
    let server = GrpcServer::scripted(move |number| match number {
        0 => reply.clone(),
        _ => GrpcReply::Accept,
    });
    let exporter = builder(server.endpoint()).0.build().unwrap();
    end_spans(&provider(&exporter, "service"), 5);
    let flushed = exporter.flush(LONG);
    let stats = exporter.stats();
    assert_balanced(&stats, 5);
    assert_eq!(flushed.is_ok(), stats.delivered == 5, "{flushed:?}");
    (server.calls().len(), stats)
}

fn assert_retried(reply: GrpcReply) {
    let (calls, stats) = fate_of(reply.clone());
    assert_eq!((calls, stats.delivered, stats.retries), (2, 5, 1), "{reply:?}");
}

fn assert_refused(reply: GrpcReply) {
    let (calls, stats) = fate_of(reply.clone());
    assert_eq!((calls, stats.dropped.refused, stats.retries), (1, 5, 0), "{reply:?}");
}

#[test]
fn c2_spans_arrive_as_a_unary_call_with_the_fields_of_the_protocol() {
    for io in drivers() {
        let server = GrpcServer::start();
        let exporter = builder(server.endpoint())
            .0
            .io(io)
            .header("x-tenant", "shop")
            .header("trace-bin", "AAEC")
            .timeout(Duration::from_secs(9))
            .build()
            .unwrap();
        let ids = end_spans(&provider(&exporter, "service"), 7);
        exporter.flush(LONG).unwrap();
        let received = server.ids();
        assert!(received.len() == 7 && ids.iter().all(|id| received[id] == 1));
        let calls = server.calls();
        let call = &calls[0];
        assert_eq!(call.path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
        assert_eq!(format!("http://{}", call.authority), server.endpoint());
        let version = env!("CARGO_PKG_VERSION");
        let agent = format!("spanwire/{version} OTel-OTLP-Exporter-Rust/{version}");
        for (name, value) in [
            ("te", "trailers"),
            ("user-agent", agent.as_str()),
            ("content-type", "application/grpc"),
            ("grpc-accept-encoding", "identity"),
            ("x-tenant", "shop"),
            ("trace-bin", "AAEC"),
        ] {
            assert_eq!(call.headers[name], value, "{name}");
        }
        let timeout = call.headers["grpc-timeout"].to_str().unwrap();
        let (digits, unit) = timeout.split_at(timeout.len() - 1);
        assert!(digits.len() <= 8 && unit == "u", "{timeout}");
        assert!((1..=9_000_000).contains(&digits.parse::<u64>().unwrap()), "{timeout}");
        assert_eq!((exporter.stats().delivered, call.flag), (7, 0));
        exporter.shutdown(LONG).unwrap();
    }
}

#[test]
fn each_signal_is_sent_to_its_own_service() {
    let server = GrpcServer::start();
    let exporter = builder(server.endpoint()).0.build().unwrap();
    let bodies = emit_logs(&logger_provider(&exporter, "service"), 3);
    exporter.flush(LONG).unwrap();
    let calls = server.calls();
    assert_eq!(calls[0].path, "/opentelemetry.proto.collector.logs.v1.LogsService/Export");
    let logs = ExportLogsServiceRequest::decode(calls[0].message.clone()).unwrap();
    assert_eq!(logs.resource_logs[0].scope_logs[0].log_records.len(), bodies.len());
}

#[test]
fn g5_a_partial_success_is_counted_and_not_sent_again() {
    let partial_success =
        Some(ExportTracePartialSuccess { rejected_spans: 2, error_message: "quota".into() });
    let message = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    let (calls, stats) = fate_of_partial(message);
    assert_eq!((calls, stats.delivered, stats.rejected), (1, 3, 2));
}

fn fate_of_partial(message: Vec<u8>) -> (usize, spanwire::Stats) {
    let server = GrpcServer::scripted(move |_| GrpcReply::AcceptWith(message.clone()));
    let (builder, diagnostics) = builder(server.endpoint());
    let exporter = builder.build().unwrap();
    end_spans(&provider(&exporter, "service"), 5);
    assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 0, rejected: 2 }));
    assert!(diagnostics.of_kind("PartialSuccess")[0].contains("quota"));
    (server.calls().len(), exporter.stats())
}

#[test]
fn g7_g8_each_status_with_and_without_retry_info_is_retried_or_refused() {
    for code in 1..=16 {
        for retry_after_ms in [None, Some(1)] {
            let is_retried = matches!(code, 1 | 4 | 10 | 11 | 14 | 15)
                || (code == 8 && retry_after_ms.is_some());
            let fields = status(code, retry_after_ms);
            // Both forms of an answer without a message, in turn.
            let reply = match code % 2 {
                0 => GrpcReply::TrailersOnly(200, fields),
                _ => GrpcReply::Trailers(fields),
            };
            if is_retried { assert_retried(reply) } else { assert_refused(reply) }
        }
    }
}

#[test]
fn a_refusal_is_told_in_the_peers_words() {
    let server = GrpcServer::scripted(|_| GrpcReply::TrailersOnly(200, status(16, None)));
    let (builder, diagnostics) = builder(server.endpoint());
    let exporter = builder.build().unwrap();
    end_spans(&provider(&exporter, "service"), 1);
    exporter.flush(LONG).unwrap_err();
    let told = diagnostics.of_kind("Refused");
    assert!(told[0].contains("UNAUTHENTICATED (16): caf\u{e9}; check the credentials"), "{told:?}");
}

#[test]
fn wire2_the_http_status_decides_where_there_is_no_grpc_status() {
    for (status, is_retried) in [
        (200, false),
        (400, false),
        (401, false),
        (404, false),
        (429, true),
        (502, true),
        (503, true),
    ] {
        for reply in [
            GrpcReply::Http(status, "text/html", "<html>"),
            GrpcReply::Http(status, "application/grpc", "<html>"),
            GrpcReply::TrailersOnly(status, vec![]),
        ] {
            if is_retried { assert_retried(reply) } else { assert_refused(reply) }
        }
    }
}

#[test]
fn wire3_a_reset_stream_is_retried_or_refused_by_its_reason() {
    for reason in [Reason::REFUSED_STREAM, Reason::CANCEL] {
        assert_retried(GrpcReply::Reset(reason));
    }
    for reason in [
        Reason::NO_ERROR,
        Reason::INTERNAL_ERROR,
        Reason::ENHANCE_YOUR_CALM,
        Reason::INADEQUATE_SECURITY,
    ] {
        assert_refused(GrpcReply::Reset(reason));
    }
}

#[test]
fn g3_a_response_above_the_limit_is_refused_without_reading_it() {
    let server = GrpcServer::scripted(|number| match number {
        0 => GrpcReply::Announce(2000),
        _ => GrpcReply::Announce(1000),
    });
    let (builder, diagnostics) = builder(server.endpoint());
    let exporter = builder.response_bytes_max(1024).build().unwrap();
    end_spans(&provider(&exporter, "service"), 5);
    exporter.flush(LONG).unwrap_err();
    assert_eq!(exporter.stats().dropped.refused, 5);
    assert!(diagnostics.of_kind("Refused")[0].contains("above the limit"));
}

#[test]
fn an_answer_that_comes_before_the_request_is_sent_is_heard() {
    let server = GrpcServer::with_options(
        GrpcOptions { window: Some(1 << 16), ..GrpcOptions::default() },
        |_| GrpcReply::Early(status(8, None)),
    );
    let exporter = builder(server.endpoint()).0.batch_bytes(1 << 20).build().unwrap();
    end_large_spans(&provider(&exporter, "service"), 10);
    exporter.flush(LONG).unwrap_err();
    assert_eq!(exporter.stats().dropped.refused, 10);
}

#[test]
fn an_early_answer_counts_and_not_the_reset_that_stops_the_rest_of_the_request() {
    for io in drivers() {
        let server = GrpcServer::with_options(
            GrpcOptions { window: Some(1 << 16), ..GrpcOptions::default() },
            |number| match number {
                0..3 => GrpcReply::Early(status(14, None)),
                _ => GrpcReply::Accept,
            },
        );
        let exporter = builder(server.endpoint()).0.io(io).batch_bytes(1 << 20).build().unwrap();
        end_large_spans(&provider(&exporter, "service"), 10);
        exporter.flush(LONG).unwrap();
        assert_eq!((server.ids().len(), exporter.stats().delivered), (10, 10), "{io:?}");
    }
}

#[test]
fn answers_that_are_not_read_to_their_end_leave_room_for_later_ones() {
    for io in drivers() {
        // Together several times what the connection may receive before somebody has read it.
        let server = GrpcServer::scripted(|number| match number {
            0..100 => GrpcReply::Announce(4000),
            _ => GrpcReply::Accept,
        });
        let exporter = builder(server.endpoint())
            .0
            .io(io)
            .response_bytes_max(1024)
            .batch_records(1)
            .build()
            .unwrap();
        end_spans(&provider(&exporter, "service"), 110);
        exporter.flush(LONG).unwrap_err();
        let stats = exporter.stats();
        assert_eq!((stats.dropped.refused, stats.delivered, stats.retries), (100, 10, 0), "{io:?}");
        assert_eq!(server.connections(), 1, "{io:?}");
    }
}

#[test]
fn g2_a_request_above_the_limit_is_not_sent_and_counted_also_if_it_would_compress() {
    for compression in [Compression::None, Compression::Gzip] {
        let server = GrpcServer::start();
        let (builder, diagnostics) = builder(server.endpoint());
        let exporter = builder.request_bytes_max(4 << 10).compression(compression).build().unwrap();
        let provider = provider(&exporter, "service");
        let tracer = provider.tracer("test");
        let mut span = tracer.start("large");
        span.set_attribute(KeyValue::new("text", "x".repeat(8 << 10)));
        span.end();
        let ids = end_spans(&provider, 1);
        assert!(exporter.flush(LONG).is_err());
        assert_eq!(exporter.stats().dropped.oversize, 1, "{compression:?}");
        assert_balanced(&exporter.stats(), 2);
        if compression == Compression::None {
            assert_eq!(server.ids().keys().cloned().collect::<Vec<_>>(), ids);
        }
        assert_eq!(server.calls().len(), 1, "{compression:?}");
        assert_eq!(diagnostics.of_kind("Oversize:").len(), 1, "{compression:?}");
    }
}

#[test]
fn a_batch_far_above_the_peers_windows_is_delivered_without_a_stall() {
    for io in drivers() {
        for window in [1 << 10, (1 << 16) - 1, 1 << 20] {
            let server = GrpcServer::with_options(
                GrpcOptions { window: Some(window), ..GrpcOptions::default() },
                |_| GrpcReply::Accept,
            );
            let exporter = builder(server.endpoint())
                .0
                .io(io)
                .buffer_bytes(64 << 20)
                .batch_bytes(4 << 20)
                .batch_age(LONG)
                .build()
                .unwrap();
            end_large_spans(&provider(&exporter, "service"), 38);
            exporter.flush(LONG).unwrap();
            let largest = server.calls().iter().map(|call| call.message.len()).max().unwrap();
            assert!(largest > 3 << 20, "{io:?}, {window}: {largest}");
            assert_eq!((server.ids().len(), exporter.stats().retries), (38, 0), "{io:?}, {window}");
        }
    }
}

#[test]
fn c9_requests_in_flight_share_one_connection() {
    for io in drivers() {
        let server = GrpcServer::start();
        let exporter = builder(server.endpoint()).0.io(io).batch_records(1).build().unwrap();
        end_spans(&provider(&exporter, "service"), 200);
        exporter.flush(LONG).unwrap();
        assert_eq!((server.ids().len(), server.connections()), (200, 1), "{io:?}");
        assert_eq!((exporter.stats().requests, exporter.stats().retries), (200, 0), "{io:?}");
    }
}

#[test]
fn a_peer_that_takes_one_stream_at_a_time_gets_one_at_a_time() {
    for io in drivers() {
        let server = GrpcServer::with_options(
            GrpcOptions { streams_max: Some(1), ..GrpcOptions::default() },
            |_| GrpcReply::Accept,
        );
        let exporter = builder(server.endpoint()).0.io(io).batch_records(1).build().unwrap();
        end_spans(&provider(&exporter, "service"), 100);
        exporter.flush(LONG).unwrap();
        assert_eq!((server.ids().len(), server.streams_most()), (100, 1), "{io:?}");
        assert_eq!(exporter.stats().retries, 0, "none was refused: {io:?}");
    }
}

#[test]
fn a_goodbye_lets_requests_under_way_finish_and_later_ones_go_elsewhere() {
    for io in drivers() {
        let server = GrpcServer::scripted(|number| match number % 3 {
            0 => GrpcReply::AcceptAndGoAway,
            _ => GrpcReply::Accept,
        });
        let exporter = builder(server.endpoint()).0.io(io).build().unwrap();
        let provider = provider(&exporter, "service");
        for _ in 0..6 {
            end_spans(&provider, 5);
            exporter.flush(LONG).unwrap();
        }
        let ids = server.ids();
        assert!(ids.len() == 30 && ids.values().all(|copies| *copies == 1), "{io:?}");
        assert_eq!(exporter.stats().delivered, 30, "{io:?}");
        assert!(server.connections() >= 2, "{io:?}");
    }
}

#[test]
fn goodbyes_in_the_middle_of_many_requests_lose_nothing() {
    for io in drivers() {
        let server = GrpcServer::scripted(|number| match number % 5 {
            0 => GrpcReply::AcceptAndGoAway,
            _ => GrpcReply::Accept,
        });
        let exporter = builder(server.endpoint()).0.io(io).batch_records(1).build().unwrap();
        end_spans(&provider(&exporter, "service"), 100);
        exporter.flush(LONG).unwrap();
        // What a peer may not have processed is sent again.
        assert_eq!((server.ids().len(), exporter.stats().delivered), (100, 100), "{io:?}");
        assert_balanced(&exporter.stats(), 100);
    }
}

#[test]
fn a_shutdown_does_not_wait_for_a_peer_that_reads_nothing() {
    for io in drivers() {
        let server = GrpcServer::with_options(
            GrpcOptions { window: Some(1 << 16), ..GrpcOptions::default() },
            |_| GrpcReply::StallUnread,
        );
        let exporter =
            builder(server.endpoint()).0.io(io).timeout(LONG).batch_bytes(1 << 20).build().unwrap();
        end_large_spans(&provider(&exporter, "service"), 5);
        server.wait_for_calls(1);
        let ended = exporter.shutdown(Duration::from_millis(100));
        assert_eq!(ended, Err(ShutdownError::Timeout { left: 5 }), "{io:?}");
        assert_eq!(exporter.stats().dropped.shutdown, 5);
        assert_balanced(&exporter.stats(), 5);
    }
}

#[test]
fn a_connection_that_is_aborted_or_killed_is_opened_again_and_the_request_resent() {
    for io in drivers() {
        for reply in [
            GrpcReply::Kill,
            GrpcReply::Abort(Reason::NO_ERROR),
            GrpcReply::Abort(Reason::ENHANCE_YOUR_CALM),
        ] {
            let first = reply.clone();
            let server = GrpcServer::scripted(move |number| match number {
                0 => first.clone(),
                _ => GrpcReply::Accept,
            });
            let exporter = builder(server.endpoint()).0.io(io).build().unwrap();
            end_spans(&provider(&exporter, "service"), 5);
            exporter.flush(LONG).unwrap();
            let stats = exporter.stats();
            assert_eq!((stats.delivered, stats.retries), (5, 1), "{io:?}, {reply:?}");
            assert_eq!((server.ids().len(), server.connections()), (5, 2), "{io:?}, {reply:?}");
        }
    }
}

#[test]
fn wire3_at_the_deadline_the_stream_is_reset_and_the_request_tried_again() {
    for io in drivers() {
        for reply in [GrpcReply::Stall, GrpcReply::StallUnread] {
            let first = reply.clone();
            let server = GrpcServer::with_options(
                GrpcOptions { window: Some(1 << 16), ..GrpcOptions::default() },
                move |number| match number {
                    0 => first.clone(),
                    _ => GrpcReply::Accept,
                },
            );
            let (builder, diagnostics) = builder(server.endpoint());
            let exporter = builder
                .io(io)
                .timeout(Duration::from_millis(300))
                .batch_bytes(1 << 20)
                .build()
                .unwrap();
            end_large_spans(&provider(&exporter, "service"), 5);
            exporter.flush(LONG).unwrap();
            assert_eq!(server.wait_for_reset(), Reason::CANCEL, "{io:?}");
            assert_eq!(exporter.stats().delivered, 5);
            let told = diagnostics.of_kind("ExportFailing");
            assert!(told[0].contains("did not answer in time"), "{told:?}");
        }
    }
}

#[test]
fn a_peer_that_never_says_a_word_is_found_by_a_ping_and_left() {
    for io in drivers() {
        let server =
            GrpcServer::with_options(GrpcOptions { mute: 1, ..GrpcOptions::default() }, |_| {
                GrpcReply::Accept
            });
        let (builder, diagnostics) = builder(server.endpoint());
        let exporter = builder
            .io(io)
            .timeout(LONG)
            .keepalive(Duration::from_millis(100), Duration::from_millis(100))
            .build()
            .unwrap();
        end_spans(&provider(&exporter, "service"), 5);
        exporter.flush(LONG).unwrap();
        assert_eq!((server.ids().len(), exporter.stats().retries), (5, 1), "{io:?}");
        let told = diagnostics.of_kind("ExportFailing");
        assert!(told[0].contains("keepalive"), "{told:?}");
    }
}

#[test]
fn a_peer_that_never_says_a_word_is_left_after_the_deadline_of_an_attempt() {
    for io in drivers() {
        let server =
            GrpcServer::with_options(GrpcOptions { mute: 1, ..GrpcOptions::default() }, |_| {
                GrpcReply::Accept
            });
        let exporter = builder(server.endpoint())
            .0
            .io(io)
            .timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        end_spans(&provider(&exporter, "service"), 5);
        exporter.flush(LONG).unwrap();
        assert_eq!((server.ids().len(), server.connections()), (5, 2), "{io:?}");
        assert_eq!(exporter.stats().retries, 1, "one attempt was enough to find it: {io:?}");
    }
}

#[test]
fn the_end_of_the_exporter_is_a_goodbye_to_the_peer() {
    for io in drivers() {
        let server = GrpcServer::start();
        let exporter = builder(server.endpoint()).0.io(io).build().unwrap();
        end_spans(&provider(&exporter, "service"), 1);
        exporter.shutdown(LONG).unwrap();
        drop(exporter);
        server.wait_for_farewells(1);
    }
}

#[test]
fn a_unix_socket_is_an_endpoint_too() {
    for io in drivers() {
        let path =
            std::env::temp_dir().join(format!("spanwire-{}-{io:?}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let server = GrpcServer::on_unix(&path);
        let exporter = builder(server.endpoint()).0.io(io).build().unwrap();
        end_spans(&provider(&exporter, "service"), 5);
        exporter.flush(LONG).unwrap();
        assert_eq!(server.ids().len(), 5, "{io:?}");
        assert_eq!(server.calls()[0].authority, "localhost");
        std::fs::remove_file(&path).unwrap();
    }
}

#[test]
fn headers_that_grpc_cannot_carry_are_refused_at_build() {
    for (name, value) in [("grpc-timeout", "1S"), ("te", "gzip?"), ("trace-bin", "no base64!")] {
        let built = builder("http://localhost:4317").0.header(name, value).build();
        match built {
            Err(BuildError::InvalidHeader { name: shown, why, .. }) => {
                assert!(shown == name && !why.contains(value), "{why}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}
