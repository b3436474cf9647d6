//! One metric of opentelemetry_sdk 0.33: written afresh, or patched into what was written before.
//!
//! Both walk the SDK's data in the same order; the tests hold them against each other.

use std::iter::Peekable;
use std::mem::MaybeUninit;

use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, Exemplar as SdkExemplar, ExponentialHistogram,
    ExponentialHistogramDataPoint, Gauge, GaugeDataPoint, Histogram, HistogramDataPoint, Metric,
    MetricData, Sum, SumDataPoint,
};
use spanwire_runtime::buf::Cursor;

use super::super::clock::unix_nano;
use crate::encode::common::Attributes;
use crate::encode::limits::{AttributeLimits, Duplicates};
use crate::encode::metrics::patch::{End, Patch};
use crate::encode::metrics::points::{
    self, Buckets, Exemplar, ExponentialHead, Extremes, HISTOGRAM_ATTRIBUTES, HistogramHead,
    NUMBER_ATTRIBUTES, Number, Parts, Times,
};
use crate::encode::metrics::{Data, Identity, metric as put_record};
use crate::wire::fields::aggregation_temporality;

/// A metric's points are written as several metrics of the same identity, each of about this many
/// bytes at most, so that a request can be cut between them.
pub(crate) const RECORD_BYTES: usize = 256 << 10;

/// How the attributes of points are written: no limit of the specification applies to them but
/// the depth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    limits: AttributeLimits,
    /// What becomes of equal keys. Not left to `limits`, by which the last value would win.
    duplicates: Duplicates,
}

impl Rules {
    /// The rules that go with the limits for what is exempt from most of them.
    pub(crate) fn new(exempt: &AttributeLimits) -> Self {
        let limits = AttributeLimits { duplicates: Duplicates::Keep, ..*exempt };
        Self { limits, duplicates: exempt.duplicates }
    }

    fn put(&self, out: &mut Cursor<'_>, key: u8, attribute: &KeyValue) {
        let mut written = Attributes::begin(out, key, &self.limits);
        written.put(out, attribute.key.as_str(), &attribute.value);
        written.end();
    }
}

/// Appends a metric to `out` as one or more records; nothing if it has no points.
///
/// `room` is about how many bytes it will take; it is encoded again with more if that is too few.
pub(crate) fn put_metric(out: &mut Vec<u8>, metric: &Metric, rules: &Rules, room: usize) {
    let mut room = room.max(ROOM_MIN);
    while Cursor::append_to(out, room, |out| encode(out, metric, rules)).is_err() {
        // Memory ends long before the number does.
        room = room.saturating_mul(2);
    }
}

/// Replaces the numbers in `record`, which [`put_metric`] has written of this metric before. None
/// if anything else than the numbers differs; what is in `record` is of no use then, but may be
/// patched again.
#[inline]
pub(crate) fn patch_metric(record: &mut [u8], metric: &Metric, rules: &Rules) -> Option<()> {
    patch(record, metric, &Compared(rules))
}

/// [`patch_metric`] without a look at attributes: what the stores alone cost.
#[cfg(any(test, feature = "internals"))]
pub(crate) fn patch_unseen(record: &mut [u8], metric: &Metric) -> Option<()> {
    patch(record, metric, &Unseen)
}

/// Whether `record` is of a metric with the same name, description and unit.
pub(crate) fn is_of(record: &mut [u8], metric: &Metric) -> bool {
    Patch::new(record).identified(&identity(metric)).is_some()
}

/// How many data points a metric has.
pub(crate) fn points_of(metric: &Metric) -> u64 {
    let count = match metric.data() {
        AggregatedMetrics::F64(data) => count(data),
        AggregatedMetrics::U64(data) => count(data),
        AggregatedMetrics::I64(data) => count(data),
    };
    count as u64
}

/// About how many bytes a metric takes.
pub(crate) fn guess_len(metric: &Metric) -> usize {
    let point_len = match metric.data() {
        AggregatedMetrics::F64(data) => guess_point_len(data),
        AggregatedMetrics::U64(data) => guess_point_len(data),
        AggregatedMetrics::I64(data) => guess_point_len(data),
    };
    identity(metric).len() + (points_of(metric) as usize).saturating_mul(point_len)
}

