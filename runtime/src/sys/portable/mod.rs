//! Twins of what only Linux has, made of the standard library.

mod futex;
mod names;
pub mod wiped;

use std::io::{self, IoSlice};

use socket2::{Domain, SockAddr, Socket, Type};

pub use self::futex::Futex;
pub use self::names::{Envelope, Peer};

/// A new socket, not inherited by other programs.
///
/// # Errors
///
/// Those of `socket(2)` and of the calls that set its options.
pub fn open(domain: Domain, kind: Type, is_nonblocking: bool) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, None)?;
    socket.set_nonblocking(is_nonblocking)?;
    Ok(socket)
}

/// What a ring would read. There is none.
pub struct Header(());

impl Header {
    /// Refers to nothing.
    #[must_use]
    pub fn new(_pieces: &mut [IoSlice<'static>]) -> Self {
        Self(())
    }

    /// Refers to nothing.
    pub fn address_to(&mut self, _name: &SockAddr) {}
}

/// What `futex.rs` is made of here. loom's models build the same file with loom's parts.
mod parts {
    pub(super) use std::sync::atomic::{AtomicU32, Ordering};
    pub(super) use std::sync::{Condvar, Mutex};
}

/// Why there is no io_uring.
pub const NO_URING: &str = "io_uring is not in this build: it needs Linux, and no \
                            `--cfg spanwire_portable`";
