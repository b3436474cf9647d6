//! The image of metrics beside a fresh encoding and beside the oracle, over sequences of
//! collections. Only a meter provider can make `ResourceMetrics`, so there is a real one.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry::metrics::{
    AsyncInstrument, Counter, Gauge, Histogram, Meter, MeterProvider, UpDownCounter,
};
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue as ProtoKeyValue;
use opentelemetry_proto::tonic::metrics::v1::{self as proto, metric};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality,
};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::data::RECORD_BYTES;
use super::image::MetricImage;

/// Hands each collection to a closure.
struct Tap<F>(Arc<Mutex<F>>, Temporality);

impl<F: FnMut(&ResourceMetrics) + Send + 'static> PushMetricExporter for Tap<F> {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        (self.0.lock().unwrap())(metrics);
        std::future::ready(Ok(()))
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.1
    }
}

/// A provider whose collections go to `tap` when it is flushed, and only then.
fn provider(
    temporality: Temporality,
    tap: impl FnMut(&ResourceMetrics) + Send + 'static,
) -> SdkMeterProvider {
    let tap = Tap(Arc::new(Mutex::new(tap)), temporality);
    let reader = PeriodicReader::builder(tap).with_interval(NEVER).build();
    SdkMeterProvider::builder().with_reader(reader).with_view(exponential_by_name).build()
}

fn exponential_by_name(instrument: &Instrument) -> Option<Stream> {
    let aggregation = Aggregation::Base2ExponentialHistogram {
        max_size: 160,
        max_scale: 20,
        record_min_max: true,
    };
    let stream = Stream::builder().with_aggregation(aggregation);
    instrument.name().starts_with("exponential").then(|| stream.build().unwrap())
}

/// What the oracle makes of a collection: the records of all scopes behind one another.
fn expected(metrics: &ResourceMetrics) -> Vec<u8> {
    let request = ExportMetricsServiceRequest::from(metrics);
    let scopes = request.resource_metrics.into_iter().flat_map(|it| it.scope_metrics);
    scopes
        .flat_map(|scope| {
            let mut metrics = scope.metrics;
            metrics.iter_mut().for_each(drop_repeated_keys);
            proto::ScopeMetrics { metrics, ..Default::default() }.encode_to_vec()
        })
        .collect()
}

/// The deviation of docs/decisions/008: of attributes with the same key, the first counts.
fn drop_repeated_keys(metric: &mut proto::Metric) {
    match metric.data.as_mut().unwrap() {
        metric::Data::Gauge(it) => {
            it.data_points.iter_mut().for_each(|it| retain_first(&mut it.attributes))
        }
        metric::Data::Sum(it) => {
            it.data_points.iter_mut().for_each(|it| retain_first(&mut it.attributes))
        }
        metric::Data::Histogram(it) => {
            it.data_points.iter_mut().for_each(|it| retain_first(&mut it.attributes))
        }
        metric::Data::ExponentialHistogram(it) => {
            it.data_points.iter_mut().for_each(|it| retain_first(&mut it.attributes))
        }
        metric::Data::Summary(_) => unreachable!("the SDK makes none"),
    }
}

fn retain_first(attributes: &mut Vec<ProtoKeyValue>) {
    let mut seen = Vec::new();
    attributes.retain(|attribute| {
        let is_first = !seen.contains(&attribute.key);
        seen.push(attribute.key.clone());
        is_first
    });
}

fn fresh(metrics: &ResourceMetrics) -> Bytes {
    let mut image = MetricImage::new();
    image.encode(metrics);
    image.bytes().clone()
}

/// One step of a program that is measured.
#[derive(Clone, Debug)]
enum Step {
    /// Measures with an instrument and a set of attributes; creates the instrument if need be.
    Measure { instrument: usize, set: usize, value: u32 },
    /// The next collection no longer observes this set.
    Forget { set: usize },
    /// Collects. Whoever sends may hold on to the bytes for some time.
    Collect { is_held: bool },
}

/// What a measured program consists of.
struct Program {
    meters: Vec<Meter>,
    instruments: Vec<Option<Made>>,
    /// What the observable instruments report.
    observed: Arc<Mutex<Vec<(usize, u32)>>>,
}

