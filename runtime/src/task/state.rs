//! The one word that says who may touch which field of a task.
//!
//! ```text
//!             wake                 start              complete
//!   idle ------------> NOTIFIED ----------> RUNNING ------------> COMPLETE
//!    ^                    ^                    |
//!    |   idle, not woken  |   idle, woken      |
//!    +--------------------+--------------------+
//! ```
//!
//! Every transition is a read-modify-write, so all of them have one order that every thread
//! agrees on, and a release sequence is never broken: whoever acquires a later value has
//! acquired every earlier one. That is why one pair of orderings serves all of them.

use std::process;

use crate::sync::shim::atomic::{AtomicUsize, Ordering};

/// Somebody polls or drops the future: a lock on the stage. Set by `start` and `claim`, cleared
/// by `idle` and `complete`.
const RUNNING: usize = 1;
/// The output is stored, and the stage belongs to the join handle, or without one to the last
/// reference. Never cleared.
const COMPLETE: usize = 1 << 1;
/// A reference to the task is in a queue, or will be put there by whoever runs it now. At most
/// one is: who sets this bit brings the reference. Cleared by `start`.
const NOTIFIED: usize = 1 << 2;
/// The future is to be dropped instead of polled. Set by `abort` and `claim`; never cleared.
const ABORTED: usize = 1 << 3;
/// The join handle exists. Cleared once, by `drop_join`.
const JOIN_INTEREST: usize = 1 << 4;
/// The join waker is lent to the runner. Before `COMPLETE` only the join handle changes this
/// bit, after it only the runner.
const JOIN_WAKER: usize = 1 << 5;
/// One reference; the count is all bits from here on.
const REFERENCE: usize = 1 << 6;

/// Above this many references the process aborts, long before the count could wrap: leaking
/// wakers in a loop must not become a use after free.
const REFERENCES_MAX: usize = isize::MAX as usize;

/// See the module.
#[derive(Debug)]
pub(super) struct State(AtomicUsize);

/// A value of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snapshot(usize);

/// What to do after waking through an owned reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The reference was given up.
    Done,
    /// The reference now goes to the scheduler.
    Schedule,
    /// The reference was the last one.
    Last,
}

/// What to do with a task taken from a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Poll its future; the caller is the runner.
    Poll,
    /// Drop its future; the caller is the runner.
    Cancel,
    /// Nothing is left to do: it has completed.
    Gone,
}

/// What to do after a poll that was not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Idle {
    /// Nothing; the runner's reference was given up.
    Done,
    /// Nothing else refers to the task: free it.
    Last,
    /// It was woken meanwhile: the runner's reference goes to the scheduler.
    Schedule,
    /// It was aborted meanwhile: the caller is still the runner and drops the future.
    Cancel,
}

