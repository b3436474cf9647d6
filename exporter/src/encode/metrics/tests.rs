//! Our bytes beside those of prost, for every message and field of metrics.v1.

use bytes::Bytes;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets as ProtoBuckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{self as proto, metric, number_data_point};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;
use spanwire_runtime::buf::Cursor;

use super::points::{
    self, Buckets, Exemplar, ExponentialHead, Extremes, HistogramHead, Number, Parts, SummaryHead,
    Times,
};
use super::{Data, Identity, METADATA};
use crate::wire::write::{put_bytes, to_bytes};

/// Attributes and exemplars as the oracle's types; how attributes are written is not tested here.
struct Hung<'a> {
    attributes: &'a [KeyValue],
    exemplars: &'a [proto::Exemplar],
}

impl Parts for Hung<'_> {
    fn attributes(&self, out: &mut Cursor<'_>, key: u8) {
        put_attributes(out, key, self.attributes);
    }

    fn exemplars(&self, out: &mut Cursor<'_>, key: u8) {
        for theirs in self.exemplars {
            let exemplar = Exemplar {
                unix_nano: theirs.time_unix_nano,
                value: theirs.value.map(|value| match value {
                    proto::exemplar::Value::AsDouble(value) => Number::Double(value),
                    proto::exemplar::Value::AsInt(value) => Number::Int(value),
                }),
                span_id: &theirs.span_id,
                trace_id: &theirs.trace_id,
            };
            points::exemplar(out, key, &exemplar, |out| {
                put_attributes(out, points::FILTERED_ATTRIBUTES, &theirs.filtered_attributes);
            });
        }
    }
}

fn put_attributes(out: &mut Cursor<'_>, key: u8, attributes: &[KeyValue]) {
    attributes.iter().for_each(|attribute| put_bytes(out, key, &attribute.encode_to_vec()));
}

/// Writes what the oracle's struct says. `guess` is passed on everywhere: wrong guesses cost
/// time, never bytes.
pub(super) fn record(metric: &proto::Metric, guess: usize) -> Bytes {
    let identity =
        Identity { name: &metric.name, description: &metric.description, unit: &metric.unit };
    to_bytes(1 << 12, |out| {
        super::metric(out, guess, &identity, |out| {
            put_data(out, metric.data.as_ref(), guess);
            put_attributes(out, METADATA, &metric.metadata);
        });
    })
}

fn put_data(out: &mut Cursor<'_>, data: Option<&metric::Data>, guess: usize) {
    let temporality = |value: i32| u8::try_from(value).unwrap();
    match data {
        None => {}
        Some(metric::Data::Gauge(gauge)) => Data::Gauge
            .put(out, guess, |out| gauge.data_points.iter().for_each(|it| number(out, it, guess))),
        Some(metric::Data::Sum(sum)) => {
            let data = Data::Sum {
                temporality: temporality(sum.aggregation_temporality),
                is_monotonic: sum.is_monotonic,
            };
            data.put(out, guess, |out| {
                sum.data_points.iter().for_each(|it| number(out, it, guess))
            });
        }
        Some(metric::Data::Histogram(data)) => {
            Data::Histogram { temporality: temporality(data.aggregation_temporality) }.put(
                out,
                guess,
                |out| data.data_points.iter().for_each(|it| histogram(out, it, guess)),
            );
        }
        Some(metric::Data::ExponentialHistogram(data)) => {
            Data::ExponentialHistogram { temporality: temporality(data.aggregation_temporality) }
                .put(out, guess, |out| {
                    data.data_points.iter().for_each(|it| exponential(out, it, guess))
                })
        }
        Some(metric::Data::Summary(data)) => Data::Summary
            .put(out, guess, |out| data.data_points.iter().for_each(|it| summary(out, it, guess))),
    }
}

fn number(out: &mut Cursor<'_>, point: &proto::NumberDataPoint, guess: usize) {
    let value = point.value.map(|value| match value {
        number_data_point::Value::AsDouble(value) => Number::Double(value),
        number_data_point::Value::AsInt(value) => Number::Int(value),
    });
    let parts = Hung { attributes: &point.attributes, exemplars: &point.exemplars };
    let times = times(point.start_time_unix_nano, point.time_unix_nano);
    points::number(out, guess, times, value, point.flags, &parts);
}

fn histogram(out: &mut Cursor<'_>, point: &proto::HistogramDataPoint, guess: usize) {
    let head = HistogramHead {
        times: times(point.start_time_unix_nano, point.time_unix_nano),
        count: point.count,
        sum: point.sum,
        extremes: Extremes { min: point.min, max: point.max },
        flags: point.flags,
    };
    let parts = Hung { attributes: &point.attributes, exemplars: &point.exemplars };
    let counts = point.bucket_counts.iter().copied();
    points::histogram(out, guess, &head, counts, point.explicit_bounds.iter().copied(), &parts);
}

