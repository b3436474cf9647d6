//! Where requests go: an endpoint as the OTLP exporter specification understands it.

use std::path::PathBuf;

use http::Uri;
use http::uri::{Authority, PathAndQuery};
use spanwire_runtime::net::UnixStream;

use crate::error::BuildError;
use crate::model::{Protocol, Signal};

/// What an endpoint string means (exporter.md, "Endpoint URLs for OTLP/HTTP").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A base URL for all signals: this signal's path is appended.
    Base(Signal),
    /// The URL of one signal: used as it is, and `/` if it has no path. A Unix socket has a path
    /// of its own, so requests over it have the signal's.
    Signal(Signal),
    /// A gRPC service: the path means nothing, and the scheme may be left out.
    Grpc {
        /// Whether it is spoken to in clear if the scheme is left out.
        is_insecure: bool,
    },
}

impl Scope {
    /// What an endpoint means to `protocol` that was given for all signals (`is_base`), or for
    /// `signal` alone.
    pub(crate) fn new(
        protocol: Protocol,
        signal: Signal,
        is_base: bool,
        is_insecure: bool,
    ) -> Self {
        match protocol {
            Protocol::Grpc => Self::Grpc { is_insecure },
            _ if is_base => Self::Base(signal),
            _ => Self::Signal(signal),
        }
    }
}

/// How an endpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Over TCP, in clear.
    Http,
    /// Over TCP and TLS.
    Https,
    /// Over a Unix domain socket, in clear.
    Unix,
}

impl Scheme {
    /// As a request names it: what a Unix socket carries is HTTP too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http | Self::Unix => "http",
            Self::Https => "https",
        }
    }

    /// Port of a URL that names none.
    fn default_port(self) -> u16 {
        match self {
            Self::Http | Self::Unix => 80,
            Self::Https => 443,
        }
    }
}

/// An endpoint that requests can be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// How it is reached.
    pub(crate) scheme: Scheme,
    /// The socket's file; set if, and only if, the scheme is [`Scheme::Unix`].
    pub(crate) unix_path: Option<PathBuf>,
    /// What is resolved and connected to; an IPv6 literal has no brackets.
    pub(crate) host: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// The `Host` header: with brackets, and with the port unless it is the default.
    pub(crate) authority: String,
    /// Path and query, as they go into the request line. Of a gRPC service it is what was given,
    /// which has no meaning: `/` if nothing was.
    pub(crate) target: String,
}

impl Endpoint {
    /// Reads the endpoint `value`, which came from `source_name`.
    ///
    /// # Errors
    ///
    /// [`BuildError::Unsupported`] if it names what this build has not, such as https without
    /// its feature; [`BuildError::InvalidEndpoint`] if it is nothing that can be sent to.
    pub(crate) fn parse(
        value: &str,
        scope: Scope,
        source_name: &'static str,
    ) -> Result<Self, BuildError> {
        match Kind::of(value.trim(), scope) {
            Kind::Unix(path) => Self::unix(path, scope),
            Kind::Url(Scheme::Https, _) if !cfg!(feature = "tls") => {
                let (what, value) = ("tls", redacted(value.trim()));
                return Err(BuildError::Unsupported { what, value, source_name });
            }
            Kind::Url(scheme, url) => Self::url(scheme, &url, scope),
            Kind::Unsupported => {
                let (what, value) = ("scheme", redacted(value.trim()));
                return Err(BuildError::Unsupported { what, value, source_name });
            }
            Kind::None => Err(match scope {
                Scope::Grpc { .. } => "it is neither host:port nor a URL".to_owned(),
                _ => "it does not begin with http://, https:// or unix:".to_owned(),
            }),
        }
        .map_err(|why| invalid(value.trim(), source_name, &why))
    }

    fn unix(path: &str, scope: Scope) -> Result<Self, String> {
        // Two slashes begin an authority, of which a file has none.
        let path = match path.strip_prefix("//") {
            Some(rest) if rest.starts_with('/') => rest,
            Some(_) => return Err("after unix:// comes an absolute path".to_owned()),
            None => path,
        };
        if path.is_empty() || path.ends_with('/') {
            return Err("it names no socket".to_owned());
        }
        UnixStream::check(path).map_err(|error| error.to_string())?;
        Ok(Self {
            scheme: Scheme::Unix,
            unix_path: Some(path.into()),
            host: UNIX_HOST.to_owned(),
            port: Scheme::Unix.default_port(),
            authority: UNIX_HOST.to_owned(),
            target: match scope {
                Scope::Base(signal) | Scope::Signal(signal) => format!("/{}", signal.path()),
                Scope::Grpc { .. } => "/".to_owned(),
            },
        })
    }

