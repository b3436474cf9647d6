//! One doorbell a worker: how other threads wake it, and how they know that they need not.
//!
//! A wake costs the caller microseconds, so nobody rings a worker that is awake: it looks at
//! everything once more before it sleeps. The handshake is Dekker's:
//!
//! ```text
//! caller                              worker
//! publish work                        word = ASLEEP
//! fence(SeqCst)                       fence(SeqCst)
//! load word: asleep? then ring        look for work: none? then sleep
//! ```
//!
//! At least one of the two sees the other. The word also says *how* the worker sleeps, so that
//! the caller signals the right thing, and for whom it is idle, so that producers of telemetry
//! can leave a merely dozing worker alone until there is a batch to send.

use std::fmt;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::shim::Futex;
use super::shim::atomic::{AtomicU32, Ordering, fence};
use crate::sys::fork::Origin;

/// The worker runs, and will look for work before it sleeps. No other bit is set.
const AWAKE: u32 = 0;
/// The worker sleeps, or has said that it will and is looking for work a last time.
/// Set and cleared by the worker only.
const ASLEEP: u32 = 1;
/// With `ASLEEP`: the worker sleeps in its driver, not on the futex. Set and cleared by the
/// worker only.
const IN_DRIVER: u32 = 1 << 2;
/// Somebody rang since `ASLEEP` was set. Set by callers, once a sleep; cleared by the worker.
const RUNG: u32 = 1 << 3;

/// From this bit on: one a [`Button`]. With `ASLEEP`: what presses that button has nothing
/// pending and no deadline armed, so its first commit has to ring. Set and cleared by the worker
/// only.
const IDLE_SHIFT: u32 = 8;

/// What is pressed by those who commit telemetry: a pipe has a button of its own, so that a
/// worker that is idle on behalf of one pipe is not woken by the commits of another.
///
/// A set of buttons is one too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Button(u32);

impl Button {
    /// No button.
    pub const NONE: Self = Self(0);
    /// All buttons.
    pub const ALL: Self = Self(u32::MAX << IDLE_SHIFT);

    /// These buttons and those.
    #[must_use]
    pub const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }
}

/// Ends a sleep inside a driver, from any thread.
pub trait Unpark: Send + Sync {
    /// Makes the driver's current or next wait return.
    fn unpark(&self);
}

/// Where a worker is about to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "there is no third place to sleep")]
pub enum Bed {
    /// On the doorbell's own futex: nothing is in flight.
    Futex,
    /// In the driver: operations are in flight.
    Driver,
}

/// Wakes one worker from any thread. A [`Pipe`](crate::pipe::Pipe) rings that of the worker that
/// drains it: [`Runtime::doorbell`](crate::Runtime::doorbell).
pub struct Doorbell {
    word: AtomicU32,
    /// How many buttons were given out.
    buttons: AtomicU32,
    futex: Futex,
    /// Set once, by the worker, before it first sleeps in its driver.
    driver: OnceLock<Box<dyn Unpark>>,
    /// The worker's process. What ends a sleep in a driver is shared with forked children, whose
    /// rings must not wake it.
    origin: Origin,
}

impl Doorbell {
    /// A doorbell whose worker is awake.
    pub fn new() -> Self {
        Self {
            word: AtomicU32::new(AWAKE),
            buttons: AtomicU32::new(0),
            futex: Futex::new(),
            driver: OnceLock::new(),
            origin: Origin::here(),
        }
    }

    /// A button that nobody else presses; after the first two dozen, one that somebody else
    /// presses too, which costs wakes and loses none.
    pub fn button(&self) -> Button {
        // Ordering: a number that stands for itself.
        let before = self.buttons.fetch_add(1, Ordering::Relaxed);
        Button(1 << (IDLE_SHIFT + before % BUTTONS))
    }

    /// Says how to end a sleep inside the driver. The first call counts.
    #[doc(hidden)]
    pub fn attach_driver(&self, unpark: Box<dyn Unpark>) {
        let _ = self.driver.set(unpark);
    }

