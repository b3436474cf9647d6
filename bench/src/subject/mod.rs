//! What is measured: an exporter behind an OpenTelemetry provider, spanwire or a rival, all through
//! one small trait.

use std::{fmt, str::FromStr, time::Duration};

use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracerProvider, SpanProcessor},
};

use crate::timed::{Timed, Timings};

mod noop;
#[cfg(feature = "rivals")]
mod otlp_http;
mod spanwire;

/// A provider whose spans go to an exporter, and the exporter's own counts.
pub struct Subject {
    /// Spans started here are exported. Not shut down by the subject.
    pub provider: SdkTracerProvider,
    /// The exporter's own view.
    pub peer: Box<dyn Peer>,
}

/// How to open a subject.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to export to. `None` leaves it to the environment's OTEL_EXPORTER_OTLP_ENDPOINT and
    /// its kin.
    pub endpoint: Option<String>,
    /// The resource of all spans.
    pub resource: Resource,
    /// Times each `on_end` into these; `None` adds nothing to the caller's path.
    pub timings: Option<Timings>,
    /// Threads of spanwire's runtime.
    pub workers: usize,
    /// How many spans may be outstanding at once, for exporters whose queue is counted in spans.
    pub outstanding: u64,
}

impl Subject {
    /// Waits at most `patience` until everything emitted so far has a fate. Why something was lost
    /// goes to stderr; how much shows in the counts. Returns how long the end may take: after a
    /// flush in vain, waiting as long again is no use.
    pub fn flush(&self, patience: Duration) -> Duration {
        match self.peer.flush(&self.provider, patience) {
            Ok(()) => patience,
            Err(error) => {
                eprintln!("spanwire: {error}");
                patience.min(BRIEF)
            }
        }
    }

    /// Ends the exporter within `patience`; as [`flush`](Self::flush).
    pub fn shutdown(&self, patience: Duration) {
        if let Err(error) = self.peer.shutdown(&self.provider, patience) {
            eprintln!("spanwire: {error}");
        }
    }
}

/// An exporter's own counts, and its end.
pub trait Peer: Send + Sync {
    /// Spans whose fate is known: delivered, rejected or dropped. Cheap enough to ask every 64
    /// spans.
    fn settled(&self) -> u64;

    /// All of the exporter's counts.
    fn counts(&self) -> Counts;

    /// Waits until everything emitted so far has a fate.
    ///
    /// # Errors
    ///
    /// When that did not happen within `timeout`, or some of it was lost; the text tells.
    fn flush(&self, provider: &SdkTracerProvider, timeout: Duration) -> Result<(), String>;

    /// Ends the exporter, with a last flush.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    fn shutdown(&self, provider: &SdkTracerProvider, timeout: Duration) -> Result<(), String>;
}

/// An exporter's counts of spans, and what carried them.
#[derive(Clone, Debug, Default)]
pub struct Counts {
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

/// The names of peers in tables and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// spanwire over io_uring.
    SpanwireUring,
    /// spanwire over epoll.
    SpanwireEpoll,
    /// opentelemetry-otlp over HTTP behind the SDK's batch processor.
    OtlpHttp,
    /// A processor that drops each span at once: the floor of what the application's thread pays.
    Noop,
}

impl Kind {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 4] =
        [Self::SpanwireUring, Self::SpanwireEpoll, Self::OtlpHttp, Self::Noop];

    /// The name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SpanwireUring => "spanwire-uring",
            Self::SpanwireEpoll => "spanwire-epoll",
            Self::OtlpHttp => "otlp-http",
            Self::Noop => "noop",
        }
    }

    /// The value of SPANWIRE_IO that selects this peer's driver.
    pub fn io(self) -> Option<&'static str> {
        match self {
            Self::SpanwireUring => Some("uring"),
            Self::SpanwireEpoll => Some("epoll"),
            Self::OtlpHttp | Self::Noop => None,
        }
    }

    /// Opens this peer.
    ///
    /// # Errors
    ///
    /// When the exporter cannot be built, or a rival is not compiled in; the text tells.
    pub fn open(self, settings: &Settings) -> Result<Subject, String> {
        match self {
            Self::SpanwireUring | Self::SpanwireEpoll => spanwire::open(settings),
            #[cfg(feature = "rivals")]
            Self::OtlpHttp => otlp_http::open(settings),
            #[cfg(not(feature = "rivals"))]
            Self::OtlpHttp => Err(NEEDS_RIVALS.to_owned()),
            Self::Noop => Ok(noop::open(settings)),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|kind| kind.name() == name);
        named.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no peer {name:?}; the peers are {names}")
        })
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
