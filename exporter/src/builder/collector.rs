//! The collector of a signal, and how it is talked to.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::Builder;
use crate::env::{self, Given, GivenEndpoint, GivenHeader, GivenTls, OfSignal, So, Warning};
use crate::error::BuildError;
use crate::model::{Compression, Protocol, Signal};
use crate::pipeline::balanced::Balanced;
use crate::pipeline::carrier::{Collector, Target};
use crate::transport::endpoint::{Endpoint, Scheme, Scope};
#[cfg(feature = "grpc")]
use crate::transport::grpc;
use crate::transport::http1::RequestHead;

impl Builder {
    /// The collector of a signal, or several.
    pub(super) fn collector(&self, signal: Signal, given: &OfSignal) -> Result<Target, BuildError> {
        let is_own = self.signal_endpoints[signal.index()].is_some();
        if is_own || (self.endpoints.is_empty() && self.resolve_every.is_none()) {
            let endpoint = self.choose_endpoint(signal, given)?;
            return Ok(Target::Collector(Box::new(self.collector_at(signal, endpoint, given)?)));
        }
        let endpoints = self.choose_endpoints(signal, given)?;
        self.check_balance(endpoints.len())?;
        let at = |endpoint| self.collector_at(signal, endpoint, given);
        Ok(Target::Balanced(Arc::new(Balanced {
            collectors: endpoints.into_iter().map(at).collect::<Result<_, _>>()?,
            balance: self.balance.clone(),
            resolve_every: self.resolve_every,
        })))
    }

    fn collector_at(
        &self,
        #[cfg_attr(
            not(feature = "tls"),
            allow(unused_variables, reason = "TLS differs by signal")
        )]
        signal: Signal,
        endpoint: Endpoint,
        given: &OfSignal,
    ) -> Result<Collector, BuildError> {
        let (protocol, compression) = self.choices(given)?;
        Ok(Collector {
            #[cfg(feature = "tls")]
            tls: self.tls_to(signal, &endpoint, &given.tls)?,
            proxy: self.proxy_of(&endpoint, &given.proxies)?,
            endpoint,
            address: None,
            headers: self.merge_headers(&given.headers, protocol)?,
            header_source: self.header_source.clone(),
            protocol,
            coding: self.coding(compression)?,
            response_bytes_max: self.response_bytes_max,
            #[cfg(feature = "grpc")]
            keepalive: self.keepalive_config()?,
        })
    }

    /// What is chosen from whichever source wins. Refuses what OTLP knows and this build cannot do.
    fn choices(&self, given: &OfSignal) -> Result<(Protocol, Compression), BuildError> {
        let protocol = winner(self.protocol, "Builder::protocol", given.protocol);
        let protocol = check_choice("protocol", protocol, Protocol::is_supported)?;
        let compression = winner(self.compression, "Builder::compression", given.compression);
        Ok((protocol, check_choice("compression", compression, Compression::is_supported)?))
    }

    /// Those of a balanced set; at least one.
    fn choose_endpoints(
        &self,
        signal: Signal,
        given: &OfSignal,
    ) -> Result<Vec<Endpoint>, BuildError> {
        if self.endpoints.is_empty() {
            return Ok(vec![self.choose_endpoint(signal, given)?]);
        }
        let (protocol, _) = self.choices(given)?;
        let scope = Scope::new(protocol, signal, true, self.is_insecure(given));
        let parse = |url: &String| Endpoint::parse(url, scope, "Builder::endpoints");
        self.endpoints.iter().map(parse).collect()
    }

    fn is_insecure(&self, given: &OfSignal) -> bool {
        let insecure = winner(self.insecure, "Builder::insecure", given.insecure);
        insecure.is_some_and(|given| given.value)
    }

    fn choose_endpoint(&self, signal: Signal, given: &OfSignal) -> Result<Endpoint, BuildError> {
        let ((protocol, _), is_insecure) = (self.choices(given)?, self.is_insecure(given));
        let GivenEndpoint { value, is_base, source_name } =
            self.given_endpoint(signal, protocol, given);
        Endpoint::parse(&value, Scope::new(protocol, signal, is_base, is_insecure), source_name)
    }

    /// The endpoint of whichever source wins.
    fn given_endpoint(
        &self,
        signal: Signal,
        protocol: Protocol,
        given: &OfSignal,
    ) -> GivenEndpoint {
        let of = |value: &str, is_base, source_name| GivenEndpoint {
            value: value.to_owned(),
            is_base,
            source_name,
        };
        if let Some(url) = &self.signal_endpoints[signal.index()] {
            return of(url, false, ENDPOINT_METHODS[signal.index()]);
        }
        if let Some(url) = &self.endpoint {
            return of(url, true, "Builder::endpoint");
        }
        let default = if protocol == Protocol::Grpc { GRPC_ENDPOINT } else { ENDPOINT };
        given.endpoint.clone().unwrap_or_else(|| of(default, true, "the default"))
    }

    /// The path of a gRPC endpoint, which has no meaning: a service has a path of its own.
    pub(super) fn unused_path(
        &self,
        target: &Target,
        signal: Signal,
        given: &OfSignal,
    ) -> Option<Warning> {
        let Target::Collector(collector) = target else { return None };
        if collector.protocol != Protocol::Grpc || collector.endpoint.target == "/" {
            return None;
        }
        let GivenEndpoint { source_name, .. } =
            self.given_endpoint(signal, collector.protocol, given);
        let why = "grpc has no use for the path of a URL, which is left out".to_owned();
        Some(Warning { source_name, so: So::Changed, why })
    }

    /// Headers of the environment, with those of the code in place of their namesakes.
    fn merge_headers(
        &self,
        given: &[GivenHeader],
        protocol: Protocol,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, BuildError> {
        let mut headers = given.to_vec();
        for (index, (name, value)) in self.headers.iter().enumerate() {
            let header = env::parse_header(name, value.as_bytes(), index, "Builder::header")?;
            env::merge_headers(&mut headers, vec![header]);
        }
        for header in &headers {
            check_header(header, protocol)?;
        }
        Ok(headers.into_iter().map(|header| (header.name, header.value)).collect())
    }
}

