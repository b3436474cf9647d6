//! A value that each process has for itself, however many are forked off one another.
//!
//! A forked child has a copy of the parent's value, and can do nothing with it: its threads are
//! not there, and its locks may be held for ever by threads that are not there (see
//! [`Origin`]). So the child makes a value of its own when it first asks for one, and asking
//! touches nothing that a thread of another process may have had in its hands: two words and a
//! list that only grows.
//!
//! ```text
//! first ── the value of the process that made all of this: found without a look at the list
//! later ──► grandchild's ──► child's ──► nothing
//!           one a process, the newest first; each process follows the pointers that its parent
//!           had at the fork, and adds its own in front
//! maker ── the generation of a process, one of whose threads makes its value now. A number that
//!          was left there by a fork is another process's, so nobody waits for it
//! ```

use std::cell::Cell;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr;

use super::shim::atomic::{AtomicPtr, AtomicU64, Ordering};
use super::shim::{thread, thread_local};
use crate::sys::fork::Origin;

/// One value in each process.
///
/// What ancestors of this process have made is leaked here, not dropped.
///
/// # Examples
///
/// ```
/// use spanwire_runtime::PerProcess;
///
/// let number = PerProcess::new(1);
/// assert_eq!(number.get_or_make(|| 2), Some(&1), "in a forked child it is 2");
/// ```
pub struct PerProcess<T> {
    origin: Origin,
    /// Dropped where it was made, and nowhere else.
    first: ManuallyDrop<T>,
    later: AtomicPtr<Later<T>>,
    maker: AtomicU64,
}

/// The value of a child. It stays where it is as long as the list.
struct Later<T> {
    origin: Origin,
    value: T,
    /// Never written again.
    next: *mut Self,
}

// SAFETY: it owns its values, and hands out shared references only.
unsafe impl<T: Send> Send for PerProcess<T> {}

// SAFETY: a value that one thread has made is shared with the others and may be dropped by any.
unsafe impl<T: Send + Sync> Sync for PerProcess<T> {}

thread_local! {
    /// Whether this thread is about to make a value. It has no destructor.
    static MAKING: Cell<bool> = const { Cell::new(false) };
}

impl<T> PerProcess<T> {
    /// Of which this process has `value`.
    pub fn new(value: T) -> Self {
        Self::of(Origin::here(), value)
    }

    /// Of which the process of `origin` has `value`.
    #[doc(hidden)]
    #[cfg_attr(not(feature = "internals"), allow(dead_code, reason = "models play a child"))]
    pub fn of(origin: Origin, value: T) -> Self {
        Self {
            origin,
            first: ManuallyDrop::new(value),
            later: AtomicPtr::new(ptr::null_mut()),
            maker: AtomicU64::new(NOBODY),
        }
    }

    /// This process's value, if it has one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        if self.origin.is_here() { Some(&self.first) } else { self.find() }
    }

    /// This process's value, which `make` makes if there is none; other threads that ask
    /// meanwhile wait for it. None if this thread is inside of a `make` already, of this or
    /// another: it would wait for itself.
    #[inline]
    pub fn get_or_make(&self, make: impl FnOnce() -> T) -> Option<&T> {
        if self.origin.is_here() { Some(&self.first) } else { self.find_or_make(make) }
    }

    /// Whether this process is the one in which all of this was made.
    #[inline]
    pub fn is_first(&self) -> bool {
        self.origin.is_here()
    }

    #[cold]
    fn find(&self) -> Option<&T> {
        // Ordering: Acquire pairs with the Release of `push`: who sees a value sees all of it.
        let mut at = self.later.load(Ordering::Acquire);
        // SAFETY: what the list points to was boxed by `push` and is freed by `drop` only.
        while let Some(later) = unsafe { at.as_ref() } {
            if later.origin.is_here() {
                return Some(&later.value);
            }
            at = later.next;
        }
        None
    }

    #[cold]
    fn find_or_make(&self, make: impl FnOnce() -> T) -> Option<&T> {
        loop {
            if let Some(value) = self.find() {
                return Some(value);
            }
            let own = Origin::here();
            let _making = Making::begin()?;
            if let Some(_turn) = Turn::take(&self.maker, own) {
                // Whoever had the turn before may have made it.
                return self.find().or_else(|| Some(self.push(own, make())));
            }
            // Another thread of this process makes it, which takes about as long as a thread
            // takes to start.
            thread::yield_now();
        }
    }

    /// Adds the value of this process. One thread of it has the turn.
    fn push(&self, origin: Origin, value: T) -> &T {
        // Ordering: Relaxed: only who has the turn writes here, and `Turn::take` has acquired it.
        let next = self.later.load(Ordering::Relaxed);
        let later = Box::into_raw(Box::new(Later { origin, value, next }));
        // Ordering: Release pairs with the Acquire of `find`.
        self.later.store(later, Ordering::Release);
        // SAFETY: it was just boxed, and is freed by `drop` only.
        unsafe { &(*later).value }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if self.origin.is_here() {
            // SAFETY: this is the only drop, and nothing borrows from what is being dropped.
            unsafe { ManuallyDrop::drop(&mut self.first) };
        }
        // Ordering: Relaxed: whoever drops it has it alone.
        let mut at = self.later.load(Ordering::Relaxed);
        // SAFETY: see `find`.
        while let Some(later) = unsafe { at.as_ref() } {
            let next = later.next;
            if later.origin.is_here() {
                // SAFETY: boxed by `push`, and out of reach once this is dropped.
                drop(unsafe { Box::from_raw(at) });
            }
            at = next;
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for PerProcess<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerProcess").field("here", &self.get()).finish_non_exhaustive()
    }
}

