//! Which signals are exported, how long that may take, and what is told of it.

use std::time::Duration;

use super::Builder;
use crate::diagnostics::Level;
use crate::model::{Signal, SignalExporter};

impl Builder {
    /// Who gets the records of `signal`. Default the signal's variable (`OTEL_TRACES_EXPORTER`,
    /// `OTEL_LOGS_EXPORTER`, `OTEL_METRICS_EXPORTER`), else [`SignalExporter::Otlp`], a collector.
    ///
    /// With [`SignalExporter::None`] what comes in of the signal is neither encoded nor counted,
    /// and what is wrong with its settings is a diagnostic in place of an error. With
    /// [`file`](Self::file) or [`stdout`](Self::stdout), only that is told apart.
    ///
    /// ```
    /// use spanwire::{Exporter, Signal, SignalExporter};
    ///
    /// let builder = Exporter::builder().signal_exporter(Signal::Metrics, SignalExporter::None);
    /// ```
    pub fn signal_exporter(mut self, signal: Signal, exporter: SignalExporter) -> Self {
        self.exporters[signal.index()] = Some(exporter);
        self
    }

    /// Whether nothing is exported, of no signal. Default `OTEL_SDK_DISABLED`, else false.
    ///
    /// What comes in is neither encoded nor counted then.
    pub fn disabled(mut self, is_disabled: bool) -> Self {
        self.is_disabled = Some(is_disabled);
        self
    }

    /// Whether a gRPC endpoint that names no scheme (`collector:4317`) is spoken to in clear.
    /// Default the signal's variable (such as `OTEL_EXPORTER_OTLP_TRACES_INSECURE`), else
    /// `OTEL_EXPORTER_OTLP_INSECURE`, else false. A scheme decides itself.
    pub fn insecure(mut self, is_insecure: bool) -> Self {
        self.insecure = Some(is_insecure);
        self
    }

    /// Bounds the delivery of one batch, all its attempts and the pauses between them; zero is no
    /// limit. A batch that has spent it is dropped and counted. What comes through this crate's
    /// processors is given one last attempt at that time, which [`timeout`](Self::timeout) bounds;
    /// where the SDK waits for the export, everything ends at it.
    ///
    /// Default `OTEL_BSP_EXPORT_TIMEOUT` for traces, `OTEL_BLRP_EXPORT_TIMEOUT` for logs and
    /// `OTEL_METRIC_EXPORT_TIMEOUT` for metrics; else [`retry_budget`](Self::retry_budget) bounds
    /// the retries, and [`timeout`](Self::timeout) what the SDK's own processors and readers
    /// export.
    pub fn export_timeout(mut self, limit: Duration) -> Self {
        self.export_timeout = Some(limit);
        self
    }

    /// The least level of diagnostics that are delivered to
    /// [`on_diagnostic`](Self::on_diagnostic), or to stderr. Default `OTEL_LOG_LEVEL` (`none`,
    /// `error`, `warn`, `info`), else [`Level::Info`]: all of them.
    pub fn diagnostic_level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }
}
