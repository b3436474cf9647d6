//! What is lent to the kernel: vectors of pieces to send, and room to receive into.

use std::io::{self, IoSlice};
use std::slice;

use bytes::Bytes;
use socket2::SockAddr;

use crate::sys::Header;

/// What a send reads: pieces of buffers that the same operation owns.
pub(crate) struct Message {
    /// What `header` points to; not touched after construction. They live as long as the
    /// buffers, and not a moment longer, whatever their type says.
    pieces: Vec<IoSlice<'static>>,
    /// What a ring reads.
    header: Header,
    /// To whom, if not to whom the socket is connected to; `header` points to it.
    pub(in crate::driver) name: Option<Box<SockAddr>>,
}

impl Message {
    /// # Safety
    ///
    /// - `bufs` are kept, and not changed, as long as the message.
    pub(super) unsafe fn new(bufs: &[Bytes]) -> Self {
        // SAFETY: by the caller's promise.
        let mut pieces = unsafe { vectors(bufs) };
        let header = Header::new(&mut pieces);
        Self { pieces, header, name: None }
    }

    /// Has it sent to `name`.
    pub(super) fn address_to(&mut self, name: Option<SockAddr>) {
        self.name = name.map(Box::new);
        if let Some(name) = &self.name {
            self.header.address_to(name);
        }
    }

    /// For a ring; valid while the operation is not moved out of its box.
    pub(in crate::driver) fn header(&self) -> &Header {
        &self.header
    }

    /// How many bytes it has.
    pub(in crate::driver) fn bytes(&self) -> usize {
        self.pieces.iter().map(|piece| piece.len()).sum()
    }

    /// For a call.
    pub(in crate::driver) fn pieces(&self) -> &[IoSlice<'_>] {
        &self.pieces
    }
}

/// Whether one call can send all of `bufs`.
pub(crate) fn fits_one_call(bufs: &[Bytes]) -> bool {
    // The same bytes may be there many times, so the sum need not fit into memory.
    let bytes = bufs.iter().fold(0_usize, |sum, buf| sum.saturating_add(buf.len()));
    bufs.len() <= IOVECS_MAX && bytes <= CALL_BYTES_MAX
}

/// What one call takes of `bufs`: nothing empty, at most [`IOVECS_MAX`] pieces and
/// [`CALL_BYTES_MAX`] bytes.
pub(super) fn pieces(bufs: &[Bytes]) -> impl Iterator<Item = &[u8]> {
    let mut room = CALL_BYTES_MAX;
    let filled = bufs.iter().filter(|buf| !buf.is_empty()).take(IOVECS_MAX);
    filled.map_while(move |buf| {
        let piece = &buf[..buf.len().min(room)];
        room -= piece.len();
        (!piece.is_empty()).then_some(piece)
    })
}

/// The same, for the kernel.
///
/// # Safety
///
/// - `bufs` are kept, and not changed, as long as the result is used.
pub(super) unsafe fn vectors(bufs: &[Bytes]) -> Vec<IoSlice<'static>> {
    let forever = |piece: &[u8]| {
        // SAFETY: the parts of a slice of a `Bytes`, whose bytes do not move with it; the caller
        // answers for how long.
        IoSlice::new(unsafe { slice::from_raw_parts(piece.as_ptr(), piece.len()) })
    };
    pieces(bufs).map(forever).collect()
}

/// Takes into `buf` what a receive that ended with `result` has written behind its end.
pub(super) fn commit(buf: &mut Vec<u8>, result: &io::Result<usize>) {
    let received = *result.as_ref().unwrap_or(&0);
    assert!(received <= spare(buf), "the kernel received more than it was lent");
    // SAFETY: a receive that ends with `received` has written as many bytes from the end of
    // `buf` on: `spare_ptr` and `spare` are what it was given, and `buf` was not touched since.
    unsafe { buf.set_len(buf.len() + received) };
}

/// How much a receive into `buf` may write.
pub(in crate::driver) fn spare(buf: &Vec<u8>) -> usize {
    (buf.capacity() - buf.len()).min(RECV_BYTES_MAX)
}

/// Where a receive into `buf` writes.
pub(in crate::driver) fn spare_ptr(buf: &mut Vec<u8>) -> *mut u8 {
    buf.spare_capacity_mut().as_mut_ptr().cast()
}

/// UIO_MAXIOV of Linux: one more is EMSGSIZE from a socket and EINVAL from a file.
pub(super) const IOVECS_MAX: usize = 1024;
/// Well below u32::MAX, where lengths in ring entries end, and i32::MAX, where results end.
pub(super) const CALL_BYTES_MAX: usize = 1 << 30;
/// As [`CALL_BYTES_MAX`].
const RECV_BYTES_MAX: usize = 1 << 30;
