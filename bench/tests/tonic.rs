//! OTLP/gRPC against tonic's server, which is not ours: what it decodes, what its statuses do, and
//! the limits that its users set.
#![cfg(target_os = "linux")]

#[path = "../../exporter/tests/support/otel.rs"]
mod otel;
#[path = "support/tonic.rs"]
mod server;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use opentelemetry::{KeyValue, metrics::MeterProvider as _};
use opentelemetry_proto::tonic::{
    common::v1::any_value::Value, metrics::v1::metric::Data, resource::v1::Resource,
};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use spanwire::{
    Builder, Compression, FlushError, Io, OutgoingRequest, Protocol, Stats, TlsConfig,
    otel_0_33::MetricExporter,
};
use tonic::{
    Code, Status,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    transport::{Certificate, Identity, Server, ServerTlsConfig},
};
use tonic_types::{ErrorDetails, StatusExt as _};

use otel::{
    Diagnostics, LONG, assert_balanced, drivers, emit_logs, end_large_spans, end_spans,
    logger_provider, provider,
};
use server::{Answer, Call, Export, Services, TonicServer};

fn builder(server: &TonicServer, io: Io) -> (Builder, Diagnostics) {
    let (builder, diagnostics) = otel::builder(&server.endpoint());
    (builder.protocol(Protocol::Grpc).io(io), diagnostics)
}

/// Fails unless each of `ids` was let in, and once.
fn assert_once(ids: &[Vec<u8>], received: &HashMap<Vec<u8>, usize>, case: &str) {
    assert_eq!(ids.len(), received.len(), "{case}");
    assert!(ids.iter().all(|id| received.get(id) == Some(&1)), "{case}");
}

const MESSAGE: &str = "100% caf\u{e9}: \u{2713} 50%25 \"full\"";

/// A status as tonic writes it.
fn status(code: i32, retry_delay: Option<Duration>) -> Status {
    let details = |delay| ErrorDetails::with_retry_info(Some(delay));
    match retry_delay {
        None => Status::new(Code::from_i32(code), MESSAGE),
        Some(delay) => Status::with_error_details(Code::from_i32(code), MESSAGE, details(delay)),
    }
}

/// What becomes of five spans if the first request gets this answer and all later ones are
/// accepted: the requests that reached tonic, the stats, and what the user is told.
fn fate_of(io: Io, first: Answer) -> (usize, Stats, Diagnostics) {
    let server = TonicServer::scripted(move |number| match number {
        0 => first.clone(),
        _ => Answer::Accept,
    });
    let (builder, diagnostics) = builder(&server, io);
    let exporter = builder.retry_budget(LONG).build().unwrap();
    end_spans(&provider(&exporter, "service"), 5);
    let flushed = exporter.flush(LONG);
    let stats = exporter.stats();
    assert_balanced(&stats, 5);
    assert_eq!(flushed.is_ok(), stats.delivered == 5, "{flushed:?}");
    (server.calls().len(), stats, diagnostics)
}

#[test]
fn g7_g8_each_status_is_retried_or_refused_and_told_in_tonics_words() {
    for io in drivers() {
        for code in 1..=16 {
            for delay in [None, Some(Duration::from_millis(1))] {
                let is_retried =
                    matches!(code, 1 | 4 | 10 | 11 | 14 | 15) || (code == 8 && delay.is_some());
                let (calls, stats, diagnostics) = fate_of(io, Answer::Refuse(status(code, delay)));
                let fate = (calls, stats.delivered, stats.dropped.refused, stats.retries);
                let expected = if is_retried { (2, 5, 0, 1) } else { (1, 0, 5, 0) };
                assert_eq!(fate, expected, "{io:?}, {code}, {delay:?}");
                let kind = if is_retried { "ExportFailing" } else { "Refused" };
                let told = diagnostics.wait_for(kind);
                assert!(told.contains(&format!(" ({code}): {MESSAGE}; ")), "{told}");
            }
        }
    }
}

