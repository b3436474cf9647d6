//! A checked writer into a bounded piece of memory.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::slice;

use super::row::Row;

/// Writes into a bounded piece of memory.
///
/// A write that does not fit marks the cursor as overflowed and writes nothing; every later
/// write is then ignored too, so an encoder checks once, at the end.
///
/// # Examples
///
/// ```
/// use std::mem::MaybeUninit;
/// use spanwire_runtime::buf::Cursor;
///
/// let mut memory = [MaybeUninit::uninit(); 8];
/// let mut cursor = Cursor::new(&mut memory);
/// cursor.put_array([0x12, 0]);
/// cursor.put_slice(b"span");
/// cursor.patch(1, &[4]);
/// assert_eq!(cursor.written(), b"\x12\x04span");
/// assert!(!cursor.is_overflowed());
///
/// cursor.put_slice(b"too long");
/// cursor.put_u8(0); // Would fit, but comes after what did not.
/// assert!(cursor.is_overflowed());
/// assert_eq!(cursor.written(), b"\x12\x04span");
/// ```
pub struct Cursor<'a> {
    /// First byte of the memory.
    start: *mut u8,
    /// Bytes written; `start..start + len` is initialised. In range `0 ..= cap`.
    len: usize,
    /// Bytes that may be written. Once overflowed it equals `len`, so that the one comparison of
    /// a write also refuses everything after an overflow.
    cap: usize,
    /// Set by the first write that did not fit; never cleared.
    overflowed: bool,
    /// The memory is borrowed as long as the cursor lives.
    memory: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

/// What was written did not fit into the memory that was there for it. Ask for more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overflow {
    /// The bytes there was room for.
    pub room: usize,
}

impl<'a> Cursor<'a> {
    /// Writes into `memory`.
    #[inline]
    pub fn new(memory: &'a mut [MaybeUninit<u8>]) -> Self {
        let cap = memory.len();
        let start = memory.as_mut_ptr().cast();
        Self { start, len: 0, cap, overflowed: false, memory: PhantomData }
    }

    /// Appends to `out` what `encode` writes, at most `room` bytes, without zeroing them first.
    ///
    /// # Errors
    ///
    /// [`Overflow`] if `room` was not enough; `out` is then as it was.
    ///
    /// # Examples
    ///
    /// ```
    /// use spanwire_runtime::buf::Cursor;
    ///
    /// let mut out = b"a".to_vec();
    /// Cursor::append_to(&mut out, 16, |cursor| cursor.put_slice(b"bc"))?;
    /// assert_eq!(out, b"abc");
    /// assert!(Cursor::append_to(&mut out, 1, |cursor| cursor.put_slice(b"de")).is_err());
    /// # Ok::<(), spanwire_runtime::buf::Overflow>(())
    /// ```
    pub fn append_to<R>(
        out: &mut Vec<u8>,
        room: usize,
        encode: impl FnOnce(&mut Cursor<'_>) -> R,
    ) -> Result<R, Overflow> {
        out.reserve(room);
        let memory = &mut out.spare_capacity_mut()[..room];
        let start = memory.as_ptr();
        let mut cursor = Cursor::new(memory);
        let result = encode(&mut cursor);
        let written = cursor.finish(start, room).ok_or(Overflow { room })?;
        // SAFETY: `finish` says that the first `written` bytes of the spare capacity, which
        // begins at `out.len()`, are initialised; `written` is at most `room`.
        unsafe { out.set_len(out.len() + written) };
        Ok(result)
    }

    /// The bytes written to the memory of `room` bytes that begins at `start`, unless they did
    /// not all fit or somebody swapped this cursor for one over other memory: safe code may do
    /// that with a `&mut Cursor`, so whoever relies on the memory being initialised has to ask.
    #[inline]
    pub(crate) fn finish(&self, start: *const MaybeUninit<u8>, room: usize) -> Option<usize> {
        // Memory of no bytes may have the address of somebody else's.
        let ours = ptr::eq(self.start.cast_const(), start.cast()) && self.len <= room;
        (ours && !self.overflowed).then_some(self.len)
    }

    /// Bytes written so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that can still be written; none once overflowed.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.cap - self.len
    }

