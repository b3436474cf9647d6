//! Destinations beside the main one.

use std::path::PathBuf;
use std::time::Duration;

use spanwire_runtime::pipe::WhenFull;

use super::Builder;
#[cfg(feature = "tls")]
use super::tls::TlsConfig;
use crate::diagnostics::{Handler, Level};
use crate::error::BuildError;
use crate::model::{Compression, DestinationName, NAME_BYTES, Protocol, Signal};
use crate::pipeline::assemble::{BesideSettings, LineSettings, Route};
use crate::pipeline::flush::BESIDE_MAX;
use crate::pipeline::outlet::{Over, Share};
use crate::retry::Policy;
use crate::transport::balance::Balance;
use crate::transport::header_source::HeaderSource;

/// A destination beside the main one: another collector, or a file, that gets all that the main
/// one gets. See [`Builder::destination`].
///
/// What is not set here has the default of the [`Builder`]'s method of the same name; nothing is
/// taken from the environment, which describes the main destination.
///
/// # Examples
///
/// ```
/// use spanwire::{Destination, Signal};
///
/// let archive = Destination::new("archive")
///     .endpoint("http://archive.internal:4318")
///     .header("x-tenant", "shop")
///     .signals([Signal::Traces, Signal::Logs]);
/// let exporter = spanwire::Exporter::builder().destination(archive).build()?;
/// assert_eq!(exporter.stats().destinations[0].name.as_str(), "archive");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "it gets nothing unless it is given to `Builder::destination`"]
pub struct Destination {
    name: String,
    /// In the order of [`Signal::ALL`].
    signals: [bool; Signal::ALL.len()],
    /// Which terms of the retries are its own; the others are the main destination's.
    own_retry: OwnRetry,
    bytes_max: Option<usize>,
    /// Keeps and checks what a destination has in common with the main one.
    inner: Builder,
}

impl Destination {
    /// A destination called `name`: up to 32 bytes of printable ASCII that no other destination of
    /// the exporter has. It stands in counters, errors and diagnostics.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            signals: [true; Signal::ALL.len()],
            own_retry: OwnRetry::default(),
            bytes_max: None,
            inner: Builder::new().env_from(|_| None),
        }
    }

    /// Which signals it gets. Default all.
    pub fn signals(mut self, signals: impl IntoIterator<Item = Signal>) -> Self {
        self.signals = [false; Signal::ALL.len()];
        signals.into_iter().for_each(|signal| self.signals[signal.index()] = true);
        self
    }

    /// Of the buffer of a signal, it may hold so many bytes for itself alone: requests that wait
    /// for it or are on their way to it. Over that, those that wait longest are dropped, for this
    /// destination, and counted as [`evicted`](crate::Dropped::evicted).
    ///
    /// Default a quarter of [`Builder::buffer_bytes`], shared equally by all destinations beside
    /// the main one; together they can have half of it. More lets it be away for longer, and
    /// leaves less to the others.
    pub fn buffer_bytes(mut self, bytes: usize) -> Self {
        self.bytes_max = Some(bytes);
        self
    }

    /// As [`Builder::retry_budget`]; default the main destination's.
    pub fn retry_budget(mut self, budget: Duration) -> Self {
        self.own_retry.budget = true;
        self.map(|inner| inner.retry_budget(budget))
    }

    /// As [`Builder::retry_backoff`]; default the main destination's.
    pub fn retry_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.own_retry.backoff = true;
        self.map(|inner| inner.retry_backoff(first, longest))
    }

    /// As [`Builder::retry_bytes`]; default the main destination's.
    pub fn retry_bytes(mut self, most: usize) -> Self {
        self.own_retry.bytes = true;
        self.map(|inner| inner.retry_bytes(most))
    }

    /// As [`Builder::endpoint`], without a default.
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        self.map(|inner| inner.endpoint(url))
    }

    /// As [`Builder::traces_endpoint`].
    pub fn traces_endpoint(self, url: impl Into<String>) -> Self {
        self.map(|inner| inner.traces_endpoint(url))
    }

    /// As [`Builder::logs_endpoint`].
    pub fn logs_endpoint(self, url: impl Into<String>) -> Self {
        self.map(|inner| inner.logs_endpoint(url))
    }

    /// As [`Builder::metrics_endpoint`].
    pub fn metrics_endpoint(self, url: impl Into<String>) -> Self {
        self.map(|inner| inner.metrics_endpoint(url))
    }

    /// As [`Builder::endpoints`].
    pub fn endpoints<U: Into<String>>(self, urls: impl IntoIterator<Item = U>) -> Self {
        self.map(|inner| inner.endpoints(urls))
    }

    /// As [`Builder::balance`].
    pub fn balance(self, balance: Balance) -> Self {
        self.map(|inner| inner.balance(balance))
    }

    /// As [`Builder::resolve_all`].
    pub fn resolve_all(self, every: Duration) -> Self {
        self.map(|inner| inner.resolve_all(every))
    }

    /// As [`Builder::file`].
    pub fn file(self, path: impl Into<PathBuf>) -> Self {
        self.map(|inner| inner.file(path))
    }

    /// As [`Builder::header`].
    pub fn header(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.map(|inner| inner.header(name, value))
    }

    /// As [`Builder::protocol`].
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.map(|inner| inner.protocol(protocol))
    }

    /// As [`Builder::compression`].
    pub fn compression(self, compression: Compression) -> Self {
        self.map(|inner| inner.compression(compression))
    }

    /// As [`Builder::compression_level`].
    pub fn compression_level(self, level: u8) -> Self {
        self.map(|inner| inner.compression_level(level))
    }

    /// As [`Builder::header_source`].
    pub fn header_source(self, source: impl HeaderSource + 'static) -> Self {
        self.map(|inner| inner.header_source(source))
    }

    /// As [`Builder::insecure`].
    pub fn insecure(self, is_insecure: bool) -> Self {
        self.map(|inner| inner.insecure(is_insecure))
    }

    /// As [`Builder::tls`]; default the machine's authorities, whatever the main destination has.
    #[cfg(feature = "tls")]
    pub fn tls(self, config: TlsConfig) -> Self {
        self.map(|inner| inner.tls(config))
    }

    /// As [`Builder::keepalive`].
    #[cfg(feature = "grpc")]
    pub fn keepalive(self, interval: Duration, timeout: Duration) -> Self {
        self.map(|inner| inner.keepalive(interval, timeout))
    }

    /// As [`Builder::proxy`]; the environment's proxy is not asked.
    pub fn proxy(self, url: impl Into<String>) -> Self {
        self.map(|inner| inner.proxy(url))
    }

    /// As [`Builder::timeout`].
    pub fn timeout(self, limit: Duration) -> Self {
        self.map(|inner| inner.timeout(limit))
    }

    /// As [`Builder::in_flight`].
    pub fn in_flight(self, requests: usize) -> Self {
        self.map(|inner| inner.in_flight(requests))
    }

    fn map(self, change: impl FnOnce(Builder) -> Builder) -> Self {
        Self { inner: change(self.inner), ..self }
    }
}