fn guess_point_len<T>(data: &MetricData<T>) -> usize {
    match data {
        MetricData::Gauge(_) | MetricData::Sum(_) => NUMBER_LEN,
        MetricData::Histogram(_) | MetricData::ExponentialHistogram(_) => HISTOGRAM_LEN,
    }
}

fn count<T>(data: &MetricData<T>) -> usize {
    match data {
        MetricData::Gauge(data) => data.data_points().count(),
        MetricData::Sum(data) => data.data_points().count(),
        MetricData::Histogram(data) => data.data_points().count(),
        MetricData::ExponentialHistogram(data) => data.data_points().count(),
    }
}

fn identity(metric: &Metric) -> Identity<'_> {
    Identity { name: metric.name(), description: metric.description(), unit: metric.unit() }
}

fn encode(out: &mut Cursor<'_>, metric: &Metric, rules: &Rules) {
    let identity = identity(metric);
    match metric.data() {
        AggregatedMetrics::F64(data) => put_data(out, &identity, data, rules),
        AggregatedMetrics::U64(data) => put_data(out, &identity, data, rules),
        AggregatedMetrics::I64(data) => put_data(out, &identity, data, rules),
    }
}

fn put_data<T: Numeric>(
    out: &mut Cursor<'_>,
    identity: &Identity<'_>,
    data: &MetricData<T>,
    rules: &Rules,
) {
    let kind = kind(data);
    match data {
        MetricData::Gauge(gauge) => {
            let times = gauge_times(gauge);
            put_records(out, identity, kind, gauge.data_points(), |out, guess, point| {
                let value = Some(point.value().number());
                points::number(out, guess, times, value, NO_FLAGS, &Hung { point, rules });
            });
        }
        MetricData::Sum(sum) => {
            let times = sum_times(sum);
            put_records(out, identity, kind, sum.data_points(), |out, guess, point| {
                let value = Some(point.value().number());
                points::number(out, guess, times, value, NO_FLAGS, &Hung { point, rules });
            });
        }
        MetricData::Histogram(data) => {
            let times = histogram_times(data);
            put_records(out, identity, kind, data.data_points(), |out, guess, point| {
                let head = histogram_head(times, point);
                let (counts, bounds) = (point.bucket_counts(), point.bounds());
                points::histogram(out, guess, &head, counts, bounds, &Hung { point, rules });
            });
        }
        MetricData::ExponentialHistogram(data) => {
            let times = exponential_times(data);
            put_records(out, identity, kind, data.data_points(), |out, guess, point| {
                put_exponential(out, guess, times, point, rules);
            });
        }
    }
}

/// Writes records until there are no more points.
fn put_records<'a, P: Point + 'a>(
    out: &mut Cursor<'_>,
    identity: &Identity<'_>,
    kind: Data,
    points: impl Iterator<Item = &'a P>,
    put: impl Fn(&mut Cursor<'_>, usize, &'a P),
) {
    let mut points = points.peekable();
    let mut point_len = points.peek().map_or(0, |point| point.guess_len());
    while points.peek().is_some() {
        let left = points.size_hint().0;
        let guess = left.saturating_mul(point_len).min(RECORD_BYTES);
        put_record(out, guess, identity, |out| {
            kind.put(out, guess, |out| put_points(out, &mut points, &mut point_len, &put));
        });
    }
}

/// Writes points until there are no more or the record is full.
///
/// How long a point was is the guess for the next, because the points of a metric are alike.
fn put_points<'a, P: 'a>(
    out: &mut Cursor<'_>,
    points: &mut Peekable<impl Iterator<Item = &'a P>>,
    point_len: &mut usize,
    put: impl Fn(&mut Cursor<'_>, usize, &'a P),
) {
    let start = out.len();
    while let Some(point) = points.next_if(|_| out.len() - start < RECORD_BYTES) {
        let before = out.len();
        put(out, *point_len, point);
        *point_len = (out.len() - before).saturating_sub(POINT_OVERHEAD);
    }
}

