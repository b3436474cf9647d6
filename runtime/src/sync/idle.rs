//! Which workers sleep, which ones search, and who has to be woken when there is new work.
//!
//! In scope: the counts, the list, and when to wake whom. Out of scope: the wake itself (see
//! [`doorbell`](super::doorbell)), and the queues.
//!
//! The rules:
//!
//! 1. Work was published and nobody searches: wake one worker that sleeps. It counts as a searcher
//!    from that moment on, so that a thousand pushes wake one worker and not a thousand.
//! 2. Work was published and somebody searches: nothing. The searcher finds *something*.
//! 3. The last searcher that stops searching looks at all queues, and if there is more, for one
//!    more to wake: so work that came during rule 2 brings up workers one after the other, as
//!    long as there is work for them.
//! 4. A worker that lies down while nobody searches looks at all queues once more: at the
//!    injector first, because tasks move from there to the workers' own queues. If it sees
//!    something it gets up as a searcher, so rule 3 holds for it.
//! 5. At most half of the workers search: more would only get in each other's way.
//!
//! Why nothing is left behind while a worker sleeps: all counts are in one word, and whoever
//! publishes work or changes a count makes a read-modify-write of it. So these have one order, and
//! a chain of them is never broken: who acquires one has acquired all earlier releases. If the
//! publisher comes before the worker that lies down, then that one sees the work (rule 4), or
//! somebody still searches, and the last of those deals with it (rule 3 or 4). If it comes
//! after, it sees the sleeper (rule 1). A task that is on its way
//! from one worker's queue to another's is seen in neither, but then its thief still searches.
//!
//! With one worker there is nobody to search and nobody to choose: each call returns a constant,
//! and the doorbell alone says whether the worker sleeps.

use std::fmt;

use crossbeam_utils::CachePadded;

use super::shim::Mutex;
use super::shim::atomic::{AtomicBool, AtomicU32, Ordering};

/// One worker that searches, in the word.
const SEARCHING: u32 = 1;
/// One worker that is not on the list of sleepers, in the word.
const UNPARKED: u32 = 1 << 16;
/// The bits of the word that count who searches; the others count who is unparked.
const SEARCHING_MASK: u32 = UNPARKED - 1;

/// Who sleeps and who searches among a number of workers.
pub struct Idle {
    /// How many workers search, and how many are unparked. Only ever changed by
    /// read-modify-writes; the upper half only under the lock of `sleepers`.
    word: CachePadded<AtomicU32>,
    /// The parked workers, the latest last.
    sleepers: Mutex<Vec<usize>>,
    /// For each worker: somebody took it from the list and counted it as a searcher. Set under the
    /// lock of `sleepers`, cleared by the worker.
    chosen: Box<[CachePadded<AtomicBool>]>,
}

impl Idle {
    /// All `workers` are awake, and none searches.
    ///
    /// # Panics
    ///
    /// If there are none, or more than the word can count: 65535.
    pub fn new(workers: usize) -> Self {
        let count = u16::try_from(workers).expect("at most 65535 workers");
        assert!(count > 0, "a runtime without workers");
        Self {
            word: CachePadded::new(AtomicU32::new(u32::from(count) * UNPARKED)),
            sleepers: Mutex::new(Vec::with_capacity(workers)),
            chosen: (0..workers).map(|_| CachePadded::new(AtomicBool::new(false))).collect(),
        }
    }

    /// Whom to wake, after work was published. The caller rings that worker's doorbell; it
    /// counts as unparked and as a searcher already. None if somebody searches or nobody sleeps.
    ///
    /// A lone worker is always named: its doorbell knows whether it sleeps.
    #[inline]
    pub fn worker_to_wake(&self) -> Option<usize> {
        if self.is_lone() {
            return Some(0);
        }
        if self.nobody_to_wake() {
            return None;
        }
        self.choose()
    }

