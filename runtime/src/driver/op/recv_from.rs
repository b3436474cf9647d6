//! Receiving a datagram.

use std::io;

use socket2::{MaybeUninitSlice, SockAddr};

use super::message::{commit, spare};
use super::{Operation, outcome};
use crate::driver::socket::{Datagram, Lease, Socket};
use crate::sys::Envelope;
use crate::sys::socket::RECV_FLAGS;

/// A receive of one datagram into the spare capacity of a buffer.
pub(crate) struct RecvFrom {
    /// Over which socket.
    socket: Lease,
    /// Never reallocated while in flight.
    pub(in crate::driver) buf: Vec<u8>,
    /// What a ring reads and writes.
    pub(in crate::driver) envelope: Box<Envelope>,
    /// What the poller's call has found: from whom, and whether it was cut.
    arrived: Option<(SockAddr, bool)>,
}

impl RecvFrom {
    pub(super) fn new(socket: Lease, buf: Vec<u8>) -> Self {
        Self { socket, buf, envelope: Box::default(), arrived: None }
    }

    /// Makes the call, which must not block.
    pub(in crate::driver) fn call(&mut self) -> io::Result<usize> {
        let room = spare(&self.buf);
        let mut vector = [MaybeUninitSlice::new(&mut self.buf.spare_capacity_mut()[..room])];
        let called = self.socket.recv_from_vectored_with_flags(&mut vector, RECV_FLAGS);
        let (count, found, from) = called?;
        self.arrived = Some((from, found.is_truncated()));
        Ok(count)
    }

    /// What has arrived, if the receive ended with `result`; and the buffer, lengthened by it.
    pub(super) fn into_datagram(
        mut self,
        result: io::Result<usize>,
    ) -> (io::Result<Datagram>, Vec<u8>) {
        let datagram = self.datagram(result);
        (datagram, self.buf)
    }

    fn datagram(&mut self, result: io::Result<usize>) -> io::Result<Datagram> {
        commit(&mut self.buf, &result);
        let bytes = result?;
        let (from, is_truncated) = match self.arrived.take() {
            Some(arrived) => arrived,
            // SAFETY: the poller's results come with what it has found, so this is one of a
            // ring, which was lent the envelope; and it is no error.
            None => unsafe { self.envelope.open() }?,
        };
        Ok(Datagram { bytes, from, is_truncated })
    }
}

impl Operation for RecvFrom {
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
        self.socket.orphan_ended(&[], None);
        let start = self.buf.len();
        // An error is about a datagram that was sent before and was lost; so may this be.
        if let Ok(datagram) = self.datagram(outcome(result)) {
            self.socket.keep_datagram(self.buf.split_off(start), datagram);
        }
    }
}