fn put_exponential<T: Numeric>(
    out: &mut Cursor<'_>,
    guess: usize,
    times: Times,
    point: &ExponentialHistogramDataPoint<T>,
    rules: &Rules,
) {
    let head = ExponentialHead {
        common: HistogramHead {
            times,
            count: point.count() as u64,
            sum: Some(point.sum().double()),
            extremes: extremes(point.min(), point.max()),
            flags: NO_FLAGS,
        },
        scale: point.scale().into(),
        zero_count: point.zero_count(),
        zero_threshold: point.zero_threshold(),
    };
    let (positive, negative) = (point.positive_bucket(), point.negative_bucket());
    let positive = Buckets { offset: positive.offset(), counts: positive.counts() };
    let negative = Buckets { offset: negative.offset(), counts: negative.counts() };
    points::exponential(out, guess, &head, Some(positive), Some(negative), &Hung { point, rules });
}

#[inline]
fn patch(record: &mut [u8], metric: &Metric, attributes: &impl Walk) -> Option<()> {
    let identity = identity(metric);
    match metric.data() {
        AggregatedMetrics::F64(data) => patch_data(record, &identity, data, attributes),
        AggregatedMetrics::U64(data) => patch_data(record, &identity, data, attributes),
        AggregatedMetrics::I64(data) => patch_data(record, &identity, data, attributes),
    }
}

#[inline]
fn patch_data<T: Numeric>(
    record: &mut [u8],
    identity: &Identity<'_>,
    data: &MetricData<T>,
    attributes: &impl Walk,
) -> Option<()> {
    let kind = kind(data);
    match data {
        MetricData::Gauge(gauge) => {
            let times = gauge_times(gauge);
            patch_records(record, identity, kind, gauge.data_points(), |patch, end, point| {
                patch.number(times, point.value().number())?;
                attributes.walk(patch, end, NUMBER_ATTRIBUTES, point)
            })
        }
        MetricData::Sum(sum) => {
            let times = sum_times(sum);
            patch_records(record, identity, kind, sum.data_points(), |patch, end, point| {
                patch.number(times, point.value().number())?;
                attributes.walk(patch, end, NUMBER_ATTRIBUTES, point)
            })
        }
        MetricData::Histogram(data) => {
            let times = histogram_times(data);
            patch_records(record, identity, kind, data.data_points(), |patch, end, point| {
                let head = histogram_head(times, point);
                patch.histogram(&head, point.bucket_counts(), point.bounds())?;
                let end = end.before(head.extremes);
                attributes.walk(patch, end, HISTOGRAM_ATTRIBUTES, point)?;
                patch.extremes(head.extremes)
            })
        }
        // Its buckets are varints: nothing has a fixed width.
        MetricData::ExponentialHistogram(_) => None,
    }
}

/// Patches the records of a metric.
///
/// A record that is not the last ended because it was full. It is as full with other numbers, so
/// the points are spread over the records as they would be if they were written afresh.
#[inline]
fn patch_records<'a, P: Point + 'a>(
    record: &mut [u8],
    identity: &Identity<'_>,
    kind: Data,
    mut points: impl Iterator<Item = &'a P>,
    each: impl Fn(&mut Patch<'_>, End, &'a P) -> Option<()>,
) -> Option<()> {
    let mut patch = Patch::new(record);
    while !patch.is_done() {
        let metric = patch.metric(identity, kind)?;
        while patch.is_at_point() {
            let point = points.next().filter(|point| point.exemplars().next().is_none())?;
            let end = patch.point()?;
            each(&mut patch, end, point)?;
            patch.leave(end)?;
        }
        patch.leave_metric(kind, metric)?;
    }
    points.next().is_none().then_some(())
}

/// What is done with the attributes of a point that is patched.
trait Walk {
    /// Walks them in the point that ends at `end`.
    fn walk(&self, patch: &mut Patch<'_>, end: End, key: u8, point: &impl Point) -> Option<()>;
}

/// They are compared.
struct Compared<'a>(&'a Rules);

/// They are passed by.
#[cfg(any(test, feature = "internals"))]
struct Unseen;

impl Walk for Compared<'_> {
    #[inline]
    fn walk(&self, patch: &mut Patch<'_>, _: End, key: u8, point: &impl Point) -> Option<()> {
        point.attributes().try_for_each(|attribute| {
            let name = attribute.key.as_str();
            match attribute.value {
                Value::String(ref text) => patch.text_attribute(key, name, text.as_str()),
                Value::I64(value @ 0..0x4000) if name.len() < SHORT_NAME && !name.is_empty() => {
                    patch.small_attribute(key, name, value as u16)
                }
                _ => compare(patch, key, attribute, self.0),
            }
        })
    }
}

