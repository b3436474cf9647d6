//! Traces, logs and metrics of a small program, set up in one call as the environment says.
//!
//! ```text
//! OTEL_SERVICE_NAME=shop OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 cargo run --example init
//! ```

use std::error::Error;
use std::time::Duration;

use opentelemetry::logs::{LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry::{KeyValue, global};
use spanwire::Guard;

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let guard = spanwire::init()?;
    sell(&guard, "4711");
    // What has not been delivered by then is given up, and the error says how much.
    guard.shutdown(Duration::from_secs(5))?;
    Ok(())
}

/// Some work: a span, a log record in it, and a count.
pub(crate) fn sell(guard: &Guard, order: &'static str) {
    let sales = global::meter("shop").u64_counter("shop.sales").build();
    // Any library does it like this: the provider is the global one.
    global::tracer_provider().tracer("shop").in_span("sell", |_cx| {
        let logger = guard.logger_provider().logger("shop");
        let mut record = logger.create_log_record();
        record.set_severity_number(Severity::Info);
        record.set_body(format!("sold {order}").into());
        logger.emit(record);
        sales.add(1, &[KeyValue::new("order", order)]);
    });
}
