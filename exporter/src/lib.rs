//! OpenTelemetry exporter (work in progress).
#![forbid(unsafe_code)]

#[allow(dead_code, reason = "its user, the pipeline, is not joined yet")]
mod batch;
mod error;
#[allow(dead_code, unused_imports, reason = "its user, the pipeline, is not joined yet")]
mod model;
#[allow(dead_code, reason = "its user, the pipeline, is not joined yet")]
mod retry;
mod stats;

pub use self::error::{BuildError, FlushError, ShutdownError};
pub use self::stats::{Dropped, Stats};
