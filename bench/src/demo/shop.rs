//! What the demo's service is observed with: a tracer, a logger and a few instruments, used through
//! the OpenTelemetry API as an application would.

use std::time::{Duration, SystemTime};

use axum::http::{Method, StatusCode};
use opentelemetry::{
    Context, Key, KeyValue,
    logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity},
    metrics::{Counter, Histogram, MeterProvider as _, UpDownCounter},
    trace::{TraceContextExt as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    logs::{SdkLogger, SdkLoggerProvider},
    metrics::SdkMeterProvider,
    trace::{SdkTracer, SdkTracerProvider},
};

/// The instruments of the shop.
pub(super) struct Shop {
    pub(super) tracer: SdkTracer,
    logger: SdkLogger,
    duration: Histogram<f64>,
    pub(super) active: UpDownCounter<i64>,
    pub(super) added_to_cart: Counter<u64>,
}

impl Shop {
    pub(super) fn new(
        traces: &SdkTracerProvider,
        logs: &SdkLoggerProvider,
        metrics: &SdkMeterProvider,
    ) -> Self {
        let meter = metrics.meter(SCOPE);
        Self {
            tracer: traces.tracer(SCOPE),
            logger: logs.logger(SCOPE),
            duration: meter.f64_histogram("http.server.request.duration").with_unit("s").build(),
            active: meter.i64_up_down_counter("http.server.active_requests").build(),
            added_to_cart: meter.u64_counter("shop.cart.added").with_unit("{product}").build(),
        }
    }

    /// One request: its line in the access log, and its duration.
    pub(super) fn served(
        &self,
        cx: &Context,
        method: &Method,
        route: &str,
        status: StatusCode,
        took: Duration,
    ) {
        let attributes = [
            KeyValue::new("http.request.method", method.to_string()),
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("http.response.status_code", i64::from(status.as_u16())),
        ];
        self.duration.record(took.as_secs_f64(), &attributes);
        let mut record = self.record(cx, Severity::Info, format!("{method} {route} {status}"));
        record.add_attribute(
            Key::from_static_str("http.response.status_code"),
            i64::from(status.as_u16()),
        );
        record.add_attribute(Key::from_static_str("http.route"), route.to_owned());
        self.logger.emit(record);
    }

    /// A log record that belongs to the span of `cx`.
    pub(super) fn log(&self, cx: &Context, severity: Severity, text: String) {
        self.logger.emit(self.record(cx, severity, text));
    }

    fn record(
        &self,
        cx: &Context,
        severity: Severity,
        text: String,
    ) -> opentelemetry_sdk::logs::SdkLogRecord {
        let mut record = self.logger.create_log_record();
        record.set_timestamp(SystemTime::now());
        record.set_severity_number(severity);
        record.set_severity_text(severity.name());
        record.set_body(AnyValue::String(text.into()));
        let span = cx.span();
        let span = span.span_context();
        record.set_trace_context(span.trace_id(), span.span_id(), Some(span.trace_flags()));
        record
    }
}

const SCOPE: &str = "demo.shop";
