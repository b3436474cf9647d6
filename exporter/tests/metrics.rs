//! What is measured, arrives: every kind of instrument, in the temporality that was asked for,
//! and each collection that does not arrive is an error to the reader and counted.

mod support;

use std::time::Duration;

use opentelemetry::metrics::{Counter, Meter, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Metric, NumberDataPoint, number_data_point,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};
use spanwire::otel_0_33::{MetricExporter, exponential_histograms, preferred_histograms};
use spanwire::{Exporter, HistogramAggregation, TemporalityPreference};

use support::otel::{LONG, assert_balanced, builder, drivers};
use support::{Collector, Reply, dead_address, points_of};

/// Long enough for a test to end before: it flushes instead.
const NEVER: Duration = Duration::from_secs(100_000);

fn exporter(collector: &Collector) -> Exporter {
    builder(&collector.endpoint()).0.build().unwrap()
}

fn provider(exporter: &Exporter) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(MetricExporter::new(exporter)).with_interval(NEVER);
    SdkMeterProvider::builder()
        .with_resource(Resource::builder_empty().with_service_name("service").build())
        .with_reader(reader.build())
        .build()
}

/// All metrics that arrived, in order.
fn arrived(collector: &Collector) -> Vec<Metric> {
    let resources = collector.metrics().into_iter().flat_map(|export| export.resource_metrics);
    resources.flat_map(|it| it.scope_metrics).flat_map(|scope| scope.metrics).collect()
}

/// The points of each arrived metric of this name, which is a sum.
fn sums(collector: &Collector, name: &str) -> Vec<(AggregationTemporality, Vec<NumberDataPoint>)> {
    let named = arrived(collector).into_iter().filter(|metric| metric.name == name);
    let sum = |metric: Metric| match metric.data {
        Some(Data::Sum(sum)) => (sum.aggregation_temporality(), sum.data_points),
        other => panic!("no sum: {other:?}"),
    };
    named.map(sum).collect()
}

fn value(point: &NumberDataPoint) -> i64 {
    match point.value {
        Some(number_data_point::Value::AsInt(value)) => value,
        other => panic!("no integer: {other:?}"),
    }
}

/// Adds 2 before each of three collections; returns what arrives of each.
fn collected(preference: TemporalityPreference) -> Vec<(AggregationTemporality, i64)> {
    let collector = Collector::start();
    let exporter =
        builder(&collector.endpoint()).0.metrics_temporality(preference).build().unwrap();
    let provider = provider(&exporter);
    let counter = provider.meter("test").u64_counter("requests").build();
    for _ in 0..3 {
        counter.add(2, &[]);
        provider.force_flush().unwrap();
    }
    let sums = sums(&collector, "requests");
    sums.iter().map(|(temporality, points)| (*temporality, value(&points[0]))).collect()
}

#[test]
fn every_kind_of_instrument_arrives_over_both_drivers() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        let provider = provider(&exporter);
        let meter = provider.meter("library");
        measure_with_all(&meter);
        provider.force_flush().unwrap();

        let arrived = arrived(&collector);
        let mut kinds: Vec<_> =
            arrived.iter().map(|metric| format!("{} {}", metric.name, kind(metric))).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, INSTRUMENTS);
        assert!(arrived.iter().all(|metric| points_of(metric) == 1));
        let heads = collector.heads();
        assert!(heads.iter().all(|head| head.starts_with("POST /v1/metrics HTTP/1.1\r\n")));
        let stats = exporter.stats();
        assert_balanced(&stats, INSTRUMENTS.len());
        assert_eq!(stats.metrics.delivered, INSTRUMENTS.len() as u64, "{stats:?}");
    }
}