impl Builder {
    /// Adds a destination that gets all that the main one gets, which is the one that the other
    /// methods and the environment describe. At most 7.
    ///
    /// Each has a queue, connections, retries and counters of its own
    /// ([`Stats::destinations`](crate::Stats::destinations)); the records are shared, not copied.
    /// A destination that is slow or away loses its own copies once its share of the buffer is
    /// full ([`Destination::buffer_bytes`]) and holds up nobody. The main one so has a share, too:
    /// two thirds of what the others leave, so that with one default destination a collector that
    /// is away costs records after half a buffer in place of a whole one. With
    /// [`WhenFull::Block`] it has all, and who ends a record waits for the main destination.
    ///
    /// [`flush`](crate::Exporter::flush) and [`shutdown`](crate::Exporter::shutdown) wait for all
    /// destinations, and what one of them has lost is an error that names it. Whoever exports whole
    /// batches (metrics, and the SDK's own processors) is told what the main destination made of
    /// them, and does not wait for the others.
    pub fn destination(mut self, destination: Destination) -> Self {
        self.destinations.push(destination);
        self
    }
}

/// Adds `destinations` to the lines of the signals that they get; returns their names.
pub(super) fn add(
    destinations: Vec<Destination>,
    lines: &mut [LineSettings],
) -> Result<Vec<DestinationName>, BuildError> {
    let mut names = Vec::with_capacity(destinations.len());
    let count = destinations.len();
    for (index, destination) in destinations.into_iter().enumerate() {
        let name = destination.name.clone();
        let added = name_of(&name, &names).and_then(|name| {
            names.push(name);
            destination.add_to(lines, index, count)
        });
        added.map_err(|error| {
            let name = name.clone();
            BuildError::Destination { name, error: Box::new(error) }
        })?;
    }
    for line in lines.iter_mut().filter(|line| !line.beside.is_empty()) {
        line.share = main_share(line);
    }
    Ok(names)
}

/// Which terms of a policy were set.
#[derive(Clone, Copy, Debug, Default)]
struct OwnRetry {
    budget: bool,
    backoff: bool,
    bytes: bool,
}

