//! A patch is what a fresh encoding is, or it is refused. The oracle's structs say what is
//! written before and after.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{self as proto, Metric, metric, number_data_point};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::encode::metrics::tests::record;

/// Patches `bytes` with the numbers of `metric`, as a door does.
fn patch(bytes: &mut [u8], metric: &Metric) -> Option<()> {
    let identity =
        Identity { name: &metric.name, description: &metric.description, unit: &metric.unit };
    let mut patch = Patch::new(bytes);
    match metric.data.as_ref()? {
        metric::Data::Gauge(gauge) => {
            let end = patch.metric(&identity, Data::Gauge)?;
            gauge.data_points.iter().try_for_each(|point| number(&mut patch, point))?;
            patch.leave_metric(Data::Gauge, end)?;
        }
        metric::Data::Sum(sum) => {
            let temporality = sum.aggregation_temporality as u8;
            let data = Data::Sum { temporality, is_monotonic: sum.is_monotonic };
            let end = patch.metric(&identity, data)?;
            sum.data_points.iter().try_for_each(|point| number(&mut patch, point))?;
            patch.leave_metric(data, end)?;
        }
        metric::Data::Histogram(histogram) => {
            let temporality = histogram.aggregation_temporality as u8;
            let data = Data::Histogram { temporality };
            let end = patch.metric(&identity, data)?;
            histogram.data_points.iter().try_for_each(|point| distribution(&mut patch, point))?;
            patch.leave_metric(data, end)?;
        }
        other => panic!("nothing in {other:?} has a fixed width"),
    }
    patch.is_done().then_some(())
}

fn number(patch: &mut Patch<'_>, point: &proto::NumberDataPoint) -> Option<()> {
    let end = patch.point()?;
    let value = match point.value? {
        number_data_point::Value::AsDouble(value) => Number::Double(value),
        number_data_point::Value::AsInt(value) => Number::Int(value),
    };
    let times =
        Times { start_unix_nano: point.start_time_unix_nano, unix_nano: point.time_unix_nano };
    patch.number(times, value)?;
    attributes(patch, super::super::points::NUMBER_ATTRIBUTES, &point.attributes)?;
    patch.leave(end)
}

fn distribution(patch: &mut Patch<'_>, point: &proto::HistogramDataPoint) -> Option<()> {
    let end = patch.point()?;
    let head = HistogramHead {
        times: Times {
            start_unix_nano: point.start_time_unix_nano,
            unix_nano: point.time_unix_nano,
        },
        count: point.count,
        sum: point.sum,
        extremes: Extremes { min: point.min, max: point.max },
        flags: 0,
    };
    let (counts, bounds) = (point.bucket_counts.iter(), point.explicit_bounds.iter());
    patch.histogram(&head, counts.copied(), bounds.copied())?;
    attributes(patch, super::super::points::HISTOGRAM_ATTRIBUTES, &point.attributes)?;
    patch.extremes(head.extremes)?;
    patch.leave(end)
}

fn attributes(patch: &mut Patch<'_>, key: u8, attributes: &[KeyValue]) -> Option<()> {
    attributes.iter().try_for_each(|attribute| match value_of(attribute) {
        any_value::Value::StringValue(text) => patch.text_attribute(key, &attribute.key, text),
        any_value::Value::IntValue(value) => {
            patch.small_attribute(key, &attribute.key, u16::try_from(*value).unwrap())
        }
        other => panic!("{other:?} is not made here"),
    })
}

fn value_of(attribute: &KeyValue) -> &any_value::Value {
    attribute.value.as_ref().unwrap().value.as_ref().unwrap()
}

/// Something that is changed from one collection to the next.
#[derive(Clone, Debug)]
enum Change {
    /// Every number; the layout stays.
    Numbers(u64),
    Name(Index),
    Description,
    Unit,
    IsMonotonic,
    Temporality,
    Kind,
    /// A character of an attribute's name.
    Key(Index, Index),
    /// A character of an attribute's text, or an integer.
    Value(Index, Index),
    /// An attribute is gone.
    Attribute(Index),
    /// A point is gone, or twice there.
    Point(bool),
    Bound(Index),
    Buckets(bool),
    Bounds,
    Sum,
    Min,
    Max,
    Time(bool),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    prop_oneof![
        1 => any::<u64>().prop_map(Change::Numbers),
        1 => index().prop_map(Change::Name),
        1 => Just(Change::Description),
        1 => Just(Change::Unit),
        1 => Just(Change::IsMonotonic),
        1 => Just(Change::Temporality),
        1 => Just(Change::Kind),
        4 => (index(), index()).prop_map(|(at, character)| Change::Key(at, character)),
        4 => (index(), index()).prop_map(|(at, character)| Change::Value(at, character)),
        1 => index().prop_map(Change::Attribute),
        1 => any::<bool>().prop_map(Change::Point),
        2 => index().prop_map(Change::Bound),
        1 => any::<bool>().prop_map(Change::Buckets),
        1 => Just(Change::Bounds),
        1 => Just(Change::Sum),
        1 => Just(Change::Min),
        1 => Just(Change::Max),
        1 => any::<bool>().prop_map(Change::Time),
    ]
}

