//! Counts for exporters that keep none of their own.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::Counts;

/// What became of exported records. Cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcomes(Arc<Fates>);

#[derive(Debug, Default)]
struct Fates {
    delivered: AtomicU64,
    dropped: AtomicU64,
}

impl Outcomes {
    /// Counts `records` that the exporter says arrived, or did not.
    pub(super) fn add(&self, records: u64, arrived: bool) {
        let counter = if arrived { &self.0.delivered } else { &self.0.dropped };
        // Ordering: Relaxed, here and below: mere counters; nothing else is read on the strength of
        // them. Exact ones are read after a flush, whose answer orders what came before it.
        counter.fetch_add(records, Ordering::Relaxed);
    }

    /// Records with a fate.
    pub(super) fn settled(&self) -> u64 {
        self.0.delivered.load(Ordering::Relaxed) + self.0.dropped.load(Ordering::Relaxed)
    }

    /// As an exporter's counts.
    pub(super) fn counts(&self, driver: &str) -> Counts {
        Counts {
            delivered: self.0.delivered.load(Ordering::Relaxed),
            dropped: self.0.dropped.load(Ordering::Relaxed),
            driver: driver.to_owned(),
            ..Counts::default()
        }
    }
}