impl OwnRetry {
    /// Of `own` what was set, and of `main` the rest.
    fn over(self, own: Policy, main: Policy) -> Policy {
        let backoff = if self.backoff { own } else { main };
        Policy {
            initial: backoff.initial,
            step_max: backoff.step_max,
            budget: if self.budget { own.budget } else { main.budget },
            bytes_max: if self.bytes { own.bytes_max } else { main.bytes_max },
        }
    }
}

impl Destination {
    /// Who hears of what goes wrong is who hears of the main destination.
    pub(super) fn tell(&mut self, handler: Option<&Handler>, level: Option<Level>) {
        (self.inner.on_diagnostic, self.inner.level) = (handler.cloned(), level);
    }

    /// Adds the destination, which is one of so many, to the lines of its signals.
    fn add_to(
        self,
        lines: &mut [LineSettings],
        index: usize,
        count: usize,
    ) -> Result<(), BuildError> {
        self.check_endpoint()?;
        let (signals, own_retry, bytes_max) = (self.signals, self.own_retry, self.bytes_max);
        let own = self.inner.settings()?.lines;
        for ((line, own), is_wanted) in lines.iter_mut().zip(own).zip(signals) {
            if !is_wanted || line.is_off {
                continue;
            }
            let bytes_max = bytes_max.unwrap_or(line.submit_bytes_max / 4 / count);
            check_share(bytes_max, line)?;
            let LineSettings { target, timeout, lanes, .. } = own;
            let retry = own_retry.over(own.retry, line.retry);
            let share = Share { bytes_max, over: Over::Oldest };
            let route = Route { target, timeout, retry, lanes };
            line.beside.push(BesideSettings { index, route, share });
        }
        Ok(())
    }

    /// Without an endpoint it would be the main destination a second time.
    fn check_endpoint(&self) -> Result<(), BuildError> {
        let builder = &self.inner;
        let has_own = |signal: &Signal| builder.signal_endpoints[signal.index()].is_some();
        let mut wanted = Signal::ALL.into_iter().filter(|signal| self.signals[signal.index()]);
        let has_some = builder.endpoint.is_some() || !builder.endpoints.is_empty();
        if builder.output.is_some() || has_some || wanted.all(|it| has_own(&it)) {
            return Ok(());
        }
        Err(BuildError::InvalidEndpoint {
            value: String::new(),
            source_name: "Destination::endpoint",
            why: "a destination beside the main one has no default".to_owned(),
        })
    }
}

fn name_of(name: &str, others: &[DestinationName]) -> Result<DestinationName, BuildError> {
    let refused = |why: String| {
        let (value, source_name) = (name.to_owned(), "Destination::new");
        Err(BuildError::InvalidValue { value, source_name, why })
    };
    let Some(name) = DestinationName::new(name) else {
        return refused(format!("it must be 1 to {NAME_BYTES} bytes of printable ASCII"));
    };
    if others.contains(&name) {
        return refused("another destination has this name".to_owned());
    }
    if others.len() >= BESIDE_MAX {
        return refused(format!("there are {BESIDE_MAX} destinations beside the main one already"));
    }
    Ok(name)
}

/// Refuses a share that is nothing, and shares that leave too little to the main destination.
fn check_share(bytes_max: usize, line: &LineSettings) -> Result<(), BuildError> {
    let (most, others) = (line.submit_bytes_max / 2, shared(line));
    if bytes_max > 0 && others.saturating_add(bytes_max) <= most {
        return Ok(());
    }
    Err(BuildError::InvalidValue {
        value: bytes_max.to_string(),
        source_name: "Destination::buffer_bytes",
        why: format!(
            "it must be at least 1, and those of all destinations together at most {most}, half of \
             Builder::buffer_bytes"
        ),
    })
}

/// What the destinations beside the main one may hold together.
fn shared(line: &LineSettings) -> usize {
    line.beside.iter().fold(0, |sum, beside| sum.saturating_add(beside.share.bytes_max))
}

/// What the main destination may hold beside others: not all of the rest, or nothing would be
/// left for records that come in meanwhile for the others.
fn main_share(line: &LineSettings) -> Option<Share> {
    let bytes_max = line.submit_bytes_max.saturating_sub(shared(line)) / 3 * 2;
    let over = match line.pipe.when_full {
        // Whoever ends a record has chosen to wait rather than to lose one.
        WhenFull::Block(_) => return None,
        WhenFull::DropOldest => Over::Oldest,
        _ => Over::Newest,
    };
    Some(Share { bytes_max, over })
}
