//! Configuration: code beats the signal's variable beats the generic variable beats the default.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use spanwire_runtime::driver::Choice;
use spanwire_runtime::pipe::WhenFull;

use crate::batch;
use crate::diagnostics::{Diagnostic, Handler, Level};
use crate::encode::limits;
use crate::error::BuildError;
use crate::exporter::Exporter;
use crate::model::{Compression, GivenMetricPreferences, Protocol, Signal, SignalExporter};
use crate::pipeline::home::Home;
use crate::retry;
use crate::transport::balance::Balance;
use crate::transport::endpoint::redacted;
use crate::transport::header_source::ChangingHeaders;

mod attributes;
mod checks;
mod collector;
mod compression;
mod destination;
mod endpoints;
mod explain;
#[cfg(feature = "grpc")]
mod grpc;
mod headers;
mod metrics;
mod output;
mod proxy;
mod retries;
mod settings;
mod signals;
#[cfg(feature = "tls")]
pub(crate) mod tls;

pub use self::destination::Destination;
pub use self::explain::{Explanation, Standing, Variable};
use self::output::Output;

/// Sets up an [`Exporter`].
///
/// What is not set here is taken from the environment (`OTEL_EXPORTER_OTLP_TRACES_*` for traces,
/// `..._LOGS_*` and `..._METRICS_*` for the others, then `OTEL_EXPORTER_OTLP_*`, `OTEL_BSP_*` for
/// traces and `OTEL_BLRP_*` for logs, `SPANWIRE_IO`), then from the defaults that each method
/// names. What is set here holds for all signals. An empty variable counts as unset. A number or
/// word that means nothing is ignored with a diagnostic, and the next in that order applies.
///
/// [`explain`](Self::explain) tells of each variable what became of it. Those of the SDK's batch
/// processors apply when set: `OTEL_BSP_MAX_QUEUE_SIZE` as a [buffer](Self::buffer_bytes) for so
/// many records of 1 KiB, `OTEL_BSP_EXPORT_TIMEOUT` as [`export_timeout`](Self::export_timeout).
/// `OTEL_SDK_DISABLED=true`, or `none` as a signal's exporter, has what comes in ignored.
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
    /// In its place.
    endpoints: Vec<String>,
    balance: Balance,
    resolve_every: Option<Duration>,
    /// In the order of [`Signal::ALL`].
    signal_endpoints: [Option<String>; Signal::ALL.len()],
    insecure: Option<bool>,
    /// In place of a collector.
    output: Option<Output>,
    headers: Vec<(String, String)>,
    header_source: Option<ChangingHeaders>,
    proxy: Option<String>,
    no_proxy: Option<String>,
    /// Beside the main one.
    destinations: Vec<Destination>,
    timeout: Option<Duration>,
    export_timeout: Option<Duration>,
    protocol: Option<Protocol>,
    compression: Option<Compression>,
    compressing: compression::Given,
    #[cfg(feature = "grpc")]
    grpc: grpc::Given,
    /// Its budget is the default one.
    retry: retry::Policy,
    retry_budget: Option<Duration>,
    batch: batch::Limits,
    response_bytes_max: usize,
    age_max: Option<Duration>,
    buffer_bytes: Option<usize>,
    when_full: WhenFull,
    lanes: Option<usize>,
    io: Option<Choice>,
    thread_name: String,
    workers: usize,
    on_diagnostic: Option<Handler>,
    level: Option<Level>,
    is_disabled: Option<bool>,
    /// Who gets each signal, in the order of [`Signal::ALL`].
    exporters: [Option<SignalExporter>; Signal::ALL.len()],
    limits: limits::Given,
    metrics: GivenMetricPreferences,
    #[cfg(feature = "tls")]
    tls: tls::Choices,
    lookup: Lookup,
}