#[test]
fn g9_a_retry_info_beyond_the_budget_ends_the_request_at_once() {
    for io in drivers() {
        for code in [Code::ResourceExhausted, Code::Unavailable] {
            let hour = Some(Duration::from_secs(3600));
            let (calls, stats, _) = fate_of(io, Answer::Refuse(status(code as i32, hour)));
            assert_eq!((calls, stats.dropped.retries_exhausted), (1, 5), "{io:?}, {code:?}");
        }
    }
}

#[test]
fn g5_a_partial_success_of_each_signal_is_counted_and_not_sent_again() {
    for io in drivers() {
        let server = TonicServer::scripted(|_| Answer::Partial(1, MESSAGE));
        let (builder, diagnostics) = builder(&server, io);
        let exporter = builder.build().unwrap();
        end_spans(&provider(&exporter, "service"), 3);
        emit_logs(&logger_provider(&exporter, "service"), 3);
        let meters = meter_provider(&exporter);
        add_points(&meters, 3);
        // It is told of what was rejected, as the flush is.
        let _ = meters.force_flush();
        let _ = exporter.flush(LONG);
        let stats = exporter.stats();
        assert_balanced(&stats, 9);
        let rejected = [stats.traces, stats.logs, stats.metrics].map(|signal| signal.rejected);
        assert_eq!((rejected, stats.delivered, stats.retries), ([1; 3], 6, 0), "{io:?}");
        assert_eq!(server.calls().len(), 3, "{io:?}");
        assert!(diagnostics.wait_for("PartialSuccess").contains(MESSAGE));
    }
}

#[test]
fn g6_a_partial_success_without_rejections_is_a_remark() {
    for io in drivers() {
        let (calls, stats, diagnostics) = fate_of(io, Answer::Partial(0, "deprecated"));
        assert_eq!((calls, stats.delivered, stats.rejected), (1, 5, 0), "{io:?}");
        assert!(diagnostics.wait_for("PartialSuccess").contains("deprecated"), "{io:?}");
    }
}

fn meter_provider(exporter: &spanwire::Exporter) -> SdkMeterProvider {
    let resource = opentelemetry_sdk::Resource::builder_empty().with_service_name("service");
    SdkMeterProvider::builder()
        .with_resource(resource.build())
        .with_periodic_exporter(MetricExporter::new(exporter))
        .build()
}

/// A counter with so many points: point n has the value n.
fn add_points(meters: &SdkMeterProvider, count: i64) {
    let counter = meters.meter("test").u64_counter("counter").build();
    (0..count).for_each(|index| counter.add(index as u64, &[KeyValue::new("index", index)]));
}

#[test]
fn every_record_of_three_signals_is_what_tonic_decodes() {
    for io in drivers() {
        let server = TonicServer::start();
        let exporter = builder(&server, io).0.header("x-tenant", "shop").build().unwrap();
        let ids = end_spans(&provider(&exporter, "service"), 500);
        let mut bodies = emit_logs(&logger_provider(&exporter, "service"), 500);
        let meters = meter_provider(&exporter);
        add_points(&meters, 100);
        meters.force_flush().unwrap();
        exporter.flush(LONG).unwrap();
        assert_balanced(&exporter.stats(), 1100);

        assert_once(&ids, &server.ids(), "the spans");
        let calls = server.calls();
        let mut received: Vec<_> = calls.iter().flat_map(log_bodies).collect();
        received.sort_unstable();
        bodies.sort_unstable();
        assert_eq!(received, bodies, "{io:?}");
        let points: BTreeMap<_, _> = calls.iter().flat_map(points).collect();
        assert_eq!(points, (0..100).map(|index| (index, index)).collect(), "{io:?}");
        for call in &calls {
            assert_eq!(services(&call.export), ["service"], "one resource each, and ours");
            assert_eq!(call.metadata.get("x-tenant").unwrap(), "shop");
            assert!(call.metadata.get("grpc-timeout").is_some());
        }
        assert_eq!(server.connections(), 3, "one for each signal: {io:?}");
        meters.shutdown().unwrap();
    }
}

