//! What is emitted, arrives: once, whole, under its own resource and under its target's scope.

mod support;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{Span as _, TraceContextExt, Tracer, TracerProvider as _};
use opentelemetry::{Context, InstrumentationScope, Key, KeyValue};
use opentelemetry_proto::tonic::common::v1 as common;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_sdk::error::OTelSdkError;
use spanwire::{Exporter, Stats};

use support::otel::{
    LONG, assert_balanced, builder, drivers, emit_logs, emit_logs_by, end_spans, logger_provider,
    provider,
};
use support::{Collector, ReceivedLog, Reply};

/// How often each body was kept.
fn bodies(logs: &[ReceivedLog]) -> HashMap<String, usize> {
    let mut bodies = HashMap::new();
    for log in logs {
        *bodies.entry(text_of(&log.record.body)).or_default() += 1;
    }
    bodies
}

fn text_of(value: &Option<common::AnyValue>) -> String {
    match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        other => panic!("no text: {other:?}"),
    }
}

/// Everything that was emitted has a fate, and the fate of these is known.
fn assert_delivered(stats: &Stats, emitted: usize) {
    assert_balanced(stats, emitted);
    assert_eq!(stats.logs.emitted, emitted as u64, "{stats:?}");
    assert_eq!((stats.logs.delivered, stats.logs.in_flight), (emitted as u64, 0), "{stats:?}");
    assert_eq!(stats.dropped.total(), 0, "{stats:?}");
}

fn exporter(collector: &Collector) -> Exporter {
    builder(&collector.endpoint()).0.build().unwrap()
}

#[test]
fn every_log_record_arrives_exactly_once_over_both_drivers() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        let provider = logger_provider(&exporter, "service");
        let emitted = emit_logs(&provider, 5_000);
        provider.force_flush().unwrap();
        let logs = collector.logs();
        assert_eq!(logs.len(), emitted.len());
        let arrived = bodies(&logs);
        assert!(emitted.iter().all(|body| arrived.get(body) == Some(&1)));
        assert!(logs.iter().all(|log| log.service.contains("service")));
        assert_delivered(&exporter.stats(), emitted.len());
        let heads = collector.heads();
        assert!(heads.iter().all(|head| head.starts_with("POST /v1/logs HTTP/1.1\r\n")));
    }
}

#[test]
fn a_log_record_arrives_with_every_field_it_had() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let provider = logger_provider(&exporter, "service");
    let scope = InstrumentationScope::builder("library")
        .with_version("1.2.3")
        .with_attributes([KeyValue::new("scope.key", "scope value")])
        .build();
    let logger = provider.logger_with_scope(scope);
    let time = std::time::UNIX_EPOCH + Duration::from_nanos(1_234_567_890_123_456_789);
    let mut record = logger.create_log_record();
    record.set_timestamp(time);
    record.set_observed_timestamp(time + Duration::from_nanos(1));
    record.set_severity_number(Severity::Warn2);
    record.set_severity_text("WARNING");
    record.set_event_name("device.app.lifecycle");
    record.set_body(AnyValue::from_iter([("list", AnyValue::from_iter([1, 2]))]));
    record.add_attribute("text", "ünï\u{10FFFF}");
    record.add_attribute("bytes", AnyValue::Bytes(Box::new(vec![0, 255])));
    record.set_trace_context(7_u128.into(), 9_u64.into(), None);
    logger.emit(record);
    exporter.flush(LONG).unwrap();

    let log = collector.logs().remove(0);
    assert_eq!((log.scope.name.as_str(), log.scope.version.as_str()), ("library", "1.2.3"));
    assert_eq!(log.scope.attributes[0].key, "scope.key");
    let record = log.record;
    assert_eq!(record.time_unix_nano, 1_234_567_890_123_456_789);
    assert_eq!(record.observed_time_unix_nano, 1_234_567_890_123_456_790);
    assert_eq!(record.severity_number().as_str_name(), "SEVERITY_NUMBER_WARN2");
    assert_eq!((record.severity_text.as_str(), record.flags), ("WARNING", 0));
    assert_eq!(record.event_name, "device.app.lifecycle");
    let body = format!("{:?}", record.body);
    assert!(body.contains("KvlistValue") && body.contains("IntValue(2)"), "{body}");
    assert_eq!(text_of(&record.attributes[0].value), "ünï\u{10FFFF}");
    let bytes = Some(common::AnyValue { value: Some(Value::BytesValue(vec![0, 255])) });
    assert_eq!(record.attributes[1].value, bytes);
    assert_eq!(record.trace_id, 7_u128.to_be_bytes());
    assert_eq!(record.span_id, 9_u64.to_be_bytes());
}

