//! The protobuf wire format, as far as OTLP needs it: a leaf that knows nothing of telemetry
//! but the field numbers.
//!
//! The field numbers and enum values of OTLP are in [`fields`]; [`mod@write`] puts varints, keys and
//! messages through the runtime's cursor; [`read`] walks foreign bytes, bounded and without
//! panics; [`response`] reads what a receiver answers.
//!
//! Lengths are canonical (the shortest varint), and fields stand in the order of their numbers.
//! So the bytes are those of other canonical encoders such as prost, which the tests use as
//! their oracle.

#[allow(dead_code, reason = "a table of the protocol is whole, whoever needs which part of it")]
pub(crate) mod fields;
pub(crate) mod read;
pub(crate) mod response;
#[cfg_attr(
    not(feature = "otel_0_33"),
    allow(dead_code, reason = "a writer is whole; only encoders need all of it")
)]
pub(crate) mod write;
