//! The slots: who owns an operation's memory, and until when.
//!
//! The kernel may read or write an operation's buffers at any time between its submission and
//! its final completion, whatever happens to the future that waits for it. So the future owns
//! nothing: a slot does. `T` is everything that the kernel may touch, boxed, so that its
//! address stays the same when the table grows.
//!
//! ```text
//!            insert              wait                complete
//!   Free ──────────> Submitted ──────> Waiting ────────────────> Completed ──┐
//!    ^                 │   └────────── complete ──────────────────────^      │
//!    │                 │ abandon         │ abandon                          │
//!    │                 v                 │                                  │
//!    ├── complete ─ Orphaned <───────────┘                                  │
//!    └── take, abandon ─────────────────────────────────────────────────────┘
//! ```
//!
//! | state | the operation is touched by | its waker is with | what ends the state |
//! |---|---|---|---|
//! | `Free` | nobody: there is none | | `insert` |
//! | `Submitted` | the kernel | nobody: it was not polled | its first poll, its completion, or its future is dropped |
//! | `Waiting` | the kernel | the slot | its completion, or its future is dropped |
//! | `Completed` | nobody | nobody: it was called | the next poll, or its future is dropped |
//! | `Orphaned` | the kernel | nobody: it was given back | its completion |
//!
//! `Submitted`, `Waiting` and `Orphaned` are *in flight*, which nothing but the final completion
//! ends; a driver that never reports one keeps the memory for good. There is one final completion
//! an operation: a second one finds the slot `Free`, `Completed`, or under another generation, and is
//! counted as stale.
//!
//! A kernel may end an operation with ECANCELED though nobody has cancelled it, or with EINTR or
//! EAGAIN though it was to wait (a signal during a call that the kernel has moved to a helper
//! thread does that, before Linux 6.14). If it can be repeated harmlessly its slot stays as it is
//! and its key comes out of [`Slots::next_interrupted`], a bounded number of times.
//!
//! The table is a plain value: it makes no system call, and it never runs foreign code while
//! it is borrowed. A waker to call and an orphan's remains come out as [`Effect`]s, which the
//! caller handles once it has let go of the table, because either may call back into it.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use super::counts::Tally;
use crate::sync::shim::Arc;
use crate::sys::errno;

/// Names one use of one slot: the slot's index, and how often the slot was used before. It is
/// what the kernel gives back with a completion (`user_data`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// As one number. Its low half is below [`SLOTS_MAX`], so numbers near `u64::MAX` are free
    /// for other purposes.
    pub(super) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The reverse of [`to_bits`](Self::to_bits).
    #[allow(clippy::cast_possible_truncation, reason = "the two halves are meant")]
    pub(super) fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, generation: (bits >> 32) as u32 }
    }
}

/// What a slot can own.
pub(super) trait Lent {
    /// Whether it may be started again after an end that says that it was interrupted.
    fn is_repeatable(&self) -> bool;
}

/// What the caller must do after it has let go of the table.
#[must_use = "a lost effect is a lost wake-up, or lost bytes"]
pub(super) enum Effect<T> {
    /// Wake the task that waits.
    Wake(Waker),
    /// Dispose of an operation that ended after its future was dropped, with its result.
    Leftover(Box<T>, i32),
}

/// What was abandoned.
#[must_use = "the waker and the operation must be dropped outside the table's borrow"]
pub(super) enum Abandoned<T> {
    /// The kernel still has it: cancel it. Its end will be a [`Effect::Leftover`].
    InFlight(Option<Waker>),
    /// It had ended already, with this result.
    Ended(Box<T>, i32),
    /// There is no such operation.
    Unknown,
}

/// The table of slots.
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    /// Indices of the slots that are `Free`, each once.
    free: Vec<u32>,
    /// How many slots are `Submitted`, `Waiting` or `Orphaned`.
    in_flight: usize,
    effects: VecDeque<Effect<T>>,
    /// Operations that are to be started again.
    interrupted: VecDeque<Key>,
    tally: Arc<Tally>,
}

