//! Events of `tracing` arrive at a collector as log records that name the span which they
//! happened in, by way of opentelemetry-appender-tracing. Spans arrive as well, as in the example
//! `tracing_spans`; both signals share one exporter.
//!
//! ```text
//! cargo run --example tracing_logs -- http://localhost:4318
//! ```

use std::error::Error;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use spanwire::Exporter;
use spanwire::otel_0_33::{LogProcessor, SpanProcessor};
use tracing::{Subscriber, error, info, info_span, trace};
use tracing_subscriber::layer::SubscriberExt;

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "http://localhost:4318".to_owned());
    let exporter = Exporter::builder().endpoint(endpoint).build()?;
    let providers = Providers::new(&exporter);
    tracing::subscriber::with_default(providers.subscriber(), handle);
    providers.shutdown()?;
    exporter.shutdown(Duration::from_secs(5))?;
    println!("{:?}", exporter.stats());
    Ok(())
}

/// What the two signals come from.
pub(crate) struct Providers {
    spans: SdkTracerProvider,
    logs: SdkLoggerProvider,
}

impl Providers {
    /// Providers whose spans and log records go into `exporter`, of one resource.
    pub(crate) fn new(exporter: &Exporter) -> Self {
        let resource = Resource::builder().with_service_name("shop").build();
        let spans = SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_span_processor(SpanProcessor::new(exporter));
        let logs = SdkLoggerProvider::builder()
            .with_resource(resource)
            .with_log_processor(LogProcessor::new(exporter));
        Self { spans: spans.build(), logs: logs.build() }
    }

    /// Turns the spans of `tracing` into spans of OpenTelemetry, and its events into log records.
    /// It filters nothing, so events of every level come through.
    pub(crate) fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        let spans = tracing_opentelemetry::layer().with_tracer(self.spans.tracer("shop"));
        let logs = OpenTelemetryTracingBridge::new(&self.logs);
        tracing_subscriber::registry().with(spans).with(logs)
    }

    /// Closes the two doors; the exporter goes on.
    pub(crate) fn shutdown(&self) -> Result<(), Box<dyn Error>> {
        self.spans.shutdown()?;
        self.logs.shutdown()?;
        Ok(())
    }
}

/// Some work: events before, in and after a span.
pub(crate) fn handle() {
    trace!("about to begin");
    let span = info_span!("checkout", order = 4711);
    span.in_scope(|| {
        info!(items = 3, price = 12.5, gift = false, customer = "Ada", "an order came in");
        error!(name: "payment.refused", target: "shop::payment", reason = ?Some("limit"), "no money");
    });
    info!("done");
}
