//! What all connected streams have in common.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::rc::Rc;

use bytes::Bytes;
use socket2::SockAddr;

use crate::buf::advance;
use crate::driver::Shared;
use crate::driver::op::Op;
use crate::driver::socket::Socket;
use crate::sys::socket::PEEK_FLAGS;

/// A connected stream of bytes: what [`TcpStream`](super::TcpStream) and
/// [`UnixStream`](super::UnixStream) have in common, and turn into. It belongs to the worker
/// that opened it (`!Send`).
///
/// Dropping it closes the connection once no operation is in flight any more. One send and one
/// receive may be in flight at the same time; the order of two sends, or of two receives, that
/// are in flight together is unspecified.
///
/// # Examples
///
/// What works on any stream takes this one:
///
/// ```
/// use spanwire_runtime::{Builder, net};
///
/// async fn greet(stream: net::Stream) -> std::io::Result<()> {
///     stream.send_all(vec!["hello".into()]).await?;
///     stream.close().await
/// }
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let runtime = Builder::new().build()?;
/// let greeted = runtime.spawn_pinned(move || async move {
///     greet(net::TcpStream::connect(addr).await?.into()).await
/// });
/// assert_eq!(std::io::read_to_string(listener.accept()?.0)?, "hello");
/// runtime.block_on(greeted)??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Stream {
    pub(super) socket: Rc<Socket>,
}

impl Stream {
    /// Connects to an address of any family.
    pub(super) async fn connect(addr: SockAddr) -> io::Result<Self> {
        let driver = Shared::current()?;
        let socket = driver.socket(&addr)?;
        let (_, connected) = driver.start(Op::connect(socket.lease(), addr)).await;
        connected.map(|_| Self { socket })
    }

    /// Takes over a connected socket.
    pub(super) fn adopt(driver: &Rc<Shared>, socket: socket2::Socket) -> Self {
        Self { socket: driver.adopt(socket) }
    }

    /// One vectored send; may be short. Gives the buffers back, untouched, with the number of
    /// bytes sent. At most 1024 buffers and 1 GiB are sent by one call.
    ///
    /// If the future is dropped, nobody knows how much was sent: close the stream then.
    ///
    /// # Errors
    /// Those of `sendmsg(2)`, for example [`io::ErrorKind::BrokenPipe`] if the peer has closed.
    /// No signal is raised.
    pub async fn send(&self, bufs: Vec<Bytes>) -> (io::Result<usize>, Vec<Bytes>) {
        if bufs.iter().all(Bytes::is_empty) {
            return (Ok(0), bufs);
        }
        let driver = match self.socket.driver() {
            Ok(driver) => driver,
            Err(error) => return (Err(error), bufs),
        };
        let (op, sent) = driver.start(Op::send(self.socket.lease(), bufs)).await;
        (sent, op.into_bufs())
    }

    /// Sends everything, without copying.
    ///
    /// # Errors
    /// As [`send`](Self::send); an unknown part of `bufs` was sent then.
    pub async fn send_all(&self, mut bufs: Vec<Bytes>) -> io::Result<()> {
        bufs.retain(|buf| !buf.is_empty());
        while !bufs.is_empty() {
            let (sent, back) = self.send(bufs).await;
            bufs = back;
            match sent? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => advance(&mut bufs, count),
            }
        }
        Ok(())
    }

    /// Receives into the spare capacity of `buf` (appends); 0 is the end of the stream.
    ///
    /// If the future is dropped, nothing is lost: the next receive begins with what this one
    /// may have taken.
    ///
    /// # Errors
    /// Those of `recv(2)`, for example [`io::ErrorKind::ConnectionReset`]; or
    /// [`io::ErrorKind::InvalidInput`] if `buf` has no spare capacity.
    pub async fn recv(&self, mut buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        if let Err(error) = check_room(&buf) {
            return (Err(error), buf);
        }
        self.socket.receives_settled().await;
        if let Some(claimed) = self.socket.claim(&mut buf) {
            return (claimed, buf);
        }
        let driver = match self.socket.driver() {
            Ok(driver) => driver,
            Err(error) => return (Err(error), buf),
        };
        let (op, received) = driver.start(Op::recv(self.socket.lease(), buf)).await;
        let buf = op.into_buf(&received);
        (received, buf)
    }

    /// Gives back what was received last and belongs to whoever receives next, such as the bytes
    /// behind the answer of a proxy: the next receive begins with them.
    ///
    /// Until then the stream is [stale](Self::is_stale), as if the peer had just sent them.
    pub fn unread(&self, bytes: &[u8]) {
        self.socket.give_back(bytes);
    }

    /// Closes one direction or both, while the stream stays open: after [`Shutdown::Write`] the
    /// peer sees the end of the stream behind everything that was sent, and may still answer.
    ///
    /// This is the system call itself, which never waits. A send that is still in flight is not
    /// waited for and fails, so wait for it first.
    ///
    /// # Errors
    /// Those of `shutdown(2)`, for example [`io::ErrorKind::NotConnected`] after a reset.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.socket.shutdown(how)
    }

    /// True if the peer has closed, or sent something nobody asked for (a non-blocking peek), or
    /// if a send was dropped half-way or a receive left something behind: an idle connection that
    /// is stale must not be used for another request.
    pub fn is_stale(&self) -> bool {
        let peeked = self.socket.recv_with_flags(&mut [MaybeUninit::uninit()], PEEK_FLAGS);
        let is_quiet = peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        !is_quiet || !self.socket.is_untouched()
    }

    /// Waits until no operation uses the socket any more, then closes it.
    ///
    /// # Errors
    /// Those of `close(2)`; or if the worker has shut down, in which case the socket is closed
    /// nevertheless.
    pub async fn close(self) -> io::Result<()> {
        close(self.socket).await
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("fd", &self.socket.raw_fd()).finish_non_exhaustive()
    }
}

/// Waits until no operation uses `socket`, then closes it.
pub(super) async fn close(socket: Rc<Socket>) -> io::Result<()> {
    socket.released().await;
    let driver = socket.driver()?;
    let Some(fd) = Rc::into_inner(socket).and_then(Socket::into_fd) else {
        return Ok(());
    };
    let (op, closed) = driver.start(Op::close(fd)).await;
    op.settle_close(&closed);
    closed.map(drop)
}

/// Whether something can be received into `buf`.
pub(super) fn check_room(buf: &Vec<u8>) -> io::Result<()> {
    if buf.len() < buf.capacity() {
        return Ok(());
    }
    let why = "the buffer is full: reserve room before receiving";
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}
