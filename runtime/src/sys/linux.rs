//! What Linux has.

pub mod wiped;

use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// The kernel's futex: sleeps while a word holds a value; the word is passed to each call.
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
        // SAFETY: `word` and `limit` outlive the call, which only reads them; a null timeout
        // means none.
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
