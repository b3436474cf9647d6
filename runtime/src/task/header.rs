//! The part of a task that does not depend on its future.

use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};

use super::state::State;
use crate::sync::shim::UnsafeCell;

/// The start of every task's allocation; the module's table says who may touch what and when.
#[repr(C)]
pub(super) struct Header {
    pub(super) state: State,
    pub(super) vtable: &'static Vtable,
    /// Who waits for the output. See the join waker's rules in the module.
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
    /// The task's place in the list of the worker `lister`, or [`UNLISTED`]. The runner's.
    pub(super) place: UnsafeCell<u32>,
    /// See `place`.
    pub(super) lister: UnsafeCell<u8>,
    /// Who may run the task.
    pub(super) home: Home,
}

/// In no list: the task never waited, or its future is gone.
pub(super) const UNLISTED: u32 = u32::MAX;

/// Who may run a task: one worker, or any. Decided when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home(u8);

impl Home {
    /// Any worker.
    pub const ANYWHERE: Self = Self(u8::MAX);

    /// The worker with this number, which is below 255.
    pub const fn worker(number: u8) -> Self {
        assert!(number < u8::MAX, "there are at most 255 workers");
        Self(number)
    }

    /// The number of the one worker.
    #[inline]
    pub const fn pinned_to(self) -> Option<usize> {
        if self.0 == Self::ANYWHERE.0 { None } else { Some(self.0 as usize) }
    }
}

/// Where a task is in the lists of those whose futures have to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "an executor names places")]
pub struct Place {
    /// Whose list it is in.
    pub worker: u8,
    /// Where in the list; not `u32::MAX`.
    pub index: u32,
}

/// What can be done with a task whose types are forgotten.
///
/// All take a pointer that came from `raw::allocate`, with provenance over the whole cell.
pub(super) struct Vtable {
    /// Polls; stores the output and returns ready, or returns pending. Runner only.
    pub(super) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> Poll<()>,
    /// Drops the future and stores `Aborted`, or the panic of its destructor. Runner only.
    pub(super) cancel: unsafe fn(NonNull<Header>),
    /// Forgets the future and stores `Aborted`. Runner only.
    pub(super) forget: unsafe fn(NonNull<Header>),
    /// Moves the output to a `*mut Option<Result<T, JoinError>>`. Owner of a complete stage only.
    pub(super) take_output: unsafe fn(NonNull<Header>, *mut ()),
    /// Drops the output. Owner of a complete stage only.
    pub(super) drop_output: unsafe fn(NonNull<Header>),
    /// Gives a reference to the scheduler, with the `NOTIFIED` bit.
    pub(super) schedule: unsafe fn(NonNull<Header>),
    /// Whether the scheduler is a parent process's.
    pub(super) is_forked: unsafe fn(NonNull<Header>) -> bool,
    /// Frees the cell. Holder of the last reference only.
    pub(super) free: unsafe fn(NonNull<Header>),
}

impl Header {
    #[inline]
    pub(super) fn new(vtable: &'static Vtable, home: Home) -> Self {
        Self {
            state: State::new(),
            vtable,
            join_waker: UnsafeCell::new(None),
            place: UnsafeCell::new(UNLISTED),
            lister: UnsafeCell::new(0),
            home,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_at_most_48_bytes() {
        // With the reference to the scheduler that follows it.
        let bytes = size_of::<Header>() + size_of::<usize>();
        assert!(bytes <= 48, "{bytes} bytes");
    }
}
