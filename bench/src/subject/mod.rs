//! What is measured: an exporter and the producers that feed it, spanwire or a rival, all through
//! two small traits.

use std::{path::PathBuf, time::Duration};

use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracerProvider, SpanProcessor},
};

pub use self::{
    kind::{Class, Kind, Role},
    spanwire::Telemetry,
};
use crate::{
    drive::Producer,
    log::LogMaker,
    receive::{Protocol, encoding::Encoding},
    shape::{Shape, Signal},
    span::SpanMaker,
    timed::{Timed, Timings},
};

mod blaster;
#[cfg(feature = "rivals")]
mod emit;
#[cfg(feature = "rivals")]
mod fastrace;
mod kind;
mod metrics;
mod noop;
#[cfg(feature = "rivals")]
mod otlp;
mod outcomes;
pub mod ready;
mod spanwire;
#[cfg(feature = "rivals")]
mod tracing;

/// Producers whose records go to an exporter, and the exporter's own counts.
pub struct Subject {
    producers: Box<dyn Fn() -> Box<dyn Producer>>,
    /// The exporter's own view.
    pub peer: Box<dyn Peer>,
}

/// How to open a subject.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to export to. `None` leaves it to the environment's OTEL_EXPORTER_OTLP_ENDPOINT and
    /// its kin.
    pub endpoint: Option<String>,
    /// The resource of all records.
    pub resource: Resource,
    /// Times each `on_end` into these; `None` adds nothing to the caller's path.
    pub timings: Option<Timings>,
    /// Threads of spanwire's runtime.
    pub workers: usize,
    /// How many records may be outstanding at once, for exporters whose queue is counted in them;
    /// 0 leaves them their default.
    pub outstanding: u64,
    /// The buffer of exporters that count it in bytes; `None` leaves them their default.
    pub buffer_bytes: Option<usize>,
    /// What is exported.
    pub signal: Signal,
    /// How large one record is.
    pub shape: Shape,
    /// How it travels.
    pub wire: Wire,
}

/// How records travel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// What carries them; `None` leaves it to the environment, and that to its default.
    pub protocol: Option<Protocol>,
    /// How bodies are compressed.
    pub encoding: Encoding,
    /// The certificate of the authority that a receiver with TLS is to be trusted for.
    pub ca: Option<PathBuf>,
    /// How hard to compress: the level that no exporter of opentelemetry-otlp can change. `None`
    /// leaves spanwire its own.
    pub level: Option<u8>,
    /// Requests in flight at once, for exporters that have several; 0 leaves them their default.
    pub in_flight: usize,
    /// How long spanwire gives one attempt; `None` is its default.
    pub timeout: Option<Duration>,
}

impl Settings {
    /// Typical spans to `endpoint`, with nothing special.
    pub fn new(endpoint: Option<String>, resource: Resource) -> Self {
        Self {
            endpoint,
            resource,
            timings: None,
            workers: 1,
            outstanding: 0,
            buffer_bytes: None,
            signal: Signal::Traces,
            shape: Shape::Typical,
            wire: Wire::default(),
        }
    }

    /// The URL for what opentelemetry-otlp calls an endpoint over HTTP: that of the signal.
    #[cfg(feature = "rivals")]
    fn url(&self) -> Option<String> {
        self.endpoint.as_ref().map(|endpoint| format!("{endpoint}/v1/{}", self.signal))
    }
}

impl Subject {
    fn new<P: Producer + 'static>(
        producers: impl Fn() -> P + 'static,
        peer: impl Peer + 'static,
    ) -> Self {
        Self { producers: Box::new(move || Box::new(producers())), peer: Box::new(peer) }
    }

    /// Spans made through the SDK.
    fn spans(provider: SdkTracerProvider, shape: Shape, peer: impl Peer + 'static) -> Self {
        Self::new(move || SpanMaker::shaped(&provider, shape), peer)
    }

    /// Log records made through the SDK.
    fn logs(
        provider: opentelemetry_sdk::logs::SdkLoggerProvider,
        shape: Shape,
        peer: impl Peer + 'static,
    ) -> Self {
        Self::new(move || LogMaker::new(&provider, shape), peer)
    }

    /// Points made through the SDK. The provider is leaked on purpose: its end would collect once
    /// more, points that no producer has emitted.
    fn points(
        provider: opentelemetry_sdk::metrics::SdkMeterProvider,
        shape: Shape,
        peer: impl Peer + 'static,
    ) -> Self {
        std::mem::forget(provider.clone());
        Self::new(move || metrics::Laps::new(provider.clone(), shape), peer)
    }

    /// A producer for one thread.
    pub fn producer(&self) -> Box<dyn Producer> {
        (self.producers)()
    }

    /// Waits at most `patience` until everything emitted so far has a fate. Why something was lost
    /// goes to stderr; how much shows in the counts. Returns how long the end may take: after a
    /// flush in vain, waiting as long again is no use.
    pub fn flush(&self, patience: Duration) -> Duration {
        patience_after(self.peer.flush(patience), patience)
    }

    /// Ends the exporter within `patience`; as [`flush`](Self::flush).
    pub fn shutdown(&self, patience: Duration) {
        patience_after(self.peer.shutdown(patience), patience);
    }
}