/// The names of the services that the resources of a request belong to.
fn services(export: &Export) -> Vec<String> {
    let name = |resource: Option<Resource>| {
        let mut attributes = resource.expect("a resource").attributes.into_iter();
        let name = attributes.find(|attribute| attribute.key == "service.name");
        text(name.expect("a name").value)
    };
    match export.clone() {
        Export::Traces(export) => {
            export.resource_spans.into_iter().map(|one| name(one.resource)).collect()
        }
        Export::Logs(export) => {
            export.resource_logs.into_iter().map(|one| name(one.resource)).collect()
        }
        Export::Metrics(export) => {
            export.resource_metrics.into_iter().map(|one| name(one.resource)).collect()
        }
    }
}

fn text(value: Option<opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}

fn log_bodies(call: &Call) -> Vec<String> {
    let Export::Logs(export) = call.export.clone() else { return Vec::new() };
    let scopes = export.resource_logs.into_iter().flat_map(|one| one.scope_logs);
    scopes.flat_map(|scope| scope.log_records).map(|record| text(record.body)).collect()
}

/// The points of the counter: index and value.
fn points(call: &Call) -> Vec<(i64, i64)> {
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;

    let Export::Metrics(export) = call.export.clone() else { return Vec::new() };
    let scopes = export.resource_metrics.into_iter().flat_map(|one| one.scope_metrics);
    let metrics = scopes.flat_map(|scope| scope.metrics);
    let of_sum = |data| match data {
        Some(Data::Sum(sum)) => sum.data_points,
        other => panic!("no sum: {other:?}"),
    };
    let pair = |point: opentelemetry_proto::tonic::metrics::v1::NumberDataPoint| {
        let index = point.attributes[0].value.clone().and_then(|value| value.value);
        match (index, point.value) {
            (Some(Value::IntValue(index)), Some(Number::AsInt(value))) => (index, value),
            other => panic!("not what was added: {other:?}"),
        }
    };
    metrics.flat_map(|metric| of_sum(metric.data)).map(pair).collect()
}

#[test]
fn a_signal_that_is_not_served_is_refused_and_the_others_arrive() {
    for io in drivers() {
        let services = Services { are_for_traces_only: true, ..Services::default() };
        let server = TonicServer::with(Server::builder(), services, |_| Answer::Accept);
        let (builder, diagnostics) = builder(&server, io);
        let exporter = builder.build().unwrap();
        let ids = end_spans(&provider(&exporter, "service"), 5);
        emit_logs(&logger_provider(&exporter, "service"), 7);
        assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 7, rejected: 0 }));
        assert_once(&ids, &server.ids(), "the spans");
        assert_eq!(exporter.stats().logs.dropped.refused, 7, "{io:?}");
        let told = diagnostics.wait_for("Refused");
        assert!(told.contains("UNIMPLEMENTED (12); ") && told.contains("this signal"), "{told}");
    }
}

/// Ours and tonic's names of the same.
const ENCODINGS: [(Compression, CompressionEncoding, &str); 2] = [
    (Compression::Gzip, CompressionEncoding::Gzip, "gzip"),
    (Compression::Zstd, CompressionEncoding::Zstd, "zstd"),
];

#[test]
fn what_is_compressed_is_read_and_answers_that_could_be_are_not() {
    for io in drivers() {
        for (ours, theirs, name) in ENCODINGS {
            let services =
                Services { accepts: Some(theirs), sends: Some(theirs), ..Services::default() };
            let server = TonicServer::with(Server::builder(), services, |number| match number {
                0 => Answer::Partial(1, MESSAGE),
                _ => Answer::Accept,
            });
            let (builder, diagnostics) = builder(&server, io);
            let exporter = builder.compression(ours).build().unwrap();
            let ids = end_spans(&provider(&exporter, "service"), 3000);
            let lost = exporter.flush(LONG);
            assert_eq!(lost, Err(FlushError::Lost { dropped: 0, rejected: 1 }), "{io:?}, {name}");
            assert_once(&ids, &server.ids(), name);
            assert!(diagnostics.wait_for("PartialSuccess").contains(MESSAGE), "the answer is read");
            let calls = server.calls();
            let metadata = &calls[0].metadata;
            assert_eq!(metadata.get("grpc-encoding").unwrap(), name, "{io:?}");
            assert_eq!(metadata.get("grpc-accept-encoding").unwrap(), "identity", "{io:?}");
        }
    }
}

