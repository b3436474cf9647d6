//! References to tasks, and how a worker runs them.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use super::header::{Header, UNOWNED};
use super::schedule::Owner;
use super::state::{Idle, Start, Wake};
use crate::sync::unwind;

/// One reference to a task.
pub struct TaskRef(NonNull<Header>);

// SAFETY: a reference gives access to the state, which is atomic, and to fields that the state
// hands from one thread to another. A future that must not leave its thread is touched there
// only: see `schedule::spawn_pinned`.
unsafe impl Send for TaskRef {}
// SAFETY: as above; nothing is reached through `&TaskRef` but the state.
unsafe impl Sync for TaskRef {}

/// A task that wants to be run: a reference together with the `NOTIFIED` bit.
///
/// Dropping it gives up the reference only. A scheduler drops one when the worker that owns the
/// task has closed its queue, since that worker drops the future.
pub struct Runnable(TaskRef);

impl TaskRef {
    /// # Safety
    ///
    /// - `task` came from `raw::allocate`;
    /// - the caller gives up one reference.
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        Self(task)
    }

    pub(super) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: this reference keeps the task alive.
        unsafe { self.0.as_ref() }
    }

    pub(super) fn as_ptr(&self) -> NonNull<Header> {
        self.0
    }

    /// Asks for the future to be dropped by its worker.
    pub(super) fn abort(&self) {
        if self.header().state.abort() {
            // SAFETY: `abort` added the reference and set the bit.
            unsafe { (self.header().vtable.schedule)(self.0) };
        }
    }

    /// Takes the task out of circulation: drops its future here and now, unless it is complete.
    /// Only its worker calls this.
    pub fn shut_down(self, owner: &dyn Owner) {
        if self.header().state.claim() {
            self.cancel(owner);
        }
    }

    /// The runner drops the future.
    fn cancel(self, owner: &dyn Owner) {
        // SAFETY: the caller is the runner: `start`, `idle` or `claim` said so.
        unsafe { (self.header().vtable.cancel)(self.0) };
        self.finish(owner);
    }

    /// The runner has stored the output: hands it over.
    fn finish(self, owner: &dyn Owner) {
        self.disown(owner);
        let header = self.header();
        let now = header.state.complete();
        if !now.has_join_handle() {
            // SAFETY: nobody will ask for the output, so it is the runner's.
            unsafe { (header.vtable.drop_output)(self.0) };
        } else if now.has_join_waker() {
            self.wake_join();
        }
    }

    fn wake_join(&self) {
        let header = self.header();
        // SAFETY: COMPLETE and JOIN_WAKER are set: the runner may read the waker.
        header.join_waker.with(|waker| unsafe {
            if let Some(waker) = &*waker {
                unwind::quietly(|| waker.wake_by_ref());
            }
        });
        if !header.state.return_join_waker().has_join_handle() {
            self.drop_join_waker();
        }
    }

    /// The caller has the join waker to itself.
    pub(super) fn drop_join_waker(&self) {
        // SAFETY: the caller's, by the join waker's rules.
        let waker = self.header().join_waker.with_mut(|waker| unsafe { (*waker).take() });
        unwind::quietly(|| drop(waker));
    }

    /// The runner puts the task on its worker's list, before it first becomes idle.
    fn own(&self, owner: &dyn Owner) {
        // SAFETY: the place is the runner's.
        self.header().place.with_mut(|place| unsafe {
            if *place == UNOWNED {
                *place = owner.adopt(self.clone());
            }
        });
    }

    /// The runner takes the task off the list: its future is gone.
    fn disown(&self, owner: &dyn Owner) {
        // SAFETY: the place is the runner's.
        let place = self.header().place.with_mut(|place| unsafe { place.replace(UNOWNED) });
        if place != UNOWNED {
            drop(owner.release(place));
        }
    }
}

impl Clone for TaskRef {
    fn clone(&self) -> Self {
        self.header().state.add_reference();
        Self(self.0)
    }
}

