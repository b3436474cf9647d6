//! Everything that touches the types of opentelemetry 0.33, and nothing else does.

pub(crate) mod attributes;
pub(crate) mod resource;
pub(crate) mod scope;
pub(crate) mod span_data;

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod tests;
