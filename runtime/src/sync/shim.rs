//! std or loom: the only file of the workspace that names the cfg.
//!
//! Everything else imports its atomics, locks and cells from here, so a loom model builds the
//! production source. The API is loom's where the two differ (`UnsafeCell::with_mut`).

pub use self::arm::{Arc, Condvar, UnsafeCell, atomic, hint, thread};
use self::arm::{Mutex as InnerMutex, MutexGuard as InnerGuard};

/// A mutex that ignores poisoning: every structure behind one is valid between any two
/// statements, so a panic elsewhere is no reason to fail here.
#[derive(Debug, Default)]
pub struct Mutex<T>(InnerMutex<T>);

/// Unlocks on drop.
pub type MutexGuard<'a, T> = InnerGuard<'a, T>;

impl<T> Mutex<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Self(InnerMutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

pub use self::futex::Futex;

#[cfg(not(loom))]
mod arm {
    pub use std::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};
    pub use std::{hint, thread};

    /// [`std::cell::UnsafeCell`] with loom's access methods.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// Wraps `value`.
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Calls `read` with a pointer for reading; loom checks that no write races with it.
        #[inline]
        pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        /// Calls `write` with a pointer for writing; loom checks that no access races with it.
        #[inline]
        pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }

        /// Unwraps the value.
        pub fn into_inner(self) -> T {
            self.0.into_inner()
        }
    }
}

#[cfg(loom)]
mod arm {
    pub use loom::cell::UnsafeCell;
    pub use loom::sync::{Arc, Condvar, Mutex, MutexGuard, atomic};
    pub use loom::{hint, thread};
}

/// The kernel's futex: sleeps while a word holds a value.
#[cfg(all(not(loom), target_os = "linux"))]
mod futex {
    use std::ptr;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    /// Sleeps while a word holds a value; the word is passed to each call.
    #[derive(Debug, Default)]
    pub struct Futex(());

    impl Futex {
        /// Nothing sleeps here yet.
        pub fn new() -> Self {
            Self(())
        }

        /// Sleeps while `word` holds `expected`, at most for `timeout`. Wakes spuriously.
        pub fn wait(&self, word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
            let limit = timeout.map(|limit| libc::timespec {
                tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: limit.subsec_nanos().into(),
            });
            // SAFETY: `word` and `limit` outlive the call, which only reads them; a null
            // timeout means none.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                    expected,
                    limit.as_ref().map_or(ptr::null(), ptr::from_ref),
                );
            }
        }

        /// Wakes the thread that sleeps on `word`.
        pub fn wake(&self, word: &AtomicU32) {
            // SAFETY: FUTEX_WAKE uses the address as a key and dereferences nothing.
            unsafe {
                libc::syscall(
                    libc::SYS_futex,
                    word.as_ptr(),
                    libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
                    1,
                );
            }
        }
    }
}

/// A futex made of a lock and a condition, for systems without one and for loom.
#[cfg(any(loom, not(target_os = "linux")))]
mod futex {
    use std::time::Duration;

    use super::atomic::{AtomicU32, Ordering};
    use super::{Condvar, Mutex};

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
            let guard = self.sleeping.lock();
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
            let _guard = self.sleeping.lock();
            self.woken.notify_all();
        }
    }
}
