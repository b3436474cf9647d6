//! Metrics of opentelemetry_sdk 0.33.

pub(crate) mod data;
pub(crate) mod exporter;
#[cfg_attr(
    not(feature = "internals"),
    allow(unreachable_pub, reason = "`internals` shows the image to benches")
)]
pub(crate) mod image;
#[cfg(test)]
mod tests;
pub(crate) mod views;
