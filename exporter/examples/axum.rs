//! A web service made with axum whose spans all arrive, also when it is told to stop: it finishes
//! the requests that are under way, then delivers what they left in the buffer.
//!
//! ```text
//! cargo run --example axum -- 127.0.0.1:3000 http://localhost:4318
//! curl http://127.0.0.1:3000/orders/4711
//! ```

use std::error::Error;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Router, http::StatusCode};
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use spanwire::Exporter;
use spanwire::otel_0_33::SpanProcessor;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

// One thread is enough for spanwire, whatever the service itself needs: the exporter has its own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let endpoint = arguments.next().unwrap_or_else(|| "http://localhost:4318".to_owned());
    serve(&address, &endpoint).await
}

/// Serves until the process is asked to stop.
pub(crate) async fn serve(address: &str, endpoint: &str) -> Result<(), Box<dyn Error>> {
    let exporter = Exporter::builder().endpoint(endpoint).build()?;
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name("shop").build())
        .with_span_processor(SpanProcessor::new(&exporter))
        .build();
    let app =
        Router::new().route("/orders/{order}", get(order)).with_state(provider.tracer("shop"));

    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).with_graceful_shutdown(asked_to_stop()?).await?;

    // No request is under way any more. What they ended is still to be delivered, in bounded time.
    exporter.shutdown_async(LAST_DELIVERY).await?;
    println!("delivered {}", exporter.stats().delivered);
    Ok(())
}

/// Answers a request, and ends its span before.
async fn order(State(tracer): State<SdkTracer>, Path(order): Path<String>) -> StatusCode {
    let mut span = tracer
        .span_builder("GET /orders/{order}")
        .with_kind(SpanKind::Server)
        .with_attributes([KeyValue::new("order", order.clone())])
        .start(&tracer);
    let status = match order.parse::<u64>() {
        Ok(_) => StatusCode::OK,
        Err(_) => StatusCode::NOT_FOUND,
    };
    span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        span.set_status(Status::error("the service is at fault"));
    }
    span.end();
    status
}

/// Ends with SIGTERM, as orchestrators send it, or SIGINT, as terminals do.
fn asked_to_stop() -> Result<impl Future<Output = ()>, Box<dyn Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Less than an orchestrator waits before it kills.
const LAST_DELIVERY: Duration = Duration::from_secs(10);