#[test]
fn a_server_that_has_not_the_encoding_loses_one_request_and_gets_later_ones_plain() {
    for io in drivers() {
        for (compression, _, name) in ENCODINGS {
            let server = TonicServer::start();
            let (builder, diagnostics) = builder(&server, io);
            let exporter = builder.compression(compression).build().unwrap();
            let provider = provider(&exporter, "service");
            end_spans(&provider, 200);
            let lost = exporter.flush(LONG);
            assert_eq!(lost, Err(FlushError::Lost { dropped: 200, rejected: 0 }), "{name}");
            let ids = [end_spans(&provider, 200), end_spans(&provider, 200)].concat();
            exporter.flush(LONG).unwrap();
            assert_once(&ids, &server.ids(), name);
            assert_eq!(exporter.stats().dropped.refused, 200, "{io:?}, {name}");
            assert_balanced(&exporter.stats(), 600);
            let told = diagnostics.wait_for("Refused");
            assert!(told.contains(&format!("compressed with `{name}` which")), "{told}");
            assert_eq!(diagnostics.of_kind("EncodingRefused").len(), 1, "{io:?}, {name}");
        }
    }
}

#[test]
fn a_request_above_tonics_limit_is_given_up_with_the_budget_and_smaller_ones_arrive() {
    for io in drivers() {
        let services = Services { request_bytes_max: Some(64 << 10), ..Services::default() };
        let server = TonicServer::with(Server::builder(), services, |_| Answer::Accept);
        let (builder, diagnostics) = builder(&server, io);
        let exporter = builder.retry_budget(Duration::from_secs(1)).build().unwrap();
        let provider = provider(&exporter, "service");
        end_large_spans(&provider, 1);
        // tonic says OUT_OF_RANGE, which is a code to retry.
        assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 1, rejected: 0 }));
        let ids = end_spans(&provider, 5);
        exporter.flush(LONG).unwrap();
        assert_once(&ids, &server.ids(), "the small ones");
        let stats = exporter.stats();
        assert!(stats.retries > 0 && stats.dropped.retries_exhausted == 1, "{io:?}: {stats:?}");
        assert_balanced(&stats, 6);
        let told = diagnostics.wait_for("ExportFailing");
        assert!(told.contains("message length too large: found "), "{told}");
        assert!(told.contains("or the request is too large for it"), "{told}");
    }
}

#[test]
fn a_compressed_request_above_tonics_limit_is_refused_at_once() {
    for io in drivers() {
        for (ours, theirs, name) in ENCODINGS {
            let services = Services {
                accepts: Some(theirs),
                request_bytes_max: Some(64 << 10),
                ..Services::default()
            };
            let server = TonicServer::with(Server::builder(), services, |_| Answer::Accept);
            let exporter = builder(&server, io).0.compression(ours).build().unwrap();
            end_large_spans(&provider(&exporter, "service"), 1);
            let lost = exporter.flush(LONG);
            assert_eq!(lost, Err(FlushError::Lost { dropped: 1, rejected: 0 }), "{io:?}, {name}");
            let stats = exporter.stats();
            assert_eq!((stats.dropped.refused, stats.retries), (1, 0), "{io:?}, {name}");
        }
    }
}

