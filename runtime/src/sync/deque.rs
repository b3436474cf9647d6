//! A worker's own run queue, which idle workers steal from.
//!
//! In scope: a bounded ring that one thread, the owner, pushes to and pops from, and from which
//! any other takes half at once. Out of scope: what to do when it is full ([`Local::push`] hands
//! the newer half back), and how an idle worker learns that there is something to steal (see
//! [`idle`](super::idle)).
//!
//! ```text
//!            steal        real                       tail
//!              v            v                          v
//!  --+----+----+----+----+----+----+----+----+----+----+----+--
//!    |free|    | claimed by   | queued: popped here by |free|
//!    |    |    | a thief      | the owner and thieves  |    |
//!  --+----+----+----+----+----+----+----+----+----+----+----+--
//! ```
//!
//! `head` holds `steal` and `real` in one word. A thief claims by moving `real` alone, copies, and
//! then lets `steal` catch up; only then may the owner write those slots again. While the two
//! differ nobody else steals, so there is one thief a queue at any time, and `steal` always
//! belongs to it. The owner pops by moving `real`, and `steal` with it if nobody steals.
//!
//! Positions are 32 bits wide though a slot needs 8: a thief that was held up between looking and
//! claiming would otherwise find the same position again, after the queue went once around, and
//! claim what is no longer there. (tokio's queue, which this one learnt from, had that bug with 8
//! and with 16 bits: its issues 2387 and 5041.)

use std::array;
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::mem::MaybeUninit;
use std::vec;

use crossbeam_utils::CachePadded;

use super::shim::atomic::{AtomicU32, AtomicU64, Ordering};
use super::shim::limits::QUEUE_SLOTS;
use super::shim::{Arc, UnsafeCell};

/// A queue, for its owner and for a first thief.
pub fn deque<T: Send>() -> (Local<T>, Stealer<T>) {
    let local = Local::new();
    let stealer = local.stealer();
    (local, stealer)
}

/// The owner's side: oldest first. It may move to another thread, but belongs to one at a time.
///
/// Dropping it drops what is queued.
pub struct Local<T: Send> {
    ring: Arc<Ring<T>>,
    /// The owner's copy of the ring's `tail`.
    tail: Cell<u32>,
    /// No thief was ever made, so nobody else moves `head`.
    alone: Cell<bool>,
}

impl<T: Send> Local<T> {
    /// A queue that nobody steals from yet. Until [`stealer`](Self::stealer) is called, a pop
    /// is a load and a store.
    pub fn new() -> Self {
        Self::starting_at(0)
    }

    /// A queue whose positions start at `position`, for tests of how they wrap.
    #[doc(hidden)]
    pub fn starting_at(position: u32) -> Self {
        let ring = Arc::new(Ring::new(position));
        Self { ring, tail: Cell::new(position), alone: Cell::new(true) }
    }

    /// A way to steal from this queue.
    pub fn stealer(&self) -> Stealer<T> {
        // Whatever gives the stealer to another thread orders the plain pops before it.
        self.alone.set(false);
        Stealer { ring: Arc::clone(&self.ring) }
    }

    /// Queues `item` as the newest.
    ///
    /// A worker that sleeps has to hear of it: `Idle::worker_to_wake` comes next. For all but the
    /// first item this may be left out: whoever comes for the first wakes the next worker, and
    /// whoever lies down looks at each queue. The first is the one after whose push
    /// [`len`](Self::len) is 1. (If a thief takes the rest in that very moment, and the owner
    /// does not see it yet, the item waits for its owner, who is awake.)
    ///
    /// # Errors
    ///
    /// When the queue is full. If nobody steals from it, the newer half of it comes back together
    /// with `item`, in order, and the older half stays: what was fetched from a common queue
    /// lately is among the older, so it does not go there and back. If somebody does steal,
    /// there will be room in a moment and only `item` comes back.
    #[inline]
    pub fn push(&self, item: T) -> Result<(), Overflow<T>> {
        let tail = self.tail.get();
        // Ordering: Acquire pairs with the Release in `Stealer::let_go`: the thief has copied a
        // slot before it is written again.
        let head = Head::from(self.ring.head.load(Ordering::Acquire));
        if distance(head.steal, tail) == QUEUE_SLOTS {
            return self.push_full(item);
        }
        self.ring.write(tail, item);
        self.publish(tail.wrapping_add(1));
        Ok(())
    }

