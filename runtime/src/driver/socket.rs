//! A socket that operations share: its descriptor stays open while any of them is in flight.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::ops::Deref;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use socket2::SockAddr;

use super::Shared;
use super::slots::is_interruption;
use crate::sync::unwind;
use crate::sys::socket::{self, OwnedFd, RawFd};

/// A socket and what its operations have to agree on.
pub(crate) struct Socket {
    /// `None` only while `into_fd` consumes the socket.
    inner: Option<socket2::Socket>,
    driver: Weak<Shared>,
    /// Where the poller keeps the operations that wait for this socket. `None` until the first
    /// of them had to wait, and always with io_uring.
    source: Cell<Option<usize>>,
    /// How many operations hold the socket.
    leases: Cell<usize>,
    /// How many receives were dropped while the kernel had them. While there are any, nobody
    /// may start another: they may yet take bytes from the front of the stream.
    orphaned_receives: Cell<usize>,
    /// A send was dropped half-way, so what the peer got may end anywhere.
    is_torn: Cell<bool>,
    /// The peer may send descriptors, as over Unix sockets. Whatever comes with some is received
    /// alone, so a receive may be short though more lies behind.
    brings_descriptors: Cell<bool>,
    /// What orphaned operations took from the socket.
    unclaimed: RefCell<Unclaimed>,
    /// Who waits for `leases` or `orphaned_receives` to fall.
    waiters: RefCell<Vec<Waker>>,
}

/// Each orphan leaves at most one thing, and whoever comes next claims before it starts another
/// operation; so there are never more than operations that were in flight at the same time.
#[derive(Default)]
struct Unclaimed {
    /// Of a stream: these come first,
    bytes: Vec<u8>,
    /// then this errno.
    error: Option<i32>,
    connections: VecDeque<Connection>,
    datagrams: VecDeque<(Vec<u8>, Datagram)>,
}

/// A connection that was accepted.
pub(crate) struct Connection {
    pub(crate) socket: socket2::Socket,
    /// The other end's address.
    pub(crate) addr: SockAddr,
}

/// What is known of a datagram besides its contents.
pub(crate) struct Datagram {
    /// How much of it was received.
    pub(crate) bytes: usize,
    /// The sender.
    pub(crate) from: SockAddr,
    /// It was longer than the buffer; the rest is lost.
    pub(crate) is_truncated: bool,
}

impl Socket {
    pub(super) fn new(inner: socket2::Socket, driver: Weak<Shared>) -> Self {
        Self {
            inner: Some(inner),
            driver,
            source: Cell::new(None),
            leases: Cell::new(0),
            orphaned_receives: Cell::new(0),
            is_torn: Cell::new(false),
            brings_descriptors: Cell::new(false),
            unclaimed: RefCell::default(),
            waiters: RefCell::default(),
        }
    }

    /// The driver that the socket belongs to.
    ///
    /// # Errors
    /// If that driver is gone.
    pub(crate) fn driver(&self) -> io::Result<Rc<Shared>> {
        self.driver.upgrade().ok_or_else(super::shut_down)
    }

    /// Keeps the socket open for one operation.
    pub(crate) fn lease(self: &Rc<Self>) -> Lease {
        self.leases.set(self.leases.get() + 1);
        Lease(Rc::clone(self))
    }

    /// The poller's key.
    pub(super) fn source(&self) -> Option<usize> {
        self.source.get()
    }

    /// The poller has registered the descriptor.
    pub(super) fn set_source(&self, source: usize) {
        self.source.set(Some(source));
    }

    /// Whether a receive may be short though more lies behind.
    pub(super) fn brings_descriptors(&self) -> bool {
        self.brings_descriptors.get()
    }

    /// The peer may send descriptors. Nobody wants them: the kernel closes them.
    pub(crate) fn expect_descriptors(&self) {
        self.brings_descriptors.set(true);
    }

    /// A send was dropped while the kernel had it.
    pub(super) fn send_orphaned(&self) {
        self.is_torn.set(true);
    }

    /// A receive was dropped while the kernel had it.
    pub(super) fn receive_orphaned(&self) {
        self.orphaned_receives.set(self.orphaned_receives.get() + 1);
    }

    /// An orphaned receive has ended: what it took is kept for the next receive.
    pub(super) fn orphan_ended(&self, received: &[u8], error: Option<i32>) {
        self.orphaned_receives.set(self.orphaned_receives.get() - 1);
        {
            let mut unclaimed = self.unclaimed.borrow_mut();
            unclaimed.bytes.extend_from_slice(received);
            let news = error.filter(|&errno| !is_interruption(errno));
            unclaimed.error = unclaimed.error.or(news);
        }
        self.wake_waiters();
    }

