//! Views of the messages of OTLP over encoded bytes.

mod common;
mod logs;
mod message;
mod metrics;
mod repeated;
mod request;
#[cfg(test)]
mod tests;
mod trace;

pub use self::common::{AnyValue, Array, Attributes, Resource, Scope};
pub use self::logs::LogRecord;
pub use self::metrics::{
    Buckets, Exemplar, ExponentialHistogram, ExponentialHistogramPoint, Gauge, Histogram,
    HistogramPoint, Metric, MetricData, Number, NumberPoint, Quantile, Sum, Summary, SummaryPoint,
};
pub use self::repeated::{Packed, Repeated};
pub use self::request::{Request, ResourceRecords, ScopeRecords};
pub use self::trace::{Event, Link, Span, Status};

/// A view of a message: the struct and how it begins.
macro_rules! view {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'a> {
            message: Message<'a>,
        }

        impl<'a> $name<'a> {
            pub(super) fn over(message: Message<'a>) -> Self {
                Self { message }
            }
        }
    };
}
use view;

/// Methods of a view that read one field each: `name: kind -> type = number`, where kind is a
/// method of `Message`.
macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $kind:ident -> $type:ty = $number:expr;)+) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// The message, or this field of it, is malformed.
        pub fn $name(&self) -> Result<$type, Malformed> {
            self.message.$kind($number)
        }
    )+};
}
use getters;

/// Methods of a view for its repeated messages.
macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident -> $item:ident = $number:expr;)+) => {$(
        $(#[$doc])*
        pub fn $name(&self) -> Repeated<'a, $item<'a>> {
            Repeated::new(self.message, $number, $item::over)
        }
    )+};
}
use lists;
