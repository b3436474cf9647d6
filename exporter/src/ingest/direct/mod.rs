//! The direct door: plain data of the program's own, without an SDK.
//!
//! [`attribute`] has what both share; [`span`] and [`log`] are the records, [`Spans`] and [`Logs`]
//! the ways in.
//!
//! [`Spans`]: door::Spans
//! [`Logs`]: door::Logs

pub(crate) mod attribute;
pub(crate) mod door;
pub(crate) mod log;
pub(crate) mod span;

#[cfg(all(test, feature = "otel_0_33"))]
mod tests;