impl State {
    /// A task that is about to be scheduled: one reference for the queue, one for the join
    /// handle.
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(NOTIFIED | JOIN_INTEREST | (2 * REFERENCE)))
    }

    /// The word now.
    pub(super) fn load(&self) -> Snapshot {
        // Ordering: Acquire pairs with the Release of `complete`, for the join handle that
        // reads the output next.
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Wakes, and gives up a reference.
    pub(super) fn wake_by_val(&self) -> Wake {
        self.update(|now| {
            if now.is(COMPLETE) || now.is(NOTIFIED) {
                let last = now.references() == 1;
                (now.less_reference(), if last { Wake::Last } else { Wake::Done })
            } else if now.is(RUNNING) {
                // The runner has a reference too, so this is not the last, and it will use
                // its own for the queue.
                (now.with(NOTIFIED).less_reference(), Wake::Done)
            } else {
                (now.with(NOTIFIED), Wake::Schedule)
            }
        })
    }

    /// Wakes. True: a reference was added, and goes to the scheduler.
    ///
    /// Writes even where nothing changes: what happened before this wake has to be visible to
    /// the poll that it is folded into.
    pub(super) fn wake_by_ref(&self) -> bool {
        self.update(|now| {
            if now.is(COMPLETE) || now.is(NOTIFIED) {
                (now, false)
            } else if now.is(RUNNING) {
                (now.with(NOTIFIED), false)
            } else {
                (now.with(NOTIFIED).more_references(), true)
            }
        })
    }

    /// A queue hands the task to a runner, with the queue's reference.
    pub(super) fn start(&self) -> Start {
        self.update(|now| {
            debug_assert!(now.is(NOTIFIED), "a task was queued without being notified");
            if now.is(COMPLETE) || now.is(RUNNING) {
                (now, Start::Gone)
            } else {
                let then = if now.is(ABORTED) { Start::Cancel } else { Start::Poll };
                (now.with(RUNNING).without(NOTIFIED), then)
            }
        })
    }

    /// The runner's poll was not ready.
    pub(super) fn idle(&self) -> Idle {
        self.update(|now| {
            debug_assert!(now.is(RUNNING), "only the runner makes a task idle");
            if now.is(ABORTED) {
                (now, Idle::Cancel)
            } else if now.is(NOTIFIED) {
                (now.without(RUNNING), Idle::Schedule)
            } else {
                let last = now.references() == 1;
                let then = if last { Idle::Last } else { Idle::Done };
                (now.without(RUNNING).less_reference(), then)
            }
        })
    }

    /// The runner has stored the output. From here on the stage is not the runner's.
    pub(super) fn complete(&self) -> Snapshot {
        // Ordering: Release pairs with the Acquire of `load` and of the join handle's updates,
        // which read the output; Acquire pairs with the Release in `set_join_waker`, because
        // the runner reads that waker next.
        let before = Snapshot(self.0.fetch_xor(RUNNING | COMPLETE, Ordering::AcqRel));
        debug_assert!(before.is(RUNNING) && !before.is(COMPLETE), "completed twice");
        Snapshot(before.0 ^ (RUNNING | COMPLETE))
    }

    /// Asks for the future to be dropped. True: a reference was added, and goes to the
    /// scheduler.
    pub(super) fn abort(&self) -> bool {
        self.update(|now| {
            if now.is(COMPLETE) || now.is(ABORTED) {
                (now, false)
            } else if now.is(RUNNING) || now.is(NOTIFIED) {
                (now.with(ABORTED), false)
            } else {
                (now.with(ABORTED | NOTIFIED).more_references(), true)
            }
        })
    }

    /// The worker takes the task out of circulation. True: the caller is now the runner, and
    /// drops the future.
    pub(super) fn claim(&self) -> bool {
        self.update(|now| {
            if now.is(COMPLETE) {
                (now, false)
            } else if now.is(RUNNING) {
                (now.with(ABORTED), false)
            } else {
                (now.with(RUNNING | ABORTED), true)
            }
        })
    }

    /// The join handle lends the waker that it has stored. False: the task has completed, and
    /// the waker is still the join handle's.
    pub(super) fn set_join_waker(&self) -> bool {
        self.update(|now| {
            debug_assert!(now.is(JOIN_INTEREST) && !now.is(JOIN_WAKER));
            if now.is(COMPLETE) { (now, false) } else { (now.with(JOIN_WAKER), true) }
        })
    }

    /// The join handle wants its waker back to change it. False: the task has completed, and
    /// the runner may be using the waker.
    pub(super) fn unset_join_waker(&self) -> bool {
        self.update(|now| {
            debug_assert!(now.is(JOIN_INTEREST));
            if now.is(COMPLETE) { (now, false) } else { (now.without(JOIN_WAKER), true) }
        })
    }

    /// The runner has woken the join handle, after `complete`, and gives the waker back. The
    /// result says whether there is still a join handle to give it to.
    pub(super) fn return_join_waker(&self) -> Snapshot {
        // Ordering: Release pairs with the Acquire in `drop_join`: the runner's reading of the
        // waker happens before the join handle drops it. Acquire pairs with the Release there,
        // for the opposite case: the join handle's last use is before the runner drops it.
        let before = Snapshot(self.0.fetch_and(!JOIN_WAKER, Ordering::AcqRel));
        debug_assert!(before.is(COMPLETE) && before.is(JOIN_WAKER));
        before.without(JOIN_WAKER)
    }

    /// The join handle goes away. The result says what it has to drop before it gives up its
    /// reference: the output if `is_complete`, the waker if not `has_join_waker`.
    pub(super) fn drop_join(&self) -> Snapshot {
        self.update(|now| {
            debug_assert!(now.is(JOIN_INTEREST), "the join handle was dropped twice");
            let mut next = now.without(JOIN_INTEREST);
            if !now.is(COMPLETE) {
                // Rule: before COMPLETE the bit is the join handle's, so it takes it back.
                next = next.without(JOIN_WAKER);
            }
            (next, next)
        })
    }

    /// One more reference.
    pub(super) fn add_reference(&self) {
        // Ordering: Relaxed, as in `Arc`: the caller has a reference already, and passing the
        // new one on synchronises by itself.
        let before = self.0.fetch_add(REFERENCE, Ordering::Relaxed);
        if before > REFERENCES_MAX {
            process::abort();
        }
    }

    /// One reference fewer. True: it was the last, and the caller frees the task.
    #[must_use]
    pub(super) fn drop_reference(&self) -> bool {
        // Ordering: Release, so that this reference's use of the task comes before its end;
        // Acquire pairs with that of every other reference, for the caller who frees it.
        let before = Snapshot(self.0.fetch_sub(REFERENCE, Ordering::AcqRel));
        debug_assert!(before.references() >= 1, "a reference was dropped twice");
        before.references() == 1
    }

    /// Applies `step` atomically and returns what it says.
    fn update<R>(&self, mut step: impl FnMut(Snapshot) -> (Snapshot, R)) -> R {
        // Ordering: Relaxed, here and on failure: a guess, which counts only once the exchange
        // that confirms it has acquired.
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let (next, result) = step(Snapshot(now));
            // Ordering: Release publishes what the caller did before the transition (what a
            // waker announces, the fields a runner or a join handle hands over) to the Acquire
            // of whoever makes the next transition; see the module.
            match self.0.compare_exchange_weak(now, next.0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return result,
                Err(seen) => now = seen,
            }
        }
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

impl Snapshot {
    /// The output is stored.
    pub(super) fn is_complete(self) -> bool {
        self.is(COMPLETE)
    }

    /// There is a join handle.
    pub(super) fn has_join_handle(self) -> bool {
        self.is(JOIN_INTEREST)
    }

    /// The join waker is lent to the runner.
    pub(super) fn has_join_waker(self) -> bool {
        self.is(JOIN_WAKER)
    }

    fn is(self, bit: usize) -> bool {
        self.0 & bit != 0
    }

    fn with(self, bits: usize) -> Self {
        Self(self.0 | bits)
    }

    fn without(self, bits: usize) -> Self {
        Self(self.0 & !bits)
    }

    fn references(self) -> usize {
        self.0 / REFERENCE
    }

    fn more_references(self) -> Self {
        if self.0 > REFERENCES_MAX {
            process::abort();
        }
        Self(self.0 + REFERENCE)
    }

    fn less_reference(self) -> Self {
        debug_assert!(self.references() >= 1, "a reference was dropped twice");
        Self(self.0 - REFERENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that was polled once and waits; the queue's reference is gone.
    fn waiting() -> State {
        let state = State::new();
        assert_eq!(state.start(), Start::Poll);
        assert_eq!(state.idle(), Idle::Done);
        state
    }

    fn references(state: &State) -> usize {
        state.load().references()
    }

    #[test]
    fn a_task_is_in_a_queue_at_most_once() {
        let state = waiting();
        assert_eq!(references(&state), 1);
        assert!(state.wake_by_ref());
        assert!(!state.wake_by_ref());
        assert!(!state.abort());
        assert_eq!(references(&state), 2);
        state.add_reference();
        assert_eq!(state.wake_by_val(), Wake::Done);
        assert_eq!(references(&state), 2);
    }

    #[test]
    fn a_wake_during_a_poll_queues_the_runners_reference() {
        let state = State::new();
        assert_eq!(state.start(), Start::Poll);
        state.add_reference();
        assert_eq!(state.wake_by_val(), Wake::Done);
        assert!(!state.wake_by_ref());
        assert_eq!(references(&state), 2);
        assert_eq!(state.idle(), Idle::Schedule);
        assert_eq!(references(&state), 2);
        assert_eq!(state.start(), Start::Poll);
    }

    #[test]
    fn nothing_but_references_changes_after_completion() {
        let state = State::new();
        // Claimed by its worker while a queue still holds it.
        state.add_reference();
        assert!(state.claim());
        assert!(state.complete().is_complete());
        assert!(!state.claim());
        assert!(!state.abort());
        assert!(!state.wake_by_ref());
        assert!(!state.set_join_waker());
        assert!(!state.unset_join_waker());
        assert_eq!(state.start(), Start::Gone);
        assert!(!state.drop_reference() && !state.drop_reference());
        assert_eq!(state.wake_by_val(), Wake::Last);
    }

    #[test]
    fn an_abort_turns_the_next_poll_into_a_drop() {
        let queued = State::new();
        assert!(!queued.abort());
        assert_eq!(queued.start(), Start::Cancel);
        let running = State::new();
        assert_eq!(running.start(), Start::Poll);
        assert!(!running.abort());
        assert_eq!(running.idle(), Idle::Cancel);
        let waiting = waiting();
        assert!(waiting.abort());
        assert!(!waiting.abort());
        assert_eq!(waiting.start(), Start::Cancel);
    }

    #[test]
    fn a_running_task_is_not_claimed_but_told() {
        let state = State::new();
        assert_eq!(state.start(), Start::Poll);
        assert!(!state.claim());
        assert_eq!(state.idle(), Idle::Cancel);
    }

    #[test]
    fn the_join_waker_goes_to_whoever_comes_last() {
        // The handle leaves first: it takes the waker back.
        let state = waiting();
        assert!(state.set_join_waker());
        assert!(!state.drop_join().has_join_waker());
        // The runner is still using it: the handle leaves it behind.
        let state = State::new();
        assert!(state.set_join_waker());
        assert_eq!(state.start(), Start::Poll);
        assert!(state.complete().has_join_waker());
        assert!(state.drop_join().has_join_waker());
        assert!(!state.return_join_waker().has_join_handle());
    }

    #[test]
    fn an_idle_task_that_nobody_knows_is_freed_by_its_runner() {
        let state = State::new();
        assert_eq!(state.start(), Start::Poll);
        assert!(!state.drop_reference());
        assert_eq!(state.idle(), Idle::Last);
    }
}