fn exponential(out: &mut Cursor<'_>, point: &proto::ExponentialHistogramDataPoint, guess: usize) {
    let head = ExponentialHead {
        common: HistogramHead {
            times: times(point.start_time_unix_nano, point.time_unix_nano),
            count: point.count,
            sum: point.sum,
            extremes: Extremes { min: point.min, max: point.max },
            flags: point.flags,
        },
        scale: point.scale,
        zero_count: point.zero_count,
        zero_threshold: point.zero_threshold,
    };
    let parts = Hung { attributes: &point.attributes, exemplars: &point.exemplars };
    let buckets = |buckets: &Option<ProtoBuckets>| {
        let ProtoBuckets { offset, bucket_counts } = buckets.clone()?;
        Some(Buckets { offset, counts: bucket_counts.into_iter() })
    };
    let (positive, negative) = (buckets(&point.positive), buckets(&point.negative));
    points::exponential(out, guess, &head, positive, negative, &parts);
}

fn summary(out: &mut Cursor<'_>, point: &proto::SummaryDataPoint, guess: usize) {
    let head = SummaryHead {
        times: times(point.start_time_unix_nano, point.time_unix_nano),
        count: point.count,
        sum: point.sum,
        flags: point.flags,
    };
    let parts = Hung { attributes: &point.attributes, exemplars: &[] };
    let quantiles = point.quantile_values.iter().map(|at| (at.quantile, at.value));
    points::summary(out, guess, &head, quantiles, &parts);
}

fn times(start_unix_nano: u64, unix_nano: u64) -> Times {
    Times { start_unix_nano, unix_nano }
}

/// The oracle's record: the metric as field 2 of a message.
fn expected(metric: &proto::Metric) -> Vec<u8> {
    proto::ScopeMetrics { metrics: vec![metric.clone()], ..Default::default() }.encode_to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_metric_is_encoded_as_the_oracle_does(
        metric in arbitrary_metric(),
        guess in prop_oneof![Just(0_usize), Just(200), Just(20_000)],
    ) {
        prop_assert!(record(&metric, guess) == expected(&metric), "{metric:#?}");
    }
}

fn arbitrary_metric() -> impl Strategy<Value = proto::Metric> {
    (text(), text(), text(), option::weighted(0.95, data()), attributes()).prop_map(
        |(name, description, unit, data, metadata)| proto::Metric {
            name,
            description,
            unit,
            metadata,
            data,
        },
    )
}

fn data() -> impl Strategy<Value = metric::Data> {
    prop_oneof![
        points_of(number_point())
            .prop_map(|data_points| metric::Data::Gauge(proto::Gauge { data_points })),
        (points_of(number_point()), 0..3, any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| metric::Data::Sum(proto::Sum {
                data_points,
                aggregation_temporality,
                is_monotonic
            })
        ),
        (points_of(histogram_point()), 0..3).prop_map(|(data_points, aggregation_temporality)| {
            metric::Data::Histogram(proto::Histogram { data_points, aggregation_temporality })
        }),
        (points_of(exponential_point()), 0..3).prop_map(
            |(data_points, aggregation_temporality)| {
                metric::Data::ExponentialHistogram(proto::ExponentialHistogram {
                    data_points,
                    aggregation_temporality,
                })
            }
        ),
        points_of(summary_point())
            .prop_map(|data_points| metric::Data::Summary(proto::Summary { data_points })),
    ]
}

fn points_of<T: Strategy>(point: T) -> impl Strategy<Value = Vec<T::Value>>
where
    T::Value: Clone,
{
    let many = (vec(point, 0..4), 0_usize..60);
    many.prop_map(|(points, times)| match times {
        // Enough of them for lengths of three bytes.
        59 => points.iter().cycle().take(points.len() * 200).cloned().collect(),
        _ => points,
    })
}

fn number_point() -> impl Strategy<Value = proto::NumberDataPoint> {
    let value = prop_oneof![
        integer().prop_map(number_data_point::Value::AsInt),
        float().prop_map(number_data_point::Value::AsDouble),
    ];
    (attributes(), time(), time(), exemplars(), flags(), option::weighted(0.9, value)).prop_map(
        |(attributes, start, time, exemplars, flags, value)| proto::NumberDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            exemplars,
            flags,
            value,
        },
    )
}

fn histogram_point() -> impl Strategy<Value = proto::HistogramDataPoint> {
    let head = (time(), time(), count(), optional_float(), flags());
    let rest = (counts(), vec(float(), 0..20), exemplars(), attributes(), optional_float());
    (head, rest, optional_float()).prop_map(
        |((start, time, count, sum, flags), (counts, bounds, exemplars, attributes, min), max)| {
            proto::HistogramDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: time,
                count,
                sum,
                bucket_counts: counts,
                explicit_bounds: bounds,
                exemplars,
                flags,
                min,
                max,
            }
        },
    )
}

