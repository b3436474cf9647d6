//! The data points of metrics, one function a kind.
//!
//! Each takes the numbers as plain data and, for what hangs on them, a [`Parts`] that writes
//! attributes and exemplars under the key that it is given: the same set of attributes is field 7
//! of a number, 9 of a histogram and 1 of an exponential histogram.
//!
//! Fields stand in the order of their numbers, except that the value of a number (`as_double` 4 or
//! `as_int` 6, one oneof) stands where the first of the two would, as prost writes it.

use spanwire_runtime::buf::Cursor;

use super::POINT;
use crate::wire::fields::{
    buckets, exemplar as exemplar_fields, exponential_histogram_data_point as exponential_fields,
    histogram_data_point as histogram_fields, number_data_point as number_fields,
    summary_data_point as summary_fields, value_at_quantile,
};
use crate::wire::write::{
    Wire, key, message, put_fixed64_unless_zero, put_uint_unless_zero, put_varint,
};

/// What hangs on a data point besides its numbers.
pub(crate) trait Parts {
    /// Writes the attributes as fields with this key.
    fn attributes(&self, out: &mut Cursor<'_>, key: u8);

    /// Writes each [`exemplar`] as a field with this key.
    fn exemplars(&self, out: &mut Cursor<'_>, key: u8);
}

/// The interval that a point was collected over, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// When the collection began; 0 if unknown.
    pub(crate) start_unix_nano: u64,
    /// When the value was taken.
    pub(crate) unix_nano: u64,
}

/// A measured value: a member of a oneof, so it is written even if it is zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    /// `as_int`
    Int(i64),
    /// `as_double`
    Double(f64),
}

/// The smallest and the largest measurement, if they were kept.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Extremes {
    /// The smallest.
    pub(crate) min: Option<f64>,
    /// The largest.
    pub(crate) max: Option<f64>,
}

/// The numbers of a histogram's point besides its buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HistogramHead {
    /// When.
    pub(crate) times: Times,
    /// Measurements in all.
    pub(crate) count: u64,
    /// Their sum, if it makes sense.
    pub(crate) sum: Option<f64>,
    /// The range that they were in.
    pub(crate) extremes: Extremes,
    /// `DataPointFlags`.
    pub(crate) flags: u32,
}

/// The numbers of an exponential histogram's point besides its buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExponentialHead {
    /// What other histograms have as well.
    pub(crate) common: HistogramHead,
    /// Resolution: the base is 2^(2^-scale).
    pub(crate) scale: i32,
    /// Measurements that count as zero.
    pub(crate) zero_count: u64,
    /// Up to which absolute value they do.
    pub(crate) zero_threshold: f64,
}

/// One side of an exponential histogram: `offset` is the index of the first count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buckets<I> {
    /// Index of the first bucket.
    pub(crate) offset: i32,
    /// Measurements in each bucket.
    pub(crate) counts: I,
}

/// The numbers of a summary's point besides its quantiles.
#[cfg_attr(not(test), allow(dead_code, reason = "no SDK makes summaries; the protocol has them"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct SummaryHead {
    /// When.
    pub(crate) times: Times,
    /// Measurements in all.
    pub(crate) count: u64,
    /// Their sum.
    pub(crate) sum: f64,
    /// `DataPointFlags`.
    pub(crate) flags: u32,
}

/// A measurement that stands for others, and the span during which it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exemplar<'a> {
    /// When it was made.
    pub(crate) unix_nano: u64,
    /// What was measured.
    pub(crate) value: Option<Number>,
    /// The span; empty if there was none.
    pub(crate) span_id: &'a [u8],
    /// Its trace; empty if there was none.
    pub(crate) trace_id: &'a [u8],
}

/// Writes a point of a gauge or sum, in about `guess` bytes.
#[inline]
pub(crate) fn number(
    out: &mut Cursor<'_>,
    guess: usize,
    times: Times,
    value: Option<Number>,
    flags: u32,
    parts: &impl Parts,
) {
    message(out, POINT, guess, |out| {
        match value {
            Some(value) if times.are_set() => out.put_array(number_head(times, value)),
            _ => {
                put_times(out, times);
                put_number(out, AS_DOUBLE, value);
            }
        }
        parts.exemplars(out, NUMBER_EXEMPLARS);
        parts.attributes(out, NUMBER_ATTRIBUTES);
        put_uint_unless_zero(out, NUMBER_FLAGS, flags.into());
    });
}

