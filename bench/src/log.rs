//! The log record that figures are about, made through OpenTelemetry's logs API: severity, a body
//! that was built at run time, a target, the ids of the span that it belongs to, and the attributes
//! of its [`Shape`].
//!
//! A receiver tells records apart by their span id: every record here claims another span.

use std::time::SystemTime;

use opentelemetry::{
    Key,
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity},
    trace::{SpanId, TraceFlags, TraceId},
};
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};

use crate::{
    shape::{Attribute, Plain, Shape},
    span::{SCOPE_NAME, VARIANTS},
};

/// Makes the log record over and over, for one thread.
pub struct LogMaker {
    logger: SdkLogger,
    variants: Vec<(String, Vec<Attribute>)>,
    ids: fastrand::Rng,
    made: usize,
}

impl LogMaker {
    /// A maker whose records go to the processors of `provider`.
    pub fn new(provider: &SdkLoggerProvider, shape: Shape) -> Self {
        let body = |variant| format!("order {variant:06} accepted, payment pending");
        Self {
            logger: provider.logger(SCOPE_NAME),
            variants: (0..VARIANTS)
                .map(|variant| (body(variant), shape.record_attributes(variant)))
                .collect(),
            ids: fastrand::Rng::new(),
            made: 0,
        }
    }

    /// Makes, fills and emits one record; returns the id of its span.
    pub fn emit(&mut self) -> u64 {
        let (body, attributes) = &self.variants[self.made % VARIANTS];
        self.made += 1;
        // Zero is no span.
        let id = self.ids.u64(1..);
        let mut record = self.logger.create_log_record();
        record.set_timestamp(SystemTime::now());
        record.set_target(TARGET);
        record.set_severity_number(Severity::Info);
        record.set_severity_text("INFO");
        record.set_body(AnyValue::String(body.clone().into()));
        record.set_trace_context(TraceId::from(TRACE), SpanId::from(id), Some(TraceFlags::SAMPLED));
        for attribute in attributes {
            record.add_attribute(Key::from_static_str(attribute.key), any_value(&attribute.value));
        }
        self.logger.emit(record);
        id
    }
}

fn any_value(value: &Plain) -> AnyValue {
    match value {
        Plain::Literal(text) => AnyValue::String((*text).into()),
        Plain::Built(text) => AnyValue::String(text.clone().into()),
        Plain::Int(value) => AnyValue::Int(*value),
        Plain::Bool(value) => AnyValue::Boolean(*value),
        Plain::Double(value) => AnyValue::Double(*value),
    }
}

const TARGET: &str = "shop::orders";
const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
