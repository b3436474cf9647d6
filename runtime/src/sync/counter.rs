//! A number that one thread writes and any thread may read: what statistics are made of.

use super::shim::atomic::{AtomicU64, Ordering};

/// See the module.
#[derive(Debug, Default)]
pub struct Counter {
    count: AtomicU64,
}

impl Counter {
    /// Adds one. Only the writer's thread may.
    #[inline]
    pub fn raise(&self) {
        self.add(1);
    }

    /// Adds `more`. Only the writer's thread may.
    #[inline]
    pub fn add(&self, more: u64) {
        self.set(self.get().wrapping_add(more));
    }

    /// Sets the number. Only the writer's thread may.
    #[inline]
    pub fn set(&self, count: u64) {
        // Ordering: Relaxed; one writer, so no update is lost. Who wants exact numbers has
        // synchronised with the writer by other means: by its end, or by being its thread.
        self.count.store(count, Ordering::Relaxed);
    }

    /// The number now.
    #[inline]
    pub fn get(&self) -> u64 {
        // Ordering: Relaxed; see `set`.
        self.count.load(Ordering::Relaxed)
    }
}
