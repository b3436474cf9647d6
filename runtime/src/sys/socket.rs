//! What a socket is called, opened, and watched with.

use std::io;
use std::time::Duration;

use mio::{Interest, Registry, Token};
use socket2::Socket;

use self::native::Watched;
pub use self::native::{
    EVERY_ARRIVAL_IS_REPORTED, NO_FD, OwnedFd, PEEK_FLAGS, RECV_FLAGS, RawFd, SEND_FLAGS, forget,
    keepalive_times, raw, share_with_the_past,
};

/// A poller's watch of a socket, in both directions, until [`end`](Self::end).
pub struct Watch(Watched);

impl Watch {
    /// Begins to report under `token` when `socket` gets ready.
    ///
    /// # Errors
    ///
    /// Those of the poller, for example that the system is out of memory.
    pub fn begin(registry: &Registry, socket: RawFd, token: Token) -> io::Result<Self> {
        let interests = Interest::READABLE | Interest::WRITABLE;
        let interests = native::ALSO.map_or(interests, |also| interests | also);
        Watched::begin(registry, socket, token, interests).map(Self)
    }

    /// Makes a call that would rather fail than block. Once it has, the next readiness is
    /// reported.
    ///
    /// # Errors
    ///
    /// That of the call.
    pub fn call<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.0.call(call)
    }

    /// Ends the watch; the socket has to be open still.
    pub fn end(self, registry: &Registry) {
        self.0.end(registry);
    }
}

#[cfg(unix)]
mod native {
    use std::os::fd::{AsRawFd, IntoRawFd};
    pub use std::os::fd::{OwnedFd, RawFd};

    use mio::event::Source;
    use mio::unix::SourceFd;

    use super::{Duration, Interest, Registry, Socket, Token, io};

    /// What no socket is called.
    pub const NO_FD: RawFd = -1;
    /// Whether whatever arrives at a socket that is watched is reported, even if nobody has found
    /// it empty since the last report: edge-triggered epoll does so (`epoll(7)`), and what is
    /// said here of a receive that took less than it could holds there.
    pub const EVERY_ARRIVAL_IS_REPORTED: bool = cfg!(target_os = "linux");
    /// What else to watch for. Urgent data cuts a receive short, with more lying behind.
    #[cfg(target_os = "linux")]
    pub(super) const ALSO: Option<Interest> = Some(Interest::PRIORITY);
    /// What else to watch for.
    #[cfg(not(target_os = "linux"))]
    pub(super) const ALSO: Option<Interest> = None;
    /// What a poller's receives are made with: none may block.
    pub const RECV_FLAGS: libc::c_int = libc::MSG_DONTWAIT;
    /// What a poller's sends are made with: none may block or raise a signal. Apple's systems
    /// have an option of the socket against the signal, which socket2 sets.
    pub const SEND_FLAGS: libc::c_int =
        libc::MSG_DONTWAIT | if cfg!(target_vendor = "apple") { 0 } else { libc::MSG_NOSIGNAL };
    /// Looks at what has arrived, without taking it or waiting for it.
    pub const PEEK_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_PEEK;

    /// What the system calls `socket`.
    #[must_use]
    pub fn raw(socket: &impl AsRawFd) -> RawFd {
        socket.as_raw_fd()
    }

    /// Lets `socket` be bound where connections of a former listener linger.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn share_with_the_past(socket: &Socket) -> io::Result<()> {
        socket.set_reuse_address(true)
    }

    /// Does not close what is closed already.
    pub fn forget(fd: OwnedFd) {
        let _closed = fd.into_raw_fd();
    }

    /// After how long, and how often, `socket` is probed when it is idle.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn keepalive_times(socket: &Socket) -> io::Result<(Duration, Duration)> {
        Ok((socket.tcp_keepalive_time()?, socket.tcp_keepalive_interval()?))
    }

    pub(super) struct Watched(RawFd);

    impl Watched {
        pub(super) fn begin(
            registry: &Registry,
            socket: RawFd,
            token: Token,
            interests: Interest,
        ) -> io::Result<Self> {
            SourceFd(&socket).register(registry, token, interests)?;
            Ok(Self(socket))
        }

        /// Readiness is reported whether or not a call has failed.
        pub(super) fn call<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
            call()
        }

        pub(super) fn end(self, registry: &Registry) {
            // It fails only for a descriptor that is not registered.
            let _ = SourceFd(&self.0).deregister(registry);
        }
    }
}

#[cfg(windows)]
mod native {
    use std::os::windows::io::{AsRawSocket, FromRawSocket, IntoRawSocket};
    pub use std::os::windows::io::{OwnedSocket as OwnedFd, RawSocket as RawFd};

    use mio::event::Source;
    use mio::net::TcpStream;

    use super::{Duration, Interest, Registry, Socket, Token, io};

    /// What no socket is called: `INVALID_SOCKET`.
    pub const NO_FD: RawFd = RawFd::MAX;
    /// Whether whatever arrives at a socket that is watched is reported. Only after a call that
    /// would have blocked.
    pub const EVERY_ARRIVAL_IS_REPORTED: bool = false;
    /// What else to watch for.
    pub(super) const ALSO: Option<Interest> = None;
    /// What a poller's receives are made with. Its sockets do not block.
    pub const RECV_FLAGS: i32 = 0;
    /// What a poller's sends are made with. There are no signals.
    pub const SEND_FLAGS: i32 = 0;
    /// Looks at what has arrived, without taking it: `MSG_PEEK`.
    pub const PEEK_FLAGS: i32 = 2;

    /// What the system calls `socket`.
    #[must_use]
    pub fn raw(socket: &impl AsRawSocket) -> RawFd {
        socket.as_raw_socket()
    }

    /// Does nothing: what lingers is in nobody's way here, and the option of that name lets two
    /// sockets listen at one address ("Using SO_REUSEADDR and SO_EXCLUSIVEADDRUSE").
    ///
    /// # Errors
    ///
    /// None.
    pub fn share_with_the_past(_socket: &Socket) -> io::Result<()> {
        Ok(())
    }

    /// Does not close what is closed already.
    pub fn forget(fd: OwnedFd) {
        let _closed = fd.into_raw_socket();
    }

    /// Nobody tells.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn keepalive_times(_socket: &Socket) -> io::Result<(Duration, Duration)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// mio has no watch of any socket here, but one of its own types. None of them looks at
    /// what kind of socket it is, and this one is asked for nothing else. It does not own the
    /// socket. `None` only after `end`.
    pub(super) struct Watched(Option<TcpStream>);

    impl Watched {
        pub(super) fn begin(
            registry: &Registry,
            socket: RawFd,
            token: Token,
            interests: Interest,
        ) -> io::Result<Self> {
            // SAFETY: the socket is open, as its owner calls this, and `drop` gives it back
            // without closing it.
            let mut watched = Self(Some(unsafe { TcpStream::from_raw_socket(socket) }));
            if let Some(socket) = &mut watched.0 {
                socket.register(registry, token, interests)?;
            }
            Ok(watched)
        }

        /// After a report mio is silent until a call that it sees would have blocked.
        pub(super) fn call<R>(&self, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
            match &self.0 {
                Some(socket) => socket.try_io(call),
                None => call(),
            }
        }

        pub(super) fn end(mut self, registry: &Registry) {
            if let Some(socket) = &mut self.0 {
                // It fails only for a socket that is not registered.
                let _ = socket.deregister(registry);
            }
        }
    }

    impl Drop for Watched {
        fn drop(&mut self) {
            if let Some(socket) = self.0.take() {
                let _owned_elsewhere = socket.into_raw_socket();
            }
        }
    }
}