enum Made {
    CounterU64(Counter<u64>),
    CounterF64(Counter<f64>),
    UpDown(UpDownCounter<i64>),
    GaugeI64(Gauge<i64>),
    GaugeF64(Gauge<f64>),
    HistogramU64(Histogram<u64>),
    HistogramF64(Histogram<f64>),
    Observed,
}

/// Kinds of instruments, twice: each in two scopes.
const INSTRUMENTS: usize = 22;

impl Program {
    fn new(provider: &SdkMeterProvider) -> Self {
        let second = InstrumentationScope::builder("second").with_version("2").build();
        Self {
            meters: vec![provider.meter("first"), provider.meter_with_scope(second)],
            instruments: (0..INSTRUMENTS).map(|_| None).collect(),
            observed: Arc::default(),
        }
    }

    fn measure(&mut self, instrument: usize, set: usize, value: u32) {
        let meter = &self.meters[instrument % 2];
        let made = self.instruments[instrument]
            .get_or_insert_with(|| Made::new(meter, instrument / 2, &self.observed));
        let attributes = attributes(set);
        match made {
            Made::CounterU64(it) => it.add(value.into(), &attributes),
            Made::CounterF64(it) => it.add(f64::from(value) / 4.0, &attributes),
            Made::UpDown(it) => it.add(i64::from(value) - 300, &attributes),
            Made::GaugeI64(it) => it.record(i64::from(value) - 300, &attributes),
            Made::GaugeF64(it) => it.record(f64::from(value) / 4.0, &attributes),
            Made::HistogramU64(it) => it.record(value.into(), &attributes),
            Made::HistogramF64(it) => it.record(f64::from(value) / 4.0 - 70.0, &attributes),
            Made::Observed => observe(&self.observed, set, value),
        }
    }
}

fn observe(observed: &Mutex<Vec<(usize, u32)>>, set: usize, value: u32) {
    let mut observed = observed.lock().unwrap();
    observed.retain(|(other, _)| *other != set);
    observed.push((set, value));
}

impl Made {
    /// Some have the same name, so that a metric changes its type from one collection to another.
    fn new(meter: &Meter, kind: usize, observed: &Arc<Mutex<Vec<(usize, u32)>>>) -> Self {
        let read = Arc::clone(observed);
        match kind {
            0 => Self::CounterU64(meter.u64_counter("requests").with_unit("{request}").build()),
            1 => Self::CounterF64(meter.f64_counter("requests").with_unit("{request}").build()),
            2 => Self::UpDown(
                meter.i64_up_down_counter("open").with_description("Connections now.").build(),
            ),
            3 => Self::GaugeI64(meter.i64_gauge("level").build()),
            4 => Self::GaugeF64(meter.f64_gauge("level").with_unit("m").build()),
            5 => Self::HistogramU64(meter.u64_histogram("sizes").with_unit("By").build()),
            6 => Self::HistogramF64(
                meter.f64_histogram("sizes").with_boundaries(vec![-50.0, 0.5]).build(),
            ),
            7 => Self::HistogramF64(meter.f64_histogram("exponential.latency").build()),
            8 => Self::HistogramU64(meter.u64_histogram("exponential.sizes").build()),
            9 => {
                let report = move |observer: &dyn AsyncInstrument<f64>| {
                    for (set, value) in &*read.lock().unwrap() {
                        observer.observe(f64::from(*value), &attributes(*set));
                    }
                };
                meter.f64_observable_counter("observed").with_callback(report).build();
                Self::Observed
            }
            _ => {
                let report = move |observer: &dyn AsyncInstrument<i64>| {
                    for (set, value) in &*read.lock().unwrap() {
                        observer.observe(i64::from(*value), &attributes(*set));
                    }
                };
                meter.i64_observable_gauge("observed").with_callback(report).build();
                Self::Observed
            }
        }
    }
}

