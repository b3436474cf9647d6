//! What a worker has done, readable from any thread while it goes on.

use crate::sync::shim::atomic::{AtomicU64, Ordering};

/// Counts of one worker, which alone writes them.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Polls of tasks.
    pub polls: Counter,
    /// Times that tasks were taken from another worker.
    pub steals: Counter,
    /// Tasks taken from other workers.
    pub stolen: Counter,
    /// Times that the worker slept.
    pub parks: Counter,
    /// Sleeps that somebody ended by ringing.
    pub rung: Counter,
    /// Tasks in its own queues when it last looked around: those that may be stolen.
    pub queued: Counter,
    /// The same for those that are pinned.
    pub pinned: Counter,
}

/// A number that one thread writes.
#[derive(Debug, Default)]
pub struct Counter {
    count: AtomicU64,
}

impl Counter {
    /// Adds `more`. Only the worker's thread may.
    #[inline]
    pub fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    /// Sets the number. Only the worker's thread may.
    #[inline]
    pub fn set(&self, count: u64) {
        // Ordering: Relaxed; statistics, which order nothing. One writer, so nothing is lost.
        self.count.store(count, Ordering::Relaxed);
    }

    /// The number now.
    #[inline]
    pub fn get(&self) -> u64 {
        // Ordering: Relaxed; see `set`.
        self.count.load(Ordering::Relaxed)
    }
}
