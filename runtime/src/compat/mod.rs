//! Adapters to the traits that other crates expect of a stream and of a runtime.
//!
//! | feature | what it adds |
//! |---|---|
//! | `futures-io` | `futures_io::{AsyncRead, AsyncBufRead, AsyncWrite}` for [`Io`] |
//! | `hyper` | `hyper::rt::{Read, Write}` for [`Io`]; `hyper::rt::Executor` for `PinnedExecutor` and [`Handle`](crate::Handle); `hyper::rt::Timer` for `TaskTimer` |
//! | `tokio-io` | `tokio::io::{AsyncRead, AsyncWrite}` for [`Io`]; of tokio no more than those traits |
//!
//! None is on by default. `hyper` itself depends on tokio's `sync` module, which is no
//! runtime; without it and `tokio-io` there is no tokio at all.
//!
//! These traits lend a buffer for one call; this runtime lends buffers to the kernel, for as
//! long as an operation takes. So [`Io`] owns a buffer for each direction, and each byte is
//! copied once more than by [`net`](crate::net) itself. Use that where the copy matters.

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;
mod io;
#[cfg(feature = "tokio-io")]
mod tokio_io;

#[cfg(feature = "hyper")]
pub use self::hyper::{PinnedExecutor, TaskTimer};
pub use self::io::Io;
