//! The twin of `unix` for systems without Unix sockets: nothing can be connected to.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::path::Path;

use super::stream::Stream;

/// A connected Unix stream, of which this system has none.
pub struct UnixStream(Stream);

impl UnixStream {
    /// Whether there can be a socket at `path`.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`]: this system has none.
    pub fn check(_path: impl AsRef<Path>) -> io::Result<()> {
        Err(unsupported())
    }

    /// Does not connect.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub async fn connect(_path: impl AsRef<Path>) -> io::Result<Self> {
        Err(unsupported())
    }
}

impl Deref for UnixStream {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        &self.0
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UnixStream").field(&self.0).finish()
    }
}

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this system's build has no Unix sockets")
}
