//! gRPC's framing of messages: one byte of flags, four of length, the message.
//!
//! Source: grpc, doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message".

use std::fmt;

use crate::transport::http1::coding::{Decoded, decode};

/// What stands before a message of `bytes` bytes.
pub(super) fn prefix(is_compressed: bool, bytes: u32) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = bytes.to_be_bytes();
    [is_compressed.into(), a, b, c, d]
}

/// Reads the one message of a unary answer, which comes in pieces of any size.
///
/// An error is final: no more than the limit is ever kept.
#[derive(Debug)]
pub(super) struct MessageReader {
    bytes_max: usize,
    prefix: [u8; PREFIX_BYTES],
    /// How much of the prefix has come; at most [`PREFIX_BYTES`].
    prefix_bytes: usize,
    /// As long as the prefix says, once it has come whole.
    message: Vec<u8>,
}

/// Why an answer is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageError {
    /// It is longer than the limit.
    TooLarge,
    /// It is compressed, in a coding that it does not name or that this build has not.
    Compressed,
    /// Its first byte means nothing.
    Flags,
    /// More follows what should be all.
    Several,
    /// The stream ended within it.
    Truncated,
}

impl MessageReader {
    /// A reader that keeps `bytes_max` bytes at most.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, prefix: [0; PREFIX_BYTES], prefix_bytes: 0, message: Vec::new() }
    }

    /// Takes in the next piece.
    ///
    /// # Errors
    ///
    /// It cannot become a message within the limit.
    pub(super) fn feed(&mut self, mut piece: &[u8]) -> Result<(), MessageError> {
        let count = piece.len().min(PREFIX_BYTES - self.prefix_bytes);
        let (head, rest) = piece.split_at(count);
        self.prefix[self.prefix_bytes..self.prefix_bytes + count].copy_from_slice(head);
        self.prefix_bytes += count;
        piece = rest;
        if self.prefix_bytes < PREFIX_BYTES {
            return Ok(());
        }
        self.check_prefix()?;
        if self.message.len() + piece.len() > self.expected() {
            return Err(MessageError::Several);
        }
        self.message.extend_from_slice(piece);
        Ok(())
    }

    /// The message, now that the stream has ended; none if nothing has come. `coding` is what
    /// `grpc-encoding` says of it.
    ///
    /// # Errors
    ///
    /// It ended within the message, or cannot be decoded within the limit.
    pub(super) fn finish(self, coding: Option<&[u8]>) -> Result<Option<Vec<u8>>, MessageError> {
        match self.prefix_bytes {
            0 => Ok(None),
            PREFIX_BYTES if self.message.len() == self.expected() => self.decode(coding).map(Some),
            _ => Err(MessageError::Truncated),
        }
    }

    fn decode(self, coding: Option<&[u8]>) -> Result<Vec<u8>, MessageError> {
        if self.prefix[0] == 0 {
            return Ok(self.message);
        }
        // `identity` is no coding that a compressed message may have.
        let coding = coding.filter(|name| !name.eq_ignore_ascii_case(b"identity"));
        match decode(coding.unwrap_or_default(), &self.message, self.bytes_max) {
            Decoded::Plain(message) => Ok(message),
            Decoded::TooLarge => Err(MessageError::TooLarge),
            Decoded::Unreadable => Err(MessageError::Compressed),
        }
    }

    fn check_prefix(&self) -> Result<(), MessageError> {
        match self.prefix[0] {
            0 | 1 if self.expected() > self.bytes_max => Err(MessageError::TooLarge),
            0 | 1 => Ok(()),
            _ => Err(MessageError::Flags),
        }
    }

    fn expected(&self) -> usize {
        let [_, a, b, c, d] = self.prefix;
        u32::from_be_bytes([a, b, c, d]) as usize
    }
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the response message is above the limit",
            Self::Compressed => "the response message is compressed in a way that nobody asked for",
            Self::Flags => "the response message has unknown flags",
            Self::Several => "more than one response message has come",
            Self::Truncated => "the response message is cut",
        })
    }
}

/// Length of what stands before a message.
pub(super) const PREFIX_BYTES: usize = 5;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&prefix(false, message.len() as u32)[..], message].concat()
    }

    fn read(bytes: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, MessageError> {
        let mut reader = MessageReader::new(bytes_max);
        reader.feed(bytes)?;
        reader.finish(None)
    }

    #[test]
    fn a_prefix_says_whether_and_how_long() {
        assert_eq!(prefix(false, 0x0102_0304), [0, 1, 2, 3, 4]);
        assert_eq!(prefix(true, 5), [1, 0, 0, 0, 5]);
    }

    #[test]
    fn an_answer_longer_than_the_limit_is_refused_by_its_prefix() {
        assert_eq!(read(&framed(b"0123456789"), 10), Ok(Some(b"0123456789".to_vec())));
        assert_eq!(read(&framed(b"0123456789"), 9), Err(MessageError::TooLarge));
        assert_eq!(read(&prefix(false, u32::MAX), 4 << 20), Err(MessageError::TooLarge));
    }

    #[test]
    fn what_is_no_single_plain_message_is_refused() {
        assert_eq!(read(b"", 10), Ok(None));
        assert_eq!(read(&prefix(false, 0), 10), Ok(Some(vec![])));
        assert_eq!(read(&[&prefix(true, 1)[..], b"x"].concat(), 10), Err(MessageError::Compressed));
        assert_eq!(read(&[2, 0, 0, 0, 0], 10), Err(MessageError::Flags));
        assert_eq!(read(&[0, 0, 0], 10), Err(MessageError::Truncated));
        assert_eq!(read(&framed(b"abc")[..6], 10), Err(MessageError::Truncated));
        let two = [framed(b"abc"), framed(b"d")].concat();
        assert_eq!(read(&two, 10), Err(MessageError::Several));
    }

    #[test]
    fn a_message_in_the_coding_of_the_request_is_decoded_within_the_limit() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(b"0123456789").unwrap();
        let packed = encoder.finish().unwrap();
        let bytes = [&prefix(true, packed.len() as u32)[..], &packed].concat();
        let read = |coding: Option<&[u8]>, bytes_max| {
            let mut reader = MessageReader::new(bytes_max);
            reader.feed(&bytes)?;
            reader.finish(coding)
        };
        assert_eq!(read(Some(b"gzip"), 100), Ok(Some(b"0123456789".to_vec())));
        assert_eq!(read(Some(b"gzip"), 9), Err(MessageError::TooLarge));
        for coding in [None, Some(&b"identity"[..]), Some(b"br")] {
            assert_eq!(read(coding, 100), Err(MessageError::Compressed));
        }
    }

    proptest! {
        #[test]
        fn a_message_survives_any_chunking(
            message in prop::collection::vec(any::<u8>(), 0..300),
            cuts in prop::collection::vec(1_usize..20, 1..8),
        ) {
            let bytes = framed(&message);
            let (mut reader, mut rest, mut cuts) =
                (MessageReader::new(300), &bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                reader.feed(now).unwrap();
                rest = later;
            }
            prop_assert_eq!(reader.finish(None), Ok(Some(message)));
        }

        #[test]
        fn arbitrary_bytes_do_no_harm_and_no_more_than_the_limit_is_kept(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6),
        ) {
            let mut reader = MessageReader::new(16);
            for piece in &pieces {
                if reader.feed(piece).is_err() {
                    return Ok(());
                }
            }
            if let Ok(Some(message)) = reader.finish(Some(b"gzip")) {
                prop_assert!(message.len() <= 16);
            }
        }
    }
}
