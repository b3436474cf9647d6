//! A hierarchical timing wheel: a value that is told the time.
//!
//! Six levels of 64 slots; a slot of level 0 is one tick (a millisecond), a slot of level `n`
//! is 64 to the `n` ticks. A timer lies in the level of the highest bit in which its tick
//! differs from the present one, so it moves down at most five times. Arming and cancelling
//! touch one list; looking for the next deadline reads six words and at most eight timers.
//!
//! ```text
//! level 5   | 12 days a slot, 2 years around; what is later still waits here
//!   ...
//! level 1   | 64 ms a slot, 4 s around
//! level 0   | 1 ms a slot, 64 ms around: what lies here is exact
//! ```

use std::time::{Duration, Instant};

/// Timers that hold a `T` each.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    /// Tick 0.
    start: Instant,
    /// The present tick: every timer up to it has expired.
    now: u64,
    levels: [Level; LEVELS],
    timers: Vec<Entry<T>>,
    /// Head of the list of free entries.
    free: u32,
    armed: usize,
}

/// Names a timer; stale once it expired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Level {
    /// Bit `n`: slot `n` is not empty.
    occupied: u64,
    /// Head of each slot's list.
    slots: [u32; SLOTS],
}

#[derive(Debug)]
struct Entry<T> {
    /// Counts the uses of this entry, so that a stale key is recognised.
    generation: u32,
    /// None while the entry is free.
    value: Option<T>,
    tick: u64,
    level: u8,
    slot: u8,
    /// The neighbours in the slot's list; `next` also links the free ones.
    previous: u32,
    next: u32,
}

