//! An allocator that counts, for tests of what allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator. It counts what the calling thread asks of it.
///
/// ```
/// use spanwire_runtime::sys::counting::Counting;
///
/// #[global_allocator]
/// static COUNTING: Counting = Counting::new();
///
/// let before = Counting::of_this_thread();
/// drop(Box::new(7));
/// assert_eq!(Counting::of_this_thread() - before, 1);
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Counting;

thread_local! {
    /// It has no destructor, so it can be asked for at any time of a thread.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

impl Counting {
    /// The allocator; make it the global one.
    pub const fn new() -> Self {
        Self
    }

    /// Allocations of this thread so far, those that only grew something included.
    pub fn of_this_thread() -> u64 {
        ALLOCATIONS.get()
    }

    /// Bytes of the largest of them.
    pub fn largest_of_this_thread() -> usize {
        LARGEST.get()
    }
}

// SAFETY: all of it is the system's allocator. (The methods that are not here call these.)
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        LARGEST.set(LARGEST.get().max(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) };
    }
}
