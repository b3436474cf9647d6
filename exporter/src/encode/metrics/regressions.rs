//! Bugs of other encoders of metrics, each as the bytes that it got wrong
//! (docs/BUGS-OF-OTHERS.md).

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ScopeMetrics, Sum, exemplar, number_data_point,
};
use prost::Message;

use super::tests::record;
use crate::wire::read::{Fields, Value};

/// The one point of a metric with this data, as a receiver decodes it and as it is on the wire.
fn written(data: Data) -> (Data, Vec<u8>) {
    let metric = Metric { name: "m".to_owned(), data: Some(data), ..Metric::default() };
    let record = record(&metric, 0);
    let decoded = ScopeMetrics::decode(record.clone()).unwrap().metrics.remove(0);
    // In the record, the metric; in that, what is not its name; in that, the point.
    let point = [2, 0, 1].into_iter().fold(record.to_vec(), |message, wanted| {
        let fields = Fields::new(&message).map(Result::unwrap);
        let mut messages = fields.filter_map(|field| match field {
            (number, Value::Len(inner)) if number == wanted || (wanted == 0 && number > 3) => {
                Some(inner.to_vec())
            }
            _ => None,
        });
        messages.next().unwrap()
    });
    (decoded.data.unwrap(), point)
}

fn fields(point: &[u8]) -> Vec<(u32, Value<'_>)> {
    Fields::new(point).map(Result::unwrap).collect()
}

fn histogram(point: HistogramDataPoint) -> Data {
    Data::Histogram(Histogram { data_points: vec![point], aggregation_temporality: 2 })
}

fn gauge(point: NumberDataPoint) -> Data {
    Data::Gauge(Gauge { data_points: vec![point] })
}

/// opentelemetry-dotnet #6538: counts and bounds were written one by one, and receivers that take
/// them packed alone refused the request.
#[test]
fn counts_and_bounds_are_packed() {
    let (_, point) = written(histogram(HistogramDataPoint {
        bucket_counts: vec![1, 0, 3],
        explicit_bounds: vec![0.5, 1.5],
        ..Default::default()
    }));
    let counts = [1_u64, 0, 3].map(u64::to_le_bytes).concat();
    let bounds = [0.5_f64, 1.5].map(f64::to_le_bytes).concat();
    assert_eq!(fields(&point), [(6, Value::Len(&counts)), (7, Value::Len(&bounds))]);
}

/// otel-arrow #1421: a decoder took varints one by one for a packed field.
#[test]
fn counts_of_exponential_buckets_are_packed_varints() {
    let buckets = Buckets { offset: -1, bucket_counts: vec![0, 1, 300] };
    let (_, point) = written(Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![ExponentialHistogramDataPoint {
            positive: Some(buckets),
            ..Default::default()
        }],
        aggregation_temporality: 2,
    }));
    assert_eq!(fields(&point), [(8, Value::Len(&[0x08, 1, 0x12, 4, 0, 1, 0xac, 2]))]);
}

/// otel-arrow #1447, opentelemetry-java #3911: a value of zero lost its type, because it is the
/// default of proto3. It is a member of a oneof.
#[test]
fn values_of_zero_keep_their_type_in_points_and_exemplars() {
    use number_data_point::Value::{AsDouble, AsInt};
    for (value, key) in [(AsInt(0), 6), (AsDouble(0.0), 4)] {
        let point = NumberDataPoint { value: Some(value), ..Default::default() };
        let (decoded, bytes) = written(gauge(point.clone()));
        assert_eq!(decoded, gauge(point));
        assert_eq!(fields(&bytes), [(key, Value::Fixed64(0))]);
    }
    for value in [exemplar::Value::AsInt(0), exemplar::Value::AsDouble(0.0)] {
        let exemplars = vec![Exemplar { value: Some(value), ..Default::default() }];
        let point = NumberDataPoint { exemplars, ..Default::default() };
        assert_eq!(written(gauge(point.clone())).0, gauge(point));
    }
}

/// opentelemetry-java #8107: a sum of zero was left out, as if there were none. It is `optional`,
/// as the minimum and the maximum are.
#[test]
fn a_sum_of_zero_is_told_from_no_sum() {
    for number in [Some(0.0), None] {
        let point =
            HistogramDataPoint { sum: number, min: number, max: number, ..Default::default() };
        let (decoded, bytes) = written(histogram(point.clone()));
        assert_eq!(decoded, histogram(point));
        assert_eq!(fields(&bytes).len(), if number.is_some() { 3 } else { 0 });
    }
}

