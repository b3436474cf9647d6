//! Where requests go: an endpoint as the OTLP exporter specification understands it.

use std::path::PathBuf;

use http::Uri;
use http::uri::{Authority, PathAndQuery};

use crate::error::BuildError;
use crate::model::Signal;

/// What an endpoint string means (exporter.md, "Endpoint URLs for OTLP/HTTP").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A base URL for all signals: this signal's path is appended.
    Base(Signal),
    /// The URL of one signal: used as it is, and `/` if it has no path.
    Signal,
}

/// How an endpoint is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "no endpoint has the other schemes yet")]
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
    /// Path and query, as they go into the request line.
    pub(crate) target: String,
}

impl Endpoint {
    /// Reads the endpoint `value`, which came from `source_name`.
    ///
    /// # Errors
    ///
    /// [`BuildError::Unsupported`] if it names what this build has not, such as https;
    /// [`BuildError::InvalidEndpoint`] if it is no URL that can be sent to.
    pub(crate) fn parse(
        value: &str,
        scope: Scope,
        source_name: &'static str,
    ) -> Result<Self, BuildError> {
        let invalid = |why: &str| invalid(value, source_name, why);
        let trimmed = value.trim();
        check_scheme(trimmed, source_name)?;
        let uri: Uri = trimmed.parse().map_err(|error| invalid(&format!("{error}")))?;
        let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("a user name or password belongs into a header, not into the URL"));
        }
        let port = port(authority).map_err(invalid)?;
        let host = authority.host();
        if host.is_empty() {
            return Err(invalid("it has no host"));
        }
        Ok(Self {
            scheme: Scheme::Http,
            unix_path: None,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: if port == DEFAULT_PORT { host.into() } else { format!("{host}:{port}") },
            target: target(uri.path_and_query(), scope),
        })
    }
}

/// Refuses what is known and not supported with its own error, before anything else is said.
fn check_scheme(value: &str, source_name: &'static str) -> Result<(), BuildError> {
    let why = match value.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") && rest.starts_with("//") => {
            return Ok(());
        }
        Some((scheme, _)) if is_one_of(scheme, &["https"]) => {
            let value = redacted(value);
            return Err(BuildError::Unsupported { what: "tls", value, source_name });
        }
        Some((scheme, _)) if is_one_of(scheme, &["unix", "grpc", "grpcs"]) => {
            let value = redacted(value);
            return Err(BuildError::Unsupported { what: "scheme", value, source_name });
        }
        _ => "it does not begin with http://",
    };
    Err(invalid(value, source_name, why))
}

fn is_one_of(scheme: &str, names: &[&str]) -> bool {
    names.iter().any(|name| scheme.eq_ignore_ascii_case(name))
}

