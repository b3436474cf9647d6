//! The rival: opentelemetry-otlp over HTTP and over gRPC, behind the SDK's batch processors and its periodic
//! reader.
//!
//! Queues are made several times as large as a batch and as the closed loop's limit, because with
//! the default of 2048 they would drop.

use std::{fmt, fs, path::Path, time::Duration};

use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    Compression, LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig,
    WithHttpConfig, WithTonicConfig,
    tonic_types::transport::{Certificate, ClientTlsConfig},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    logs::{self, BatchLogProcessor, LogBatch, SdkLoggerProvider},
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter,
    },
    runtime::Tokio,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter as _,
        span_processor_with_async_runtime,
    },
};
use tokio::runtime::{self, EnterGuard, Runtime};

use super::{Counts, Kind, Peer, Settings, Subject, noop::NEVER, outcomes::Outcomes, ready};
use crate::{
    metric,
    receive::{self, encoding::Encoding, tls},
    shape::Signal,
};

/// Which HTTP client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// The default: blocking, with a thread of its own.
    Reqwest,
    /// hyper, driven by tokio on whatever thread exports.
    Hyper,
    /// tonic: gRPC, whose connection runs on a tokio runtime of its own, with as many threads as tokio
    /// chooses. One thread that waits for an export and is tokio's only one at the same time would
    /// wait for ever.
    Tonic,
}

pub(super) fn open(kind: Kind, client: Client, settings: &Settings) -> Result<Subject, String> {
    match settings.signal {
        Signal::Traces => open_traces(kind, client, settings),
        Signal::Logs => open_logs(client, settings),
        Signal::Metrics => open_metrics(client, settings),
    }
}

fn open_traces(kind: Kind, client: Client, settings: &Settings) -> Result<Subject, String> {
    let batch = kind.batch(ready::span_bytes(settings.shape)).unwrap_or(BATCH);
    let (processor, outcomes) = span_processor(client, settings, batch)?;
    let provider = super::provider(processor, settings);
    let peer =
        Otlp { outcomes, client, provider: Provider::Traces(provider.clone()), runtime: None };
    Ok(Subject::spans(provider, settings.shape, peer))
}

/// opentelemetry-otlp behind the SDK's batch processor.
pub(super) fn span_processor(
    client: Client,
    settings: &Settings,
    batch: usize,
) -> Result<(BatchSpanProcessor, Outcomes), String> {
    let exporter = span_exporter(client, settings)?;
    let outcomes = exporter.outcomes.clone();
    let config = batch_config(settings, batch).build();
    Ok((BatchSpanProcessor::builder(exporter).with_batch_config(config).build(), outcomes))
}

/// Behind the asynchronous batch processor, with concurrent exports on tokio's threads.
pub(super) fn open_async(
    kind: Kind,
    client: Client,
    settings: &Settings,
) -> Result<Subject, String> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().map_err(cannot)?;
    let entered = runtime.enter();
    let mut exporter = span_exporter(client, settings)?;
    // It runs on this runtime already.
    if client == Client::Hyper {
        exporter.runtime = Driven::ByTheCaller;
    }
    let outcomes = exporter.outcomes.clone();
    let batch = kind.batch(ready::span_bytes(settings.shape)).unwrap_or(BATCH);
    let in_flight = match settings.wire.in_flight {
        0 => CONCURRENT,
        in_flight => in_flight,
    };
    let config = batch_config(settings, batch).with_max_concurrent_exports(in_flight).build();
    let processor = span_processor_with_async_runtime::BatchSpanProcessor::builder(exporter, Tokio)
        .with_batch_config(config)
        .build();
    drop(entered);
    let provider = super::provider(processor, settings);
    let peer = Otlp {
        outcomes,
        client,
        provider: Provider::Traces(provider.clone()),
        runtime: Some(runtime),
    };
    Ok(Subject::spans(provider, settings.shape, peer))
}

fn open_logs(client: Client, settings: &Settings) -> Result<Subject, String> {
    let runtime = Driven::of(client)?;
    let entered = runtime.enter();
    let builder = LogExporter::builder();
    let exporter = match client {
        Client::Tonic => tonic(builder.with_tonic(), settings)?.build(),
        _ => configured(client, builder.with_http(), settings)?.build(),
    };
    drop(entered);
    let exporter = Counting::new(runtime, exporter.map_err(cannot)?);
    let outcomes = exporter.outcomes.clone();
    let config = logs::BatchConfigBuilder::default()
        .with_max_queue_size(queue(settings, BATCH))
        .with_max_export_batch_size(BATCH)
        .build();
    let processor = BatchLogProcessor::builder(exporter).with_batch_config(config).build();
    let provider = SdkLoggerProvider::builder()
        .with_resource(settings.resource.clone())
        .with_log_processor(processor)
        .build();
    let peer = Otlp { outcomes, client, provider: Provider::Logs(provider.clone()), runtime: None };
    Ok(Subject::logs(provider, settings.shape, peer))
}

