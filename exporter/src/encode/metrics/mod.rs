//! `opentelemetry.proto.metrics.v1.Metric`, one function a piece.
//!
//! A door calls [`metric`], inside of it [`Data::put`], inside of that a function of [`points`]
//! for each data point, and after it writes metadata under [`METADATA`] if there is any. What was
//! written so can have its numbers replaced in place by [`patch`].
//!
//! ```text
//! 12 len Metric { name description unit  2a|3a|4a|52|5a len { 0a len Point {..} ..  temporality } metadata }
//! ```

pub(crate) mod patch;
pub(crate) mod points;
#[cfg(test)]
mod regressions;
#[cfg(test)]
mod tests;

use spanwire_runtime::buf::Cursor;

use crate::wire::fields::{self, metric_data, scope_records};
use crate::wire::write::{
    Wire, field_len, key, message, put_str_unless_empty, put_uint_unless_zero,
};

/// What tells a metric from others of its scope, besides the kind of its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// What it means, or empty.
    pub(crate) description: &'a str,
    /// UCUM unit, or empty.
    pub(crate) unit: &'a str,
}

/// Writes one record: a metric as a member of `ScopeMetrics`. `guess` is about how many bytes
/// `data` will write; it costs time only if it is far off.
pub(crate) fn metric(
    out: &mut Cursor<'_>,
    guess: usize,
    identity: &Identity<'_>,
    data: impl FnOnce(&mut Cursor<'_>),
) {
    message(out, RECORD, identity.len() + guess, |out| {
        put_str_unless_empty(out, NAME, identity.name);
        put_str_unless_empty(out, DESCRIPTION, identity.description);
        put_str_unless_empty(out, UNIT, identity.unit);
        data(out);
    });
}

/// The kind of a metric's data, and what it says besides its points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// Last values: [`points::number`]s.
    Gauge,
    /// Sums: [`points::number`]s.
    Sum {
        /// One of [`fields::aggregation_temporality`].
        temporality: u8,
        /// Whether it never decreases.
        is_monotonic: bool,
    },
    /// Distributions over buckets with given bounds: [`points::histogram`]s.
    Histogram {
        /// One of [`fields::aggregation_temporality`].
        temporality: u8,
    },
    /// Distributions over buckets that grow by a factor: [`points::exponential`]s.
    ExponentialHistogram {
        /// One of [`fields::aggregation_temporality`].
        temporality: u8,
    },
    /// Quantiles: [`points::summary`]s.
    #[cfg_attr(not(test), allow(dead_code, reason = "no SDK makes them; the protocol has them"))]
    Summary,
}

impl Data {
    /// Writes the data of a metric; `points` writes the points, in about `guess` bytes.
    pub(crate) fn put(
        self,
        out: &mut Cursor<'_>,
        guess: usize,
        points: impl FnOnce(&mut Cursor<'_>),
    ) {
        message(out, self.key(), guess, |out| {
            points(out);
            put_uint_unless_zero(out, TEMPORALITY, self.temporality().into());
            put_uint_unless_zero(out, IS_MONOTONIC, self.is_monotonic().into());
        });
    }

    fn key(self) -> u8 {
        match self {
            Self::Gauge => GAUGE,
            Self::Sum { .. } => SUM,
            Self::Histogram { .. } => HISTOGRAM,
            Self::ExponentialHistogram { .. } => EXPONENTIAL_HISTOGRAM,
            Self::Summary => SUMMARY,
        }
    }

    /// 0, which is left out, for what has none.
    fn temporality(self) -> u8 {
        match self {
            Self::Sum { temporality, .. }
            | Self::Histogram { temporality }
            | Self::ExponentialHistogram { temporality } => temporality,
            Self::Gauge | Self::Summary => 0,
        }
    }

    fn is_monotonic(self) -> bool {
        matches!(self, Self::Sum { is_monotonic: true, .. })
    }
}

impl Identity<'_> {
    /// Bytes of its fields, at most.
    pub(crate) fn len(&self) -> usize {
        [self.name, self.description, self.unit].iter().map(|text| field_len(text.len())).sum()
    }
}

/// Key of a metric in `ScopeMetrics`.
const RECORD: u8 = key(scope_records::RECORDS, Wire::Len);
const NAME: u8 = key(fields::metric::NAME, Wire::Len);
const DESCRIPTION: u8 = key(fields::metric::DESCRIPTION, Wire::Len);
const UNIT: u8 = key(fields::metric::UNIT, Wire::Len);
const GAUGE: u8 = key(fields::metric::GAUGE, Wire::Len);
const SUM: u8 = key(fields::metric::SUM, Wire::Len);
const HISTOGRAM: u8 = key(fields::metric::HISTOGRAM, Wire::Len);
const EXPONENTIAL_HISTOGRAM: u8 = key(fields::metric::EXPONENTIAL_HISTOGRAM, Wire::Len);
const SUMMARY: u8 = key(fields::metric::SUMMARY, Wire::Len);
/// Key of the attributes that describe a metric, which stand behind its data.
#[cfg_attr(not(test), allow(dead_code, reason = "no SDK makes metadata; the protocol has it"))]
pub(crate) const METADATA: u8 = key(fields::metric::METADATA, Wire::Len);
/// Key of a data point in each kind of data.
const POINT: u8 = key(metric_data::DATA_POINTS, Wire::Len);
const TEMPORALITY: u8 = key(metric_data::AGGREGATION_TEMPORALITY, Wire::Varint);
const IS_MONOTONIC: u8 = key(metric_data::IS_MONOTONIC, Wire::Varint);
