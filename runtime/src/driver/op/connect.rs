//! Connecting a socket.

use socket2::SockAddr;

use super::Operation;
use crate::driver::socket::{Lease, Socket};

/// A connect.
pub(crate) struct Connect {
    /// What is connected.
    pub(in crate::driver) socket: Lease,
    /// To where.
    pub(in crate::driver) addr: SockAddr,
    /// The poller has called `connect` and waits for its outcome.
    pub(in crate::driver) is_under_way: bool,
}

impl Connect {
    pub(super) fn new(socket: Lease, addr: SockAddr) -> Self {
        Self { socket, addr, is_under_way: false }
    }
}

impl Operation for Connect {
    fn socket(&self) -> Option<&Socket> {
        Some(&self.socket)
    }
}
