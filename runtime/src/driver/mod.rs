//! Drivers: what starts operations and waits for them.

/// Which driver to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// io_uring where it works, else epoll.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// epoll; no io_uring system call is made.
    Epoll,
}

/// A driver that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// io_uring.
    Uring,
    /// epoll through mio.
    Epoll,
}

/// Which driver runs, and why not another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The driver in use.
    pub kind: Kind,
    /// Why io_uring is not in use, if it was considered; or that it was not asked for.
    pub reason: Option<String>,
}
