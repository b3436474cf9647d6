//! Providers and exporters for tests.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::logs::{AnyValue, LogRecord as _, Logger as _, LoggerProvider as _, Severity};
use opentelemetry::trace::{Span as _, Tracer, TracerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{SdkLogger, SdkLoggerProvider};
use opentelemetry_sdk::trace::SdkTracerProvider;
use spanwire::otel_0_33::{LogProcessor, SpanProcessor};
use spanwire::{Builder, Exporter, Io, Stats};

/// A limit for what is expected to succeed long before.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Both drivers: what a promise holds for. Where there is no ring (a container denies it, or the
/// build is portable), the other one chosen in both ways.
pub(crate) fn drivers() -> [Io; 2] {
    static FIRST: LazyLock<Io> =
        LazyLock::new(|| match spanwire_runtime::Builder::new().io(Io::Uring).build() {
            Ok(_) => Io::Uring,
            Err(error) => {
                eprintln!("io_uring is not available here, so only epoll is tried: {error}");
                Io::Auto
            }
        });
    [*FIRST, Io::Epoll]
}

/// An exporter that reads no environment and keeps its diagnostics for the test.
pub(crate) fn builder(endpoint: &str) -> (Builder, Diagnostics) {
    let diagnostics = Diagnostics::default();
    let kept = diagnostics.clone();
    let builder = Exporter::builder()
        .env_from(|_| None)
        .endpoint(endpoint)
        .retry_backoff(Duration::from_millis(10), Duration::from_millis(50))
        .on_diagnostic(move |diagnostic| {
            kept.0.0.lock().unwrap().push(format!("{:?}: {diagnostic}", diagnostic.kind));
            kept.0.1.notify_all();
        });
    (builder, diagnostics)
}

/// What an exporter told its handler.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diagnostics(Arc<(Mutex<Vec<String>>, Condvar)>);

impl Diagnostics {
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<String> {
        let all = self.0.0.lock().unwrap();
        all.iter().filter(|line| line.starts_with(kind)).cloned().collect()
    }

    /// Waits for the first of a kind.
    pub(crate) fn wait_for(&self, kind: &str) -> String {
        let (all, told) = &*self.0;
        let none = |all: &mut Vec<String>| !all.iter().any(|line| line.starts_with(kind));
        drop(told.wait_timeout_while(all.lock().unwrap(), LONG, none).unwrap());
        self.of_kind(kind).into_iter().next().expect("a diagnostic of that kind")
    }
}

/// A provider whose spans go into `exporter` and belong to `service`.
pub(crate) fn provider(exporter: &Exporter, service: &str) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name(service.to_owned()).build())
        .with_span_processor(SpanProcessor::new(exporter))
        .build()
}

/// Ends `count` spans named "span <n>"; returns their ids.
pub(crate) fn end_spans(provider: &SdkTracerProvider, count: usize) -> Vec<Vec<u8>> {
    let tracer = provider.tracer("test");
    let end = |index| {
        let mut span = tracer.start(format!("span {index}"));
        span.end();
        span.span_context().span_id().to_bytes().to_vec()
    };
    (0..count).map(end).collect()
}

/// Ends `count` spans of about 100 KiB each; returns their ids.
pub(crate) fn end_large_spans(provider: &SdkTracerProvider, count: usize) -> Vec<Vec<u8>> {
    let tracer = provider.tracer("test");
    let text = "spanwire".repeat(100 << 7);
    let end = |_| {
        let mut span = tracer.start("large");
        span.set_attribute(KeyValue::new("text", text.clone()));
        span.end();
        span.span_context().span_id().to_bytes().to_vec()
    };
    (0..count).map(end).collect()
}

/// A provider whose log records go into `exporter` and belong to `service`.
pub(crate) fn logger_provider(exporter: &Exporter, service: &str) -> SdkLoggerProvider {
    SdkLoggerProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name(service.to_owned()).build())
        .with_log_processor(LogProcessor::new(exporter))
        .build()
}

/// Emits `count` log records, each with a body that no other has; returns the bodies.
pub(crate) fn emit_logs(provider: &SdkLoggerProvider, count: usize) -> Vec<String> {
    emit_logs_by(&provider.logger("test"), count)
}

/// The same by a logger that was there before.
pub(crate) fn emit_logs_by(logger: &SdkLogger, count: usize) -> Vec<String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let emit = |_| {
        let body = format!("log {}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut record = logger.create_log_record();
        record.set_severity_number(Severity::Info);
        record.set_body(AnyValue::from(body.clone()));
        logger.emit(record);
        body
    };
    (0..count).map(emit).collect()
}

/// The law: nothing is lost without a count.
pub(crate) fn assert_balanced(stats: &Stats, emitted: usize) {
    assert_eq!(stats.emitted, emitted as u64, "{stats:?}");
    assert_eq!(stats.accounted_for(), stats.emitted, "{stats:?}");
}