/// One point with each instrument of the API.
fn measure_with_all(meter: &Meter) {
    let attributes = [KeyValue::new("key", "value")];
    meter.u64_counter("u64_counter").build().add(1, &attributes);
    meter.f64_counter("f64_counter").build().add(1.0, &attributes);
    meter.i64_up_down_counter("i64_up-down_counter").build().add(-1, &attributes);
    meter.f64_up_down_counter("f64_up-down_counter").build().add(-1.0, &attributes);
    meter.u64_gauge("u64_gauge").build().record(1, &attributes);
    meter.i64_gauge("i64_gauge").build().record(-1, &attributes);
    meter.f64_gauge("f64_gauge").build().record(1.0, &attributes);
    meter.u64_histogram("u64_histogram").build().record(1, &attributes);
    meter.f64_histogram("f64_histogram").build().record(1.0, &attributes);
    let key = |value: &str| [KeyValue::new("key", value.to_owned())];
    let seen = meter.u64_observable_counter("u64_observed_counter");
    seen.with_callback(move |it| it.observe(1, &key("value"))).build();
    let seen = meter.f64_observable_counter("f64_observed_counter");
    seen.with_callback(move |it| it.observe(1.0, &key("value"))).build();
    let seen = meter.i64_observable_up_down_counter("i64_observed_up-down_counter");
    seen.with_callback(move |it| it.observe(-1, &key("value"))).build();
    let seen = meter.f64_observable_up_down_counter("f64_observed_up-down_counter");
    seen.with_callback(move |it| it.observe(-1.0, &key("value"))).build();
    let seen = meter.u64_observable_gauge("u64_observed_gauge");
    seen.with_callback(move |it| it.observe(1, &key("value"))).build();
    let seen = meter.i64_observable_gauge("i64_observed_gauge");
    seen.with_callback(move |it| it.observe(-1, &key("value"))).build();
    let seen = meter.f64_observable_gauge("f64_observed_gauge");
    seen.with_callback(move |it| it.observe(1.0, &key("value"))).build();
}

/// What arrives of them, sorted.
const INSTRUMENTS: [&str; 16] = [
    "f64_counter monotonic sum",
    "f64_gauge gauge",
    "f64_histogram histogram",
    "f64_observed_counter monotonic sum",
    "f64_observed_gauge gauge",
    "f64_observed_up-down_counter sum",
    "f64_up-down_counter sum",
    "i64_gauge gauge",
    "i64_observed_gauge gauge",
    "i64_observed_up-down_counter sum",
    "i64_up-down_counter sum",
    "u64_counter monotonic sum",
    "u64_gauge gauge",
    "u64_histogram histogram",
    "u64_observed_counter monotonic sum",
    "u64_observed_gauge gauge",
];

fn kind(metric: &Metric) -> &'static str {
    match metric.data.as_ref().unwrap() {
        Data::Gauge(_) => "gauge",
        Data::Sum(sum) if sum.is_monotonic => "monotonic sum",
        Data::Sum(_) => "sum",
        Data::Histogram(_) => "histogram",
        Data::ExponentialHistogram(_) => "exponential histogram",
        Data::Summary(_) => "summary",
    }
}

#[test]
fn a_metric_arrives_with_every_field_it_had() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let provider = provider(&exporter);
    let scope = InstrumentationScope::builder("library")
        .with_version("1.2.3")
        .with_schema_url("https://opentelemetry.io/schemas/1.44.0")
        .with_attributes([KeyValue::new("scope.key", "scope value")])
        .build();
    let meter = provider.meter_with_scope(scope);
    let latency = meter
        .f64_histogram("latency")
        .with_description("Time to answer.")
        .with_unit("ms")
        .with_boundaries(vec![1.0, 10.0])
        .build();
    let attributes = [KeyValue::new("route", "/ü"), KeyValue::new("status", 200)];
    for value in [0.5, 5.0, 6.0, 50.0] {
        latency.record(value, &attributes);
    }
    provider.force_flush().unwrap();

    let resource = collector.metrics().remove(0).resource_metrics.remove(0);
    let service = &resource.resource.unwrap().attributes[0];
    assert_eq!(service.key, "service.name");
    let arrived = &resource.scope_metrics[0];
    let scope = arrived.scope.as_ref().unwrap();
    assert_eq!((scope.name.as_str(), scope.version.as_str()), ("library", "1.2.3"));
    assert_eq!(scope.attributes[0].key, "scope.key");
    assert_eq!(arrived.schema_url, "https://opentelemetry.io/schemas/1.44.0");
    let metric = &arrived.metrics[0];
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("latency", "ms"));
    assert_eq!(metric.description, "Time to answer.");
    let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
    assert_eq!(histogram.aggregation_temporality(), AggregationTemporality::Cumulative);
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum), (4, Some(61.5)));
    assert_eq!((point.min, point.max), (Some(0.5), Some(50.0)));
    assert_eq!(point.explicit_bounds, [1.0, 10.0]);
    assert_eq!(point.bucket_counts, [1, 2, 1]);
    assert!(0 < point.start_time_unix_nano && point.start_time_unix_nano <= point.time_unix_nano);
    let attribute = |at: usize| point.attributes[at].value.clone().unwrap().value.unwrap();
    assert_eq!(attribute(0), Value::StringValue("/ü".to_owned()));
    assert_eq!(attribute(1), Value::IntValue(200));
}

#[test]
fn points_are_reported_since_the_start_or_since_the_last_collection_as_preferred() {
    use AggregationTemporality::{Cumulative, Delta};
    let cumulative = collected(TemporalityPreference::Cumulative);
    assert_eq!(cumulative, [(Cumulative, 2), (Cumulative, 4), (Cumulative, 6)]);
    for preference in [TemporalityPreference::Delta, TemporalityPreference::LowMemory] {
        assert_eq!(collected(preference), [(Delta, 2); 3], "{preference}");
    }
}

