//! What all listeners have in common.

use std::fmt;
use std::io;
use std::rc::Rc;

use socket2::SockAddr;

use super::stream::{self, Stream};
use crate::driver::Shared;
use crate::driver::op::Op;
use crate::driver::socket::{Connection, Socket};
use crate::sys::socket::share_with_the_past;

/// A socket that listens, of any family.
pub(super) struct Listener {
    pub(super) socket: Rc<Socket>,
}

impl Listener {
    /// Listens on `addr`, with `is_reused` also where connections of a former listener linger.
    pub(super) fn bind(addr: &SockAddr, backlog: u32, is_reused: bool) -> io::Result<Self> {
        let socket = Shared::current()?.socket(addr)?;
        if is_reused {
            share_with_the_past(&socket)?;
        }
        socket.bind(addr)?;
        socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(Self { socket })
    }

    /// Waits for a connection, be it one that an accept has taken whose future was dropped.
    ///
    /// Only one accept is in flight at a time, the others wait for it to end. The kernel wakes
    /// one of those that wait for a connection, and if that one is just being cancelled, nobody;
    /// one that begins afterwards sees the connection all the same.
    pub(super) async fn accept(&self) -> io::Result<(Stream, SockAddr)> {
        let driver = self.socket.driver()?;
        self.socket.released().await;
        let Connection { socket, addr } = match self.socket.claim_connection() {
            Some(left) => left,
            None => {
                let (op, accepted) = driver.start(Op::accept(self.socket.lease())).await;
                op.into_connection(accepted)?
            }
        };
        Ok((Stream::adopt(&driver, socket), addr))
    }

    pub(super) async fn close(self) -> io::Result<()> {
        stream::close(self.socket).await
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("fd", &self.socket.raw_fd()).finish_non_exhaustive()
    }
}
