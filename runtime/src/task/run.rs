//! References to tasks, and how a worker runs them.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::task::{Context, RawWaker, RawWakerVTable, Waker};

use super::header::{Header, Home, Place, UNLISTED};
use super::schedule::Owner;
use super::state::{End, Idle, Start, Wake};
use crate::sync::shim::thread_local;
use crate::sync::unwind;

/// One reference to a task.
pub struct TaskRef(NonNull<Header>);

// SAFETY: a reference gives access to the state, which is atomic, and to fields that the state
// hands from one thread to another. A future that must not leave its thread is touched there
// only: see `schedule::spawn_pinned`.
unsafe impl Send for TaskRef {}
// SAFETY: as above; nothing is reached through `&TaskRef` but the state.
unsafe impl Sync for TaskRef {}

/// A task that wants to be run: a reference, together with the right to become its runner
/// (the `NOTIFIED` bit) or the right of one who is (a new task, and one that yielded).
///
/// Dropping it gives up the reference only. A scheduler drops one that was woken when the
/// worker that has the task in its list has closed its queue, since that worker drops the
/// future. One that is new has to be run or shut down.
pub struct Runnable(TaskRef);

impl TaskRef {
    /// # Safety
    ///
    /// - `task` came from `raw::allocate`;
    /// - the caller gives up one reference.
    #[inline]
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        Self(task)
    }

    #[inline]
    pub(super) fn into_raw(self) -> NonNull<Header> {
        ManuallyDrop::new(self).0
    }

    #[inline]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: this reference keeps the task alive.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    pub(super) fn as_ptr(&self) -> NonNull<Header> {
        self.0
    }

    /// Who may run the task.
    #[inline]
    pub fn home(&self) -> Home {
        self.header().home
    }

    /// Frees the task.
    ///
    /// # Safety
    ///
    /// - this is the only reference.
    pub(super) unsafe fn free(self) {
        let task = self.into_raw();
        // SAFETY: the caller's.
        unsafe { (task.as_ref().vtable.free)(task) };
    }

    /// Asks for the future to be dropped by its worker.
    pub(super) fn abort(&self) {
        if self.header().state.abort() {
            // SAFETY: `abort` added the reference and set the bit.
            unsafe { (self.header().vtable.schedule)(self.0) };
        }
    }

    /// Takes the task out of circulation: drops its future here and now, unless it is complete
    /// or has a runner, who will. Only a worker that may run it calls this, for what it has in
    /// its list.
    pub fn shut_down(self, owner: &impl Owner) {
        if self.header().state.claim() {
            self.cancel(owner);
        }
    }

    /// The runner drops the future.
    #[cold]
    fn cancel(self, owner: &impl Owner) {
        // SAFETY: the caller is the runner: `start`, `idle` or `claim` said so.
        unsafe { (self.header().vtable.cancel)(self.0) };
        self.finish(owner);
    }

    /// The runner has stored the output: hands it over, and its references with it.
    #[inline]
    fn finish(self, owner: &impl Owner) {
        // What the list had is given up together with the runner's own.
        let references = 1 + usize::from(self.delist(owner));
        let task = ManuallyDrop::new(self);
        match task.header().state.complete(references) {
            End::Done => {}
            // SAFETY: the caller has the only references.
            End::Alone => unsafe { ManuallyDrop::into_inner(task).free() },
            End::WakeJoin => task.wake_join(references),
            End::Unwanted => {
                // SAFETY: nobody will ask for the output, so it is the runner's.
                unsafe { (task.header().vtable.drop_output)(task.0) };
                task.give_up(references);
            }
        }
    }

    /// Wakes the join handle, then gives the references up.
    fn wake_join(&self, references: usize) {
        let header = self.header();
        // SAFETY: COMPLETE and JOIN_WAKER are set: the runner may read the waker.
        header.join_waker.with(|waker| unsafe {
            if let Some(waker) = &*waker {
                unwind::quietly(|| waker.wake_by_ref());
            }
        });
        if !header.state.return_join_waker(references) {
            self.drop_join_waker();
            self.give_up(references);
        }
    }

    fn give_up(&self, references: usize) {
        if self.header().state.drop_references(references) {
            // SAFETY: they were the last references, and the caller does not use this one any
            // more, being in `finish`.
            unsafe { (self.header().vtable.free)(self.0) };
        }
    }

    /// The caller has the join waker to itself.
    pub(super) fn drop_join_waker(&self) {
        // SAFETY: the caller's, by the join waker's rules.
        let waker = self.header().join_waker.with_mut(|waker| unsafe { (*waker).take() });
        unwind::quietly(|| drop(waker));
    }

    /// Whether the task is in a list. The runner asks.
    #[inline]
    fn is_listed(&self) -> bool {
        // SAFETY: the place is the runner's.
        self.header().place.with(|place| unsafe { *place != UNLISTED })
    }

    /// The runner puts the task on its worker's list, before it first becomes idle. Its
    /// reference is the list's from now on.
    fn list(&self, owner: &impl Owner) {
        let Place { worker, index } = owner.adopt(Self(self.0));
        debug_assert_ne!(index, UNLISTED, "the owner's promise");
        // SAFETY: the place is the runner's.
        unsafe {
            self.header().place.with_mut(|place| *place = index);
            self.header().lister.with_mut(|lister| *lister = worker);
        }
    }

    /// The runner takes the task off its list: its future is gone. True: the list's reference
    /// is the caller's now. False: it was in none, or whoever empties the list has that.
    #[inline]
    fn delist(&self, owner: &impl Owner) -> bool {
        if !self.is_listed() {
            return false;
        }
        let header = self.header();
        // SAFETY: the place is the runner's.
        let place = unsafe {
            let index = header.place.with_mut(|place| place.replace(UNLISTED));
            Place { worker: header.lister.with(|lister| *lister), index }
        };
        match owner.release(header.home, place) {
            Some(listed) => {
                _ = listed.into_raw();
                true
            }
            None => false,
        }
    }
}

