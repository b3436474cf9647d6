//! The exporter's end.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::Mark;
use super::ledger::Piece;
use super::shared::Shared;
use super::slice::Slice;
use super::thread::Busy;
use super::wait;
use super::{Tag, Want};

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

/// The exporter's end; there is one. Dropping it closes the pipe.
///
/// It can be moved to its worker, and used there. Records of one thread come out in the order
/// they went in, over all takes; records of different threads in any order. In a forked child
/// there is nothing to take: what was in the pipe is the parent's to deliver.
///
/// # Examples
///
/// A task that waits for records, and a thread that appends one:
///
/// ```
/// use spanwire_runtime::Builder;
/// use spanwire_runtime::pipe::{Config, Pipe, Tag, Want};
///
/// let runtime = Builder::new().build()?;
/// let (pipe, mut drainer) = Pipe::new(Config::default(), runtime.doorbell());
/// let taken = runtime.spawn_pinned(move || async move {
///     drainer.readable(Want::First).await;
///     let mut runs = Vec::new();
///     drainer.take_all(&mut runs);
///     runs.iter().map(|run| run.records).sum::<u32>()
/// });
/// pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(b"record")).unwrap();
/// assert_eq!(runtime.block_on(taken)?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Drainer {
    shared: Arc<Shared>,
    /// Chunks that were sealed and taken; they go back to the pool when no slice refers to
    /// them. At most all chunks.
    retired: Vec<u32>,
    /// Empty between takes; kept for its memory.
    pieces: Vec<Piece>,
}

impl Drainer {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let chunks = shared.config.chunks;
        Self { shared, retired: Vec::with_capacity(chunks), pieces: Vec::with_capacity(chunks) }
    }

    /// Waits until there is what `want` says. Only on a worker: elsewhere nobody would poll
    /// again. Dropping the future ends the wait.
    pub async fn readable(&mut self, want: Want) {
        self.reclaim();
        wait::readable(&self.shared, want).await;
    }

    /// Takes sealed chunks only, oldest first, at most about `bytes_max`: at least one chunk if
    /// there is any, and no more once the next would exceed the limit. If threads appended to
    /// the chunk that all share before they got those, what is committed there comes first.
    pub fn take_sealed(&mut self, bytes_max: usize, runs: &mut Vec<Run>) {
        if self.shared.is_forked() {
            return;
        }
        let _busy = Busy::hold();
        self.reclaim();
        let Self { shared, pieces, .. } = self;
        shared.ledger.lock().cut_sealed(bytes_max, &shared.chunks, pieces);
        self.hand_out(runs);
    }

    /// Takes everything committed before the call, and perhaps some that came since: committed
    /// prefixes of live chunks and sealed chunks.
    pub fn take_all(&mut self, runs: &mut Vec<Run>) {
        if self.shared.is_forked() {
            return;
        }
        let _busy = Busy::hold();
        self.reclaim();
        let Self { shared, pieces, .. } = self;
        shared.ledger.lock().cut_all(&shared.chunks, pieces);
        self.hand_out(runs);
    }

    /// Returns chunks whose leases ended to the pool; call it after dropping runs. The other
    /// calls do it too, before anything else.
    pub fn reclaim(&mut self) {
        let _busy = Busy::hold();
        let Self { shared, retired, .. } = self;
        if shared.is_forked() || retired.iter().all(|&chunk| shared.chunk(chunk).is_leased()) {
            return;
        }
        let mut ledger = shared.ledger.lock();
        let free = retired.extract_if(.., |chunk| !shared.chunk(*chunk).is_leased());
        ledger.free(free.inspect(|&chunk| wipe(shared, chunk)));
    }

    fn hand_out(&mut self, runs: &mut Vec<Run>) {
        let mut records = 0;
        for piece in self.pieces.drain(..) {
            let from = self.shared.chunk(piece.chunk).drained();
            records += u64::from(piece.to.records - from.records);
            push_runs(&self.shared, &piece, from, runs);
            self.shared.chunk(piece.chunk).drain_to(piece.to);
            if piece.sealed {
                self.retired.push(piece.chunk);
            }
        }
        self.shared.count_taken(records);
    }
}

/// The runs, or parts of them, between `from` and the end of `piece`.
fn push_runs(shared: &Arc<Shared>, piece: &Piece, from: Mark, runs: &mut Vec<Run>) {
    let (chunk, to) = (shared.chunk(piece.chunk), piece.to);
    // The last run of what was taken before may have gone on.
    for index in from.runs.saturating_sub(1)..to.runs {
        // SAFETY: both indices are below `to.runs`, and `to` is what `committed` returned when
        // the piece was cut; only this drainer resets chunks.
        let start = unsafe { chunk.run(index) };
        let next = (index + 1 < to.runs).then(|| {
            // SAFETY: as above.
            unsafe { chunk.run(index + 1) }
        });
        let (end_bytes, end_records) =
            next.map_or((to.bytes, to.records), |next| (next.bytes, next.records));
        let records = end_records.saturating_sub(start.records.max(from.records));
        if records == 0 {
            continue;
        }
        let first = start.bytes.max(from.bytes);
        // SAFETY: `end_bytes` is at most `to.bytes`, and `to` was acquired; see above.
        let slice = unsafe { Slice::lease(shared, piece.chunk, first, end_bytes) };
        runs.push(Run { tag: start.tag, records, bytes: Bytes::from_owner(slice) });
    }
}

/// Makes a chunk that nobody refers to as good as new.
fn wipe(shared: &Shared, index: u32) {
    let chunk = shared.chunk(index);
    if cfg!(debug_assertions) {
        let used = shared.range(index, 0, chunk.drained().bytes);
        // SAFETY: the chunk is retired, so it has no pen, and no slice refers to it.
        unsafe { shared.slab.write(used) }.fill(std::mem::MaybeUninit::new(POISON));
    }
    chunk.reset();
}

impl Drop for Drainer {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl fmt::Debug for Drainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drainer").field("retired", &self.retired.len()).finish_non_exhaustive()
    }
}

/// What debug builds write over returned chunks: a slice that reads it has outlived its lease.
const POISON: u8 = 0xdb;
