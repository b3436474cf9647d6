//! Several endpoints as one destination.

use std::time::Duration;

use super::Builder;
use crate::error::BuildError;
use crate::transport::balance::Balance;

impl Builder {
    /// Base URLs of collectors of which each request goes to one, in place of
    /// [`endpoint`](Self::endpoint) and the environment's; the URL of a signal
    /// ([`traces_endpoint`](Self::traces_endpoint)) still beats them. At most 64.
    ///
    /// [`balance`](Self::balance) says to which. Requests tell how an endpoint is: after three
    /// failures in a row it gets none for a second, then a single one to find out, and if that
    /// fails none for twice as long, up to half a minute. A request that could not even be sent
    /// goes to the next endpoint at once, and a retry goes elsewhere if there is an elsewhere. An
    /// endpoint that asks for a pause (`Retry-After`) gets one; only if all do, everything waits.
    /// If none is well, the one that was to be asked first is asked: there is never a dead stop.
    ///
    /// All are talked to in the same way: protocol, headers, TLS and proxy are those of the
    /// builder.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use spanwire::{Balance, Exporter};
    ///
    /// // All addresses of one name, as of a headless service; each trace stays on one of them.
    /// let builder = Exporter::builder()
    ///     .endpoint("http://collectors.internal:4318")
    ///     .balance(Balance::ByTraceId)
    ///     .resolve_all(Duration::from_secs(30));
    /// ```
    pub fn endpoints<U: Into<String>>(mut self, urls: impl IntoIterator<Item = U>) -> Self {
        self.endpoints = urls.into_iter().map(Into::into).collect();
        self
    }

    /// How [`endpoints`](Self::endpoints), or the addresses of
    /// [`resolve_all`](Self::resolve_all), share the requests. Default [`Balance::RoundRobin`].
    pub fn balance(mut self, balance: Balance) -> Self {
        self.balance = balance;
        self
    }

    /// Takes each address that an endpoint's name has for an endpoint of its own, and asks for
    /// them again at `every`, at least 1 s, and after a connection that could not be opened.
    /// Default: a name is one endpoint, resolved for each connection, whose first address that
    /// accepts is used.
    ///
    /// The names are resolved beside the requests, and only when there are requests; the first
    /// ones wait for it, at most 5 s. New addresses join. One that is gone gets no new requests:
    /// those under way end, then its connections are closed. A name that cannot be resolved keeps
    /// the addresses it had. An endpoint behind a proxy is not resolved here, nor is a Unix socket.
    pub fn resolve_all(mut self, every: Duration) -> Self {
        self.resolve_every = Some(every);
        self
    }

    /// Whether there may be several endpoints, with `named` of them in the configuration.
    pub(super) fn check_balance(&self, named: usize) -> Result<(), BuildError> {
        let refused = |value: String, source_name, why: String| {
            Err(BuildError::InvalidValue { value, source_name, why })
        };
        if named > ENDPOINTS_MAX {
            let why = format!("there can be {ENDPOINTS_MAX} at most");
            return refused(named.to_string(), "Builder::endpoints", why);
        }
        if let Some(every) = self.resolve_every.filter(|every| *every < RESOLVE_MIN) {
            let why = format!("it must be at least {RESOLVE_MIN:?}");
            return refused(format!("{every:?}"), "Builder::resolve_all", why);
        }
        let Balance::Weighted(weights) = &self.balance else { return Ok(()) };
        let why = if weights.len() != named {
            format!("there must be one weight for each of the {named} endpoints")
        } else if !weights.iter().all(|weight| (1..=WEIGHT_MAX).contains(weight)) {
            format!("a weight must be from 1 to {WEIGHT_MAX}")
        } else {
            return Ok(());
        };
        refused(format!("{weights:?}"), "Builder::balance", why)
    }
}

/// A request looks at all of them.
const ENDPOINTS_MAX: usize = 64;
const WEIGHT_MAX: u32 = 1000;
/// Resolvers are asked no more often than this.
const RESOLVE_MIN: Duration = Duration::from_secs(1);
