//! The specification's self-metrics, exact against the tests' own counts: what a provider of the
//! user's collects, and the same in `stats()`.
#![cfg(target_os = "linux")]

#[path = "support/grpc.rs"]
mod server;
mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::{KeyValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};
use opentelemetry_sdk::trace::SdkTracerProvider;
use prost::Message;
use spanwire::otel_0_33::{MetricExporter, SpanExporter, observe};
use spanwire::{Builder, Exporter, ExporterStats, Protocol};

use server::{GrpcReply, GrpcServer};
use support::otel::{
    LONG, assert_balanced, builder, drivers, emit_logs, end_spans, logger_provider, provider,
};
use support::{Collector, Reply, dead_address};

#[test]
fn spans_are_processed_when_handed_over_and_exported_when_their_fate_is_known() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        let (meters, seen) = observed(&exporter);
        let spans = provider(&exporter, "service");
        end_spans(&spans, 7);
        exporter.flush(LONG).unwrap();
        end_spans(&spans, 2);
        let seen = seen.collect(&meters);
        assert_eq!(seen.sum("otel.sdk.processor.span.processed", None), 7);
        assert_eq!(seen.sum("otel.sdk.processor.span.queue.size", None), 2);
        assert!(seen.sum("otel.sdk.processor.span.queue.capacity", None) > 1000);
        assert_eq!(seen.sum("otel.sdk.exporter.span.exported", None), 7);
        assert_eq!(seen.sum("otel.sdk.exporter.span.inflight", None), 0);
        assert_eq!(seen.count("otel.sdk.exporter.operation.duration", None), 1);
        assert!(seen.with_cause().is_empty(), "{seen:?}");
        exporter.shutdown(LONG).unwrap();
    }
}

#[test]
fn names_units_and_attributes_are_those_of_the_semantic_conventions() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let (meters, seen) = observed(&exporter);
    end_spans(&provider(&exporter, "service"), 1);
    emit_logs(&logger_provider(&exporter, "service"), 1);
    let own = metric_provider(&exporter);
    own.meter("app").u64_counter("requests").build().add(1, &[]);
    own.force_flush().unwrap();
    exporter.flush(LONG).unwrap();
    let seen = seen.collect(&meters);

    let records =
        [("span", "{span}"), ("log", "{log_record}"), ("metric_data_point", "{data_point}")];
    let mut expected = BTreeMap::from([("otel.sdk.exporter.operation.duration".to_owned(), "s")]);
    for (name, unit) in records {
        expected.insert(format!("otel.sdk.exporter.{name}.inflight"), unit);
        expected.insert(format!("otel.sdk.exporter.{name}.exported"), unit);
    }
    for (name, unit) in &records[..2] {
        for what in ["queue.size", "queue.capacity", "processed"] {
            expected.insert(format!("otel.sdk.processor.{name}.{what}"), unit);
        }
    }
    let units: BTreeMap<_, _> =
        seen.0.iter().map(|point| (point.metric.clone(), &*point.unit)).collect();
    assert_eq!(units, expected);

    let address = collector.address();
    for point in &seen.0 {
        let kind = point.text("otel.component.type");
        let (prefix, number) = point.text("otel.component.name").rsplit_once('/').unwrap();
        assert_eq!((prefix, number.parse::<u64>().is_ok()), (kind, true));
        if point.metric.starts_with("otel.sdk.processor.") {
            assert!(["spanwire::SpanProcessor", "spanwire::LogProcessor"].contains(&kind));
            assert_eq!(point.attributes.len(), 2, "{point:?}");
        } else {
            assert!(kind.starts_with("otlp_http_") && kind.ends_with("_exporter"), "{kind}");
            assert_eq!(point.text("server.address"), address.ip().to_string());
            assert_eq!(point.attributes["server.port"], Value::I64(address.port().into()));
        }
    }
    let signals =
        ["otlp_http_span_exporter", "otlp_http_log_exporter", "otlp_http_metric_exporter"];
    for kind in signals {
        let of_kind = |point: &&Point| {
            point.metric == "otel.sdk.exporter.operation.duration"
                && point.text("otel.component.type") == kind
        };
        let timed: Vec<_> = seen.0.iter().filter(of_kind).collect();
        assert_eq!((timed.len(), timed[0].value), (1, 1), "{kind}");
        assert_eq!(timed[0].attributes["http.response.status_code"], Value::I64(200));
        assert_eq!(timed[0].attributes.len(), 5);
    }
    exporter.shutdown(LONG).unwrap();
}

