//! Who counts what: each thread on its own cache line, without read-modify-writes.

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use super::Refusal;
use crate::sync::shim::Mutex;
use crate::sync::shim::atomic::{AtomicU64, Ordering};

/// Counters of a pipe; each is counted on its own.
///
/// Once producers have stopped they are exact:
/// `offered = accepted + full + oversize + reentrant + closed + forked + panicked`, and once the
/// drainer has taken everything, `accepted = taken + evicted`.
///
/// A forked child counts apart, without locks: all that it offers is `forked`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Calls of `append`.
    pub offered: u64,
    /// Records committed.
    pub accepted: u64,
    /// Records that the drainer has taken.
    pub taken: u64,
    /// Records committed, and dropped as the oldest to make room:
    /// [`WhenFull::DropOldest`](super::WhenFull::DropOldest).
    pub evicted: u64,
    /// Refused: full.
    pub full: u64,
    /// Refused: oversize.
    pub oversize: u64,
    /// Refused: re-entrant.
    pub reentrant: u64,
    /// Refused: closed.
    pub closed: u64,
    /// Refused: forked.
    pub forked: u64,
    /// Not recorded because the encoder panicked.
    pub panicked: u64,
}

impl Counters {
    /// Records that are in the pipe: committed, not taken, not evicted. After the drainer's last take,
    /// with producers stopped, exactly those that nobody will deliver.
    pub fn left_behind(&self) -> u64 {
        self.accepted.saturating_sub(self.taken).saturating_sub(self.evicted)
    }
}

/// What appends came to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    offered: AtomicU64,
    accepted: AtomicU64,
    full: AtomicU64,
    oversize: AtomicU64,
    reentrant: AtomicU64,
    closed: AtomicU64,
    forked: AtomicU64,
    panicked: AtomicU64,
}

/// How a counter is raised.
pub(super) trait Raise {
    /// Adds one.
    fn raise(counter: &AtomicU64);
}

/// For the tally of one thread, which nobody else writes.
pub(super) struct Alone;

impl Raise for Alone {
    #[inline]
    fn raise(counter: &AtomicU64) {
        // Ordering: one writer, so no update is lost; readers are exact once they have
        // synchronised with the writer by other means (a join, the registry's lock).
        let count = counter.load(Ordering::Relaxed);
        counter.store(count.wrapping_add(1), Ordering::Relaxed);
    }
}

/// For a tally that several threads write.
pub(super) struct Together;

impl Raise for Together {
    fn raise(counter: &AtomicU64) {
        // Ordering: a count and nothing more; see `Alone`.
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Tally {
    /// Counts one offer and what `append` made of it, even if it panics.
    #[inline]
    pub(super) fn count<R: Raise>(
        &self,
        append: impl FnOnce() -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        R::raise(&self.offered);
        let unwinding = OnUnwind(|| R::raise(&self.panicked));
        let outcome = append();
        std::mem::forget(unwinding);
        R::raise(match outcome {
            Ok(()) => &self.accepted,
            Err(Refusal::Full) => &self.full,
            Err(Refusal::Oversize) => &self.oversize,
            Err(Refusal::Reentrant) => &self.reentrant,
            Err(Refusal::Closed) => &self.closed,
            Err(Refusal::Forked) => &self.forked,
        });
        outcome
    }

    /// Adds what is counted here to `sum`.
    pub(super) fn add_to(&self, sum: &mut Counters) {
        // Ordering: see `Alone`.
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        sum.offered += read(&self.offered);
        sum.accepted += read(&self.accepted);
        sum.full += read(&self.full);
        sum.oversize += read(&self.oversize);
        sum.reentrant += read(&self.reentrant);
        sum.closed += read(&self.closed);
        sum.forked += read(&self.forked);
        sum.panicked += read(&self.panicked);
    }

    fn clear(&self) {
        let all = [&self.offered, &self.accepted, &self.full, &self.oversize];
        let rest = [&self.reentrant, &self.closed, &self.forked, &self.panicked];
        let all = all.into_iter().chain(rest);
        // Ordering: by the tally's one writer, under the registry's lock.
        all.for_each(|counter| counter.store(0, Ordering::Relaxed));
    }
}

/// Runs its closure when it is dropped, which is only when the stack unwinds.
struct OnUnwind<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnUnwind<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// The tally of one thread, on cache lines of its own.
pub(super) type Own = Arc<CachePadded<Tally>>;

/// The tallies of all threads.
#[derive(Debug, Default)]
pub(super) struct Registry(Mutex<Tallies>);

#[derive(Debug, Default)]
struct Tallies {
    /// One for each thread that ever appended at the same time as the others.
    all: Vec<Own>,
    /// Those of `all` that belong to no thread; they are zero.
    idle: Vec<Own>,
    /// What threads counted that have ended.
    ended: Counters,
}

impl Registry {
    /// A tally for the calling thread.
    pub(super) fn enter(&self) -> Own {
        let mut tallies = self.0.lock();
        if let Some(own) = tallies.idle.pop() {
            return own;
        }
        let own = Own::default();
        tallies.all.push(Arc::clone(&own));
        own
    }

    /// The thread of `own` has ended: keeps its counts and frees the tally for the next one.
    pub(super) fn leave(&self, own: Own) {
        let mut tallies = self.0.lock();
        // One critical section, so that nobody sees the counts twice or not at all.
        own.add_to(&mut tallies.ended);
        own.clear();
        tallies.idle.push(own);
    }

    /// What all threads have counted, and `loose`.
    pub(super) fn sum(&self, loose: &Tally) -> Counters {
        let tallies = self.0.lock();
        let mut sum = tallies.ended;
        tallies.all.iter().for_each(|own| own.add_to(&mut sum));
        loose.add_to(&mut sum);
        sum
    }
}
