//! The span processor that bypasses the SDK's own batch processors.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData};

use super::lifecycle::{self, FLUSH_LIMIT};
use super::resource::encode_resource;
use super::scopes;
use super::span_data::encode_span;
use crate::exporter::Exporter;
use crate::model::Signal;
use crate::pipeline::door::Door;

/// Encodes each sampled span on the thread that ends it and hands the bytes to an [`Exporter`].
///
/// It takes the place of a batch span processor together with its exporter. `on_end` takes no
/// lock, makes no system call and never waits; if the exporter's buffer is full the span is
/// dropped and counted ([`Stats::dropped`](crate::Stats)). Spans without the sampled flag are
/// ignored and not counted.
///
/// Shutting the provider down flushes and closes this processor only. Other processors of the
/// same exporter go on; delivery ends with [`Exporter::shutdown`].
///
/// # Examples
///
/// ```
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
/// let provider = SdkTracerProvider::builder()
///     .with_span_processor(spanwire::otel_0_33::SpanProcessor::new(&exporter))
///     .build();
/// # drop(provider);
/// # exporter.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SpanProcessor {
    door: Door,
    /// Keeps delivery alive for as long as the provider may end spans.
    _exporter: Exporter,
}

impl SpanProcessor {
    /// A new way into `exporter`. Its spans belong to the resource of the provider that it is
    /// added to.
    #[must_use = "a processor does nothing until a provider has it"]
    pub fn new(exporter: &Exporter) -> Self {
        Self { door: Door::open(exporter.home(), Signal::Traces), _exporter: exporter.clone() }
    }
}

impl opentelemetry_sdk::trace::SpanProcessor for SpanProcessor {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if let Some(entry) = self.door.enter() {
            let (scope, limits) = (&span.instrumentation_scope, self.door.limits());
            scopes::append(entry, scope, scope.name(), |out| encode_span(out, &span, limits));
        }
    }

    /// Delivers what has ended so far, within [`FLUSH_LIMIT`].
    fn force_flush(&self) -> OTelSdkResult {
        lifecycle::flush(&self.door, FLUSH_LIMIT)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        lifecycle::shut(&self.door, timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.door.set_resource(encode_resource(resource, self.door.limits()));
    }
}
