//! Things that other threads fill without waking a task: a worker looks at them whenever it
//! was rung and once more before it sleeps.
//!
//! The list is a thread-local of the worker, so neither the executor nor the pipe has to know
//! the other.

use std::cell::RefCell;
use std::rc::Rc;

/// Something a worker rescans.
pub trait Watch {
    /// Wakes the task that waits, if there is something for it, and says whether it did.
    fn rescan(&self) -> bool;

    /// Whether the waiting task wants to hear of the very first commit. If so the worker
    /// sleeps as idle; if not, only a sealed batch rings it.
    fn wants_first(&self) -> bool;
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
pub fn rescan_all() -> bool {
    // No short circuit: each one with something to say has to say it.
    WATCHES.with_borrow(|list| list.iter().fold(false, |woke, watch| watch.rescan() | woke))
}

/// Whether any of this thread's watches wants to hear of the first commit.
pub fn any_wants_first() -> bool {
    WATCHES.with_borrow(|list| list.iter().any(|watch| watch.wants_first()))
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The list may be gone already when the thread exits.
        let _ =
            WATCHES.try_with(|list| list.borrow_mut().retain(|watch| !Rc::ptr_eq(watch, &self.0)));
    }
}
