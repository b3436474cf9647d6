//! A span exporter for those who keep the SDK's span processors.

use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::SpanData;

use super::export::{Groups, outcome};
use super::lifecycle::{self, FLUSH_LIMIT};
use super::resource::encode_resource;
use super::span_data::encode_span;
use crate::exporter::Exporter;
use crate::model::Signal;
use crate::pipeline::door::Door;

/// Delivers the batches of one of the SDK's span processors through an [`Exporter`].
///
/// [`SpanProcessor`](super::processor::SpanProcessor) costs a fraction of this per span; take
/// this one if the SDK's batching, or a processor of your own, has to stay. Each batch is encoded
/// on the thread that exports it and becomes a request of its own (several, if it exceeds the
/// request limit). `export` ends on the final outcome and never before: when the collector has
/// answered, or the batch was given up. The exporter's timeout
/// ([`Builder::timeout`](crate::Builder::timeout)) bounds the whole of it, retries included.
///
/// It needs no async runtime, and works under the batch processor's own thread as well as inside
/// a runtime. It may be called from several threads at once.
///
/// # Examples
///
/// ```
/// use opentelemetry_sdk::trace::SdkTracerProvider;
///
/// let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
/// let provider = SdkTracerProvider::builder()
///     .with_batch_exporter(spanwire::otel_0_33::SpanExporter::new(&exporter))
///     .build();
/// # drop(provider);
/// # exporter.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SpanExporter {
    door: Door,
    /// Keeps delivery alive for as long as a processor may export.
    _exporter: Exporter,
}

impl SpanExporter {
    /// A new way into `exporter`. Its spans belong to the resource of the provider whose
    /// processor it is given to.
    #[must_use = "an exporter does nothing until a processor has it"]
    pub fn new(exporter: &Exporter) -> Self {
        Self { door: Door::open(exporter.home(), Signal::Traces), _exporter: exporter.clone() }
    }
}

impl opentelemetry_sdk::trace::SpanExporter for SpanExporter {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let limits = self.door.limits();
        let encode = || {
            let mut groups = Groups::default();
            for span in &batch {
                let scope = &span.instrumentation_scope;
                groups.add(scope, scope.name(), |out| encode_span(out, span, limits));
            }
            groups.finish(limits)
        };
        outcome(&self.door, self.door.submit_encoded(batch.len() as u64, encode))
    }

    /// Waits for what is being exported, within [`FLUSH_LIMIT`].
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
