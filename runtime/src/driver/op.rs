//! The operations: what each lends to the kernel, and what a driver has to do with them.

use std::io;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use bytes::Bytes;
use socket2::SockAddr;

use super::slots::{Key, Slots};
use super::socket::{Lease, Socket};
use crate::sync::doorbell::Unpark;

/// What a driver must do. The slots belong to the caller and are lent to each call; a driver
/// reports every end by [`Slots::complete`], exactly once an operation, and runs no foreign code.
///
/// A result is what the kernel would put into a completion: a count or zero, or a negative errno.
pub(super) trait Backend {
    /// Begins the operation `key`, which was just inserted. It may end before this returns.
    fn start(&mut self, slots: &mut Slots<Op>, key: Key);

    /// Makes the operation `key` end soon, if possible. It still ends by [`Slots::complete`].
    fn cancel(&mut self, slots: &mut Slots<Op>, key: Key);

    /// Forgets a descriptor that is about to be closed; only after [`Socket::set_source`].
    fn forget(&mut self, source: usize, fd: i32);

    /// Submits what was queued and reports what has ended, without waiting.
    ///
    /// # Errors
    /// If the driver does not work any more and never will; perhaps some time after that. Then
    /// nothing ends any more.
    fn turn(&mut self, slots: &mut Slots<Op>) -> io::Result<()>;

    /// As [`turn`](Self::turn), but waits until something has ended, an [`Unpark`] was used
    /// since the last park, or `timeout` has passed. May return earlier.
    ///
    /// # Errors
    /// As for [`turn`](Self::turn), at once.
    fn park(&mut self, slots: &mut Slots<Op>, timeout: Option<Duration>) -> io::Result<()>;

    /// What ends a park from any thread.
    fn unpark(&self) -> Box<dyn Unpark>;
}

/// An operation, with everything that the kernel may touch while it is in flight.
pub(crate) enum Op {
    /// Connects a stream.
    Connect {
        /// What is connected.
        socket: Lease,
        /// To where.
        addr: SockAddr,
        /// The poller has called `connect` and waits for its outcome.
        is_under_way: bool,
    },
    /// Sends from many buffers, perhaps not all.
    Send {
        /// Over which connection.
        socket: Lease,
        /// What `message` points into.
        bufs: Vec<Bytes>,
        /// What the kernel reads.
        message: Message,
    },
    /// Receives into the spare capacity of a buffer.
    Recv {
        /// Over which connection.
        socket: Lease,
        /// Never reallocated while in flight.
        buf: Vec<u8>,
    },
    /// Closes a descriptor.
    Close {
        /// Owned until the kernel has closed it.
        fd: Option<OwnedFd>,
    },
}

impl Op {
    /// A connect.
    pub(crate) fn connect(socket: Lease, addr: SockAddr) -> Self {
        Self::Connect { socket, addr, is_under_way: false }
    }

    /// A send of as many of `bufs` as one call takes.
    pub(crate) fn send(socket: Lease, bufs: Vec<Bytes>) -> Self {
        let message = Message::new(&bufs);
        Self::Send { socket, bufs, message }
    }

    /// A receive.
    pub(crate) fn recv(socket: Lease, buf: Vec<u8>) -> Self {
        Self::Recv { socket, buf }
    }

    /// A close.
    pub(crate) fn close(fd: OwnedFd) -> Self {
        Self::Close { fd: Some(fd) }
    }

    /// The buffers of a send.
    pub(crate) fn into_bufs(self) -> Vec<Bytes> {
        match self {
            Self::Send { bufs, .. } => bufs,
            _ => Vec::new(),
        }
    }

    /// The buffer of a receive that ended with `result`, lengthened by what has arrived.
    pub(crate) fn into_buf(self, result: &io::Result<usize>) -> Vec<u8> {
        match self {
            Self::Recv { mut buf, .. } => {
                commit(&mut buf, result);
                buf
            }
            _ => Vec::new(),
        }
    }

    /// The socket, of operations that have one.
    pub(super) fn socket(&self) -> Option<&Socket> {
        match self {
            Self::Connect { socket, .. }
            | Self::Send { socket, .. }
            | Self::Recv { socket, .. } => Some(socket),
            Self::Close { .. } => None,
        }
    }

    /// Whether it should end once nobody waits for it. A close that was cancelled would leave
    /// its descriptor open.
    pub(super) fn is_cancellable(&self) -> bool {
        !matches!(self, Self::Close { .. })
    }

