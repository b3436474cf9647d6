//! spanwire exports OpenTelemetry data over OTLP.
//!
//! Each span and each log record is written once, in its final wire format, by the thread that
//! ends it, and metrics by the thread that collects them; one thread with a small runtime of its
//! own delivers those bytes over io_uring, or over epoll where io_uring is denied. Nothing is lost
//! silently, of no signal:
//!
//! `emitted = delivered + rejected + dropped (by reason) + in flight`
//!
//! ```text
//! app thread       span ends ──► encoded into this thread's chunk ──► committed
//! exporter thread  takes what is committed ──► cuts a batch, writes the headers between
//!                  ──► one vectored send ──► answer ──► counted
//! ```
//!
//! In scope: traces, logs and metrics from `opentelemetry_sdk` 0.33 ([`otel_0_33`]), spans and log
//! records that are plain data ([`direct`]), over OTLP/HTTP (protobuf or JSON) or OTLP/gRPC to a
//! collector, compressed if asked for, or as lines of OTLP/JSON to a file ([`Builder::file`]); and reading
//! encoded OTLP without decoding it ([`wire`]).
//! Each [`Signal`] has a buffer, connections and counters of its own, so a collector that is slow
//! with one does not hold up the others. There may be several destinations
//! ([`Builder::destination`]), each with a queue, retries and counters of its own, and a
//! destination may be a set of endpoints ([`Builder::endpoints`]). What belongs to a feature that a
//! build has not (gRPC, https, zstd) is an error of [`Builder::build`] if asked for.
//!
//! What it does is told in three ways: [`Stats`], the self-metrics of the specification
//! (`otel_0_33::observe`), and diagnostics ([`Builder::on_diagnostic`]). A forked child has an
//! exporter of its own ([`Exporter`], "Forks").
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//!
//! use opentelemetry_sdk::trace::SdkTracerProvider;
//!
//! let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
//! let provider = SdkTracerProvider::builder()
//!     .with_span_processor(spanwire::otel_0_33::SpanProcessor::new(&exporter))
//!     .build();
//! // ... the service runs ...
//! provider.shutdown()?;
//! exporter.shutdown(Duration::from_secs(5))?;
//! assert_eq!(exporter.stats().dropped.total(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! - `otel_0_33` (default): the doors for `opentelemetry_sdk` 0.33, [`otel_0_33`].
//! - `grpc`: `Protocol::Grpc`, by [h2](https://docs.rs/h2) on the exporter's own runtime. h2 takes
//!   two traits of tokio's; no tokio runtime comes with it.
//! - `zstd`: [`Compression::Zstd`]. It is C, so a build with it needs a C compiler; gzip is always
//!   there and needs none.
//! - `tls`: https endpoints, by [rustls](https://docs.rs/rustls); `TlsConfig` says whom to trust and
//!   who we are. Its cryptography is that of the process's default provider, if one is installed
//!   before [`Builder::build`], else `ring`, which needs a C compiler.
#![forbid(unsafe_code)]

mod batch;
mod builder;
mod compress;
mod diagnostics;
mod encode;
mod env;
mod error;
mod exporter;
mod ingest;
#[cfg(feature = "otel_0_33")]
mod init;
mod model;
#[cfg_attr(
    not(feature = "otel_0_33"),
    allow(dead_code, reason = "some of it is for the SDK's doors")
)]
mod pipeline;
mod retry;
mod stats;
mod transport;
pub mod wire;

#[cfg(feature = "tls")]
pub use rustls;
pub use spanwire_runtime::driver::Choice as Io;
pub use spanwire_runtime::pipe::WhenFull;

