//! Building blocks of OTLP messages, free of any SDK's types: the doors in `ingest` walk their
//! own data and call these in the order of the field numbers.
//!
//! Attributes, resources and scopes are in [`common`], what cuts attributes in [`limits`], spans
//! in [`traces`], log records in [`logs`], metrics in [`metrics`], and the containers around
//! finished records in [`envelope`]. A build without the SDK's doors has no metrics: nobody would
//! call them.

#[cfg_attr(not(feature = "otel_0_33"), allow(dead_code, reason = "some of it is for SDKs only"))]
pub(crate) mod common;
pub(crate) mod envelope;
pub(crate) mod json;
#[cfg_attr(not(feature = "otel_0_33"), allow(dead_code, reason = "some of it is for SDKs only"))]
pub(crate) mod limits;
pub(crate) mod logs;
#[cfg(feature = "otel_0_33")]
pub(crate) mod metrics;
pub(crate) mod traces;
