//! Configuration: code beats the signal's variable beats the generic variable beats the default.

use std::any::Any;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use spanwire_runtime::driver::Choice;
use spanwire_runtime::pipe;

use crate::batch;
use crate::diagnostics::{Diagnostic, Diagnostics, Handler, Kind};
use crate::env::{self, GivenEndpoint, GivenHeader};
use crate::error::BuildError;
use crate::exporter::Exporter;
use crate::pipeline::assemble::{self, Settings};
use crate::retry;
use crate::transport::endpoint::{Endpoint, Scope};
use crate::transport::http1::RequestHead;

/// Sets up an [`Exporter`].
///
/// What is not set here is taken from the environment (`OTEL_EXPORTER_OTLP_TRACES_*`, then
/// `OTEL_EXPORTER_OTLP_*`, `OTEL_BSP_*`, `SPANWIRE_IO`), then from the defaults that each method
/// names.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let exporter = spanwire::Exporter::builder()
///     .endpoint("http://localhost:4318")
///     .header("x-tenant", "shop")
///     .timeout(Duration::from_secs(3))
///     .build()?;
/// exporter.shutdown(Duration::from_secs(1))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing runs before `build`"]
pub struct Builder {
    endpoint: Option<String>,
    traces_endpoint: Option<String>,
    headers: Vec<(String, String)>,
    timeout: Option<Duration>,
    retry: retry::Policy,
    batch: batch::Limits,
    age_max: Option<Duration>,
    buffer_bytes: usize,
    lanes: usize,
    io: Option<Choice>,
    thread_name: String,
    on_diagnostic: Option<Handler>,
    lookup: Lookup,
}

