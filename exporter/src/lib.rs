//! OpenTelemetry exporter (work in progress).
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "its user, the pipeline, is not joined yet")]
mod batch;
#[allow(dead_code, reason = "its user, the pipeline, is not joined yet")]
mod diagnostics;
#[allow(dead_code, reason = "its user, the pipeline, is not joined yet")]
mod encode;
#[allow(dead_code, reason = "its user, the builder, is not joined yet")]
mod env;
mod error;
#[allow(dead_code, reason = "its user, the pipeline, is not joined yet")]
mod ingest;
#[allow(dead_code, unused_imports, reason = "its user, the pipeline, is not joined yet")]
mod model;
#[allow(dead_code, reason = "its user, the pipeline, is not joined yet")]
mod retry;
mod stats;
#[allow(dead_code, reason = "its user, the pipeline, is not joined yet")]
mod transport;
#[allow(dead_code, reason = "its user, the pipeline, is not joined yet")]
mod wire;

/// What the fuzz targets and the benches need of the inside. Not covered by semver.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    pub use crate::transport::http1;

    /// Writes what the SDK's door writes for one span, for the benches.
    #[cfg(feature = "otel_0_33")]
    #[inline]
    pub fn encode_span(
        out: &mut spanwire_runtime::buf::Cursor<'_>,
        span: &opentelemetry_sdk::trace::SpanData,
    ) {
        crate::ingest::otel_0_33::span_data::encode_span(out, span);
    }
}

pub use self::diagnostics::{Diagnostic, Kind as DiagnosticKind};
pub use self::error::{BuildError, FlushError, ShutdownError};
pub use self::stats::{Dropped, Stats};
