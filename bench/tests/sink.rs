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
    sys::signal::{Signal as SystemSignal, kill},
    unistd::Pid,
};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    metrics::v1::{
        ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram, HistogramDataPoint,
        Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary, SummaryDataPoint,
        metric::Data,
    },
    trace::v1::{ResourceSpans, ScopeSpans, Span, span},
};
use proptest::prelude::*;
use prost::Message as _;
use spanwire_bench::{
    shape::Signal,
    sink::{SinkProcess, walk},
    tally::{Counts, Received},
};
use support::{PROTOBUF, body, connect, exchange, post, post_to};

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

fn walked(signal: Signal, body: &[u8]) -> Option<(u64, Vec<u64>)> {
    let mut ids = Vec::new();
    walk::records(signal, body, &mut ids).ok().map(|records| (records, ids))
}

/// Records with the id of a span, or without.
fn any_logs() -> impl Strategy<Value = ExportLogsServiceRequest> {
    let record = (any::<Option<u64>>(), "[a-z]{0,200}").prop_map(|(id, text)| LogRecord {
        trace_id: id.map_or(Vec::new(), |_| vec![7; 16]),
        span_id: id.map_or(Vec::new(), |id| id.to_be_bytes().to_vec()),
        body: Some(AnyValue { value: Some(Value::StringValue(text)) }),
        ..LogRecord::default()
    });
    let scope = prop::collection::vec(record, 0..5);
    let scope = scope.prop_map(|log_records| ScopeLogs { log_records, ..ScopeLogs::default() });
    let scopes = prop::collection::vec(scope, 0..3);
    scopes.prop_map(|scope_logs| ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    })
}

/// Metrics of all kinds, and of none.
fn any_metrics() -> impl Strategy<Value = ExportMetricsServiceRequest> {
    let metric = (0..6_u8, 0..5_usize).prop_map(|(kind, points)| Metric {
        name: "a.metric".into(),
        unit: "s".into(),
        data: data(kind, points),
        ..Metric::default()
    });
    prop::collection::vec(metric, 0..6).prop_map(|metrics| ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    })
}

fn data(kind: u8, points: usize) -> Option<Data> {
    let number = || vec![NumberDataPoint { time_unix_nano: 5, ..Default::default() }; points];
    Some(match kind {
        0 => Data::Gauge(Gauge { data_points: number() }),
        1 => Data::Sum(Sum { data_points: number(), is_monotonic: true, ..Default::default() }),
        2 => Data::Histogram(Histogram {
            data_points: vec![HistogramDataPoint { count: 1, ..Default::default() }; points],
            ..Default::default()
        }),
        3 => Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![ExponentialHistogramDataPoint::default(); points],
            ..Default::default()
        }),
        4 => Data::Summary(Summary { data_points: vec![SummaryDataPoint::default(); points] }),
        _ => return None,
    })
}