#[test]
fn the_environment_chooses_temporality_and_histograms_and_code_beats_it() {
    let environment = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE" => Some("LowMemory".to_owned()),
        "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION" => {
            Some("BASE2_exponential_bucket_histogram".to_owned())
        }
        _ => None,
    };
    let collector = Collector::start();
    let builder = || builder(&collector.endpoint()).0.env_from(environment);
    let by_environment = builder().build().unwrap();
    assert_eq!(MetricExporter::new(&by_environment).temporality(), Temporality::LowMemory);
    assert_eq!(histogram_of(&collector, &by_environment), "exponential histogram");
    let by_code = builder()
        .metrics_temporality(TemporalityPreference::Delta)
        .metrics_histograms(HistogramAggregation::ExplicitBuckets)
        .build()
        .unwrap();
    assert_eq!(MetricExporter::new(&by_code).temporality(), Temporality::Delta);
    assert_eq!(histogram_of(&collector, &by_code), "histogram");
}

/// The kind of a histogram that has the preferred buckets.
fn histogram_of(collector: &Collector, exporter: &Exporter) -> &'static str {
    let reader = PeriodicReader::builder(MetricExporter::new(exporter)).with_interval(NEVER);
    let provider = SdkMeterProvider::builder()
        .with_reader(reader.build())
        .with_view(preferred_histograms(exporter))
        .build();
    provider.meter("test").f64_histogram("histogram").build().record(1.0, &[]);
    provider.force_flush().unwrap();
    kind(arrived(collector).last().unwrap())
}

#[test]
fn a_temporality_that_means_nothing_is_ignored_with_a_diagnostic() {
    let (builder, diagnostics) = builder("http://localhost:4318");
    let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let environment = move |asked: &str| (asked == name).then(|| "sideways".to_owned());
    let exporter = builder.env_from(environment).build().unwrap();
    assert_eq!(MetricExporter::new(&exporter).temporality(), Temporality::Cumulative);
    let told = diagnostics.of_kind("Configuration");
    assert!(told[0].contains(name) && told[0].contains("sideways"), "{told:?}");
}

#[test]
fn histograms_are_exponential_with_the_view() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let reader = PeriodicReader::builder(MetricExporter::new(&exporter)).with_interval(NEVER);
    let provider = SdkMeterProvider::builder()
        .with_reader(reader.build())
        .with_view(exponential_histograms())
        .build();
    let meter = provider.meter("test");
    let histogram = meter.f64_histogram("histogram").build();
    meter.u64_counter("counter").build().add(1, &[]);
    for value in [-3.0, 0.0, 0.001, 1.0, 2.0, 1e6] {
        histogram.record(value, &[]);
    }
    provider.force_flush().unwrap();
    let arrived = arrived(&collector);
    let histogram = arrived.iter().find(|metric| metric.name == "histogram").unwrap();
    let Some(Data::ExponentialHistogram(histogram)) = &histogram.data else { panic!() };
    let point = &histogram.data_points[0];
    let total =
        |buckets: &Option<Buckets>| -> u64 { buckets.as_ref().unwrap().bucket_counts.iter().sum() };
    assert_eq!((point.count, point.zero_count), (6, 1));
    assert_eq!((total(&point.positive), total(&point.negative)), (4, 1));
    assert_eq!((point.min, point.max), (Some(-3.0), Some(1e6)));
    let counter = arrived.iter().find(|metric| metric.name == "counter").unwrap();
    assert_eq!(kind(counter), "monotonic sum");
}

#[test]
fn a_collection_without_data_points_is_not_sent() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let provider = provider(&exporter);
    let _unused = provider.meter("test").u64_counter("requests").build();
    provider.force_flush().unwrap();
    provider.shutdown().unwrap();
    assert_eq!(collector.requests(), 0);
    assert_balanced(&exporter.stats(), 0);
}

#[test]
fn shutting_a_provider_down_delivers_its_last_collection_and_closes_it_alone() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let (first, second) = (provider(&exporter), provider(&exporter));
    first.meter("test").u64_counter("first").build().add(1, &[]);
    second.meter("test").u64_counter("second").build().add(1, &[]);
    first.shutdown().unwrap();
    assert_eq!(sums(&collector, "first").len(), 1);
    second.force_flush().unwrap();
    assert_eq!(sums(&collector, "second").len(), 1);
    exporter.shutdown(LONG).unwrap();
    assert_balanced(&exporter.stats(), 2);
}

