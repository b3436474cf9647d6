//! The exporters for the SDK's own processors: an export ends on the final outcome, within its
//! time, and what becomes of its records is counted like that of all others.

mod support;

use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use opentelemetry::logs::{LogRecord as _, Logger, LoggerProvider};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::{
    SdkTracerProvider, SpanData, SpanEvents, SpanExporter as _, SpanLinks,
};
use spanwire::otel_0_33::{LogExporter, SpanExporter};

use support::otel::{LONG, assert_balanced, builder, drivers};
use support::{Collector, Reply};

#[test]
fn what_the_sdks_batch_processors_export_arrives_once_under_its_resource_and_scope() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        let resource = Resource::builder_empty().with_service_name("kept").build();
        let spans = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(SpanExporter::new(&exporter))
            .build();
        let logs = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(LogExporter::new(&exporter))
            .build();
        for index in 0..100 {
            let name = if index % 2 == 0 { "even" } else { "odd" };
            spans.tracer(name).start("span").end();
            let logger = logs.logger("bridge");
            let mut record = logger.create_log_record();
            record.set_target(name);
            record.set_body(index.into());
            logger.emit(record);
        }
        spans.shutdown().unwrap();
        logs.shutdown().unwrap();
        let received = collector.spans();
        assert_eq!(collector.ids().len(), 100);
        assert!(received.iter().all(|span| span.service.contains("kept")));
        for name in ["even", "odd"] {
            assert_eq!(received.iter().filter(|span| span.scope == name).count(), 50);
            assert_eq!(collector.logs().iter().filter(|log| log.scope.name == name).count(), 50);
        }
        let stats = exporter.stats();
        assert_balanced(&stats, 200);
        assert_eq!((stats.traces.delivered, stats.logs.delivered), (100, 100));
    }
}

#[test]
fn an_export_does_not_end_before_the_collector_has_answered() {
    let (answer, may_answer) = mpsc::channel::<()>();
    let may_answer = std::sync::Mutex::new(may_answer);
    let collector = Collector::scripted(move |_| {
        may_answer.lock().unwrap().recv().unwrap();
        Reply::Accept
    });
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let door = SpanExporter::new(&exporter);
    let mut export = pin!(door.export(spans(3)));
    collector.wait_for_requests_begun(1);
    assert!(export.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(exporter.stats().in_flight, 3);
    answer.send(()).unwrap();
    block_on(export).unwrap();
    assert_eq!(exporter.stats().delivered, 3);
}

#[test]
fn a_batch_above_a_limit_is_several_requests_and_one_outcome() {
    let collector = Collector::scripted(|request| match request {
        1 => Reply::Refuse(400, "", Vec::new()),
        _ => Reply::Accept,
    });
    let exporter = builder(&collector.endpoint()).0.batch_records(10).build().unwrap();
    let error = block_on(SpanExporter::new(&exporter).export(spans(25))).unwrap_err();
    assert_eq!(collector.requests(), 3);
    let stats = exporter.stats();
    assert_balanced(&stats, 25);
    let (delivered, refused) = (stats.delivered, stats.dropped.refused);
    assert_eq!(delivered + refused, 25);
    assert!(refused == 10 || refused == 5, "{stats:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("{delivered} records were delivered")), "{text}");
    assert!(text.contains("status 400"), "{text}");
}

#[test]
fn one_span_above_the_request_limit_is_dropped_and_the_others_arrive() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.request_bytes_max(4 << 10).build().unwrap();
    let mut batch = spans(5);
    batch[2].attributes = vec![KeyValue::new("long", "x".repeat(8 << 10))];
    let error = block_on(SpanExporter::new(&exporter).export(batch)).unwrap_err();
    assert!(error.to_string().contains("exceeds the request limit"), "{error}");
    let stats = exporter.stats();
    assert_balanced(&stats, 5);
    assert_eq!((stats.delivered, stats.dropped.oversize), (4, 1));
    assert_eq!(collector.ids().len(), 4);
}

/// The retries of a processor's batch may go on for minutes; those of an export may not.
#[test]
fn the_timeout_bounds_an_export_with_its_retries() {
    for reply in
        [Reply::Refuse(503, "retry-after: 3600\r\n", Vec::new()), Reply::HangUp, Reply::Stall]
    {
        let collector = Collector::scripted(move |_| reply.clone());
        let limit = Duration::from_millis(100);
        let exporter = builder(&collector.endpoint()).0.timeout(limit).build().unwrap();
        block_on(SpanExporter::new(&exporter).export(spans(2))).unwrap_err();
        let stats = exporter.stats();
        assert_balanced(&stats, 2);
        assert_eq!(stats.dropped.retries_exhausted, 2, "{stats:?}");
    }
}

#[test]
fn what_finds_no_lane_in_its_time_is_given_up() {
    let collector = Collector::concurrent(|_| Reply::Stall);
    let limit = Duration::from_millis(100);
    let exporter = builder(&collector.endpoint()).0.timeout(limit).in_flight(1).build().unwrap();
    let door = SpanExporter::new(&exporter);
    let (mut first, mut second) = (pin!(door.export(spans(1))), pin!(door.export(spans(1))));
    block_on(async {
        first.as_mut().await.unwrap_err();
        second.as_mut().await.unwrap_err();
    });
    assert_balanced(&exporter.stats(), 2);
    assert_eq!(exporter.stats().dropped.retries_exhausted, 2);
}

#[test]
fn a_partial_success_is_told_with_its_counts() {
    // partial_success { rejected_spans: 2, error_message: "full" }
    let body = b"\x0a\x08\x08\x02\x12\x04full".to_vec();
    let collector = Collector::scripted(move |_| Reply::AcceptWith(body.clone()));
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let error = block_on(SpanExporter::new(&exporter).export(spans(3))).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("1 records were delivered, 2 rejected") && text.contains("full"),
        "{text}"
    );
    assert_balanced(&exporter.stats(), 3);
    assert_eq!(exporter.stats().rejected, 2);
}