#[test]
fn a_service_that_takes_too_long_for_its_server_is_asked_again() {
    for io in drivers() {
        let impatient = Server::builder().timeout(Duration::from_millis(50));
        let server = TonicServer::with(impatient, Services::default(), |number| match number {
            0 => Answer::Hang,
            _ => Answer::Accept,
        });
        let (builder, diagnostics) = builder(&server, io);
        let exporter = builder.build().unwrap();
        let ids = end_spans(&provider(&exporter, "service"), 5);
        exporter.flush(LONG).unwrap();
        // A busy machine may be too slow more than once.
        let received = server.ids();
        assert!(ids.iter().all(|id| received.contains_key(id)), "{io:?}");
        assert_balanced(&exporter.stats(), 5);
        let told = diagnostics.wait_for("ExportFailing");
        assert!(told.contains("CANCELLED (1): Timeout expired; "), "{told}");
    }
}

#[test]
fn a_server_that_serves_one_request_at_a_time_gets_all_of_them() {
    for io in drivers() {
        for (limited, server) in [
            ("requests", Server::builder().concurrency_limit_per_connection(1)),
            ("streams", Server::builder().max_concurrent_streams(1)),
        ] {
            let server = TonicServer::with(server, Services::default(), |_| Answer::Accept);
            let exporter = builder(&server, io).0.batch_records(1).build().unwrap();
            let ids = end_spans(&provider(&exporter, "service"), 100);
            exporter.flush(LONG).unwrap();
            assert_once(&ids, &server.ids(), limited);
            assert_eq!((server.busy_most(), server.connections()), (1, 1), "{io:?}, {limited}");
            assert_eq!(exporter.stats().retries, 0, "none was refused: {io:?}, {limited}");
        }
    }
}

/// The contrast to the one before.
#[test]
fn a_server_without_a_limit_gets_several_requests_at_a_time() {
    for io in drivers() {
        let server = TonicServer::scripted(|_| Answer::Held);
        let exporter = builder(&server, io).0.batch_records(1).build().unwrap();
        let ids = end_spans(&provider(&exporter, "service"), 2);
        server.wait_for_calls(2);
        server.release();
        exporter.flush(LONG).unwrap();
        assert_once(&ids, &server.ids(), "held");
        assert_eq!((server.busy_most(), server.connections()), (2, 1), "{io:?}");
    }
}

#[test]
fn what_a_server_sheds_is_counted_as_refused() {
    for io in drivers() {
        let shedding = Server::builder().concurrency_limit_per_connection(1).load_shed(true);
        let server = TonicServer::with(shedding, Services::default(), |_| Answer::Held);
        let (builder, diagnostics) = builder(&server, io);
        let exporter = builder.batch_records(1).build().unwrap();
        let provider = provider(&exporter, "service");
        let ids = end_spans(&provider, 1);
        server.wait_for_calls(1);
        // Without a RetryInfo, RESOURCE_EXHAUSTED is final.
        end_spans(&provider, 3);
        let told = diagnostics.wait_for("Refused");
        assert!(told.contains("RESOURCE_EXHAUSTED (8): Too many active requests"), "{told}");
        server.release();
        let Err(FlushError::Lost { dropped, rejected: 0 }) = exporter.flush(LONG) else {
            panic!("something was lost");
        };
        let stats = exporter.stats();
        assert_eq!((stats.dropped.refused, stats.retries), (dropped, 0), "{io:?}");
        assert_balanced(&stats, 4);
        assert!(server.ids().contains_key(&ids[0]), "{io:?}");
        assert_eq!(server.ids().len() as u64, stats.delivered, "{io:?}");
    }
}

#[test]
fn batches_far_above_the_windows_arrive_whatever_tonic_is_set_to() {
    for io in drivers() {
        for (set, server) in [
            ("streams", Server::builder().initial_stream_window_size(1 << 10)),
            ("connection", Server::builder().initial_connection_window_size(1 << 16)),
            ("adaptive", Server::builder().http2_adaptive_window(Some(true))),
            ("frames", Server::builder().max_frame_size((1 << 24) - 1)),
            ("http/1.1 too", Server::builder().accept_http1(true)),
        ] {
            let server = TonicServer::with(server, Services::default(), |_| Answer::Accept);
            let builder = builder(&server, io).0.buffer_bytes(64 << 20).batch_bytes(4 << 20);
            let exporter = builder.batch_age(LONG).build().unwrap();
            let ids = end_large_spans(&provider(&exporter, "service"), 60);
            exporter.flush(LONG).unwrap();
            assert_once(&ids, &server.ids(), set);
            assert_eq!((exporter.stats().retries, server.connections()), (0, 1), "{io:?}, {set}");
        }
    }
}

