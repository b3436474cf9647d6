//! The rival: opentelemetry-otlp over HTTP with its default (blocking reqwest) client, behind the
//! SDK's batch processor.
//!
//! Its queue is made twice as large as the closed loop's limit, because with the default of 2048 it
//! would drop. The batch stays at the default of 512 spans; OTEL_BSP_MAX_EXPORT_BATCH_SIZE changes
//! it (2048 and 4096 measured the same within the spread).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, SpanData, SpanExporter},
};

use super::{Counts, Peer, Settings, Subject};

pub(super) fn open(settings: &Settings) -> Result<Subject, String> {
    let mut builder = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
        .with_max_request_body_size(usize::MAX);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(format!("{endpoint}/v1/traces"));
    }
    let inner = builder.build().map_err(|error| format!("cannot build otlp-http: {error}"))?;
    let outcomes = Arc::new(Outcomes::default());
    let exporter = Counting { inner, outcomes: Arc::clone(&outcomes) };
    let processor =
        BatchSpanProcessor::builder(exporter).with_batch_config(config(settings)).build();
    let provider = super::provider(processor, settings);
    Ok(Subject { provider, peer: Box::new(Otlp(outcomes)) })
}

fn config(settings: &Settings) -> opentelemetry_sdk::trace::BatchConfig {
    let queue = usize::try_from(settings.outstanding * 2).unwrap_or(usize::MAX);
    BatchConfigBuilder::default().with_max_queue_size(queue.max(QUEUE_SPANS_DEFAULT)).build()
}

/// What became of the exported spans. Written by the batch processor's thread, once a batch.
#[derive(Debug, Default)]
struct Outcomes {
    delivered: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug)]
struct Counting {
    inner: opentelemetry_otlp::SpanExporter,
    outcomes: Arc<Outcomes>,
}

impl SpanExporter for Counting {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let outcome = self.inner.export(batch).await;
        let counter =
            if outcome.is_ok() { &self.outcomes.delivered } else { &self.outcomes.dropped };
        // Ordering: Relaxed, a mere counter; nothing else is read on the strength of it.
        counter.fetch_add(spans, Ordering::Relaxed);
        outcome
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

struct Otlp(Arc<Outcomes>);

impl Peer for Otlp {
    fn settled(&self) -> u64 {
        // Ordering: Relaxed, see `export`.
        self.0.delivered.load(Ordering::Relaxed) + self.0.dropped.load(Ordering::Relaxed)
    }

    fn counts(&self) -> Counts {
        Counts {
            // Ordering: Relaxed, see `export`.
            delivered: self.0.delivered.load(Ordering::Relaxed),
            dropped: self.0.dropped.load(Ordering::Relaxed),
            driver: "reqwest".into(),
            ..Counts::default()
        }
    }

    fn flush(&self, provider: &SdkTracerProvider, _: Duration) -> Result<(), String> {
        // The batch processor has its own deadline.
        provider.force_flush().map_err(|error| format!("otlp-http did not flush: {error}"))
    }

    fn shutdown(&self, provider: &SdkTracerProvider, timeout: Duration) -> Result<(), String> {
        provider
            .shutdown_with_timeout(timeout)
            .map_err(|error| format!("otlp-http did not shut down: {error}"))
    }
}

/// OTEL_BSP_MAX_QUEUE_SIZE of the OpenTelemetry specification.
const QUEUE_SPANS_DEFAULT: usize = 2048;