#[test]
fn what_is_submitted_beyond_the_buffer_is_refused_at_once_and_counted() {
    let collector = Collector::concurrent(|_| Reply::Stall);
    let exporter = builder(&collector.endpoint())
        .0
        .timeout(Duration::ZERO)
        .buffer_bytes(1 << 20)
        .build()
        .unwrap();
    let door = SpanExporter::new(&exporter);
    let batch = || {
        let mut batch = spans(1);
        batch[0].attributes = vec![KeyValue::new("long", "x".repeat(300 << 10))];
        batch
    };
    let _under_way: Vec<_> = (0..3).map(|_| Box::pin(door.export(batch()))).collect();
    let error = block_on(door.export(batch())).unwrap_err();
    assert!(error.to_string().contains("too much is under way"), "{error}");
    let stats = exporter.stats();
    assert_balanced(&stats, 4);
    assert_eq!((stats.dropped.queue_full, stats.in_flight), (1, 3));
    exporter.shutdown(Duration::ZERO).unwrap_err();
}

#[test]
fn a_shutdown_answers_exports_that_are_under_way() {
    let collector = Collector::concurrent(|_| Reply::Stall);
    let exporter = builder(&collector.endpoint()).0.in_flight(1).build().unwrap();
    let door = SpanExporter::new(&exporter);
    let waiting = thread::scope(|scope| {
        let exports = [1, 2].map(|count| {
            let export = door.export(spans(count));
            scope.spawn(move || block_on(export))
        });
        collector.wait_for_requests_begun(1);
        exporter.shutdown(Duration::ZERO).unwrap_err();
        exports.map(|export| export.join().unwrap())
    });
    assert!(waiting.iter().all(Result::is_err), "{waiting:?}");
    block_on(door.export(spans(4))).unwrap_err();
    let stats = exporter.stats();
    assert_balanced(&stats, 7);
    assert_eq!((stats.dropped.shutdown, stats.dropped.after_shutdown), (3, 4));
}

#[test]
fn a_delivery_that_dies_leaves_no_export_waiting() {
    let collector = Collector::concurrent(|_| Reply::Stall);
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let door = SpanExporter::new(&exporter);
    let export = door.export(spans(2));
    collector.wait_for_requests_begun(1);
    exporter.inject_panic();
    block_on(export).unwrap_err();
    block_on(door.export(spans(3))).unwrap_err();
    let stats = exporter.stats();
    assert_balanced(&stats, 5);
    assert_eq!(stats.dropped.exporter_died, 5);
}

#[test]
fn a_closed_door_says_so_and_counts_what_comes() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let door = SpanExporter::new(&exporter);
    door.shutdown_with_timeout(LONG).unwrap();
    door.shutdown_with_timeout(LONG).unwrap_err();
    let error = block_on(door.export(spans(2))).unwrap_err();
    assert!(matches!(error, opentelemetry_sdk::error::OTelSdkError::AlreadyShutdown), "{error}");
    assert_balanced(&exporter.stats(), 2);
    assert_eq!(exporter.stats().dropped.after_shutdown, 2);
    assert_eq!(collector.requests(), 0);
}

#[test]
fn a_simple_processor_works_inside_a_one_worker_tokio() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider =
        SdkTracerProvider::builder().with_simple_exporter(SpanExporter::new(&exporter)).build();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            provider.tracer("test").start("span").end();
        }
        provider.shutdown().unwrap();
    });
    assert_eq!(collector.ids().len(), 3);
    assert_balanced(&exporter.stats(), 3);
}

/// `count` spans with ids of their own.
fn spans(count: u64) -> Vec<SpanData> {
    let span = |id: u64| SpanData {
        span_context: SpanContext::new(
            TraceId::from(1),
            SpanId::from(id),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: "span".into(),
        start_time: std::time::SystemTime::now(),
        end_time: std::time::SystemTime::now(),
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("test").build(),
    };
    (1..=count).map(span).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(future)
}