#[test]
fn pings_of_the_server_are_answered_while_it_works_and_while_nothing_happens() {
    let testing = drivers().map(|io| thread::spawn(move || answers_pings(io)));
    testing.into_iter().for_each(|test| test.join().unwrap());
}

fn answers_pings(io: Io) {
    // What a machine may stall, and longer than a connection lives that does not answer.
    let (patience, work) = (Duration::from_secs(5), Duration::from_secs(6));
    let pinging = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_millis(50)))
        .http2_keepalive_timeout(Some(patience));
    let server = TonicServer::with(pinging, Services::default(), move |number| match number {
        1 => Answer::After(work),
        _ => Answer::Accept,
    });
    let idle = builder(&server, io).0.build().unwrap();
    let busy = builder(&server, io).0.build().unwrap();
    let (idles, busies) = (provider(&idle, "idle"), provider(&busy, "busy"));
    for (exporter, provider) in
        [(&idle, &idles), (&busy, &busies), (&idle, &idles), (&busy, &busies)]
    {
        end_spans(provider, 1);
        exporter.flush(LONG).unwrap();
    }
    assert_eq!((server.ids().len(), server.connections()), (4, 2), "{io:?}");
    assert_eq!((idle.stats().retries, busy.stats().retries), (0, 0), "{io:?}");
}

#[test]
fn connections_that_grow_too_old_for_their_server_lose_nothing_and_double_nothing() {
    for io in drivers() {
        let ageing = Server::builder().max_connection_age(Duration::from_millis(20));
        let (server, ids) = many_connections(io, ageing);
        assert_once(&ids, &server.ids(), &format!("{io:?}"));
    }
}

/// With a time of grace, tonic 0.14 says no goodbye at all: it drops the connection at its end.
#[test]
fn connections_that_are_dropped_for_their_age_lose_nothing() {
    for io in drivers() {
        let ageing = Server::builder()
            .max_connection_age(Duration::from_millis(10))
            .max_connection_age_grace(Duration::from_millis(10));
        let (server, ids) = many_connections(io, ageing);
        let received = server.ids();
        assert!(ids.iter().all(|id| received.contains_key(id)), "{io:?}");
    }
}

/// Sends spans until they have come over several connections; returns their ids.
fn many_connections(io: Io, server: Server) -> (TonicServer, Vec<Vec<u8>>) {
    let server = TonicServer::with(server, Services::default(), |_| Answer::Accept);
    let exporter = builder(&server, io).0.batch_records(1).build().unwrap();
    let provider = provider(&exporter, "service");
    let mut ids = Vec::new();
    let deadline = Instant::now() + LONG;
    while server.connections() < 5 {
        assert!(Instant::now() < deadline, "{} connections", server.connections());
        ids.extend(end_spans(&provider, 20));
        exporter.flush(LONG).unwrap();
    }
    let stats = exporter.stats();
    assert_balanced(&stats, ids.len());
    assert_eq!(stats.delivered, ids.len() as u64, "{io:?}");
    (server, ids)
}

#[test]
fn a_server_that_is_shut_down_and_started_again_gets_every_span_once() {
    for io in drivers() {
        let mut first = TonicServer::start();
        let exporter = Arc::new(builder(&first, io).0.batch_records(5).build().unwrap());
        let provider = provider(&exporter, "service");
        let flushing = Arc::clone(&exporter);
        let (enough, is_enough) = mpsc::channel::<()>();
        let ending = thread::spawn(move || {
            let mut ids = Vec::new();
            while matches!(is_enough.try_recv(), Err(mpsc::TryRecvError::Empty)) {
                ids.extend(end_spans(&provider, 100));
                flushing.flush(LONG).unwrap();
            }
            ids
        });
        first.wait_for_calls(20);
        first.stop_gracefully();
        let second = TonicServer::restarted(first.address());
        second.wait_for_calls(20);
        enough.send(()).unwrap();
        let ids = ending.join().unwrap();
        let mut received = first.ids();
        for (id, times) in second.ids() {
            *received.entry(id).or_default() += times;
        }
        assert_once(&ids, &received, &format!("{io:?}"));
        assert_balanced(&exporter.stats(), ids.len());
    }
}

