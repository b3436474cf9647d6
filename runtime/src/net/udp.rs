//! UDP.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use socket2::SockAddr;

use super::stream::{self, check_room};
use super::tcp::internet;
use crate::driver::Shared;
use crate::driver::op::Op;
use crate::driver::socket::{self, Socket};

/// A UDP socket. It belongs to the worker that opened it (`!Send`).
///
/// Any number of sends and receives may be in flight; their order is unspecified, as UDP's is.
///
/// ```
/// use spanwire_runtime::Builder;
/// use spanwire_runtime::net::UdpSocket;
///
/// let runtime = Builder::new().build()?;
/// let task = runtime.spawn_pinned(|| async {
///     let server = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
///     let client = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
///     client.connect(server.local_addr()?)?;
///     client.send("ping".into()).await?;
///     let (received, buf) = server.recv(Vec::with_capacity(1500)).await;
///     let received = received?;
///     assert_eq!((&buf[..], received.is_truncated), (&b"ping"[..], false));
///     server.send_to("pong".into(), received.from).await
/// });
/// assert_eq!(runtime.block_on(task)??, 4);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct UdpSocket {
    socket: Rc<Socket>,
}

impl UdpSocket {
    /// A socket at `addr`. Port 0 stands for a free one, see [`local_addr`](Self::local_addr).
    ///
    /// # Errors
    /// Those of `bind(2)`, for example [`io::ErrorKind::AddrInUse`]; or if this thread is no
    /// worker.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        let addr = SockAddr::from(addr);
        let socket = Shared::current()?.datagram_socket(&addr)?;
        socket.bind(&addr)?;
        Ok(Self { socket })
    }

    /// Sends to and receives from `addr` only, from now on. Nothing is sent, so this does not
    /// wait, and does not fail if nobody is there.
    ///
    /// # Errors
    /// Those of `connect(2)`, for example that there is no route.
    pub fn connect(&self, addr: SocketAddr) -> io::Result<()> {
        self.socket.connect(&addr.into())
    }

    /// Sends one datagram to where the socket is connected to. Returns its length.
    ///
    /// # Errors
    /// Those of `sendmsg(2)`: if the socket is not connected; if the datagram is too large
    /// (`EMSGSIZE`; 65507 bytes over IPv4); or [`io::ErrorKind::ConnectionRefused`] if nobody
    /// has received an earlier one.
    pub async fn send(&self, datagram: Bytes) -> io::Result<usize> {
        let driver = self.socket.driver()?;
        driver.start(Op::send_to(self.socket.lease(), datagram, None)).await.1
    }

    /// Sends one datagram to `addr`. Returns its length.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_to(&self, datagram: Bytes, addr: SocketAddr) -> io::Result<usize> {
        let driver = self.socket.driver()?;
        driver.start(Op::send_to(self.socket.lease(), datagram, Some(addr.into()))).await.1
    }

    /// Receives one datagram into the spare capacity of `buf` (appends), and says from whom and
    /// whether it was too long for that.
    ///
    /// If the future is dropped, nothing is lost but by UDP itself: the next receive begins
    /// with what this one may have taken.
    ///
    /// # Errors
    /// Those of `recvmsg(2)`, for example [`io::ErrorKind::ConnectionRefused`] if nobody has
    /// received what was sent before; or [`io::ErrorKind::InvalidInput`] if `buf` has no spare
    /// capacity.
    #[doc(alias = "recv_from")]
    pub async fn recv(&self, mut buf: Vec<u8>) -> (io::Result<Received>, Vec<u8>) {
        if let Err(error) = check_room(&buf) {
            return (Err(error), buf);
        }
        let driver = match self.socket.driver() {
            Ok(driver) => driver,
            Err(error) => return (Err(error), buf),
        };
        self.socket.receives_settled().await;
        if let Some(left) = self.socket.claim_datagram(&mut buf) {
            return (Received::new(&left), buf);
        }
        let (op, received) = driver.start(Op::recv_from(self.socket.lease(), buf)).await;
        let (datagram, buf) = op.into_datagram(received);
        (datagram.and_then(|datagram| Received::new(&datagram)), buf)
    }

    /// This end's address.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(&self.socket.local_addr()?)
    }

    /// Where it is connected to.
    ///
    /// # Errors
    /// Those of `getpeername(2)`: [`io::ErrorKind::NotConnected`] if it is not.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet(&self.socket.peer_addr()?)
    }

    /// Waits until no operation uses the socket any more, then closes it.
    ///
    /// # Errors
    /// Those of `close(2)`; or if the worker has shut down, in which case the socket is closed
    /// nevertheless.
    pub async fn close(self) -> io::Result<()> {
        stream::close(self.socket).await
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket").field("fd", &self.socket.raw_fd()).finish_non_exhaustive()
    }
}

/// What is known of a datagram besides its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a datagram may have been cut"]
pub struct Received {
    /// How much of it was received. A datagram may be empty; that is no end of anything.
    pub bytes: usize,
    /// The sender.
    pub from: SocketAddr,
    /// It was longer than the room in the buffer, and the rest is lost.
    pub is_truncated: bool,
}

impl Received {
    fn new(datagram: &socket::Datagram) -> io::Result<Self> {
        let from = internet(&datagram.from)?;
        Ok(Self { bytes: datagram.bytes, from, is_truncated: datagram.is_truncated })
    }
}