    /// Moves up to `at_most` items from the front of `from`, and at most as many as there is
    /// [`spare`](Self::spare) room for. Thieves see all of them at once. Says how many.
    pub fn push_from(&self, from: &mut VecDeque<T>, at_most: usize) -> usize {
        let count = at_most.min(from.len()).min(self.spare());
        let mut tail = self.tail.get();
        for item in from.drain(..count) {
            self.ring.write(tail, item);
            tail = tail.wrapping_add(1);
        }
        self.publish(tail);
        count
    }

    /// The oldest item.
    #[inline]
    pub fn pop(&self) -> Option<T> {
        // Ordering: Relaxed; the owner wrote the slots itself, and `push` acquires before it
        // writes them again.
        let mut head = self.ring.head.load(Ordering::Relaxed);
        loop {
            let now = Head::from(head);
            if now.real == self.tail.get() {
                return None;
            }
            match self.move_head(head, now.past(1).into()) {
                // SAFETY: it is below `tail`, so it was written; moving `real` past it made it
                // ours alone, once.
                Ok(_) => return Some(unsafe { self.ring.read(now.real) }),
                Err(actual) => head = actual,
            }
        }
    }

    /// How many items are queued; a thief may be about to take some.
    #[inline]
    pub fn len(&self) -> usize {
        // Ordering: Relaxed; a count that is old as soon as it is told.
        let head = Head::from(self.ring.head.load(Ordering::Relaxed));
        distance(head.real, self.tail.get())
    }

    /// Whether nothing is queued. Nobody but the owner can change a yes.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many items fit in; thieves only make more room.
    pub fn spare(&self) -> usize {
        // Ordering: Acquire, as in `push`: whoever asks writes next.
        let head = Head::from(self.ring.head.load(Ordering::Acquire));
        QUEUE_SLOTS - distance(head.steal, self.tail.get())
    }

    #[inline]
    fn move_head(&self, from: u64, to: u64) -> Result<u64, u64> {
        let head = &self.ring.head;
        if self.alone.get() {
            // Ordering: Relaxed; there is no second thread.
            head.store(to, Ordering::Relaxed);
            return Ok(from);
        }
        // Ordering: Release pairs with the Acquire of `head` in `Ring::look`: a thief that sees
        // this position sees a tail beyond it too.
        head.compare_exchange_weak(from, to, Ordering::Release, Ordering::Relaxed)
    }

    #[inline]
    fn publish(&self, tail: u32) {
        self.tail.set(tail);
        // Ordering: Release pairs with the Acquire of `tail` in `Ring::look`: a thief that sees
        // the position sees what was written below it.
        self.ring.tail.store(tail, Ordering::Release);
    }

    #[cold]
    fn push_full(&self, item: T) -> Result<(), Overflow<T>> {
        let tail = self.tail.get();
        // Ordering: Relaxed; nothing is written on account of it.
        let head = Head::from(self.ring.head.load(Ordering::Relaxed));
        if head.steal != head.real {
            return Err(Overflow::one(item));
        }
        if distance(head.real, tail) < QUEUE_SLOTS {
            // A thief came and went.
            return self.push(item);
        }
        let all_gone = Head { steal: tail, real: tail };
        match self.move_head(head.into(), all_gone.into()) {
            Ok(_) => Err(self.keep_older_half(head.real, item)),
            Err(_) => self.push(item),
        }
    }

