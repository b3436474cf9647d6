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
//! A record that is longer than a chunk is no chunk: it goes to `full` at once, and is gone when
//! it was taken and nobody holds it. What is in `full` can also be evicted, which is the shortcut
//! from there to `free`.
//!
//! **Order.** A take has to hand out one thread's records in the order of its appends. Chunks
//! get a sequence number when they become somebody's, and a thread goes only to chunks with a
//! higher number than its last; so the order is kept if (a) pieces are handed out by sequence
//! number and (b) whenever a piece is taken, all lower ones of its thread are taken too. For
//! (b) the lists and the committed marks are looked at under the lock, while no thread can go
//! from one chunk to another: a take is a consistent cut. A record that is longer than a chunk
//! has a number of its own: that of its thread's chunk is lower, and sealed, and the next one's
//! is higher.
//!
//! **Eviction.** A chunk is evicted under the lock, and only if no lease on it exists. A cut marks
//! what it takes as drained and leases its chunks before the lock is released, and every slice
//! begins while that lease lasts; so a chunk without a lease is one that nobody reads or is going
//! to read, though part of it may have been taken earlier, and what is above its drained mark is
//! what nobody has taken.

use std::collections::VecDeque;

use super::chunk::{Chunk, Mark};
use super::config::{Config, WhenFull};
use super::large::Large;
use super::pen::Pen;
use crate::sync::shim::thread::ThreadId;

/// Whose chunk it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// One thread's. At most [`Config::private_max`] chunks, orphans included.
    Thread,
    /// Everybody's, under a lock. One chunk.
    All,
}

/// The lists. They are as long as chunks can make them from the start: nothing allocates later,
/// except for records that are longer than a chunk.
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
    /// Bytes of the records that are longer than a chunk, in `full` or lent. At most
    /// [`Config::large_bytes`].
    large_bytes: usize,
    /// Records that were committed and evicted.
    evicted: u64,
    /// How often something came back that a record may have waited for.
    returned: u64,
    /// Threads that wait for it.
    waiting: usize,
    /// Whoever used the drainer last, if threads may wait.
    drainer: Option<ThreadId>,
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

#[derive(Debug)]
struct Full {
    sequence: u64,
    /// Bytes that were not taken when it was sealed.
    bytes: usize,
    what: Sealed,
}

#[derive(Debug)]
enum Sealed {
    Chunk(u32),
    Large(Large),
}

/// What the drainer is going to hand out, in one go.
#[derive(Debug)]
pub(super) struct Piece {
    sequence: u64,
    pub(super) what: Taken,
}

#[derive(Debug)]
pub(super) enum Taken {
    Part(Part),
    Large(Large),
}

/// A part of a chunk. The chunk is leased for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) chunk: u32,
    pub(super) from: Mark,
    pub(super) to: Mark,
    /// Whether nothing comes after it in this chunk.
    pub(super) sealed: bool,
}

