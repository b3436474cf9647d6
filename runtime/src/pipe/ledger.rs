//! Where each chunk is: the lists that are touched once a chunk, behind one lock.
//!
//! ```text
//!            claim                    seal                 cut             reclaim
//! free ----------------> live ----------------> full -----------> retired ---------> free
//!   ^                    |  ^                                  (the drainer's)
//!   |  never written     |  | claim
//!   +--------------------+  |
//!   leave                +--+ orphans (live, but their thread has ended)
//! ```
//!
//! **Order.** A take has to hand out one thread's records in the order of its appends. Chunks
//! get a sequence number when they become somebody's, and a thread goes only to chunks with a
//! higher number than its last; so the order is kept if (a) pieces are handed out by sequence
//! number and (b) whenever a piece is taken, all lower ones of its thread are taken too. For
//! (b) the lists and the committed marks are looked at under the lock, while no thread can go
//! from one chunk to another: a take is a consistent cut.

use std::collections::VecDeque;

use super::chunk::{Chunk, Mark};
use super::config::Config;
use super::pen::Pen;

/// Whose chunk it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// One thread's. At most [`Config::private_max`] chunks, orphans included.
    Thread,
    /// Everybody's, under a lock. One chunk.
    All,
}

/// The lists. They are as long as they can get from the start: nothing allocates later.
#[derive(Debug)]
pub(super) struct Ledger {
    /// The pool, last in first out: what was used last is in the cache.
    free: Vec<u32>,
    /// Chunks that have a pen and may hold records.
    live: Vec<Live>,
    /// Sealed and waiting to be taken, in the order of sealing.
    full: VecDeque<Full>,
    /// Pens of chunks whose threads have ended; the next to claim a chunk gets them.
    orphans: Vec<Pen>,
    /// Chunks that belong to single threads or are orphans.
    private: usize,
    /// Sum over `full`.
    sealed_bytes: usize,
    /// The sequence number that was given last.
    sequence: u64,
    config: Config,
}

#[derive(Clone, Copy, Debug)]
struct Live {
    chunk: u32,
    sequence: u64,
    owner: Owner,
}

#[derive(Clone, Copy, Debug)]
struct Full {
    chunk: u32,
    sequence: u64,
    /// Bytes that were not taken when it was sealed.
    bytes: usize,
}

/// A part of a chunk that the drainer is going to hand out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) sequence: u64,
    pub(super) chunk: u32,
    /// Where it ends; it begins where the chunk is drained to.
    pub(super) to: Mark,
    /// Whether nothing comes after it in this chunk.
    pub(super) sealed: bool,
}

impl Ledger {
    /// All chunks are free.
    pub(super) fn new(config: Config) -> Self {
        let chunks = config.chunks;
        Self {
            free: (0..chunks as u32).rev().collect(),
            live: Vec::with_capacity(chunks),
            full: VecDeque::with_capacity(chunks),
            orphans: Vec::with_capacity(chunks),
            private: 0,
            sealed_bytes: 0,
            sequence: 0,
            config,
        }
    }

    /// A live chunk for somebody who has none; `None` if the pool or the share of the threads
    /// is used up.
    pub(super) fn claim(&mut self, owner: Owner) -> Option<Pen> {
        if let Some(pen) = self.orphans.pop() {
            return Some(self.adopt(pen, owner));
        }
        if owner == Owner::Thread && self.private >= self.config.private_max() {
            return None;
        }
        let pen = Pen::new(self.free.pop()?, self.next_sequence());
        self.private += usize::from(owner == Owner::Thread);
        self.go_live(&pen, owner);
        Some(pen)
    }

    fn adopt(&mut self, mut pen: Pen, owner: Owner) -> Pen {
        // A higher number keeps the rule for the new owner, and harms no order of the old one,
        // which uses no chunk any more.
        pen.sequence = self.next_sequence();
        self.end_live(pen.chunk);
        self.go_live(&pen, owner);
        self.private -= usize::from(owner == Owner::All);
        pen
    }

    /// A chunk to try a record in that did not fit into the rest of another one. Nobody else
    /// knows of it until [`replace`](Self::replace) or [`put_back`](Self::put_back).
    pub(super) fn borrow(&mut self) -> Option<Pen> {
        Some(Pen::new(self.free.pop()?, 0))
    }

    /// The borrowed chunk was not written.
    pub(super) fn put_back(&mut self, fresh: Pen) {
        debug_assert!(fresh.is_fresh());
        self.free.push(fresh.chunk);
    }

    /// Seals `old` and makes the borrowed chunk live in its place.
    pub(super) fn replace(&mut self, old: Pen, fresh: &mut Pen, owner: Owner, chunks: &[Chunk]) {
        fresh.sequence = self.next_sequence();
        self.push_full(old, chunks);
        self.go_live(fresh, owner);
    }

