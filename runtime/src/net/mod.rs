//! TCP, UDP and Unix sockets with owned buffers, and name resolution off the worker.
//!
//! A buffer is given to an operation and comes back with the result, so that it can be lent to
//! the kernel: with io_uring the kernel reads and writes it while the task does other things.
//! Every future here may be dropped at any moment; the operation is then cancelled, and its
//! buffers are freed when the kernel has let go of them.
//!
//! Sockets belong to the worker that opened them. In scope: streams and listeners, datagrams,
//! and name resolution. Out of scope: TLS and HTTP, which the exporter builds on top.
//!
//! | | connect or bind | what it can do |
//! |---|---|---|
//! | TCP | [`TcpStream`], [`TcpListener`] | [`Stream`]; nodelay, keepalive |
//! | Unix | [`UnixStream`], [`UnixListener`] | [`Stream`] |
//! | UDP | [`UdpSocket`] | datagrams |

mod exchange;
mod listener;
mod resolve;
mod stream;
mod tcp;
mod udp;
#[cfg_attr(not(unix), path = "no_unix.rs")]
mod unix;

pub use self::exchange::{Exchanged, Sent, Tried};
pub use self::resolve::resolve;
pub use self::stream::Stream;
pub use self::tcp::{Keepalive, TcpListener, TcpStream};
pub use self::udp::{Received, UdpSocket};
pub use self::unix::UnixStream;
#[cfg(unix)]
pub use self::unix::{UnixAddr, UnixListener};

#[cfg(test)]
mod tests;