#[test]
fn an_operation_with_retries_is_observed_once_with_its_last_status() {
    let replies = |request| match request {
        0 => Reply::Refuse(503, "", Vec::new()),
        1 => Reply::Refuse(429, "", Vec::new()),
        2 => Reply::Accept,
        3 => Reply::Refuse(502, "", Vec::new()),
        _ => Reply::Refuse(400, "", Vec::new()),
    };
    let collector = Collector::scripted(replies);
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let (meters, seen) = observed(&exporter);
    let spans = provider(&exporter, "service");
    end_spans(&spans, 5);
    exporter.flush(LONG).unwrap();
    end_spans(&spans, 3);
    exporter.flush(LONG).unwrap_err();
    let seen = seen.collect(&meters);
    let exported = "otel.sdk.exporter.span.exported";
    assert_eq!([None, Some("400")].map(|cause| seen.sum(exported, cause)), [5, 3]);
    // The retries are in the duration and nowhere else.
    let timed = seen.of("otel.sdk.exporter.operation.duration");
    let status = |point: &Point| point.attributes["http.response.status_code"].clone();
    let mut statuses: Vec<_> = timed.map(|point| (status(point), point.value)).collect();
    statuses.sort_by_key(|(status, _)| status.to_string());
    assert_eq!(statuses, [(Value::I64(200), 1), (Value::I64(400), 1)]);
    assert_eq!(seen.with_cause().len(), 2, "one count and one duration: {seen:?}");
    // Both were handed over, whatever came of it.
    assert_eq!(seen.sum("otel.sdk.processor.span.processed", None), 8);
    exporter.shutdown(LONG).ok();
}

#[test]
fn what_a_partial_success_rejects_is_exported_as_rejected() {
    let partial = ExportTracePartialSuccess { rejected_spans: 2, error_message: "no".into() };
    let answer = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let collector = Collector::scripted(move |_| Reply::AcceptWith(answer.clone()));
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let (meters, seen) = observed(&exporter);
    end_spans(&provider(&exporter, "service"), 6);
    exporter.flush(LONG).unwrap_err();
    let seen = seen.collect(&meters);
    let exported = "otel.sdk.exporter.span.exported";
    assert_eq!([None, Some("rejected")].map(|cause| seen.sum(exported, cause)), [4, 2]);
    assert_eq!(seen.count("otel.sdk.exporter.operation.duration", Some("rejected")), 1);
    exporter.shutdown(LONG).ok();
}

#[test]
fn records_stay_in_flight_while_they_are_retried_and_end_with_the_shutdown() {
    let exporter = builder(&format!("http://{}", dead_address())).0.in_flight(1).build().unwrap();
    let (meters, seen) = observed(&exporter);
    let spans = provider(&exporter, "service");
    end_spans(&spans, 4);
    exporter.flush(Duration::from_millis(50)).unwrap_err();
    end_spans(&spans, 3);
    let before = seen.collect(&meters);
    assert_eq!(before.sum("otel.sdk.exporter.span.inflight", None), 4);
    assert_eq!(before.sum("otel.sdk.processor.span.queue.size", None), 3);
    assert_eq!(before.of("otel.sdk.exporter.span.exported").count(), 0);
    assert_eq!(before.of("otel.sdk.exporter.operation.duration").count(), 0);
    exporter.shutdown(Duration::ZERO).unwrap_err();
    end_spans(&spans, 2);
    let after = seen.collect(&meters);
    assert_eq!(after.sum("otel.sdk.exporter.span.inflight", None), 0);
    assert_eq!(after.sum("otel.sdk.processor.span.queue.size", None), 0);
    assert_eq!(after.sum("otel.sdk.exporter.span.exported", Some("shutdown")), 4);
    assert_eq!(after.count("otel.sdk.exporter.operation.duration", Some("shutdown")), 1);
    let processed = "otel.sdk.processor.span.processed";
    let causes = [None, Some("shutdown"), Some("already_shutdown")];
    assert_eq!(causes.map(|cause| after.sum(processed, cause)), [4, 3, 2]);
    assert_balanced(&exporter.stats(), 9);
}

