//! Metrics of every kind, collected twice.

use std::error::Error;
use std::time::{Duration, SystemTime};

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, ExponentialBucket, Metric, MetricData, ResourceMetrics,
};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality,
};
use spanwire::Exporter;
use spanwire::otel_0_33::MetricExporter;

use crate::json::{self, double, key_values, list, nanos, object, string};
use crate::values::every_value;
use crate::{LIMIT, Sent};

/// Sends what two readers collect: of cumulative and of delta temporality.
pub(crate) fn send(exporter: &Exporter, sent: &Sent) -> Result<(), Box<dyn Error>> {
    for (name, temporality) in
        [("cumulative", Temporality::Cumulative), ("delta", Temporality::Delta)]
    {
        let resource = Resource::builder_empty().with_service_name(name).build();
        let inner = MetricExporter::new(exporter);
        let recorder = Recorder { sent: sent.clone(), inner, temporality };
        let reader = PeriodicReader::builder(recorder).with_interval(NEVER).build();
        let provider = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(reader)
            .with_view(exponential)
            .build();
        let scope = InstrumentationScope::builder("meter").with_version("1").build();
        let meter = provider.meter_with_scope(scope);
        for _ in 0..2 {
            measure(&meter);
            provider.force_flush()?;
        }
        provider.shutdown_with_timeout(LIMIT)?;
    }
    Ok(())
}

fn exponential(instrument: &Instrument) -> Option<Stream> {
    let aggregation = Aggregation::Base2ExponentialHistogram {
        max_size: 40,
        max_scale: 20,
        record_min_max: true,
    };
    let is_meant = instrument.name().starts_with("exponential");
    is_meant.then(|| Stream::builder().with_aggregation(aggregation).build().ok())?
}

fn measure(meter: &Meter) {
    let [none, few, all] = [0, 3, usize::MAX]
        .map(|count| every_value().into_iter().take(count).collect::<Vec<KeyValue>>());
    for attributes in [&none, &few, &all] {
        meter.u64_counter("counter").with_unit("1").build().add(u64::MAX >> 3, attributes);
        meter.f64_counter("seconds").with_description("busy").build().add(0.1, attributes);
        meter.i64_up_down_counter("up-down").build().add(-5, attributes);
        meter.f64_gauge("gauge").build().record(-0.0, attributes);
        meter.i64_gauge("zero").build().record(0, attributes);
        for value in [0.0, 0.3, 7.0, 1e9] {
            meter.f64_histogram("histogram").build().record(value, attributes);
            meter.f64_histogram("exponential").build().record(value - 2.0, attributes);
        }
        meter.u64_histogram("sizes").with_unit("By").build().record(512, attributes);
    }
    let no_bounds = meter.f64_histogram("no-bounds").with_boundaries(vec![]).build();
    no_bounds.record(1.0, &none);
}

/// Writes each metric down and passes it on.
#[derive(Debug)]
struct Recorder {
    sent: Sent,
    inner: MetricExporter,
    temporality: Temporality,
}

impl PushMetricExporter for Recorder {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let resource = json::resource(metrics.resource());
        for group in metrics.scope_metrics() {
            let scope = json::scope(group.scope(), group.scope().name());
            for metric in group.metrics() {
                self.sent.line(&resource, &scope, "metric", &written(metric));
            }
        }
        self.inner.export(metrics).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, limit: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(limit)
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}

fn written(metric: &Metric) -> String {
    let (kind, data) = match metric.data() {
        AggregatedMetrics::F64(data) => data_of(data, double),
        AggregatedMetrics::I64(data) => data_of(data, |value| value.to_string()),
        AggregatedMetrics::U64(data) => data_of(data, |value| value.to_string()),
    };
    object(&[
        ("name", string(metric.name())),
        ("description", string(metric.description())),
        ("unit", string(metric.unit())),
        (kind, data),
    ])
}

