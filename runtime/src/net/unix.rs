//! Unix sockets: streams and listeners.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::listener::Listener;
use super::stream::Stream;
use super::tcp::BACKLOG;
use crate::driver::Shared;
use crate::time::sleep;

/// A connected Unix stream. It belongs to the worker that opened it (`!Send`); what it can do
/// stands at [`Stream`].
///
/// ```
/// use spanwire_runtime::Builder;
/// use spanwire_runtime::net::UnixStream;
///
/// let runtime = Builder::new().build()?;
/// let task = runtime.spawn_pinned(|| async {
///     let (one, other) = UnixStream::pair()?;
///     one.send_all(vec!["across".into()]).await?;
///     let (received, buf) = other.recv(Vec::with_capacity(64)).await;
///     received.map(|_| assert_eq!(buf, b"across"))
/// });
/// runtime.block_on(task)??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct UnixStream(Stream);

impl UnixStream {
    /// Whether there can be a socket at `path`; whether there is one is for
    /// [`connect`](Self::connect) to find out.
    ///
    /// # Errors
    /// The path is longer than some hundred bytes, or this system has no Unix sockets.
    pub fn check(path: impl AsRef<Path>) -> io::Result<()> {
        SockAddr::unix(path).map(drop)
    }

    /// Connects to the listener at `path`. On Linux a path that begins with a NUL byte is an
    /// abstract name. While the listener's queue is full, this waits.
    ///
    /// # Errors
    /// Those of `connect(2)`, for example [`io::ErrorKind::NotFound`]; that the path is longer
    /// than some hundred bytes; or if this thread is no worker.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let addr = SockAddr::unix(path)?;
        let mut pause = PAUSE_MIN;
        loop {
            match Stream::connect(addr.clone()).await {
                // A ring waits for room. A poller is not told of any, so it has to ask again.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(pause).await,
                connected => return connected.map(Self::new),
            }
            pause = PAUSE_MAX.min(pause * 2);
        }
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    /// Those of `socketpair(2)`; or if this thread is no worker.
    pub fn pair() -> io::Result<(Self, Self)> {
        let driver = Shared::current()?;
        let (one, other) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
        let adopt = |socket| Self::new(Stream::adopt(&driver, socket));
        Ok((adopt(one), adopt(other)))
    }

    fn new(stream: Stream) -> Self {
        stream.socket.expect_descriptors();
        Self(stream)
    }

    /// This end's address.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        self.0.socket.local_addr().map(|addr| UnixAddr::new(&addr))
    }

    /// The other end's address.
    ///
    /// # Errors
    /// Those of `getpeername(2)`.
    pub fn peer_addr(&self) -> io::Result<UnixAddr> {
        self.0.socket.peer_addr().map(|addr| UnixAddr::new(&addr))
    }

    /// As [`Stream::close`].
    ///
    /// # Errors
    /// As there.
    pub async fn close(self) -> io::Result<()> {
        self.0.close().await
    }
}

impl Deref for UnixStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.0
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        stream.0
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixStream").field(&self.0).finish()
    }
}

/// Where a Unix socket is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnixAddr {
    /// A file.
    Path(PathBuf),
    /// A name without a file, which goes away with its listener (Linux only).
    Abstract(Vec<u8>),
    /// Nowhere, like most clients.
    Unnamed,
}

impl UnixAddr {
    fn new(addr: &SockAddr) -> Self {
        match (addr.as_pathname(), addr.as_abstract_namespace()) {
            (Some(path), _) => Self::Path(path.to_owned()),
            (None, Some(name)) => Self::Abstract(name.to_owned()),
            (None, None) => Self::Unnamed,
        }
    }
}

/// Listens for Unix stream connections. It belongs to the worker that opened it (`!Send`).
///
/// ```
/// use spanwire_runtime::Builder;
/// use spanwire_runtime::net::{UnixListener, UnixStream};
///
/// let path = std::env::temp_dir().join(format!("spanwire-doc-{}", std::process::id()));
/// let runtime = Builder::new().build()?;
/// # let bound = path.clone();
/// let task = runtime.spawn_pinned(move || async move {
///     let listener = UnixListener::bind(&path)?;
///     let client = UnixStream::connect(&path).await?;
///     let (server, _) = listener.accept().await?;
///     server.send_all(vec!["welcome".into()]).await?;
///     let (received, buf) = client.recv(Vec::with_capacity(64)).await;
///     received.map(|_| assert_eq!(buf, b"welcome"))
/// });
/// # let ended = runtime.block_on(task);
/// # std::fs::remove_file(bound)?;
/// # ended??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct UnixListener(Listener);

impl UnixListener {
    /// Listens at `path`, a file that is made now and that nobody removes. On Linux a path that
    /// begins with a NUL byte is an abstract name, which is no file.
    ///
    /// # Errors
    /// Those of `bind(2)`, for example [`io::ErrorKind::AddrInUse`] if there is such a file;
    /// that the path is longer than some hundred bytes; or if this thread is no worker.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let bound = Listener::bind(&SockAddr::unix(path)?, BACKLOG, false);
        bound.map(Self).map_err(|error| {
            let path = path.as_os_str().as_bytes().escape_ascii();
            io::Error::new(error.kind(), format!("cannot listen at {path}: {error}"))
        })
    }

    /// Waits for a connection. If the future is dropped, nothing is lost: see
    /// [`TcpListener::accept`](super::TcpListener::accept).
    ///
    /// # Errors
    /// As there.
    pub async fn accept(&self) -> io::Result<(UnixStream, UnixAddr)> {
        let (stream, addr) = self.0.accept().await?;
        Ok((UnixStream::new(stream), UnixAddr::new(&addr)))
    }

    /// The address that it listens on.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<UnixAddr> {
        self.0.socket.local_addr().map(|addr| UnixAddr::new(&addr))
    }

    /// As [`Stream::close`]; the file stays.
    ///
    /// # Errors
    /// As there.
    pub async fn close(self) -> io::Result<()> {
        self.0.close().await
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixListener").field(&self.0).finish()
    }
}

/// How long a connect waits at first, and at most, before it asks again whether the listener's
/// queue has room: short beside the patience of any client, long beside a system call.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);
