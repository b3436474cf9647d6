//! Everything that touches the types of opentelemetry 0.33, and nothing else does.

use std::any::Any;

pub(crate) mod any_value;
pub(crate) mod attributes;
pub(crate) mod clock;
mod export;
pub(crate) mod lifecycle;
pub(crate) mod log_exporter;
pub(crate) mod log_processor;
pub(crate) mod log_record;
pub(crate) mod metrics;
pub(crate) mod processor;
pub(crate) mod resource;
pub(crate) mod scope;
pub(crate) mod scopes;
pub(crate) mod self_metrics;
pub(crate) mod span_data;
pub(crate) mod span_exporter;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod arbitrary_logs;
#[cfg(test)]
mod log_tests;
#[cfg(test)]
pub(crate) mod naive;
#[cfg(test)]
mod tests;

/// Puts this thread into the suppressed telemetry scope until the guard is dropped, so that what
/// an instrumented library or the user's handler does on it is not exported in turn.
pub(crate) fn suppress_telemetry() -> Box<dyn Any> {
    Box::new(opentelemetry::Context::enter_telemetry_suppressed_scope())
}
