//! Things that other threads fill without waking a task: a worker looks at them whenever it
//! was rung and once more before it sleeps.
//!
//! The list is a thread-local of the worker, so neither the executor nor the pipe has to know
//! the other.

use std::cell::RefCell;
use std::rc::Rc;

use super::doorbell::Button;

/// Something a worker rescans.
pub trait Watch {
    /// Wakes the task that waits, if there is something for it, and says whether it did. Does
    /// not panic.
    fn rescan(&self) -> bool;

    /// The button of those of whose very first commit the waiting task wants to hear. For them
    /// the worker sleeps as idle; by others, only a sealed batch rings it.
    fn wants_first(&self) -> Button;
}

/// Ends the watch when dropped.
#[must_use = "the watch ends when this is dropped"]
pub struct Registration(Rc<dyn Watch>);

thread_local! {
    static WATCHES: RefCell<Vec<Rc<dyn Watch>>> = const { RefCell::new(Vec::new()) };
}

/// Adds `watch` to the list of the worker that runs on this thread.
pub fn register(watch: Rc<dyn Watch>) -> Registration {
    WATCHES.with_borrow_mut(|list| list.push(Rc::clone(&watch)));
    Registration(watch)
}

/// Rescans all of this thread's watches; true if any task was woken.
///
/// A waker is foreign code: it may begin watches and end them, so the list is not borrowed
/// while one runs.
pub fn rescan_all() -> bool {
    let mut woke = false;
    let mut at = 0;
    // No short circuit: each one with something to say has to say it.
    while let Some(watch) = nth(at) {
        woke |= watch.rescan();
        // Another one is in its place if it has ended.
        at += usize::from(nth(at).is_some_and(|now| Rc::ptr_eq(&now, &watch)));
    }
    woke
}

fn nth(at: usize) -> Option<Rc<dyn Watch>> {
    WATCHES.with_borrow(|list| list.get(at).cloned())
}

/// Of whose first commit this thread's watches want to hear.
pub fn first_wanted() -> Button {
    let both = |sum: Button, watch: &Rc<dyn Watch>| sum.and(watch.wants_first());
    WATCHES.with_borrow(|list| list.iter().fold(Button::NONE, both))
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The list may be gone already when the thread exits.
        let _ =
            WATCHES.try_with(|list| list.borrow_mut().retain(|watch| !Rc::ptr_eq(watch, &self.0)));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Counts its rescans, and has something for its task once.
    #[derive(Default)]
    struct Counting {
        rescans: Cell<u32>,
        on_wake: Cell<Option<Box<dyn FnOnce()>>>,
    }

    impl Watch for Counting {
        fn rescan(&self) -> bool {
            self.rescans.set(self.rescans.get() + 1);
            self.on_wake.take().map(|wake| wake()).is_some()
        }

        fn wants_first(&self) -> Button {
            Button::NONE
        }
    }

    #[test]
    fn a_waker_may_begin_and_end_watches() {
        let watches: [Rc<Counting>; 4] = Default::default();
        let [first, second, third, late] = watches.clone();
        let own = Rc::new(Cell::new(None));
        let begun = Rc::new(Cell::new(None));
        own.set(Some(register(first.clone())));
        let _rest = [register(second), register(third)];
        let (ends, begins) = (Rc::clone(&own), Rc::clone(&begun));
        first.on_wake.set(Some(Box::new(move || {
            drop(ends.take());
            begins.set(Some(register(late)));
        })));
        assert!(rescan_all());
        let rescans: Vec<_> = watches.iter().map(|watch| watch.rescans.get()).collect();
        assert_eq!(rescans, [1, 1, 1, 1], "none is left out");
        assert!(!rescan_all());
        assert_eq!(first.rescans.get(), 1, "it has ended");
        drop(begun.take());
    }
}