fn exponential_point() -> impl Strategy<Value = proto::ExponentialHistogramDataPoint> {
    let head = (time(), time(), count(), optional_float(), flags(), signed(), count(), float());
    let rest = (buckets(), buckets(), exemplars(), attributes(), optional_float());
    (head, rest, optional_float()).prop_map(|(head, rest, max)| {
        let (start, time, count, sum, flags, scale, zero_count, zero_threshold) = head;
        let (positive, negative, exemplars, attributes, min) = rest;
        proto::ExponentialHistogramDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            count,
            sum,
            scale,
            zero_count,
            positive,
            negative,
            flags,
            exemplars,
            min,
            max,
            zero_threshold,
        }
    })
}

fn summary_point() -> impl Strategy<Value = proto::SummaryDataPoint> {
    let quantile =
        (float(), float()).prop_map(|(quantile, value)| ValueAtQuantile { quantile, value });
    (attributes(), time(), time(), count(), float(), vec(quantile, 0..5), flags()).prop_map(
        |(attributes, start, time, count, sum, quantile_values, flags)| proto::SummaryDataPoint {
            attributes,
            start_time_unix_nano: start,
            time_unix_nano: time,
            count,
            sum,
            quantile_values,
            flags,
        },
    )
}

fn buckets() -> impl Strategy<Value = Option<ProtoBuckets>> {
    let buckets = (signed(), counts())
        .prop_map(|(offset, bucket_counts)| ProtoBuckets { offset, bucket_counts });
    option::weighted(0.8, buckets)
}

fn exemplars() -> impl Strategy<Value = Vec<proto::Exemplar>> {
    let value = prop_oneof![
        integer().prop_map(proto::exemplar::Value::AsInt),
        float().prop_map(proto::exemplar::Value::AsDouble),
    ];
    let exemplar = (attributes(), time(), id(8), id(16), option::weighted(0.9, value)).prop_map(
        |(filtered_attributes, time, span_id, trace_id, value)| proto::Exemplar {
            filtered_attributes,
            time_unix_nano: time,
            span_id,
            trace_id,
            value,
        },
    );
    prop_oneof![3 => Just(vec![]), 1 => vec(exemplar, 1..4)]
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let attribute = (text(), text()).prop_map(|(key, text)| KeyValue {
        key,
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(text)) }),
        ..KeyValue::default()
    });
    prop_oneof![1 => Just(vec![]), 3 => vec(attribute, 1..6)]
}

fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(vec![]), Just(vec![0; len]), vec(any::<u8>(), len)]
}

fn counts() -> impl Strategy<Value = Vec<u64>> {
    prop_oneof![1 => Just(vec![]), 3 => vec(count(), 1..30), 1 => vec(count(), 150..170)]
}

fn count() -> impl Strategy<Value = u64> {
    let edges = vec![0, 1, 127, 128, 16_383, 16_384, 2_097_151, u64::MAX];
    prop_oneof![3 => 0_u64..300, 1 => prop::sample::select(edges), 1 => any::<u64>()]
}

fn signed() -> impl Strategy<Value = i32> {
    let edges = vec![0, -1, 1, 63, 64, -64, -65, 1 << 30, -(1 << 30), i32::MIN, i32::MAX];
    prop_oneof![prop::sample::select(edges), any::<i32>()]
}

fn integer() -> impl Strategy<Value = i64> {
    prop_oneof![prop::sample::select(vec![0, 1, -1, i64::MIN, i64::MAX]), any::<i64>()]
}

fn float() -> impl Strategy<Value = f64> {
    let edges = vec![0.0, -0.0, 1.5, f64::NAN, f64::INFINITY, f64::MIN, f64::MIN_POSITIVE];
    prop_oneof![prop::sample::select(edges), any::<f64>()]
}

fn optional_float() -> impl Strategy<Value = Option<f64>> {
    option::of(float())
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![1 => Just(0), 1 => Just(1), 1 => Just(u64::MAX), 4 => any::<u64>()]
}

fn flags() -> impl Strategy<Value = u32> {
    prop_oneof![3 => Just(0), 1 => prop::sample::select(vec![1, 127, 128, u32::MAX])]
}

fn text() -> impl Strategy<Value = String> {
    let edges = vec![100, 110, 116, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 300, 16_384];
    prop_oneof![
        4 => Just(String::new()),
        24 => "[a-z.]{1,24}",
        2 => prop::sample::select(edges).prop_map(|len| "e".repeat(len)),
    ]
}
