//! TCP with owned buffers, and name resolution off the worker.
//!
//! A buffer is given to an operation and comes back with the result, so that it can be lent to
//! the kernel: with io_uring the kernel reads and writes it while the task does other things.
//! Every future here may be dropped at any moment; the operation is then cancelled, and its
//! buffers are freed when the kernel has let go of them.
//!
//! Sockets belong to the worker that opened them. In scope: TCP clients and name resolution.
//! Out of scope: TLS and HTTP, which the exporter builds on top.

mod resolve;
mod tcp;

pub use self::resolve::resolve;
pub use self::tcp::TcpStream;

#[cfg(test)]
mod tests;
