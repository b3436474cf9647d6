//! The queue that all workers share: for what comes from outside, and for what did not fit into a
//! worker's own queue.
//!
//! It is a lock: it is used once a batch, and a task in it was or will be somebody's system call.
//! That there is nothing to take is seen without the lock.

use std::collections::VecDeque;
use std::fmt;
use std::mem;

use super::deque::Local;
use super::shim::Mutex;
use super::shim::atomic::{AtomicUsize, Ordering};
use super::shim::limits::QUEUE_SLOTS;

/// Items from any thread, for whoever comes first; oldest first. It has no bound of its own: a
/// task is queued at most once, so it holds at most as many as there are tasks.
pub struct Injector<T> {
    inside: Mutex<Inside<T>>,
    /// As many as `inside` holds; written under its lock.
    len: AtomicUsize,
}

struct Inside<T> {
    items: VecDeque<T>,
    /// Set once: nobody will look in here again.
    closed: bool,
}

impl<T> Injector<T> {
    /// An empty queue.
    pub fn new() -> Self {
        let inside = Inside { items: VecDeque::new(), closed: false };
        Self { inside: Mutex::new(inside), len: AtomicUsize::new(0) }
    }

    /// Queues `item` as the newest. The caller then wakes a worker.
    ///
    /// # Errors
    ///
    /// Gives the item back if the queue is closed.
    pub fn push(&self, item: T) -> Result<(), T> {
        let mut inside = self.inside.lock();
        if inside.closed {
            return Err(item);
        }
        inside.items.push_back(item);
        self.count(&inside);
        Ok(())
    }

    /// Queues `items` in order, with nothing in between. They are taken under the lock: the
    /// iterator must not come back here. The caller then wakes a worker.
    ///
    /// # Errors
    ///
    /// Gives all items back if the queue is closed.
    pub fn push_many(&self, items: impl IntoIterator<Item = T>) -> Result<(), Vec<T>> {
        let mut inside = self.inside.lock();
        if inside.closed {
            drop(inside);
            return Err(items.into_iter().collect());
        }
        inside.items.extend(items);
        self.count(&inside);
        Ok(())
    }

    /// The oldest item.
    pub fn pop(&self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let mut inside = self.inside.lock();
        let item = inside.items.pop_front();
        self.count(&inside);
        item
    }

    /// Takes one worker's share, of as many `workers`: the oldest item is returned, to be run at
    /// once, and the rest of the share is moved to `to`, of which it fills no more than half.
    ///
    /// Nobody has to be woken for what is moved: a worker that looks here first and at the workers'
    /// queues then, finds it in one place or the other.
    pub fn take_into(&self, to: &Local<T>, workers: usize) -> Option<T>
    where
        T: Send,
    {
        if self.is_empty() {
            return None;
        }
        let mut inside = self.inside.lock();
        let oldest = inside.items.pop_front()?;
        // One share, rounded up, less the one that was taken.
        let rest = (inside.items.len() + 1) / workers.max(1);
        to.push_from(&mut inside.items, rest.min(QUEUE_SLOTS / 2));
        self.count(&inside);
        Some(oldest)
    }

    /// Moves everything to the end of `to`.
    pub fn take_all(&self, to: &mut VecDeque<T>) {
        let mut inside = self.inside.lock();
        to.append(&mut inside.items);
        self.count(&inside);
    }

    /// How many items are queued, without waiting for the lock.
    pub fn len(&self) -> usize {
        // Ordering: Acquire pairs with the Release in `count`: who sees that items were taken, sees
        // them in the queue that they were moved to. Whoever must not miss an item that was
        // pushed comes here by way of the idle word or a doorbell, which order the two.
        self.len.load(Ordering::Acquire)
    }

    /// Whether nothing is queued, without waiting for the lock.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Refuses whatever comes from now on, and returns what had come before.
    pub fn close(&self) -> VecDeque<T> {
        let mut inside = self.inside.lock();
        inside.closed = true;
        let items = mem::take(&mut inside.items);
        self.count(&inside);
        items
    }

    fn count(&self, inside: &Inside<T>) {
        // Ordering: Release; see `len`. The lock orders the writers.
        self.len.store(inside.items.len(), Ordering::Release);
    }
}

impl<T> Default for Injector<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Injector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injector").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_takes_its_share_and_keeps_half_of_its_queue_free() {
        let injector = Injector::new();
        injector.push_many(0..10).expect("open");
        let to = Local::new();
        assert_eq!(injector.take_into(&to, 4), Some(0), "the oldest is to be run");
        assert_eq!(to.len(), 2, "10 / 4 + 1 in all");
        assert_eq!([to.pop(), to.pop()], [Some(1), Some(2)]);
        assert_eq!(injector.len(), 7);
        injector.push_many(10..2000).expect("open");
        assert_eq!(injector.take_into(&to, 1), Some(3));
        assert_eq!(to.len(), QUEUE_SLOTS / 2);
    }

    #[test]
    fn a_full_worker_still_gets_something_to_run() {
        let injector = Injector::new();
        injector.push_many([1, 2, 3]).expect("open");
        let to = Local::new();
        (0..QUEUE_SLOTS).for_each(|item| to.push(item).expect("room"));
        assert_eq!(injector.take_into(&to, 1), Some(1));
        assert_eq!((to.len(), injector.len()), (QUEUE_SLOTS, 2));
    }

    #[test]
    fn what_comes_after_the_end_is_given_back() {
        let injector = Injector::new();
        injector.push(1).expect("open");
        injector.push(2).expect("open");
        assert_eq!(injector.close(), [1, 2]);
        assert_eq!(injector.push(3), Err(3));
        assert_eq!(injector.push_many([4, 5]), Err(vec![4, 5]));
        assert_eq!((injector.len(), injector.pop()), (0, None));
        assert!(injector.close().is_empty());
    }

    #[test]
    fn items_come_out_as_they_went_in() {
        let injector = Injector::default();
        injector.push(1).expect("open");
        injector.push_many([2, 3]).expect("open");
        injector.push(4).expect("open");
        assert!(std::iter::from_fn(|| injector.pop()).eq(1..=4));
        assert!(injector.is_empty());
    }
}
