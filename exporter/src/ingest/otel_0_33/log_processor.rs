//! The log processor that bypasses the SDK's own batch processors.

use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLogRecord;

use super::lifecycle::{self, FLUSH_LIMIT};
use super::log_record::encode_log_record;
use super::resource::encode_resource;
use super::scopes;
use crate::exporter::Exporter;
use crate::model::Signal;
use crate::pipeline::door::Door;

/// Encodes each log record on the thread that emits it and hands the bytes to an [`Exporter`].
///
/// It takes the place of a batch log processor together with its exporter. `emit` reads the
/// record where it is, without a clone; it takes no lock, makes no system call and never waits;
/// if the exporter's buffer is full the record is dropped and counted
/// ([`Stats::dropped`](crate::Stats)). Records come from `Logger::emit` or from a bridge such as
/// `opentelemetry-appender-tracing`.
///
/// A record's target, which bridges set to the module that logs, takes the place of the scope's
/// name, as in `opentelemetry-otlp`. What is emitted in the suppressed telemetry scope never
/// comes here: the SDK holds it back.
///
/// Shutting the provider down flushes and closes this processor only. Other processors of the
/// same exporter go on; delivery ends with [`Exporter::shutdown`].
///
/// # Examples
///
/// ```
/// use opentelemetry_sdk::logs::SdkLoggerProvider;
///
/// let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
/// let provider = SdkLoggerProvider::builder()
///     .with_log_processor(spanwire::otel_0_33::LogProcessor::new(&exporter))
///     .build();
/// # drop(provider);
/// # exporter.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct LogProcessor {
    door: Door,
    /// Keeps delivery alive for as long as the provider may emit records.
    _exporter: Exporter,
}

impl LogProcessor {
    /// A new way into `exporter`. Its log records belong to the resource of the provider that it
    /// is added to.
    #[must_use = "a processor does nothing until a provider has it"]
    pub fn new(exporter: &Exporter) -> Self {
        Self { door: Door::open(exporter.home(), Signal::Logs), _exporter: exporter.clone() }
    }
}

// `event_enabled` stays at "all of them": also what is emitted after the end is to be counted.
impl opentelemetry_sdk::logs::LogProcessor for LogProcessor {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if let Some(entry) = self.door.enter() {
            let name = record.target().map_or_else(|| scope.name(), AsRef::as_ref);
            let limits = self.door.limits();
            scopes::append(entry, scope, name, |out| encode_log_record(out, record, limits));
        }
    }

    /// Delivers what was emitted so far, within [`FLUSH_LIMIT`].
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
