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
    /// The task's place in its worker's list, or [`UNOWNED`]. The runner's.
    pub(super) place: UnsafeCell<u32>,
}

/// Not in a worker's list: the task was never polled, or its future is gone.
pub(super) const UNOWNED: u32 = u32::MAX;

/// What can be done with a task whose types are forgotten.
///
/// All take a pointer that came from `raw::allocate`, with provenance over the whole cell.
pub(super) struct Vtable {
    /// Polls; stores the output and returns ready, or returns pending. Runner only.
    pub(super) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> Poll<()>,
    /// Drops the future and stores `Aborted`, or the panic of its destructor. Runner only.
    pub(super) cancel: unsafe fn(NonNull<Header>),
    /// Moves the output to a `*mut Option<Result<T, JoinError>>`. Owner of a complete stage only.
    pub(super) take_output: unsafe fn(NonNull<Header>, *mut ()),
    /// Drops the output. Owner of a complete stage only.
    pub(super) drop_output: unsafe fn(NonNull<Header>),
    /// Gives a reference, with the `NOTIFIED` bit, to the scheduler.
    pub(super) schedule: unsafe fn(NonNull<Header>),
    /// Whether the scheduler is a parent process's.
    pub(super) is_forked: unsafe fn(NonNull<Header>) -> bool,
    /// Frees the cell. Holder of the last reference only.
    pub(super) free: unsafe fn(NonNull<Header>),
}

impl Header {
    pub(super) fn new(vtable: &'static Vtable) -> Self {
        Self {
            state: State::new(),
            vtable,
            join_waker: UnsafeCell::new(None),
            place: UnsafeCell::new(UNOWNED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_at_most_48_bytes() {
        assert!(size_of::<Header>() <= 48, "{} bytes", size_of::<Header>());
    }
}
