//! The operations: what each lends to the kernel, and what a driver has to do with them.
//!
//! One file each: the operation's memory, how it is made, what becomes of it when it has ended,
//! and what is left to do if nobody waits for it any more. How a driver performs it stands in
//! the driver. A new operation is a file here, a variant of [`Op`], and an arm in each driver.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use socket2::SockAddr;

pub(super) use self::accept::Accept;
pub(super) use self::close::Close;
pub(super) use self::connect::Connect;
pub(crate) use self::exchange::Exchanged;
pub(super) use self::exchange::{Exchange, Sent};
pub(super) use self::file::File;
#[cfg(test)]
pub(super) use self::message::Message;
pub(crate) use self::message::fits_one_call;
pub(super) use self::message::{spare, spare_ptr};
pub(super) use self::recv::Recv;
pub(super) use self::recv_from::RecvFrom;
pub(super) use self::send::Send;
use super::slots::{Key, Lent, Slots};
use super::socket::{Connection, Datagram, Lease, Socket};
use crate::sync::doorbell::Unpark;
use crate::sys::socket::{NO_FD, OwnedFd, RawFd};

mod accept;
mod close;
mod connect;
mod exchange;
pub(crate) mod file;
mod message;
mod recv;
mod recv_from;
mod send;

/// What a driver must do. The slots belong to the caller and are lent to each call; a driver
/// reports every end by [`Slots::complete`], exactly once an operation, and runs no foreign code.
///
/// A result is what the kernel would put into a completion: a count or zero, or a negative errno.
pub(super) trait Backend {
    /// Begins the operation `key`, which was just inserted. It may end before this returns.
    fn start(&mut self, slots: &mut Slots<Op>, key: Key);

    /// Makes the operation `key` end soon, if possible. It still ends by [`Slots::complete`].
    fn cancel(&mut self, slots: &mut Slots<Op>, key: Key);

    /// Forgets a socket that is about to be closed; only after [`Socket::set_source`].
    fn forget(&mut self, source: usize);

    /// Whether it takes [`Op::file`], for which nobody can wait by waiting for readiness.
    fn takes_files(&self) -> bool {
        false
    }

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
    Connect(Connect),
    /// Accepts a connection.
    Accept(Accept),
    /// Sends from many buffers, perhaps not all.
    Send(Send),
    /// Receives into the spare capacity of a buffer.
    Recv(Recv),
    /// Sends everything, if the socket takes it at once, and then receives.
    Exchange(Exchange),
    /// Receives a datagram, and learns from whom.
    RecvFrom(RecvFrom),
    /// Closes a descriptor.
    Close(Close),
    /// Works on a file.
    File(File),
}

/// What all operations have in common.
pub(super) trait Operation {
    /// The socket that it leases, if it has one.
    fn socket(&self) -> Option<&Socket>;

    /// The descriptor it works on; [`NO_FD`] if there is none, which the kernel refuses.
    fn raw_fd(&self) -> RawFd {
        self.socket().map_or(NO_FD, Socket::raw_fd)
    }

    /// Whether it should end once nobody waits for it.
    fn is_cancellable(&self) -> bool {
        true
    }

    /// Whether it may be started again after it has ended with an interruption that nobody had
    /// asked for: that must mean that nothing was done, or else doing it twice must come to the
    /// same as doing it once. A connect may go on behind an interruption, a send may have sent,
    /// and a descriptor whose close was interrupted may be somebody else's by now: their callers
    /// are told instead.
    fn is_repeatable(&self) -> bool {
        false
    }

    /// Its future was dropped, but the kernel still has it.
    fn orphaned(&self) {}

    /// It has ended with `result` and nobody will ask how. Comes after
    /// [`orphaned`](Self::orphaned), and once.
    fn dispose(&mut self, _result: i32) {}
}

impl Op {
    /// A connect.
    pub(crate) fn connect(socket: Lease, addr: SockAddr) -> Self {
        Self::Connect(Connect::new(socket, addr))
    }

    /// An accept.
    pub(crate) fn accept(socket: Lease) -> Self {
        Self::Accept(Accept::new(socket))
    }

    /// A send of as many of `bufs` as one call takes.
    pub(crate) fn send(socket: Lease, bufs: Vec<Bytes>) -> Self {
        Self::Send(Send::new(socket, bufs))
    }

    /// A send of one datagram, to whom the socket is connected to if not to `addr`.
    pub(crate) fn send_to(socket: Lease, datagram: Bytes, addr: Option<SockAddr>) -> Self {
        Self::Send(Send::datagram(socket, datagram, addr))
    }

    /// A receive.
    pub(crate) fn recv(socket: Lease, buf: Vec<u8>) -> Self {
        Self::Recv(Recv::new(socket, buf))
    }