#[test]
fn what_finds_the_buffer_full_is_processed_as_queue_full() {
    let exporter = builder(&format!("http://{}", dead_address())).0;
    let exporter = exporter.buffer_bytes(1 << 20).build().unwrap();
    let (meters, seen) = observed(&exporter);
    // Dropped at the end: a provider waits for a flush of its own.
    let spans = provider(&exporter, "service");
    end_spans(&spans, 30_000);
    exporter.flush(Duration::ZERO).unwrap_err();
    let (full, seen) = (exporter.stats().dropped.queue_full, seen.collect(&meters));
    assert!(full > 0);
    assert_eq!(seen.sum("otel.sdk.processor.span.processed", Some("queue_full")), full);
    exporter.shutdown(Duration::ZERO).unwrap_err();
    let processed: u64 = exporter.stats().processors[0].processed.iter().map(|it| it.records).sum();
    assert_eq!(processed, 30_000);
}

/// The SDK's own processor has counted them as processed.
#[test]
fn what_the_sdks_own_processors_export_is_exported_and_not_processed_here() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let (meters, seen) = observed(&exporter);
    let spans =
        SdkTracerProvider::builder().with_simple_exporter(SpanExporter::new(&exporter)).build();
    end_spans(&spans, 3);
    let own = metric_provider(&exporter);
    own.meter("app").u64_counter("requests").build().add(1, &[]);
    own.force_flush().unwrap();
    let then = seen.collect(&meters);
    assert_eq!(then.sum("otel.sdk.exporter.span.exported", None), 3);
    assert_eq!(then.sum("otel.sdk.exporter.metric_data_point.exported", None), 1);
    assert_eq!(then.sum("otel.sdk.processor.span.processed", None), 0);
    spans.shutdown().unwrap();
    end_spans(&spans, 2);
    exporter.shutdown(LONG).unwrap();
    own.meter("app").u64_counter("requests").build().add(1, &[]);
    own.force_flush().unwrap_err();
    let seen = seen.collect(&meters);
    let refused =
        seen.sum("otel.sdk.exporter.metric_data_point.exported", Some("already_shutdown"));
    assert_eq!(refused, 1);
}

#[test]
fn the_figures_in_stats_add_up_to_the_accounts() {
    let replies = |request| match request % 4 {
        0 => Reply::Accept,
        1 => Reply::Refuse(400, "", Vec::new()),
        2 => Reply::Refuse(503, "", Vec::new()),
        _ => Reply::HangUp,
    };
    let collector = Collector::scripted(replies);
    let exporter = builder(&collector.endpoint()).0.batch_records(20).build().unwrap();
    let (spans, logs) = (provider(&exporter, "service"), logger_provider(&exporter, "service"));
    for _ in 0..10 {
        end_spans(&spans, 50);
        emit_logs(&logs, 30);
        let _ = exporter.flush(LONG);
    }
    let _ = exporter.shutdown(LONG);
    end_spans(&spans, 5);
    let stats = exporter.stats();
    assert_balanced(&stats, 805);
    for ExporterStats { signal, exported, in_flight, durations, .. } in &stats.exporters {
        let of_signal = stats.signal(*signal);
        let of = |wanted: fn(Option<&str>) -> bool| -> u64 {
            let counts = exported.iter().filter(|it| wanted(it.error_type.as_deref()));
            counts.map(|it| it.records).sum()
        };
        assert_eq!(of(|cause| cause.is_none()), of_signal.delivered, "{signal}");
        assert_eq!(of(|cause| cause == Some("rejected")), of_signal.rejected, "{signal}");
        assert_eq!(of(|cause| cause == Some("400")), of_signal.dropped.refused, "{signal}");
        assert_eq!(*in_flight, 0);
        // As many operations as first attempts.
        assert!(durations.quantile(0.5) <= durations.quantile(0.99));
    }
    let operations: u64 = stats.exporters.iter().map(|it| it.durations.count()).sum();
    assert_eq!(operations, stats.requests - stats.retries);
    let processed: u64 =
        stats.processors.iter().flat_map(|it| &it.processed).map(|it| it.records).sum();
    assert_eq!(processed, stats.emitted);
}