#[test]
fn a_log_record_names_the_span_that_was_active() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let tracer = provider(&exporter, "service").tracer("test");
    let logs = logger_provider(&exporter, "service");
    let span = tracer.start("active");
    let (trace_id, span_id) = (span.span_context().trace_id(), span.span_context().span_id());
    let guard = Context::current_with_span(span).attach();
    emit_logs(&logs, 1);
    drop(guard);
    emit_logs(&logs, 1);
    exporter.flush(LONG).unwrap();
    let [inside, outside] = [0, 1].map(|index| collector.logs()[index].record.clone());
    assert_eq!(inside.trace_id, trace_id.to_bytes());
    assert_eq!(inside.span_id, span_id.to_bytes());
    assert_eq!(inside.flags, 1);
    assert!(outside.trace_id.is_empty() && outside.span_id.is_empty() && outside.flags == 0);
    assert_eq!(collector.spans().len(), 1);
}

#[test]
fn a_target_takes_the_place_of_the_scopes_name_and_of_nothing_else() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let provider = logger_provider(&exporter, "service");
    let versions = ["1", "2"];
    let targets = ["shop", "shop::payment", ""];
    for round in 0..20 {
        for version in versions {
            let scope = InstrumentationScope::builder("bridge").with_version(version).build();
            let logger = provider.logger_with_scope(scope);
            for target in targets {
                let mut record = logger.create_log_record();
                record.set_target(target);
                record.set_body(format!("{target} {version} {round}").into());
                logger.emit(record);
            }
            let mut record = logger.create_log_record();
            record.set_body(format!("bridge {version} {round}").into());
            logger.emit(record);
        }
    }
    exporter.flush(LONG).unwrap();
    let mut by_scope: BTreeMap<(String, String), usize> = BTreeMap::new();
    for log in collector.logs() {
        let expected = format!("{} {} ", log.scope.name, log.scope.version);
        assert!(text_of(&log.record.body).starts_with(&expected), "{expected}");
        *by_scope.entry((log.scope.name, log.scope.version)).or_default() += 1;
    }
    assert_eq!(by_scope.len(), 8);
    assert!(by_scope.values().all(|&count| count == 20), "{by_scope:?}");
}

#[test]
fn more_targets_than_a_thread_remembers_all_keep_their_names() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let logger = logger_provider(&exporter, "service").logger("bridge");
    for index in (0..200).cycle().take(1_000) {
        let mut record = logger.create_log_record();
        record.set_target(format!("target {index}"));
        record.set_body(format!("target {index}").into());
        logger.emit(record);
    }
    exporter.flush(LONG).unwrap();
    let logs = collector.logs();
    assert!(logs.iter().all(|log| log.scope.name == text_of(&log.record.body)));
    assert_delivered(&exporter.stats(), 1_000);
}

#[test]
fn threads_that_come_and_go_lose_nothing() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let provider = logger_provider(&exporter, "service");
    for _ in 0..4 {
        std::thread::scope(|scope| {
            (0..8).for_each(|_| drop(scope.spawn(|| emit_logs(&provider, 100))));
        });
    }
    exporter.flush(LONG).unwrap();
    assert_eq!(bodies(&collector.logs()).len(), 3_200);
    assert_delivered(&exporter.stats(), 3_200);
}

