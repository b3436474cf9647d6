//! What is lent to the kernel: vectors of pieces to send, and room to receive into.

use std::io;
use std::ptr;

use bytes::Bytes;

/// What `sendmsg` reads: pointers into buffers that the same operation owns.
pub(crate) struct Message {
    /// What `header` points to; not touched after construction.
    _vectors: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Message {
    pub(super) fn new(bufs: &[Bytes]) -> Self {
        let mut vectors = vectors(bufs);
        // SAFETY: msghdr is a C struct of integers and pointers, for which zero is valid.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = vectors.as_mut_ptr();
        header.msg_iovlen = vectors.len() as _;
        Self { _vectors: vectors, header }
    }

    /// For the kernel; valid while the operation is not moved out of its box.
    pub(in crate::driver) fn as_ptr(&self) -> *const libc::msghdr {
        ptr::from_ref(&self.header)
    }
}

/// What one call sends of `bufs`: nothing empty, at most [`IOVECS_MAX`] pieces and
/// [`SEND_BYTES_MAX`] bytes.
fn vectors(bufs: &[Bytes]) -> Vec<libc::iovec> {
    let mut room = SEND_BYTES_MAX;
    let filled = bufs.iter().filter(|buf| !buf.is_empty()).take(IOVECS_MAX);
    filled
        .map_while(|buf| {
            let length = buf.len().min(room);
            room -= length;
            // The kernel only reads what a send points to.
            let base = buf.as_ptr().cast_mut().cast();
            (length > 0).then_some(libc::iovec { iov_base: base, iov_len: length })
        })
        .collect()
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

/// UIO_MAXIOV of Linux: one more is EMSGSIZE.
const IOVECS_MAX: usize = 1024;
/// Well below u32::MAX, where lengths in ring entries end, and i32::MAX, where results end.
const SEND_BYTES_MAX: usize = 1 << 30;
/// As [`SEND_BYTES_MAX`].
const RECV_BYTES_MAX: usize = 1 << 30;