/// The right to make this process's value, given back when dropped.
struct Turn<'a> {
    maker: &'a AtomicU64,
}

impl<'a> Turn<'a> {
    /// None if another thread of this process has it.
    fn take(maker: &'a AtomicU64, own: Origin) -> Option<Self> {
        let own = own.generation();
        // Ordering: Relaxed: the exchange below decides.
        let found = maker.load(Ordering::Relaxed);
        if found == own {
            return None;
        }
        // Ordering: Acquire pairs with the Release of `drop`: what was pushed before is seen.
        maker.compare_exchange(found, own, Ordering::Acquire, Ordering::Relaxed).ok()?;
        Some(Self { maker })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Ordering: Release pairs with the Acquire of `take`.
        self.maker.store(NOBODY, Ordering::Release);
    }
}

/// Marks this thread as making a value.
struct Making;

impl Making {
    /// None if it is at that already. Only loom's thread-locals are ever gone.
    fn begin() -> Option<Self> {
        let before = MAKING.try_with(|making| making.replace(true)).unwrap_or(false);
        (!before).then(|| Self)
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        let _ = MAKING.try_with(|making| making.set(false));
    }
}

/// Generations begin with one, and no process has the id zero.
const NOBODY: u64 = 0;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// As a child finds it.
    fn inherited() -> PerProcess<String> {
        PerProcess::of(Origin::of_another(), "the parent's".to_owned())
    }

    #[test]
    fn a_process_keeps_the_value_that_it_has() {
        let value = PerProcess::new(1);
        assert!(value.is_first());
        assert_eq!((value.get(), value.get_or_make(|| 2)), (Some(&1), Some(&1)));
    }

    #[test]
    fn a_child_has_nothing_until_it_makes_its_own_once() {
        let value = inherited();
        assert_eq!((value.is_first(), value.get()), (false, None));
        let made = AtomicUsize::new(0);
        let threads: Vec<_> = thread::scope(|scope| {
            let (value, made) = (&value, &made);
            let make = move || {
                thread::yield_now();
                made.fetch_add(1, Ordering::Relaxed).to_string()
            };
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(move || value.get_or_make(make).cloned())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(threads, vec![Some("0".to_owned()); 8]);
        assert_eq!(value.get().map(String::as_str), Some("0"));
    }

    #[test]
    fn a_thread_that_makes_one_does_not_wait_for_itself() {
        let (value, other) = (inherited(), inherited());
        let made = value.get_or_make(|| {
            assert_eq!(value.get_or_make(|| panic!("made twice")), None);
            assert_eq!(other.get_or_make(|| panic!("made inside of another")), None);
            "own".to_owned()
        });
        assert_eq!(made.map(String::as_str), Some("own"));
        assert_eq!(other.get_or_make(|| "later".to_owned()).map(String::as_str), Some("later"));
    }

    #[test]
    fn a_panic_while_a_value_is_made_leaves_the_turn_to_the_next() {
        let value = inherited();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            value.get_or_make(|| panic!("expected by the test"));
        }));
        assert!(panicked.is_err());
        assert_eq!(value.get_or_make(|| "own".to_owned()).map(String::as_str), Some("own"));
    }

    /// The fork came while another thread of the parent's had the turn.
    #[test]
    fn a_turn_that_an_ancestor_has_taken_is_nobodys() {
        let value = inherited();
        value.maker.store(Origin::of_another().generation(), Ordering::Relaxed);
        assert_eq!(value.get_or_make(|| "own".to_owned()).map(String::as_str), Some("own"));
    }

    #[test]
    fn only_what_this_process_has_made_is_dropped() {
        let (own, anothers) = (std::rc::Rc::new(()), std::rc::Rc::new(()));
        let value = PerProcess::of(Origin::of_another(), std::rc::Rc::clone(&anothers));
        assert!(value.get_or_make(|| std::rc::Rc::clone(&own)).is_some());
        drop(value);
        assert_eq!((std::rc::Rc::strong_count(&own), std::rc::Rc::strong_count(&anothers)), (1, 2));
        let value = PerProcess::new(std::rc::Rc::clone(&own));
        drop(value);
        assert_eq!(std::rc::Rc::strong_count(&own), 1);
    }
}