#[cfg(any(test, feature = "internals"))]
impl Walk for Unseen {
    #[inline]
    fn walk(&self, patch: &mut Patch<'_>, end: End, _: u8, _: &impl Point) -> Option<()> {
        patch.skip_to(end);
        Some(())
    }
}

/// Compares an attribute with what would be written of it. One that is longer than
/// [`COMPARED_LEN_MAX`] counts as changed.
fn compare(patch: &mut Patch<'_>, key: u8, attribute: &KeyValue, rules: &Rules) -> Option<()> {
    let mut memory = [MaybeUninit::uninit(); COMPARED_LEN_MAX];
    let mut out = Cursor::new(&mut memory);
    rules.put(&mut out, key, attribute);
    if out.is_overflowed() { None } else { patch.exactly(out.written()) }
}

/// A point's attributes and exemplars.
struct Hung<'a, P> {
    point: &'a P,
    rules: &'a Rules,
}

impl<P: Point> Parts for Hung<'_, P> {
    #[inline]
    fn attributes(&self, out: &mut Cursor<'_>, key: u8) {
        let mut seen = Seen::default();
        let mut written = Attributes::begin(out, key, &self.rules.limits);
        for attribute in self.point.attributes() {
            if !seen.add(attribute.key.as_str()) || self.is_wanted(attribute) {
                written.put(out, attribute.key.as_str(), &attribute.value);
            }
        }
        written.end();
    }

    fn exemplars(&self, out: &mut Cursor<'_>, key: u8) {
        self.point.exemplars().for_each(|exemplar| put_exemplar(out, key, exemplar, self.rules));
    }
}

impl<P: Point> Hung<'_, P> {
    /// Whether no attribute before this one has the same key, or it is to be kept nevertheless.
    ///
    /// The SDK tells time series apart by the first value of a key, although it hands out the
    /// attributes as they were given. With the last value one series could look like another.
    #[cold]
    fn is_wanted(&self, attribute: &KeyValue) -> bool {
        let first = self.point.attributes().find(|other| other.key == attribute.key);
        let is_first = first.is_some_and(|first| std::ptr::eq(first, attribute));
        is_first || self.rules.duplicates == Duplicates::Keep
    }
}

/// Tells that no key was given twice, as long as no two have a bit in common.
#[derive(Default)]
struct Seen(u64);

impl Seen {
    /// Adds a key; true if it may be one that was added before.
    #[inline]
    fn add(&mut self, key: &str) -> bool {
        let bytes = key.as_bytes();
        let (first, last) = (bytes.first().unwrap_or(&0), bytes.last().unwrap_or(&0));
        let mixed = key.len() as u32 * 7 + u32::from(*first) * 31 + u32::from(*last) * 13;
        let bit = 1 << (mixed % u64::BITS);
        let may_be_twice = self.0 & bit != 0;
        self.0 |= bit;
        may_be_twice
    }
}

fn put_exemplar<T: Numeric>(out: &mut Cursor<'_>, key: u8, sdk: &SdkExemplar<T>, rules: &Rules) {
    let exemplar = Exemplar {
        unix_nano: unix_nano(sdk.time()),
        value: Some(sdk.value.number()),
        span_id: sdk.span_id(),
        trace_id: sdk.trace_id(),
    };
    points::exemplar(out, key, &exemplar, |out| {
        for attribute in sdk.filtered_attributes() {
            rules.put(out, points::FILTERED_ATTRIBUTES, attribute);
        }
    });
}

/// A point of any kind.
trait Point {
    /// What it measures in.
    type Value: Numeric;

    fn attributes(&self) -> impl Iterator<Item = &KeyValue>;

    fn exemplars(&self) -> impl Iterator<Item = &SdkExemplar<Self::Value>>;

    /// About how many bytes it takes; used for the first point of a metric.
    fn guess_len(&self) -> usize {
        points::NUMBER_HEAD_LEN + self.attributes().count() * ATTRIBUTE_LEN
    }
}

macro_rules! points {
    ($($point:ident),+) => {$(
        impl<T: Numeric> Point for $point<T> {
            type Value = T;

            #[inline]
            fn attributes(&self) -> impl Iterator<Item = &KeyValue> {
                self.attributes()
            }

            #[inline]
            fn exemplars(&self) -> impl Iterator<Item = &SdkExemplar<T>> {
                self.exemplars()
            }
        }
    )+};
}

