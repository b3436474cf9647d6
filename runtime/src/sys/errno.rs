//! The few error numbers that this crate itself gives a meaning, by what they say.

pub use self::numbers::{CANCELED, IN_PROGRESS, INTERRUPTED, IO, NO_BUFS, WOULD_BLOCK};

#[cfg(unix)]
mod numbers {
    /// The operation was cancelled before it ended.
    pub const CANCELED: i32 = libc::ECANCELED;
    /// The connection is being made.
    pub const IN_PROGRESS: i32 = libc::EINPROGRESS;
    /// A signal came before anything was done.
    pub const INTERRUPTED: i32 = libc::EINTR;
    /// Something failed that has no number.
    pub const IO: i32 = libc::EIO;
    /// There is no room for another operation.
    pub const NO_BUFS: i32 = libc::ENOBUFS;
    /// It cannot be done without waiting.
    pub const WOULD_BLOCK: i32 = libc::EAGAIN;
}

/// From Windows' "System Error Codes" and "Windows Sockets Error Codes".
#[cfg(windows)]
mod numbers {
    /// `WSAECANCELLED`.
    pub const CANCELED: i32 = 10103;
    /// `WSAEWOULDBLOCK`, which is what a connect that goes on says there.
    pub const IN_PROGRESS: i32 = 10035;
    /// `WSAEINTR`.
    pub const INTERRUPTED: i32 = 10004;
    /// `ERROR_IO_DEVICE`.
    pub const IO: i32 = 1117;
    /// `WSAENOBUFS`.
    pub const NO_BUFS: i32 = 10055;
    /// `WSAEWOULDBLOCK`.
    pub const WOULD_BLOCK: i32 = 10035;
}