struct Slot<T> {
    /// Grows by one whenever the slot becomes `Free`, so that an old key does not fit.
    generation: u32,
    /// Somebody wants it to end: an interruption is no surprise then.
    is_cancelled: bool,
    /// How often it was started again.
    repeats: u8,
    state: State<T>,
}

impl<T: Lent> Slot<T> {
    /// Whether an end with `result` is an interruption to be ignored.
    fn repeats_after(&self, result: i32) -> bool {
        let is_wanted = match &self.state {
            State::Submitted(op) | State::Waiting(op, _) => op.is_repeatable(),
            State::Free | State::Completed(..) | State::Orphaned(_) => false,
        };
        is_wanted && !self.is_cancelled && self.repeats < REPEATS_MAX && is_interruption(-result)
    }
}

enum State<T> {
    /// Unused; its index is in the free list.
    Free,
    /// The kernel has it; nobody has asked for the result yet.
    Submitted(Box<T>),
    /// The kernel has it; a task waits for the result.
    Waiting(Box<T>, Waker),
    /// The kernel is done with it; the result was not fetched yet.
    Completed(Box<T>, i32),
    /// The kernel has it, and nobody will ever ask for the result.
    Orphaned(Box<T>),
}

impl<T> State<T> {
    /// The operation, if the kernel has it.
    fn in_flight(&mut self) -> Option<&mut T> {
        match self {
            Self::Submitted(op) | Self::Waiting(op, _) | Self::Orphaned(op) => Some(op),
            Self::Free | Self::Completed(..) => None,
        }
    }

    /// Whether the kernel has it.
    fn is_in_flight(&self) -> bool {
        matches!(self, Self::Submitted(_) | Self::Waiting(..) | Self::Orphaned(_))
    }
}

