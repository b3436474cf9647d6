//! Collections of a meter: an image that is patched beside the oracle's bytes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::ScopeMetrics;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, PeriodicReader, SdkMeterProvider, Stream, Temporality,
};
use prost::Message;
use spanwire::internals::MetricImage;

use super::Decisions;

/// Measures and collects a few times.
pub fn check(decisions: &mut Decisions<'_>) {
    let found = Arc::new(Mutex::new(None));
    let temporality =
        if decisions.is_true() { Temporality::Delta } else { Temporality::Cumulative };
    let image = Mutex::new(MetricImage::new());
    let comparer = Comparer { temporality, image, found: Arc::clone(&found) };
    let reader = PeriodicReader::builder(comparer).with_interval(Duration::from_secs(3600)).build();
    let exponential = |instrument: &Instrument| {
        let aggregation = Aggregation::Base2ExponentialHistogram {
            max_size: 20,
            max_scale: 20,
            record_min_max: true,
        };
        (instrument.name() == "exponential")
            .then(|| Stream::builder().with_aggregation(aggregation).build().ok())?
    };
    let provider = SdkMeterProvider::builder().with_reader(reader).with_view(exponential).build();
    let meter = provider.meter("fuzz");
    for _ in 0..=decisions.below(3) {
        measure(&meter, decisions);
        provider.force_flush().expect("the comparer takes everything");
    }
    provider.shutdown().expect("the comparer takes everything");
    if let Some(difference) = found.lock().expect("nobody panics with it").take() {
        panic!("{difference}");
    }
}

fn measure(meter: &Meter, decisions: &mut Decisions<'_>) {
    for _ in 0..decisions.below(8) {
        let attributes = decisions.attributes(4);
        match decisions.below(6) {
            0 => meter.u64_counter("counter").build().add(decisions.number() >> 8, &attributes),
            1 => meter.f64_counter("sum").build().add(decisions.double().abs(), &attributes),
            2 => {
                let counter = meter.i64_up_down_counter("up-down").build();
                counter.add(i64::from(decisions.number() as i32), &attributes);
            }
            3 => meter.f64_gauge("gauge").build().record(decisions.double(), &attributes),
            4 => {
                let histogram = meter.f64_histogram("histogram").with_unit("s").build();
                histogram.record(decisions.number() as f64 / 1e3, &attributes);
            }
            _ => {
                let histogram = meter.f64_histogram("exponential").with_description("d").build();
                histogram.record(decisions.number() as f64 / 1e3, &attributes);
            }
        }
    }
}

/// Compares what it is to export.
struct Comparer {
    temporality: Temporality,
    image: Mutex<MetricImage>,
    found: Arc<Mutex<Option<String>>>,
}

impl PushMetricExporter for Comparer {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut image = self.image.lock().expect("nobody panics with it");
        image.encode(metrics);
        let scopes = ExportMetricsServiceRequest::from(metrics).resource_metrics.into_iter();
        let expected: Vec<u8> = scopes
            .flat_map(|group| group.scope_metrics)
            .flat_map(|scope| {
                let metrics = scope.metrics;
                ScopeMetrics { metrics, ..ScopeMetrics::default() }.encode_to_vec()
            })
            .collect();
        // Larger metrics are split into several, which has tests of its own.
        if expected.len() < SPLIT_BYTES_MIN && image.bytes() != &expected[..] {
            let difference =
                format!("{metrics:?}\n  ours {:x?}\ntheirs {expected:x?}", image.bytes());
            *self.found.lock().expect("nobody panics with it") = Some(difference);
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _limit: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        self.temporality
    }
}

/// No metric of a collection of fewer bytes is split.
const SPLIT_BYTES_MIN: usize = 256 << 10;
