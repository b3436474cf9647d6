//! Receiving from a stream.

use std::io;

use super::message::commit;
use super::{Operation, errno_of, outcome};
use crate::driver::socket::{Lease, Socket};

/// A receive into the spare capacity of a buffer.
pub(crate) struct Recv {
    /// Over which connection.
    pub(in crate::driver) socket: Lease,
    /// Never reallocated while in flight.
    pub(in crate::driver) buf: Vec<u8>,
}

impl Recv {
    pub(super) fn new(socket: Lease, buf: Vec<u8>) -> Self {
        Self { socket, buf }
    }

    pub(super) fn into_buf(mut self, result: &io::Result<usize>) -> Vec<u8> {
        commit(&mut self.buf, result);
        self.buf
    }
}

impl Operation for Recv {
    fn socket(&self) -> Option<&Socket> {
        Some(&self.socket)
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn orphaned(&self) {
        self.socket.receive_orphaned();
    }

    fn dispose(&mut self, result: i32) {
        let result = outcome(result);
        // The stream goes on behind these bytes, so the next receive has to begin with them.
        let start = self.buf.len();
        commit(&mut self.buf, &result);
        self.socket.orphan_ended(&self.buf[start..], errno_of(&result));
    }
}
