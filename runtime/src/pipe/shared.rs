//! What all ends of a pipe share, and how a record finds its chunk.

use std::ops::Range;

use super::chunk::Chunk;
use super::config::Config;
use super::counters::{Counters, Registry, Tally, Together};
use super::large::Large;
use super::ledger::{Ledger, Owner, Shortage};
use super::pen::Pen;
use super::thread::Busy;
use super::{Refusal, Tag};
use crate::buf::Cursor;
use crate::sync::doorbell::{Button, Doorbell};
use crate::sync::shim::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::shim::{Arc, Condvar, Mutex, Slab};
use crate::sys::fork::Origin;

/// The pipe itself. Locks are taken in the order of the fields; nobody else's code runs under
/// one, except for encoders under `common`.
pub(super) struct Shared {
    pub(super) config: Config,
    /// The bytes of all chunks, one after the other.
    pub(super) slab: Slab,
    /// The words of all chunks, by index.
    pub(super) chunks: Box<[Chunk]>,
    /// Pen of the chunk of threads that have none of their own.
    common: Mutex<Option<Pen>>,
    pub(super) ledger: Mutex<Ledger>,
    /// Threads that wait for what comes back to the ledger.
    pub(super) returns: Condvar,
    pub(super) registry: Registry,
    /// What is counted by threads that have no tally at hand.
    pub(super) loose: Tally,
    /// Records handed out. Written by the drainer only.
    taken: AtomicU64,
    /// Set once.
    closed: AtomicBool,
    doorbell: Arc<Doorbell>,
    /// Of the doorbell, and this pipe's own.
    pub(super) button: Button,
    /// The drainer's process. In a forked child nobody drains, and locks may be held for ever.
    origin: Origin,
    /// What forked children offered.
    in_child: Tally,
}

/// Whom to wake, once no lock is held; the later one wakes whom the earlier one wakes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bell {
    /// Nobody: nothing was committed or sealed.
    Silent,
    /// A worker that sleeps as idle.
    Idle,
    /// Any worker that sleeps: there is a batch.
    Batch,
}

/// What became of a record.
pub(super) struct Written {
    pub(super) outcome: Result<(), Miss>,
    pub(super) bell: Bell,
}

/// Why a record is in no chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// There is none for it.
    Full(Shortage),
    /// It does not fit into any.
    Oversize,
}

impl Shared {
    pub(super) fn new(config: Config, doorbell: Arc<Doorbell>) -> Self {
        Self {
            config,
            slab: Slab::new(config.pool_bytes()),
            chunks: (0..config.chunks).map(|_| Chunk::new()).collect(),
            common: Mutex::new(None),
            ledger: Mutex::new(Ledger::new(config)),
            returns: Condvar::new(),
            registry: Registry::default(),
            loose: Tally::default(),
            taken: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            button: doorbell.button(),
            doorbell,
            origin: Origin::here(),
            in_child: Tally::default(),
        }
    }

    #[inline]
    pub(super) fn chunk(&self, index: u32) -> &Chunk {
        &self.chunks[index as usize]
    }

    /// Bytes `from..to` of a chunk, as a range of the slab.
    #[inline]
    pub(super) fn range(&self, chunk: u32, from: u32, to: u32) -> Range<usize> {
        debug_assert!(from <= to && to as usize <= self.config.chunk_bytes);
        let base = chunk as usize * self.config.chunk_bytes;
        base + from as usize..base + to as usize
    }