    /// Waits until no orphaned receive can take bytes any more.
    pub(crate) async fn receives_settled(&self) {
        poll_fn(|cx| self.wait_while(cx, self.orphaned_receives.get() > 0)).await;
    }

    /// Waits until no operation holds the socket.
    pub(crate) async fn released(&self) {
        poll_fn(|cx| self.wait_while(cx, self.leases.get() > 0)).await;
    }

    /// Appends to `buf`, within its capacity, what orphaned receives took.
    pub(crate) fn claim(&self, buf: &mut Vec<u8>) -> Option<io::Result<usize>> {
        let mut unclaimed = self.unclaimed.borrow_mut();
        if unclaimed.bytes.is_empty() {
            return unclaimed.error.take().map(|errno| Err(io::Error::from_raw_os_error(errno)));
        }
        let count = unclaimed.bytes.len().min(buf.capacity() - buf.len());
        buf.extend(unclaimed.bytes.drain(..count));
        Some(Ok(count))
    }

    /// Keeps `bytes` for the next receive, before all that is kept already.
    pub(crate) fn give_back(&self, bytes: &[u8]) {
        let kept = &mut self.unclaimed.borrow_mut().bytes;
        kept.splice(..0, bytes.iter().copied());
    }

    /// An orphaned accept has ended with a connection, which is kept for the next accept.
    pub(super) fn keep_connection(&self, connection: Connection) {
        self.unclaimed.borrow_mut().connections.push_back(connection);
    }

    /// A connection that an orphaned accept took.
    pub(crate) fn claim_connection(&self) -> Option<Connection> {
        self.unclaimed.borrow_mut().connections.pop_front()
    }

    /// An orphaned receive has ended with a datagram, which is kept for the next receive.
    pub(super) fn keep_datagram(&self, contents: Vec<u8>, datagram: Datagram) {
        self.unclaimed.borrow_mut().datagrams.push_back((contents, datagram));
    }

    /// Appends to `buf`, within its capacity, a datagram that an orphaned receive took.
    pub(crate) fn claim_datagram(&self, buf: &mut Vec<u8>) -> Option<Datagram> {
        let (contents, mut datagram) = self.unclaimed.borrow_mut().datagrams.pop_front()?;
        let count = contents.len().min(buf.capacity() - buf.len());
        buf.extend_from_slice(&contents[..count]);
        datagram.is_truncated |= count < contents.len();
        datagram.bytes = count;
        Some(datagram)
    }

    /// Whether there is nothing for [`claim`](Self::claim).
    pub(crate) fn is_claimless(&self) -> bool {
        let unclaimed = self.unclaimed.borrow();
        unclaimed.bytes.is_empty() && unclaimed.error.is_none()
    }

    /// Whether nothing was dropped in a way that left bytes, an error, a receive or half a send
    /// behind.
    pub(crate) fn is_untouched(&self) -> bool {
        self.is_claimless() && self.orphaned_receives.get() == 0 && !self.is_torn.get()
    }

    /// What the system calls it.
    pub(crate) fn raw_fd(&self) -> RawFd {
        socket::raw(&**self)
    }

    /// The descriptor alone, no longer known to the poller.
    pub(crate) fn into_fd(mut self) -> Option<OwnedFd> {
        self.deregister();
        self.inner.take().map(OwnedFd::from)
    }

    fn wait_while(&self, cx: &mut Context<'_>, condition: bool) -> Poll<()> {
        if !condition {
            return Poll::Ready(());
        }
        if !self.is_waiter(cx.waker()) {
            // Cloning a waker is foreign code, and not for inside the borrow.
            let waker = cx.waker().clone();
            self.waiters.borrow_mut().push(waker);
        }
        Poll::Pending
    }

    /// Whether `waker` is among the waiters: a task that polls often is there once.
    fn is_waiter(&self, waker: &Waker) -> bool {
        self.waiters.borrow().iter().any(|waiter| waiter.will_wake(waker))
    }

    fn wake_waiters(&self) {
        for waiter in self.waiters.take() {
            unwind::quietly(|| waiter.wake());
        }
    }

    /// Must come before the descriptor is closed: the poller would otherwise keep its queues.
    fn deregister(&mut self) {
        if let (Some(source), Some(driver)) = (self.source.take(), self.driver.upgrade()) {
            driver.forget(source);
        }
    }
}

impl Deref for Socket {
    type Target = socket2::Socket;

    fn deref(&self) -> &socket2::Socket {
        self.inner.as_ref().expect("only `into_fd` takes it, and consumes the socket")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.inner.is_some() {
            self.deregister();
        }
    }
}

/// An operation's hold on a socket.
pub(crate) struct Lease(Rc<Socket>);

impl Deref for Lease {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.leases.set(self.0.leases.get() - 1);
        self.0.wake_waiters();
    }
}