/// The value of an environment variable, if it is set.
type Lookup = Box<dyn Fn(&str) -> Option<String>>;

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            endpoint: None,
            traces_endpoint: None,
            headers: Vec::new(),
            timeout: None,
            retry: retry::Policy::default(),
            batch: batch::Limits::default(),
            age_max: None,
            buffer_bytes: BUFFER_BYTES,
            lanes: LANES,
            io: None,
            thread_name: THREAD_NAME.to_owned(),
            on_diagnostic: None,
            lookup: Box::new(|name| std::env::var(name).ok()),
        }
    }

    /// Base URL of the collector; `/v1/traces` is appended to its path. Default
    /// `http://localhost:4318`.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// URL that traces are sent to, used as it is; it beats [`endpoint`](Self::endpoint).
    pub fn traces_endpoint(mut self, url: impl Into<String>) -> Self {
        self.traces_endpoint = Some(url.into());
        self
    }

    /// Adds a header to every request, in place of one of the same name. Values are never logged.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Bounds one attempt to deliver a request, from name resolution to the end of the answer.
    /// Default 10 s; zero is no limit.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// How long a request is retried, from its first attempt. Default 5 minutes; zero never
    /// retries. Its bytes stay in the buffer meanwhile, so a full buffer drops new records first.
    pub fn retry_budget(mut self, budget: Duration) -> Self {
        self.retry.budget = budget;
        self
    }

    /// The first and the longest pause between attempts; half of each is random. Default 0.5 s
    /// and 30 s. A peer's `Retry-After` is a minimum.
    pub fn retry_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.retry.initial = first;
        self.retry.step_max = longest;
        self
    }

    /// A request is sent once it is estimated at this many bytes. Default 512 KiB. More means
    /// fewer requests and a longer hold on the buffer.
    pub fn batch_bytes(mut self, target: usize) -> Self {
        self.batch.target_bytes = target;
        self
    }

    /// At most this many records a request. Default `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` if set, else
    /// no limit: bytes decide.
    pub fn batch_records(mut self, most: u64) -> Self {
        self.batch.records_max = Some(most);
        self
    }

    /// Records wait at most about this long for company. Default `OTEL_BSP_SCHEDULE_DELAY` if
    /// set, else 1 s. At most a day.
    pub fn batch_age(mut self, most: Duration) -> Self {
        self.age_max = Some(most);
        self
    }

    /// No request is larger than this many bytes. Default 4 MiB, what common receivers accept. A
    /// record that alone exceeds it is dropped and counted.
    pub fn request_bytes_max(mut self, most: usize) -> Self {
        self.batch.request_bytes_max = most;
        self
    }

    /// Memory for records that wait or are being sent. Default 16 MiB, at least 1 MiB; rounded to
    /// chunks of 64 KiB. It is touched as needed only. When it is full, new records are dropped
    /// and counted.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = bytes;
        self
    }

    /// Requests in flight at once, each over a connection of its own that is opened when needed.
    /// Default 4; 1 to 64.
    pub fn in_flight(mut self, requests: usize) -> Self {
        self.lanes = requests;
        self
    }

    /// Which driver moves the bytes. Default `SPANWIRE_IO` (`auto`, `uring`, `epoll`), else auto.
    pub fn io(mut self, choice: Choice) -> Self {
        self.io = Some(choice);
        self
    }

    /// Name of the exporter's thread. Default `spanwire`.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// Who is told of what goes wrong at run time, on the exporter's thread; at most once a
    /// minute of each kind. Default: one line on stderr.
    pub fn on_diagnostic(mut self, handler: impl Fn(&Diagnostic) + Send + Sync + 'static) -> Self {
        self.on_diagnostic = Some(Arc::new(handler));
        self
    }

    /// Reads variables from `lookup` in place of the process's environment: for tests, and for
    /// programs with a configuration of their own.
    pub fn env_from(mut self, lookup: impl Fn(&str) -> Option<String> + 'static) -> Self {
        self.lookup = Box::new(lookup);
        self
    }

    /// Checks everything and starts the exporter's thread.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for an endpoint or header that cannot be used, for a value that OTLP knows
    /// and this build does not support (https, gRPC, compression), and if the thread or its driver
    /// could not be started. A malformed number in the environment is a diagnostic, not an error.
    pub fn build(self) -> Result<Exporter, BuildError> {
        let (shared, runtime) = assemble::start(self.settings()?)?;
        Ok(Exporter::assembled(shared, runtime))
    }

    fn settings(self) -> Result<Settings, BuildError> {
        self.check_bounds()?;
        let (mut given, warnings) = env::read(&self.lookup)?;
        let (io, endpoint) = (self.choose_io()?, self.choose_endpoint(given.endpoint.take())?);
        let headers = self.merge_headers(given.headers)?;
        let timeout = self.timeout.or(given.timeout).unwrap_or(TIMEOUT);
        let batch = batch::Limits {
            // More than a quarter of the buffer would keep too little for those who append.
            target_bytes: self.batch.target_bytes.min(self.buffer_bytes / 4),
            records_max: self.batch.records_max.or(given.batch_records_max),
            ..self.batch
        };
        let diagnostics = self.on_diagnostic.map_or_else(Diagnostics::default, Diagnostics::new);
        if !warnings.is_empty() {
            let all: Vec<_> = warnings.iter().map(ToString::to_string).collect();
            diagnostics.report(Kind::Configuration, &all.join("; "), Instant::now());
        }
        Ok(Settings {
            endpoint,
            headers,
            timeout: (!timeout.is_zero()).then_some(timeout),
            retry: self.retry,
            pipe: pipe_config(self.buffer_bytes, batch.target_bytes),
            batch,
            age_max: self.age_max.or(given.schedule_delay).unwrap_or(AGE_MAX),
            lanes: self.lanes,
            io,
            thread_name: self.thread_name,
            on_thread_start,
            diagnostics,
        })
    }

    /// Refuses what would not work, rather than to do something else.
    fn check_bounds(&self) -> Result<(), BuildError> {
        let records_max = self.batch.records_max.unwrap_or(1);
        let bounds = [
            ("Builder::batch_bytes", self.batch.target_bytes as u64, 1..=u64::MAX),
            ("Builder::batch_records", records_max, 1..=u64::MAX),
            ("Builder::request_bytes_max", self.batch.request_bytes_max as u64, REQUEST_BYTES),
            ("Builder::buffer_bytes", self.buffer_bytes as u64, BUFFER_BYTES_BOUNDS),
            ("Builder::in_flight", self.lanes as u64, LANES_BOUNDS),
        ];
        match bounds.into_iter().find(|(_, value, bounds)| !bounds.contains(value)) {
            None => Ok(()),
            Some((source_name, value, bounds)) => Err(BuildError::InvalidValue {
                value: value.to_string(),
                source_name,
                why: format!("it must be from {} to {}", bounds.start(), bounds.end()),
            }),
        }
    }

    fn choose_io(&self) -> Result<Choice, BuildError> {
        if let Some(choice) = self.io {
            return Ok(choice);
        }
        let value = (self.lookup)(IO_VARIABLE).unwrap_or_default();
        value.parse().map_err(|_| BuildError::InvalidValue {
            value,
            source_name: IO_VARIABLE,
            why: "it must be auto, uring or epoll".to_owned(),
        })
    }

    fn choose_endpoint(&self, given: Option<GivenEndpoint>) -> Result<Endpoint, BuildError> {
        if let Some(url) = &self.traces_endpoint {
            return Endpoint::parse(url, Scope::Signal, "Builder::traces_endpoint");
        }
        if let Some(url) = &self.endpoint {
            return Endpoint::parse(url, Scope::Base, "Builder::endpoint");
        }
        match given {
            Some(GivenEndpoint { value, is_base: true, source_name }) => {
                Endpoint::parse(&value, Scope::Base, source_name)
            }
            Some(GivenEndpoint { value, is_base: false, source_name }) => {
                Endpoint::parse(&value, Scope::Signal, source_name)
            }
            None => Endpoint::parse(ENDPOINT, Scope::Base, "the default"),
        }
    }

    /// Headers of the environment, with those of the code in place of their namesakes.
    fn merge_headers(
        &self,
        given: Vec<GivenHeader>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, BuildError> {
        let mut headers = given;
        for (name, value) in &self.headers {
            env::merge_headers(&mut headers, vec![parse_header(name, value)?]);
        }
        for header in &headers {
            check_header(header)?;
        }
        Ok(headers.into_iter().map(|header| (header.name, header.value)).collect())
    }
}

