//! The lock-free span queue: many threads append, one drains.

use std::time::Duration;

use bytes::Bytes;

use crate::buf::Cursor;
use crate::sync::doorbell::Doorbell;
use crate::sync::shim::Arc;

/// Which resource and scope a record belongs to; equal tags of one thread form a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tag {
    /// Index of the resource.
    pub resource: u32,
    /// Index of the scope.
    pub scope: u32,
}
impl Tag {
    /// A tag.
    pub const fn new(resource: u32, scope: u32) -> Self {
        Self { resource, scope }
    }
}

/// Sizes of a pipe.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Bytes of one chunk (default 65536).
    pub chunk_bytes: usize,
    /// How many chunks there are (default 256: 16 MiB).
    pub chunks: usize,
    /// Sealed bytes that ring a dozing worker (default 512 KiB).
    pub wake_bytes: usize,
}
impl Default for Config {
    fn default() -> Self {
        Self { chunk_bytes: 64 << 10, chunks: 256, wake_bytes: 512 << 10 }
    }
}

/// Why a record was not taken. It is counted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No free chunk.
    Full,
    /// The record alone is larger than a chunk.
    Oversize,
    /// `append` was called from inside `append`.
    Reentrant,
    /// The pipe is closed.
    Closed,
}

/// Counters of a pipe; each is counted on its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Calls of `append`.
    pub offered: u64,
    /// Records committed.
    pub accepted: u64,
    /// Records that the drainer has taken.
    pub taken: u64,
    /// Refused: full.
    pub full: u64,
    /// Refused: oversize.
    pub oversize: u64,
    /// Refused: re-entrant.
    pub reentrant: u64,
    /// Refused: closed.
    pub closed: u64,
}

/// The producers' end.
#[derive(Clone, Debug)]
pub struct Pipe {
    _todo: Arc<()>,
}
impl Pipe {
    /// A pipe whose worker is woken by `doorbell`.
    pub fn new(_config: Config, _doorbell: Arc<Doorbell>) -> (Self, Drainer) {
        todo!()
    }
    /// Appends one record: calls `encode` once, or twice if the record did not fit into the
    /// rest of a chunk.
    pub fn append(&self, _tag: Tag, _encode: impl FnMut(&mut Cursor<'_>)) -> Result<(), Refusal> {
        todo!()
    }
    /// Refuses all that comes from now on.
    pub fn close(&self) {
        todo!()
    }
    /// The counters now: exact once producers have stopped.
    pub fn counters(&self) -> Counters {
        todo!()
    }
}

/// What a drainer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Want {
    /// Any committed record; a producer's first commit wakes the sleeping worker.
    First,
    /// `wake_bytes` of sealed chunks.
    Batch,
}

/// A run of records with one tag, in the order their thread appended them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// Resource and scope of all records.
    pub tag: Tag,
    /// How many records.
    pub records: u32,
    /// Their bytes: a lease on the chunk, ended when the last clone or slice of it is dropped.
    pub bytes: Bytes,
}

/// The exporter's end; there is one.
#[derive(Debug)]
pub struct Drainer {
    _todo: (),
}
impl Drainer {
    /// Waits until there is what `want` says. Only on a worker.
    pub async fn readable(&mut self, _want: Want) {
        todo!()
    }
    /// Takes sealed chunks only, oldest first, at most about `bytes_max`.
    pub fn take_sealed(&mut self, _bytes_max: usize, _runs: &mut Vec<Run>) {
        todo!()
    }
    /// Takes everything committed before the call, and perhaps some that came since: committed
    /// prefixes of live chunks, then sealed chunks.
    pub fn take_all(&mut self, _runs: &mut Vec<Run>) {
        todo!()
    }
    /// Returns chunks whose leases ended to the pool; call it after dropping runs.
    pub fn reclaim(&mut self) {
        todo!()
    }
    /// The longest that the oldest untaken commit may have waited is up to the caller; this is
    /// how long the drainer has seen nothing.
    #[doc(hidden)]
    pub fn _placeholder(&self) -> Duration {
        todo!()
    }
}