    /// Writes a record into the common chunk, or into a fresh one that takes its place.
    fn write(
        &self,
        common: &mut Option<Pen>,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Written {
        if common.is_none() {
            let mut ledger = self.ledger.lock();
            *common = ledger.claim_common(&self.chunks);
            if common.is_none() {
                return Written::missed(Miss::Full(ledger.shortage()), Bell::Silent);
            }
        }
        match common.as_mut().map(|pen| pen.write(self, tag, encode)) {
            Some(Ok(())) => Written::committed(Bell::Idle),
            _ => self.write_on(common, Owner::All, tag, encode),
        }
    }

    /// Writes a record that did not fit into the rest of the chunk of `slot` into a fresh one,
    /// which takes its place.
    pub(super) fn write_on(
        &self,
        slot: &mut Option<Pen>,
        owner: Owner,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Written {
        if slot.as_ref().is_some_and(Pen::is_fresh) {
            return Written::missed(Miss::Oversize, Bell::Silent);
        }
        self.turn_over(slot, owner, tag, encode)
    }

    /// The record did not fit into the rest of the chunk. It is tried in a fresh one before the
    /// old one is sealed, so that records that fit nowhere do not use up the pool.
    #[cold]
    fn turn_over(
        &self,
        slot: &mut Option<Pen>,
        owner: Owner,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Written {
        let mut loan = match self.borrow_or_seal(slot, owner) {
            Ok(pen) => Loan { shared: self, pen: Some(pen) },
            Err(written) => return written,
        };
        let fits = loan.pen.as_mut().is_some_and(|pen| pen.write(self, tag, encode).is_ok());
        if !fits {
            return Written::missed(Miss::Oversize, Bell::Silent);
        }
        Written::committed(loan.settle(slot, owner))
    }

    /// A chunk to try the record in. If there is none the old one is sealed all the same: the
    /// pool may be waiting for just this chunk.
    fn borrow_or_seal(&self, slot: &mut Option<Pen>, owner: Owner) -> Result<Pen, Written> {
        let mut ledger = self.ledger.lock();
        if let Some(fresh) = ledger.borrow(&self.chunks) {
            return Ok(fresh);
        }
        if let Some(old) = slot.take() {
            ledger.seal(old, owner, &self.chunks);
        }
        Err(Written::missed(Miss::Full(ledger.shortage()), Bell::after_seal(&ledger)))
    }

    /// Writes a record into the chunk that all threads share. `last` is the sequence of the
    /// last chunk that the calling thread wrote to, and is kept up to date.
    pub(super) fn write_common(
        &self,
        last: &mut u64,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Written {
        let mut common = self.common.lock();
        // This thread has written to a later chunk: what it writes now must come out later.
        let older = common.take_if(|pen| pen.sequence < *last);
        let sealed = older.map_or(Bell::Silent, |pen| self.seal(pen, Owner::All));
        let mut written = self.write(&mut common, tag, encode);
        written.bell = written.bell.max(sealed);
        if let (Ok(()), Some(pen)) = (written.outcome, &*common) {
            *last = pen.sequence;
        }
        written
    }

    /// Queues a record that is longer than a chunk, behind what its thread has written before:
    /// to its own chunk in `slot`, or up to the sequence `last`, which is kept up to date. The
    /// record comes back if there is no room for it.
    pub(super) fn publish(
        &self,
        large: Large,
        slot: &mut Option<Pen>,
        last: &mut u64,
    ) -> Result<(), (Large, Shortage)> {
        let mut ledger = self.ledger.lock();
        *last = ledger.push_large(large, slot, &self.chunks)?;
        let bell = Bell::after_seal(&ledger);
        drop(ledger);
        self.ring(bell);
        Ok(())
    }

    /// A record that was longer than a chunk is gone.
    pub(super) fn end_large(&self, bytes: usize) {
        if self.is_forked() {
            return;
        }
        let _busy = Busy::hold();
        let mut ledger = self.ledger.lock();
        ledger.end_large(bytes);
        self.tell_waiters(&ledger);
    }

    fn seal(&self, pen: Pen, owner: Owner) -> Bell {
        let mut ledger = self.ledger.lock();
        ledger.seal(pen, owner, &self.chunks);
        Bell::after_seal(&ledger)
    }

    /// Wakes whom it may concern. Not under a lock: waking takes microseconds.
    #[inline]
    pub(super) fn ring(&self, bell: Bell) {
        match bell {
            Bell::Silent => {}
            Bell::Idle => self.doorbell.ring_idle(self.button),
            Bell::Batch => self.doorbell.ring(),
        }
    }

    pub(super) fn close(&self) {
        // Ordering: no more than a notice; see `Pipe::close` for what it promises.
        self.closed.store(true, Ordering::Relaxed);
        self.release_waiters();
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        // Ordering: see `close`.
        self.closed.load(Ordering::Relaxed)
    }

    /// The drainer has handed out `records` more.
    pub(super) fn count_taken(&self, records: u64) {
        // Ordering: a count and nothing more, and the drainer is its only writer.
        let taken = self.taken.load(Ordering::Relaxed);
        self.taken.store(taken + records, Ordering::Relaxed);
    }

    /// Whether this process is a fork of the drainer's.
    #[inline]
    pub(super) fn is_forked(&self) -> bool {
        !self.origin.is_here()
    }

    pub(super) fn counters(&self) -> Counters {
        if self.is_forked() {
            let mut own = Counters::default();
            self.in_child.add_to(&mut own);
            return own;
        }
        let evicted = self.ledger.lock().evicted();
        let sum = self.registry.sum(&self.loose);
        // Ordering: see `count_taken`.
        Counters { taken: self.taken.load(Ordering::Relaxed), evicted, ..sum }
    }

    /// Counts a refusal without touching anything that the interrupted append may hold.
    #[cold]
    pub(super) fn refuse_reentrant(&self) -> Result<(), Refusal> {
        self.loose.count::<Together>(|| Err(Refusal::Reentrant))
    }

    /// Counts a refusal in a forked child, where only atomics can be relied upon.
    #[cold]
    pub(super) fn refuse_forked(&self) -> Result<(), Refusal> {
        self.in_child.count::<Together>(|| Err(Refusal::Forked))
    }

    /// Appends for a thread whose thread-locals are gone. It is about to end and waits for nobody.
    #[cold]
    pub(super) fn append_loose(
        &self,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Result<(), Refusal> {
        self.loose.count::<Together>(|| {
            if self.is_closed() {
                return Err(Refusal::Closed);
            }
            let written = self.write_common(&mut 0, tag, encode);
            self.ring(written.bell);
            match written.outcome {
                Ok(()) => Ok(()),
                Err(Miss::Full(_)) => Err(Refusal::Full),
                Err(Miss::Oversize) => {
                    let large = Large::encode(&self.config, tag, encode)?;
                    self.publish(large, &mut None, &mut 0).map_err(|_| Refusal::Full)
                }
            }
        })
    }
}

/// A chunk on loan from the pool, given back unless it is settled.
struct Loan<'a> {
    shared: &'a Shared,
    /// `None` once settled.
    pen: Option<Pen>,
}

impl Loan<'_> {
    /// The chunk takes the place of the one in `slot`, which is sealed.
    fn settle(mut self, slot: &mut Option<Pen>, owner: Owner) -> Bell {
        let Some(mut fresh) = self.pen.take() else { return Bell::Silent };
        let mut ledger = self.shared.ledger.lock();
        if let Some(old) = slot.take() {
            ledger.replace(old, &mut fresh, owner, &self.shared.chunks);
        }
        *slot = Some(fresh);
        Bell::after_seal(&ledger)
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if let Some(pen) = self.pen.take() {
            let mut ledger = self.shared.ledger.lock();
            ledger.put_back(pen);
            self.shared.tell_waiters(&ledger);
        }
    }
}

impl Bell {
    fn after_seal(ledger: &Ledger) -> Self {
        if ledger.is_ripe() { Self::Batch } else { Self::Idle }
    }
}

impl Written {
    #[inline]
    fn committed(bell: Bell) -> Self {
        Self { outcome: Ok(()), bell }
    }

    #[inline]
    fn missed(why: Miss, bell: Bell) -> Self {
        Self { outcome: Err(why), bell }
    }
}
