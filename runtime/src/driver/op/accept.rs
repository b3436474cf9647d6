//! Accepting a connection.

use std::io;

use super::{Operation, outcome};
use crate::driver::socket::{Connection, Lease, Socket};
use crate::sys::Peer;

/// An accept.
pub(crate) struct Accept {
    /// Who listens.
    socket: Lease,
    /// Where a ring writes the peer's address.
    pub(in crate::driver) peer: Box<Peer>,
    /// What the poller has accepted.
    connection: Option<Connection>,
}

impl Accept {
    pub(super) fn new(socket: Lease) -> Self {
        Self { socket, peer: Box::default(), connection: None }
    }

    /// Makes the call, which must not block.
    pub(in crate::driver) fn call(&mut self) -> io::Result<usize> {
        let (socket, addr) = self.socket.accept()?;
        self.connection = Some(Connection { socket, addr });
        Ok(0)
    }

    /// What was accepted by an accept that ended with `result`. To be called once.
    pub(super) fn connection(&mut self, result: io::Result<usize>) -> io::Result<Connection> {
        let descriptor = result?;
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        // SAFETY: the poller's results come with a connection, so this is one of a ring, which
        // was lent `peer`. Both callers consume the operation.
        let (socket, addr) = unsafe { self.peer.open(descriptor) }?;
        Ok(Connection { socket, addr })
    }
}

impl Operation for Accept {
    fn socket(&self) -> Option<&Socket> {
        Some(&self.socket)
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn dispose(&mut self, result: i32) {
        // An error is either about a connection that is gone, or comes again at the next accept.
        if let Ok(connection) = self.connection(outcome(result)) {
            self.socket.keep_connection(connection);
        }
    }
}