#[cfg(feature = "tls")]
pub use self::builder::tls::TlsConfig;
pub use self::builder::{Builder, Destination, Explanation, Standing, Variable};
pub use self::diagnostics::{Diagnostic, Kind as DiagnosticKind, Level as DiagnosticLevel};
pub use self::encode::limits::Duplicates;
pub use self::error::{BuildError, FlushError, ShutdownError};
pub use self::exporter::{DROP_LIMIT, Exporter};
#[cfg(feature = "otel_0_33")]
pub use self::init::{Guard, GuardError, Init, InitError, init, init_with};
pub use self::model::{
    Compression, DestinationName, HistogramAggregation, Protocol, Signal, SignalExporter,
    TemporalityPreference,
};
pub use self::stats::{
    ByCause, DestinationStats, Dropped, Durations, ExporterStats, ProcessorStats, Server,
    SignalStats, Stats,
};
pub use self::transport::balance::Balance;
pub use self::transport::header_source::{HeaderSource, OutgoingRequest};

// What programs store, share between threads and move into tasks.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    const fn is_moved<T: Send>() {}
    is_shared::<Exporter>();
    is_shared::<Stats>();
    is_shared::<Diagnostic>();
    is_shared::<BuildError>();
    is_shared::<direct::Spans>();
    is_shared::<direct::Logs>();
    is_shared::<direct::Span<'_>>();
    is_shared::<FlushError>();
    is_shared::<ShutdownError>();
    is_moved::<Builder>();
    #[cfg(feature = "otel_0_33")]
    is_shared::<Guard>();
    #[cfg(feature = "otel_0_33")]
    is_moved::<Init>();
    #[cfg(feature = "otel_0_33")]
    is_shared::<otel_0_33::SpanProcessor>();
    #[cfg(feature = "otel_0_33")]
    is_shared::<otel_0_33::SpanExporter>();
    #[cfg(feature = "otel_0_33")]
    is_shared::<otel_0_33::LogExporter>();
    #[cfg(feature = "otel_0_33")]
    is_shared::<otel_0_33::LogProcessor>();
    #[cfg(feature = "otel_0_33")]
    is_shared::<otel_0_33::MetricExporter>();
};

/// The direct door, for programs that have plain data instead of an SDK's spans.
///
/// Nothing is cloned and nothing is kept: the records and all they refer to are borrowed for the
/// call. Keys that are known when the program is compiled are encoded then ([`key!`](crate::key)).
///
/// # Examples
///
/// ```
/// use spanwire::direct::{Event, Key, Kind, Resource, Scope, Span, Spans};
///
/// const SERVICE: Key = spanwire::key!("service.name");
/// const METHOD: Key = spanwire::key!("http.request.method");
/// const STATUS: Key = spanwire::key!("http.response.status_code");
///
/// let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
/// let resource = [SERVICE.str("shop")];
/// let spans = Spans::new(&exporter, &Resource::new(&resource), &Scope::new("http", "0.1"));
///
/// let attributes = [METHOD.str("GET"), STATUS.int(200)];
/// let events = [Event::new(1_764_000_000_000_400_000, "cache.miss", &[])];
/// let mut span = Span::new([0x4b; 16], [0x07; 8], "GET /cart");
/// span.kind = Kind::Server;
/// span.start_unix_nano = 1_764_000_000_000_000_000;
/// span.end_unix_nano = 1_764_000_000_001_500_000;
/// span.attributes = &attributes;
/// span.events = &events;
/// spans.end(&span);
/// # exporter.shutdown(std::time::Duration::ZERO).unwrap_err();
/// # Ok::<(), spanwire::BuildError>(())
/// ```
pub mod direct {
    #[doc(hidden)]
    pub use crate::encode::common::key::KeyRecord;
    pub use crate::ingest::direct::attribute::{Attribute, Key, Value};
    pub use crate::ingest::direct::door::{Logs, Resource, Scope, Spans};
    pub use crate::ingest::direct::log::LogRecord;
    pub use crate::ingest::direct::span::{Event, Kind, Link, Span, Status};
}

/// Makes a [`direct::Key`] of a constant text: the key in wire format, made
/// when the program is compiled.
///
/// # Examples
///
/// ```
/// use spanwire::direct::Key;
///
/// const METHOD: Key = spanwire::key!("http.request.method");
/// const STATUS: Key = spanwire::key!("http.response.status_code");
/// let attributes = [METHOD.str("GET"), STATUS.int(200)];
/// # assert_eq!(attributes[1].name(), "http.response.status_code");
/// ```
#[macro_export]
macro_rules! key {
    ($name:expr) => {{
        // Not a name that `$name` may have.
        static SPANWIRE_KEY: $crate::direct::KeyRecord = $crate::direct::KeyRecord::new($name);
        $crate::direct::Key::of(&SPANWIRE_KEY)
    }};
}

