//! Building blocks of OTLP messages, free of any SDK's types: the doors in `ingest` walk their
//! own data and call these in the order of the field numbers.
//!
//! Attributes, resources and scopes are in [`common`], what cuts attributes in [`limits`], spans
//! in [`traces`], log records in [`logs`], metrics in [`metrics`], and the containers around
//! finished records in [`envelope`]. A build without a door has only the last and the limits:
//! nobody would call the others.

#[cfg(feature = "otel_0_33")]
pub(crate) mod common;
pub(crate) mod envelope;
#[cfg_attr(
    not(feature = "internals"),
    allow(dead_code, reason = "files are written by a destination")
)]
pub(crate) mod json;
#[cfg_attr(not(feature = "otel_0_33"), allow(dead_code, reason = "no door brings attributes in"))]
pub(crate) mod limits;
#[cfg(feature = "otel_0_33")]
pub(crate) mod logs;
#[cfg(feature = "otel_0_33")]
pub(crate) mod metrics;
#[cfg(feature = "otel_0_33")]
pub(crate) mod traces;