points!(GaugeDataPoint, SumDataPoint, HistogramDataPoint, ExponentialHistogramDataPoint);

/// What an instrument measures in.
trait Numeric: Copy {
    /// As the value of a gauge or sum.
    fn number(self) -> Number;

    /// As the sum, minimum or maximum of a histogram.
    fn double(self) -> f64;
}

impl Numeric for f64 {
    #[inline]
    fn number(self) -> Number {
        Number::Double(self)
    }

    fn double(self) -> f64 {
        self
    }
}

impl Numeric for i64 {
    #[inline]
    fn number(self) -> Number {
        Number::Int(self)
    }

    fn double(self) -> f64 {
        self as f64
    }
}

impl Numeric for u64 {
    /// OTLP has signed integers only. What is above is the largest of them: 0 would look like a
    /// reset, and a double would change the type of the series (docs/decisions/008).
    #[inline]
    fn number(self) -> Number {
        Number::Int(i64::try_from(self).unwrap_or(i64::MAX))
    }

    fn double(self) -> f64 {
        self as f64
    }
}

fn kind<T>(data: &MetricData<T>) -> Data {
    match data {
        MetricData::Gauge(_) => Data::Gauge,
        MetricData::Sum(sum) => {
            let temporality = temporality(sum.temporality());
            Data::Sum { temporality, is_monotonic: sum.is_monotonic() }
        }
        MetricData::Histogram(data) => {
            Data::Histogram { temporality: temporality(data.temporality()) }
        }
        MetricData::ExponentialHistogram(data) => {
            Data::ExponentialHistogram { temporality: temporality(data.temporality()) }
        }
    }
}

/// The SDK resolves the low-memory preference for each instrument before it hands out data.
fn temporality(temporality: Temporality) -> u8 {
    match temporality {
        Temporality::Delta => aggregation_temporality::DELTA,
        _ => aggregation_temporality::CUMULATIVE,
    }
}

fn gauge_times<T>(gauge: &Gauge<T>) -> Times {
    let start_unix_nano = gauge.start_time().map_or(0, unix_nano);
    Times { start_unix_nano, unix_nano: unix_nano(gauge.time()) }
}

fn sum_times<T>(sum: &Sum<T>) -> Times {
    let start_unix_nano = unix_nano(sum.start_time());
    Times { start_unix_nano, unix_nano: unix_nano(sum.time()) }
}

fn histogram_times<T>(data: &Histogram<T>) -> Times {
    let start_unix_nano = unix_nano(data.start_time());
    Times { start_unix_nano, unix_nano: unix_nano(data.time()) }
}

fn exponential_times<T>(data: &ExponentialHistogram<T>) -> Times {
    let start_unix_nano = unix_nano(data.start_time());
    Times { start_unix_nano, unix_nano: unix_nano(data.time()) }
}

fn histogram_head<T: Numeric>(times: Times, point: &HistogramDataPoint<T>) -> HistogramHead {
    HistogramHead {
        times,
        count: point.count(),
        sum: Some(point.sum().double()),
        extremes: extremes(point.min(), point.max()),
        flags: NO_FLAGS,
    }
}

fn extremes<T: Numeric>(min: Option<T>, max: Option<T>) -> Extremes {
    Extremes { min: min.map(Numeric::double), max: max.map(Numeric::double) }
}

/// The SDK never says that a value is missing.
const NO_FLAGS: u32 = 0;

/// Key and length of a point.
const POINT_OVERHEAD: usize = 3;

/// Bytes of a typical attribute: a name of some 16 bytes, a short value, and 8 bytes around.
const ATTRIBUTE_LEN: usize = 32;

/// Bytes of a typical number with five attributes.
const NUMBER_LEN: usize = 192;

/// Bytes of a typical histogram's point: 15 bounds and 16 counts as well, or 160 short counts.
const HISTOGRAM_LEN: usize = 512;

/// Room for one small metric.
const ROOM_MIN: usize = 1024;

/// With shorter names, attributes of small integers have one-byte lengths.
const SHORT_NAME: usize = 64;

/// Longer attributes are encoded afresh rather than compared: numbers and short arrays are less.
const COMPARED_LEN_MAX: usize = 256;
