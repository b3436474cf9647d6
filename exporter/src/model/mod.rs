//! Plain data that the stages hand to each other: what is sent, and what came of sending it.

mod choice;
mod destination;
mod metrics;
mod outcome;
mod payload;
mod signal;

pub use self::choice::{Compression, Protocol, SignalExporter};
pub use self::destination::DestinationName;
pub(crate) use self::destination::NAME_BYTES;
pub(crate) use self::metrics::{GivenMetricPreferences, MetricPreferences};
pub use self::metrics::{HistogramAggregation, TemporalityPreference};
pub(crate) use self::outcome::{Failure, Outcome, Phase, Status};
pub(crate) use self::payload::{Encoding, Payload};
pub use self::signal::Signal;