impl<T: Lent> Slots<T> {
    /// An empty table.
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            in_flight: 0,
            effects: VecDeque::new(),
            interrupted: VecDeque::new(),
            tally: Arc::default(),
        }
    }

    /// Takes an operation that is about to be submitted. Gives it back if [`SLOTS_MAX`]
    /// operations are in use.
    pub(super) fn insert(&mut self, op: Box<T>) -> Result<Key, Box<T>> {
        let Some(index) = self.vacancy() else { return Err(op) };
        let slot = &mut self.slots[index as usize];
        slot.state = State::Submitted(op);
        self.in_flight += 1;
        self.tally.started.raise();
        Ok(Key { index, generation: slot.generation })
    }

    /// The operation behind `key`, if the kernel has it.
    pub(super) fn in_flight_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slot(key)?.state.in_flight()
    }

    /// Remembers who waits for `key`, and gives back whom that replaces. Only for an operation
    /// that [`take`](Self::take) did not find completed.
    pub(super) fn wait(&mut self, key: Key, waker: Waker) -> Option<Waker> {
        let state = &mut self.slot(key)?.state;
        let (next, old) = match mem::replace(state, State::Free) {
            State::Submitted(op) => (State::Waiting(op, waker), None),
            State::Waiting(op, old) => (State::Waiting(op, waker), Some(old)),
            other => (other, Some(waker)),
        };
        *state = next;
        old
    }

    /// Fetches the result of `key` and frees its slot, if it has completed.
    pub(super) fn take(&mut self, key: Key) -> Option<(Box<T>, i32)> {
        let slot = self.slot(key)?;
        if !matches!(slot.state, State::Completed(..)) {
            return None;
        }
        match self.vacate(key.index) {
            State::Completed(op, result) => Some((op, result)),
            _ => None,
        }
    }

    /// Nobody will ask for the result of `key`.
    pub(super) fn abandon(&mut self, key: Key) -> Abandoned<T> {
        let Some(slot) = self.slot(key) else { return Abandoned::Unknown };
        let (next, waker) = match mem::replace(&mut slot.state, State::Free) {
            State::Submitted(op) => (State::Orphaned(op), None),
            State::Waiting(op, waker) => (State::Orphaned(op), Some(waker)),
            State::Completed(op, result) => {
                let _ = self.vacate(key.index);
                return Abandoned::Ended(op, result);
            }
            orphan @ (State::Orphaned(_) | State::Free) => {
                slot.state = orphan;
                return Abandoned::Unknown;
            }
        };
        slot.state = next;
        self.tally.orphaned.raise();
        Abandoned::InFlight(waker)
    }

    /// Whether `key` is in flight. From now on somebody wants it to end.
    pub(super) fn mark_cancelled(&mut self, key: Key) -> bool {
        let Some(slot) = self.slot(key).filter(|slot| slot.state.is_in_flight()) else {
            return false;
        };
        if !mem::replace(&mut slot.is_cancelled, true) {
            self.tally.cancelled.raise();
        }
        true
    }

    /// The kernel is done with `key`: this is its final completion. Ignored, but counted, if no
    /// such operation is in flight.
    pub(super) fn complete(&mut self, key: Key, result: i32) {
        if self.in_flight_mut(key).is_none() {
            self.tally.stale.raise();
            return;
        }
        let slot = &mut self.slots[key.index as usize];
        if slot.repeats_after(result) {
            slot.repeats += 1;
            self.tally.repeated.raise();
            self.interrupted.push_back(key);
            return;
        }
        self.in_flight -= 1;
        self.tally.completed.raise();
        let state = &mut self.slots[key.index as usize].state;
        match mem::replace(state, State::Free) {
            State::Submitted(op) => *state = State::Completed(op, result),
            State::Waiting(op, waker) => {
                *state = State::Completed(op, result);
                self.effects.push_back(Effect::Wake(waker));
            }
            State::Orphaned(op) => {
                let _ = self.vacate(key.index);
                self.effects.push_back(Effect::Leftover(op, result));
            }
            State::Free | State::Completed(..) => unreachable!("it was found in flight"),
        }
    }

    /// The oldest effect that was not handled yet.
    pub(super) fn next_effect(&mut self) -> Option<Effect<T>> {
        self.effects.pop_front()
    }

    /// An operation that was interrupted: start it again, before anybody else is asked.
    pub(super) fn next_interrupted(&mut self) -> Option<Key> {
        self.interrupted.pop_front()
    }

    /// Whether there is one of those. Nothing will report its end before it is started again.
    pub(super) fn has_interrupted(&self) -> bool {
        !self.interrupted.is_empty()
    }

    /// How many operations the kernel has.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The keys of all operations that the kernel has.
    pub(super) fn keys_in_flight(&self) -> Vec<Key> {
        let numbered = (0..).zip(&self.slots).filter(|(_, slot)| slot.state.is_in_flight());
        numbered.map(|(index, slot)| Key { index, generation: slot.generation }).collect()
    }

    /// What is counted here and by the driver that these slots are lent to.
    pub(super) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// The slot that `key` names, unless it has been used anew since.
    fn slot(&mut self, key: Key) -> Option<&mut Slot<T>> {
        let slot = self.slots.get_mut(key.index as usize)?;
        (slot.generation == key.generation).then_some(slot)
    }

    /// The index of a free slot.
    fn vacancy(&mut self) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            return Some(index);
        }
        let index = u32::try_from(self.slots.len()).ok().filter(|&index| index < SLOTS_MAX)?;
        self.slots.push(Slot {
            generation: 0,
            is_cancelled: false,
            repeats: 0,
            state: State::Free,
        });
        Some(index)
    }

    /// Frees a slot: from now on its old key is stale.
    fn vacate(&mut self, index: u32) -> State<T> {
        let slot = &mut self.slots[index as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.is_cancelled = false;
        slot.repeats = 0;
        self.free.push(index);
        mem::replace(&mut slot.state, State::Free)
    }
}

/// Whether `errno` says that an operation was stopped before it did anything.
pub(super) fn is_interruption(errno: i32) -> bool {
    INTERRUPTIONS.contains(&errno)
}

/// How many operations may be in flight or unfetched on one worker.
pub(super) const SLOTS_MAX: u32 = 1 << 16;
/// How often one operation is started again before its interruption counts as its result.
pub(super) const REPEATS_MAX: u8 = 3;
/// See [`is_interruption`].
const INTERRUPTIONS: [i32; 3] = [errno::CANCELED, errno::INTERRUPTED, errno::WOULD_BLOCK];