fn open_metrics(client: Client, settings: &Settings) -> Result<Subject, String> {
    let runtime = Driven::of(client)?;
    let entered = runtime.enter();
    let builder = MetricExporter::builder();
    let exporter = match client {
        Client::Tonic => tonic(builder.with_tonic(), settings)?.build(),
        _ => configured(client, builder.with_http(), settings)?.build(),
    };
    drop(entered);
    let exporter = Counting::new(runtime, exporter.map_err(cannot)?);
    let outcomes = exporter.outcomes.clone();
    let reader = PeriodicReader::builder(exporter).with_interval(NEVER).build();
    let provider = SdkMeterProvider::builder()
        .with_resource(settings.resource.clone())
        .with_reader(reader)
        .build();
    let peer = Otlp { outcomes, client, provider: Provider::None, runtime: None };
    Ok(Subject::points(provider, settings.shape, peer))
}

/// Called with ready batches, one at a time.
pub(super) fn open_alone(client: Client, settings: &Settings) -> Result<Subject, String> {
    let mut exporter = span_exporter(client, settings)?;
    exporter.set_resource(&settings.resource);
    let outcomes = exporter.outcomes.clone();
    let exporter = std::sync::Arc::new(exporter);
    let shape = settings.shape;
    let peer = Otlp { outcomes, client, provider: Provider::None, runtime: None };
    let producer = move || {
        let exporter = exporter.clone();
        // What fails shows in the counts.
        let export = move |batch| drop(ready::block_on(exporter.export(batch)));
        ready::Batches::new(export, shape)
    };
    Ok(Subject::new(producer, peer))
}

/// The exporter that counts what became of its spans.
pub(super) fn span_exporter(
    client: Client,
    settings: &Settings,
) -> Result<Counting<SpanExporter>, String> {
    let runtime = Driven::of(client)?;
    let entered = runtime.enter();
    let builder = SpanExporter::builder();
    let exporter = match client {
        Client::Tonic => tonic(builder.with_tonic(), settings)?.build(),
        _ => configured(client, builder.with_http(), settings)?.build(),
    };
    drop(entered);
    Ok(Counting::new(runtime, exporter.map_err(cannot)?))
}

/// The same for all signals over HTTP.
fn configured<B: WithExportConfig + WithHttpConfig>(
    client: Client,
    builder: B,
    settings: &Settings,
) -> Result<B, String> {
    let protocol = match settings.wire.protocol {
        Some(receive::Protocol::HttpJson) => Protocol::HttpJson,
        _ => Protocol::HttpBinary,
    };
    let mut builder = builder.with_protocol(protocol).with_max_request_body_size(usize::MAX);
    if let Some(url) = settings.url() {
        builder = builder.with_endpoint(url);
    }
    if let Some(compression) = compression(settings.wire.encoding) {
        builder = builder.with_compression(compression);
    }
    match (client, &settings.wire.ca) {
        (Client::Hyper, None) => {
            Ok(builder.with_http_client(HyperClient::with_default_connector(TIMEOUT, None)))
        }
        (Client::Hyper, Some(_)) => Err("its default connector has no TLS".to_owned()),
        (_, None) => Ok(builder),
        (_, Some(ca)) => {
            let tls = tls::client(&read(ca)?)?;
            // On a thread that no runtime owns: the blocking client starts one of its own.
            let client = reqwest::blocking::Client::builder()
                .timeout(TIMEOUT)
                .tls_backend_preconfigured(tls)
                .build();
            Ok(builder.with_http_client(client.map_err(cannot)?))
        }
    }
}

/// The same over gRPC. Within a runtime, which is to carry the connection.
fn tonic<B: WithExportConfig + WithTonicConfig>(
    mut builder: B,
    settings: &Settings,
) -> Result<B, String> {
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(compression) = compression(settings.wire.encoding) {
        builder = builder.with_compression(compression);
    }
    if let Some(ca) = &settings.wire.ca {
        let ca = Certificate::from_pem(read(ca)?);
        builder = builder.with_tls_config(ClientTlsConfig::new().ca_certificate(ca));
    }
    Ok(builder)
}

