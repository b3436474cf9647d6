//! TCP with owned buffers, and name resolution off the worker.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;

/// A connected TCP stream. It belongs to the worker that opened it (`!Send`).
#[derive(Debug)]
pub struct TcpStream {
    _todo: std::rc::Rc<()>,
}

impl TcpStream {
    /// Connects; wrap it in [`crate::time::timeout`] for a deadline.
    pub async fn connect(_addr: SocketAddr) -> io::Result<Self> {
        todo!()
    }
    /// One vectored send; may be short. Gives the buffers back, untouched.
    pub async fn send(&self, _bufs: Vec<Bytes>) -> (io::Result<usize>, Vec<Bytes>) {
        todo!()
    }
    /// Sends everything.
    pub async fn send_all(&self, _bufs: Vec<Bytes>) -> io::Result<()> {
        todo!()
    }
    /// Receives into the spare capacity of `buf` (appends); 0 is the end of the stream.
    pub async fn recv(&self, _buf: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        todo!()
    }
    /// True if the peer has closed, or sent something nobody asked for (a non-blocking peek).
    pub fn is_stale(&self) -> bool {
        todo!()
    }
    /// Sends small writes at once.
    pub fn set_nodelay(&self, _on: bool) -> io::Result<()> {
        todo!()
    }
    /// Waits until no operation uses the socket any more, then closes it.
    pub async fn close(self) -> io::Result<()> {
        todo!()
    }
}

/// Resolves `host` on the blocking pool, in the resolver's order.
pub async fn resolve(_host: &str, _port: u16) -> io::Result<Vec<SocketAddr>> {
    todo!()
}
