//! Closing a descriptor.

use std::io;

use super::{Operation, errno_of, outcome};
use crate::driver::socket::Socket;
use crate::sys::errno;
use crate::sys::socket::{self, NO_FD, OwnedFd, RawFd};

/// A close. It is never cancelled: that would leave the descriptor open.
pub(crate) struct Close {
    /// Owned until the kernel has closed it.
    fd: Option<OwnedFd>,
}

impl Close {
    pub(super) fn new(fd: OwnedFd) -> Self {
        Self { fd: Some(fd) }
    }

    /// Closes it here and now, for a driver that cannot have it closed.
    pub(in crate::driver) fn now(&mut self) {
        drop(self.fd.take());
    }

    /// Lets go of a descriptor that the kernel has closed; one that it has not is closed now.
    pub(super) fn settle(&mut self, result: &io::Result<usize>) {
        let Some(fd) = self.fd.take() else { return };
        // After any other error the descriptor is gone, as with close(2) on Linux.
        if !matches!(errno_of(result), Some(errno::CANCELED | errno::NO_BUFS)) {
            socket::forget(fd);
        }
    }
}

impl Operation for Close {
    fn socket(&self) -> Option<&Socket> {
        None
    }

    fn raw_fd(&self) -> RawFd {
        self.fd.as_ref().map_or(NO_FD, socket::raw)
    }

    fn is_cancellable(&self) -> bool {
        false
    }

    fn dispose(&mut self, result: i32) {
        self.settle(&outcome(result));
    }
}
