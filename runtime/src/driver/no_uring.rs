//! The twin of `uring.rs` where there is no io_uring: it always says so.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::time::Duration;

use super::op::{Backend, Op};
use super::slots::{Key, Slots};
use crate::sync::doorbell::Unpark;

/// There is none.
pub(super) struct Ring(Infallible);

impl Ring {
    /// Opens no ring.
    ///
    /// # Errors
    /// Always.
    pub(super) fn open() -> Result<Self, Unavailable> {
        Err(Unavailable)
    }
}

/// Why there is no ring.
#[derive(Debug)]
pub(super) struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::sys::NO_URING)
    }
}

impl From<Unavailable> for io::Error {
    fn from(unavailable: Unavailable) -> Self {
        let advice = "set SPANWIRE_IO to auto or epoll";
        Self::new(io::ErrorKind::Unsupported, format!("{unavailable}; {advice}"))
    }
}

impl Backend for Ring {
    fn start(&mut self, _slots: &mut Slots<Op>, _key: Key) {
        match self.0 {}
    }

    fn cancel(&mut self, _slots: &mut Slots<Op>, _key: Key) {
        match self.0 {}
    }

    fn forget(&mut self, _source: usize) {
        match self.0 {}
    }

    fn turn(&mut self, _slots: &mut Slots<Op>) -> io::Result<()> {
        match self.0 {}
    }

    fn park(&mut self, _slots: &mut Slots<Op>, _timeout: Option<Duration>) -> io::Result<()> {
        match self.0 {}
    }

    fn unpark(&self) -> Box<dyn Unpark> {
        match self.0 {}
    }
}