    /// The worker wants to look for work in other workers' queues. False if enough do.
    ///
    /// After a yes, [`end_search`](Self::end_search) or [`park`](Self::park) follows.
    pub fn start_search(&self) -> bool {
        if self.is_lone() {
            return false;
        }
        // Ordering: Relaxed; a guess. The exchange makes up for a wrong yes, and `park`, which
        // follows a no, for a wrong no: it knows whether anybody searches.
        let mut word = self.word.load(Ordering::Relaxed);
        while 2 * searching(word) < self.chosen.len() {
            // Ordering: Relaxed; a link of the chain that publishes nothing. What the worker has to
            // see at the latest, it acquires in `park`.
            let exchanged = self.word.compare_exchange_weak(
                word,
                word + SEARCHING,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            match exchanged {
                Ok(_) => return true,
                Err(actual) => word = actual,
            }
        }
        false
    }

    /// The worker stops searching, because it has found something to do. If it was the last one
    /// that searched, the answer is true: if the caller sees more in any queue now, it asks
    /// [`worker_to_wake`](Self::worker_to_wake).
    pub fn end_search(&self) -> bool {
        debug_assert!(!self.is_lone(), "a lone worker never searches");
        // Ordering: Release pairs with the Acquire in `park`: what this worker has moved to its own
        // queue is seen by those that lie down after it. Acquire pairs with the Release in
        // `nobody_to_wake`: what was left to this worker is seen in the look that follows.
        let before = self.word.fetch_sub(SEARCHING, Ordering::AcqRel);
        debug_assert!(searching(before) > 0, "nobody searched");
        searching(before) == 1
    }

    /// The worker goes to sleep, and stops searching if it was. If nobody searches now, the answer
    /// is true, and the worker looks at all queues before it sleeps, at the injector first; if there
    /// is something, it calls [`search_again`](Self::search_again) instead of sleeping.
    ///
    /// From now on it may be chosen. Whoever chooses it rings its doorbell next, so it has to
    /// `lie_down` there before it parks: the ring is what keeps it awake.
    pub fn park(&self, worker: usize, is_searching: bool) -> bool {
        if self.is_lone() {
            return false;
        }
        let mut sleepers = self.sleepers.lock();
        debug_assert!(!sleepers.contains(&worker), "worker {worker} sleeps already");
        sleepers.push(worker);
        let less = UNPARKED + if is_searching { SEARCHING } else { 0 };
        // Ordering: Acquire pairs with the Release in `nobody_to_wake` and in `end_search`: the last
        // look sees what was published or moved before.
        let before = self.word.fetch_sub(less, Ordering::Acquire);
        searching(before - less) == 0
    }

    /// Whether somebody chose this worker to be woken since it parked. For models and tests: a
    /// worker need not ask, because its doorbell rings.
    #[inline]
    pub fn is_chosen(&self, worker: usize) -> bool {
        // Ordering: Relaxed; the fences of `Doorbell::lie_down` and `Doorbell::ring` order it: the
        // chooser sets it, then rings; the worker lies down, then looks.
        self.chosen[worker].load(Ordering::Relaxed)
    }

    /// The worker is awake again, for whatever reason. True if it was chosen, so that it
    /// searches: [`end_search`](Self::end_search) or [`park`](Self::park) follows.
    pub fn leave(&self, worker: usize) -> bool {
        !self.is_lone() && (self.was_chosen(worker) || self.get_up(worker, false))
    }

    /// The worker has parked, and has seen work in its last look: it searches now, chosen or not.
    /// [`end_search`](Self::end_search) or [`park`](Self::park) follows. Not for a lone worker,
    /// which never has to look.
    pub fn search_again(&self, worker: usize) {
        debug_assert!(!self.is_lone(), "a lone worker never searches");
        let _searches = self.was_chosen(worker) || self.get_up(worker, true);
    }

    #[inline]
    fn is_lone(&self) -> bool {
        self.chosen.len() == 1
    }

    #[inline]
    fn nobody_to_wake(&self) -> bool {
        // Ordering: a read-modify-write though it changes nothing: a load could miss a worker that
        // has just lain down without seeing the work. Release pairs with the Acquire in `park`: who
        // lies down later does see it.
        let word = self.word.fetch_add(0, Ordering::Release);
        searching(word) > 0 || unparked(word) == self.chosen.len()
    }

    #[cold]
    fn choose(&self) -> Option<usize> {
        let mut sleepers = self.sleepers.lock();
        if self.nobody_to_wake() {
            return None;
        }
        let worker = sleepers.pop()?;
        // Ordering: Relaxed; a link of the chain that publishes nothing, and the lock orders it
        // against the list.
        self.word.fetch_add(UNPARKED + SEARCHING, Ordering::Relaxed);
        // Ordering: Relaxed; see `is_chosen`.
        self.chosen[worker].store(true, Ordering::Relaxed);
        Some(worker)
    }

    /// Takes the worker from the list, unless somebody chose it in between. Says whether it
    /// searches.
    fn get_up(&self, worker: usize, to_search: bool) -> bool {
        let mut sleepers = self.sleepers.lock();
        let Some(place) = sleepers.iter().position(|sleeper| *sleeper == worker) else {
            return self.was_chosen(worker);
        };
        sleepers.swap_remove(place);
        let more = UNPARKED + if to_search { SEARCHING } else { 0 };
        // Ordering: Relaxed; as in `start_search`.
        self.word.fetch_add(more, Ordering::Relaxed);
        to_search
    }

    /// Only the worker itself calls this, so nobody else clears it in between.
    fn was_chosen(&self, worker: usize) -> bool {
        let chosen = &self.chosen[worker];
        // Ordering: Relaxed; the worker acquires from the word before it relies on anything, and
        // who does not see it here looks under the lock.
        let was = chosen.load(Ordering::Relaxed);
        if was {
            // Ordering: Relaxed; it is set again only after the worker has parked again, and the
            // lock orders that.
            chosen.store(false, Ordering::Relaxed);
        }
        was
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Ordering: Relaxed; for people to read.
        let word = self.word.load(Ordering::Relaxed);
        f.debug_struct("Idle")
            .field("workers", &self.chosen.len())
            .field("searching", &searching(word))
            .field("unparked", &unparked(word))
            .finish_non_exhaustive()
    }
}

fn searching(word: u32) -> usize {
    (word & SEARCHING_MASK) as usize
}

fn unparked(word: u32) -> usize {
    (word / UNPARKED) as usize
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What a worker does, as the rules of the module say it, without packing anything.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Is {
        Running,
        Searching,
        Parked,
        /// Chosen by somebody, and not awake yet.
        Chosen,
    }

    proptest! {
        #[test]
        fn workers_are_counted_as_if_one_by_one(
            workers in 2..6_usize,
            steps in vec((0..6_u8, 0..6_usize), 0..200),
        ) {
            let idle = Idle::new(workers);
            let mut model = vec![Is::Running; workers];
            for (step, worker) in steps {
                take(&idle, &mut model, step, worker % workers);
                let word = idle.word.load(Ordering::Relaxed);
                let parked = count(&model, Is::Parked);
                prop_assert_eq!(searching(word), searchers(&model));
                prop_assert_eq!(unparked(word), workers - parked);
                prop_assert_eq!(idle.sleepers.lock().len(), parked);
            }
        }
    }

    fn take(idle: &Idle, model: &mut [Is], step: u8, worker: usize) {
        match (step, model[worker]) {
            (0, _) => {
                let due = searchers(model) == 0 && count(model, Is::Parked) > 0;
                let chosen = idle.worker_to_wake();
                assert_eq!(chosen.is_some(), due);
                if let Some(chosen) = chosen {
                    assert_eq!(model[chosen], Is::Parked);
                    assert!(idle.is_chosen(chosen));
                    model[chosen] = Is::Chosen;
                }
            }
            (1, Is::Running) => {
                let may = 2 * searchers(model) < model.len();
                assert_eq!(idle.start_search(), may);
                if may {
                    model[worker] = Is::Searching;
                }
            }
            (2, Is::Searching) => {
                model[worker] = Is::Running;
                assert_eq!(idle.end_search(), searchers(model) == 0);
            }
            (3, Is::Running | Is::Searching) => {
                let was = std::mem::replace(&mut model[worker], Is::Parked);
                assert!(!idle.is_chosen(worker));
                assert_eq!(idle.park(worker, was == Is::Searching), searchers(model) == 0);
            }
            (5, Is::Parked | Is::Chosen) => {
                idle.search_again(worker);
                model[worker] = Is::Searching;
                assert!(!idle.is_chosen(worker));
            }
            (4, was @ (Is::Parked | Is::Chosen)) => {
                let chosen = was == Is::Chosen;
                assert_eq!(idle.leave(worker), chosen);
                model[worker] = if chosen { Is::Searching } else { Is::Running };
            }
            _ => {}
        }
    }

    fn count(model: &[Is], what: Is) -> usize {
        model.iter().filter(|is| **is == what).count()
    }

    fn searchers(model: &[Is]) -> usize {
        count(model, Is::Searching) + count(model, Is::Chosen)
    }

    #[test]
    fn the_latest_sleeper_is_woken_first() {
        let idle = Idle::new(4);
        for worker in [2, 0, 3] {
            idle.park(worker, false);
        }
        let wake = || {
            let chosen = idle.worker_to_wake();
            assert_eq!(idle.worker_to_wake(), None, "it counts as a searcher already");
            assert!(chosen.is_none_or(|worker| idle.leave(worker) && idle.end_search()));
            chosen
        };
        assert_eq!([wake(), wake(), wake(), wake()], [Some(3), Some(0), Some(2), None]);
    }

    #[test]
    fn a_lone_worker_is_always_rung_and_never_searches() {
        let idle = Idle::new(1);
        assert_eq!(idle.worker_to_wake(), Some(0));
        assert!(!idle.start_search());
        assert!(!idle.park(0, false));
        assert!(!idle.is_chosen(0));
        assert_eq!(idle.worker_to_wake(), Some(0));
        assert!(!idle.leave(0));
    }
}
