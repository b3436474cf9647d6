//! One chunk's words and its table of runs. The bytes themselves are in the slab.

use std::array;
use std::sync::OnceLock;

use crossbeam_utils::CachePadded;

use super::Tag;
use crate::sync::shim::UnsafeCell;
use crate::sync::shim::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::shim::limits::RUNS_MAX;

/// A position in a chunk: what is before it is committed, or drained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// At most the bytes of a chunk.
    pub(super) bytes: u32,
    /// At most [`RECORDS_MAX`].
    pub(super) records: u32,
    /// Runs begun; at most [`RUNS_MAX`].
    pub(super) runs: u32,
}

impl Mark {
    /// `bytes` in bits 0..32, `records` in 32..56, `runs` in 56..64.
    pub(super) fn pack(self) -> u64 {
        debug_assert!(self.records <= RECORDS_MAX && self.runs as usize <= RUNS_MAX);
        u64::from(self.bytes) | u64::from(self.records) << 32 | u64::from(self.runs) << 56
    }

    pub(super) fn unpack(word: u64) -> Self {
        Self {
            bytes: (word & 0xffff_ffff) as u32,
            records: (word >> 32) as u32 & RECORDS_MAX,
            runs: (word >> 56) as u32,
        }
    }
}

/// Where a run of equal tags begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RunStart {
    pub(super) tag: Tag,
    pub(super) bytes: u32,
    pub(super) records: u32,
}

/// What threads share of one chunk. In range `0 .. chunks` of the slab's pieces by its index.
pub(super) struct Chunk {
    /// [`Mark`] up to which bytes, records and runs are published. Written by the chunk's
    /// [`Pen`](super::pen::Pen) only, and set to zero before the chunk goes back to the pool or,
    /// by whoever evicts it, to another pen.
    committed: CachePadded<AtomicU64>,
    /// Entries below the committed `runs` are constant; the next one belongs to the pen. Made
    /// when the chunk is first written, so that a pool costs what is used of it.
    runs: OnceLock<Runs>,
    /// The drainer's side, on a cache line that the pen does not touch.
    drain: CachePadded<DrainSide>,
}

type Runs = Box<[UnsafeCell<RunStart>; RUNS_MAX]>;

struct DrainSide {
    /// [`Mark`] up to which runs were handed out, or are going to be. Written by the drainer,
    /// under the ledger's lock.
    drained: AtomicU64,
    /// Slices that are alive, and parts that were cut and are going to be slices. Raised by the
    /// drainer only, and from zero only under the ledger's lock; lowered by whoever drops a slice.
    leases: AtomicU32,
}

impl Chunk {
    pub(super) fn new() -> Self {
        let drain = DrainSide { drained: AtomicU64::new(0), leases: AtomicU32::new(0) };
        Self {
            committed: CachePadded::new(AtomicU64::new(0)),
            runs: OnceLock::new(),
            drain: CachePadded::new(drain),
        }
    }

    /// Publishes everything up to `mark`.
    #[inline]
    pub(super) fn commit(&self, mark: Mark) {
        // Ordering: Release pairs with the Acquire in `committed`: who sees the mark sees the
        // bytes and the runs below it.
        self.committed.store(mark.pack(), Ordering::Release);
    }

    /// Up to where bytes and runs may be read.
    pub(super) fn committed(&self) -> Mark {
        // Ordering: Acquire pairs with the Release in `commit`.
        Mark::unpack(self.committed.load(Ordering::Acquire))
    }

    /// Up to where the drainer has taken.
    pub(super) fn drained(&self) -> Mark {
        // Ordering: written under the ledger's lock, and read under it or as a hint.
        Mark::unpack(self.drain.drained.load(Ordering::Relaxed))
    }

    /// The drainer takes everything up to `mark`. Under the ledger's lock.
    pub(super) fn drain_to(&self, mark: Mark) {
        // Ordering: see `drained`.
        self.drain.drained.store(mark.pack(), Ordering::Relaxed);
    }

    /// Whether something is committed that was not taken.
    pub(super) fn is_pending(&self) -> bool {
        // Ordering: a hint. Against sleeping it is ordered by the doorbell's fences.
        let committed = self.committed.load(Ordering::Relaxed);
        committed != self.drain.drained.load(Ordering::Relaxed)
    }

    /// Enters a run that the next commit publishes.
    ///
    /// # Safety
    ///
    /// - The caller is the chunk's pen, and entry `index` is not committed.
    pub(super) unsafe fn begin_run(&self, index: u32, start: RunStart) {
        let empty = || Box::new(array::from_fn(|_| UnsafeCell::new(RunStart::default())));
        let entry = &self.runs.get_or_init(empty)[index as usize];
        // SAFETY: entries that are not committed are accessed by the pen alone.
        entry.with_mut(|entry| unsafe { *entry = start });
    }

    /// Entry `index` of the table of runs.
    ///
    /// # Safety
    ///
    /// - `index` is below the `runs` of a mark that [`committed`](Self::committed) returned to
    ///   the caller since the chunk left the pool.
    pub(super) unsafe fn run(&self, index: u32) -> RunStart {
        let runs = self.runs.get().expect("a chunk with a committed run has a table of runs");
        // SAFETY: committed entries are constant, and the caller has acquired the commit.
        runs[index as usize].with(|entry| unsafe { *entry })
    }

    /// One more slice or part. By the drainer only, and under the ledger's lock unless there is a
    /// lease already.
    pub(super) fn lease(&self) {
        // Ordering: who asks for zero has the ledger's lock, or is the drainer itself, so it
        // cannot miss the first increment, and the later ones come before its decrement.
        self.drain.leases.fetch_add(1, Ordering::Relaxed);
    }

    /// One slice or part fewer.
    pub(super) fn end_lease(&self) {
        // Ordering: Release pairs with the Acquire in `is_leased`: all reads through the slice
        // happen before the chunk is used again.
        self.drain.leases.fetch_sub(1, Ordering::Release);
    }

    /// Whether any slice or part is alive. Once there is none, there is none until the drainer has
    /// had the ledger's lock again.
    pub(super) fn is_leased(&self) -> bool {
        // Ordering: Acquire pairs with the Release in `end_lease` of every slice: each is a
        // read-modify-write, so all of them are in the release sequence that is read from.
        self.drain.leases.load(Ordering::Acquire) != 0
    }

    /// Makes the chunk as good as new. Under the ledger's lock, when nobody else refers to it.
    pub(super) fn reset(&self) {
        debug_assert!(!self.is_leased());
        // Ordering: the ledger's lock carries both to the next pen.
        self.committed.store(0, Ordering::Relaxed);
        self.drain.drained.store(0, Ordering::Relaxed);
    }
}

// SAFETY: everything but `runs` is atomic; each entry of `runs` is written by one pen before the
// commit that publishes it, and constant from then on until `reset` (see the field).
unsafe impl Sync for Chunk {}

/// What 24 bits can count.
pub(super) const RECORDS_MAX: u32 = (1 << 24) - 1;