/// The value of an environment variable, if it is set.
type Lookup = Box<dyn Fn(&str) -> Option<OsString> + Send>;

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            endpoint: None,
            endpoints: Vec::new(),
            balance: Balance::default(),
            resolve_every: None,
            signal_endpoints: Default::default(),
            insecure: None,
            output: None,
            headers: Vec::new(),
            header_source: None,
            proxy: None,
            no_proxy: None,
            destinations: Vec::new(),
            timeout: None,
            export_timeout: None,
            protocol: None,
            compression: None,
            compressing: compression::Given::default(),
            #[cfg(feature = "grpc")]
            grpc: grpc::Given::default(),
            retry: retry::Policy::default(),
            retry_budget: None,
            batch: batch::Limits::default(),
            response_bytes_max: RESPONSE_BYTES_MAX,
            age_max: None,
            buffer_bytes: None,
            when_full: WhenFull::default(),
            lanes: None,
            io: None,
            thread_name: THREAD_NAME.to_owned(),
            workers: WORKERS,
            on_diagnostic: None,
            level: None,
            is_disabled: None,
            exporters: Default::default(),
            limits: limits::Given::default(),
            metrics: GivenMetricPreferences::default(),
            #[cfg(feature = "tls")]
            tls: tls::Choices::default(),
            lookup: Box::new(|name| std::env::var_os(name)),
        }
    }

    /// Base URL of the collector; `/v1/traces`, `/v1/logs` or `/v1/metrics` is appended to its
    /// path. Default `http://localhost:4318`, for gRPC `http://localhost:4317`.
    ///
    /// `https://` needs the feature `tls`. A Unix socket is `unix:/absolute`, `unix:///absolute`
    /// or `unix:relative`; requests over it have the signal's path and name the host `localhost`.
    /// gRPC also takes `host:port`, for which [`insecure`](Self::insecure) decides, and has no use
    /// for a path: a diagnostic says so.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// URL that traces are sent to, used as it is; it beats [`endpoint`](Self::endpoint).
    pub fn traces_endpoint(mut self, url: impl Into<String>) -> Self {
        self.signal_endpoints[Signal::Traces.index()] = Some(url.into());
        self
    }

    /// URL that logs are sent to, used as it is; it beats [`endpoint`](Self::endpoint).
    pub fn logs_endpoint(mut self, url: impl Into<String>) -> Self {
        self.signal_endpoints[Signal::Logs.index()] = Some(url.into());
        self
    }

    /// URL that metrics are sent to, used as it is; it beats [`endpoint`](Self::endpoint).
    pub fn metrics_endpoint(mut self, url: impl Into<String>) -> Self {
        self.signal_endpoints[Signal::Metrics.index()] = Some(url.into());
        self
    }

    /// How requests are framed and encoded. Default the signal's variable (such as
    /// `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`), else `OTEL_EXPORTER_OTLP_PROTOCOL`, else
    /// [`Protocol::HttpProtobuf`]; setting it here overrules variables that are meant for other
    /// exporters.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = Some(protocol);
        self
    }

    /// Bounds one attempt to deliver a request, from name resolution to the end of the answer.
    /// Default 10 s; zero is no limit. Unless [`export_timeout`](Self::export_timeout) is set, it
    /// also bounds all attempts of what the SDK waits for: metrics, and what its own processors
    /// export.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// A request is sent once it is estimated at this many bytes. Default 512 KiB. More means
    /// fewer requests and a longer hold on the buffer; a quarter of
    /// [`buffer_bytes`](Self::buffer_bytes) is the most that is used. While all
    /// [`in_flight`](Self::in_flight) requests are under way, batches that wait are merged into larger
    /// requests, up to [`request_bytes_max`](Self::request_bytes_max). If the collector is far away a
    /// request waits for company also while others are under way: for as long as a request takes,
    /// divided by how many there can be, and at most 50 ms.
    pub fn batch_bytes(mut self, target: usize) -> Self {
        self.batch.target_bytes = target;
        self
    }

    /// At most this many records a request. Default `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` for traces
    /// and `OTEL_BLRP_MAX_EXPORT_BATCH_SIZE` for logs if set, else no limit: bytes decide. Of
    /// metrics, data points are counted, and a metric that alone has more is not cut.
    pub fn batch_records(mut self, most: u64) -> Self {
        self.batch.records_max = Some(most);
        self
    }

    /// Records wait at most about this long for company. Default `OTEL_BSP_SCHEDULE_DELAY` for
    /// traces and `OTEL_BLRP_SCHEDULE_DELAY` for logs if set, else 1 s. At most a day.
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

    /// Of the body of an answer, at most this many bytes are read. Default 4 MiB, as OTLP
    /// recommends; at least 1 KiB. A success whose body is larger is still a success, with a
    /// diagnostic, but what it says of rejected records is lost; any other answer is final then.
    pub fn response_bytes_max(mut self, most: usize) -> Self {
        self.response_bytes_max = most;
        self
    }

    /// Memory for the records of one signal that wait or are being sent. Default 16 MiB, at least
    /// 1 MiB; rounded to chunks of 64 KiB. It is touched as needed only, and a signal that is not
    /// used takes none. Unset, `OTEL_BSP_MAX_QUEUE_SIZE` (traces) and `OTEL_BLRP_MAX_QUEUE_SIZE`
    /// (logs) make room for so many records of 1 KiB. Records that are longer than a chunk have half as much again, and none can
    /// be longer than that. When it is full, [`when_full`](Self::when_full) decides.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.buffer_bytes = Some(bytes);
        self
    }

    /// What happens to a span or log record that finds the buffer full. Default
    /// [`WhenFull::DropNewest`]: it is dropped, and whoever ends it never waits.
    ///
    /// [`WhenFull::DropOldest`] keeps the news and drops what waits longest; what is being sent,
    /// or is in the request that comes next, stays. [`WhenFull::Block`] makes the thread that ends
    /// a record wait for room, at most for so long; what finds none then is dropped. Use it where
    /// losing a record is worse than a late answer to a request: with a collector that is away,
    /// each record may cost that wait. All drops are counted by reason
    /// ([`Dropped`](crate::Dropped)), and their beginning and end are diagnostics. What is
    /// submitted in whole batches (metrics, and by exporters for the SDK's own processors) is
    /// never blocked or evicted, but refused.
    ///
    /// ```
    /// use std::time::Duration;
    /// use spanwire::{Exporter, WhenFull};
    ///
    /// let builder = Exporter::builder().when_full(WhenFull::Block(Duration::from_millis(5)));
    /// ```
    pub fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }

    /// Requests of one signal in flight at once, each over a connection of its own that is opened
    /// when needed. Default `OTEL_BSP_MAX_CONCURRENT_EXPORTS` for traces if set, else 4; 1 to 64.
    pub fn in_flight(mut self, requests: usize) -> Self {
        self.lanes = Some(requests);
        self
    }

    /// Which driver moves the bytes. Default `SPANWIRE_IO` (`auto`, `uring`, `epoll`, in any
    /// case), else auto.
    pub fn io(mut self, choice: Choice) -> Self {
        self.io = Some(choice);
        self
    }

    /// How many threads the exporter's runtime has. Default 1, at most 64.
    ///
    /// Delivery is pinned to the first, with its connections. The others compress, and make JSON.
    /// Without either, more than one costs memory and sleeps.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Name of the exporter's thread; a number follows it if there are several. Default
    /// `spanwire`.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = name.into();
        self
    }

    /// Who is told of what goes wrong; at most once a minute of each kind. Default: one line on
    /// stderr.
    ///
    /// `handler` is called on the thread that notices: on the exporter's own for what happens at
    /// run time, on the one that calls [`build`](Self::build) for what is odd about the
    /// configuration or the driver. It should return soon: while it runs, the exporter's thread
    /// delivers nothing and keeps no deadline. It must not wait for this exporter, and should not
    /// own it: an exporter that is owned by its own handler is never dropped, so its last flush
    /// never happens. A panic in it is caught.
    pub fn on_diagnostic(mut self, handler: impl Fn(&Diagnostic) + Send + Sync + 'static) -> Self {
        self.on_diagnostic = Some(Arc::new(handler));
        self
    }

    /// Reads variables from `lookup` in place of the process's environment: for tests, and for
    /// programs with a configuration of their own.
    pub fn env_from(mut self, lookup: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        self.lookup = Box::new(move |name| lookup(name).map(OsString::from));
        self
    }

    /// As [`env_from`](Self::env_from), with values that need not be text.
    #[cfg(feature = "internals")]
    pub(crate) fn env_from_os(
        mut self,
        lookup: impl Fn(&str) -> Option<OsString> + Send + 'static,
    ) -> Self {
        self.lookup = Box::new(lookup);
        self
    }

    /// Checks everything and starts the exporter's thread.
    ///
    /// # Errors
    ///
    /// [`BuildError`] for an endpoint or header that cannot be used, for a value that is out of
    /// its bounds, for one that OTLP knows and whose feature this build has not (gRPC,
    /// https, zstd), and if the thread or its driver could not be started. A malformed number in
    /// the environment is a diagnostic, not an error.
    pub fn build(self) -> Result<Exporter, BuildError> {
        Ok(Exporter::assembled(Home::start(self.settings()?)?))
    }
}

