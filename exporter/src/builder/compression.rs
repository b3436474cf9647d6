//! Settings of how bodies are compressed.

use std::ops::RangeInclusive;

use super::Builder;
use crate::error::BuildError;
use crate::model::{Compression, Encoding};
use crate::pipeline::prepare::{Coding, Plan};

/// What the code says of compression; the kind apart, which the environment may choose too.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    level: Option<u8>,
    bytes_min: usize,
}

impl Default for Given {
    fn default() -> Self {
        Self { level: None, bytes_min: BYTES_MIN }
    }
}

impl Builder {
    /// How the bodies of requests are compressed. Default the signal's variable (such as
    /// `OTEL_EXPORTER_OTLP_TRACES_COMPRESSION`), else `OTEL_EXPORTER_OTLP_COMPRESSION`, else
    /// [`Compression::None`].
    ///
    /// A collector that refuses a compressed request loses it, counted as
    /// [`refused`](crate::Dropped::refused); later requests are sent as they are, and a diagnostic
    /// ([`EncodingRefused`](crate::DiagnosticKind::EncodingRefused)) says so once. Compressing runs
    /// on the exporter's thread, or with several [`workers`](Self::workers) on any of them.
    ///
    /// ```
    /// use spanwire::{Compression, Exporter};
    ///
    /// let builder = Exporter::builder().compression(Compression::Gzip).compression_level(6);
    /// ```
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// How hard compression tries: 1 to 9 for gzip, default 2; 1 to 19 for zstd, default 1. More
    /// costs more CPU time for less to send.
    pub fn compression_level(mut self, level: u8) -> Self {
        self.compressing.level = Some(level);
        self
    }

    /// Bodies of less than this many bytes are sent as they are. Default 1 KiB, below which
    /// compressing costs more than it saves; 0 compresses all. A body that compressing does not
    /// make smaller is sent as it is, too.
    pub fn compression_min_bytes(mut self, bytes: usize) -> Self {
        self.compressing.bytes_min = bytes;
        self
    }

    /// How bodies are made if `compression` was chosen.
    pub(super) fn coding(&self, compression: Compression) -> Result<Coding, BuildError> {
        Ok(Coding {
            compression: self.plan(compression)?,
            compression_bytes_min: self.compressing.bytes_min,
            request_bytes_max: self.batch.request_bytes_max,
        })
    }

    fn plan(&self, compression: Compression) -> Result<Option<Plan>, BuildError> {
        let (encoding, levels, default) = match compression {
            Compression::None => return Ok(None),
            Compression::Gzip => (Encoding::Gzip, GZIP_LEVELS, GZIP_LEVEL),
            Compression::Zstd => (Encoding::Zstd, ZSTD_LEVELS, ZSTD_LEVEL),
        };
        let level = self.compressing.level.unwrap_or(default);
        if !levels.contains(&level) {
            return Err(BuildError::InvalidValue {
                value: level.to_string(),
                source_name: "Builder::compression_level",
                why: format!(
                    "of {encoding}, it must be from {} to {}",
                    levels.start(),
                    levels.end()
                ),
            });
        }
        Ok(Some(Plan { encoding, level }))
    }
}

/// 0 would not compress.
const GZIP_LEVELS: RangeInclusive<u8> = 1..=9;
/// The lowest with codes of its own for each block: nine tenths of what level 6 saves in less than
/// half of the time (docs/decisions/023-compression.md).
const GZIP_LEVEL: u8 = 2;
/// What is above takes hundreds of MiB.
const ZSTD_LEVELS: RangeInclusive<u8> = 1..=19;
/// On encoded telemetry, more than level 3 saves, which is faster to no one.
const ZSTD_LEVEL: u8 = 1;
/// Where the time that compressing takes exceeds what the bytes take on a loopback connection.
const BYTES_MIN: usize = 1 << 10;