    /// Its future was dropped, but the kernel still has it.
    pub(super) fn orphaned(&self) {
        match self {
            Self::Recv { socket, .. } => socket.receive_orphaned(),
            Self::Send { socket, .. } => socket.send_orphaned(),
            Self::Connect { .. } | Self::Close { .. } => {}
        }
    }

    /// It has ended and nobody will ask how. Call [`orphaned`](Self::orphaned) first.
    pub(super) fn dispose(self, result: i32) {
        let result = outcome(result);
        match self {
            // The stream goes on behind these bytes, so the next receive has to begin with them.
            Self::Recv { socket, mut buf } => {
                let start = buf.len();
                commit(&mut buf, &result);
                socket.orphan_ended(&buf[start..], errno(&result));
            }
            close @ Self::Close { .. } => close.settle_close(&result),
            Self::Connect { .. } | Self::Send { .. } => {}
        }
    }

    /// Lets go of a descriptor that the kernel has closed; one that it has not is closed now.
    pub(crate) fn settle_close(self, result: &io::Result<usize>) {
        let Self::Close { fd: Some(fd) } = self else { return };
        // After any other error the descriptor is gone, as with close(2) on Linux.
        if !matches!(errno(result), Some(libc::ECANCELED | libc::ENOBUFS)) {
            let _ = fd.into_raw_fd();
        }
    }
}

/// A result in Rust's terms.
pub(crate) fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

fn errno(result: &io::Result<usize>) -> Option<i32> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// Takes into `buf` what a receive that ended with `result` has written behind its end.
fn commit(buf: &mut Vec<u8>, result: &io::Result<usize>) {
    let received = *result.as_ref().unwrap_or(&0);
    assert!(received <= spare(buf), "the kernel received more than it was lent");
    // SAFETY: a receive that ends with `received` has written as many bytes from the end of
    // `buf` on: `spare_ptr` and `spare` are what it was given, and `buf` was not touched since.
    unsafe { buf.set_len(buf.len() + received) };
}

/// What `sendmsg` reads: pointers into buffers that the same operation owns.
pub(crate) struct Message {
    /// What `header` points to; not touched after construction.
    _vectors: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Message {
    fn new(bufs: &[Bytes]) -> Self {
        let mut vectors = vectors(bufs);
        // SAFETY: msghdr is a C struct of integers and pointers, for which zero is valid.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = vectors.len() as _;
        Self { _vectors: vectors, header }
    }

    /// For the kernel; valid while the operation is not moved out of its box.
    pub(super) fn as_ptr(&self) -> *const libc::msghdr {
        ptr::from_ref(&self.header)
    }
}

/// What one call sends of `bufs`: nothing empty, at most [`IOVECS_MAX`] pieces and
/// [`SEND_BYTES_MAX`] bytes.
fn vectors(bufs: &[Bytes]) -> Vec<libc::iovec> {
    let mut room = SEND_BYTES_MAX;
    let filled = bufs.iter().filter(|buf| !buf.is_empty()).take(IOVECS_MAX);
    filled
        .map_while(|buf| {
            let length = buf.len().min(room);
            room -= length;
            // The kernel only reads what a send points to.
            let base = buf.as_ptr().cast_mut().cast();
            (length > 0).then_some(libc::iovec { iov_base: base, iov_len: length })
        })
        .collect()
}

/// How much a receive into `buf` may write.
pub(super) fn spare(buf: &Vec<u8>) -> usize {
    (buf.capacity() - buf.len()).min(RECV_BYTES_MAX)
}

/// Where a receive into `buf` writes.
pub(super) fn spare_ptr(buf: &mut Vec<u8>) -> *mut u8 {
    buf.spare_capacity_mut().as_mut_ptr().cast()
}

/// The descriptor of an operation that has one; -1 otherwise, which the kernel refuses.
pub(super) fn raw_fd(op: &Op) -> i32 {
    match op {
        Op::Close { fd } => fd.as_ref().map_or(-1, AsRawFd::as_raw_fd),
        _ => op.socket().map_or(-1, AsRawFd::as_raw_fd),
    }
}

/// UIO_MAXIOV of Linux: one more is EMSGSIZE.
pub(super) const IOVECS_MAX: usize = 1024;
/// Well below u32::MAX, where lengths in ring entries end, and i32::MAX, where results end.
pub(super) const SEND_BYTES_MAX: usize = 1 << 30;
/// As [`SEND_BYTES_MAX`].
pub(super) const RECV_BYTES_MAX: usize = 1 << 30;
/// The longest park; longer ones return early. An epoll timeout is an i32 of milliseconds.
pub(super) const PARK_MAX: Duration = Duration::from_secs(1 << 20);