/// Doors for `opentelemetry_sdk` 0.33.
#[cfg(feature = "otel_0_33")]
pub mod otel_0_33 {
    pub use crate::ingest::otel_0_33::lifecycle::FLUSH_LIMIT;
    pub use crate::ingest::otel_0_33::log_exporter::LogExporter;
    pub use crate::ingest::otel_0_33::log_processor::LogProcessor;
    pub use crate::ingest::otel_0_33::metrics::exporter::MetricExporter;
    pub use crate::ingest::otel_0_33::metrics::views::{
        exponential_histograms, preferred_histograms,
    };
    pub use crate::ingest::otel_0_33::processor::SpanProcessor;
    pub use crate::ingest::otel_0_33::self_metrics::observe;
    pub use crate::ingest::otel_0_33::span_exporter::SpanExporter;
}

/// What fuzz and bench need of the inside. Not covered by semver.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    #[cfg(feature = "otel_0_33")]
    pub use crate::ingest::otel_0_33::metrics::image::MetricImage;
    #[cfg(feature = "grpc")]
    pub use crate::transport::{Judged, judge_answer};
    pub use crate::transport::{http1, rejected_by, retry_after};

    /// The rejected records and the message of a successful answer in JSON; `None` if it is none.
    pub fn json_partial_success(body: &[u8]) -> Option<(i64, String)> {
        let read = crate::wire::response::PartialSuccess::read_json(body).ok()?;
        Some((read.rejected, read.message))
    }

    /// The code and the message of any other answer in JSON; `None` if it is none.
    pub fn json_status(body: &[u8]) -> Option<(i32, String)> {
        let read = crate::wire::response::RpcStatus::read_json(body).ok()?;
        Some((read.code, read.message))
    }

    /// As `Builder::env_from`, with values that need not be text.
    pub fn env_from_os(
        builder: crate::Builder,
        lookup: impl Fn(&str) -> Option<std::ffi::OsString> + Send + 'static,
    ) -> crate::Builder {
        builder.env_from_os(lookup)
    }

    /// Appends an encoded request as one JSON object.
    ///
    /// # Errors
    /// The request is malformed; then nothing is appended.
    pub fn json_transcode(
        signal: crate::Signal,
        request: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), crate::wire::Malformed> {
        crate::encode::json::transcode(signal, request, out)
    }

    /// Writes what the direct door writes for one span, for the benches.
    #[inline]
    pub fn encode_plain_span(
        out: &mut spanwire_runtime::buf::Cursor<'_>,
        span: &crate::direct::Span<'_>,
    ) {
        let limits = &crate::encode::limits::Limits::DEFAULT;
        crate::ingest::direct::span::encode_span(out, span, limits);
    }

    /// Writes what the SDK's door writes for one span, for the benches.
    #[cfg(feature = "otel_0_33")]
    #[inline]
    pub fn encode_span(
        out: &mut spanwire_runtime::buf::Cursor<'_>,
        span: &opentelemetry_sdk::trace::SpanData,
    ) {
        let limits = &crate::encode::limits::Limits::DEFAULT;
        crate::ingest::otel_0_33::span_data::encode_span(out, span, limits);
    }

    /// Writes what the SDK's door writes for one log record, for the benches.
    #[cfg(feature = "otel_0_33")]
    #[inline]
    pub fn encode_log_record(
        out: &mut spanwire_runtime::buf::Cursor<'_>,
        record: &opentelemetry_sdk::logs::SdkLogRecord,
    ) {
        let limits = &crate::encode::limits::Limits::DEFAULT;
        crate::ingest::otel_0_33::log_record::encode_log_record(out, record, limits);
    }
}
