//! Sending, over a stream or as a datagram.

use bytes::Bytes;
use socket2::SockAddr;

use super::Operation;
use super::message::Message;
use crate::driver::socket::{Lease, Socket};

/// A send from many buffers, perhaps not of all.
pub(crate) struct Send {
    /// Over which socket.
    pub(in crate::driver) socket: Lease,
    /// What `message` points into.
    bufs: Vec<Bytes>,
    /// What the kernel reads.
    pub(in crate::driver) message: Message,
}

impl Send {
    pub(super) fn new(socket: Lease, bufs: Vec<Bytes>) -> Self {
        // SAFETY: nobody reaches the buffers before `into_bufs`, which ends the message.
        let message = unsafe { Message::new(&bufs) };
        Self { socket, bufs, message }
    }

    pub(super) fn datagram(socket: Lease, datagram: Bytes, addr: Option<SockAddr>) -> Self {
        let mut send = Self::new(socket, vec![datagram]);
        send.message.address_to(addr);
        send
    }

    pub(super) fn into_bufs(self) -> Vec<Bytes> {
        self.bufs
    }
}

impl Operation for Send {
    fn socket(&self) -> Option<&Socket> {
        Some(&self.socket)
    }

    fn orphaned(&self) {
        self.socket.send_orphaned();
    }
}
