//! How many records a record counts for.

use crate::model::Signal;
use crate::wire::fields::{metric, metric_data};
use crate::wire::read::{Fields, Value};

/// What one record, with its key and length, counts for.
pub(crate) type Weigh = fn(&[u8]) -> u64;

/// A span or log record is one; a metric is as many as it has data points, because that is what
/// collectors reject and what users count.
pub(crate) fn weigher(signal: Signal) -> Weigh {
    match signal {
        Signal::Metrics => data_points,
        Signal::Traces | Signal::Logs => |_| 1,
    }
}

/// The data points of a metric; those of bytes that are no metric are not counted.
fn data_points(record: &[u8]) -> u64 {
    let messages = |bytes, wanted: fn(u32) -> bool| {
        Fields::new(bytes).map_while(Result::ok).filter_map(move |field| match field {
            (number, Value::Len(message)) if wanted(number) => Some(message),
            _ => None,
        })
    };
    // The record is a field of its own, and the only one.
    let metrics = messages(record, |_| true);
    let data = metrics.flat_map(|metric| messages(metric, is_data));
    let points = data.flat_map(|data| messages(data, |field| field == metric_data::DATA_POINTS));
    points.count() as u64
}

/// Whether a field of `Metric` is one of its oneof `data`.
fn is_data(field: u32) -> bool {
    matches!(
        field,
        metric::GAUGE
            | metric::SUM
            | metric::HISTOGRAM
            | metric::EXPONENTIAL_HISTOGRAM
            | metric::SUMMARY
    )
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::metrics::v1::{
        Gauge, Metric, NumberDataPoint, ScopeMetrics, metric,
    };
    use prost::Message;

    use super::*;

    #[test]
    fn a_metric_counts_for_its_data_points_and_a_span_for_one() {
        for points in [0, 1, 300] {
            let gauge = Gauge { data_points: vec![NumberDataPoint::default(); points] };
            let data = Some(metric::Data::Gauge(gauge));
            let metric = Metric { name: "m".into(), data, ..Metric::default() };
            let scope = ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() };
            let record = scope.encode_to_vec();
            assert_eq!(weigher(Signal::Metrics)(&record), points as u64);
            assert_eq!(weigher(Signal::Traces)(&record), 1);
        }
    }

    #[test]
    fn what_is_no_metric_counts_for_nothing() {
        assert_eq!(weigher(Signal::Metrics)(b"\x12\x05\x2a\x03\x0a\xff\xff"), 0);
    }
}