/// Writes a point of a histogram, in about `guess` bytes.
pub(crate) fn histogram(
    out: &mut Cursor<'_>,
    guess: usize,
    head: &HistogramHead,
    bucket_counts: impl Iterator<Item = u64>,
    bounds: impl Iterator<Item = f64>,
    parts: &impl Parts,
) {
    message(out, POINT, guess, |out| {
        put_times(out, head.times);
        put_fixed64_unless_zero(out, COUNT, head.count);
        put_optional_double(out, SUM, head.sum);
        put_packed_fixed64(out, BUCKET_COUNTS, bucket_counts.map(u64::to_le_bytes));
        put_packed_fixed64(out, BOUNDS, bounds.map(f64::to_le_bytes));
        parts.exemplars(out, HISTOGRAM_EXEMPLARS);
        parts.attributes(out, HISTOGRAM_ATTRIBUTES);
        put_uint_unless_zero(out, HISTOGRAM_FLAGS, head.flags.into());
        put_optional_double(out, MIN, head.extremes.min);
        put_optional_double(out, MAX, head.extremes.max);
    });
}

/// Writes a point of an exponential histogram, in about `guess` bytes.
///
/// How long its buckets are is known only when they have been written: a pass over 160 varints
/// for their length costs more than patching the length afterwards.
pub(crate) fn exponential<I: Iterator<Item = u64>>(
    out: &mut Cursor<'_>,
    guess: usize,
    head: &ExponentialHead,
    positive: Option<Buckets<I>>,
    negative: Option<Buckets<I>>,
    parts: &impl Parts,
) {
    message(out, POINT, guess, |out| {
        parts.attributes(out, EXPONENTIAL_ATTRIBUTES);
        put_times(out, head.common.times);
        put_fixed64_unless_zero(out, COUNT, head.common.count);
        put_optional_double(out, SUM, head.common.sum);
        put_sint32_unless_zero(out, SCALE, head.scale);
        put_fixed64_unless_zero(out, ZERO_COUNT, head.zero_count);
        put_buckets(out, POSITIVE, positive);
        put_buckets(out, NEGATIVE, negative);
        put_uint_unless_zero(out, EXPONENTIAL_FLAGS, head.common.flags.into());
        parts.exemplars(out, EXPONENTIAL_EXEMPLARS);
        put_optional_double(out, EXPONENTIAL_MIN, head.common.extremes.min);
        put_optional_double(out, EXPONENTIAL_MAX, head.common.extremes.max);
        put_double_unless_zero(out, ZERO_THRESHOLD, head.zero_threshold);
    });
}

/// Writes a point of a summary, in about `guess` bytes; `quantiles` are pairs of a quantile and
/// the value there. It has no exemplars.
#[cfg_attr(not(test), allow(dead_code, reason = "no SDK makes summaries; the protocol has them"))]
pub(crate) fn summary(
    out: &mut Cursor<'_>,
    guess: usize,
    head: &SummaryHead,
    quantiles: impl Iterator<Item = (f64, f64)>,
    parts: &impl Parts,
) {
    message(out, POINT, guess, |out| {
        put_times(out, head.times);
        put_fixed64_unless_zero(out, COUNT, head.count);
        put_double_unless_zero(out, SUM, head.sum);
        for (quantile, value) in quantiles {
            message(out, QUANTILES, QUANTILE_LEN_MAX, |out| {
                put_double_unless_zero(out, QUANTILE, quantile);
                put_double_unless_zero(out, QUANTILE_VALUE, value);
            });
        }
        parts.attributes(out, SUMMARY_ATTRIBUTES);
        put_uint_unless_zero(out, SUMMARY_FLAGS, head.flags.into());
    });
}