impl fmt::Debug for Builder {
    /// Shows no header values, and of URLs neither user name, password nor query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signal_endpoints =
            self.signal_endpoints.each_ref().map(|url| url.as_deref().map(redacted));
        let endpoints: Vec<_> = self.endpoints.iter().map(|url| redacted(url)).collect();
        f.debug_struct("Builder")
            .field("endpoint", &self.endpoint.as_deref().map(redacted))
            .field("signal_endpoints", &signal_endpoints)
            .field("endpoints", &endpoints)
            .field("balance", &self.balance)
            .field("output", &self.output)
            .field("destinations", &self.destinations)
            .field("timeout", &self.timeout)
            .field("protocol", &self.protocol)
            .field("compression", &self.compression)
            .field("compressing", &self.compressing)
            .field("retry", &self.retry)
            .field("retry_budget", &self.retry_budget)
            .field("batch", &self.batch)
            .field("buffer_bytes", &self.buffer_bytes)
            .field("when_full", &self.when_full)
            .field("io", &self.io)
            .finish_non_exhaustive()
    }
}

const THREAD_NAME: &str = "spanwire";
/// A host gives an exporter one thread, unless it says otherwise.
const WORKERS: usize = 1;
/// The specification's recommendation (H6).
const RESPONSE_BYTES_MAX: usize = 4 << 20;