impl fmt::Debug for Builder {
    /// Shows no header values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("endpoint", &self.endpoint)
            .field("traces_endpoint", &self.traces_endpoint)
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .field("batch", &self.batch)
            .field("buffer_bytes", &self.buffer_bytes)
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

fn parse_header(name: &str, value: &str) -> Result<GivenHeader, BuildError> {
    let source_name = "Builder::header";
    let invalid = |why: &str| BuildError::InvalidHeader {
        name: name.to_owned(),
        source_name,
        why: why.to_owned(),
    };
    let parsed = HeaderName::try_from(name)
        .map_err(|_| invalid("its name has characters that no header name may have"))?;
    let mut value = HeaderValue::try_from(value)
        .map_err(|_| invalid("its value has a line break or another control character"))?;
    value.set_sensitive(true);
    Ok(GivenHeader { name: parsed, value, source_name })
}

fn check_header(header: &GivenHeader) -> Result<(), BuildError> {
    RequestHead::check(&header.name).map_err(|error| BuildError::InvalidHeader {
        name: header.name.to_string(),
        source_name: header.source_name,
        why: error.to_string(),
    })
}

/// A pool of `buffer_bytes` whose worker is woken for a batch, or for a quarter of the pool.
fn pipe_config(buffer_bytes: usize, batch_bytes: usize) -> pipe::Config {
    let mut config = pipe::Config::default();
    config.chunks = buffer_bytes.div_ceil(config.chunk_bytes);
    config.wake_bytes = batch_bytes.min(buffer_bytes / 4);
    config
}

#[cfg(feature = "otel_0_33")]
fn on_thread_start() -> Box<dyn Any> {
    crate::ingest::otel_0_33::suppress_telemetry()
}

#[cfg(not(feature = "otel_0_33"))]
fn on_thread_start() -> Box<dyn Any> {
    Box::new(())
}

/// The specification's default (exporter.md, "Configuration options").
const ENDPOINT: &str = "http://localhost:4318";
/// The specification's default, per attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The latency of a quiet service.
const AGE_MAX: Duration = Duration::from_secs(1);
/// Chooses the driver.
const IO_VARIABLE: &str = "SPANWIRE_IO";
const THREAD_NAME: &str = "spanwire";
/// Half a minute of 1000 spans a second.
const BUFFER_BYTES: usize = 16 << 20;
/// Below a mebibyte a few threads' chunks would be all of it; the pool is one allocation.
const BUFFER_BYTES_BOUNDS: RangeInclusive<u64> = 1 << 20..=1 << 36;
/// Room for a resource, a scope and a span; and what a message may have at most.
const REQUEST_BYTES: RangeInclusive<u64> = 1 << 10..=i32::MAX as u64;
/// Enough to hide a round trip, few enough to spare the peer.
const LANES: usize = 4;
const LANES_BOUNDS: RangeInclusive<u64> = 1..=64;
