//! The one word that says who may touch which field of a task.
//!
//! ```text
//!          wake                start               complete
//!   idle --------> NOTIFIED ----------> RUNNING ------------> COMPLETE
//!    ^                                  |  ^  |
//!    |          idle, not woken         |  |  |  woken by itself, or idle and woken:
//!    +----------------------------------+  +--+  its runner queues it, and stays the runner
//! ```
//!
//! The right to run a task travels with its reference in a queue. A new task is `RUNNING` from
//! its birth: whoever takes it out of the queue finds that nobody else can be its runner. The
//! same holds for a task that yields. So neither costs a read-modify-write to start.
//!
//! Every transition is a read-modify-write, so all of them have one order that every thread
//! agrees on, and a release sequence is never broken: whoever acquires a later value has
//! acquired every earlier one. That is why one pair of orderings serves all of them.

use std::process;

use crate::sync::shim::atomic::{AtomicUsize, Ordering};

/// There is a runner, who alone may touch the stage: it polls or drops the future, or its
/// reference is in a queue, and the right to do so with it. Set by `new`, `start` and `claim`,
/// cleared by `idle` and `complete`.
const RUNNING: usize = 1;
/// The output is stored, and the stage belongs to the join handle, or without one to the last
/// reference. Never cleared.
const COMPLETE: usize = 1 << 1;
/// Without `RUNNING`: a reference to the task is in a queue, brought by who set this bit.
/// With `RUNNING`: the task was woken since, and its runner polls it again. Cleared by `start`
/// and `idle`.
const NOTIFIED: usize = 1 << 2;
/// The future is to be dropped instead of polled. Set by `abort` and `claim`; never cleared.
const ABORTED: usize = 1 << 3;
/// A worker that ends became the runner by `claim`, though a reference may be in a queue: what
/// is in a queue is not to be run. Never cleared.
const CLAIMED: usize = 1 << 4;
/// The join handle exists. Cleared once, by `drop_join`.
const JOIN_INTEREST: usize = 1 << 5;
/// The join waker is lent to the runner. Before `COMPLETE` only the join handle changes this
/// bit, after it only the runner.
const JOIN_WAKER: usize = 1 << 6;
/// One reference; the count is all bits from here on.
const REFERENCE: usize = 1 << 7;

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
    /// Nothing; the runner's reference was given up, or is the list's now.
    Done,
    /// It was woken meanwhile: the caller is still the runner, has a reference, and queues it.
    Requeue,
    /// It was aborted meanwhile: the caller is still the runner and drops the future.
    Cancel,
}

/// What to do after the output was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing: the output is the join handle's, and the references were given up.
    Done,
    /// The join handle has to be woken. The references are still the caller's.
    WakeJoin,
    /// Nobody wants the output. The references are still the caller's.
    Unwanted,
    /// The same, and nobody else has a reference: the caller frees the task.
    Alone,
}