/// What there is too little of; [`Ledger::returned`] at the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    pub(super) returned: u64,
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
            large_bytes: 0,
            evicted: 0,
            returned: 0,
            waiting: 0,
            drainer: None,
            sequence: 0,
            config,
        }
    }

    /// A live chunk for a thread that has none; `None` if the pool or the share of the threads
    /// is used up. Nothing is evicted for it: the thread can use the common chunk.
    pub(super) fn promote(&mut self) -> Option<Pen> {
        if let Some(pen) = self.orphans.pop() {
            return Some(self.adopt(pen, Owner::Thread));
        }
        if self.private >= self.config.private_max() {
            return None;
        }
        let pen = Pen::new(self.free.pop()?, self.next_sequence());
        self.private += 1;
        self.go_live(&pen, Owner::Thread);
        Some(pen)
    }

    /// A live chunk for all; `None` if the pool is used up and nothing can be evicted.
    pub(super) fn claim_common(&mut self, chunks: &[Chunk]) -> Option<Pen> {
        if let Some(pen) = self.orphans.pop() {
            return Some(self.adopt(pen, Owner::All));
        }
        let pen = Pen::new(self.free_or_evicted(chunks)?, self.next_sequence());
        self.go_live(&pen, Owner::All);
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
    pub(super) fn borrow(&mut self, chunks: &[Chunk]) -> Option<Pen> {
        Some(Pen::new(self.free_or_evicted(chunks)?, 0))
    }

    /// The borrowed chunk was not written.
    pub(super) fn put_back(&mut self, fresh: Pen) {
        debug_assert!(fresh.is_fresh());
        self.free.push(fresh.chunk);
        self.returned += 1;
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

    /// Puts a record that is longer than a chunk behind all that its thread has written, and in
    /// front of what it is going to write to `slot`, its own chunk. Its sequence; or the record
    /// again, if there is no room for it.
    pub(super) fn push_large(
        &mut self,
        large: Large,
        slot: &mut Option<Pen>,
        chunks: &[Chunk],
    ) -> Result<u64, (Large, Shortage)> {
        if !self.make_large_room(large.len()) {
            return Err((large, self.shortage()));
        }
        if let Some(pen) = slot.take_if(|pen| !pen.is_fresh()) {
            self.seal(pen, Owner::Thread, chunks);
        }
        let (bytes, sequence) = (large.len(), self.next_sequence());
        self.large_bytes += bytes;
        self.sealed_bytes += bytes;
        // All chunks will still find a place.
        self.full.reserve(self.config.chunks);
        self.full.push_back(Full { sequence, bytes, what: Sealed::Large(large) });
        if let Some(pen) = slot {
            pen.sequence = self.next_sequence();
            self.end_live(pen.chunk);
            self.go_live(pen, Owner::Thread);
        }
        Ok(sequence)
    }

    /// A record that was longer than a chunk is gone.
    pub(super) fn end_large(&mut self, bytes: usize) {
        self.large_bytes -= bytes;
        self.returned += 1;
    }

    /// Whether `bytes` fit what long records may have together, once the oldest are gone if need
    /// be. None is evicted if that does not make room enough.
    fn make_large_room(&mut self, bytes: usize) -> bool {
        let room = self.config.large_bytes - self.large_bytes;
        if room < bytes && room + self.large_evictable() < bytes {
            return false;
        }
        while self.config.large_bytes - self.large_bytes < bytes {
            let Some(at) = self.full.iter().position(Full::is_large) else { return false };
            let oldest = self.full.remove(at).map_or(0, |full| full.bytes);
            self.sealed_bytes -= oldest;
            self.large_bytes -= oldest;
            self.evicted += 1;
        }
        true
    }

    /// Bytes of the long records that may be evicted.
    fn large_evictable(&self) -> usize {
        match self.config.when_full {
            WhenFull::DropOldest => {
                self.full.iter().filter(|full| full.is_large()).map(|full| full.bytes).sum()
            }
            WhenFull::DropNewest | WhenFull::Block(_) => 0,
        }
    }

    /// What a refused record may wait for.
    pub(super) fn shortage(&self) -> Shortage {
        Shortage { returned: self.returned }
    }

    /// Whether something has come back since.
    pub(super) fn is_over(&self, shortage: Shortage) -> bool {
        self.returned != shortage.returned
    }

    /// One more thread waits, or one fewer.
    pub(super) fn wait(&mut self, begins: bool) {
        self.waiting = if begins { self.waiting + 1 } else { self.waiting - 1 };
    }

    /// Whether any thread waits.
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting > 0
    }

    /// `thread` uses the drainer.
    pub(super) fn drained_by(&mut self, thread: ThreadId) {
        self.drainer = Some(thread);
    }

    /// Whether `thread` was the last to use the drainer.
    pub(super) fn is_drained_by(&self, thread: ThreadId) -> bool {
        self.drainer == Some(thread)
    }

    /// Records that were committed and evicted.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The thread of `pen` has ended.
    pub(super) fn leave(&mut self, pen: Pen) {
        self.returned += 1;
        if !pen.is_fresh() {
            self.orphans.push(pen);
            return;
        }
        self.private -= 1;
        self.end_live(pen.chunk);
        self.free.push(pen.chunk);
    }

    /// Whether so much is sealed that a dozing worker should be woken, or anything that somebody
    /// waits for.
    pub(super) fn is_ripe(&self) -> bool {
        self.sealed_bytes >= self.config.wake_bytes
            || self.full.len() >= self.config.wake_chunks()
            || self.waiting > 0 && !self.full.is_empty()
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
        while let Some(full) = self.full.front() {
            if !pieces.is_empty() && bytes + full.bytes > bytes_max {
                break;
            }
            bytes += full.bytes;
            pieces.extend(self.full.pop_front().map(|full| full.piece(chunks)));
        }
        self.sealed_bytes -= bytes;
        self.cut_shared_before(chunks, pieces);
    }

    /// A thread may have been promoted since it appended to the shared chunk, so that what it
    /// appended there comes before what is in a sealed chunk of its own.
    fn cut_shared_before(&self, chunks: &[Chunk], pieces: &mut Vec<Piece>) {
        let shared = self.live.iter().find(|live| live.owner == Owner::All);
        let Some(shared) = shared else { return };
        let at = pieces.partition_point(|piece| piece.sequence < shared.sequence);
        if at == pieces.len() {
            return;
        }
        if let Some(piece) = shared.piece(chunks) {
            pieces.insert(at, piece);
        }
    }

    /// Chunks that nobody refers to go back to the pool.
    pub(super) fn free(&mut self, chunks: impl Iterator<Item = u32>) {
        self.free.extend(chunks);
        self.returned += 1;
        debug_assert!(self.free.len() <= self.config.chunks);
    }

    fn free_or_evicted(&mut self, chunks: &[Chunk]) -> Option<u32> {
        self.free.pop().or_else(|| self.evict(chunks))
    }

    /// Takes back the oldest sealed chunk that nobody reads, with what is in it.
    fn evict(&mut self, chunks: &[Chunk]) -> Option<u32> {
        if self.config.when_full != WhenFull::DropOldest {
            return None;
        }
        let at = self.full.iter().position(|full| full.is_unread(chunks))?;
        let Full { bytes, what: Sealed::Chunk(index), .. } = self.full.remove(at)? else {
            return None;
        };
        let chunk = &chunks[index as usize];
        self.sealed_bytes -= bytes;
        self.evicted += u64::from(chunk.committed().records - chunk.drained().records);
        chunk.reset();
        Some(index)
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
        let what = Sealed::Chunk(pen.chunk);
        self.full.push_back(Full { sequence: pen.sequence, bytes, what });
    }
}

