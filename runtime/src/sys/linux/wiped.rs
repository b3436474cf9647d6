//! A word that every fork wipes.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// A word that is zero at first and in every forked child; none if there can be no such word. It
/// is the same one for all callers in the process.
pub fn word() -> Option<&'static AtomicU64> {
    // Ordering: Acquire pairs with the Release below: the page is mapped.
    let known = PAGE.load(Ordering::Acquire);
    // No `OnceLock`: it may be held by a thread that a child does not have.
    let page = if known.is_null() { keep(map()) } else { known };
    // SAFETY: the page is `NONE`, or one that `map` has returned and that is never unmapped. It is
    // aligned, initialised, and accessed as an atomic only.
    (!ptr::eq(page, &raw const NONE)).then(|| unsafe { &*page })
}

/// The first page to come is the process's, and that of its children.
fn keep(page: *mut AtomicU64) -> *mut AtomicU64 {
    let none = ptr::null_mut();
    // Ordering: Release publishes the mapping; Acquire takes over somebody else's.
    match PAGE.compare_exchange(none, page, Ordering::Release, Ordering::Acquire) {
        Ok(_) => page,
        Err(others) => {
            unmap(page);
            others
        }
    }
}

/// A page of zeros that every fork wipes, or [`NONE`].
fn map() -> *mut AtomicU64 {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping, wherever the kernel likes.
    let start = unsafe { libc::mmap(ptr::null_mut(), BYTES, access, kind, -1, 0) };
    if start == libc::MAP_FAILED {
        return none();
    }
    // An emulator that says yes to every advice cannot be believed about this one.
    // SAFETY: both are advice about the page just mapped; the first one does not exist.
    let is_wiped = unsafe {
        libc::madvise(start, BYTES, -1) != 0
            && libc::madvise(start, BYTES, libc::MADV_WIPEONFORK) == 0
    };
    if is_wiped {
        return start.cast();
    }
    unmap(start.cast());
    none()
}

fn unmap(page: *mut AtomicU64) {
    if !ptr::eq(page, &raw const NONE) {
        // SAFETY: `map` has mapped this page, and nobody else has seen it.
        unsafe { libc::munmap(page.cast(), BYTES) };
    }
}

fn none() -> *mut AtomicU64 {
    (&raw const NONE).cast_mut()
}

/// The page, once somebody has asked; it stays for the life of the process.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());
/// Stands for a page that could not be had. Never written.
static NONE: AtomicU64 = AtomicU64::new(0);
/// The kernel rounds it up to its page.
const BYTES: usize = 4096;
