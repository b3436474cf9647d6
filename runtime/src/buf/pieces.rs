//! Lists of buffers of which a call takes a part.

use bytes::{Buf, Bytes};

/// Drops the first `count` bytes; what is left has no empty buffer at its front.
pub(crate) fn advance(bufs: &mut Vec<Bytes>, mut count: usize) {
    let is_taken = |buf: &&Bytes| {
        let rest = count.checked_sub(buf.len());
        count = rest.unwrap_or(count);
        rest.is_some()
    };
    let taken = bufs.iter().take_while(is_taken).count();
    bufs.drain(..taken);
    if let Some(first) = bufs.first_mut() {
        first.advance(count);
    }
}