proptest! {
    #[test]
    fn the_walk_counts_the_log_records_that_a_decode_finds(request in any_logs()) {
        let records: Vec<_> =
            request.resource_logs.iter().flat_map(|r| &r.scope_logs).flat_map(|s| &s.log_records).collect();
        let ids = records.iter().filter_map(|r| r.span_id.clone().try_into().ok());
        let expected = (records.len() as u64, ids.map(u64::from_be_bytes).collect());
        prop_assert_eq!(walked(Signal::Logs, &request.encode_to_vec()), Some(expected));
    }

    #[test]
    fn the_walk_counts_the_points_that_a_decode_finds(request in any_metrics()) {
        let metrics = request.resource_metrics[0].scope_metrics.iter().flat_map(|s| &s.metrics);
        let points = metrics.map(|metric| match &metric.data {
            Some(Data::Gauge(data)) => data.data_points.len(),
            Some(Data::Sum(data)) => data.data_points.len(),
            Some(Data::Histogram(data)) => data.data_points.len(),
            Some(Data::ExponentialHistogram(data)) => data.data_points.len(),
            Some(Data::Summary(data)) => data.data_points.len(),
            None => 0,
        });
        let expected = points.sum::<usize>() as u64;
        prop_assert_eq!(
            walked(Signal::Metrics, &request.encode_to_vec()), Some((expected, Vec::new()))
        );
    }

    #[test]
    fn the_walk_takes_any_bytes_of_any_signal_without_a_panic(
        body in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        for signal in Signal::ALL {
            let _ = walked(signal, &body);
        }
    }

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
    let counts = Counts {
        records: 3,
        unique: 3,
        requests: 1,
        malformed: 0,
        bytes: first.len() as u64,
        wire_bytes: first.len() as u64,
    };
    assert_eq!(sink.mark().unwrap(), Received { traces: counts, ..Received::default() });
    assert_eq!(sink.mark().unwrap(), Received::default());

    let second = body(&[0xab, 9, 0xab]);
    assert_eq!(post(&endpoint, PROTOBUF, &second).0, 200);
    assert_eq!(post(&endpoint, PROTOBUF, &[0xff; 20]).0, 400);
    let counts = Counts {
        records: 3,
        unique: 2,
        requests: 1,
        malformed: 1,
        bytes: second.len() as u64,
        wire_bytes: second.len() as u64,
    };
    assert_eq!(sink.finish().unwrap().traces, counts);
    assert_eq!(fs::read_to_string(ids).unwrap(), "0000000000000009\n00000000000000ab\n");
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_sink_counts_each_signal_apart() {
    let mut sink = SinkProcess::start_program(program(), None).unwrap();
    let record = |id: u64| LogRecord { span_id: id.to_be_bytes().to_vec(), ..Default::default() };
    let log_records = vec![record(1), record(1), record(2), LogRecord::default()];
    let logs = ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            scope_logs: vec![ScopeLogs { log_records, ..Default::default() }],
            ..Default::default()
        }],
    };
    let metrics = vec![Metric { data: data(2, 7), ..Metric::default() }];
    let metrics = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            scope_metrics: vec![ScopeMetrics { metrics, ..Default::default() }],
            ..Default::default()
        }],
    };
    let (logs, metrics) = (logs.encode_to_vec(), metrics.encode_to_vec());
    assert_eq!(post_to(sink.endpoint(), "/v1/logs", PROTOBUF, &logs).0, 200);
    assert_eq!(post_to(sink.endpoint(), "/v1/metrics", PROTOBUF, &metrics).0, 200);
    assert_eq!(post_to(sink.endpoint(), "/v1/metrics", PROTOBUF, &[0x0a, 5]).0, 400);
    let bytes = (logs.len() as u64, metrics.len() as u64);
    let expected = Received {
        traces: Counts::default(),
        logs: Counts {
            records: 4,
            unique: 3,
            requests: 1,
            malformed: 0,
            bytes: bytes.0,
            wire_bytes: bytes.0,
        },
        metrics: Counts {
            records: 7,
            unique: 7,
            requests: 1,
            malformed: 1,
            bytes: bytes.1,
            wire_bytes: bytes.1,
        },
    };
    assert_eq!(sink.mark().unwrap(), expected);
}

#[test]
fn a_log_record_with_an_id_of_the_wrong_width_is_malformed() {
    let record = LogRecord { span_id: vec![1; 7], ..LogRecord::default() }.encode_to_vec();
    let wrap = |body: Vec<u8>, tag: u8| [&[tag, body.len() as u8][..], &body].concat();
    let body = wrap(wrap(wrap(record, 0x12), 0x12), 0x0a);
    assert_eq!(walked(Signal::Logs, &body), None);
}

#[test]
fn a_sink_without_ids_counts_records() {
    let sink = SinkProcess::start_program_with(program(), &["--count-only"]).unwrap();
    assert_eq!(post(sink.endpoint(), PROTOBUF, &body(&[1, 1, 2])).0, 200);
    let counts = sink.finish().unwrap().traces;
    assert_eq!((counts.records, counts.unique), (3, 3));
}

#[test]
fn the_ceiling_of_the_sink_is_told() {
    let output = Command::new(program()).args(["sink", "--ceiling"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("spans/s"), "{text}");
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
    kill(Pid::from_raw(child.id().cast_signed()), SystemSignal::SIGTERM).unwrap();
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

#[test]
fn a_sink_that_is_killed_forgets_nothing_that_it_acknowledged() {
    let journal = std::env::temp_dir().join(format!("spanwire-journal-{}", std::process::id()));
    let options = ["--journal", journal.to_str().unwrap()];
    let mut sink = SinkProcess::start_program_with(program(), &options).unwrap();
    assert_eq!(post(sink.endpoint(), PROTOBUF, &body(&[1, 2, 3])).0, 200);
    let counts = sink.count().unwrap().traces;
    assert_eq!((counts.records, counts.unique), (3, 3));
    // Dropping it is a SIGKILL.
    drop(sink);
    // As if the kill had cut an id that was being written.
    fs::OpenOptions::new().append(true).open(&journal).unwrap().write_all(&[7; 5]).unwrap();
    let mut sink = SinkProcess::start_program_with(program(), &options).unwrap();
    assert_eq!(post(sink.endpoint(), PROTOBUF, &body(&[3, 4])).0, 200);
    for _ in 0..2 {
        let counts = sink.count().unwrap().traces;
        assert_eq!((counts.records, counts.unique), (5, 4), "counting goes on");
    }
    fs::remove_file(journal).unwrap();
}
