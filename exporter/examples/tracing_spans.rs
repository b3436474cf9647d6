//! Spans of `tracing` arrive at a collector, by way of tracing-opentelemetry.
//!
//! ```text
//! cargo run --example tracing_spans -- http://localhost:4318
//! ```

use std::error::Error;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use spanwire::Exporter;
use spanwire::otel_0_33::SpanProcessor;
use tracing::{Subscriber, field, info, instrument, warn};
use tracing_subscriber::layer::SubscriberExt;

fn main() -> Result<(), Box<dyn Error>> {
    let endpoint = std::env::args().nth(1).unwrap_or_else(|| "http://localhost:4318".to_owned());
    let exporter = Exporter::builder().endpoint(endpoint).build()?;
    let provider = provider(&exporter);
    tracing::subscriber::with_default(subscriber(&provider), || {
        handle("4711");
        handle("the other one");
    });
    // A provider closes its own door; the exporter delivers what came in by all of them.
    provider.shutdown()?;
    exporter.shutdown(Duration::from_secs(5))?;
    println!("{:?}", exporter.stats());
    Ok(())
}

/// A provider whose spans go into `exporter`.
pub(crate) fn provider(exporter: &Exporter) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("shop").build())
        .with_span_processor(SpanProcessor::new(exporter))
        .build()
}

/// Turns the spans of `tracing` into spans of OpenTelemetry, and its events into theirs.
pub(crate) fn subscriber(provider: &SdkTracerProvider) -> impl Subscriber + Send + Sync + use<> {
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("shop"));
    tracing_subscriber::registry().with(spans)
}

/// Some work: a span with fields, an event, and a span inside of it.
#[instrument(fields(otel.kind = "server", items = field::Empty))]
pub(crate) fn handle(order: &str) -> Option<i64> {
    info!(attempt = 1, "looking the order up");
    let items = look_up(order);
    tracing::Span::current().record("items", items);
    items
}

#[instrument(err(Debug), fields(otel.kind = "client"), ret)]
fn parse(order: &str) -> Result<i64, std::num::ParseIntError> {
    order.parse()
}

fn look_up(order: &str) -> Option<i64> {
    let items = parse(order);
    if items.is_err() {
        warn!(order, "there is no such order");
    }
    items.ok()
}
