//! The few error numbers that this crate itself gives a meaning, by what they say.

pub use self::numbers::{CANCELED, CONN_RESET, IN_PROGRESS, INTERRUPTED, IO, NO_BUFS, NOT_CONN};

#[cfg(unix)]
mod numbers {
    /// The operation was cancelled before it ended.
    pub const CANCELED: i32 = libc::ECANCELED;
    /// The peer has ended the connection without closing it.
    pub const CONN_RESET: i32 = libc::ECONNRESET;
    /// A signal came before anything was done.
    pub const INTERRUPTED: i32 = libc::EINTR;
    /// The connection is being made.
    pub const IN_PROGRESS: i32 = libc::EINPROGRESS;
    /// Something failed that has no number.
    pub const IO: i32 = libc::EIO;
    /// There is no room for another operation.
    pub const NO_BUFS: i32 = libc::ENOBUFS;
    /// The socket is not connected, or not yet.
    pub const NOT_CONN: i32 = libc::ENOTCONN;
}

/// From Windows' "System Error Codes" and "Windows Sockets Error Codes".
#[cfg(not(unix))]
mod numbers {
    /// `ERROR_OPERATION_ABORTED`.
    pub const CANCELED: i32 = 995;
    /// `WSAECONNRESET`.
    pub const CONN_RESET: i32 = 10054;
    /// `WSAEINTR`.
    pub const INTERRUPTED: i32 = 10004;
    /// `WSAEWOULDBLOCK`, which is what a connect that goes on says there.
    pub const IN_PROGRESS: i32 = 10035;
    /// `ERROR_IO_DEVICE`.
    pub const IO: i32 = 1117;
    /// `WSAENOBUFS`.
    pub const NO_BUFS: i32 = 10055;
    /// `WSAENOTCONN`.
    pub const NOT_CONN: i32 = 10057;
}
