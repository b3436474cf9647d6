//! std, loom or shuttle: the only file of the workspace that names the cfg.
//!
//! Everything else imports its atomics, locks, cells and thread-locals from here, so a loom model
//! or a shuttle test builds the production source. The API is loom's where they differ
//! (`UnsafeCell::with_mut`).

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;
use std::slice;

pub(crate) use self::arm::thread_local;
pub use self::arm::{Arc, Condvar, Futex, UnsafeCell, atomic, hint, limits, thread};
use self::arm::{Mutex as InnerMutex, MutexGuard as InnerGuard, Trace};

/// A mutex that ignores poisoning: every structure behind one is valid between any two
/// statements, so a panic elsewhere is no reason to fail here.
#[derive(Debug, Default)]
pub struct Mutex<T>(InnerMutex<T>);

/// Unlocks on drop.
pub type MutexGuard<'a, T> = InnerGuard<'a, T>;

impl<T> Mutex<T> {
    /// Wraps `value`.
    pub fn new(value: T) -> Self {
        Self(InnerMutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One piece of raw memory that is read and written in ranges by several threads; never zeroed,
/// so pages that nobody writes cost nothing. Under loom every access of every byte is checked
/// for races.
pub struct Slab {
    start: NonNull<u8>,
    layout: Layout,
    trace: Trace,
}

impl Slab {
    /// Reserves `bytes`, aligned to a page. Aborts like `Vec` if there is no memory.
    ///
    /// # Panics
    ///
    /// If `bytes` is zero or more than `isize::MAX` less a page.
    pub fn new(bytes: usize) -> Self {
        assert!(bytes > 0, "a slab of no bytes");
        let layout = Layout::from_size_align(bytes, PAGE).expect("a slab below isize::MAX bytes");
        // SAFETY: the size is not zero, as asserted above.
        let start = unsafe { alloc(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Self { start, layout, trace: Trace::new(bytes) }
    }

    /// The memory of `range`, for writing; what is in it is unspecified.
    ///
    /// # Panics
    ///
    /// If `range` is not within the slab.
    ///
    /// # Safety
    ///
    /// - As long as the result lives, nobody else reads or writes any byte of `range`.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "the memory is not part of self; see Safety")]
    pub unsafe fn write(&self, range: Range<usize>) -> &mut [MaybeUninit<u8>] {
        self.check(&range);
        self.trace.write(range.clone());
        // SAFETY: within the allocation, as checked; exclusive by the caller's promise; any
        // bytes are valid as `MaybeUninit`.
        unsafe {
            let start = self.start.as_ptr().add(range.start).cast();
            slice::from_raw_parts_mut(start, range.len())
        }
    }

    /// The bytes of `range`.
    ///
    /// # Panics
    ///
    /// If `range` is not within the slab.
    ///
    /// # Safety
    ///
    /// - Each byte of `range` was written, and that happened before this call.
    /// - As long as the result lives, nobody writes any byte of `range`.
    #[inline]
    pub unsafe fn read(&self, range: Range<usize>) -> &[u8] {
        self.check(&range);
        self.trace.read(range.clone());
        // SAFETY: within the allocation, as checked; initialised and not written meanwhile by
        // the caller's promise.
        unsafe { slice::from_raw_parts(self.start.as_ptr().add(range.start), range.len()) }
    }

    /// Tells loom that a reader of `range` is about to end; nothing otherwise.
    #[inline]
    pub fn end_read(&self, range: Range<usize>) {
        self.trace.read(range);
    }

    #[inline]
    fn check(&self, range: &Range<usize>) {
        let within = range.start <= range.end && range.end <= self.layout.size();
        assert!(within, "{range:?} is not within a slab of {} bytes", self.layout.size());
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout; nothing borrows from a slab that is
        // being dropped.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

// SAFETY: a slab is plain memory, and bytes belong to no thread.
unsafe impl Send for Slab {}

// SAFETY: each access through a shared slab promises that it races with no other.
unsafe impl Sync for Slab {}

impl fmt::Debug for Slab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slab").field("bytes", &self.layout.size()).finish_non_exhaustive()
    }
}

/// How slabs are aligned: no chunk shares a page with a foreign allocation.
const PAGE: usize = 4096;

#[cfg(not(any(loom, shuttle)))]
mod arm {
    pub use std::sync::{Arc, Condvar, atomic};
    pub(super) use std::sync::{Mutex, MutexGuard};
    pub(crate) use std::thread_local;
    pub use std::{hint, thread};

    pub(super) use super::plain::Trace;
    pub use super::plain::UnsafeCell;
    pub use crate::sys::Futex;

    /// Sizes that a model has to shrink.
    pub mod limits {
        /// Chunks are multiples of this many bytes: a page.
        pub const CHUNK_GRAIN: usize = 4096;
        /// Runs of records with equal tags in one chunk: what 8 bits of a mark can count. A
        /// thread that changes its scope with each record fills 40 % of a chunk of 64 KiB with
        /// records of 100 bytes, and all of it from 257 bytes on.
        pub const RUNS_MAX: usize = 255;
        /// Slots of a worker's own run queue: 2 KiB of pointers. Go and tokio settled on 256 too.
        pub const QUEUE_SLOTS: usize = 256;
    }
}

#[cfg(loom)]
mod arm {
    use std::ops::Range;

    pub use loom::cell::UnsafeCell;
    pub use loom::sync::{Arc, Condvar, atomic};
    pub(super) use loom::sync::{Mutex, MutexGuard};
    pub use loom::{hint, thread};

    pub use super::futex::Futex;

    /// loom's macro does not know `const` initialisers.
    macro_rules! local {
        ($($(#[$doc:meta])* static $name:ident: $type:ty = const { $init:expr };)+) => {
            loom::thread_local! { $($(#[$doc])* static $name: $type = $init;)+ }
        };
    }
    pub(crate) use local as thread_local;

    /// Sizes that a model has to shrink.
    pub mod limits {
        /// Each byte is a cell that loom tracks: a page of them would be too many.
        pub const CHUNK_GRAIN: usize = 4;
        /// Each run is a cell that loom tracks; two are enough to see a table fill up.
        pub const RUNS_MAX: usize = 2;
        /// The smallest with a half that is more than one item.
        pub const QUEUE_SLOTS: usize = 4;
    }

    /// One cell a byte: an access of a range is an access of each of its cells.
    pub(super) struct Trace(Box<[UnsafeCell<()>]>);

    impl Trace {
        pub(super) fn new(bytes: usize) -> Self {
            Self((0..bytes).map(|_| UnsafeCell::new(())).collect())
        }
        pub(super) fn read(&self, range: Range<usize>) {
            self.0[range].iter().for_each(|cell| cell.with(|_| ()));
        }
        pub(super) fn write(&self, range: Range<usize>) {
            self.0[range].iter().for_each(|cell| cell.with_mut(|_| ()));
        }
    }
}

#[cfg(shuttle)]
mod arm {
    pub use shuttle::sync::{Arc, Condvar, atomic};
    pub(super) use shuttle::sync::{Mutex, MutexGuard};
    pub(crate) use shuttle::thread_local;
    pub use shuttle::{hint, thread};

    pub use super::futex::Futex;
    pub(super) use super::plain::Trace;
    pub use super::plain::UnsafeCell;

    /// Sizes that a model has to shrink.
    pub mod limits {
        /// Small, so that few records fill a chunk.
        pub const CHUNK_GRAIN: usize = 64;
        /// Small, so that few changes of scope fill a table.
        pub const RUNS_MAX: usize = 4;
        /// Small, so that few tasks fill a queue.
        pub const QUEUE_SLOTS: usize = 4;
    }
}

/// What std and shuttle share: nobody watches plain memory.
#[cfg(not(loom))]
mod plain {
    use std::ops::Range;

    /// Sees nothing and costs nothing; loom's counterpart checks each access.
    pub(super) struct Trace;

    impl Trace {
        pub(super) fn new(_bytes: usize) -> Self {
            Self
        }
        #[inline]
        pub(super) fn read(&self, _range: Range<usize>) {}
        #[inline]
        pub(super) fn write(&self, _range: Range<usize>) {}
    }

    /// [`std::cell::UnsafeCell`] with loom's access methods.
    #[derive(Debug, Default)]
    #[repr(transparent)]
    pub struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        /// Wraps `value`.
        pub const fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        /// Calls `read` with a pointer for reading; loom checks that no write races with it.
        #[inline]
        pub fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
            read(self.0.get())
        }

        /// Calls `write` with a pointer for writing; loom checks that no access races with it.
        #[inline]
        pub fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
            write(self.0.get())
        }

        /// Unwraps the value.
        pub fn into_inner(self) -> T {
            self.0.into_inner()
        }
    }
}

/// The portable futex, made of the checker's parts: the system's own would hide the sleep from
/// it.
#[cfg(any(loom, shuttle))]
#[path = "../sys/portable/futex.rs"]
mod futex;

#[cfg(loom)]
mod parts {
    pub(super) use loom::sync::atomic::{AtomicU32, Ordering};
    pub(super) use loom::sync::{Condvar, Mutex};
}

#[cfg(shuttle)]
mod parts {
    pub(super) use shuttle::sync::atomic::{AtomicU32, Ordering};
    pub(super) use shuttle::sync::{Condvar, Mutex};
}