    /// Wakes the worker if it sleeps. Call after publishing work. In a forked child it does
    /// nothing: the worker is the parent's.
    #[inline]
    pub fn ring(&self) {
        self.ring_if(ASLEEP);
    }

    /// Wakes the worker if it sleeps as idle for `button`. Call after committing telemetry that
    /// need not be sent before the batch is full or old enough.
    #[inline]
    pub fn ring_idle(&self, button: Button) {
        self.ring_if(button.0);
    }

    #[inline]
    fn ring_if(&self, mask: u32) {
        // Ordering: pairs with the fence in `lie_down`; see the module's picture.
        fence(Ordering::SeqCst);
        if self.word.load(Ordering::Relaxed) & mask != 0 {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        if !self.origin.is_here() {
            return;
        }
        // Ordering: Release, so that the worker's Acquire swap in `get_up` sees what this
        // caller published; the same-word RMW picks exactly one waker a sleep.
        let before = self.word.fetch_or(RUNG, Ordering::Release);
        if before & ASLEEP == 0 || before & RUNG != 0 {
            return;
        }
        if before & IN_DRIVER == 0 {
            self.futex.wake(&self.word);
        } else if let Some(driver) = self.driver.get() {
            driver.unpark();
        }
    }

    /// The worker says that it is going to sleep, and for which buttons it is idle. It must look
    /// for work after this, and call [`get_up`](Self::get_up) if it finds some or when it wakes.
    #[doc(hidden)]
    pub fn lie_down(&self, bed: Bed, idle: Button) {
        let bed = if bed == Bed::Driver { IN_DRIVER } else { 0 };
        // A store would do, once a sleep either way: but loom orders a plain store against a
        // concurrent read-modify-write in both ways, and so invents lost wakes.
        self.word.swap(ASLEEP | bed | idle.0, Ordering::Relaxed);
        // Ordering: pairs with the fence in `ring_if`; see the module's picture.
        fence(Ordering::SeqCst);
    }

    /// Sleeps until rung, at most until `deadline`. Only after
    /// [`lie_down`](Self::lie_down)`(Bed::Futex, _)`.
    #[doc(hidden)]
    pub fn sleep(&self, deadline: Option<Instant>) {
        loop {
            // Ordering: a hint only; `get_up` acquires.
            let word = self.word.load(Ordering::Relaxed);
            if word & RUNG != 0 {
                return;
            }
            let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if timeout == Some(Duration::ZERO) {
                return;
            }
            self.futex.wait(&self.word, word, timeout);
        }
    }

    /// The worker is awake again. True if somebody rang.
    #[doc(hidden)]
    pub fn get_up(&self) -> bool {
        // Ordering: Acquire pairs with the Release in `wake`.
        self.word.swap(AWAKE, Ordering::Acquire) & RUNG != 0
    }
}

impl Default for Doorbell {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Doorbell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Doorbell").field("word", &self.word).finish_non_exhaustive()
    }
}

/// Bits of the word that are left for buttons.
const BUTTONS: u32 = u32::BITS - IDLE_SHIFT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_is_idle_for_one_is_not_woken_by_another() {
        let bell = Doorbell::new();
        let (first, second) = (bell.button(), bell.button());
        bell.lie_down(Bed::Futex, first);
        bell.ring_idle(second);
        assert!(!bell.get_up());
        bell.lie_down(Bed::Futex, first);
        bell.ring_idle(first);
        assert!(bell.get_up());
        bell.lie_down(Bed::Futex, first.and(second));
        bell.ring_idle(second);
        assert!(bell.get_up());
    }

    #[test]
    fn buttons_are_never_used_up_and_none_is_another_bit_of_the_word() {
        let bell = Doorbell::new();
        for _ in 0..100 {
            let Button(bit) = bell.button();
            assert_eq!((bit.count_ones(), bit & (ASLEEP | IN_DRIVER | RUNG)), (1, 0));
        }
    }
}
