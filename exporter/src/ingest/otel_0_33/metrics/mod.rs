//! Metrics of opentelemetry_sdk 0.33.

pub(crate) mod data;
pub(crate) mod image;
#[cfg(test)]
mod tests;
