//! The calling thread's side: its writers, one for each pipe it appends to.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Weak};

use super::counters::{Alone, Own};
use super::large::Large;
use super::ledger::Owner;
use super::patience::Patience;
use super::pen::Pen;
use super::shared::{Bell, Miss, Shared};
use super::{Refusal, Tag};
use crate::buf::Cursor;
use crate::sync::shim::thread_local;

thread_local! {
    /// Whether this thread is inside of a pipe. It has no destructor, so that it works while
    /// the others run.
    static BUSY: Cell<bool> = const { Cell::new(false) };
    static WRITERS: RefCell<Writers> = const { RefCell::new(Writers(Vec::new())) };
}

/// See [`Pipe::append`](super::Pipe::append).
#[inline]
pub(super) fn append(
    shared: &Arc<Shared>,
    tag: Tag,
    encode: &mut impl FnMut(&mut Cursor<'_>),
) -> Result<(), Refusal> {
    if shared.is_forked() {
        return shared.refuse_forked();
    }
    let Some(_busy) = Busy::enter() else { return shared.refuse_reentrant() };
    let result =
        WRITERS.try_with(|writers| writers.borrow_mut().to(shared).append(shared, tag, encode));
    match result {
        Ok(outcome) => outcome,
        Err(_destroyed) => shared.append_loose(tag, encode),
    }
}

/// Refuses appends of this thread while it lives: the thread is inside of a pipe, perhaps under
/// a lock, and an allocator that emits telemetry may bring it here again.
pub(super) struct Busy {
    /// What to go back to: some of the pipe's steps nest.
    before: bool,
}

impl Busy {
    /// Unless the thread is busy already.
    #[inline]
    fn enter() -> Option<Self> {
        let busy = Self::hold();
        (!busy.before).then_some(busy)
    }

    /// For steps that are no append.
    #[inline]
    pub(super) fn hold() -> Self {
        // Only loom's thread-locals are ever gone; then the thread is past any append.
        Self { before: BUSY.try_with(|busy| busy.replace(true)).unwrap_or(false) }
    }
}

impl Drop for Busy {
    #[inline]
    fn drop(&mut self) {
        let _ = BUSY.try_with(|busy| busy.set(self.before));
    }
}

/// The writers of this thread, the one used last in front. There are as many as pipes that it
/// has appended to and that still exist.
struct Writers(Vec<Writer>);

impl Writers {
    #[inline]
    fn to(&mut self, shared: &Arc<Shared>) -> &mut Writer {
        if !self.0.first().is_some_and(|writer| writer.is_to(shared)) {
            self.bring_to_front(shared);
        }
        &mut self.0[0]
    }

    #[cold]
    fn bring_to_front(&mut self, shared: &Arc<Shared>) {
        let at = self.0.iter().position(|writer| writer.is_to(shared));
        let at = at.unwrap_or_else(|| self.add(shared));
        self.0.swap(0, at);
    }

    fn add(&mut self, shared: &Arc<Shared>) -> usize {
        self.0.retain(|writer| writer.pipe.strong_count() > 0);
        self.0.push(Writer::new(shared));
        self.0.len() - 1
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        // Each writer leaves its pipe in its own drop, which takes locks and may allocate.
        let _busy = Busy::hold();
        self.0.clear();
    }
}

/// This thread's end of one pipe.
struct Writer {
    /// Does not keep the pipe's memory. Its address is the pipe's identity: no other pipe can
    /// get it as long as this exists.
    pipe: Weak<Shared>,
    /// `None` only while leaving.
    tally: Option<Own>,
    hand: Hand,
}

/// Where this thread writes.
#[derive(Default)]
struct Hand {
    /// Pen of the thread's own chunk, if it has one.
    pen: Option<Pen>,
    /// Sequence of the last chunk, or long record, that this thread wrote; of its own chunk only
    /// once it may lose that.
    last: u64,
    /// Records appended to the common chunk since the thread last asked for one of its own; at
    /// the number that promotes it asks again.
    common: u32,
}

impl Writer {
    fn new(shared: &Arc<Shared>) -> Self {
        let tally = Some(shared.registry.enter());
        Self { pipe: Arc::downgrade(shared), tally, hand: Hand::default() }
    }

    #[inline]
    fn is_to(&self, shared: &Arc<Shared>) -> bool {
        self.pipe.as_ptr() == Arc::as_ptr(shared)
    }

    #[inline]
    fn append(
        &mut self,
        shared: &Shared,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Result<(), Refusal> {
        let Self { tally: Some(tally), hand, .. } = self else {
            return shared.append_loose(tag, encode);
        };
        tally.count::<Alone>(|| {
            if shared.is_closed() {
                return Err(Refusal::Closed);
            }
            match hand.write(shared, tag, encode) {
                Ok(()) => Ok(()),
                Err(miss) => hand.insist(miss, shared, tag, encode),
            }
        })
    }

    fn leave(&mut self) {
        let Some(shared) = self.pipe.upgrade() else { return };
        if shared.is_forked() {
            return;
        }
        if let Some(pen) = self.hand.pen.take() {
            let mut ledger = shared.ledger.lock();
            ledger.leave(pen);
            shared.tell_waiters(&ledger);
        }
        if let Some(tally) = self.tally.take() {
            shared.registry.leave(tally);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Hand {
    #[inline]
    fn write(
        &mut self,
        shared: &Shared,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Result<(), Miss> {
        if let Some(own) = &mut self.pen
            && let Ok(()) = own.write(shared, tag, encode)
        {
            shared.ring(Bell::Idle);
            return Ok(());
        }
        self.write_elsewhere(shared, tag, encode)
    }

    /// The thread has no chunk, or the record does not fit into the rest of it.
    #[cold]
    fn write_elsewhere(
        &mut self,
        shared: &Shared,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Result<(), Miss> {
        let Self { pen, last, common } = self;
        let written = if let Some(own) = pen {
            *last = own.sequence;
            shared.write_on(pen, Owner::Thread, tag, encode)
        } else if *common >= shared.config.promote_after && self.promote(shared) {
            return self.write(shared, tag, encode);
        } else {
            let written = shared.write_common(&mut self.last, tag, encode);
            self.common = self.common.saturating_add(u32::from(written.outcome.is_ok()));
            written
        };
        shared.ring(written.bell);
        written.outcome
    }

    /// Gets a chunk of its own, or goes on without one for as many records as before, so that it
    /// does not ask for the ledger's lock each time.
    fn promote(&mut self, shared: &Shared) -> bool {
        self.pen = shared.ledger.lock().promote();
        self.common = 0;
        self.pen.is_some()
    }

    /// There was no room in a chunk, or the record fits none.
    #[cold]
    fn insist(
        &mut self,
        mut miss: Miss,
        shared: &Shared,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Result<(), Refusal> {
        let patience = Patience::new(shared.config.when_full);
        while let Miss::Full(shortage) = miss {
            if !shared.wait_for_room(shortage, patience) {
                return Err(Refusal::Full);
            }
            if shared.is_closed() {
                return Err(Refusal::Closed);
            }
            match self.write(shared, tag, encode) {
                Ok(()) => return Ok(()),
                Err(again) => miss = again,
            }
        }
        self.publish(Large::encode(&shared.config, tag, encode)?, shared, patience)
    }

    fn publish(
        &mut self,
        mut large: Large,
        shared: &Shared,
        patience: Patience,
    ) -> Result<(), Refusal> {
        loop {
            if shared.is_closed() {
                return Err(Refusal::Closed);
            }
            match shared.publish(large, &mut self.pen, &mut self.last) {
                Ok(()) => return Ok(()),
                Err((back, shortage)) if shared.wait_for_room(shortage, patience) => large = back,
                Err(_) => return Err(Refusal::Full),
            }
        }
    }
}
