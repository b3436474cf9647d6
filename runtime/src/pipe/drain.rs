//! The exporter's end.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use super::chunk::Chunk;
use super::large::Lent;
use super::ledger::{Ledger, Part, Piece, Taken};
use super::shared::Shared;
use super::slice::Slice;
use super::thread::Busy;
use super::wait;
use super::{Tag, Want};
use crate::sync::shim::thread;

/// A run of records with one tag, in the order their thread appended them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// Resource and scope of all records.
    pub tag: Tag,
    /// How many records.
    pub records: u32,
    /// Their bytes: a lease on the chunk, ended when the last clone or slice of it is dropped. A
    /// record that is longer than a chunk is a run of its own, and its memory is freed then.
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
        self.shared.note_drainer();
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
        self.cut(|ledger, chunks, pieces| ledger.cut_sealed(bytes_max, chunks, pieces));
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
        self.cut(Ledger::cut_all);
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
        shared.tell_waiters(&ledger);
    }

    fn cut(&mut self, cut: impl FnOnce(&mut Ledger, &[Chunk], &mut Vec<Piece>)) {
        let Self { shared, pieces, .. } = self;
        let mut ledger = shared.ledger.lock();
        ledger.drained_by(thread::current().id());
        cut(&mut ledger, &shared.chunks, pieces);
    }

    fn hand_out(&mut self, runs: &mut Vec<Run>) {
        let mut records = 0;
        for Piece { what, .. } in self.pieces.drain(..) {
            match what {
                Taken::Part(part) => {
                    records += u64::from(part.records());
                    push_runs(&self.shared, part, runs);
                    // The slices have leases of their own now.
                    self.shared.chunk(part.chunk).end_lease();
                    self.retired.extend(part.sealed.then_some(part.chunk));
                }
                Taken::Large(large) => {
                    records += 1;
                    let tag = large.tag;
                    let bytes = Bytes::from_owner(Lent::new(&self.shared, large));
                    runs.push(Run { tag, records: 1, bytes });
                }
            }
        }
        self.shared.count_taken(records);
    }
}

/// The runs of `part`, or what of them is in it.
fn push_runs(shared: &Arc<Shared>, part: Part, runs: &mut Vec<Run>) {
    let Part { chunk: index_in_pool, from, to, .. } = part;
    let chunk = shared.chunk(index_in_pool);
    // The last run of what was taken before may have gone on.
    for index in from.runs.saturating_sub(1)..to.runs {
        // SAFETY: both indices are below `to.runs`, and `to` is what `committed` returned when
        // the part was cut; its lease keeps the chunk from being reset.
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
        // SAFETY: `end_bytes` is at most `to.bytes`, and `to` was acquired; the part's lease lasts
        // until the slice has its own.
        let slice = unsafe { Slice::lease(shared, index_in_pool, first, end_bytes) };
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