    /// What to give back of a queue that was claimed whole, from `start` on.
    ///
    /// The older half stays where it is. Its slots now have positions one lap later, so they lie
    /// beyond the old tail, and publishing them is a matter of moving it. Until then thieves
    /// find nothing; one that goes to sleep over it is woken for what goes to the injector.
    fn keep_older_half(&self, start: u32, item: T) -> Overflow<T> {
        let half = QUEUE_SLOTS / 2;
        let newer = (half..QUEUE_SLOTS).map(|offset| {
            // SAFETY: the queue was full, so each of its slots was written; the claim made all
            // of them ours, and each of these is read once.
            unsafe { self.ring.read(start.wrapping_add(offset as u32)) }
        });
        let items: Vec<T> = newer.chain([item]).collect();
        self.publish(self.tail.get().wrapping_add(half as u32));
        Overflow(items.into_iter())
    }
}

impl<T: Send> Default for Local<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Send> Drop for Local<T> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

impl<T: Send> fmt::Debug for Local<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A thief's side. Clones steal from the same queue.
pub struct Stealer<T: Send> {
    ring: Arc<Ring<T>>,
}

impl<T: Send> Stealer<T> {
    /// Takes the older half, rounded up: the oldest item is returned, to be run at once, and the
    /// rest is moved to `to`. A half that is moved costs a claim and a release, not one each.
    ///
    /// None if there is nothing, if another thief is at it, or if `to` is more than half full: a
    /// worker that has work should not be here.
    pub fn steal_into(&self, to: &Local<T>) -> Option<T> {
        if to.spare() < QUEUE_SLOTS / 2 {
            return None;
        }
        let claim = self.claim()?;
        // SAFETY: claimed, and read once here and below.
        let oldest = unsafe { self.ring.read(claim.start) };
        let tail = to.tail.get();
        for offset in 1..claim.count {
            // SAFETY: as above.
            let item = unsafe { self.ring.read(claim.start.wrapping_add(offset)) };
            to.ring.write(tail.wrapping_add(offset - 1), item);
        }
        self.let_go();
        if claim.count > 1 {
            to.publish(tail.wrapping_add(claim.count - 1));
        }
        Some(oldest)
    }

    /// How many items are queued, as far as can be seen from here.
    pub fn len(&self) -> usize {
        let (head, tail) = self.ring.look();
        distance(head.real, tail)
    }

    /// Whether nothing is queued, as far as can be seen from here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn claim(&self) -> Option<Claim> {
        loop {
            let (head, tail) = self.ring.look();
            let queued = distance(head.real, tail) as u32;
            if head.steal != head.real || queued == 0 {
                return None;
            }
            let count = queued - queued / 2;
            let claimed = Head { real: head.real.wrapping_add(count), ..head };
            // Ordering: Relaxed; what is in the slots came with `look`, which has seen this very
            // value of `head`, and the owner acquires from `let_go`.
            let exchanged = self.ring.head.compare_exchange_weak(
                head.into(),
                claimed.into(),
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if exchanged.is_ok() {
                debug_assert!(count as usize <= QUEUE_SLOTS / 2, "claimed {count}");
                return Some(Claim { start: head.real, count });
            }
        }
    }

    /// Ends a claim, after its items were copied.
    fn let_go(&self) {
        // Ordering: Relaxed; a guess.
        let mut head = self.ring.head.load(Ordering::Relaxed);
        loop {
            let real = Head::from(head).real;
            // Ordering: Release pairs with the Acquire of `head` in `Local::push` and
            // `Local::spare`: the items were copied before their slots are written again.
            let exchanged = self.ring.head.compare_exchange_weak(
                head,
                Head { steal: real, real }.into(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            match exchanged {
                Ok(_) => return,
                Err(actual) => head = actual,
            }
        }
    }
}

impl<T: Send> Clone for Stealer<T> {
    fn clone(&self) -> Self {
        Self { ring: Arc::clone(&self.ring) }
    }
}

impl<T: Send> fmt::Debug for Stealer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stealer").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// What did not fit, oldest first.
#[must_use = "dropping it drops the items"]
pub struct Overflow<T>(vec::IntoIter<T>);

impl<T> Overflow<T> {
    fn one(item: T) -> Self {
        Self(vec![item].into_iter())
    }
}

impl<T> Iterator for Overflow<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T> ExactSizeIterator for Overflow<T> {}

impl<T> fmt::Debug for Overflow<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overflow").field("len", &self.len()).finish()
    }
}