/// Sets of attributes: of all types, with lengths at which an encoding changes, one given in two
/// orders, and one with a key twice.
fn attributes(set: usize) -> Vec<KeyValue> {
    let text = |len: usize| KeyValue::new("text", "t".repeat(len));
    match set {
        0 => vec![],
        1 => vec![KeyValue::new("method", "GET"), KeyValue::new("status", 200)],
        2 => vec![KeyValue::new("status", 200), KeyValue::new("method", "GET")],
        3 => vec![KeyValue::new("method", "GET"), KeyValue::new("status", 404)],
        4 => vec![KeyValue::new("method", "PUT"), KeyValue::new("status", 200)],
        5 => vec![KeyValue::new("twice", 1), KeyValue::new("twice", 2)],
        6 => vec![KeyValue::new("twice", 2)],
        7 => vec![KeyValue::new("ok", true), KeyValue::new("ratio", 0.5), KeyValue::new("n", -1)],
        8 => vec![KeyValue::new("", ""), KeyValue::new("empty", "")],
        9 => vec![KeyValue::new("list", Value::Array(Array::I64(vec![1, 0, -1])))],
        10 => vec![KeyValue::new("list", Value::Array(Array::I64((0..200).collect())))],
        11..24 => vec![text(set * 10), KeyValue::new("n", set as i64)],
        24..26 => vec![text(16_300 + set)],
        26 => vec![KeyValue::new("ratio", -0.0), KeyValue::new("n", 0x3fff)],
        27 => vec![KeyValue::new("ratio", 0.0), KeyValue::new("n", 0x4000)],
        28 => vec![KeyValue::new("ratio", f64::NAN), KeyValue::new("n", 127)],
        29 => vec![KeyValue::new("n", i64::MIN), text(17_000)],
        30 => vec![KeyValue::new("k".repeat(64), 128), KeyValue::new("k".repeat(130), "v")],
        _ => vec![KeyValue::new("user", format!("user {set}")), KeyValue::new("shard", "a")],
    }
}

const SETS: usize = 40;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..INSTRUMENTS, 0..SETS, 0_u32..600)
            .prop_map(|(instrument, set, value)| Step::Measure { instrument, set, value }),
        1 => (0..SETS).prop_map(|set| Step::Forget { set }),
        4 => any::<bool>().prop_map(|is_held| Step::Collect { is_held }),
    ];
    vec(step, 1..80)
}

fn temporality() -> impl Strategy<Value = Temporality> {
    prop::sample::select(vec![Temporality::Cumulative, Temporality::Delta, Temporality::LowMemory])
}

/// What came out of the collections of a program.
struct Outcome {
    image: MetricImage,
    is_held: bool,
    /// Bytes that are still on their way, and what they were when they were handed out.
    held: Vec<(Bytes, Vec<u8>)>,
    collections: usize,
    failures: Vec<String>,
}

impl Outcome {
    fn new() -> Self {
        let (held, failures) = (Vec::new(), Vec::new());
        Self { image: MetricImage::new(), is_held: false, held, collections: 0, failures }
    }

