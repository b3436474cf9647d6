//! The head of a request: rendered once for an endpoint, completed by a length for each request.

use std::fmt;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue, USER_AGENT};

/// The head of every POST to one endpoint, up to the digits of `content-length`.
pub struct RequestHead {
    /// `POST ... content-length: `; shared by all requests.
    prefix: Bytes,
}

impl RequestHead {
    /// Renders the head.
    ///
    /// `host` is what the `Host` header shows (with the port unless it is 80), `target` the path
    /// and query, `content_type` what all bodies are. A `user-agent` among `headers` goes in front of spanwire's own, as the OTLP
    /// exporter specification allows for products; a repeated name is sent repeatedly. Headers
    /// that [`RequestHead::check`] refuses are left out: sent twice, they would make the request
    /// mean two things.
    pub fn new(
        host: &str,
        target: &str,
        content_type: &str,
        headers: &[(HeaderName, HeaderValue)],
    ) -> Self {
        let mut head = format!("POST {target} HTTP/1.1\r\nhost: {host}\r\n").into_bytes();
        put(&mut head, "user-agent", user_agent(headers));
        put(&mut head, "content-type", content_type);
        let is_other = |name: &HeaderName| *name != USER_AGENT && Self::check(name).is_ok();
        for (name, value) in headers.iter().filter(|(name, _)| is_other(name)) {
            put(&mut head, name.as_str(), value);
        }
        head.extend_from_slice(b"content-length: ");
        Self { prefix: head.into() }
    }

    /// Checks that a header is the user's to set.
    ///
    /// # Errors
    ///
    /// The codec decides this header itself: framing, connection, content, codings.
    pub fn check(name: &HeaderName) -> Result<(), HeadError> {
        match RESERVED.contains(&name.as_str()) {
            true => Err(HeadError { name: name.clone() }),
            false => Ok(()),
        }
    }

    /// The head of a request whose body has `content_length` bytes, encoded as
    /// `content_encoding` says, in two parts for a vectored send. The first is shared, not copied.
    pub fn render(&self, content_length: usize, content_encoding: Option<&str>) -> [Bytes; 2] {
        let rest = match content_encoding {
            None => format!("{content_length}\r\n\r\n"),
            Some(coding) => format!("{content_length}\r\ncontent-encoding: {coding}\r\n\r\n"),
        };
        [self.prefix.clone(), rest.into()]
    }
}

/// Shows no header values: they may be credentials.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead").field("bytes", &self.prefix.len()).finish_non_exhaustive()
    }
}

/// A header that a request cannot carry because the exporter decides about it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadError {
    /// The header's name.
    pub name: HeaderName,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the exporter decides {} itself; remove it from the headers", self.name)
    }
}

/// The products among `headers`, then spanwire itself.
pub(in crate::transport) fn user_agent(headers: &[(HeaderName, HeaderValue)]) -> Vec<u8> {
    let products = headers.iter().filter(|(name, _)| *name == USER_AGENT);
    let mut agent: Vec<u8> =
        products.flat_map(|(_, value)| [value.as_bytes(), b" "].concat()).collect();
    agent.extend_from_slice(OWN_USER_AGENT.as_bytes());
    agent
}

fn put(head: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
    head.extend_from_slice(name.as_bytes());
    head.extend_from_slice(b": ");
    head.extend_from_slice(value.as_ref());
    head.extend_from_slice(b"\r\n");
}

/// The product, then the exporter, its language and version in the form of the protocol's exporter
/// specification (section "User Agent").
pub(in crate::transport) const OWN_USER_AGENT: &str = concat!(
    concat!("spanwire/", env!("CARGO_PKG_VERSION")),
    concat!(" OTel-OTLP-Exporter-Rust/", env!("CARGO_PKG_VERSION"))
);

/// Headers that decide how the request is read, or that are written above. Lower case.
/// A coding of the answer is not to be asked for (docs/decisions/022-encoded-answers.md).
const RESERVED: [&str; 12] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
