//! The subject itself. The one file of this crate that names spanwire's API.

use std::{sync::Arc, time::Duration};

use opentelemetry_sdk::{
    error::OTelSdkError,
    logs::SdkLoggerProvider,
    metrics::{PeriodicReader, SdkMeterProvider},
    trace::{SdkTracerProvider, SpanExporter as _},
};
use spanwire::{
    Exporter,
    otel_0_33::{LogProcessor, MetricExporter, SpanExporter, SpanProcessor},
};

use super::{Counts, Exports, Peer, Settings, Subject, noop::NEVER, ready};
use crate::{
    receive::{Protocol, encoding::Encoding},
    seen::{Counted, Seen},
    shape::Signal,
};

pub(super) fn open(settings: &Settings) -> Result<Subject, String> {
    let exporter = build(settings)?;
    let mut telemetry = Telemetry::new(exporter, &[settings.signal]);
    let shape = settings.shape;
    match settings.signal {
        Signal::Traces => Ok(Subject::spans(telemetry.open_traces(settings), shape, telemetry)),
        Signal::Logs => {
            let logs = SdkLoggerProvider::builder().with_resource(settings.resource.clone());
            let logs = logs.with_log_processor(LogProcessor::new(&telemetry.exporter)).build();
            telemetry.logs = Some(logs.clone());
            Ok(Subject::logs(logs, shape, telemetry))
        }
        Signal::Metrics => {
            let reader = PeriodicReader::builder(MetricExporter::new(&telemetry.exporter))
                .with_interval(NEVER)
                .build();
            let metrics = SdkMeterProvider::builder().with_resource(settings.resource.clone());
            let metrics = metrics.with_reader(reader).build();
            Ok(Subject::points(metrics, shape, telemetry))
        }
    }
}

/// The exporter for the SDK's own processors, called with ready batches.
pub(super) fn open_alone(settings: &Settings) -> Result<Subject, String> {
    let exporter = build(settings)?;
    let mut spans = SpanExporter::new(&exporter);
    spans.set_resource(&settings.resource);
    let (spans, shape) = (Arc::new(spans), settings.shape);
    let producer = move || {
        let spans = Arc::clone(&spans);
        // What fails shows in the counts.
        let export = move |batch| drop(ready::block_on(spans.export(batch)));
        ready::Batches::new(export, shape)
    };
    Ok(Subject::new(producer, Telemetry::new(exporter, &[Signal::Traces])))
}

fn build(settings: &Settings) -> Result<Exporter, String> {
    let mut builder = Exporter::builder().workers(settings.workers);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.endpoint(endpoint);
    }
    let wire = &settings.wire;
    if let Some(protocol) = wire.protocol {
        builder = builder.protocol(protocol.into());
    }
    if wire.encoding != Encoding::None {
        builder = builder.compression(wire.encoding.into());
    }
    if let Some(level) = wire.level {
        builder = builder.compression_level(level);
    }
    if let Some(ca) = &wire.ca {
        builder = builder.tls(spanwire::TlsConfig::new().ca_file(ca));
    }
    if let Some(timeout) = wire.timeout {
        builder = builder.timeout(timeout);
    }
    if wire.in_flight > 0 {
        builder = builder.in_flight(wire.in_flight);
    }
    if let Some(bytes) = settings.buffer_bytes {
        builder = builder.buffer_bytes(bytes);
    }
    builder.build().map_err(|error| error.to_string())
}

/// spanwire behind the SDK's providers of some signals.
pub struct Telemetry {
    exporter: Exporter,
    signals: Vec<Signal>,
    traces: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    metrics: Option<SdkMeterProvider>,
    /// The program's own counts of log records and of data points.
    seen: [Seen; 2],
}

impl Telemetry {
    /// Builds the exporter and a provider for each signal; metrics are collected every `interval`.
    /// Of signals that are not in `signals`, nothing is exported.
    ///
    /// # Errors
    ///
    /// When the exporter cannot be built; the text tells.
    pub fn open(
        settings: &Settings,
        signals: &[Signal],
        interval: Duration,
    ) -> Result<Self, String> {
        let mut telemetry = Self::new(build(settings)?, signals);
        if signals.contains(&Signal::Traces) {
            telemetry.open_traces(settings);
        }
        if signals.contains(&Signal::Logs) {
            telemetry.open_logs(settings);
        }
        if signals.contains(&Signal::Metrics) {
            telemetry.open_metrics(settings, interval);
        }
        Ok(telemetry)
    }

    fn new(exporter: Exporter, signals: &[Signal]) -> Self {
        Self {
            exporter,
            signals: signals.to_vec(),
            traces: None,
            logs: None,
            metrics: None,
            seen: Default::default(),
        }
    }

    fn open_traces(&mut self, settings: &Settings) -> SdkTracerProvider {
        let traces = super::provider(SpanProcessor::new(&self.exporter), settings);
        self.traces.insert(traces).clone()
    }

