//! Metrics and their points.

use super::super::fields::{
    buckets, exemplar, exponential_histogram_data_point as exponential_point,
    histogram_data_point as histogram_point, metric, metric_data,
    number_data_point as number_point, summary_data_point as summary_point, value_at_quantile,
};
use super::super::read::Malformed;
use super::common::Attributes;
use super::message::{Member, Message};
use super::repeated::{Packed, Repeated};
use super::{getters, lists, view};

view! {
    /// A metric.
    ///
    /// # Examples
    ///
    /// ```
    /// use spanwire::wire::{Metric, MetricData, Number};
    ///
    /// // Field 1 is the name, field 7 a sum; in it, field 1 a point, whose field 6 is an sfixed64.
    /// let metric = Metric::new(b"\x0a\x01n\x3a\x0b\x0a\x09\x31\x07\0\0\0\0\0\0\0");
    /// let Some(MetricData::Sum(sum)) = metric.data()? else { panic!("it is a sum") };
    /// for point in sum.points() {
    ///     assert!(matches!(point?.value()?, Some(Number::Int(7))));
    /// }
    /// # Ok::<(), spanwire::wire::Malformed>(())
    /// ```
    Metric
}

impl<'a> Metric<'a> {
    /// Views a metric, without the key and the length that it has in a run of records.
    pub fn new(metric: &'a [u8]) -> Self {
        Self::over(Message::outermost(metric))
    }

    getters! {
        /// `name`
        name: text -> &'a str = metric::NAME;
        /// `description`
        description: text -> &'a str = metric::DESCRIPTION;
        /// `unit`
        unit: text -> &'a str = metric::UNIT;
    }

    /// The oneof `data`, if it is set.
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn data(&self) -> Result<Option<MetricData<'a>>, Malformed> {
        self.message.last_member(is_data)?.map(MetricData::of).transpose()
    }

    /// `metadata`
    pub fn metadata(&self) -> Attributes<'a> {
        Attributes::new(self.message, metric::METADATA)
    }
}

fn is_data(number: u32) -> bool {
    use metric::{EXPONENTIAL_HISTOGRAM, GAUGE, HISTOGRAM, SUM, SUMMARY};
    matches!(number, GAUGE | SUM | HISTOGRAM | EXPONENTIAL_HISTOGRAM | SUMMARY)
}