impl Drop for TaskRef {
    fn drop(&mut self) {
        if self.header().state.drop_reference() {
            // SAFETY: it was the last reference.
            unsafe { (self.header().vtable.free)(self.0) };
        }
    }
}

impl Runnable {
    /// # Safety
    ///
    /// - as for [`TaskRef::from_raw`];
    /// - the `NOTIFIED` bit was set for this reference.
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { TaskRef::from_raw(task) })
    }

    /// Polls the task once, or drops its future if it was aborted.
    pub fn run(self, owner: &dyn Owner) {
        match self.0.header().state.start() {
            Start::Poll => self.poll(owner),
            Start::Cancel => self.0.cancel(owner),
            Start::Gone => {}
        }
    }

    /// Drops the task's future here and now. For a task that was never polled, and for its
    /// worker.
    pub fn shut_down(self, owner: &dyn Owner) {
        self.0.shut_down(owner);
    }

    fn poll(self, owner: &dyn Owner) {
        let task = self.0;
        let polled = {
            // The waker borrows the runner's reference; a future that keeps it clones it.
            // SAFETY: the waker's reference is never given up, being in a `ManuallyDrop`.
            let waker = ManuallyDrop::new(unsafe { waker(task.as_ptr()) });
            let mut context = Context::from_waker(&waker);
            // SAFETY: `start` made the caller the runner.
            unsafe { (task.header().vtable.poll)(task.as_ptr(), &mut context) }
        };
        if polled.is_ready() {
            return task.finish(owner);
        }
        task.own(owner);
        match task.header().state.idle() {
            Idle::Done => _ = task.into_raw(),
            Idle::Cancel => task.cancel(owner),
            Idle::Schedule => {
                let task = task.into_raw();
                // SAFETY: the runner's reference goes to the queue, and `idle` left the bit.
                unsafe { (task.as_ref().vtable.schedule)(task) };
            }
            Idle::Last => {
                let task = task.into_raw();
                // SAFETY: `idle` gave up the last reference.
                unsafe { (task.as_ref().vtable.free)(task) };
            }
        }
    }
}

/// # Safety
///
/// - `task` came from `raw::allocate`;
/// - the caller gives up one reference to it, or never drops the waker.
unsafe fn waker(task: NonNull<Header>) -> Waker {
    // SAFETY: the functions below keep the contract of `RawWaker`, from any thread.
    unsafe { Waker::from_raw(raw_waker(task)) }
}

fn raw_waker(task: NonNull<Header>) -> RawWaker {
    RawWaker::new(task.as_ptr().cast_const().cast(), &WAKER)
}

static WAKER: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// The task behind a waker.
///
/// # Safety
///
/// `data` is the pointer of one of our wakers, whose reference lives for `'a`.
unsafe fn header<'a>(data: *const ()) -> (NonNull<Header>, &'a Header) {
    // SAFETY: `raw_waker` made it from a `NonNull`; the caller's for the reference.
    unsafe {
        let task = NonNull::new_unchecked(data.cast_mut().cast::<Header>());
        (task, task.as_ref())
    }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: called by a waker of ours.
    let (task, header) = unsafe { header(data) };
    header.state.add_reference();
    raw_waker(task)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: called by a waker of ours, which gives up its reference.
    let (task, header) = unsafe { header(data) };
    match header.state.wake_by_val() {
        Wake::Done => {}
        // SAFETY: `wake_by_val` set the bit and left the waker's reference to be given.
        Wake::Schedule => unsafe { (header.vtable.schedule)(task) },
        // SAFETY: `wake_by_val` gave up the last reference.
        Wake::Last => unsafe { (header.vtable.free)(task) },
    }
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: called by a waker of ours.
    let (task, header) = unsafe { header(data) };
    if header.state.wake_by_ref() {
        // SAFETY: `wake_by_ref` added the reference and set the bit.
        unsafe { (header.vtable.schedule)(task) };
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: called by a waker of ours, which gives up its reference.
    drop(unsafe { TaskRef::from_raw(header(data).0) });
}