    fn open_logs(&mut self, settings: &Settings) {
        let builder = SdkLoggerProvider::builder().with_resource(settings.resource.clone());
        let [seen, _] = &self.seen;
        let builder = builder
            .with_log_processor(seen.clone())
            .with_log_processor(LogProcessor::new(&self.exporter));
        self.logs = Some(builder.build());
    }

    fn open_metrics(&mut self, settings: &Settings, interval: Duration) {
        let [_, seen] = &self.seen;
        let exporter = Counted::new(MetricExporter::new(&self.exporter), seen.clone());
        let reader = PeriodicReader::builder(exporter).with_interval(interval).build();
        let builder = SdkMeterProvider::builder().with_resource(settings.resource.clone());
        self.metrics = Some(builder.with_reader(reader).build());
    }

    /// The signals that are exported.
    pub fn signals(&self) -> &[Signal] {
        &self.signals
    }

    /// The provider of tracers; of one that drops everything, if traces are not exported.
    pub fn traces(&self) -> SdkTracerProvider {
        self.traces.clone().unwrap_or_else(|| SdkTracerProvider::builder().build())
    }

    /// The provider of loggers, likewise.
    pub fn logs(&self) -> SdkLoggerProvider {
        self.logs.clone().unwrap_or_else(|| SdkLoggerProvider::builder().build())
    }

    /// The provider of meters, likewise.
    pub fn metrics(&self) -> SdkMeterProvider {
        self.metrics.clone().unwrap_or_else(|| SdkMeterProvider::builder().build())
    }

    /// Log records that the SDK handed over.
    pub fn log_records(&self) -> u64 {
        self.seen[0].count()
    }

    /// Data points that the SDK handed over.
    pub fn points(&self) -> u64 {
        self.seen[1].count()
    }

    /// Tells how many records, of all signals, have no fate yet.
    pub fn backlog(&self) -> impl Fn() -> u64 + 'static {
        let exporter = self.exporter.clone();
        move || exporter.stats().in_flight
    }

    /// The exporter's counts of one signal.
    pub fn counts_of(&self, signal: Signal) -> Counts {
        let stats = self.exporter.stats();
        let of = stats.signal(signal.into());
        Counts {
            emitted: of.emitted,
            in_flight: of.in_flight,
            delivered: of.delivered,
            rejected: of.rejected,
            dropped: of.dropped.total(),
            driver: stats.driver.to_string(),
            driver_reason: stats.driver_reason.as_deref().unwrap_or(RING_WORKS).to_owned(),
        }
    }
}

impl Peer for Telemetry {
    fn settled(&self) -> u64 {
        let stats = self.exporter.stats();
        stats.delivered + stats.rejected + stats.dropped.total()
    }

    /// Of the exported signals together.
    fn counts(&self) -> Counts {
        self.signals.iter().map(|signal| self.counts_of(*signal)).fold(
            Counts::default(),
            |sum, of| Counts {
                emitted: sum.emitted + of.emitted,
                in_flight: sum.in_flight + of.in_flight,
                delivered: sum.delivered + of.delivered,
                rejected: sum.rejected + of.rejected,
                dropped: sum.dropped + of.dropped,
                ..of
            },
        )
    }

    fn exports(&self) -> Option<Exports> {
        let stats = self.exporter.stats();
        let signal = spanwire::Signal::from(*self.signals.first()?);
        let of = stats.exporters.iter().find(|of| of.signal == signal)?;
        let quantile = |q| of.durations.quantile(q).unwrap_or_default();
        Some(Exports { p50: quantile(0.5), p99: quantile(0.99) })
    }

    fn flush(&self, timeout: Duration) -> Result<(), String> {
        self.exporter.flush(timeout).map_err(|error| error.to_string())
    }

    /// The doors first: the meters collect once more, and all flush; then the delivery.
    fn shutdown(&self, timeout: Duration) -> Result<(), String> {
        let metrics = self.metrics.as_ref().map(|p| p.shutdown_with_timeout(timeout));
        let logs = self.logs.as_ref().map(|p| p.shutdown_with_timeout(timeout));
        let traces = self.traces.as_ref().map(|p| p.shutdown_with_timeout(timeout));
        let delivery = self.exporter.shutdown(timeout).map_err(|error| error.to_string());
        let doors: Result<(), OTelSdkError> =
            [metrics, logs, traces].into_iter().flatten().collect();
        doors.map_err(|error| error.to_string()).and(delivery)
    }
}

impl From<Signal> for spanwire::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Traces => Self::Traces,
            Signal::Logs => Self::Logs,
            Signal::Metrics => Self::Metrics,
        }
    }
}

impl From<Protocol> for spanwire::Protocol {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Grpc => Self::Grpc,
            Protocol::Http => Self::HttpProtobuf,
            Protocol::HttpJson => Self::HttpJson,
        }
    }
}

impl From<Encoding> for spanwire::Compression {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::None => Self::None,
            Encoding::Gzip => Self::Gzip,
            Encoding::Zstd => Self::Zstd,
        }
    }
}

/// The exporter gives a reason only for not using io_uring.
const RING_WORKS: &str = "io_uring works here";
