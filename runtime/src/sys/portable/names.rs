//! Where a ring would write addresses. There is none.

use std::io;

use socket2::{SockAddr, Socket};

/// Where a ring would write who has connected.
#[derive(Default)]
pub struct Peer(());

impl Peer {
    /// No connection.
    ///
    /// # Errors
    ///
    /// Always.
    ///
    /// # Safety
    ///
    /// - None is needed; the twin needs some.
    pub unsafe fn open(&mut self, _descriptor: usize) -> io::Result<(Socket, SockAddr)> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// What a ring would receive into.
#[derive(Default)]
pub struct Envelope(());

impl Envelope {
    /// No datagram.
    ///
    /// # Errors
    ///
    /// Always.
    ///
    /// # Safety
    ///
    /// - None is needed; the twin needs some.
    pub unsafe fn open(&mut self) -> io::Result<(SockAddr, bool)> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
