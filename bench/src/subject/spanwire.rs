//! The subject itself. The one file of this crate that names spanwire's API.

use std::time::Duration;

use opentelemetry_sdk::trace::SdkTracerProvider;
use spanwire::{Exporter, otel_0_33::SpanProcessor};

use super::{Counts, Peer, Settings, Subject};

pub(super) fn open(settings: &Settings) -> Result<Subject, String> {
    let mut builder = Exporter::builder().workers(settings.workers);
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.endpoint(endpoint);
    }
    let exporter = builder.build().map_err(|error| error.to_string())?;
    let provider = super::provider(SpanProcessor::new(&exporter), settings);
    Ok(Subject { provider, peer: Box::new(Spanwire(exporter)) })
}

struct Spanwire(Exporter);

impl Peer for Spanwire {
    fn settled(&self) -> u64 {
        let stats = self.0.stats();
        stats.delivered + stats.rejected + stats.dropped.total()
    }

    fn counts(&self) -> Counts {
        let stats = self.0.stats();
        Counts {
            delivered: stats.delivered,
            rejected: stats.rejected,
            dropped: stats.dropped.total(),
            driver: stats.driver.to_string(),
            driver_reason: stats.driver_reason.as_deref().unwrap_or(RING_WORKS).to_owned(),
        }
    }

    fn flush(&self, _: &SdkTracerProvider, timeout: Duration) -> Result<(), String> {
        self.0.flush(timeout).map_err(|error| error.to_string())
    }

    fn shutdown(&self, provider: &SdkTracerProvider, timeout: Duration) -> Result<(), String> {
        // The door first: it flushes; then the delivery.
        let door = provider.shutdown_with_timeout(timeout).map_err(|error| error.to_string());
        let delivery = self.0.shutdown(timeout).map_err(|error| error.to_string());
        door.and(delivery)
    }
}

/// The exporter gives a reason only for not using io_uring.
const RING_WORKS: &str = "io_uring works here";
