//! Sizes of a pipe, their bounds, and what happens when it is full.

use std::fmt;
use std::time::Duration;

use crate::sync::shim::limits::CHUNK_GRAIN;

/// Sizes of a pipe, and what it does when it is full.
///
/// # Examples
///
/// ```
/// use spanwire_runtime::pipe::Config;
///
/// let mut config = Config::default();
/// config.chunks = 64;
/// assert!(config.check().is_ok());
/// config.chunks = 1;
/// assert!(config.check().unwrap_err().to_string().contains("chunks"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Bytes of one chunk: a multiple of 4096, at most 16 MiB. Default 64 KiB. A longer record
    /// gets memory of its own; see [`record_bytes_max`](Self::record_bytes_max).
    pub chunk_bytes: usize,
    /// How many chunks there are: 2 to 65536, and at most 1 TiB of them. Their memory is
    /// reserved at once and touched when used; each chunk gets another 4 KiB for its table of
    /// runs when it is first used. Default 256, which makes 16 MiB.
    pub chunks: usize,
    /// Sealed bytes that ring a dozing worker, at least 1. Default 512 KiB. A quarter of all
    /// chunks rings it too, however few bytes they hold.
    pub wake_bytes: usize,
    /// Records that a thread appends to the chunk that all threads share before it gets one of
    /// its own. Default 8: a thread that emits less than that costs no memory.
    pub promote_after: u32,
    /// The longest record, in bytes: at most 1 GiB; default 4 MiB, the usual limit of a request.
    /// A record that is longer than a chunk is encoded into an allocation of its own, which takes
    /// a few calls of the encoder. One that fits a chunk is taken however low this is; at or below
    /// [`chunk_bytes`](Self::chunk_bytes) it turns allocations off.
    pub record_bytes_max: usize,
    /// Bytes of all records that are longer than a chunk and that wait or are lent, beside the
    /// pool: at most 1 TiB, default 8 MiB. No record can be longer than this either.
    pub large_bytes: usize,
    /// What happens to a record for which there is no room. Default: it is refused.
    pub when_full: WhenFull,
}

/// What happens to a record for which there is no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// It is refused: [`Refusal::Full`](super::Refusal::Full).
    #[default]
    DropNewest,
    /// It takes the place of the oldest that nobody has taken, a whole chunk of them; they were
    /// accepted, and are counted as [`Counters::evicted`](super::Counters::evicted). If there is
    /// nothing to evict, because all is lent or still being written, the new one is refused.
    DropOldest,
    /// The append waits for room, at most for so long (and at most a day), and is then refused.
    /// The drainer's own thread never waits for itself, and a thread that is ending for nobody.
    Block(Duration),
}

impl Config {
    /// Whether a pipe of exactly these sizes can be made; [`Pipe::new`](super::Pipe::new)
    /// moves sizes that are out of bounds to the nearest bound.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the first field that is out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bounded = self.clamped();
        let fields = [
            ("chunk_bytes", self.chunk_bytes, bounded.chunk_bytes),
            ("chunks", self.chunks, bounded.chunks),
            ("wake_bytes", self.wake_bytes, bounded.wake_bytes),
            ("record_bytes_max", self.record_bytes_max, bounded.record_bytes_max),
            ("large_bytes", self.large_bytes, bounded.large_bytes),
        ];
        match fields.into_iter().find(|(_, given, nearest)| given != nearest) {
            None => Ok(()),
            Some((field, given, nearest)) => Err(ConfigError { field, given, nearest }),
        }
    }

    /// The nearest sizes within bounds.
    pub(super) fn clamped(mut self) -> Self {
        let chunk_bytes = self.chunk_bytes.clamp(CHUNK_GRAIN, CHUNK_BYTES_MAX);
        // Cannot overflow: the bound is a multiple of the grain.
        self.chunk_bytes = chunk_bytes.next_multiple_of(CHUNK_GRAIN);
        let chunks_max = CHUNKS_MAX.min(POOL_BYTES_MAX / self.chunk_bytes);
        self.chunks = self.chunks.clamp(CHUNKS_MIN, chunks_max);
        self.wake_bytes = self.wake_bytes.max(1);
        self.record_bytes_max = self.record_bytes_max.min(RECORD_BYTES_MAX);
        self.large_bytes = self.large_bytes.min(POOL_BYTES_MAX);
        if let WhenFull::Block(limit) = &mut self.when_full {
            *limit = (*limit).min(BLOCK_MAX);
        }
        self
    }

    /// Bytes of all chunks. Only of clamped sizes, whose product is bounded.
    pub(super) fn pool_bytes(&self) -> usize {
        self.chunk_bytes * self.chunks
    }

    /// Chunks that threads may hold for themselves; the rest is for the shared chunk and for
    /// what is on its way out, so that idle threads starve nobody.
    pub(super) fn private_max(&self) -> usize {
        self.chunks / 2
    }

    /// Sealed chunks that ring a dozing worker even if they hold few bytes.
    pub(super) fn wake_chunks(&self) -> usize {
        (self.chunks / 4).max(1)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            chunk_bytes: 64 << 10,
            chunks: 256,
            wake_bytes: 512 << 10,
            promote_after: 8,
            record_bytes_max: 4 << 20,
            large_bytes: 8 << 20,
            when_full: WhenFull::DropNewest,
        }
    }
}

/// A size of a pipe is out of bounds. The caller chose it; `nearest` would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigError {
    /// The field of [`Config`].
    pub field: &'static str,
    /// Its value.
    pub given: usize,
    /// The nearest value within bounds.
    pub nearest: usize,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, given, nearest } = self;
        write!(f, "pipe setting {field} = {given} is out of bounds, the nearest is {nearest}")
    }
}

impl std::error::Error for ConfigError {}

/// A chunk's fill level has to fit the committed word, and a request is smaller anyway.
const CHUNK_BYTES_MAX: usize = 16 << 20;
/// One chunk is being filled while another one is being sent.
const CHUNKS_MIN: usize = 2;
/// The ledger's lists are made for all chunks in advance.
const CHUNKS_MAX: usize = 1 << 16;
/// Half of what a protobuf message may be long, and half of what a mark can count.
const RECORD_BYTES_MAX: usize = 1 << 30;
/// An append that waits longer has been forgotten; and deadlines do not overflow.
const BLOCK_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// 1 TiB where addresses have 64 bits, else a quarter of what there is.
const POOL_BYTES_MAX: usize = if usize::BITS == 64 { 1 << 40 } else { usize::MAX >> 2 };