impl Live {
    /// What was committed and not taken.
    fn piece(&self, chunks: &[Chunk]) -> Option<Piece> {
        let part = Part::of(self.chunk, false, chunks);
        let what = (part.to != part.from).then(|| Taken::Part(part.cut(chunks)));
        what.map(|what| Piece { sequence: self.sequence, what })
    }
}

impl Full {
    fn piece(self, chunks: &[Chunk]) -> Piece {
        let what = match self.what {
            Sealed::Chunk(chunk) => Taken::Part(Part::of(chunk, true, chunks).cut(chunks)),
            Sealed::Large(large) => Taken::Large(large),
        };
        Piece { sequence: self.sequence, what }
    }

    fn is_large(&self) -> bool {
        matches!(self.what, Sealed::Large(_))
    }

    /// Whether it is a chunk without a lease. Under the lock, where leases begin.
    fn is_unread(&self, chunks: &[Chunk]) -> bool {
        matches!(self.what, Sealed::Chunk(index) if !chunks[index as usize].is_leased())
    }
}

impl Part {
    fn of(chunk: u32, sealed: bool, chunks: &[Chunk]) -> Self {
        let (from, to) = (chunks[chunk as usize].drained(), chunks[chunk as usize].committed());
        Self { chunk, from, to, sealed }
    }

    /// It is going to be handed out: nobody else takes it, and nobody takes the chunk away.
    fn cut(self, chunks: &[Chunk]) -> Self {
        let chunk = &chunks[self.chunk as usize];
        chunk.lease();
        chunk.drain_to(self.to);
        self
    }

    /// Records of it.
    pub(super) fn records(&self) -> u32 {
        self.to.records - self.from.records
    }
}