impl Change {
    fn apply(&self, metric: &mut Metric) {
        match self {
            Self::Name(at) => change_character(&mut metric.name, at),
            Self::Description => metric.description = other_text(&metric.description),
            Self::Unit => metric.unit = other_text(&metric.unit),
            _ => self.apply_to_data(metric.data.as_mut().unwrap()),
        }
    }

    fn apply_to_data(&self, data: &mut metric::Data) {
        if let (Self::Kind, metric::Data::Gauge(gauge)) = (self, &mut *data) {
            let data_points = std::mem::take(&mut gauge.data_points);
            *data = metric::Data::Sum(proto::Sum { data_points, ..Default::default() });
            return;
        }
        match data {
            metric::Data::Gauge(gauge) => self.apply_to_numbers(&mut gauge.data_points),
            metric::Data::Sum(sum) => match self {
                Self::IsMonotonic => sum.is_monotonic ^= true,
                Self::Temporality => sum.aggregation_temporality ^= 3,
                _ => self.apply_to_numbers(&mut sum.data_points),
            },
            metric::Data::Histogram(histogram) => match self {
                Self::Temporality => histogram.aggregation_temporality ^= 3,
                _ => self.apply_to_histogram(&mut histogram.data_points),
            },
            _ => unreachable!(),
        }
    }

    fn apply_to_numbers(&self, points: &mut Vec<proto::NumberDataPoint>) {
        self.apply_to_points(points, |point| &mut point.attributes);
        let Some(last) = points.last_mut() else { return };
        match self {
            Self::Numbers(seed) => points.iter_mut().for_each(|point| {
                point.start_time_unix_nano = seed | 1;
                point.time_unix_nano = seed | 2;
                match point.value.as_mut().unwrap() {
                    number_data_point::Value::AsInt(value) => *value = *seed as i64,
                    number_data_point::Value::AsDouble(value) => *value = f64::from_bits(*seed),
                }
            }),
            Self::Kind => last.value = Some(number_data_point::Value::AsInt(7)),
            Self::Time(true) => last.start_time_unix_nano = 0,
            Self::Time(false) => last.time_unix_nano = 0,
            _ => {}
        }
    }

    fn apply_to_histogram(&self, points: &mut Vec<proto::HistogramDataPoint>) {
        self.apply_to_points(points, |point| &mut point.attributes);
        let Some(last) = points.last_mut() else { return };
        match self {
            Self::Numbers(seed) => points.iter_mut().for_each(|point| {
                point.start_time_unix_nano = seed | 1;
                point.time_unix_nano = seed | 2;
                point.count = seed | 4;
                point.bucket_counts.iter_mut().for_each(|count| *count = *seed);
                let numbers = [&mut point.sum, &mut point.min, &mut point.max];
                numbers.into_iter().flatten().for_each(|it| *it = f64::from_bits(*seed));
            }),
            Self::Bound(at) if !last.explicit_bounds.is_empty() => {
                let at = at.index(last.explicit_bounds.len());
                last.explicit_bounds[at] += 1.0;
            }
            Self::Buckets(true) => last.bucket_counts.push(1),
            Self::Buckets(false) => drop(last.bucket_counts.pop()),
            Self::Bounds => drop(last.explicit_bounds.pop()),
            Self::Sum => last.sum = other_number(last.sum),
            Self::Min => last.min = other_number(last.min),
            Self::Max => last.max = other_number(last.max),
            Self::Time(true) => last.start_time_unix_nano = 0,
            Self::Time(false) => last.count = 0,
            _ => {}
        }
    }

    fn apply_to_points<P: Clone>(
        &self,
        points: &mut Vec<P>,
        attributes: impl Fn(&mut P) -> &mut Vec<KeyValue>,
    ) {
        let Some(last) = points.last_mut() else { return };
        let attributes = attributes(last);
        let any = |at: &Index| at.index(attributes.len().max(1));
        match self {
            Self::Key(at, character) if !attributes.is_empty() => {
                let at = any(at);
                change_character(&mut attributes[at].key, character);
            }
            Self::Value(at, character) if !attributes.is_empty() => {
                let at = any(at);
                match attributes[at].value.as_mut().unwrap().value.as_mut().unwrap() {
                    any_value::Value::StringValue(text) => change_character(text, character),
                    any_value::Value::IntValue(value) => *value = (*value ^ 0x81) & 0x3fff,
                    _ => unreachable!(),
                }
            }
            Self::Attribute(at) if !attributes.is_empty() => drop(attributes.remove(any(at))),
            Self::Point(true) => drop(points.pop()),
            Self::Point(false) => points.push(points.last().unwrap().clone()),
            _ => {}
        }
    }
}

