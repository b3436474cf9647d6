//! Undoing a content coding of an answer (RFC 9110, section 8.4). None is asked for, but without an
//! `accept-encoding` a peer may use any; gzip is understood, because what an answer says of
//! rejected records is not to be missed.

use std::io::Read;

use flate2::read::MultiGzDecoder;

/// What became of an encoded body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// It is this.
    Plain(Vec<u8>),
    /// It is longer than allowed. No more than that was decoded.
    TooLarge,
    /// It is encoded otherwise than it says, or in a way that nobody asked for.
    Unreadable,
}

/// Decodes `body`, which is encoded as `coding` says, to at most `bytes_max`.
pub(super) fn decode(coding: &[u8], body: &[u8], bytes_max: usize) -> Decoded {
    let is = |name: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(name);
    if is(b"identity") || body.is_empty() {
        return Decoded::Plain(body.to_vec());
    }
    if !is(b"gzip") && !is(b"x-gzip") {
        return Decoded::Unreadable;
    }
    // One more than allowed, to see that there is more.
    let bounded = (bytes_max as u64).saturating_add(1);
    let mut plain = Vec::new();
    match MultiGzDecoder::new(body).take(bounded).read_to_end(&mut plain) {
        Ok(_) if plain.len() > bytes_max => Decoded::TooLarge,
        Ok(_) => Decoded::Plain(plain),
        Err(_) => Decoded::Unreadable,
    }
}

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