/// What a metric is made of.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum MetricData<'a> {
    /// `gauge`
    Gauge(Gauge<'a>),
    /// `sum`
    Sum(Sum<'a>),
    /// `histogram`
    Histogram(Histogram<'a>),
    /// `exponential_histogram`
    ExponentialHistogram(ExponentialHistogram<'a>),
    /// `summary`
    Summary(Summary<'a>),
}

impl<'a> MetricData<'a> {
    fn of(member: Member<'a>) -> Result<Self, Malformed> {
        let message = member.message()?;
        Ok(match member.number {
            metric::GAUGE => Self::Gauge(Gauge::over(message)),
            metric::SUM => Self::Sum(Sum::over(message)),
            metric::HISTOGRAM => Self::Histogram(Histogram::over(message)),
            metric::EXPONENTIAL_HISTOGRAM => {
                Self::ExponentialHistogram(ExponentialHistogram::over(message))
            }
            _ => Self::Summary(Summary::over(message)),
        })
    }
}

view! {
    /// Current values.
    Gauge
}

impl<'a> Gauge<'a> {
    lists! {
        /// `data_points`
        points -> NumberPoint = metric_data::DATA_POINTS;
    }
}

view! {
    /// Sums of what was added.
    Sum
}

impl<'a> Sum<'a> {
    lists! {
        /// `data_points`
        points -> NumberPoint = metric_data::DATA_POINTS;
    }

    getters! {
        /// `aggregation_temporality`: delta is 1, cumulative 2.
        aggregation_temporality: int32 -> i32 = metric_data::AGGREGATION_TEMPORALITY;
        /// `is_monotonic`
        is_monotonic: boolean -> bool = metric_data::IS_MONOTONIC;
    }
}

view! {
    /// Distributions over explicit bounds.
    Histogram
}

impl<'a> Histogram<'a> {
    lists! {
        /// `data_points`
        points -> HistogramPoint = metric_data::DATA_POINTS;
    }

    getters! {
        /// `aggregation_temporality`: delta is 1, cumulative 2.
        aggregation_temporality: int32 -> i32 = metric_data::AGGREGATION_TEMPORALITY;
    }
}

view! {
    /// Distributions over exponential bounds.
    ExponentialHistogram
}

impl<'a> ExponentialHistogram<'a> {
    lists! {
        /// `data_points`
        points -> ExponentialHistogramPoint = metric_data::DATA_POINTS;
    }

    getters! {
        /// `aggregation_temporality`: delta is 1, cumulative 2.
        aggregation_temporality: int32 -> i32 = metric_data::AGGREGATION_TEMPORALITY;
    }
}

view! {
    /// Quantiles, from systems that have nothing better.
    Summary
}

impl<'a> Summary<'a> {
    lists! {
        /// `data_points`
        points -> SummaryPoint = metric_data::DATA_POINTS;
    }
}

/// The value of a point or an exemplar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// `as_double`
    Double(f64),
    /// `as_int`
    Int(i64),
}

impl Number {
    fn of(message: Message<'_>, as_double: u32, as_int: u32) -> Result<Option<Self>, Malformed> {
        let member = message.last_member(|number| number == as_double || number == as_int)?;
        let Some(member) = member else { return Ok(None) };
        let bits = member.value.fixed64()?;
        let is_double = member.number == as_double;
        Ok(Some(if is_double {
            Self::Double(f64::from_bits(bits))
        } else {
            Self::Int(bits as i64)
        }))
    }
}

view! {
    /// A point of a gauge or a sum.
    NumberPoint
}

impl<'a> NumberPoint<'a> {
    getters! {
        /// `start_time_unix_nano`
        start_time_unix_nano: fixed64 -> u64 = number_point::START_TIME_UNIX_NANO;
        /// `time_unix_nano`
        time_unix_nano: fixed64 -> u64 = number_point::TIME_UNIX_NANO;
        /// `flags`
        flags: uint32 -> u32 = number_point::FLAGS;
    }

    lists! {
        /// `exemplars`
        exemplars -> Exemplar = number_point::EXEMPLARS;
    }

    /// The oneof `value`, if it is set.
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn value(&self) -> Result<Option<Number>, Malformed> {
        Number::of(self.message, number_point::AS_DOUBLE, number_point::AS_INT)
    }

    /// `attributes`
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, number_point::ATTRIBUTES)
    }
}

view! {
    /// A point of a histogram.
    HistogramPoint
}

impl<'a> HistogramPoint<'a> {
    getters! {
        /// `start_time_unix_nano`
        start_time_unix_nano: fixed64 -> u64 = histogram_point::START_TIME_UNIX_NANO;
        /// `time_unix_nano`
        time_unix_nano: fixed64 -> u64 = histogram_point::TIME_UNIX_NANO;
        /// `count`
        count: fixed64 -> u64 = histogram_point::COUNT;
        /// `sum`
        sum: optional_double -> Option<f64> = histogram_point::SUM;
        /// `min`
        min: optional_double -> Option<f64> = histogram_point::MIN;
        /// `max`
        max: optional_double -> Option<f64> = histogram_point::MAX;
        /// `flags`
        flags: uint32 -> u32 = histogram_point::FLAGS;
    }

    lists! {
        /// `exemplars`
        exemplars -> Exemplar = histogram_point::EXEMPLARS;
    }

    /// `bucket_counts`
    pub fn bucket_counts(&self) -> Packed<'a, u64> {
        Packed::fixed64(self.message, histogram_point::BUCKET_COUNTS, |count| count)
    }

    /// `explicit_bounds`
    pub fn explicit_bounds(&self) -> Packed<'a, f64> {
        Packed::fixed64(self.message, histogram_point::EXPLICIT_BOUNDS, f64::from_bits)
    }

    /// `attributes`
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, histogram_point::ATTRIBUTES)
    }
}

view! {
    /// A point of an exponential histogram.
    ExponentialHistogramPoint
}

