//! A futex made of a lock and a condition, for systems without one and for model checkers.

use std::sync::PoisonError;
use std::time::Duration;

use super::parts::{AtomicU32, Condvar, Mutex, Ordering};

/// Sleeps while a word holds a value; the word is passed to each call.
#[derive(Debug, Default)]
pub struct Futex {
    sleeping: Mutex<()>,
    woken: Condvar,
}

impl Futex {
    /// Nothing sleeps here yet.
    pub fn new() -> Self {
        Self { sleeping: Mutex::new(()), woken: Condvar::new() }
    }

    /// Sleeps while `word` holds `expected`, at most for `timeout`. Wakes spuriously.
    pub fn wait(&self, word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
        // Nothing lies behind the lock that a panic could leave half done.
        let guard = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        // Ordering: the lock orders this load against `wake`, as the kernel's bucket lock does.
        if word.load(Ordering::Relaxed) != expected {
            return;
        }
        // The result is a guard, or a poisoned one; either way there is nothing behind it.
        match timeout {
            None => drop(self.woken.wait(guard)),
            Some(limit) => drop(self.woken.wait_timeout(guard, limit)),
        }
    }

    /// Wakes the thread that sleeps on `word`.
    pub fn wake(&self, _word: &AtomicU32) {
        let _guard = self.sleeping.lock().unwrap_or_else(PoisonError::into_inner);
        self.woken.notify_all();
    }
}
