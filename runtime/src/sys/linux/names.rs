//! Where a ring writes addresses.

use std::io;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use socket2::{SockAddr, SockAddrStorage, Socket};

/// Where a ring writes who has connected.
pub struct Peer {
    name: SockAddrStorage,
    length: libc::socklen_t,
}

impl Default for Peer {
    /// Room for any address.
    fn default() -> Self {
        let name = SockAddrStorage::zeroed();
        Self { length: name.size_of(), name }
    }
}

impl Peer {
    /// For the kernel; valid while this is not moved.
    pub fn as_ptrs(&mut self) -> (*mut libc::sockaddr, *mut libc::socklen_t) {
        (ptr::from_mut(&mut self.name).cast(), &mut self.length)
    }

    /// The connection, and the address of its other end.
    ///
    /// # Errors
    ///
    /// If `descriptor` can be none.
    ///
    /// # Safety
    ///
    /// - A ring's accept that was lent this has ended with `descriptor`.
    /// - This is called once.
    pub unsafe fn open(&mut self, descriptor: usize) -> io::Result<(Socket, SockAddr)> {
        let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
        // SAFETY: by the caller's promise the accept has just opened it, and nobody else owns it.
        let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
        // SAFETY: by the caller's promise the kernel has written an address of that length.
        Ok((socket.into(), unsafe { address(&mut self.name, self.length) }))
    }
}

/// What `recvmsg` reads and writes.
pub struct Envelope {
    header: libc::msghdr,
    room: libc::iovec,
    name: SockAddrStorage,
}

impl Default for Envelope {
    /// Refers to nothing yet.
    fn default() -> Self {
        // SAFETY: msghdr is a C struct of integers and pointers, for which zero is valid.
        let header = unsafe { mem::zeroed() };
        let room = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Self { header, room, name: SockAddrStorage::zeroed() }
    }
}

impl Envelope {
    /// For the kernel, which will write at most `length` bytes from `start` on; valid while
    /// this is not moved.
    pub fn lend(&mut self, start: *mut u8, length: usize) -> *mut libc::msghdr {
        self.room = libc::iovec { iov_base: start.cast(), iov_len: length };
        self.header.msg_iov = &raw mut self.room;
        self.header.msg_iovlen = 1;
        self.header.msg_namelen = self.name.size_of();
        self.header.msg_name = (&raw mut self.name).cast();
        &raw mut self.header
    }

    /// Who has sent the datagram, and whether it was longer than the room.
    ///
    /// # Errors
    ///
    /// Never.
    ///
    /// # Safety
    ///
    /// - A receive that was lent this has ended well.
    pub unsafe fn open(&mut self) -> io::Result<(SockAddr, bool)> {
        let is_truncated = self.header.msg_flags & libc::MSG_TRUNC != 0;
        // SAFETY: by the caller's promise the kernel has written an address of that length.
        let from = unsafe { address(&mut self.name, self.header.msg_namelen) };
        Ok((from, is_truncated))
    }
}

/// # Safety
///
/// - `name` holds an address of `length` bytes, as far as there is room for it.
unsafe fn address(name: &mut SockAddrStorage, length: libc::socklen_t) -> SockAddr {
    let name = mem::replace(name, SockAddrStorage::zeroed());
    let length = length.min(name.size_of());
    // SAFETY: by the caller's promise; the rest is zero.
    unsafe { SockAddr::new(name, length) }
}
