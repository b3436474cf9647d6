//! What [`Cursor::put_row`](super::Cursor::put_row) writes side by side.

use std::ptr;

use super::cursor::copy_short;

/// Bytes that are written together: `[u8; N]`, `&[u8]`, [`Padded`], [`PaddedRef`], and tuples of them.
pub trait Row: Sealed {}

/// The first `len` bytes of an array, which costs one store of a fixed size where there is room
/// for the whole array.
#[derive(Clone, Copy, Debug)]
pub struct Padded<const N: usize> {
    bytes: [u8; N],
    /// At most `N`.
    len: usize,
}

impl<const N: usize> Padded<N> {
    /// The first `len` bytes of `bytes`.
    ///
    /// # Panics
    ///
    /// If `len` is above `N`.
    #[inline(always)]
    pub fn new(bytes: [u8; N], len: usize) -> Self {
        assert!(len <= N, "{len} bytes of an array of {N}");
        Self { bytes, len }
    }
}

/// The same of an array that is somewhere else: the first half of it is copied in any case, the
/// second only if some of it counts.
#[derive(Clone, Copy, Debug)]
pub struct PaddedRef<'a, const N: usize> {
    bytes: &'a [u8; N],
    /// At most `N`.
    len: usize,
}

impl<'a, const N: usize> PaddedRef<'a, N> {
    /// The first `len` bytes of `bytes`.
    ///
    /// # Panics
    ///
    /// If `len` is above `N`.
    #[inline(always)]
    pub fn new(bytes: &'a [u8; N], len: usize) -> Self {
        assert!(len <= N, "{len} bytes of an array of {N}");
        Self { bytes, len }
    }

    /// Bytes that count.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none of them counts.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// How pieces are written; only this module's types can be.
///
/// # Safety
///
/// - `write` initialises the first `size()` bytes of the memory it is given.
#[allow(unnameable_types, reason = "nobody else may say what is written")]
pub unsafe trait Sealed {
    /// Bytes that may be written behind the end.
    const PADDING: usize;

    /// Bytes to write.
    fn size(&self) -> usize;

    /// Writes them.
    ///
    /// # Safety
    ///
    /// - `to` is writable for `size()` bytes, and for `PADDING` more if `padded`.
    /// - No slice of the pieces overlaps that memory.
    unsafe fn write(&self, to: *mut u8, padded: bool);
}

// SAFETY: all N bytes are stored.
unsafe impl<const N: usize> Sealed for [u8; N] {
    const PADDING: usize = 0;

    #[inline(always)]
    fn size(&self) -> usize {
        N
    }

    #[inline(always)]
    unsafe fn write(&self, to: *mut u8, _padded: bool) {
        // SAFETY: the caller gave N writable bytes; an array of bytes needs no alignment.
        unsafe { to.cast::<[u8; N]>().write(*self) };
    }
}

// SAFETY: all bytes of the slice are copied.
unsafe impl Sealed for &[u8] {
    const PADDING: usize = 0;

    #[inline(always)]
    fn size(&self) -> usize {
        self.len()
    }

    #[inline(always)]
    unsafe fn write(&self, to: *mut u8, _padded: bool) {
        // SAFETY: the caller gave as many writable bytes, which do not overlap the slice.
        unsafe { copy_short(self.as_ptr(), to, self.len()) };
    }
}

// SAFETY: the first `len` bytes are stored either way.
unsafe impl<const N: usize> Sealed for Padded<N> {
    const PADDING: usize = N;

    #[inline(always)]
    fn size(&self) -> usize {
        self.len
    }

    #[inline(always)]
    unsafe fn write(&self, to: *mut u8, padded: bool) {
        if padded {
            // SAFETY: the caller gave `len + N` writable bytes.
            unsafe { to.cast::<[u8; N]>().write(self.bytes) };
        } else {
            // SAFETY: the caller gave `len` writable bytes, and `len <= N` (field `len`).
            unsafe { copy_short(self.bytes.as_ptr(), to, self.len) };
        }
    }
}

// SAFETY: the first `len` bytes are copied either way.
unsafe impl<const N: usize> Sealed for PaddedRef<'_, N> {
    const PADDING: usize = N;

    #[inline(always)]
    fn size(&self) -> usize {
        self.len
    }

    #[inline(always)]
    unsafe fn write(&self, to: *mut u8, padded: bool) {
        let from = self.bytes.as_ptr();
        if padded {
            // SAFETY: the caller gave `len + N` writable bytes, which do not overlap the array;
            // the halves are within its N bytes.
            unsafe {
                ptr::copy_nonoverlapping(from, to, N / 2);
                if self.len > N / 2 {
                    ptr::copy_nonoverlapping(from.add(N / 2), to.add(N / 2), N - N / 2);
                }
            }
        } else {
            // SAFETY: the caller gave `len` writable bytes, and `len <= N` (field `len`).
            unsafe { copy_short(from, to, self.len) };
        }
    }
}

impl<const N: usize> Row for PaddedRef<'_, N> {}
impl<const N: usize> Row for [u8; N] {}
impl Row for &[u8] {}
impl<const N: usize> Row for Padded<N> {}

macro_rules! tuple {
    ($($piece:ident $index:tt),+) => {
        impl<$($piece: Row),+> Row for ($($piece,)+) {}

        // SAFETY: each piece initialises its own part, and the parts lie side by side. They are
        // written from first to last, so the padding of one is overwritten by the next.
        unsafe impl<$($piece: Row),+> Sealed for ($($piece,)+) {
            const PADDING: usize = 0 $(+ $piece::PADDING)+;

            #[inline(always)]
            fn size(&self) -> usize {
                let mut size = 0;
                $( size = sum(size, self.$index.size()); )+
                size
            }

            #[inline(always)]
            unsafe fn write(&self, to: *mut u8, padded: bool) {
                let mut at = 0;
                // SAFETY: `at` is the size of the pieces before this one, so all of its bytes are
                // within the caller's; so is its padding, as part of all padding.
                unsafe {
                    $(
                        self.$index.write(to.add(at), padded);
                        at += self.$index.size();
                    )+
                }
                debug_assert_eq!(at, self.size());
            }
        }
    };
}

/// A sum of sizes; one that does not exist is more than any memory has, and refused like that.
#[inline(always)]
fn sum(one: usize, other: usize) -> usize {
    if cfg!(target_pointer_width = "64") {
        // Pieces lie in memory, of which there are less than 2^60 bytes: six do not wrap.
        one.wrapping_add(other)
    } else {
        one.saturating_add(other)
    }
}

tuple!(A 0, B 1);
tuple!(A 0, B 1, C 2);
tuple!(A 0, B 1, C 2, D 3);
tuple!(A 0, B 1, C 2, D 3, E 4);
tuple!(A 0, B 1, C 2, D 3, E 4, F 5);