/// opentelemetry-java #8284 and #8293: the pass that computed a length and the one that wrote
/// disagreed. Here only one pass writes, and what it guessed of the length does not matter.
#[test]
fn no_guess_of_a_length_shows_in_the_bytes() {
    let attributes = |len: usize| {
        let value = Some(any_value::Value::StringValue("v".repeat(len)));
        vec![KeyValue { key: "k".into(), value: Some(AnyValue { value }), ..Default::default() }]
    };
    for len in [0, 1, 80, 100, 110, 120, 127, 128, 200, 16_300, 16_380, 16_384, 2_097_152] {
        let point = HistogramDataPoint { attributes: attributes(len), ..Default::default() };
        let metric = Metric { data: Some(histogram(point)), ..Metric::default() };
        let expected = ScopeMetrics { metrics: vec![metric.clone()], ..Default::default() };
        for guess in [0, 127, 128, 16_383, 16_384, 1 << 22] {
            assert!(record(&metric, guess) == expected.encode_to_vec(), "{len} {guess}");
        }
    }
}

/// opentelemetry-rust #3755: a receiver missed data whose fields were all at their defaults.
#[test]
fn points_of_nothing_but_defaults_are_points() {
    let data = Data::Sum(Sum {
        data_points: vec![NumberDataPoint::default(); 3],
        aggregation_temporality: 0,
        is_monotonic: false,
    });
    assert_eq!(written(data.clone()).0, data);
}

/// opentelemetry-collector #13641: repeated fields came out in the reverse order.
#[test]
fn counts_bounds_points_and_attributes_keep_their_order() {
    let attribute = |key: &str| KeyValue { key: key.to_owned(), ..KeyValue::default() };
    let point = |first: u64| HistogramDataPoint {
        count: first,
        bucket_counts: vec![first, 1, 0],
        explicit_bounds: vec![-1.0, 0.0, 7.0],
        attributes: vec![attribute("b"), attribute("a"), attribute("c")],
        ..Default::default()
    };
    let data = Data::Histogram(Histogram {
        data_points: vec![point(3), point(2), point(9)],
        aggregation_temporality: 1,
    });
    assert_eq!(written(data.clone()).0, data);
}

/// opentelemetry-dotnet #7605, in review: encoded attributes were kept with their key, which is
/// another one in each kind of point.
#[test]
fn attributes_have_the_key_of_the_kind_of_point() {
    let attributes = vec![KeyValue { key: "k".to_owned(), ..KeyValue::default() }];
    let (_, number) =
        written(gauge(NumberDataPoint { attributes: attributes.clone(), ..Default::default() }));
    let (_, explicit) = written(histogram(HistogramDataPoint {
        attributes: attributes.clone(),
        ..Default::default()
    }));
    let (_, exponential) = written(Data::ExponentialHistogram(ExponentialHistogram {
        data_points: vec![ExponentialHistogramDataPoint { attributes, ..Default::default() }],
        aggregation_temporality: 2,
    }));
    let keys = [number, explicit, exponential].map(|point| fields(&point)[0].0);
    assert_eq!(keys, [7, 9, 1]);
}

/// otel-arrow's `encode_sint32`: the zig-zag of a large number was sign-extended to ten bytes.
#[test]
fn a_scale_or_offset_has_at_most_five_bytes() {
    for offset in [1 << 30, -(1 << 30) - 1, i32::MAX, i32::MIN] {
        let buckets = Buckets { offset, bucket_counts: vec![] };
        let (decoded, point) = written(Data::ExponentialHistogram(ExponentialHistogram {
            data_points: vec![ExponentialHistogramDataPoint {
                scale: offset,
                negative: Some(buckets),
                ..Default::default()
            }],
            aggregation_temporality: 2,
        }));
        let Data::ExponentialHistogram(decoded) = decoded else { panic!() };
        assert_eq!(decoded.data_points[0].scale, offset);
        // A key and five bytes, then a key, a length, a key and five bytes.
        assert_eq!(point.len(), 6 + 2 + 6);
    }
}