    /// A send of all of `bufs`, which [`fits_one_call`], and then a receive.
    pub(crate) fn exchange(socket: Lease, bufs: Vec<Bytes>, buf: Vec<u8>) -> Self {
        Self::Exchange(Exchange::new(socket, bufs, buf))
    }

    /// A receive of one datagram.
    pub(crate) fn recv_from(socket: Lease, buf: Vec<u8>) -> Self {
        Self::RecvFrom(RecvFrom::new(socket, buf))
    }

    /// A close.
    pub(crate) fn close(fd: OwnedFd) -> Self {
        Self::Close(Close::new(fd))
    }

    /// A call that works on a file, and that was checked.
    pub(crate) fn file(call: file::Call) -> Self {
        Self::File(File::new(call))
    }

    /// A call that has ended with `result`, and what has become of it.
    pub(crate) fn into_call(self, result: &io::Result<usize>) -> Option<file::Call> {
        match self {
            Self::File(file) => Some(file.into_call(result)),
            _ => None,
        }
    }

    /// The buffers of a send.
    pub(crate) fn into_bufs(self) -> Vec<Bytes> {
        match self {
            Self::Send(send) => send.into_bufs(),
            _ => Vec::new(),
        }
    }

    /// The buffer of a receive that ended with `result`, lengthened by what has arrived.
    pub(crate) fn into_buf(self, result: &io::Result<usize>) -> Vec<u8> {
        match self {
            Self::Recv(recv) => recv.into_buf(result),
            _ => Vec::new(),
        }
    }

    /// What came of an exchange that ended with `result`, and its buffers.
    pub(crate) fn into_exchanged(
        self,
        result: io::Result<usize>,
    ) -> (Exchanged, Vec<Bytes>, Vec<u8>) {
        match self {
            Self::Exchange(exchange) => exchange.into_parts(result),
            _ => (Exchanged::Received(result), Vec::new(), Vec::new()),
        }
    }

    /// What was accepted by an accept that ended with `result`.
    pub(crate) fn into_connection(self, result: io::Result<usize>) -> io::Result<Connection> {
        match self {
            Self::Accept(mut accept) => accept.connection(result),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// What was received by a receive of a datagram that ended with `result`, and its buffer,
    /// lengthened by what has arrived.
    pub(crate) fn into_datagram(
        self,
        result: io::Result<usize>,
    ) -> (io::Result<Datagram>, Vec<u8>) {
        match self {
            Self::RecvFrom(recv) => recv.into_datagram(result),
            _ => (Err(io::ErrorKind::InvalidInput.into()), Vec::new()),
        }
    }

    /// Lets go of a descriptor that a close has closed; one that it has not is closed now.
    pub(crate) fn settle_close(self, result: &io::Result<usize>) {
        if let Self::Close(mut close) = self {
            close.settle(result);
        }
    }

    /// See [`Operation::socket`].
    pub(super) fn socket(&self) -> Option<&Socket> {
        self.operation().socket()
    }

    /// See [`Operation::raw_fd`].
    pub(super) fn raw_fd(&self) -> RawFd {
        self.operation().raw_fd()
    }

    /// See [`Operation::is_cancellable`].
    pub(super) fn is_cancellable(&self) -> bool {
        self.operation().is_cancellable()
    }

    /// See [`Operation::orphaned`].
    pub(super) fn orphaned(&self) {
        self.operation().orphaned();
    }

    /// See [`Operation::dispose`].
    pub(super) fn dispose(mut self, result: i32) {
        match &mut self {
            Self::Connect(op) => op.dispose(result),
            Self::Accept(op) => op.dispose(result),
            Self::Send(op) => op.dispose(result),
            Self::Recv(op) => op.dispose(result),
            Self::Exchange(op) => op.dispose(result),
            Self::RecvFrom(op) => op.dispose(result),
            Self::Close(op) => op.dispose(result),
            Self::File(op) => op.dispose(result),
        }
    }

    fn operation(&self) -> &dyn Operation {
        match self {
            Self::Connect(op) => op,
            Self::Accept(op) => op,
            Self::Send(op) => op,
            Self::Recv(op) => op,
            Self::Exchange(op) => op,
            Self::RecvFrom(op) => op,
            Self::Close(op) => op,
            Self::File(op) => op,
        }
    }
}

impl Lent for Op {
    /// See [`Operation::is_repeatable`].
    fn is_repeatable(&self) -> bool {
        self.operation().is_repeatable()
    }
}

/// A result in Rust's terms.
pub(crate) fn outcome(result: i32) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

fn errno_of(result: &io::Result<usize>) -> Option<i32> {
    result.as_ref().err().and_then(io::Error::raw_os_error)
}

/// The longest park; longer ones return early. An epoll timeout is an i32 of milliseconds.
pub(super) const PARK_MAX: Duration = Duration::from_secs(1 << 20);
