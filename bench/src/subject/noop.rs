//! The floor: the SDK with something behind it that drops each record at once.

use std::time::Duration;

use opentelemetry::{Context, InstrumentationScope};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    logs::{LogProcessor, SdkLogRecord, SdkLoggerProvider},
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter,
    },
    trace::{SdkTracerProvider, Span, SpanData, SpanProcessor},
};

use super::{Counts, Peer, Settings, Subject, outcomes::Outcomes};
use crate::{metric, shape::Signal};

pub(super) fn open(settings: &Settings) -> Subject {
    let noop = Noop::default();
    let peer = noop.clone();
    match settings.signal {
        Signal::Traces => Subject::spans(super::provider(noop, settings), settings.shape, peer),
        Signal::Logs => {
            let builder = SdkLoggerProvider::builder().with_resource(settings.resource.clone());
            Subject::logs(builder.with_log_processor(noop).build(), settings.shape, peer)
        }
        Signal::Metrics => {
            let builder = SdkMeterProvider::builder().with_resource(settings.resource.clone());
            let reader = PeriodicReader::builder(noop).with_interval(NEVER).build();
            Subject::points(builder.with_reader(reader).build(), settings.shape, peer)
        }
    }
}

/// Only the provider of tracers.
pub(super) fn traces(settings: &Settings) -> SdkTracerProvider {
    super::provider(Noop::default(), settings)
}

#[derive(Clone, Debug, Default)]
struct Noop(Outcomes);

impl SpanProcessor for Noop {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, _: SpanData) {
        self.0.add(1, false);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl LogProcessor for Noop {
    fn emit(&self, _: &mut SdkLogRecord, _: &InstrumentationScope) {
        self.0.add(1, false);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }
}

impl PushMetricExporter for Noop {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.0.add(metric::points(metrics), false);
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

impl Peer for Noop {
    fn settled(&self) -> u64 {
        self.0.settled()
    }

    fn counts(&self) -> Counts {
        self.0.counts("none")
    }

    fn flush(&self, _: Duration) -> Result<(), String> {
        Ok(())
    }

    fn shutdown(&self, _: Duration) -> Result<(), String> {
        Ok(())
    }
}

/// A reader that only collects when it is told to.
pub(super) const NEVER: Duration = Duration::from_secs(3600);