#[test]
fn a_token_that_an_interceptor_refuses_is_replaced_for_later_requests() {
    for io in drivers() {
        let valid = Arc::new(Mutex::new("token-0".to_owned()));
        let wanted = Arc::clone(&valid);
        let interceptor = Arc::new(move |metadata: &MetadataMap| {
            let token = metadata.get("authorization").and_then(|token| token.to_str().ok());
            match token == Some(&format!("Bearer {}", wanted.lock().unwrap())) {
                true => Ok(()),
                false => Err(Status::unauthenticated("the token is too old")),
            }
        });
        let server =
            TonicServer::guarded(Server::builder(), Services::default(), interceptor, |_| {
                Answer::Accept
            });
        let tokens = Mutex::new(0);
        let source = move |request: &OutgoingRequest| {
            let mut number = tokens.lock().unwrap();
            *number += i32::from(request.is_after_refusal());
            Ok(vec![("authorization".to_owned(), format!("Bearer token-{number}"))])
        };
        let (builder, diagnostics) = builder(&server, io);
        let exporter = builder.headers_from(source).build().unwrap();
        let provider = provider(&exporter, "service");
        let mut ids = Vec::new();
        for token in ["token-0", "token-1", "token-2"] {
            *valid.lock().unwrap() = token.to_owned();
            if token != "token-0" {
                end_spans(&provider, 3);
                let lost = exporter.flush(LONG);
                assert_eq!(lost, Err(FlushError::Lost { dropped: 3, rejected: 0 }), "{io:?}");
            }
            ids.extend(end_spans(&provider, 3));
            exporter.flush(LONG).unwrap();
        }
        assert_once(&ids, &server.ids(), "those with the right token");
        let stats = exporter.stats();
        assert_eq!((stats.dropped.refused, stats.retries), (6, 0), "{io:?}");
        let told = diagnostics.wait_for("Refused");
        assert!(
            told.contains("UNAUTHENTICATED (16): the token is too old; check the cred"),
            "{told}"
        );
        assert!(!told.contains("token-"), "{told}");
    }
}

#[test]
fn a_server_over_tls_that_wants_a_certificate_gets_one_and_every_span() {
    let ca = authority();
    let (certificate, key) = signed(&ca, &["collector.test"]);
    for io in drivers() {
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(certificate.pem(), key.serialize_pem()))
            .client_ca_root(Certificate::from_pem(ca.pem()));
        let server = Server::builder().tls_config(tls).unwrap();
        let server = TonicServer::with(server, Services::default(), |_| Answer::Accept);
        let (shown, shown_key) = signed(&ca, &["sender.test"]);
        let tls = TlsConfig::new()
            .ca_pem(ca.pem())
            .server_name("collector.test")
            .client_certificate_pem(shown.pem())
            .client_key_pem(shown_key.serialize_pem());
        let endpoint = format!("https://{}", server.address());
        let exporter = builder(&server, io).0.endpoint(endpoint).tls(tls).build().unwrap();
        let ids = end_spans(&provider(&exporter, "service"), 20_000);
        exporter.flush(LONG).unwrap();
        assert_once(&ids, &server.ids(), &format!("{io:?}"));
        assert!(server.calls().iter().all(|call| call.certificates == 1), "{io:?}");
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for these names, and its key.
fn signed(ca: &CertifiedIssuer<'static, KeyPair>, names: &[&str]) -> (rcgen::Certificate, KeyPair) {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let key = KeyPair::generate().unwrap();
    (CertificateParams::new(names).unwrap().signed_by(&key, ca).unwrap(), key)
}
