//! Log records.

use std::sync::LazyLock;

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::{SpanId, TraceFlags, TraceId};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger, SdkLoggerProvider};

use super::Decisions;

/// Records can be made by a logger only.
static LOGGER: LazyLock<SdkLogger> =
    LazyLock::new(|| SdkLoggerProvider::builder().build().logger("fuzz"));

/// Any record that the API lets one make.
pub fn arbitrary(decisions: &mut Decisions<'_>) -> SdkLogRecord {
    let mut record = LOGGER.create_log_record();
    // The oracle insists on it.
    record.set_observed_timestamp(decisions.time());
    if decisions.is_true() {
        record.set_timestamp(decisions.time());
    }
    if decisions.is_true() {
        record.set_severity_number(SEVERITIES[decisions.below(SEVERITIES.len())]);
        record.set_severity_text(["", "INFO", "something"][decisions.below(3)]);
    }
    if decisions.is_true() {
        record.set_body(value(decisions, 0));
    }
    if decisions.is_true() {
        record.set_event_name(["", "event"][decisions.below(2)]);
    }
    if decisions.is_true() {
        let trace = TraceId::from(u128::from(decisions.number()) << 64);
        let span = SpanId::from(decisions.number());
        let flags = decisions.is_true().then(|| TraceFlags::new(decisions.byte()));
        if trace != TraceId::INVALID && span != SpanId::INVALID {
            record.set_trace_context(trace, span, flags);
        }
    }
    for index in 0..decisions.below(12) {
        let key = format!("{}{index}", decisions.text());
        record.add_attribute(key, value(decisions, 0));
    }
    record
}

/// Nests to three levels; deeper ones have tests of their own.
fn value(decisions: &mut Decisions<'_>, depth: usize) -> AnyValue {
    match decisions.below(if depth < 3 { 8 } else { 5 }) {
        0 => AnyValue::Boolean(decisions.is_true()),
        1 => AnyValue::Int(decisions.number() as i64),
        2 => AnyValue::Double(decisions.double()),
        3 => AnyValue::Bytes(Box::new(decisions.text().into_bytes())),
        5 | 6 => {
            let elements = 0..decisions.below(4);
            AnyValue::ListAny(Box::new(elements.map(|_| value(decisions, depth + 1)).collect()))
        }
        7 => {
            // Larger ones have no order that two walks would share for certain.
            let pairs = 0..decisions.below(2);
            let pairs = pairs.map(|_| (decisions.text().into(), value(decisions, depth + 1)));
            AnyValue::Map(Box::new(pairs.collect()))
        }
        _ => AnyValue::String(decisions.text().into()),
    }
}

const SEVERITIES: [Severity; 7] = [
    Severity::Trace,
    Severity::Debug,
    Severity::Info,
    Severity::Info4,
    Severity::Warn,
    Severity::Error,
    Severity::Fatal4,
];
