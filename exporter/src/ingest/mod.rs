//! The doors in: they turn data of a producer's types into records of a pipe.

pub(crate) mod direct;
#[cfg(feature = "otel_0_33")]
pub(crate) mod otel_0_33;