impl Clone for TaskRef {
    #[inline]
    fn clone(&self) -> Self {
        self.header().state.add_reference();
        Self(self.0)
    }
}

impl Drop for TaskRef {
    #[inline]
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
    #[inline]
    pub(super) unsafe fn from_raw(task: NonNull<Header>) -> Self {
        // SAFETY: the caller's.
        Self(unsafe { TaskRef::from_raw(task) })
    }

    /// Who may run the task.
    #[inline]
    pub fn home(&self) -> Home {
        self.0.home()
    }

    /// Polls the task once, or drops its future if it was aborted.
    #[inline]
    pub fn run(self, owner: &impl Owner) {
        match self.0.header().state.start() {
            Start::Poll => self.poll(owner),
            Start::Cancel => self.0.cancel(owner),
            Start::Gone => {}
        }
    }

    /// Drops the task's future here and now. For a worker that may run it, and for whoever
    /// made it as long as it was in no queue.
    pub fn shut_down(self, owner: &impl Owner) {
        match self.0.header().state.start() {
            Start::Poll | Start::Cancel => self.0.cancel(owner),
            Start::Gone => {}
        }
    }

    /// As [`shut_down`](Self::shut_down), but leaks the future.
    pub fn forget(self, owner: &impl Owner) {
        match self.0.header().state.start() {
            Start::Poll | Start::Cancel => {
                // SAFETY: the caller is the runner.
                unsafe { (self.0.header().vtable.forget)(self.0.0) };
                self.0.finish(owner);
            }
            Start::Gone => {}
        }
    }

    #[inline]
    fn poll(self, owner: &impl Owner) {
        let task = self.0;
        let (polled, has_yielded) = {
            // The waker borrows the runner's reference; a future that keeps it clones it.
            // SAFETY: the waker's reference is never given up, being in a `ManuallyDrop`.
            let waker = ManuallyDrop::new(unsafe { waker(task.as_ptr()) });
            let mut context = Context::from_waker(&waker);
            // SAFETY: `start` made the caller the runner.
            polling(task.0, || unsafe { (task.header().vtable.poll)(task.as_ptr(), &mut context) })
        };
        if polled.is_ready() {
            task.finish(owner);
        } else if has_yielded {
            // It stays the runner's, in the queue: no transition.
            owner.requeue(Self(task));
        } else {
            task.rest(owner);
        }
    }
}

impl TaskRef {
    /// The runner's poll was not ready.
    #[inline]
    fn rest(self, owner: &impl Owner) {
        let is_new = !self.is_listed();
        if is_new {
            self.list(owner);
        }
        // The runner's reference is the list's if it was new; else `idle` gives it up. Unless
        // it says so, none is left here, and the task may be run and freed elsewhere.
        let task = ManuallyDrop::new(self);
        match task.header().state.idle(is_new) {
            Idle::Done => {}
            Idle::Requeue => owner.requeue(Runnable(ManuallyDrop::into_inner(task))),
            Idle::Cancel => ManuallyDrop::into_inner(task).cancel(owner),
        }
    }
}

thread_local! {
    /// What this thread polls.
    static POLLED: Polled = const { Polled { task: Cell::new(ptr::null()), has_yielded: Cell::new(false) } };
}

/// A task that wakes itself during its own poll needs no transition of its state: whoever polls
/// it looks here.
struct Polled {
    task: Cell<*const Header>,
    has_yielded: Cell<bool>,
}

/// Calls `poll` for `task`, and says whether it woke itself meanwhile.
#[inline]
fn polling<R>(task: NonNull<Header>, poll: impl FnOnce() -> R) -> (R, bool) {
    let set = |task| {
        POLLED.with(|polled| {
            polled.task.set(task);
            polled.has_yielded.replace(false)
        })
    };
    set(task.as_ptr().cast_const());
    // A future's panic ends in `poll`.
    let result = poll();
    (result, set(ptr::null()))
}

/// Notes a wake of the task that this thread polls. False: it is another one.
#[inline]
fn wakes_itself(task: NonNull<Header>) -> bool {
    let is_polled = POLLED.try_with(|polled| {
        let is_polled = ptr::eq(polled.task.get(), task.as_ptr());
        if is_polled {
            polled.has_yielded.set(true);
        }
        is_polled
    });
    // A thread whose thread-locals are gone polls nothing.
    is_polled.unwrap_or(false)
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
    if wakes_itself(task) {
        // Not the last one: the runner has one.
        _ = header.state.drop_reference();
        return;
    }
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
    if !wakes_itself(task) && header.state.wake_by_ref() {
        // SAFETY: `wake_by_ref` added the reference and set the bit.
        unsafe { (header.vtable.schedule)(task) };
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: called by a waker of ours, which gives up its reference.
    drop(unsafe { TaskRef::from_raw(header(data).0) });
}