/// A collection tells of the export of the one before, and nothing makes a collection.
#[test]
fn metrics_about_the_exporter_that_delivers_them_feed_no_loop() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = metric_provider(&exporter);
    observe(&exporter, &provider);
    for collection in 1..=5 {
        provider.force_flush().unwrap();
        assert_eq!(collector.requests(), collection);
    }
    exporter.shutdown(LONG).unwrap();
}

#[test]
fn an_observed_exporter_is_not_kept_alive() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let (meters, seen) = observed(&exporter);
    let spans = provider(&exporter, "service");
    end_spans(&spans, 3);
    drop((spans, exporter));
    assert_eq!(collector.ids().len(), 3, "the last handle has flushed");
    assert_eq!(seen.collect(&meters).of("otel.sdk.exporter.span.exported").count(), 0);
}

#[test]
fn an_operation_over_grpc_is_observed_with_the_name_of_its_last_status() {
    let status = |code: u8| vec![("grpc-status", code.to_string())];
    let server = GrpcServer::scripted(move |number| match number {
        0 => GrpcReply::Trailers(status(14)),
        1 => GrpcReply::Accept,
        _ => GrpcReply::TrailersOnly(200, status(3)),
    });
    let builder = builder(server.endpoint()).0.protocol(Protocol::Grpc);
    let exporter = builder.build().unwrap();
    let (meters, seen) = observed(&exporter);
    let spans = provider(&exporter, "service");
    end_spans(&spans, 5);
    exporter.flush(LONG).unwrap();
    end_spans(&spans, 3);
    exporter.flush(LONG).unwrap_err();
    let seen = seen.collect(&meters);
    let exported = "otel.sdk.exporter.span.exported";
    let causes = [None, Some("INVALID_ARGUMENT"), Some("UNAVAILABLE")];
    assert_eq!(causes.map(|cause| seen.sum(exported, cause)), [5, 3, 0]);
    let timed = seen.of("otel.sdk.exporter.operation.duration");
    let mut statuses: Vec<_> = timed.map(|it| (it.text("rpc.status_code"), it.value)).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [("INVALID_ARGUMENT", 1), ("OK", 1)]);
    let mut exporters = seen.0.iter().filter(|it| it.metric.starts_with("otel.sdk.exporter.span"));
    assert!(exporters.all(|it| it.text("otel.component.type") == "otlp_grpc_span_exporter"));
    assert!(seen.0.iter().all(|it| !it.attributes.contains_key("http.response.status_code")));
    exporter.shutdown(LONG).unwrap();
}