/// What a thief has taken for itself but not copied yet.
struct Claim {
    start: u32,
    count: u32,
}

/// The first positions in use; see the picture of the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    /// The oldest slot that must not be written yet.
    steal: u32,
    /// The oldest item. Differs from `steal` exactly while somebody steals.
    real: u32,
}

impl Head {
    /// After `count` items were popped.
    #[inline]
    fn past(self, count: u32) -> Self {
        let real = self.real.wrapping_add(count);
        let steal = if self.steal == self.real { real } else { self.steal };
        Self { steal, real }
    }
}

impl From<u64> for Head {
    #[inline]
    fn from(word: u64) -> Self {
        Self { steal: (word >> u32::BITS) as u32, real: word as u32 }
    }
}

impl From<Head> for u64 {
    #[inline]
    fn from(head: Head) -> Self {
        Self::from(head.steal) << u32::BITS | Self::from(head.real)
    }
}

/// What owner and thieves share.
struct Ring<T> {
    /// A [`Head`]. Moved by the owner, who pops, and by thieves.
    head: CachePadded<AtomicU64>,
    /// The first free position. Moved by the owner only.
    tail: CachePadded<AtomicU32>,
    /// Written by the owner from `tail` on, up to a lap beyond `steal`; read by whoever moved
    /// `real` past a position, once.
    slots: [UnsafeCell<MaybeUninit<T>>; QUEUE_SLOTS],
}

// SAFETY: items are moved between threads, never shared: each is written once, by the owner, and
// read once, by whoever moved `real` past it.
unsafe impl<T: Send> Send for Ring<T> {}

// SAFETY: as above.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    fn new(position: u32) -> Self {
        let head = Head { steal: position, real: position };
        Self {
            head: CachePadded::new(AtomicU64::new(head.into())),
            tail: CachePadded::new(AtomicU32::new(position)),
            slots: array::from_fn(|_| UnsafeCell::new(MaybeUninit::uninit())),
        }
    }

    /// A thief's view: the tail is not older than the head.
    #[inline]
    fn look(&self) -> (Head, u32) {
        // Ordering: Acquire pairs with the Release in `Local::move_head`: no tail that lies behind
        // this head is read next. What a thief moved carries on the owner's Release, because
        // both are read-modify-writes.
        let head = self.head.load(Ordering::Acquire);
        // Ordering: Acquire pairs with the Release in `Local::publish`: the slots are written.
        (head.into(), self.tail.load(Ordering::Acquire))
    }

    /// Fills the slot at `position`. Only the owner calls this, within the room that it has seen.
    #[inline]
    fn write(&self, position: u32, item: T) {
        self.slots[slot(position)].with_mut(|slot| {
            // SAFETY: the owner has seen that `steal` is less than a lap behind, so whoever had
            // the slot last has read it, and nobody looks beyond `tail`.
            unsafe { (*slot).write(item) };
        });
    }

    /// Takes the item at `position`.
    ///
    /// # Safety
    ///
    /// - The slot was written, and the write happened before this call.
    /// - The caller moved `real` past the position, and takes each item once.
    #[inline]
    unsafe fn read(&self, position: u32) -> T {
        // SAFETY: written and ours, by the caller's promise.
        self.slots[slot(position)].with(|slot| unsafe { (*slot).assume_init_read() })
    }
}

/// The slot of a position.
#[inline]
fn slot(position: u32) -> usize {
    position as usize % QUEUE_SLOTS
}

/// How far `to` is ahead of `from`.
#[inline]
fn distance(from: u32, to: u32) -> usize {
    to.wrapping_sub(from) as usize
}

// Positions wrap at 2^32, so a lap has to divide that; and half a queue is a number of items.
const _: () = assert!(QUEUE_SLOTS.is_power_of_two() && QUEUE_SLOTS >= 2);

#[cfg(test)]
#[path = "deque_tests.rs"]
mod tests;