    /// Whether a write did not fit.
    #[inline]
    pub fn is_overflowed(&self) -> bool {
        self.overflowed
    }

    /// What was written.
    #[inline]
    pub fn written(&self) -> &[u8] {
        // SAFETY: `start..start + len` is initialised (field `len`) and borrowed through self.
        unsafe { slice::from_raw_parts(self.start, self.len) }
    }

    /// Appends one byte.
    #[inline]
    pub fn put_u8(&mut self, byte: u8) {
        self.put_array([byte]);
    }

    /// Appends bytes whose number is known to the compiler: one comparison and one store.
    #[inline]
    pub fn put_array<const N: usize>(&mut self, bytes: [u8; N]) {
        let Some(to) = self.claim(N) else { return };
        // SAFETY: `claim` returned N writable bytes; an array of bytes needs no alignment.
        unsafe { to.cast::<[u8; N]>().write(bytes) };
    }

    /// Appends `bytes`.
    #[inline]
    pub fn put_slice(&mut self, bytes: &[u8]) {
        let Some(to) = self.claim(bytes.len()) else { return };
        // SAFETY: `claim` returned as many writable bytes as `bytes` has; `bytes` cannot overlap
        // memory that this cursor borrows exclusively.
        unsafe { copy_short(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Appends pieces side by side, all or none: an array, a slice, a [`Padded`](super::Padded) number, or a tuple
    /// of them. There is one comparison for all of them.
    ///
    /// ```
    /// # use std::mem::MaybeUninit;
    /// # use spanwire_runtime::buf::Cursor;
    /// let mut memory = [MaybeUninit::uninit(); 9];
    /// let mut cursor = Cursor::new(&mut memory);
    /// cursor.put_row(([0x0a, 3], b"key".as_slice(), [0x12, 2, 0x10, 1]));
    /// assert_eq!(cursor.written(), b"\x0a\x03key\x12\x02\x10\x01");
    /// ```
    #[inline(always)]
    pub fn put_row<P: Row>(&mut self, row: P) {
        // A sum that wraps would need slices that are longer together than memory.
        let size = row.size();
        if size.saturating_add(P::PADDING) > self.remaining() {
            return self.put_tight(row, size);
        }
        // SAFETY: `size + PADDING` bytes remain; the cursor's memory is borrowed exclusively, so
        // no slice overlaps it.
        unsafe { row.write(self.start.add(self.len), true) };
        // `write` has initialised them.
        self.len += size;
    }

    /// The same without room for padding.
    #[cold]
    fn put_tight<P: Row>(&mut self, row: P, size: usize) {
        let Some(to) = self.claim(size) else { return };
        // SAFETY: `claim` returned `size` writable bytes that nothing else refers to.
        unsafe { row.write(to, false) };
    }

    /// Replaces what was written at `at`. Ignored once overflowed.
    ///
    /// # Panics
    ///
    /// If `at + bytes.len()` is beyond [`len`](Self::len) and the cursor has not overflowed.
    #[inline]
    pub fn patch(&mut self, at: usize, bytes: &[u8]) {
        if self.overflowed {
            return;
        }
        self.check(at, bytes.len());
        // SAFETY: `check` proved that the range is below `len`, which is within the memory.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.add(at), bytes.len()) };
    }

    /// Moves what was written from `at` on by `by` bytes towards the end; the bytes of the gap
    /// are zero. Ignored once overflowed.
    ///
    /// # Panics
    ///
    /// If `at` is beyond [`len`](Self::len) and the cursor has not overflowed.
    pub fn open_gap(&mut self, at: usize, by: usize) {
        if self.overflowed {
            return;
        }
        self.check(at, 0);
        let moved = self.len - at;
        if self.claim(by).is_none() {
            return;
        }
        // SAFETY: `at + moved` was `len`, and `claim` has just proved that `by` more bytes are
        // within the memory. The gap `at..at + by` is written last, so nothing below the new
        // `len` is left uninitialised.
        unsafe {
            let gap = self.start.add(at);
            ptr::copy(gap, gap.add(by), moved);
            ptr::write_bytes(gap, 0, by);
        }
    }

    /// Moves what was written from `at + by` on back to `at`; `by` bytes fewer are written.
    /// Ignored once overflowed.
    ///
    /// # Panics
    ///
    /// If `at + by` is beyond [`len`](Self::len) and the cursor has not overflowed.
    pub fn close_gap(&mut self, at: usize, by: usize) {
        if self.overflowed {
            return;
        }
        self.check(at, by);
        // SAFETY: `check` proved that `at + by` is at most `len`; what is moved ends at `len`.
        unsafe {
            let gap = self.start.add(at);
            ptr::copy(gap.add(by), gap, self.len - at - by);
        }
        self.len -= by;
    }

    /// Makes `size` bytes part of what is written and returns where they begin, or overflows.
    /// The caller initialises them at once.
    #[inline]
    fn claim(&mut self, size: usize) -> Option<*mut u8> {
        debug_assert!(self.len <= self.cap);
        if size > self.cap - self.len {
            self.overflow();
            return None;
        }
        // SAFETY: `len + size` is at most `cap`, the size of the memory.
        let to = unsafe { self.start.add(self.len) };
        self.len += size;
        Some(to)
    }

    #[cold]
    fn overflow(&mut self) {
        self.cap = self.len;
        self.overflowed = true;
    }

    #[inline]
    fn check(&self, at: usize, size: usize) {
        let fits = at <= self.len && size <= self.len - at;
        assert!(fits, "{size} bytes at {at} are not all below {}, which is written", self.len);
    }
}

/// Copies `size` bytes; up to 64 of them by two overlapping loads and stores of a fixed size,
/// which costs a fraction of a call to memcpy and reads nothing outside of the source.
///
/// # Safety
///
/// - `from` is readable and `to` writable for `size` bytes.
/// - The two do not overlap.
#[inline(always)]
pub(super) unsafe fn copy_short(from: *const u8, to: *mut u8, size: usize) {
    // SAFETY: the caller's promise. Each arm has checked that `size` is at least the size of the
    // pieces, so head (from the front) and tail (up to the end) are both within the ranges.
    unsafe {
        if size >= 16 {
            if size <= 32 {
                copy_ends::<16>(from, to, size);
            } else if size <= 64 {
                copy_ends::<32>(from, to, size);
            } else {
                ptr::copy_nonoverlapping(from, to, size);
            }
        } else if size >= 8 {
            copy_ends::<8>(from, to, size);
        } else if size >= 4 {
            copy_ends::<4>(from, to, size);
        } else if size >= 2 {
            copy_ends::<2>(from, to, size);
        } else if size == 1 {
            *to = *from;
        }
    }
}

/// Copies the first and the last `N` bytes of `size`.
///
/// # Safety
///
/// - As for [`copy_short`], and `N <= size <= 2 * N`.
#[inline(always)]
unsafe fn copy_ends<const N: usize>(from: *const u8, to: *mut u8, size: usize) {
    debug_assert!(N <= size && size <= 2 * N);
    // SAFETY: `N <= size`, so both pieces are within the caller's ranges, which do not overlap.
    // Where the pieces overlap each other, the second store repeats the first.
    unsafe {
        ptr::copy_nonoverlapping(from, to, N);
        ptr::copy_nonoverlapping(from.add(size - N), to.add(size - N), N);
    }
}

// SAFETY: a cursor is an exclusive borrow of bytes, and bytes may be written from any thread.
unsafe impl Send for Cursor<'_> {}

// SAFETY: through a shared cursor the bytes can only be read.
unsafe impl Sync for Cursor<'_> {}

impl fmt::Debug for Cursor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor")
            .field("len", &self.len)
            .field("cap", &self.cap)
            .field("overflowed", &self.overflowed)
            .finish()
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what was written is longer than the {} bytes given to it", self.room)
    }
}

impl std::error::Error for Overflow {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_over_the_memory_behind_an_empty_one_is_not_taken_for_it() {
        let mut memory = [MaybeUninit::uninit(); 8];
        let (none, behind) = memory.split_at_mut(0);
        let start = none.as_ptr();
        let mut cursor = Cursor::new(none);
        assert_eq!(cursor.finish(start, 0), Some(0));
        // Safe code may do that, and with other luck `behind` is another allocation.
        cursor = Cursor::new(behind);
        cursor.put_slice(b"four");
        assert_eq!(cursor.finish(start, 0), None);
    }
}
