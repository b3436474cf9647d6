//! Log records that cover every field of `LogRecord`.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::{InstrumentationScope, Key, SpanId, TraceFlags, TraceId};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogProcessor, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use spanwire::Exporter;

use crate::json::{self, any_value, list, nanos, object, pair, string};
use crate::values::{every_value, strings, time};
use crate::{LIMIT, Sent};

/// Sends them through two loggers, of which one has no name.
pub(crate) fn send(exporter: &Exporter, sent: &Sent) -> Result<(), Box<dyn Error>> {
    let resource = Resource::builder_empty().with_service_name("interop logs").build();
    let provider = SdkLoggerProvider::builder()
        .with_resource(resource)
        .with_log_processor(Recorder { sent: sent.clone(), resource: String::new() })
        .with_log_processor(spanwire::otel_0_33::LogProcessor::new(exporter))
        .build();
    let full = InstrumentationScope::builder("full")
        .with_version("1.2.3")
        .with_schema_url("https://example.org/scope")
        .with_attributes(every_value());
    let mut number = 0;
    for scope in [full.build(), InstrumentationScope::default()] {
        let logger = provider.logger_with_scope(scope);
        for fill in fills() {
            number += 1;
            emit(&logger, number, &*fill);
        }
    }
    provider.shutdown_with_timeout(LIMIT)?;
    Ok(())
}

type Fill = Box<dyn Fn(&mut SdkLogRecord)>;

/// What is set of a record beside its times.
fn fills() -> Vec<Fill> {
    let mut fills: Vec<Fill> = vec![
        Box::new(|_| {}),
        Box::new(|record| record.set_target("another::scope")),
        Box::new(|record| record.set_event_name("event")),
        Box::new(|record| context(record, Some(TraceFlags::new(0xFF)))),
        Box::new(|record| context(record, None)),
        Box::new(|record| {
            every_any_value().into_iter().for_each(|(key, value)| record.add_attribute(key, value));
        }),
    ];
    for (number, severity) in SEVERITIES.into_iter().enumerate() {
        fills.push(Box::new(move |record| {
            record.set_severity_number(severity);
            record.set_severity_text(if number % 2 == 0 { severity.name() } else { "" });
        }));
    }
    for (_, value) in every_any_value() {
        fills.push(Box::new(move |record| record.set_body(value.clone())));
    }
    for text in strings() {
        fills.push(Box::new(move |record| {
            record.set_body(text.clone().into());
            record.add_attribute(text.clone(), text.clone());
        }));
    }
    fills
}

fn emit(logger: &SdkLogger, number: u64, fill: &dyn Fn(&mut SdkLogRecord)) {
    let mut record = logger.create_log_record();
    // This is what they are told apart by.
    record.set_timestamp(time(number));
    record.set_observed_timestamp(time(2 * number));
    fill(&mut record);
    logger.emit(record);
}

fn context(record: &mut SdkLogRecord, flags: Option<TraceFlags>) {
    let (trace, span) = (TraceId::from_bytes([0xA5; 16]), SpanId::from_bytes([0x5A; 8]));
    record.set_trace_context(trace, span, flags);
}

fn every_any_value() -> Vec<(Key, AnyValue)> {
    let mut found: Vec<(Key, AnyValue)> =
        every_value().into_iter().map(|kv| (kv.key, any_of(kv.value))).collect();
    let bytes = |some: &[u8]| AnyValue::Bytes(Box::new(some.to_vec()));
    found.push(("bytes".into(), bytes(&[0, 0x80, 0xFF, 0xFE])));
    found.push(("bytes.none".into(), bytes(&[])));
    found.push(("map".into(), map(vec![("a", AnyValue::Int(0)), ("", "".into())])));
    found.push(("map.none".into(), map(vec![])));
    let mixed = vec![AnyValue::Boolean(false), bytes(&[1]), map(vec![("b", 1.5.into())])];
    found.push(("mixed".into(), AnyValue::ListAny(Box::new(mixed))));
    // As deep as a receiver that reads 100 messages can follow, with what is around it.
    let nested = (0..DEPTH).fold(AnyValue::Int(7), |inner, _| map(vec![("in", inner)]));
    found.push(("nested".into(), nested));
    found
}

fn map(pairs: Vec<(&'static str, AnyValue)>) -> AnyValue {
    let pairs = pairs.into_iter().map(|(key, value)| (Key::from(key), value));
    AnyValue::Map(Box::new(pairs.collect::<HashMap<_, _>>()))
}

fn any_of(value: opentelemetry::Value) -> AnyValue {
    use opentelemetry::{Array, Value};
    let all = |some: Vec<AnyValue>| AnyValue::ListAny(Box::new(some));
    match value {
        Value::Bool(one) => one.into(),
        Value::I64(one) => one.into(),
        Value::F64(one) => one.into(),
        Value::String(one) => AnyValue::String(one),
        Value::Array(Array::Bool(some)) => all(some.into_iter().map(AnyValue::from).collect()),
        Value::Array(Array::I64(some)) => all(some.into_iter().map(AnyValue::from).collect()),
        Value::Array(Array::F64(some)) => all(some.into_iter().map(AnyValue::from).collect()),
        Value::Array(Array::String(some)) => all(some.into_iter().map(AnyValue::String).collect()),
        _ => panic!("a kind of value that this example does not know"),
    }
}

/// Writes each record down as it is emitted.
#[derive(Debug)]
struct Recorder {
    sent: Sent,
    resource: String,
}

impl LogProcessor for Recorder {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        let name = record.target().map_or_else(|| scope.name(), AsRef::as_ref);
        let scope = json::scope(scope, name);
        self.sent.line(&self.resource, &scope, "log", &written(record));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _limit: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.resource = json::resource(resource);
    }
}

fn written(record: &SdkLogRecord) -> String {
    let time = |time: Option<_>| time.map_or_else(|| "0".to_owned(), nanos);
    let context = record.trace_context();
    let id = |id: Option<String>| string(&id.unwrap_or_default());
    let flags = context.and_then(|context| context.trace_flags).unwrap_or_default();
    let attributes =
        record.attributes_iter().map(|(key, value)| pair(key.as_str(), any_value(value)));
    object(&[
        ("time", time(record.timestamp())),
        ("observed", time(record.observed_timestamp())),
        ("severity_number", record.severity_number().map_or(0, |number| number as u8).to_string()),
        ("severity_text", string(record.severity_text().unwrap_or_default())),
        ("body", record.body().map_or_else(|| "null".to_owned(), any_value)),
        ("attributes", list(attributes)),
        ("dropped_attributes", "0".to_owned()),
        ("flags", flags.to_u8().to_string()),
        ("trace_id", id(context.map(|context| context.trace_id.to_string()))),
        ("span_id", id(context.map(|context| context.span_id.to_string()))),
        ("event_name", string(record.event_name().unwrap_or_default())),
    ])
}

const SEVERITIES: [Severity; 7] = [
    Severity::Trace,
    Severity::Debug2,
    Severity::Info,
    Severity::Info3,
    Severity::Warn,
    Severity::Error,
    Severity::Fatal4,
];
/// A map costs three messages; four are around the value of a record.
const DEPTH: usize = 16;
