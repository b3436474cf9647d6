//! The metrics that figures are about: four instruments, each with 250 sets of attributes, so that
//! a collection has 1000 data points.
//!
//! One lap records once for each point, and then lets the provider collect and export.

use opentelemetry::{
    KeyValue,
    metrics::{Counter, Gauge, Histogram, MeterProvider as _, UpDownCounter},
};
use opentelemetry_sdk::metrics::{SdkMeterProvider, data};

use crate::{
    shape::{Attribute, Shape},
    span::SCOPE_NAME,
};

/// Data points of one collection.
pub const POINTS: u64 = 4 * SETS as u64;

/// Records into the instruments of one provider, for one thread.
pub struct MetricMaker {
    requests: Counter<u64>,
    queued: UpDownCounter<i64>,
    temperature: Gauge<f64>,
    duration: Histogram<f64>,
    sets: Vec<Vec<KeyValue>>,
    laps: u64,
}

impl MetricMaker {
    /// A maker whose points go to the readers of `provider`.
    pub fn new(provider: &SdkMeterProvider, shape: Shape) -> Self {
        let meter = provider.meter(SCOPE_NAME);
        Self {
            requests: meter.u64_counter("bench.requests").with_unit("{request}").build(),
            queued: meter.i64_up_down_counter("bench.queued").build(),
            temperature: meter.f64_gauge("bench.temperature").with_unit("Cel").build(),
            duration: meter.f64_histogram("bench.duration").with_unit("s").build(),
            sets: (0..SETS).map(|set| attributes(shape, set)).collect(),
            laps: 0,
        }
    }

    /// Records one value for each point. The caller lets the provider collect.
    pub fn record(&mut self) {
        self.laps += 1;
        let value = (self.laps % 64) as f64 * 0.125;
        for set in &self.sets {
            self.requests.add(1, set);
            self.queued.add(self.laps.cast_signed() % 3 - 1, set);
            self.temperature.record(value, set);
            self.duration.record(value, set);
        }
    }
}

/// The data points of a collection.
pub fn points(metrics: &data::ResourceMetrics) -> u64 {
    let scopes = metrics.scope_metrics().flat_map(|scope| scope.metrics());
    scopes.map(|metric| points_of(metric.data())).sum()
}

fn points_of(data: &data::AggregatedMetrics) -> u64 {
    let count = match data {
        data::AggregatedMetrics::F64(data) => points_of_numbers(data),
        data::AggregatedMetrics::U64(data) => points_of_numbers(data),
        data::AggregatedMetrics::I64(data) => points_of_numbers(data),
    };
    count as u64
}

fn points_of_numbers<T: Copy>(data: &data::MetricData<T>) -> usize {
    match data {
        data::MetricData::Gauge(gauge) => gauge.data_points().count(),
        data::MetricData::Sum(sum) => sum.data_points().count(),
        data::MetricData::Histogram(histogram) => histogram.data_points().count(),
        data::MetricData::ExponentialHistogram(histogram) => histogram.data_points().count(),
    }
}

/// Those of the shape, with one of them different in each set.
fn attributes(shape: Shape, set: usize) -> Vec<KeyValue> {
    let mut attributes: Vec<_> =
        shape.record_attributes(set).iter().map(Attribute::to_key_value).collect();
    attributes.truncate(attributes.len().saturating_sub(1));
    attributes.push(KeyValue::new("bench.set", set as i64));
    attributes
}

/// Sets of attributes of each instrument: below the SDK's limit of 2000.
const SETS: usize = 250;