/// Says on stderr why a flush was in vain; returns how long the next may take.
pub fn patience_after(flushed: Result<(), String>, patience: Duration) -> Duration {
    match flushed {
        Ok(()) => patience,
        Err(error) => {
            eprintln!("spanwire: {error}");
            patience.min(BRIEF)
        }
    }
}

/// An exporter's own counts, and its end.
pub trait Peer: Send + Sync {
    /// Records whose fate is known: delivered, rejected or dropped. Cheap enough to ask every 64
    /// records.
    fn settled(&self) -> u64;

    /// All of the exporter's counts.
    fn counts(&self) -> Counts;

    /// How long exports took, from the batch that was cut to its answer; of exporters that tell.
    fn exports(&self) -> Option<Exports> {
        None
    }

    /// Waits until everything emitted so far has a fate.
    ///
    /// # Errors
    ///
    /// When that did not happen within `timeout`, or some of it was lost; the text tells.
    fn flush(&self, timeout: Duration) -> Result<(), String>;

    /// Ends the exporter, with a last flush.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    fn shutdown(&self, timeout: Duration) -> Result<(), String>;
}

/// How long exports took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    /// The median.
    pub p50: Duration,
    /// 99 % of them took no longer.
    pub p99: Duration,
}

/// An exporter's counts of records, and what carried them.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Records that ended at the exporter's door; of exporters that tell.
    pub emitted: u64,
    /// Records without a fate; likewise.
    pub in_flight: u64,
    /// Accepted by the receiver.
    pub delivered: u64,
    /// Rejected by the receiver in a partial success.
    pub rejected: u64,
    /// Dropped by the exporter, for all reasons together.
    pub dropped: u64,
    /// What moved the bytes, such as `uring`.
    pub driver: String,
    /// Why that one; empty when there was no choice.
    pub driver_reason: String,
}

/// Opens a peer.
///
/// # Errors
///
/// When the exporter cannot be built, or a rival is not compiled in; the text tells.
pub fn open(kind: Kind, settings: &Settings) -> Result<Subject, String> {
    match kind {
        Kind::SpanwireUring | Kind::SpanwireEpoll => spanwire::open(settings),
        Kind::SpanwireAlone => spanwire::open_alone(settings),
        Kind::Noop => Ok(noop::open(settings)),
        Kind::SinkCeiling => blaster::open(settings),
        #[cfg(feature = "rivals")]
        rival => open_rival(rival, settings),
        #[cfg(not(feature = "rivals"))]
        _ => Err(NEEDS_RIVALS.to_owned()),
    }
}

#[cfg(feature = "rivals")]
fn open_rival(kind: Kind, settings: &Settings) -> Result<Subject, String> {
    // reqwest makes a TLS configuration even for http://, and has no provider of its own here. An
    // error means that it was installed before.
    let _ = crate::receive::tls::provider().install_default();
    match kind {
        Kind::TracingSpanwire => tracing::open_spanwire(settings),
        Kind::TracingOtlp => tracing::open_otlp(settings),
        Kind::Fastrace => fastrace::open(settings),
        Kind::EmitOtlp => emit::open(settings),
        Kind::OtlpAsync | Kind::OtlpAsync8192 => {
            otlp::open_async(kind, otlp::Client::Hyper, settings)
        }
        Kind::OtlpGrpcAsync => otlp::open_async(kind, otlp::Client::Tonic, settings),
        Kind::OtlpGrpc | Kind::OtlpGrpc2048 => otlp::open(kind, otlp::Client::Tonic, settings),
        Kind::OtlpGrpcAlone => otlp::open_alone(otlp::Client::Tonic, settings),
        Kind::OtlpHttpAlone => otlp::open_alone(otlp::Client::Reqwest, settings),
        Kind::OtlpHyperAlone => otlp::open_alone(otlp::Client::Hyper, settings),
        Kind::OtlpHyper => otlp::open(kind, otlp::Client::Hyper, settings),
        _ => otlp::open(kind, otlp::Client::Reqwest, settings),
    }
}

/// Opens spanwire with whatever driver the environment's SPANWIRE_IO and the machine choose.
///
/// # Errors
///
/// When the exporter cannot be built; the text tells.
pub fn open_spanwire(settings: &Settings) -> Result<Subject, String> {
    spanwire::open(settings)
}

/// A provider whose spans are dropped at once.
pub fn dropping(settings: &Settings) -> SdkTracerProvider {
    noop::traces(settings)
}

/// A provider around `processor`, timed if the settings ask for it.
fn provider(processor: impl SpanProcessor + 'static, settings: &Settings) -> SdkTracerProvider {
    let builder = SdkTracerProvider::builder().with_resource(settings.resource.clone());
    match &settings.timings {
        Some(timings) => builder.with_span_processor(Timed::new(processor, timings.clone())),
        None => builder.with_span_processor(processor),
    }
    .build()
}

/// Why a rival cannot be opened.
pub const NEEDS_RIVALS: &str =
    "the rivals are not compiled in; use `cargo compare`, or build with `--features rivals`";
/// For the end of an exporter that could not flush.
const BRIEF: Duration = Duration::from_secs(1);
