//! Undoing a coding of an answer (RFC 9110, section 8.4; of gRPC, doc/compression.md). None is asked
//! for, but without an `accept-encoding` a peer of HTTP may use any, and grpc-go answers in the coding
//! of the request whatever was asked for. gzip is understood, and zstd where requests may have it,
//! because what an answer says of rejected records is not to be missed.

#[cfg(feature = "zstd")]
use std::io::Read;

use zlib_rs::{Inflate, InflateFlush, Status};

/// What became of an encoded body.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::transport) enum Decoded {
    /// It is this.
    Plain(Vec<u8>),
    /// It is longer than allowed. No more than that was decoded.
    TooLarge,
    /// It is encoded otherwise than it says, or in a way that nobody asked for.
    Unreadable,
}

/// Decodes `body`, which is encoded as `coding` says, to at most `bytes_max`.
pub(in crate::transport) fn decode(coding: &[u8], body: &[u8], bytes_max: usize) -> Decoded {
    let is = |name: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(name);
    if is(b"identity") || body.is_empty() {
        return Decoded::Plain(body.to_vec());
    }
    if is(b"gzip") || is(b"x-gzip") {
        return decode_gzip(body, bytes_max);
    }
    if is(b"zstd") {
        return decode_zstd(body, bytes_max);
    }
    Decoded::Unreadable
}

/// One member after another (RFC 1952, section 2.2).
fn decode_gzip(body: &[u8], bytes_max: usize) -> Decoded {
    let (mut rest, mut plain, mut scratch) = (body, Vec::new(), [0; SCRATCH_BYTES]);
    while !rest.is_empty() {
        let mut member = Inflate::new(true, GZIP_WINDOW_BITS);
        loop {
            let before = (member.total_in(), member.total_out());
            let status = member.decompress(rest, &mut scratch, InflateFlush::NoFlush);
            // At most what was given, either.
            rest = &rest[(member.total_in() - before.0) as usize..];
            plain.extend_from_slice(&scratch[..(member.total_out() - before.1) as usize]);
            if plain.len() > bytes_max {
                return Decoded::TooLarge;
            }
            match status {
                Ok(Status::StreamEnd) => break,
                Ok(_) if before != (member.total_in(), member.total_out()) => {}
                // The member is cut, or no member.
                Ok(_) | Err(_) => return Decoded::Unreadable,
            }
        }
    }
    Decoded::Plain(plain)
}

#[cfg(feature = "zstd")]
fn decode_zstd(body: &[u8], bytes_max: usize) -> Decoded {
    match zstd::Decoder::with_buffer(body) {
        Ok(mut decoder) => match decoder.window_log_max(ZSTD_WINDOW_LOG_MAX) {
            Ok(()) => read_bounded(decoder, bytes_max),
            Err(_) => Decoded::Unreadable,
        },
        Err(_) => Decoded::Unreadable,
    }
}

#[cfg(not(feature = "zstd"))]
fn decode_zstd(_: &[u8], _: usize) -> Decoded {
    Decoded::Unreadable
}

#[cfg(feature = "zstd")]
fn read_bounded(decoder: impl Read, bytes_max: usize) -> Decoded {
    // One more than allowed, to see that there is more.
    let bounded = (bytes_max as u64).saturating_add(1);
    let mut plain = Vec::new();
    match decoder.take(bounded).read_to_end(&mut plain) {
        Ok(_) if plain.len() > bytes_max => Decoded::TooLarge,
        Ok(_) => Decoded::Plain(plain),
        Err(_) => Decoded::Unreadable,
    }
}

/// Any window of gzip's, 2^15 at most; 16 more says that it is gzip (zlib.h, inflateInit2).
const GZIP_WINDOW_BITS: u8 = 15 + 16;
/// Answers are mostly shorter.
const SCRATCH_BYTES: usize = 4 << 10;
/// A stranger's frame may ask for no larger window than 8 MiB, which is what RFC 9659 allows in HTTP.
#[cfg(feature = "zstd")]
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(body: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_undone_whatever_the_case_of_its_name() {
        for name in ["gzip", "GZip", " x-gzip "] {
            let decoded = decode(name.as_bytes(), &gzip(b"partial"), 7);
            assert_eq!(decoded, Decoded::Plain(b"partial".to_vec()), "{name}");
        }
        let two = [gzip(b"par"), gzip(b"tial")].concat();
        assert_eq!(decode(b"gzip", &two, 7), Decoded::Plain(b"partial".to_vec()));
        assert_eq!(decode(b"identity", b"x", 7), Decoded::Plain(b"x".to_vec()));
        assert_eq!(decode(b"gzip", b"", 7), Decoded::Plain(Vec::new()));
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn zstd_is_undone_within_the_limit_and_with_a_small_window_only() {
        let packed = |body: &[u8]| zstd::encode_all(body, 1).unwrap();
        assert_eq!(decode(b"zstd", &packed(b"partial"), 7), Decoded::Plain(b"partial".to_vec()));
        assert_eq!(decode(b"zstd", &packed(b"partial"), 6), Decoded::TooLarge);
        assert_eq!(decode(b"zstd", &packed(&vec![0; 50 << 20]), 64 << 10), Decoded::TooLarge);
        let mut wide = zstd::Encoder::new(Vec::new(), 1).unwrap();
        wide.window_log(27).unwrap();
        wide.write_all(&[7; 100]).unwrap();
        assert_eq!(decode(b"zstd", &wide.finish().unwrap(), 1000), Decoded::Unreadable);
        assert_eq!(decode(b"zstd", b"partial", 100), Decoded::Unreadable);
    }

    #[test]
    fn a_bomb_is_decoded_up_to_the_limit_and_no_further() {
        let bomb = gzip(&vec![0; 50 << 20]);
        assert!(bomb.len() < 64 << 10);
        assert_eq!(decode(b"gzip", &bomb, 64 << 10), Decoded::TooLarge);
        assert_eq!(decode(b"gzip", &gzip(b"partial"), 6), Decoded::TooLarge);
    }

    #[test]
    fn what_is_not_gzip_is_unreadable() {
        let whole = gzip(b"partial");
        for (coding, body) in [
            (&b"br"[..], &whole[..]),
            (b"gzip, gzip", &whole),
            (b"gzip", b"partial"),
            (b"gzip", &whole[..whole.len() - 1]),
            (b"", &whole),
        ] {
            assert_eq!(decode(coding, body, 100), Decoded::Unreadable);
        }
    }
}
