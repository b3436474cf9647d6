//! `spanwire demo`: a real HTTP service, driven by real requests, whose spans travel through
//! spanwire to a real collector.
//!
//! ```text
//! this thread       clients  ──HTTP──▶  service        one request: 4.4 spans on average
//!                      └── spans ──┐       └── spans ──┐
//! exporter's thread                └──▶ spanwire ◀─────┘
//! collector's thread                       └──OTLP/HTTP──▶ collector (decodes with prost)
//! ```
//!
//! Service and clients run on tokio threads of their own; spanwire uses neither.

use std::{
    env,
    sync::{Arc, atomic::AtomicU64},
    time::{Duration, Instant},
};

use opentelemetry_sdk::Resource;

use crate::{
    collector::Collector,
    measure,
    report::Summary,
    subject::{self, Settings, Subject},
    timed::Timings,
};

mod client;
mod progress;
mod service;

/// The options of `spanwire demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// HTTP requests to drive through the service
    #[arg(long, default_value_t = 60_000)]
    pub requests: u64,
    /// Connections that drive the service at the same time
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub connections: u16,
    /// Threads of the exporter's runtime
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub workers: u8,
    /// End with one JSON object on the last line of stdout
    #[arg(long)]
    pub json: bool,
    /// No progress lines on stderr
    #[arg(long)]
    pub quiet: bool,
}

/// Runs the demonstration to its end; returns the summary.
///
/// # Errors
///
/// When the exporter, the service or the collector cannot be started, or the service fails; the
/// text tells.
pub fn run(options: &Options) -> Result<Summary, String> {
    let collector = if endpoint_is_set() { None } else { Some(Collector::start()?) };
    let timings = Timings::default();
    let subject = subject::open_spanwire(&Settings {
        endpoint: collector.as_ref().map(Collector::endpoint),
        resource: Resource::builder().with_service_name("spanwire-demo").build(),
        timings: Some(timings.clone()),
        workers: options.workers.into(),
        outstanding: 0,
    })?;
    let (mut summary, patience) = measured(&subject, options, collector.as_ref(), &timings)?;
    subject.shutdown(patience);
    summary.counts = subject.peer.counts();
    summary.decoded = collector.map(|collector| collector.finish().unique);
    Ok(summary)
}

/// The OpenTelemetry specification treats an empty variable as unset.
fn endpoint_is_set() -> bool {
    ENDPOINT_VARIABLES.iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The figures, and how long the end may take.
fn measured(
    subject: &Subject,
    options: &Options,
    collector: Option<&Collector>,
    timings: &Timings,
) -> Result<(Summary, Duration), String> {
    let served = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), measure::process_cpu());
    let watched = progress::Watched { served: &served, options, subject, collector, timings };
    progress::during(&watched, || drive(subject, options, Arc::clone(&served)))?;
    let patience = subject.flush(PATIENCE);
    let summary = Summary {
        // What the timed processor saw end: the program's count, before any exporter's.
        emitted: timings.count(),
        elapsed: start.elapsed(),
        cpu: measure::process_cpu() - cpu,
        rss_mb: measure::peak_rss_mb(),
        on_end_ns: timings.percentiles(),
        ..Summary::default()
    };
    Ok((summary, patience))
}

/// Starts the service, sends all requests, stops the service.
fn drive(subject: &Subject, options: &Options, served: Arc<AtomicU64>) -> Result<(), String> {
    let service = service::Service::start(&subject.provider)?;
    let answered = client::drive(&subject.provider, service.address(), options, served);
    service.stop();
    answered
}

const ENDPOINT_VARIABLES: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// How long flush and shutdown may take.
const PATIENCE: Duration = Duration::from_secs(10);