/// The port: 80 if there is none, as for any http URL.
fn port(authority: &Authority) -> Result<u16, &'static str> {
    // Not `Authority::port`: it takes a port that is no u16 for none.
    match authority.as_str()[authority.host().len()..].strip_prefix(':') {
        None => Ok(DEFAULT_PORT),
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
        Scope::Signal if path.is_empty() => "/".to_owned(),
        Scope::Signal => path.to_owned(),
        Scope::Base(signal) => format!("{}/{}", path.trim_end_matches('/'), signal.path()),
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
/// Port of an http URL that names none.
const DEFAULT_PORT: u16 = 80;

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Scope = Scope::Base(Signal::Traces);

    fn parse(value: &str, scope: Scope) -> Result<Endpoint, BuildError> {
        Endpoint::parse(value, scope, "TEST")
    }

    #[test]
    fn a_base_url_gets_the_path_of_the_signal_with_one_slash_between() {
        for (value, target) in [
            ("http://h", "/v1/traces"),
            ("http://h/", "/v1/traces"),
            ("http://h/mycollector", "/mycollector/v1/traces"),
            ("http://h/mycollector/", "/mycollector/v1/traces"),
            ("http://h/a//", "/a/v1/traces"),
            ("http://h?tenant=1", "/v1/traces?tenant=1"),
        ] {
            assert_eq!(parse(value, BASE).unwrap().target, target, "{value}");
        }
    }

    #[test]
    fn each_signal_has_a_path_of_its_own() {
        for signal in Signal::ALL {
            let endpoint = parse("http://h/a", Scope::Base(signal)).unwrap();
            assert_eq!(endpoint.target, format!("/a/{}", signal.path()));
        }
    }

    #[test]
    fn the_url_of_a_signal_is_used_as_it_is() {
        for (value, target) in [
            ("http://h", "/"),
            ("http://h/", "/"),
            ("http://h/a/", "/a/"),
            ("http://h/a?b=c", "/a?b=c"),
            ("HTTP://h/v1/traces", "/v1/traces"),
        ] {
            assert_eq!(parse(value, Scope::Signal).unwrap().target, target, "{value}");
        }
    }

    #[test]
    fn host_and_port_are_honoured_and_ipv6_literals_lose_their_brackets_for_the_resolver() {
        for (value, host, port, authority) in [
            ("http://h", "h", 80, "h"),
            ("http://h:80/", "h", 80, "h"),
            (" http://localhost:4318 ", "localhost", 4318, "localhost:4318"),
            ("http://[::1]:4318", "::1", 4318, "[::1]:4318"),
            ("http://[fe80::2]", "fe80::2", 80, "[fe80::2]"),
            ("http://127.0.0.1:1", "127.0.0.1", 1, "127.0.0.1:1"),
        ] {
            let endpoint = parse(value, BASE).unwrap();
            let found = (&*endpoint.host, endpoint.port, &*endpoint.authority);
            assert_eq!(found, (host, port, authority), "{value}");
        }
    }

    #[test]
    fn what_this_build_has_not_is_refused_by_name() {
        for (value, expected) in
            [("https://h", "tls"), ("unix:///x", "scheme"), ("grpc://h", "scheme")]
        {
            match parse(value, BASE) {
                Err(BuildError::Unsupported { what, value: shown, source_name }) => {
                    assert_eq!((what, &*shown, source_name), (expected, value, "TEST"));
                }
                other => panic!("{value}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_cannot_be_sent_to_is_an_error() {
        for value in [
            "",
            "h",
            "localhost:4318",
            "h:4318/v1",
            "http:h",
            "http://",
            "http:///x",
            "ftp://h",
            "http://h:0",
            "http://h:",
            "http://h:65536",
            "http://h:x",
            "http://h h",
            "http://[::1",
            "http://u:p@h",
            "http://:80",
            "http://h/\u{7f}",
        ] {
            let error = parse(value, BASE).expect_err(value);
            assert!(matches!(error, BuildError::InvalidEndpoint { .. }), "{value}: {error:?}");
        }
    }

    #[test]
    fn an_error_shows_no_password_and_no_query() {
        for (value, shown) in [
            ("http://user:secret@h", "http://***@h"),
            ("https://secret@h:1/x", "https://***@h:1/x"),
            ("https://user:secret@h/x@y", "https://***@y"),
            ("https://h/x?api_key=secret", "https://h/x?***"),
            ("https://secret@h?key=secret", "https://***@h?***"),
            ("https://h#secret", "https://h#***"),
            ("https://user:se?cret@h", "https://***"),
            ("https://user:sec/ret@h", "https://***@h"),
            ("user:secret@h:4318", "***@h:4318"),
            ("http:/user:secret@h", "***@h"),
            ("secret@h/?x=http://y", "***@h/?***"),
            ("https://h/x", "https://h/x"),
            ("", ""),
        ] {
            let error = parse(value, BASE).unwrap_err();
            let (BuildError::InvalidEndpoint { value: found, .. }
            | BuildError::Unsupported { value: found, .. }) = &error
            else {
                panic!("{error:?}");
            };
            assert_eq!(found, shown);
            assert!(!format!("{error} {error:?}").contains("ecret"), "{error:?}");
        }
    }
}