#[test]
fn what_is_exported_after_the_end_is_an_error_and_counted() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let provider = provider(&exporter);
    let counter = provider.meter("test").u64_counter("requests").build();
    counter.add(1, &[]);
    provider.force_flush().unwrap();
    exporter.shutdown(LONG).unwrap();
    counter.add(1, &[]);
    assert!(provider.force_flush().is_err());
    assert_eq!(sums(&collector, "requests").len(), 1);
    let stats = exporter.stats();
    assert_balanced(&stats, 2);
    assert_eq!(stats.metrics.dropped.total(), 1, "{stats:?}");
}

#[test]
fn a_closed_exporter_turns_collections_away_and_is_closed_once() {
    let collector = Collector::start();
    let exporter = exporter(&collector);
    let provider = provider(&exporter);
    provider.meter("test").u64_counter("requests").build().add(1, &[]);
    provider.shutdown().unwrap();
    let other = MetricExporter::new(&exporter);
    other.shutdown().unwrap();
    assert!(matches!(other.shutdown(), Err(OTelSdkError::AlreadyShutdown)));
    assert_balanced(&exporter.stats(), 1);
}

#[test]
fn a_refusal_is_an_error_to_the_reader_and_its_points_are_counted() {
    let collector = Collector::scripted(|request| match request {
        0 => Reply::Refuse(400, "", Vec::new()),
        _ => Reply::Accept,
    });
    let exporter = exporter(&collector);
    let provider = provider(&exporter);
    let counter = provider.meter("test").u64_counter("requests").build();
    for user in 0..10 {
        counter.add(1, &[KeyValue::new("user", user)]);
    }
    assert!(provider.force_flush().is_err());
    assert!(provider.force_flush().is_ok());
    assert_eq!(collector.points(), 10);
    let stats = exporter.stats();
    assert_balanced(&stats, 20);
    assert_eq!((stats.metrics.delivered, stats.metrics.dropped.total()), (10, 10), "{stats:?}");
}

#[test]
fn a_collection_that_is_sent_again_is_not_touched_by_the_next() {
    let collector = Collector::scripted(|request| match request {
        0 => Reply::Refuse(503, "", Vec::new()),
        _ => Reply::Accept,
    });
    let exporter = exporter(&collector);
    let provider = provider(&exporter);
    let counter: Counter<u64> = provider.meter("test").u64_counter("requests").build();
    for round in 1..4 {
        counter.add(1, &[]);
        provider.force_flush().unwrap();
        let sums = sums(&collector, "requests");
        assert_eq!(value(&sums.last().unwrap().1[0]), round);
    }
    assert_eq!(collector.requests(), 4);
    assert_balanced(&exporter.stats(), 3);
}

#[test]
fn a_collector_that_is_away_is_an_error_within_the_timeout_and_counted() {
    let exporter = builder(&format!("http://{}", dead_address()))
        .0
        .timeout(Duration::from_millis(200))
        .build()
        .unwrap();
    let provider = provider(&exporter);
    provider.meter("test").u64_counter("requests").build().add(1, &[]);
    assert!(provider.force_flush().is_err());
    let stats = exporter.stats();
    assert_balanced(&stats, 1);
    assert_eq!((stats.metrics.dropped.total(), stats.in_flight), (1, 0), "{stats:?}");
}

#[test]
fn a_metric_of_more_points_than_a_request_may_hold_arrives_in_several() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.request_bytes_max(600_000).build().unwrap();
    let provider = provider(&exporter);
    let counter = provider.meter("test").u64_counter("requests").build();
    for user in 0..1_500 {
        let padding = KeyValue::new("padding", "p".repeat(1_000));
        counter.add(1, &[KeyValue::new("user", user), padding]);
    }
    provider.force_flush().unwrap();
    assert!(collector.requests() > 2);
    assert_eq!(collector.points(), 1_500);
    assert!(arrived(&collector).iter().all(|metric| metric.name == "requests"));
    assert_balanced(&exporter.stats(), 1_500);
}

#[test]
fn everything_works_inside_a_tokio_with_one_thread() {
    let collector = Collector::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exporter = exporter(&collector);
    runtime.block_on(async {
        let provider = provider(&exporter);
        let counter = provider.meter("test").u64_counter("requests").build();
        counter.add(1, &[]);
        provider.force_flush().unwrap();
        counter.add(1, &[]);
        provider.shutdown().unwrap();
    });
    let sums = sums(&collector, "requests");
    assert_eq!(sums.iter().map(|(_, points)| value(&points[0])).collect::<Vec<_>>(), [1, 2]);
    assert_balanced(&exporter.stats(), 2);
}
