//! OpenTelemetry exporter (work in progress).
#![forbid(unsafe_code)]
