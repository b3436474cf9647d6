//! Waiting for room: [`WhenFull::Block`].
//!
//! A refused record waits until something has come back to the ledger since: a chunk, or room for
//! a long record. Then its append tries everything again. The number of returns is read under the
//! lock under which the record was refused, so none that could have helped is missed; and it is
//! looked at under the lock that the wait releases.
//!
//! Whoever waits has the worker woken, and counts: while anybody waits, anything that is sealed is
//! a batch ([`Ledger::is_ripe`]).

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::config::WhenFull;
use super::ledger::{Ledger, Shortage};
use super::shared::{Bell, Shared};
use super::thread::Busy;
use crate::sync::shim::thread;

/// How long one append may still wait, over all of its tries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// `None` if it may not wait at all.
    until: Option<Instant>,
}

impl Patience {
    /// Of an append that was refused just now.
    pub(super) fn new(when_full: WhenFull) -> Self {
        let until = match when_full {
            WhenFull::Block(limit) => Some(Instant::now() + limit),
            WhenFull::DropNewest | WhenFull::DropOldest => None,
        };
        Self { until }
    }

    fn left(self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Shared {
    /// Waits until it makes sense to try again; false if it does not. No lock may be held.
    #[cold]
    pub(super) fn wait_for_room(&self, shortage: Shortage, patience: Patience) -> bool {
        if patience.left().is_none() || !self.begin_wait() {
            return false;
        }
        // Not under the lock: waking takes microseconds.
        self.ring(Bell::Batch);
        let mut ledger = self.ledger.lock();
        while !ledger.is_over(shortage) && !self.is_closed() {
            let Some(left) = patience.left() else { break };
            let waited = self.returns.wait_timeout(ledger, left);
            (ledger, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        ledger.wait(false);
        // Closed is told as such by another try.
        ledger.is_over(shortage) || self.is_closed()
    }

    /// The drainer's own thread does not wait: nobody else would end it.
    fn begin_wait(&self) -> bool {
        let mut ledger = self.ledger.lock();
        let may = !ledger.is_drained_by(thread::current().id());
        if may {
            ledger.wait(true);
        }
        may
    }

    /// Something has come back. Under the ledger's lock.
    pub(super) fn tell_waiters(&self, ledger: &Ledger) {
        if ledger.is_waited_for() {
            self.returns.notify_all();
        }
    }

    /// The pipe was closed.
    pub(super) fn release_waiters(&self) {
        if self.may_block() && !self.is_forked() {
            let _busy = Busy::hold();
            // Who has not seen that the pipe is closed is waiting once we have the lock.
            let ledger = self.ledger.lock();
            self.tell_waiters(&ledger);
        }
    }

    /// The calling thread uses the drainer.
    pub(super) fn note_drainer(&self) {
        if self.may_block() && !self.is_forked() {
            let _busy = Busy::hold();
            self.ledger.lock().drained_by(thread::current().id());
        }
    }

    fn may_block(&self) -> bool {
        matches!(self.config.when_full, WhenFull::Block(_))
    }
}