impl<T> Wheel<T> {
    /// An empty wheel.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            start: now,
            now: 0,
            levels: [Level { occupied: 0, slots: [NIL; SLOTS] }; LEVELS],
            timers: Vec::new(),
            free: NIL,
            armed: 0,
        }
    }

    /// Arms a timer. It expires at the first [`advance`](Self::advance) whose time is not
    /// before `deadline`, rounded up to a tick; one that is already due, at the next tick.
    pub(super) fn insert(&mut self, deadline: Instant, value: T) -> Key {
        // The present tick has been dealt with.
        let tick = self.tick_after(deadline).max(self.now + 1);
        let index = self.allocate(tick, value);
        self.link(index);
        self.armed += 1;
        Key { index, generation: self.timers[index as usize].generation }
    }

    /// What an armed timer holds.
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.timers.get_mut(key.index as usize)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// Disarms a timer and returns what it held; none if it has expired.
    pub(super) fn cancel(&mut self, key: Key) -> Option<T> {
        self.get_mut(key)?;
        self.unlink(key.index);
        self.release(key.index)
    }

    /// Appends what the timers held that are due at `now` to `expired`, in the order of their
    /// ticks. A `now` before an earlier one counts as that one.
    pub(super) fn advance(&mut self, now: Instant, expired: &mut Vec<T>) {
        let target = self.tick_before(now);
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > target {
                break;
            }
            self.now = tick;
            self.empty_slot(level, slot, expired);
        }
        self.now = self.now.max(target);
    }

    /// When to call [`advance`](Self::advance) next: never later than the first deadline needs
    /// it. It may be earlier, to move far timers down a level, if there are many of them or they
    /// are very far.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let (level, slot, begin) = self.next_slot()?;
        let tick = self.first_tick(level, slot).unwrap_or(begin);
        // A tick that the clock cannot express cannot pass either.
        self.start.checked_add(Duration::from_millis(tick))
    }

    /// Whether no timer is armed.
    pub(super) fn is_empty(&self) -> bool {
        self.armed == 0
    }

    /// The last tick that is not after `time`.
    fn tick_before(&self, time: Instant) -> u64 {
        let passed = time.saturating_duration_since(self.start);
        ticks(passed, passed.subsec_millis())
    }

    /// The first tick that is not before `time`.
    fn tick_after(&self, time: Instant) -> u64 {
        let passed = time.saturating_duration_since(self.start);
        ticks(passed, passed.subsec_nanos().div_ceil(NANOS_A_TICK))
    }

    /// The first occupied slot, and the tick at which it starts.
    ///
    /// Lower levels come first: what lies in level `n` shares the present slot of level
    /// `n + 1`, and everything in that level lies in a later slot.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        let shift = BITS * level as u32;
        let present = (self.now >> shift) as usize % SLOTS;
        let ahead = self.levels[level].occupied.rotate_right(present as u32).trailing_zeros();
        let slot = (present + ahead as usize) % SLOTS;
        // Only the top level wraps around: see `place`.
        let tick = ((self.now >> shift) + u64::from(ahead)) << shift;
        Some((level, slot, tick))
    }

    /// The first tick of a slot's timers, if it has few: to wake up for them alone costs less
    /// than to wake up before, only to move them down. In the top level a timer may be later than
    /// its slot, and than others in the slots behind it.
    fn first_tick(&self, level: usize, slot: usize) -> Option<u64> {
        if level == LEVELS - 1 {
            return None;
        }
        let (mut index, mut first) = (self.levels[level].slots[slot], None);
        for _ in 0..LOOKED_AT_MAX {
            if index == NIL {
                return first;
            }
            let entry = &self.timers[index as usize];
            first = Some(first.map_or(entry.tick, |first: u64| first.min(entry.tick)));
            index = entry.next;
        }
        first.filter(|_| index == NIL)
    }

    /// Expires a slot's timers that are due, and moves the others down.
    fn empty_slot(&mut self, level: usize, slot: usize, expired: &mut Vec<T>) {
        let mut index = self.levels[level].slots[slot];
        self.levels[level].slots[slot] = NIL;
        self.levels[level].occupied &= !(1 << slot);
        while index != NIL {
            let entry = &self.timers[index as usize];
            let next = entry.next;
            if entry.tick <= self.now {
                expired.extend(self.release(index));
            } else {
                self.link(index);
            }
            index = next;
        }
    }

    /// Where a timer for `tick` lies now.
    fn place(&self, tick: u64) -> (usize, usize) {
        debug_assert!(tick > self.now, "a due timer has no place");
        // What is too far waits in the last slot of the top level that is not the present one,
        // and is looked at again then.
        let tick = tick.min(self.now + FAR);
        let differs = tick ^ self.now;
        let level = ((differs.ilog2() / BITS) as usize).min(LEVELS - 1);
        (level, (tick >> (BITS * level as u32)) as usize % SLOTS)
    }

    fn link(&mut self, index: u32) {
        let (level, slot) = self.place(self.timers[index as usize].tick);
        let head = self.levels[level].slots[slot];
        let entry = &mut self.timers[index as usize];
        (entry.level, entry.slot) = (level as u8, slot as u8);
        (entry.previous, entry.next) = (NIL, head);
        if head != NIL {
            self.timers[head as usize].previous = index;
        }
        self.levels[level].slots[slot] = index;
        self.levels[level].occupied |= 1 << slot;
    }

    fn unlink(&mut self, index: u32) {
        let Entry { level, slot, previous, next, .. } = self.timers[index as usize];
        let level = &mut self.levels[level as usize];
        if next != NIL {
            self.timers[next as usize].previous = previous;
        }
        if previous != NIL {
            self.timers[previous as usize].next = next;
            return;
        }
        level.slots[slot as usize] = next;
        if next == NIL {
            level.occupied &= !(1 << slot);
        }
    }

    fn allocate(&mut self, tick: u64, value: T) -> u32 {
        if self.free == NIL {
            self.free = u32::try_from(self.timers.len()).expect("more than 4 billion timers");
            self.timers.push(Entry {
                generation: 0,
                value: None,
                tick: 0,
                level: 0,
                slot: 0,
                previous: NIL,
                next: NIL,
            });
        }
        let index = self.free;
        let entry = &mut self.timers[index as usize];
        self.free = entry.next;
        (entry.value, entry.tick) = (Some(value), tick);
        index
    }

    /// Frees an entry that is in no list.
    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.timers[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
        self.armed -= 1;
        entry.value.take()
    }
}

/// The whole seconds of `passed` in ticks, and `more`. In 64 bits: the division of
/// `Duration::as_millis` is one of 128.
#[inline]
fn ticks(passed: Duration, more: u32) -> u64 {
    let seconds = passed.as_secs().saturating_mul(TICKS_A_SECOND);
    seconds.saturating_add(more.into()).min(TICK_MAX)
}

/// What the wheel can tell apart.
pub(super) const TICK: Duration = Duration::from_millis(1);
const TICKS_A_SECOND: u64 = 1000;
const NANOS_A_TICK: u32 = 1_000_000;
/// Bits of a tick that one level looks at.
const BITS: u32 = 6;
/// Slots of a level.
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 6;
/// Timers that are looked at for the next deadline: an exporter has no more than some.
const LOOKED_AT_MAX: usize = 8;
/// How far ahead a timer may lie: one slot of the top level less than once around it, so that
/// the slot that it falls into is never the present one.
const FAR: u64 = (1 << (BITS * LEVELS as u32)) - (1 << (BITS * (LEVELS as u32 - 1)));
/// The last tick: far beyond what a clock shows, and far enough from overflow.
const TICK_MAX: u64 = u64::MAX / 4;
/// No entry.
const NIL: u32 = u32::MAX;

#[cfg(test)]
#[path = "wheel_tests.rs"]
mod tests;
