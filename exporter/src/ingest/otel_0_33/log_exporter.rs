//! A log exporter for those who keep the SDK's log processors.

use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::LogBatch;

use super::export::{Groups, outcome};
use super::lifecycle;
use super::log_record::encode_log_record;
use super::resource::encode_resource;
use crate::exporter::Exporter;
use crate::model::Signal;
use crate::pipeline::door::Door;

/// Delivers the batches of one of the SDK's log processors through an [`Exporter`].
///
/// [`LogProcessor`](super::log_processor::LogProcessor) costs a fraction of this per record; take
/// this one if the SDK's batching, or a processor of your own, has to stay. What
/// [`SpanExporter`](super::span_exporter::SpanExporter) says of batches, their outcome and their
/// time limit holds here as well.
///
/// # Examples
///
/// ```
/// use opentelemetry_sdk::logs::SdkLoggerProvider;
///
/// let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
/// let provider = SdkLoggerProvider::builder()
///     .with_batch_exporter(spanwire::otel_0_33::LogExporter::new(&exporter))
///     .build();
/// # drop(provider);
/// # exporter.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogExporter {
    door: Door,
    /// Keeps delivery alive for as long as a processor may export.
    _exporter: Exporter,
}

impl LogExporter {
    /// A new way into `exporter`. Its log records belong to the resource of the provider whose
    /// processor it is given to.
    #[must_use = "an exporter does nothing until a processor has it"]
    pub fn new(exporter: &Exporter) -> Self {
        Self { door: Door::open(exporter.home(), Signal::Logs), _exporter: exporter.clone() }
    }
}

// `event_enabled` stays at "all of them": also what is emitted after the end is to be counted.
impl opentelemetry_sdk::logs::LogExporter for LogExporter {
    fn export(&self, batch: LogBatch<'_>) -> impl Future<Output = OTelSdkResult> + Send {
        let limits = self.door.limits();
        let encode = || {
            let mut groups = Groups::default();
            for (record, scope) in batch.iter() {
                let name = record.target().map_or_else(|| scope.name(), AsRef::as_ref);
                groups.add(scope, name, |out| encode_log_record(out, record, limits));
            }
            groups.finish(limits)
        };
        outcome(&self.door, self.door.submit_encoded(batch.iter().count() as u64, encode))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        lifecycle::shut(&self.door, timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.door.set_resource(encode_resource(resource, self.door.limits()));
    }
}
