//! Builder methods: proxies.

use super::Builder;
use crate::env::{Given, GivenProxies};
use crate::error::BuildError;
use crate::transport::endpoint::Endpoint;
use crate::transport::proxy::{Bypass, Choices, Proxy};

impl Builder {
    /// Reaches every endpoint through the HTTP proxy at `url`: `http://proxy:3128`, with
    /// `user:password@` before the host if it wants credentials. Default `HTTPS_PROXY` for
    /// https:// endpoints, `HTTP_PROXY` for http:// ones, else `ALL_PROXY` (each in lower case
    /// first), else none. No variable is used for an endpoint on this machine (`localhost`,
    /// 127.0.0.0/8, `::1`), and a Unix socket has no proxy at all.
    ///
    /// The proxy is asked to CONNECT, also for http:// endpoints and gRPC, so it must allow that
    /// for the collector's port. It is told host and port; what is sent through an http:// tunnel
    /// it can read, as everybody on the way can. What it refuses is tried again, like a
    /// collector that is away.
    pub fn proxy(mut self, url: impl Into<String>) -> Self {
        self.proxy = Some(url.into());
        self
    }

    /// Endpoints that are connected to directly, whatever the proxy: names (with all below
    /// them), addresses and networks, separated by commas, each with `:port` or for all ports;
    /// `*` is everything. Default `NO_PROXY`.
    ///
    /// ```
    /// let builder = spanwire::Exporter::builder()
    ///     .proxy("http://proxy.example:3128")
    ///     .no_proxy("internal.example, 10.0.0.0/8, collector:4318");
    /// ```
    pub fn no_proxy(mut self, list: impl Into<String>) -> Self {
        self.no_proxy = Some(list.into());
        self
    }

    /// The proxy that `endpoint` is reached through, if there is one.
    pub(super) fn proxy_of(
        &self,
        endpoint: &Endpoint,
        given: &GivenProxies,
    ) -> Result<Option<Proxy>, BuildError> {
        let pair = |given: &Option<Given<String>>| {
            given.as_ref().map(|given| (given.value.clone(), given.source_name))
        };
        let variable = given.no_proxy.as_ref().map(|given| &given.value);
        let list = self.no_proxy.as_ref().or(variable);
        let choices = Choices {
            code: self.proxy.clone().map(|url| (url, "Builder::proxy")),
            http: pair(&given.http),
            https: pair(&given.https),
            all: pair(&given.all),
            bypass: list.map_or_else(Bypass::default, |list| Bypass::parse(list)),
        };
        choices.of(endpoint)
    }
}