    fn url(scheme: Scheme, url: &str, scope: Scope) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{error}"))?;
        let authority = uri.authority().ok_or("it has no host")?;
        if authority.as_str().contains('@') {
            return Err("a user name or password belongs into a header, not into the URL".into());
        }
        let port = port(authority, scheme)?;
        let host = authority.host();
        if host.is_empty() {
            return Err("it has no host".into());
        }
        let is_default = port == scheme.default_port();
        Ok(Self {
            scheme,
            unix_path: None,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: if is_default { host.into() } else { format!("{host}:{port}") },
            target: target(uri.path_and_query(), scope),
        })
    }
}

/// What an endpoint looks like at first sight.
enum Kind<'a> {
    /// A URL of this scheme, which it begins with.
    Url(Scheme, String),
    /// What follows `unix:`.
    Unix(&'a str),
    /// It begins with what others know and this exporter does not.
    Unsupported,
    None,
}

impl<'a> Kind<'a> {
    fn of(value: &'a str, scope: Scope) -> Self {
        let (scheme, rest) = value.split_once(':').unwrap_or((value, ""));
        let is = |name: &str| scheme.eq_ignore_ascii_case(name);
        match scope {
            _ if is("http") && rest.starts_with("//") => Self::Url(Scheme::Http, value.into()),
            _ if is("https") && rest.starts_with("//") => Self::Url(Scheme::Https, value.into()),
            _ if is("unix") => Self::Unix(rest),
            _ if is("grpc") || is("grpcs") || is("unix-abstract") => Self::Unsupported,
            Scope::Grpc { .. } if rest.starts_with("//") || value.is_empty() => Self::None,
            Scope::Grpc { is_insecure: true } => Self::Url(Scheme::Http, format!("http://{value}")),
            Scope::Grpc { is_insecure: false } => {
                Self::Url(Scheme::Https, format!("https://{value}"))
            }
            _ => Self::None,
        }
    }
}

/// The port: that of the scheme if there is none.
fn port(authority: &Authority, scheme: Scheme) -> Result<u16, &'static str> {
    // Not `Authority::port`: it takes a port that is no u16 for none.
    match authority.as_str()[authority.host().len()..].strip_prefix(':') {
        None => Ok(scheme.default_port()),
        Some(digits) => match digits.parse() {
            Ok(0) => Err("port 0 cannot be connected to"),
            Ok(port) => Ok(port),
            Err(_) => Err("the port is not a number from 1 to 65535"),
        },
    }
}

/// What follows the authority; for a base URL with the signal's path at the end of its path.
fn target(given: Option<&PathAndQuery>, scope: Scope) -> String {
    let path = given.map_or("/", |given| given.path());
    let query = given.and_then(|given| given.query());
    let path = match scope {
        Scope::Base(signal) => format!("{}/{}", path.trim_end_matches('/'), signal.path()),
        _ if path.is_empty() => "/".to_owned(),
        _ => path.to_owned(),
    };
    match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

fn invalid(value: &str, source_name: &'static str, why: &str) -> BuildError {
    BuildError::InvalidEndpoint { value: redacted(value), source_name, why: why.to_owned() }
}

/// `value` without what may be a secret: what stands before an `@`, which may be a password, and
/// the query, which may hold a key.
///
/// A value that ends up here may be no URL at all, so more is hidden rather than less.
pub(crate) fn redacted(value: &str) -> String {
    let (scheme, rest) = split_scheme(value);
    let query = rest.find(['?', '#']);
    match (rest.rfind('@'), query) {
        // An odd password, or an odd query: who knows.
        (Some(at), Some(query)) if query < at => format!("{scheme}{HIDDEN}"),
        (at, query) => {
            let user = if at.is_some() { HIDDEN } else { "" };
            let shown = &rest[at.unwrap_or(0)..query.unwrap_or(rest.len())];
            let query = query.map_or(String::new(), |at| format!("{}{HIDDEN}", &rest[at..=at]));
            format!("{scheme}{user}{shown}{query}")
        }
    }
}

/// `value` in two: its scheme with `://`, if it begins with one, and the rest.
fn split_scheme(value: &str) -> (&str, &str) {
    let is_scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match value.find("://").filter(|end| is_scheme(value[..*end].trim_start())) {
        Some(end) => value.split_at(end + "://".len()),
        None => ("", value),
    }
}

/// Stands for what is not shown.
const HIDDEN: &str = "***";
/// What a request over a Unix socket calls the host, as curl does.
const UNIX_HOST: &str = "localhost";

#[cfg(test)]
mod tests;