/// Files for TLS, where there is none to be done, are no error: another signal may need them.
pub(super) fn unused_files(target: &Target, given: &GivenTls) -> Vec<Warning> {
    let Some(collector) = target.collector() else { return Vec::new() };
    let is_used = collector.endpoint.scheme == Scheme::Https;
    let files = given.files().filter(|_| !is_used);
    let warning = |file: &Given<_>| {
        let why = "it has no effect where the endpoint is not https: that data goes out in clear"
            .to_owned();
        Warning { source_name: file.source_name, so: So::Ignored, why }
    };
    files.map(warning).collect()
}

/// What the code chose, else what the environment did.
fn winner<T>(
    code: Option<T>,
    source_name: &'static str,
    given: Option<Given<T>>,
) -> Option<Given<T>> {
    code.map(|value| Given { value, source_name }).or(given)
}

fn check_choice<T: fmt::Display + Copy + Default>(
    what: &'static str,
    chosen: Option<Given<T>>,
    is_supported: fn(T) -> bool,
) -> Result<T, BuildError> {
    match chosen {
        Some(Given { value, source_name }) if !is_supported(value) => {
            Err(BuildError::Unsupported { what, value: value.to_string(), source_name })
        }
        Some(Given { value, .. }) => Ok(value),
        None => Ok(T::default()),
    }
}

fn check_header(header: &GivenHeader, protocol: Protocol) -> Result<(), BuildError> {
    let checked = match protocol {
        #[cfg(feature = "grpc")]
        Protocol::Grpc => grpc::head::check(&header.name, &header.value),
        _ => RequestHead::check(&header.name).map_err(|error| error.to_string()),
    };
    checked.map_err(|why| BuildError::InvalidHeader {
        name: header.name.to_string(),
        source_name: header.source_name,
        why,
    })
}

/// What sets the endpoint of a signal, in the order of [`Signal::ALL`].
const ENDPOINT_METHODS: [&str; Signal::ALL.len()] =
    ["Builder::traces_endpoint", "Builder::logs_endpoint", "Builder::metrics_endpoint"];
/// The specification's default (exporter.md, "Configuration options").
const ENDPOINT: &str = "http://localhost:4318";
/// The same of gRPC (G1).
const GRPC_ENDPOINT: &str = "http://localhost:4317";
