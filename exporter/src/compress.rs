//! Compression of request bodies: slices in, pieces out, one gzip member or one zstd frame each.
//!
//! In scope: gzip, zstd (feature `zstd`), levels, buffers that are used again. Out of scope: when
//! to compress, letting others run between slices, what a peer thinks of it (all in `pipeline`);
//! and reading what peers have compressed (in `transport`).
//!
//! ```text
//! begin(length) ──► feed(slice) feed(slice) ... ──► finish() ──► pieces
//!      ▲                                                           │
//!      └───────────────────── take_back(piece) ◄───────────────────┘
//! ```
//!
//! The slices are never joined: what the compressor looks back at is in its own window. A body is
//! always one member or one frame, because there are receivers that read the first one only, and
//! the first part of a request is a valid request.

mod gzip;
#[cfg(feature = "zstd")]
mod zstd;

#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;

use self::gzip::Gzip;
#[cfg(feature = "zstd")]
use self::zstd::Zstd;
use crate::model::Encoding;

/// Compresses one body after another.
#[derive(Debug)]
pub(crate) struct Compressor {
    engine: Engine,
    out: Pieces,
}

/// Both are some hundred KiB behind a pointer.
#[derive(Debug)]
enum Engine {
    Gzip(Gzip),
    #[cfg(feature = "zstd")]
    Zstd(Zstd),
}

/// The library that compresses has failed, for want of memory at best: the body is to be sent as
/// it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CompressError;

impl fmt::Display for CompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body could not be compressed")
    }
}

impl Compressor {
    /// A compressor at `level`, which is within those of the encoding.
    ///
    /// # Errors
    /// There is no memory for zstd, or this build has not this encoding.
    ///
    /// # Panics
    /// There is no memory for gzip.
    pub(crate) fn new(encoding: Encoding, level: u8) -> Result<Self, CompressError> {
        let engine = match encoding {
            Encoding::Gzip => Engine::Gzip(Gzip::new(level)),
            #[cfg(feature = "zstd")]
            Encoding::Zstd => Engine::Zstd(Zstd::new(level)?),
            #[cfg(not(feature = "zstd"))]
            Encoding::Zstd => return Err(CompressError),
        };
        Ok(Self { engine, out: Pieces::default() })
    }

    /// Starts a body of `bytes`; what was under way is forgotten.
    ///
    /// # Errors
    /// The library refuses; the next body may be compressed all the same.
    pub(crate) fn begin(&mut self, bytes: usize) -> Result<(), CompressError> {
        self.out.clear();
        match &mut self.engine {
            Engine::Gzip(gzip) => {
                gzip.begin();
                Ok(())
            }
            #[cfg(feature = "zstd")]
            Engine::Zstd(zstd) => zstd.begin(bytes),
        }
        .inspect(|()| debug_assert!(bytes > 0, "an empty body is not worth it"))
    }

    /// Takes the next slice of the body.
    ///
    /// # Errors
    /// The library refuses; the body has to be begun again.
    pub(crate) fn feed(&mut self, slice: &[u8]) -> Result<(), CompressError> {
        match &mut self.engine {
            Engine::Gzip(gzip) => gzip.feed(slice, &mut self.out),
            #[cfg(feature = "zstd")]
            Engine::Zstd(zstd) => zstd.feed(slice, &mut self.out),
        }
    }

    /// Ends the body: its compressed form, in order, none of the pieces empty.
    ///
    /// # Errors
    /// The library refuses, or not all that was announced has come.
    pub(crate) fn finish(&mut self) -> Result<Vec<Bytes>, CompressError> {
        match &mut self.engine {
            Engine::Gzip(gzip) => gzip.finish(&mut self.out)?,
            #[cfg(feature = "zstd")]
            Engine::Zstd(zstd) => zstd.finish(&mut self.out)?,
        }
        Ok(self.out.take())
    }

    /// Takes a piece back whose bytes nobody needs any more, to write into it again.
    pub(crate) fn take_back(&mut self, piece: Bytes) {
        self.out.take_back(piece);
    }
}

/// What is written so far, in buffers of [`PIECE_BYTES`].
#[derive(Debug, Default)]
struct Pieces {
    full: Vec<Bytes>,
    /// Being written: all of a buffer, or empty if there is none.
    last: Vec<u8>,
    /// How much of it is written.
    last_bytes: usize,
    /// At most [`SPARE_MAX`] whole buffers.
    spare: Vec<Vec<u8>>,
}

impl Pieces {
    /// What is next to be written, at least a byte; [`written`](Self::written) says how much was.
    fn room(&mut self) -> &mut [u8] {
        if self.last_bytes == self.last.len() {
            let fresh = self.spare.pop().unwrap_or_else(|| vec![0; PIECE_BYTES]);
            self.push_last();
            self.last = fresh;
        }
        &mut self.last[self.last_bytes..]
    }

    fn written(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.last.len() - self.last_bytes, "more than there was room for");
        self.last_bytes += bytes;
    }

    fn push_last(&mut self) {
        let mut piece = std::mem::take(&mut self.last);
        piece.truncate(std::mem::take(&mut self.last_bytes));
        if !piece.is_empty() {
            self.full.push(piece.into());
        }
    }

    fn take(&mut self) -> Vec<Bytes> {
        self.push_last();
        std::mem::take(&mut self.full)
    }

    fn clear(&mut self) {
        self.full.clear();
        self.last_bytes = 0;
    }

    fn take_back(&mut self, piece: Bytes) {
        // Whoever else has it, a retry say, may still read it.
        let Ok(piece) = piece.try_into_mut() else { return };
        let mut piece = Vec::from(piece);
        if self.spare.len() < SPARE_MAX && piece.capacity() == PIECE_BYTES {
            piece.resize(PIECE_BYTES, 0);
            self.spare.push(piece);
        }
    }
}

/// Size of a piece: most compressed bodies fit into one or two.
const PIECE_BYTES: usize = 64 << 10;
/// Empty pieces that are kept: what some requests under way have had.
const SPARE_MAX: usize = 8;