fn compression(encoding: Encoding) -> Option<Compression> {
    match encoding {
        Encoding::None => None,
        Encoding::Gzip => Some(Compression::Gzip),
        Encoding::Zstd => Some(Compression::Zstd),
    }
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn batch_config(settings: &Settings, batch: usize) -> BatchConfigBuilder {
    BatchConfigBuilder::default()
        .with_max_queue_size(queue(settings, batch))
        .with_max_export_batch_size(batch)
}

fn queue(settings: &Settings, batch: usize) -> usize {
    let outstanding = usize::try_from(settings.outstanding * 2).unwrap_or(usize::MAX);
    if outstanding == 0 { QUEUE.max(batch) } else { QUEUE.max(outstanding).max(4 * batch) }
}

/// An exporter whose outcomes are counted, with the runtime that its client needs.
pub(super) struct Counting<E> {
    inner: E,
    pub(super) outcomes: Outcomes,
    runtime: Driven,
}

/// Who drives a client's I/O.
enum Driven {
    /// Whoever polls the export.
    ByTheCaller,
    /// This runtime, on the thread that exports; nothing else runs on it.
    OnTheThread(Runtime),
    /// This runtime, on threads of its own.
    Beside(Runtime),
}

impl Driven {
    fn of(client: Client) -> Result<Self, String> {
        let (current, multi) =
            (runtime::Builder::new_current_thread, runtime::Builder::new_multi_thread);
        match client {
            Client::Reqwest => Ok(Self::ByTheCaller),
            Client::Hyper => current().enable_all().build().map(Self::OnTheThread).map_err(cannot),
            Client::Tonic => multi().enable_all().build().map(Self::Beside).map_err(cannot),
        }
    }

    fn enter(&self) -> Option<EnterGuard<'_>> {
        match self {
            Self::ByTheCaller | Self::OnTheThread(_) => None,
            Self::Beside(runtime) => Some(runtime.enter()),
        }
    }
}

impl<E> Counting<E> {
    fn new(runtime: Driven, inner: E) -> Self {
        Self { inner, outcomes: Outcomes::default(), runtime }
    }

    async fn counted(
        &self,
        records: u64,
        export: impl Future<Output = OTelSdkResult> + Send,
    ) -> OTelSdkResult {
        let outcome = match &self.runtime {
            Driven::OnTheThread(runtime) => runtime.block_on(export),
            Driven::ByTheCaller | Driven::Beside(_) => export.await,
        };
        self.outcomes.add(records, outcome.is_ok());
        outcome
    }
}

impl<E> fmt::Debug for Counting<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counting").field("outcomes", &self.outcomes).finish_non_exhaustive()
    }
}

impl opentelemetry_sdk::trace::SpanExporter for Counting<SpanExporter> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.counted(batch.len() as u64, self.inner.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl logs::LogExporter for Counting<LogExporter> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let records = batch.iter().count() as u64;
        self.counted(records, self.inner.export(batch)).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl PushMetricExporter for Counting<MetricExporter> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.counted(metric::points(metrics), self.inner.export(metrics)).await
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

/// The peer: counts from the wrapper, flush and end through the provider.
pub(super) struct Otlp {
    pub(super) outcomes: Outcomes,
    pub(super) client: Client,
    pub(super) provider: Provider,
    /// Kept until the processor has ended.
    pub(super) runtime: Option<Runtime>,
}

/// Whatever owns the processor.
pub(super) enum Provider {
    /// Nobody who could be flushed: the exporter is called directly, or a lap of metrics has
    /// flushed by itself; either way it has answered.
    None,
    /// Spans.
    Traces(SdkTracerProvider),
    /// Log records.
    Logs(SdkLoggerProvider),
}

impl Peer for Otlp {
    fn settled(&self) -> u64 {
        self.outcomes.settled()
    }

    fn counts(&self) -> Counts {
        self.outcomes.counts(match (&self.runtime, self.client) {
            (Some(_), _) => "tokio",
            (None, Client::Reqwest) => "reqwest",
            (None, Client::Hyper) => "hyper",
            (None, Client::Tonic) => "tonic",
        })
    }

    fn flush(&self, _: Duration) -> Result<(), String> {
        // The processors have their own deadline.
        let flushed = match &self.provider {
            Provider::None => Ok(()),
            Provider::Traces(provider) => provider.force_flush(),
            Provider::Logs(provider) => provider.force_flush(),
        };
        flushed.map_err(|error| format!("opentelemetry-otlp did not flush: {error}"))
    }

    fn shutdown(&self, timeout: Duration) -> Result<(), String> {
        let ended = match &self.provider {
            Provider::None => Ok(()),
            Provider::Traces(provider) => provider.shutdown_with_timeout(timeout),
            Provider::Logs(provider) => provider.shutdown_with_timeout(timeout),
        };
        ended.map_err(|error| format!("opentelemetry-otlp did not shut down: {error}"))
    }
}

fn cannot(error: impl fmt::Display) -> String {
    format!("cannot build opentelemetry-otlp: {error}")
}

/// OTEL_BSP_MAX_EXPORT_BATCH_SIZE of the OpenTelemetry specification.
const BATCH: usize = 512;
/// OTEL_BSP_MAX_QUEUE_SIZE of the same.
const QUEUE: usize = 2048;
/// Exports at the same time: as many as spanwire has requests in flight.
const CONCURRENT: usize = 4;
/// The default of opentelemetry-otlp.
const TIMEOUT: Duration = Duration::from_secs(10);