#[test]
fn each_kind_of_exporter_has_its_type_and_each_exporter_its_number() {
    let types = |builder: Builder| {
        let exporter = builder.build().unwrap();
        let names = |it: &ExporterStats| (it.component_type, it.component_name.to_string());
        exporter.stats().exporters.iter().map(names).collect::<Vec<_>>()
    };
    let http = || builder("http://localhost:4318").0;
    let first = types(http());
    let second = types(http());
    assert!(first.iter().zip(&second).all(|(one, other)| one.0 == other.0 && one.1 != other.1));
    let kinds = |builder| types(builder).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    let expected =
        ["otlp_http_span_exporter", "otlp_http_log_exporter", "otlp_http_metric_exporter"];
    assert_eq!(kinds(http()), expected);
    let json = expected.map(|kind| kind.replace("http", "http_json"));
    assert_eq!(kinds(http().protocol(Protocol::HttpJson)), json);
    let grpc = expected.map(|kind| kind.replace("http", "grpc"));
    assert_eq!(kinds(http().protocol(Protocol::Grpc)), grpc);
    let file = ["Span", "Log", "Metric"].map(|what| format!("spanwire::File{what}Exporter"));
    assert_eq!(kinds(Exporter::builder().env_from(|_| None).stdout()), file);
}

/// A provider that observes `exporter`, and what it collects.
fn observed(exporter: &Exporter) -> (SdkMeterProvider, Seen) {
    let seen = Seen::default();
    let provider = SdkMeterProvider::builder().with_periodic_exporter(seen.clone()).build();
    observe(exporter, &provider);
    (provider, seen)
}

/// A provider whose metrics go into `exporter`.
fn metric_provider(exporter: &Exporter) -> SdkMeterProvider {
    SdkMeterProvider::builder().with_periodic_exporter(MetricExporter::new(exporter)).build()
}

/// A data point; of a histogram, the value is its count.
#[derive(Clone, Debug)]
struct Point {
    metric: String,
    unit: String,
    attributes: BTreeMap<String, Value>,
    value: u64,
}

/// The points of one collection.
#[derive(Clone, Debug)]
struct Points(Vec<Point>);

/// The last collection.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<Point>>>);

impl Point {
    fn text(&self, key: &str) -> &str {
        match &self.attributes[key] {
            Value::String(text) => text.as_str(),
            other => panic!("{key} is {other:?}"),
        }
    }

    fn cause(&self) -> Option<&str> {
        self.attributes.contains_key("error.type").then(|| self.text("error.type"))
    }
}

impl Points {
    fn of<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = &'a Point> {
        self.0.iter().filter(move |point| point.metric == metric)
    }

    fn sum(&self, metric: &str, cause: Option<&str>) -> u64 {
        self.of(metric).filter(|point| point.cause() == cause).map(|point| point.value).sum()
    }

    /// How many operations a histogram has seen.
    fn count(&self, histogram: &str, cause: Option<&str>) -> u64 {
        self.sum(histogram, cause)
    }

    fn with_cause(&self) -> Vec<&str> {
        self.0.iter().filter_map(Point::cause).collect()
    }
}

impl Seen {
    fn collect(&self, provider: &SdkMeterProvider) -> Points {
        self.0.lock().unwrap().clear();
        provider.force_flush().unwrap();
        Points(self.0.lock().unwrap().clone())
    }
}

impl PushMetricExporter for Seen {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let mut points = self.0.lock().unwrap();
        for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
            let mut add = |attributes: BTreeMap<String, Value>, value: u64| {
                let (name, unit) = (metric.name().to_owned(), metric.unit().to_owned());
                points.push(Point { metric: name, unit, attributes, value });
            };
            match metric.data() {
                AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                    assert!(sum.is_monotonic());
                    sum.data_points().for_each(|it| add(map(it.attributes()), it.value()));
                }
                AggregatedMetrics::I64(MetricData::Sum(sum)) => {
                    assert!(!sum.is_monotonic());
                    let points = sum.data_points();
                    points.for_each(|it| add(map(it.attributes()), it.value().try_into().unwrap()));
                }
                AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                    histogram.data_points().for_each(|it| add(map(it.attributes()), it.count()));
                }
                other => panic!("{}: {other:?}", metric.name()),
            }
        }
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

fn map<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> BTreeMap<String, Value> {
    attributes.map(|it| (it.key.to_string(), it.value.clone())).collect()
}
