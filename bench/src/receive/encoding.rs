//! How a body is encoded, and how it is decoded.

use std::{
    fmt,
    io::{self, Read as _},
};

use super::BODY_BYTES_MAX;

/// An encoding of a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Encoding {
    /// As it is.
    #[default]
    None,
    /// One gzip member.
    Gzip,
    /// zstd frames.
    Zstd,
}

impl Encoding {
    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// What `Content-Encoding` or `grpc-encoding` means; `None` for what no receiver of ours decodes.
    pub fn from_header(value: &str) -> Option<Self> {
        match value.trim() {
            "" | "identity" => Some(Self::None),
            "gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The decoded bytes: `body` itself, or `buffer`, which is used again and again.
    ///
    /// # Errors
    ///
    /// When the body is not in this encoding, has something after its end, or becomes larger than
    /// [`BODY_BYTES_MAX`].
    pub fn decode<'a>(self, body: &'a [u8], buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
        buffer.clear();
        let limit = BODY_BYTES_MAX as u64 + 1;
        match self {
            Self::None => return Ok(body),
            Self::Gzip => {
                let mut rest = body;
                flate2::bufread::GzDecoder::new(&mut rest).take(limit).read_to_end(buffer)?;
                // Two members are legal gzip that not every collector reads to its end.
                if !rest.is_empty() {
                    return Err(invalid("something follows the gzip member"));
                }
            }
            Self::Zstd => {
                zstd::stream::Decoder::with_buffer(body)?.take(limit).read_to_end(buffer)?;
            }
        }
        if buffer.len() > BODY_BYTES_MAX {
            return Err(invalid("the decompressed body is too large"));
        }
        Ok(buffer)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_was_compressed_comes_back() {
        let body = b"a body, a body, a body".repeat(1000);
        let mut buffer = Vec::new();
        for (encoding, encoded) in [
            (Encoding::None, body.clone()),
            (Encoding::Gzip, gzip(&body)),
            (Encoding::Zstd, zstd::bulk::compress(&body, 3).unwrap()),
        ] {
            assert!(encoding.decode(&encoded, &mut buffer).unwrap() == body, "{encoding}");
            let cut = &encoded[..encoded.len() - 9];
            assert!(encoding == Encoding::None || encoding.decode(cut, &mut buffer).is_err());
        }
    }

    #[test]
    fn gzip_is_one_member() {
        let two = [gzip(b"one"), gzip(b"two")].concat();
        assert!(Encoding::Gzip.decode(&two, &mut Vec::new()).is_err());
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = zstd::bulk::compress(&vec![0; BODY_BYTES_MAX + 1], 1).unwrap();
        assert!(Encoding::Zstd.decode(&bomb, &mut Vec::new()).is_err());
    }

    #[test]
    fn an_unknown_encoding_is_none_of_ours() {
        assert_eq!(Encoding::from_header("br"), None);
        assert_eq!(Encoding::from_header(" gzip "), Some(Encoding::Gzip));
    }
}