    /// Seals a chunk without a successor.
    pub(super) fn seal(&mut self, pen: Pen, owner: Owner, chunks: &[Chunk]) {
        self.private -= usize::from(owner == Owner::Thread);
        self.push_full(pen, chunks);
    }

    /// The thread of `pen` has ended.
    pub(super) fn leave(&mut self, pen: Pen) {
        if !pen.is_fresh() {
            self.orphans.push(pen);
            return;
        }
        self.private -= 1;
        self.end_live(pen.chunk);
        self.free.push(pen.chunk);
    }

    /// Whether so much is sealed that a dozing worker should be woken.
    pub(super) fn is_ripe(&self) -> bool {
        self.sealed_bytes >= self.config.wake_bytes || self.full.len() >= self.config.wake_chunks()
    }

    /// Whether there is something to take. A sealed chunk counts even if all of its records
    /// were taken: taking it is what returns it to the pool.
    pub(super) fn is_pending(&self, chunks: &[Chunk]) -> bool {
        let pending = |live: &Live| chunks[live.chunk as usize].is_pending();
        !self.full.is_empty() || self.live.iter().any(pending)
    }

    /// Everything that is committed, into `pieces`, in the order to hand it out.
    pub(super) fn cut_all(&mut self, chunks: &[Chunk], pieces: &mut Vec<Piece>) {
        let full = self.full.drain(..).map(|full| full.piece(chunks));
        pieces.extend(full);
        pieces.extend(self.live.iter().filter_map(|live| live.piece(chunks)));
        pieces.sort_unstable_by_key(|piece| piece.sequence);
        self.sealed_bytes = 0;
    }

    /// Sealed chunks, lowest sequence first, while they have at most `bytes_max` together, but
    /// at least one; and what the shared chunk holds of records that come before them.
    pub(super) fn cut_sealed(
        &mut self,
        bytes_max: usize,
        chunks: &[Chunk],
        pieces: &mut Vec<Piece>,
    ) {
        self.full.make_contiguous().sort_unstable_by_key(|full| full.sequence);
        let mut bytes = 0;
        while let Some(full) = self.full.front().copied() {
            if !pieces.is_empty() && bytes + full.bytes > bytes_max {
                break;
            }
            bytes += full.bytes;
            self.full.pop_front();
            pieces.push(full.piece(chunks));
        }
        self.sealed_bytes -= bytes;
        self.cut_shared_before(chunks, pieces);
    }

    /// A thread may have been promoted since it appended to the shared chunk, so that what it
    /// appended there comes before what is in a sealed chunk of its own.
    fn cut_shared_before(&self, chunks: &[Chunk], pieces: &mut Vec<Piece>) {
        let shared = self.live.iter().find(|live| live.owner == Owner::All);
        let Some(shared) = shared.and_then(|live| live.piece(chunks)) else { return };
        let at = pieces.partition_point(|piece| piece.sequence < shared.sequence);
        if at < pieces.len() {
            pieces.insert(at, shared);
        }
    }

    /// Chunks that nobody refers to go back to the pool.
    pub(super) fn free(&mut self, chunks: impl Iterator<Item = u32>) {
        self.free.extend(chunks);
        debug_assert!(self.free.len() <= self.config.chunks);
    }

    fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn go_live(&mut self, pen: &Pen, owner: Owner) {
        self.live.push(Live { chunk: pen.chunk, sequence: pen.sequence, owner });
    }

    fn end_live(&mut self, chunk: u32) {
        let at = self.live.iter().position(|live| live.chunk == chunk);
        debug_assert!(at.is_some(), "chunk {chunk} has a pen but is not live");
        if let Some(at) = at {
            self.live.swap_remove(at);
        }
    }

    /// Takes the pen by value: nobody can write into the chunk any more.
    fn push_full(&mut self, pen: Pen, chunks: &[Chunk]) {
        self.end_live(pen.chunk);
        let drained = chunks[pen.chunk as usize].drained().bytes;
        let bytes = pen.bytes().saturating_sub(drained) as usize;
        self.sealed_bytes += bytes;
        self.full.push_back(Full { chunk: pen.chunk, sequence: pen.sequence, bytes });
    }
}

impl Live {
    /// What was committed and not taken.
    fn piece(&self, chunks: &[Chunk]) -> Option<Piece> {
        let chunk = &chunks[self.chunk as usize];
        let to = chunk.committed();
        let piece = Piece { sequence: self.sequence, chunk: self.chunk, to, sealed: false };
        (to != chunk.drained()).then_some(piece)
    }
}

impl Full {
    fn piece(&self, chunks: &[Chunk]) -> Piece {
        let to = chunks[self.chunk as usize].committed();
        Piece { sequence: self.sequence, chunk: self.chunk, to, sealed: true }
    }
}