/// Writes one exemplar as a field with this key; `attributes` writes those that the view
/// filtered out, under [`FILTERED_ATTRIBUTES`].
pub(crate) fn exemplar(
    out: &mut Cursor<'_>,
    key: u8,
    exemplar: &Exemplar<'_>,
    attributes: impl FnOnce(&mut Cursor<'_>),
) {
    message(out, key, EXEMPLAR_LEN, |out| {
        put_fixed64_unless_zero(out, EXEMPLAR_TIME, exemplar.unix_nano);
        put_number(out, EXEMPLAR_AS_DOUBLE, exemplar.value);
        put_bytes_unless_empty(out, SPAN_ID, exemplar.span_id);
        put_bytes_unless_empty(out, TRACE_ID, exemplar.trace_id);
        attributes(out);
    });
}

impl Times {
    /// Whether neither is left out.
    pub(crate) fn are_set(self) -> bool {
        self.start_unix_nano != 0 && self.unix_nano != 0
    }
}

impl Number {
    /// The bytes of either member of the oneof: both have eight.
    pub(crate) fn to_le_bytes(self) -> [u8; 8] {
        match self {
            Self::Int(value) => value.to_le_bytes(),
            Self::Double(value) => value.to_le_bytes(),
        }
    }

    /// The key of the member, in a number or (`as_double`) in an exemplar.
    fn key(self, as_double: u8) -> u8 {
        if let Self::Double(_) = self { as_double } else { AS_INT }
    }
}

/// How a number begins whose times are set: keys and fixed-width values, which
/// [`patch`](super::patch) writes again.
#[inline]
pub(crate) fn number_head(times: Times, value: Number) -> [u8; NUMBER_HEAD_LEN] {
    let mut head = [0; NUMBER_HEAD_LEN];
    head[0] = START_TIME;
    head[1..9].copy_from_slice(&times.start_unix_nano.to_le_bytes());
    head[9] = TIME;
    head[10..18].copy_from_slice(&times.unix_nano.to_le_bytes());
    head[18] = value.key(AS_DOUBLE);
    head[19..].copy_from_slice(&value.to_le_bytes());
    head
}

#[inline]
fn put_times(out: &mut Cursor<'_>, times: Times) {
    put_fixed64_unless_zero(out, START_TIME, times.start_unix_nano);
    put_fixed64_unless_zero(out, TIME, times.unix_nano);
}

fn put_number(out: &mut Cursor<'_>, as_double: u8, value: Option<Number>) {
    if let Some(value) = value {
        out.put_u8(value.key(as_double));
        out.put_array(value.to_le_bytes());
    }
}

fn put_buckets<I: Iterator<Item = u64>>(
    out: &mut Cursor<'_>,
    key: u8,
    buckets: Option<Buckets<I>>,
) {
    let Some(Buckets { offset, counts }) = buckets else { return };
    let guess = 8 + counts.size_hint().0;
    message(out, key, guess, |out| {
        put_sint32_unless_zero(out, OFFSET, offset);
        put_packed(out, VARINT_COUNTS, counts, 1, put_varint);
    });
}

/// Writes eight bytes each, without a field if there are none.
fn put_packed_fixed64(out: &mut Cursor<'_>, key: u8, values: impl Iterator<Item = [u8; 8]>) {
    put_packed(out, key, values, 8, |out, value| out.put_array(value));
}

/// Writes a packed repeated field, about `guess` bytes a value, without a field if it is empty.
#[inline]
fn put_packed<T>(
    out: &mut Cursor<'_>,
    key: u8,
    mut values: impl Iterator<Item = T>,
    guess: usize,
    put: impl Fn(&mut Cursor<'_>, T),
) {
    let guess = guess * values.size_hint().0;
    let Some(first) = values.next() else { return };
    message(out, key, guess, |out| {
        put(out, first);
        values.for_each(|value| put(out, value));
    });
}

/// Writes an `optional` double: it is written also if it is zero, because its presence counts.
#[inline]
fn put_optional_double(out: &mut Cursor<'_>, key: u8, value: Option<f64>) {
    if let Some(value) = value {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        out.put_array([key, a, b, c, d, e, f, g, h]);
    }
}

/// Writes a double unless it equals zero; like prost, which compares, it leaves out -0.0 too.
fn put_double_unless_zero(out: &mut Cursor<'_>, key: u8, value: f64) {
    put_optional_double(out, key, (value != 0.0).then_some(value));
}

/// Writes a sint32, zig-zag: small negative numbers are short. The result has 32 bits; cast by
/// way of i64 it would be sign-extended, and a large one have ten bytes instead of five.
fn put_sint32_unless_zero(out: &mut Cursor<'_>, key: u8, value: i32) {
    let zigzag = ((value << 1) ^ (value >> 31)) as u32;
    put_uint_unless_zero(out, key, zigzag.into());
}

fn put_bytes_unless_empty(out: &mut Cursor<'_>, key: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        crate::wire::write::put_bytes(out, key, bytes);
    }
}

/// Keys and values of two times and a number.
pub(crate) const NUMBER_HEAD_LEN: usize = 3 * 9;

/// Bytes inside of a quantile that has both of its fields.
const QUANTILE_LEN_MAX: usize = 2 * 9;

/// Bytes of a typical exemplar: time, value, ids and one attribute.
const EXEMPLAR_LEN: usize = 80;

pub(crate) const START_TIME: u8 = key(number_fields::START_TIME_UNIX_NANO, Wire::Fixed64);
pub(crate) const TIME: u8 = key(number_fields::TIME_UNIX_NANO, Wire::Fixed64);
const AS_DOUBLE: u8 = key(number_fields::AS_DOUBLE, Wire::Fixed64);
/// The same in a number and in an exemplar.
const AS_INT: u8 = key(number_fields::AS_INT, Wire::Fixed64);
const NUMBER_EXEMPLARS: u8 = key(number_fields::EXEMPLARS, Wire::Len);
pub(crate) const NUMBER_ATTRIBUTES: u8 = key(number_fields::ATTRIBUTES, Wire::Len);
const NUMBER_FLAGS: u8 = key(number_fields::FLAGS, Wire::Varint);
/// The same in all kinds of histograms and in summaries.
pub(crate) const COUNT: u8 = key(histogram_fields::COUNT, Wire::Fixed64);
pub(crate) const SUM: u8 = key(histogram_fields::SUM, Wire::Fixed64);
pub(crate) const BUCKET_COUNTS: u8 = key(histogram_fields::BUCKET_COUNTS, Wire::Len);
pub(crate) const BOUNDS: u8 = key(histogram_fields::EXPLICIT_BOUNDS, Wire::Len);
const HISTOGRAM_EXEMPLARS: u8 = key(histogram_fields::EXEMPLARS, Wire::Len);
pub(crate) const HISTOGRAM_ATTRIBUTES: u8 = key(histogram_fields::ATTRIBUTES, Wire::Len);
const HISTOGRAM_FLAGS: u8 = key(histogram_fields::FLAGS, Wire::Varint);
pub(crate) const MIN: u8 = key(histogram_fields::MIN, Wire::Fixed64);
pub(crate) const MAX: u8 = key(histogram_fields::MAX, Wire::Fixed64);
const EXPONENTIAL_ATTRIBUTES: u8 = key(exponential_fields::ATTRIBUTES, Wire::Len);
const SCALE: u8 = key(exponential_fields::SCALE, Wire::Varint);
const ZERO_COUNT: u8 = key(exponential_fields::ZERO_COUNT, Wire::Fixed64);
const POSITIVE: u8 = key(exponential_fields::POSITIVE, Wire::Len);
const NEGATIVE: u8 = key(exponential_fields::NEGATIVE, Wire::Len);
const EXPONENTIAL_FLAGS: u8 = key(exponential_fields::FLAGS, Wire::Varint);
const EXPONENTIAL_EXEMPLARS: u8 = key(exponential_fields::EXEMPLARS, Wire::Len);
const EXPONENTIAL_MIN: u8 = key(exponential_fields::MIN, Wire::Fixed64);
const EXPONENTIAL_MAX: u8 = key(exponential_fields::MAX, Wire::Fixed64);
const ZERO_THRESHOLD: u8 = key(exponential_fields::ZERO_THRESHOLD, Wire::Fixed64);
const OFFSET: u8 = key(buckets::OFFSET, Wire::Varint);
const VARINT_COUNTS: u8 = key(buckets::BUCKET_COUNTS, Wire::Len);
const QUANTILES: u8 = key(summary_fields::QUANTILE_VALUES, Wire::Len);
const SUMMARY_ATTRIBUTES: u8 = key(summary_fields::ATTRIBUTES, Wire::Len);
const SUMMARY_FLAGS: u8 = key(summary_fields::FLAGS, Wire::Varint);
const QUANTILE: u8 = key(value_at_quantile::QUANTILE, Wire::Fixed64);
const QUANTILE_VALUE: u8 = key(value_at_quantile::VALUE, Wire::Fixed64);
const EXEMPLAR_TIME: u8 = key(exemplar_fields::TIME_UNIX_NANO, Wire::Fixed64);
const EXEMPLAR_AS_DOUBLE: u8 = key(exemplar_fields::AS_DOUBLE, Wire::Fixed64);
const SPAN_ID: u8 = key(exemplar_fields::SPAN_ID, Wire::Len);
const TRACE_ID: u8 = key(exemplar_fields::TRACE_ID, Wire::Len);
/// Key of the attributes of an exemplar.
pub(crate) const FILTERED_ATTRIBUTES: u8 = key(exemplar_fields::FILTERED_ATTRIBUTES, Wire::Len);

// The functions above write a field of several messages under the one key that all have.
const _: () = {
    assert!(number_fields::START_TIME_UNIX_NANO == histogram_fields::START_TIME_UNIX_NANO);
    assert!(number_fields::START_TIME_UNIX_NANO == exponential_fields::START_TIME_UNIX_NANO);
    assert!(number_fields::START_TIME_UNIX_NANO == summary_fields::START_TIME_UNIX_NANO);
    assert!(number_fields::TIME_UNIX_NANO == histogram_fields::TIME_UNIX_NANO);
    assert!(number_fields::TIME_UNIX_NANO == exponential_fields::TIME_UNIX_NANO);
    assert!(number_fields::TIME_UNIX_NANO == summary_fields::TIME_UNIX_NANO);
    assert!(number_fields::AS_INT == exemplar_fields::AS_INT);
    assert!(histogram_fields::COUNT == exponential_fields::COUNT);
    assert!(histogram_fields::COUNT == summary_fields::COUNT);
    assert!(histogram_fields::SUM == exponential_fields::SUM);
    assert!(histogram_fields::SUM == summary_fields::SUM);
};