/// Doubles are strings of their bits, integers are numbers; those of histograms are doubles.
fn data_of<T: Copy + InDouble>(
    data: &MetricData<T>,
    number: impl Fn(T) -> String,
) -> (&'static str, String) {
    let number = &number;
    match data {
        MetricData::Gauge(gauge) => {
            let start = gauge.start_time();
            let points = gauge.data_points().map(|point| {
                let fields = [("value", number(point.value()))];
                point_of(start, gauge.time(), point.attributes(), &fields)
            });
            ("gauge", object(&[("points", list(points))]))
        }
        MetricData::Sum(sum) => {
            let points = sum.data_points().map(|point| {
                let fields = [("value", number(point.value()))];
                point_of(Some(sum.start_time()), sum.time(), point.attributes(), &fields)
            });
            let fields = [
                ("points", list(points)),
                ("temporality", temporality(sum.temporality())),
                ("monotonic", sum.is_monotonic().to_string()),
            ];
            ("sum", object(&fields))
        }
        MetricData::Histogram(histogram) => {
            let points = histogram.data_points().map(|point| {
                let fields = [
                    ("count", point.count().to_string()),
                    ("sum", double(point.sum().in_double())),
                    ("min", optional(point.min())),
                    ("max", optional(point.max())),
                    ("bounds", list(point.bounds().map(double))),
                    ("buckets", list(point.bucket_counts().map(|count| count.to_string()))),
                ];
                point_of(
                    Some(histogram.start_time()),
                    histogram.time(),
                    point.attributes(),
                    &fields,
                )
            });
            let temporality = temporality(histogram.temporality());
            ("histogram", object(&[("points", list(points)), ("temporality", temporality)]))
        }
        MetricData::ExponentialHistogram(histogram) => {
            let points = histogram.data_points().map(|point| {
                let fields = [
                    ("count", point.count().to_string()),
                    ("sum", double(point.sum().in_double())),
                    ("min", optional(point.min())),
                    ("max", optional(point.max())),
                    ("scale", point.scale().to_string()),
                    ("zero_count", point.zero_count().to_string()),
                    ("zero_threshold", double(point.zero_threshold())),
                    ("positive", buckets(point.positive_bucket())),
                    ("negative", buckets(point.negative_bucket())),
                ];
                point_of(
                    Some(histogram.start_time()),
                    histogram.time(),
                    point.attributes(),
                    &fields,
                )
            });
            let temporality = temporality(histogram.temporality());
            ("exponential", object(&[("points", list(points)), ("temporality", temporality)]))
        }
    }
}

fn point_of<'a>(
    start: Option<SystemTime>,
    time: SystemTime,
    attributes: impl Iterator<Item = &'a KeyValue>,
    fields: &[(&str, String)],
) -> String {
    let attributes: Vec<_> = attributes.cloned().collect();
    let mut all = vec![
        ("start", start.map_or_else(|| "0".to_owned(), nanos)),
        ("time", nanos(time)),
        ("attributes", key_values(&attributes)),
    ];
    all.extend_from_slice(fields);
    object(&all)
}

fn buckets(buckets: &ExponentialBucket) -> String {
    let counts = list(buckets.counts().map(|count| count.to_string()));
    object(&[("offset", buckets.offset().to_string()), ("counts", counts)])
}

fn optional<T: InDouble>(value: Option<T>) -> String {
    value.map_or_else(|| "null".to_owned(), |value| double(value.in_double()))
}

fn temporality(temporality: Temporality) -> String {
    match temporality {
        Temporality::Delta => "1",
        _ => "2",
    }
    .to_owned()
}

/// The numbers that a histogram sums up.
trait InDouble {
    fn in_double(self) -> f64;
}

impl InDouble for f64 {
    fn in_double(self) -> f64 {
        self
    }
}

impl InDouble for i64 {
    fn in_double(self) -> f64 {
        self as f64
    }
}

impl InDouble for u64 {
    fn in_double(self) -> f64 {
        self as f64
    }
}

/// Collections are asked for.
const NEVER: Duration = Duration::from_secs(24 * 3600);
