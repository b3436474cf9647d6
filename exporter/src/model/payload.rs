//! The body of one request.

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
}

impl Payload {
    /// A body made of `parts`, which carry `records` records.
    pub(crate) fn new(mut parts: Vec<Bytes>, records: u64) -> Self {
        parts.retain(|part| !part.is_empty());
        let bytes = parts.iter().map(Bytes::len).sum();
        Self { parts, bytes, records }
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