impl State {
    /// A task that is about to be queued by its runner: one reference for the queue, one for
    /// the join handle.
    #[inline]
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(RUNNING | JOIN_INTEREST | (2 * REFERENCE)))
    }

    /// The word now.
    #[inline]
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
    #[inline]
    pub(super) fn start(&self) -> Start {
        // Ordering: Relaxed; the runner's right came with the reference, and whatever brought that
        // here orders it. What was announced by a wake is acquired in `start_woken`.
        let now = Snapshot(self.0.load(Ordering::Relaxed));
        if now.is(RUNNING) && !now.is(NOTIFIED | CLAIMED | ABORTED) {
            // The right to run it came with the reference.
            return Start::Poll;
        }
        self.start_woken()
    }

    fn start_woken(&self) -> Start {
        self.update(|now| {
            debug_assert!(now.is(NOTIFIED | RUNNING | COMPLETE), "queued without a reason");
            if now.is(COMPLETE | CLAIMED) {
                (now, Start::Gone)
            } else {
                let then = if now.is(ABORTED) { Start::Cancel } else { Start::Poll };
                (now.with(RUNNING).without(NOTIFIED), then)
            }
        })
    }

    /// The runner's poll was not ready. With `listed` the runner's reference has just become
    /// that of its worker's list; else there is one there already, and the runner's is given
    /// up.
    pub(super) fn idle(&self, listed: bool) -> Idle {
        self.update(|now| {
            debug_assert!(now.is(RUNNING), "only the runner makes a task idle");
            if now.is(ABORTED) {
                let next = if listed { now.more_references() } else { now };
                (next, Idle::Cancel)
            } else if now.is(NOTIFIED) {
                let next = now.without(NOTIFIED);
                (if listed { next.more_references() } else { next }, Idle::Requeue)
            } else {
                let next = now.without(RUNNING);
                (if listed { next } else { next.less_reference() }, Idle::Done)
            }
        })
    }

    /// The runner has stored the output. From here on the stage is not the runner's, unless
    /// the result says so. `references` are what the runner has, and gives up if it can.
    #[inline]
    pub(super) fn complete(&self, references: usize) -> End {
        // Ordering: Acquire pairs with the Release of each reference that was dropped, for the
        // caller who frees the task if its own are all that is left.
        let now = Snapshot(self.0.load(Ordering::Acquire));
        if !now.is(JOIN_INTEREST) && now.references() == references {
            return End::Alone;
        }
        // The orderings of `update` publish the output to the join handle, and acquire the
        // waker that `set_join_waker` published.
        self.update(|now| {
            debug_assert!(now.is(RUNNING) && !now.is(COMPLETE), "completed twice");
            let next = Snapshot(now.0 ^ (RUNNING | COMPLETE));
            if !now.is(JOIN_INTEREST) {
                (next, End::Unwanted)
            } else if now.is(JOIN_WAKER) {
                (next, End::WakeJoin)
            } else {
                (next.less_references(references), End::Done)
            }
        })
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
                (now.with(RUNNING | ABORTED | CLAIMED), true)
            }
        })
    }

    /// The join handle lends the waker that it has stored. False: the task has completed, and
    /// the waker is still the join handle's.
    #[inline]
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

    /// The runner has woken the join handle, after `complete`, and gives the waker back. True:
    /// to the join handle, and the runner's `references` with it. False: there is none any
    /// more, so the waker is the caller's to drop, before its references.
    pub(super) fn return_join_waker(&self, references: usize) -> bool {
        // The orderings of `update` make the runner's reading of the waker happen before the
        // join handle drops it, and, in the opposite case, the join handle's last use before
        // the runner drops it.
        self.update(|now| {
            debug_assert!(now.is(COMPLETE) && now.is(JOIN_WAKER));
            let next = now.without(JOIN_WAKER);
            if now.is(JOIN_INTEREST) {
                (next.less_references(references), true)
            } else {
                (next, false)
            }
        })
    }

    /// Whether the join handle, which asks, is all that is left of a complete task.
    #[inline]
    pub(super) fn is_left_to_join(&self) -> bool {
        // Ordering: Acquire pairs with the Release of each reference that was dropped, for the
        // caller who frees the task.
        let now = Snapshot(self.0.load(Ordering::Acquire));
        now.is(COMPLETE) && now.references() == 1
    }

    /// The join handle goes away. The result says what it has to drop before it gives up its
    /// reference: the output if `is_complete`, the waker if not `has_join_waker`.
    #[inline]
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
    #[inline]
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
    #[inline]
    pub(super) fn drop_reference(&self) -> bool {
        self.drop_references(1)
    }

    /// Several references fewer. True: they were the last, and the caller frees the task.
    #[must_use]
    #[inline]
    pub(super) fn drop_references(&self, references: usize) -> bool {
        // Ordering: Release, so that this reference's use of the task comes before its end;
        // Acquire pairs with that of every other reference, for the caller who frees it.
        let before = Snapshot(self.0.fetch_sub(references * REFERENCE, Ordering::AcqRel));
        debug_assert!(before.references() >= references, "a reference was dropped twice");
        before.references() == references
    }

    /// Applies `step` atomically and returns what it says.
    #[inline]
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
    #[inline]
    pub(super) fn is_complete(self) -> bool {
        self.is(COMPLETE)
    }

    /// The join waker is lent to the runner.
    #[inline]
    pub(super) fn has_join_waker(self) -> bool {
        self.is(JOIN_WAKER)
    }

    /// Whether any of `bits` is set.
    #[inline]
    fn is(self, bits: usize) -> bool {
        self.0 & bits != 0
    }

    #[inline]
    fn with(self, bits: usize) -> Self {
        Self(self.0 | bits)
    }

    #[inline]
    fn without(self, bits: usize) -> Self {
        Self(self.0 & !bits)
    }

    #[inline]
    fn references(self) -> usize {
        self.0 / REFERENCE
    }

    #[inline]
    fn more_references(self) -> Self {
        if self.0 > REFERENCES_MAX {
            process::abort();
        }
        Self(self.0 + REFERENCE)
    }

    #[inline]
    fn less_reference(self) -> Self {
        self.less_references(1)
    }

    #[inline]
    fn less_references(self, references: usize) -> Self {
        debug_assert!(self.references() >= references, "a reference was dropped twice");
        Self(self.0 - (references * REFERENCE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that was polled once and waits; the queue's reference became the list's.
    fn waiting() -> State {
        let state = State::new();
        assert_eq!(state.start(), Start::Poll);
        assert_eq!(state.idle(true), Idle::Done);
        state
    }

    fn references(state: &State) -> usize {
        state.load().references()
    }

    #[test]
    fn a_task_is_in_a_queue_at_most_once() {
        let state = waiting();
        assert_eq!(references(&state), 2);
        assert!(state.wake_by_ref());
        assert!(!state.wake_by_ref());
        assert!(!state.abort());
        assert_eq!(references(&state), 3);
        state.add_reference();
        assert_eq!(state.wake_by_val(), Wake::Done);
        assert_eq!(references(&state), 3);
    }

    #[test]
    fn a_wake_during_a_poll_queues_the_runners_reference() {
        let state = State::new();
        assert_eq!(state.start(), Start::Poll);
        state.add_reference();
        assert_eq!(state.wake_by_val(), Wake::Done);
        assert!(!state.wake_by_ref());
        assert_eq!(references(&state), 2);
        // One reference for the list and one for the queue.
        assert_eq!(state.idle(true), Idle::Requeue);
        assert_eq!(references(&state), 3);
        assert_eq!(state.start(), Start::Poll);
        assert_eq!(state.idle(false), Idle::Done);
        assert_eq!(references(&state), 2);
    }

    #[test]
    fn what_wakes_a_queued_task_that_yielded_is_folded_into_its_next_poll() {
        let state = State::new();
        assert_eq!(state.start(), Start::Poll);
        // It yields: no transition. Then it is woken, from elsewhere.
        assert!(!state.wake_by_ref());
        assert_eq!(state.start(), Start::Poll);
        assert_eq!(state.idle(true), Idle::Done, "no poll more than wakes");
    }

    #[test]
    fn nothing_but_references_changes_after_completion() {
        let state = waiting();
        // Claimed by its worker while a queue still holds it.
        assert!(state.wake_by_ref());
        assert!(state.claim());
        assert_eq!(state.start(), Start::Gone, "it is the claimer's");
        assert_eq!(state.complete(1), End::Done);
        assert!(!state.claim());
        assert!(!state.abort());
        assert!(!state.wake_by_ref());
        assert!(!state.set_join_waker());
        assert!(!state.unset_join_waker());
        assert_eq!(state.start(), Start::Gone);
        assert!(!state.drop_reference());
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
        assert_eq!(running.idle(true), Idle::Cancel);
        assert_eq!(references(&running), 3, "the list has one, and the runner one again");
        let waiting = waiting();
        assert!(waiting.abort());
        assert!(!waiting.abort());
        assert_eq!(waiting.start(), Start::Cancel);
    }

    #[test]
    fn a_running_task_is_not_claimed_but_told() {
        let state = State::new();
        assert!(!state.claim());
        assert_eq!(state.start(), Start::Cancel);
        let state = State::new();
        assert_eq!(state.start(), Start::Poll);
        assert!(!state.claim());
        assert_eq!(state.idle(true), Idle::Cancel);
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
        assert_eq!(state.complete(1), End::WakeJoin);
        assert!(state.drop_join().has_join_waker());
        assert!(!state.return_join_waker(1));
        assert_eq!(references(&state), 2, "the runner's is still there");
    }

    #[test]
    fn whoever_is_alone_with_a_task_needs_no_transition() {
        let joined = State::new();
        assert_eq!(joined.start(), Start::Poll);
        assert!(!joined.is_left_to_join());
        assert_eq!(joined.complete(1), End::Done);
        assert!(joined.is_left_to_join());
        let detached = State::new();
        assert!(!detached.drop_join().is_complete());
        assert!(!detached.drop_reference());
        assert_eq!(detached.start(), Start::Poll);
        detached.add_reference();
        assert!(!detached.load().is_complete());
        assert!(!detached.drop_reference());
        assert_eq!(detached.complete(1), End::Alone);
        let known = State::new();
        assert_eq!(known.start(), Start::Poll);
        assert!(!known.drop_join().is_complete());
        assert_eq!(known.complete(1), End::Unwanted);
    }
}
