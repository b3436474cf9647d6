//! HTTP proxies: which endpoint has one, and what is said to it.
//!
//! Pure: the caller brings what the environment says and drives the bytes (`connect`). A proxy is
//! asked to CONNECT (RFC 9110, section 9.3.6), for http:// endpoints too: what then passes
//! through it is the same as without it. It sees the collector's host and port, and its own
//! credentials; headers and bodies of requests it sees only if they go in clear anyway.

use std::fmt;

use http::Uri;
use percent_encoding::percent_decode_str;

use super::endpoint::{Endpoint, Scheme, redacted};
use super::http1::{OWN_USER_AGENT, ResponseLimits, ResponseReader};
use crate::error::BuildError;
use crate::model::{Failure, Phase};

mod base64;
mod bypass;

pub(crate) use self::bypass::Bypass;

/// A value, and the variable or builder method that it came from.
pub(crate) type Given = (String, &'static str);

/// What was chosen for all endpoints.
#[derive(Clone, Default)]
pub(crate) struct Choices {
    /// By the code: for every endpoint, loopback addresses too.
    pub(crate) code: Option<Given>,
    /// By the environment: for http:// endpoints,
    pub(crate) http: Option<Given>,
    /// for https:// endpoints,
    pub(crate) https: Option<Given>,
    /// and for those for which the others say nothing.
    pub(crate) all: Option<Given>,
    /// Which endpoints are connected to directly, whatever the others say.
    pub(crate) bypass: Bypass,
}

impl Choices {
    /// The proxy for `endpoint`, if it has one. A Unix socket has none, and no variable sends
    /// what is for this machine to another.
    ///
    /// # Errors
    ///
    /// The proxy that was chosen cannot be used.
    pub(crate) fn of(&self, endpoint: &Endpoint) -> Result<Option<Proxy>, BuildError> {
        let of_scheme = match endpoint.scheme {
            Scheme::Http => &self.http,
            Scheme::Https => &self.https,
            Scheme::Unix => return Ok(None),
        };
        if self.bypass.covers(&endpoint.host, endpoint.port) {
            return Ok(None);
        }
        let given = match &self.code {
            Some(given) => Some(given),
            None if bypass::is_loopback(&endpoint.host) => None,
            None => of_scheme.as_ref().or(self.all.as_ref()),
        };
        given.map(|(value, source_name)| Proxy::parse(value, source_name)).transpose()
    }
}

/// A proxy that can be connected to.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    /// What is resolved and connected to; an IPv6 literal has no brackets.
    pub(crate) host: String,
    /// The TCP port.
    pub(crate) port: u16,
    /// Value of `Proxy-Authorization`: a secret.
    authorization: Option<String>,
}

impl Proxy {
    /// Reads the URL `value`, which came from `source_name`. Its scheme may be left out.
    ///
    /// # Errors
    ///
    /// [`BuildError::InvalidProxy`]: it is no URL of an HTTP proxy that is spoken to in clear.
    pub(crate) fn parse(value: &str, source_name: &'static str) -> Result<Self, BuildError> {
        Self::read(value.trim()).map_err(|why| BuildError::InvalidProxy {
            value: redacted(value.trim()),
            source_name,
            why: why.to_owned(),
        })
    }

    fn read(value: &str) -> Result<Self, &'static str> {
        let rest = match value.split_once("://") {
            None => value,
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => {
                return Err("a proxy is spoken to over http:// only; the tunnel through it is \
                            encrypted if the endpoint is https://");
            }
            Some(_) => return Err("it is no http:// proxy, and no other kind is supported"),
        };
        // What stands before the last `@` may have any characters if somebody forgot to encode it.
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        // What may follow the authority means nothing to a proxy.
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let uri: Uri = authority.parse().map_err(|_| "it has no valid host and port")?;
        let authority = uri.authority().ok_or("it has no host")?;
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => DEFAULT_PORT,
            Some(digits) => match digits.parse() {
                Ok(port @ 1..) => port,
                _ => return Err("the port is not a number from 1 to 65535"),
            },
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err("it has no host");
        }
        Ok(Self { host: host.to_owned(), port, authorization: user.map(basic) })
    }

    /// What asks it for a tunnel to `endpoint`.
    pub(crate) fn request(&self, endpoint: &Endpoint) -> Vec<u8> {
        let host = match endpoint.host.contains(':') {
            true => format!("[{}]:{}", endpoint.host, endpoint.port),
            false => format!("{}:{}", endpoint.host, endpoint.port),
        };
        let mut request =
            format!("CONNECT {host} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {OWN_USER_AGENT}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str("proxy-authorization: ");
            request.push_str(authorization);
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        request.into_bytes()
    }

    /// Reads its answer, of which the body does not matter.
    pub(crate) fn reader() -> ResponseReader {
        ResponseReader::of_tunnel(ResponseLimits { body_bytes_max: 0, ..Default::default() })
    }

    /// What `status` of its answer means. Whatever it is, the collector has refused nothing, so
    /// the request stays and may be sent later.
    ///
    /// # Errors
    ///
    /// There is no tunnel.
    pub(crate) fn judge(status: u16) -> Result<(), Failure> {
        let why = match status {
            200..=299 => return Ok(()),
            407 => "it wants other credentials: check user name and password in its URL",
            403 | 405 => "it does not let us through to the collector's host and port",
            502..=504 => "it cannot reach the collector, or is overloaded",
            _ => "it refuses to open a tunnel to the collector",
        };
        Err(Failure::new(Phase::Proxy, format!("status {status}, {why}")))
    }
}

/// Shows no credentials.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (&self.host, &self.port);
        f.debug_struct("Proxy").field("host", host).field("port", port).finish_non_exhaustive()
    }
}

/// The credentials of a URL as RFC 7617 sends them. A user without a password has an empty one.
fn basic(user: &str) -> String {
    let mut credentials: Vec<u8> = match user.split_once(':') {
        Some((name, password)) => {
            let decoded = [name, password].map(|part| percent_decode_str(part).collect::<Vec<_>>());
            decoded.join(&b':')
        }
        None => percent_decode_str(user).collect(),
    };
    if !user.contains(':') {
        credentials.push(b':');
    }
    format!("Basic {}", base64::encoded(&credentials))
}

/// Port of a proxy whose URL names none: that of http://.
const DEFAULT_PORT: u16 = 80;

#[cfg(test)]
mod tests;
