//! What Linux has.

mod names;
pub mod wiped;

use std::io::{self, IoSlice};
use std::mem;
use std::ptr;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

pub use self::names::{Envelope, Peer};

/// A new socket, not inherited by other programs.
///
/// # Errors
///
/// Those of `socket(2)`.
pub fn open(domain: Domain, kind: Type, is_nonblocking: bool) -> io::Result<Socket> {
    let kind = if is_nonblocking { kind.nonblocking() } else { kind };
    Socket::new(domain, kind, None)
}

/// What `sendmsg` reads: a pointer to pieces.
pub struct Header(libc::msghdr);

impl Header {
    /// Refers to `pieces`, which have to stay where they are while it is in use.
    #[must_use]
    pub fn new(pieces: &mut [IoSlice<'static>]) -> Self {
        // SAFETY: msghdr is a C struct of integers and pointers, for which zero is valid.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        // The standard library promises that on unix an `IoSlice` is an iovec.
        header.msg_iov = pieces.as_mut_ptr().cast();
        header.msg_iovlen = pieces.len() as _;
        Self(header)
    }

    /// Refers to `name` too, which has to stay where it is while this is in use.
    pub fn address_to(&mut self, name: &SockAddr) {
        // The kernel only reads what a send points to.
        self.0.msg_name = name.as_ptr().cast_mut().cast();
        self.0.msg_namelen = name.len();
    }

    /// For the kernel; valid while this is not moved.
    #[must_use]
    pub fn as_ptr(&self) -> *const libc::msghdr {
        ptr::from_ref(&self.0)
    }
}

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
