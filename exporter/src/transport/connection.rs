//! What a request and its answer travel over: a socket of either kind, and what may wrap it.

use std::fmt;
use std::io;
use std::ops::Deref;

use bytes::Bytes;
use spanwire_runtime::net::{Stream, TcpStream, Tried, UnixStream};

#[cfg(feature = "tls")]
use super::tls::TlsStream;

/// A connected socket.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Deref for Socket {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        match self {
            Self::Tcp(stream) => stream,
            Self::Unix(stream) => stream,
        }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(stream) => stream.fmt(f),
            Self::Unix(stream) => stream.fmt(f),
        }
    }
}

/// A stream to the collector. Its methods are those of [`Stream`], whose promises they keep.
///
/// One `send_all` and one `recv` may be under way at the same time.
#[derive(Debug)]
pub(crate) enum Connection {
    /// The bytes go as they are.
    Plain(Socket),
    /// They go encrypted.
    #[cfg(feature = "tls")]
    Tls(Box<TlsStream>),
}

impl Connection {
    /// Sends a request and receives the first piece of the answer, as one operation if the
    /// socket takes the whole request at once; else what is left to send comes back.
    pub(crate) async fn try_exchange(
        &self,
        request: Vec<Bytes>,
        buffer: Vec<u8>,
    ) -> (Tried, Vec<Bytes>, Vec<u8>) {
        match self {
            Self::Plain(socket) => socket.try_exchange(request, buffer).await,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.try_exchange(request, buffer).await,
        }
    }

    /// Sends everything.
    ///
    /// # Errors
    ///
    /// Those of the socket; an unknown part was sent then.
    pub(crate) async fn send_all(&self, request: Vec<Bytes>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.send_all(request).await,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.send_all(request).await,
        }
    }

    /// Receives into the spare capacity of `buffer`; 0 is the end of the stream.
    pub(crate) async fn recv(&self, buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        match self {
            Self::Plain(socket) => socket.recv(buffer).await,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.recv(buffer).await,
        }
    }

    /// Whether what has already been received makes an idle connection of no more use. Costs no
    /// system call, and does not see what has arrived since.
    pub(crate) fn has_news(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.has_news(),
        }
    }

    /// Whether an idle connection is of no more use: the peer has closed it, or has said what
    /// nobody asked for.
    pub(crate) fn is_stale(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_stale(),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => stream.is_stale(),
        }
    }
}
