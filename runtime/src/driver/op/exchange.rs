//! A request and its answer: a send, and then a receive, as one operation.
//!
//! The send is made without waiting. If the socket takes everything at once, the receive
//! follows; if not, the operation ends there and says how much was sent. So it never waits for
//! a peer that has to read before it can answer, while that peer waits for somebody to hear its
//! answer: from then on the caller sends and receives side by side.

use std::io;

use bytes::Bytes;

use super::message::{Message, commit};
use super::{Operation, errno_of, outcome};
use crate::driver::socket::{Lease, Socket};

/// A send of everything, and a receive into the spare capacity of a buffer.
pub(crate) struct Exchange {
    /// Over which connection.
    pub(in crate::driver) socket: Lease,
    /// What `message` points into.
    bufs: Vec<Bytes>,
    /// What the kernel reads.
    pub(in crate::driver) message: Message,
    /// Never reallocated while in flight.
    pub(in crate::driver) buf: Vec<u8>,
    /// How far the send has come.
    pub(in crate::driver) sent: Sent,
}

/// How far the send of an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::driver) enum Sent {
    /// Nobody has said anything. A ring does not report a send that is complete: that the
    /// receive has ended says so.
    NotYet,
    /// It is complete.
    All,
    /// It has ended otherwise, with this count or negative errno. There will be no receive.
    Broken(i32),
}

/// What an exchange has come to.
pub(crate) enum Exchanged {
    /// Everything was sent, and this came of the receive.
    Received(io::Result<usize>),
    /// This came of the send, which was not complete; nothing was received.
    Unsent(io::Result<usize>),
}

impl Exchange {
    pub(super) fn new(socket: Lease, bufs: Vec<Bytes>, buf: Vec<u8>) -> Self {
        // SAFETY: nobody reaches the buffers before `into_parts`, which ends the message.
        let message = unsafe { Message::new(&bufs) };
        Self { socket, bufs, message, buf, sent: Sent::NotYet }
    }

    /// What came of an exchange that ended with `result`, and its buffers.
    pub(super) fn into_parts(
        mut self,
        result: io::Result<usize>,
    ) -> (Exchanged, Vec<Bytes>, Vec<u8>) {
        commit(&mut self.buf, &result);
        let exchanged = match self.sent {
            Sent::NotYet | Sent::All => Exchanged::Received(result),
            Sent::Broken(sent) => Exchanged::Unsent(outcome(sent)),
        };
        (exchanged, self.bufs, self.buf)
    }
}

impl Operation for Exchange {
    fn socket(&self) -> Option<&Socket> {
        Some(&self.socket)
    }

    fn orphaned(&self) {
        self.socket.send_orphaned();
        self.socket.receive_orphaned();
    }

    fn dispose(&mut self, result: i32) {
        let received = outcome(result);
        let start = self.buf.len();
        commit(&mut self.buf, &received);
        self.socket.orphan_ended(&self.buf[start..], errno_of(&received));
    }
}