    fn collect(&mut self, metrics: &ResourceMetrics) {
        self.collections += 1;
        self.image.encode(metrics);
        let (image, fresh) = (self.image.bytes().clone(), fresh(metrics));
        if image != fresh {
            self.failures.push(format!("image {image:?}\nfresh {fresh:?}\n{metrics:#?}"));
        }
        if fresh != expected(metrics) {
            self.failures.push(format!("not the oracle's: {metrics:#?}"));
        }
        let runs: Vec<Bytes> =
            self.image.groups().into_iter().flat_map(|group| group.runs).collect();
        if image != runs.concat() {
            self.failures.push("the groups are not the image".to_owned());
        }
        if self.is_held {
            self.held.push((image.clone(), image.to_vec()));
        } else {
            self.held.clear();
        }
        if self.held.iter().any(|(bytes, then)| bytes != then) {
            self.failures.push("what was handed out has changed".to_owned());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn an_image_is_what_a_fresh_encoding_is_and_what_the_oracle_makes(
        temporality in temporality(),
        steps in steps(),
    ) {
        let outcome = Arc::new(Mutex::new(Outcome::new()));
        let tapped = Arc::clone(&outcome);
        let provider = provider(temporality, move |metrics| lock(&tapped).collect(metrics));
        let mut program = Program::new(&provider);
        for step in steps {
            match step {
                Step::Measure { instrument, set, value } => program.measure(instrument, set, value),
                Step::Forget { set } => lock(&program.observed).retain(|(other, _)| *other != set),
                Step::Collect { is_held } => {
                    lock(&outcome).is_held = is_held;
                    provider.force_flush().unwrap();
                }
            }
        }
        provider.shutdown().unwrap();
        let outcome = lock(&outcome);
        prop_assert!(outcome.failures.is_empty(), "{}", outcome.failures[0]);
    }
}

/// What each collection left in an image, and where.
fn images(
    temporality: Temporality,
    run: impl FnOnce(&Meter, &dyn Fn()),
) -> Vec<(usize, Bytes, u64)> {
    let seen = Arc::new(Mutex::new((MetricImage::new(), Vec::new())));
    let tapped = Arc::clone(&seen);
    let provider = provider(temporality, move |metrics| {
        let (image, seen) = &mut *lock(&tapped);
        image.encode(metrics);
        let copy = Bytes::copy_from_slice(image.bytes());
        seen.push((image.bytes().as_ptr().addr(), copy, image.points()));
    });
    run(&provider.meter("test"), &|| provider.force_flush().unwrap());
    provider.shutdown().unwrap();
    std::mem::take(&mut lock(&seen).1)
}

fn decoded(records: &Bytes) -> Vec<proto::Metric> {
    proto::ScopeMetrics::decode(records.clone()).unwrap().metrics
}

#[test]
fn numbers_that_change_are_patched_where_they_are() {
    let images = images(Temporality::Cumulative, |meter, collect| {
        let requests = meter.u64_counter("requests").build();
        let sizes = meter.f64_histogram("sizes").build();
        for round in 0..3 {
            for user in 0..50 {
                requests.add(round, &[KeyValue::new("user", user)]);
                sizes.record(1.0, &[KeyValue::new("user", user)]);
            }
            collect();
        }
    });
    let (first, second, third) = (&images[0], &images[1], &images[2]);
    assert_eq!((first.2, second.2, third.2), (100, 100, 100));
    assert_ne!(first.1, second.1);
    // In place: at the same address, and no part of it was written anew.
    assert_eq!(first.0, second.0);
    assert_eq!(second.0, third.0);
}

#[test]
fn a_metric_that_vanishes_and_returns_costs_the_others_nothing_but_a_copy() {
    let images = images(Temporality::Delta, |meter, collect| {
        let one = meter.u64_counter("one").build();
        let two = meter.u64_counter("two").build();
        let three = meter.u64_counter("three").build();
        for round in 0..4 {
            one.add(1, &[]);
            if round % 2 == 0 {
                two.add(2, &[]);
            }
            three.add(3, &[]);
            collect();
        }
    });
    let names = |at: usize| {
        let metrics = decoded(&images[at].1);
        metrics.into_iter().map(|metric| metric.name).collect::<Vec<_>>()
    };
    assert_eq!(names(0), ["one", "two", "three"]);
    assert_eq!(names(1), ["one", "three"]);
    assert_eq!(names(2), ["one", "two", "three"]);
}

#[test]
fn what_is_above_the_signed_range_is_the_largest_number_and_not_zero() {
    let images = images(Temporality::Cumulative, |meter, collect| {
        let gauge = meter.u64_gauge("gauge").build();
        for value in [i64::MAX as u64, i64::MAX as u64 + 1, u64::MAX] {
            gauge.record(value, &[]);
            collect();
        }
    });
    for (_, records, _) in images {
        let Some(metric::Data::Gauge(gauge)) = decoded(&records).remove(0).data else { panic!() };
        let value = gauge.data_points[0].value;
        assert_eq!(value, Some(proto::number_data_point::Value::AsInt(i64::MAX)));
    }
}

#[test]
fn of_a_key_given_twice_the_first_value_tells_the_series() {
    let images = images(Temporality::Cumulative, |meter, collect| {
        let counter = meter.u64_counter("counter").build();
        counter.add(1, &attributes(5));
        counter.add(2, &attributes(6));
        collect();
        collect();
    });
    assert!(images.len() >= 2);
    for (_, records, _) in images {
        let Some(metric::Data::Sum(sum)) = decoded(&records).remove(0).data else { panic!() };
        let series = |point: &proto::NumberDataPoint| {
            assert_eq!(point.attributes.len(), 1);
            format!("{:?}", point.attributes[0].value)
        };
        let [first, second] = &sum.data_points[..] else { panic!("{sum:?}") };
        assert_ne!(series(first), series(second), "two series became one");
    }
}

#[test]
fn a_metric_of_many_points_is_cut_into_records_that_fit_into_requests() {
    const POINTS: usize = 1_900;
    let images = images(Temporality::Cumulative, |meter, collect| {
        let counter = meter.u64_counter("counter").with_unit("{thing}").build();
        for _ in 0..2 {
            for point in 0..POINTS {
                let padding = KeyValue::new("padding", "p".repeat(400));
                counter.add(1, &[KeyValue::new("point", point as i64), padding]);
            }
            collect();
        }
    });
    let (first, second) = (&images[0], &images[1]);
    assert_eq!(first.0, second.0, "patched in place across the cuts");
    for (_, records, points) in &images {
        assert_eq!(*points, POINTS as u64);
        let metrics = decoded(records);
        assert_eq!(metrics.len(), 1 + records.len() / (RECORD_BYTES + 1_000));
        assert!(metrics.len() > 2);
        let mut whole = 0;
        for metric in &metrics {
            assert_eq!((&*metric.name, &*metric.unit), ("counter", "{thing}"));
            assert!(metric.encoded_len() < RECORD_BYTES + 1_000);
            let Some(metric::Data::Sum(sum)) = &metric.data else { panic!() };
            assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
            whole += sum.data_points.len();
        }
        assert_eq!(whole, POINTS);
    }
}

#[test]
fn the_memory_of_one_large_collection_is_given_back() {
    let seen = Arc::new(Mutex::new((MetricImage::new(), Vec::new())));
    let tapped = Arc::clone(&seen);
    let provider = provider(Temporality::Delta, move |metrics| {
        let (image, seen) = &mut *lock(&tapped);
        image.encode(metrics);
        seen.push((image.bytes().len(), image.spare_bytes()));
    });
    let counter = provider.meter("test").u64_counter("counter").build();
    for points in [1_500, 1_400, 1, 2, 1] {
        for point in 0..points {
            counter.add(1, &[KeyValue::new("point", point), KeyValue::new("p", "p".repeat(500))]);
        }
        provider.force_flush().unwrap();
    }
    let seen = lock(&seen).1.clone();
    assert!(seen[1].0 > 700_000 && seen[1].1 > 700_000, "{seen:?}");
    assert!(seen[2..].iter().all(|(_, spare)| *spare < 100_000), "{seen:?}");
    provider.shutdown().unwrap();
}

/// opentelemetry-dotnet #7636 and #7643: scopes were told apart by their names alone.
#[test]
fn scopes_that_differ_in_anything_are_different_scopes() {
    let seen = Arc::new(Mutex::new((MetricImage::new(), Vec::new())));
    let tapped = Arc::clone(&seen);
    let provider = provider(Temporality::Cumulative, move |metrics| {
        let (image, seen) = &mut *lock(&tapped);
        image.encode(metrics);
        seen.push(image.groups());
    });
    let scope = || InstrumentationScope::builder("same");
    let scopes = [
        scope().build(),
        scope().with_version("1").build(),
        scope().with_schema_url("https://example.com").build(),
        scope().with_attributes([KeyValue::new("k", "v")]).build(),
    ];
    for round in 0..2 {
        for scope in &scopes {
            provider.meter_with_scope(scope.clone()).u64_counter("counter").build().add(round, &[]);
        }
        provider.force_flush().unwrap();
    }
    for groups in &lock(&seen).1 {
        assert_eq!(groups.len(), scopes.len());
        let frames: HashSet<_> = groups.iter().map(|group| &group.scope).collect();
        assert_eq!(frames.len(), scopes.len(), "each has a frame of its own");
        assert!(groups.iter().all(|group| group.runs.len() == 1 && !group.runs[0].is_empty()));
    }
    provider.shutdown().unwrap();
}

/// Long enough for a test to end before.
const NEVER: Duration = Duration::from_secs(100_000);
