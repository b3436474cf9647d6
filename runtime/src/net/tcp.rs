//! TCP: streams and listeners.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use super::listener::Listener;
use super::stream::Stream;
use crate::sys;
use crate::time::timeout;

/// A connected TCP stream. It belongs to the worker that opened it (`!Send`); what it can do
/// stands at [`Stream`], and what is special to TCP here.
///
/// ```
/// use spanwire_runtime::{Builder, net::TcpStream};
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// let runtime = Builder::new().build()?;
/// let task = runtime.spawn_pinned(move || async move {
///     let stream = TcpStream::connect(addr).await?;
///     stream.send_all(vec!["hello, ".into(), "world".into()]).await?;
///     stream.close().await
/// });
/// let text = std::io::read_to_string(listener.accept()?.0)?;
/// assert_eq!(text, "hello, world");
/// runtime.block_on(task)??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Its futures cannot leave the worker either:
///
/// ```compile_fail
/// fn is_send<T: Send>(_: T) {}
/// is_send(spanwire_runtime::net::TcpStream::connect(([127, 0, 0, 1], 80).into()));
/// ```
pub struct TcpStream(Stream);

impl TcpStream {
    /// Connects; see [`connect_timeout`](Self::connect_timeout) for a deadline.
    ///
    /// # Errors
    /// Those of `connect(2)`, for example [`io::ErrorKind::ConnectionRefused`]; or if this
    /// thread is no worker.
    pub async fn connect(addr: SocketAddr) -> io::Result<Self> {
        Stream::connect(addr.into()).await.map(Self)
    }

    /// Connects, or gives up after `limit`. (Linux itself gives up after some two minutes.)
    ///
    /// # Errors
    /// As [`connect`](Self::connect); or [`io::ErrorKind::TimedOut`] after `limit`.
    pub async fn connect_timeout(addr: SocketAddr, limit: Duration) -> io::Result<Self> {
        timeout(limit, Self::connect(addr)).await.unwrap_or_else(|_| {
            let why = format!("{addr} has not answered within {limit:?}");
            Err(io::Error::new(io::ErrorKind::TimedOut, why))
        })
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`). Off at first.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.0.socket.set_tcp_nodelay(on)
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.0.socket.tcp_nodelay()
    }

    /// Has an idle connection probed, so that a peer that is gone is noticed; `None` ends that.
    /// Off at first.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`: for example, Linux takes at most 32767 seconds and 127 probes.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        match keepalive {
            None => self.0.socket.set_keepalive(false),
            Some(Keepalive { idle, interval, count }) => {
                let params = socket2::TcpKeepalive::new().with_time(idle).with_interval(interval);
                self.0.socket.set_tcp_keepalive(&params.with_retries(count))
            }
        }
    }

    /// How an idle connection is probed, if it is.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`; Windows does not tell.
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        let socket = &self.0.socket;
        if !socket.keepalive()? {
            return Ok(None);
        }
        let (idle, interval) = sys::socket::keepalive_times(socket)?;
        Ok(Some(Keepalive { idle, interval, count: socket.tcp_keepalive_retries()? }))
    }

    /// This end's address.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(&self.0.socket.local_addr()?)
    }

    /// The other end's address.
    ///
    /// # Errors
    /// Those of `getpeername(2)`, for example [`io::ErrorKind::NotConnected`] after a reset.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        internet(&self.0.socket.peer_addr()?)
    }

    /// As [`Stream::close`].
    ///
    /// # Errors
    /// As there.
    pub async fn close(self) -> io::Result<()> {
        self.0.close().await
    }
}

impl Deref for TcpStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.0
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        stream.0
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpStream").field(&self.0).finish()
    }
}

/// When an idle connection is probed (`tcp(7)`). All times are rounded down to seconds.
///
/// ```
/// use std::time::Duration;
/// use spanwire_runtime::net::Keepalive;
///
/// // A peer that vanishes is noticed after 30 s + 3 * 10 s.
/// let keepalive = Keepalive::new(Duration::from_secs(30), Duration::from_secs(10), 3);
/// assert_eq!(keepalive.count, 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keepalive {
    /// How long nothing has to come before the first probe.
    pub idle: Duration,
    /// How long each probe is waited for.
    pub interval: Duration,
    /// After how many unanswered probes the connection is given up.
    pub count: u32,
}

impl Keepalive {
    /// All three together.
    #[must_use]
    pub fn new(idle: Duration, interval: Duration, count: u32) -> Self {
        Self { idle, interval, count }
    }
}

/// Listens for TCP connections. It belongs to the worker that opened it (`!Send`).
///
/// ```
/// use spanwire_runtime::Builder;
/// use spanwire_runtime::net::{TcpListener, TcpStream};
///
/// let runtime = Builder::new().build()?;
/// let task = runtime.spawn_pinned(|| async {
///     let listener = TcpListener::bind("127.0.0.1:0".parse().unwrap())?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, addr) = listener.accept().await?;
///     assert_eq!(addr, client.local_addr()?);
///     server.send_all(vec!["welcome".into()]).await?;
///     let (received, buf) = client.recv(Vec::with_capacity(64)).await;
///     received.map(|_| assert_eq!(buf, b"welcome"))
/// });
/// runtime.block_on(task)??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct TcpListener(Listener);

impl TcpListener {
    /// Listens on `addr`, with room for 1024 connections that nobody has accepted yet (the
    /// system may allow fewer: `net.core.somaxconn`). Port 0 stands for a free one, see
    /// [`local_addr`](Self::local_addr). `SO_REUSEADDR` is set, so that a server can be
    /// restarted while connections of the last one linger.
    ///
    /// # Errors
    /// Those of `bind(2)`, for example [`io::ErrorKind::AddrInUse`]; or if this thread is no
    /// worker.
    pub fn bind(addr: SocketAddr) -> io::Result<Self> {
        Self::bind_with_backlog(addr, BACKLOG)
    }

    /// As [`bind`](Self::bind), with room for `backlog` connections.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn bind_with_backlog(addr: SocketAddr, backlog: u32) -> io::Result<Self> {
        Listener::bind(&addr.into(), backlog, true).map(Self)
    }

    /// Waits for a connection.
    ///
    /// If the future is dropped, nothing is lost: a connection that it may have accepted goes
    /// to another accept, under way or yet to come, and is closed with the listener.
    ///
    /// # Errors
    /// Those of `accept(2)`: some are about one connection that has failed meanwhile
    /// ([`io::ErrorKind::ConnectionAborted`]), so go on; when descriptors have run out
    /// (`EMFILE`), wait a little first.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, addr) = self.0.accept().await?;
        Ok((TcpStream(stream), internet(&addr)?))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        internet(&self.0.socket.local_addr()?)
    }

    /// As [`Stream::close`]: afterwards nobody is queued any more.
    ///
    /// # Errors
    /// As there.
    pub async fn close(self) -> io::Result<()> {
        self.0.close().await
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpListener").field(&self.0).finish()
    }
}

/// An address of the internet families.
pub(super) fn internet(addr: &socket2::SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Connections that wait to be accepted. tokio and mio have the same; what it bounds is memory
/// of the kernel, and how long a burst of clients is not refused.
pub(super) const BACKLOG: u32 = 1024;
