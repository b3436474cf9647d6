//! Metrics of opentelemetry_sdk 0.33.

pub(crate) mod data;
pub(crate) mod exporter;
pub(crate) mod image;
#[cfg(test)]
mod tests;
pub(crate) mod views;