impl<'a> ExponentialHistogramPoint<'a> {
    getters! {
        /// `start_time_unix_nano`
        start_time_unix_nano: fixed64 -> u64 = exponential_point::START_TIME_UNIX_NANO;
        /// `time_unix_nano`
        time_unix_nano: fixed64 -> u64 = exponential_point::TIME_UNIX_NANO;
        /// `count`
        count: fixed64 -> u64 = exponential_point::COUNT;
        /// `sum`
        sum: optional_double -> Option<f64> = exponential_point::SUM;
        /// `scale`
        scale: sint32 -> i32 = exponential_point::SCALE;
        /// `zero_count`
        zero_count: fixed64 -> u64 = exponential_point::ZERO_COUNT;
        /// `flags`
        flags: uint32 -> u32 = exponential_point::FLAGS;
        /// `min`
        min: optional_double -> Option<f64> = exponential_point::MIN;
        /// `max`
        max: optional_double -> Option<f64> = exponential_point::MAX;
        /// `zero_threshold`
        zero_threshold: double -> f64 = exponential_point::ZERO_THRESHOLD;
    }

    lists! {
        /// `exemplars`
        exemplars -> Exemplar = exponential_point::EXEMPLARS;
    }

    /// `positive`, if it is there.
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn positive(&self) -> Result<Option<Buckets<'a>>, Malformed> {
        Ok(self.message.message(exponential_point::POSITIVE)?.map(Buckets::over))
    }

    /// `negative`, if it is there.
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn negative(&self) -> Result<Option<Buckets<'a>>, Malformed> {
        Ok(self.message.message(exponential_point::NEGATIVE)?.map(Buckets::over))
    }

    /// `attributes`
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, exponential_point::ATTRIBUTES)
    }
}

view! {
    /// The buckets of one sign.
    Buckets
}

impl<'a> Buckets<'a> {
    getters! {
        /// `offset`
        offset: sint32 -> i32 = buckets::OFFSET;
    }

    /// `bucket_counts`
    pub fn bucket_counts(&self) -> Packed<'a, u64> {
        Packed::varint(self.message, buckets::BUCKET_COUNTS, |count| count)
    }
}

view! {
    /// A point of a summary.
    SummaryPoint
}

impl<'a> SummaryPoint<'a> {
    getters! {
        /// `start_time_unix_nano`
        start_time_unix_nano: fixed64 -> u64 = summary_point::START_TIME_UNIX_NANO;
        /// `time_unix_nano`
        time_unix_nano: fixed64 -> u64 = summary_point::TIME_UNIX_NANO;
        /// `count`
        count: fixed64 -> u64 = summary_point::COUNT;
        /// `sum`
        sum: double -> f64 = summary_point::SUM;
        /// `flags`
        flags: uint32 -> u32 = summary_point::FLAGS;
    }

    lists! {
        /// `quantile_values`
        quantile_values -> Quantile = summary_point::QUANTILE_VALUES;
    }

    /// `attributes`
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, summary_point::ATTRIBUTES)
    }
}

view! {
    /// A `ValueAtQuantile`.
    Quantile
}

impl Quantile<'_> {
    getters! {
        /// `quantile`: 0.0 to 1.0.
        quantile: double -> f64 = value_at_quantile::QUANTILE;
        /// `value`
        value: double -> f64 = value_at_quantile::VALUE;
    }
}

view! {
    /// A measurement that a point was made of.
    Exemplar
}

impl<'a> Exemplar<'a> {
    getters! {
        /// `time_unix_nano`
        time_unix_nano: fixed64 -> u64 = exemplar::TIME_UNIX_NANO;
        /// `span_id`
        span_id: bytes -> &'a [u8] = exemplar::SPAN_ID;
        /// `trace_id`
        trace_id: bytes -> &'a [u8] = exemplar::TRACE_ID;
    }

    /// The oneof `value`, if it is set.
    ///
    /// # Errors
    /// The message, or this field of it, is malformed.
    pub fn value(&self) -> Result<Option<Number>, Malformed> {
        Number::of(self.message, exemplar::AS_DOUBLE, exemplar::AS_INT)
    }

    /// `filtered_attributes`
    pub fn filtered_attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, exemplar::FILTERED_ATTRIBUTES)
    }
}