fn change_character(text: &mut String, at: &Index) {
    if !text.is_empty() {
        let at = at.index(text.len());
        let other = if text.as_bytes()[at] == b'x' { "y" } else { "x" };
        text.replace_range(at..=at, other);
    }
}

fn other_text(text: &str) -> String {
    if text.is_empty() { "other".to_owned() } else { String::new() }
}

fn other_number(number: Option<f64>) -> Option<f64> {
    if number.is_some() { None } else { Some(0.0) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_patch_is_what_would_be_written_or_is_refused(before in layout(), change in change()) {
        let mut after = before.clone();
        change.apply(&mut after);
        let mut bytes = record(&before, 200).to_vec();
        let patched = patch(&mut bytes, &after).is_some();
        prop_assert!(!patched || bytes == record(&after, 200), "{change:?} was not noticed");
        if matches!(change, Change::Numbers(_)) {
            prop_assert!(patched, "numbers alone are patched");
        }
    }

    #[test]
    fn bytes_of_something_else_are_refused_and_do_no_harm(
        metric in layout(),
        mut bytes in vec(any::<u8>(), 0..60),
        cut in any::<Index>(),
    ) {
        prop_assert!(patch(&mut bytes, &metric).is_none());
        let record = record(&metric, 0);
        let mut cut = record[..cut.index(record.len())].to_vec();
        prop_assert!(patch(&mut cut, &metric).is_none());
    }
}

/// A metric with what a collection has: its points can be patched.
fn layout() -> impl Strategy<Value = Metric> {
    let optional_text = || prop_oneof![Just(String::new()), "[a-w]{1,20}"];
    ("[a-w]{1,20}", optional_text(), optional_text(), data()).prop_map(
        |(name, description, unit, data)| Metric {
            name,
            description,
            unit,
            metadata: vec![],
            data: Some(data),
        },
    )
}

fn data() -> impl Strategy<Value = metric::Data> {
    prop_oneof![
        vec(number_point(), 0..4)
            .prop_map(|data_points| metric::Data::Gauge(proto::Gauge { data_points })),
        (vec(number_point(), 0..4), 1..3, any::<bool>()).prop_map(
            |(data_points, aggregation_temporality, is_monotonic)| {
                metric::Data::Sum(proto::Sum { data_points, aggregation_temporality, is_monotonic })
            }
        ),
        (vec(histogram_point(), 0..4), 1..3).prop_map(|(data_points, aggregation_temporality)| {
            metric::Data::Histogram(proto::Histogram { data_points, aggregation_temporality })
        }),
    ]
}

fn number_point() -> impl Strategy<Value = proto::NumberDataPoint> {
    let value = prop_oneof![
        any::<i64>().prop_map(number_data_point::Value::AsInt),
        any::<f64>().prop_map(number_data_point::Value::AsDouble),
    ];
    (some_attributes(), 1..u64::MAX, 1..u64::MAX, value).prop_map(
        |(attributes, start_time_unix_nano, time_unix_nano, value)| proto::NumberDataPoint {
            attributes,
            start_time_unix_nano,
            time_unix_nano,
            value: Some(value),
            ..Default::default()
        },
    )
}

fn histogram_point() -> impl Strategy<Value = proto::HistogramDataPoint> {
    let number = || option::of(any::<f64>());
    let numbers = (1..u64::MAX, 1..u64::MAX, 1..u64::MAX, number(), number(), number());
    (some_attributes(), numbers, vec(any::<u64>(), 0..20), vec(-1e3..1e3, 0..20)).prop_map(
        |(attributes, (start, time, count, sum, min, max), bucket_counts, explicit_bounds)| {
            proto::HistogramDataPoint {
                attributes,
                start_time_unix_nano: start,
                time_unix_nano: time,
                count,
                sum,
                bucket_counts,
                explicit_bounds,
                min,
                max,
                ..Default::default()
            }
        },
    )
}

/// Names and texts of every length that is compared in its own way.
fn some_attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let text = || {
        prop_oneof![
            12 => "[a-w]{0,40}",
            1 => prop::sample::select(vec![63, 64, 118, 122, 127, 128, 300])
                .prop_map(|len| "l".repeat(len)),
        ]
    };
    let attribute = prop_oneof![
        3 => (text(), text()).prop_map(|(key, text)| (key, any_value::Value::StringValue(text))),
        1 => ("[a-w]{1,40}", 0_i64..0x4000).prop_map(|(key, value)| (key, any_value::Value::IntValue(value))),
    ];
    let attribute = attribute.prop_map(|(key, value)| KeyValue {
        key,
        value: Some(AnyValue { value: Some(value) }),
        ..Default::default()
    });
    vec(attribute, 0..5)
}
