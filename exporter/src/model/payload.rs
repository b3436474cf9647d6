//! The body of one request.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

/// One request body in pieces, ready for a vectored send.
///
/// A clone shares the bytes, so a retry resends exactly what the first attempt sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Payload {
    /// The body, in order. No part is empty.
    pub(crate) parts: Vec<Bytes>,
    /// Length of the body: the sum of the parts.
    pub(crate) bytes: usize,
    /// How many records (spans) the body carries; a peer cannot reject more than these.
    pub(crate) records: u64,
    /// How the body is compressed; as it is if not at all.
    pub(crate) encoding: Option<Encoding>,
}

/// A way of compressing a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Gzip,
    Zstd,
}

impl Encoding {
    /// As in `content-encoding` (RFC 9110, RFC 8878) and `grpc-encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Payload {
    /// The body in one piece: a copy, unless it is one already.
    pub(crate) fn joined(&self) -> Cow<'_, [u8]> {
        match &*self.parts {
            [only] => Cow::Borrowed(only),
            parts => Cow::Owned(parts.concat()),
        }
    }

    /// A body made of `parts`, which carry `records` records.
    pub(crate) fn new(mut parts: Vec<Bytes>, records: u64) -> Self {
        parts.retain(|part| !part.is_empty());
        let bytes = parts.iter().map(Bytes::len).sum();
        Self { parts, bytes, records, encoding: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_knows_its_length_and_keeps_no_empty_part() {
        let parts = vec![Bytes::from_static(b"ab"), Bytes::new(), Bytes::from_static(b"c")];
        let payload = Payload::new(parts, 7);
        assert_eq!((payload.parts.len(), payload.bytes, payload.records), (2, 3, 7));
    }
}