#[test]
fn shutting_the_provider_down_delivers_and_closes_its_own_door_only() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        let [first, second] = ["first", "second"].map(|name| logger_provider(&exporter, name));
        let spans = provider(&exporter, "third");
        // A provider that is shut down makes loggers that do nothing.
        let logger = first.logger("test");
        emit_logs_by(&logger, 3);
        first.shutdown().unwrap();
        assert_eq!(collector.logs().len(), 3);
        emit_logs_by(&logger, 2);
        emit_logs(&second, 1);
        end_spans(&spans, 1);
        exporter.flush(LONG).unwrap();
        assert_eq!((collector.logs().len(), collector.spans().len()), (4, 1));
        let stats = exporter.stats();
        assert_eq!((stats.logs.emitted, stats.logs.dropped.after_shutdown), (6, 2));
        assert_eq!((stats.traces.emitted, stats.traces.delivered), (1, 1));
        assert_balanced(&stats, 7);
    }
}

#[test]
fn a_processor_is_shut_down_once() {
    use opentelemetry_sdk::logs::LogProcessor as _;
    let collector = Collector::start();
    let processor = spanwire::otel_0_33::LogProcessor::new(&exporter(&collector));
    assert!(processor.shutdown().is_ok());
    assert!(matches!(processor.shutdown(), Err(OTelSdkError::AlreadyShutdown)));
}

#[test]
fn what_is_emitted_after_the_exporters_shutdown_is_counted() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let provider = logger_provider(&exporter, "service");
    emit_logs(&provider, 2);
    exporter.shutdown(LONG).unwrap();
    emit_logs(&provider, 3);
    assert!(provider.force_flush().is_err());
    let stats = exporter.stats();
    assert_eq!((stats.logs.delivered, stats.logs.dropped.after_shutdown), (2, 3));
    assert_balanced(&stats, 5);
    assert_eq!(collector.logs().len(), 2);
}

#[test]
fn a_refusal_is_a_counted_drop_and_no_other_signals_business() {
    let collector = Collector::scripted(|_| Reply::Refuse(400, "", Vec::new()));
    let spans = Collector::start();
    let exporter = builder(&collector.endpoint())
        .0
        .traces_endpoint(format!("{}/v1/traces", spans.endpoint()))
        .build()
        .unwrap();
    let logs = logger_provider(&exporter, "service");
    emit_logs(&logs, 4);
    end_spans(&provider(&exporter, "service"), 2);
    assert!(logs.force_flush().is_err());
    assert!(exporter.flush(LONG).is_err());
    let stats = exporter.stats();
    assert_eq!((stats.logs.dropped.refused, stats.traces.delivered), (4, 2));
    assert_balanced(&stats, 6);
}

#[test]
fn what_is_emitted_in_the_suppressed_scope_is_not_exported() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let provider = logger_provider(&exporter, "service");
    let guard = Context::enter_telemetry_suppressed_scope();
    emit_logs(&provider, 3);
    drop(guard);
    emit_logs(&provider, 1);
    exporter.flush(LONG).unwrap();
    assert_eq!(collector.logs().len(), 1);
    assert_delivered(&exporter.stats(), 1);
}

#[test]
fn a_record_keeps_128_attributes_and_the_count_of_the_others() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let logger = logger_provider(&exporter, "service").logger("test");
    let mut record = logger.create_log_record();
    record.add_attributes((0..130).map(|index| (Key::from(format!("key {index}")), index)));
    record.add_attribute("key 0", "once more");
    logger.emit(record);
    exporter.flush(LONG).unwrap();
    let record = collector.logs().remove(0).record;
    assert_eq!((record.attributes.len(), record.dropped_attributes_count), (128, 2));
}

#[test]
fn a_log_record_larger_than_a_chunk_arrives_whole() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let logger = logger_provider(&exporter, "service").logger("test");
    let mut record = logger.create_log_record();
    record.set_body("b".repeat(1 << 20).into());
    logger.emit(record);
    emit_logs_by(&logger, 1);
    exporter.flush(LONG).unwrap();
    let lens: Vec<_> = collector.logs().iter().map(|log| text_of(&log.record.body).len()).collect();
    assert!(lens.len() == 2 && lens.contains(&(1 << 20)), "{lens:?}");
    assert_delivered(&exporter.stats(), 2);
}
