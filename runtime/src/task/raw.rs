//! A task's cell, where the types of its future and its scheduler are known.

use std::future::Future;
use std::mem::{self, ManuallyDrop, MaybeUninit};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll};

use super::header::{Header, Home, Vtable};
use super::join::JoinError;
use super::run::Runnable;
use super::schedule::Schedule;
use crate::sync::shim::{Arc, UnsafeCell};
use crate::sync::unwind;

/// One heap allocation a task. The header comes first, so a pointer to it is a pointer to the
/// cell.
#[repr(C)]
struct Cell<F: Future, S> {
    header: Header,
    /// Taken out by `free`, for the scheduler to use again.
    scheduler: ManuallyDrop<Arc<S>>,
    stage: UnsafeCell<Stage<F>>,
}

/// What the cell holds besides its header.
enum Stage<F: Future> {
    /// The future, pinned for as long as it is here.
    Future(F),
    /// What it came to.
    Output(Result<F::Output, JoinError>),
    /// Nothing any more.
    Taken,
}

/// Puts a task on the heap. It has two references: the queue's and the join handle's.
#[inline]
pub(super) fn allocate<F, S>(future: F, scheduler: Arc<S>, home: Home) -> NonNull<Header>
where
    F: Future,
    S: Schedule,
{
    let cell = Box::new(Cell {
        header: Header::new(&Cell::<F, S>::VTABLE, home),
        scheduler: ManuallyDrop::new(scheduler),
        stage: UnsafeCell::new(Stage::Future(future)),
    });
    // The pointer keeps the provenance of the whole cell.
    NonNull::from(Box::leak(cell)).cast()
}

impl<F: Future, S: Schedule> Cell<F, S> {
    const VTABLE: Vtable = Vtable {
        poll: Self::poll,
        cancel: Self::cancel,
        forget: Self::forget,
        take_output: Self::take_output,
        drop_output: Self::drop_output,
        schedule: Self::schedule,
        is_forked: Self::is_forked,
        free: Self::free,
    };

    /// # Safety
    ///
    /// - `task` is a live task of exactly these types;
    /// - `'a` ends before the caller's reference does.
    unsafe fn of<'a>(task: NonNull<Header>) -> &'a Self {
        // SAFETY: the caller's; the vtable of a header names the types it was allocated with,
        // and the cell starts with its header.
        unsafe { task.cast::<Self>().as_ref() }
    }

    /// # Safety
    ///
    /// - as for [`of`](Self::of);
    /// - the caller is the runner.
    unsafe fn poll(task: NonNull<Header>, context: &mut Context<'_>) -> Poll<()> {
        // SAFETY: the caller's.
        let cell = unsafe { Self::of(task) };
        // SAFETY: the runner alone may touch the stage (state.rs, RUNNING).
        let polled = cell.stage.with_mut(|stage| unwind::catch(|| unsafe { poll(stage, context) }));
        match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            // SAFETY: as above.
            Ok(Poll::Ready(output)) => unsafe { cell.finish(Ok(output)) },
            // SAFETY: as above.
            Err(panic) => unsafe { cell.finish(Err(JoinError::panicked(panic))) },
        }
        Poll::Ready(())
    }

    /// # Safety
    ///
    /// As for [`poll`](Self::poll).
    unsafe fn cancel(task: NonNull<Header>) {
        // SAFETY: the caller's.
        unsafe { Self::of(task).finish(Err(JoinError::Aborted)) };
    }

    /// # Safety
    ///
    /// As for [`poll`](Self::poll).
    unsafe fn forget(task: NonNull<Header>) {
        // SAFETY: the caller's.
        let cell = unsafe { Self::of(task) };
        cell.stage.with_mut(|stage| {
            // SAFETY: the runner alone may touch the stage. What is overwritten is leaked.
            unsafe { stage.write(Stage::Output(Err(JoinError::Aborted))) };
        });
    }

    /// Drops the future where it lies and stores what it came to. A destructor that panics
    /// takes the place of the output.
    ///
    /// # Safety
    ///
    /// The caller is the runner.
    unsafe fn finish(&self, output: Result<F::Output, JoinError>) {
        self.stage.with_mut(|stage| {
            // It is a future still, so nothing has to be dropped if that needs no drop.
            let dropped = if mem::needs_drop::<F>() {
                // SAFETY: the runner alone may touch the stage. Whether its destructor panics or
                // not, the old value is gone, and is overwritten before anyone looks.
                unwind::catch(|| unsafe { ptr::drop_in_place(stage) })
            } else {
                Ok(())
            };
            let output = match dropped {
                Ok(()) => output,
                Err(panic) => {
                    unwind::quietly(|| drop(output));
                    Err(JoinError::panicked(panic))
                }
            };
            // SAFETY: as above.
            unsafe { stage.write(Stage::Output(output)) };
        });
    }

    /// # Safety
    ///
    /// - as for [`of`](Self::of);
    /// - the task is complete and its stage is the caller's;
    /// - `slot` points to an `Option<Result<F::Output, JoinError>>`.
    unsafe fn take_output(task: NonNull<Header>, slot: *mut ()) {
        // SAFETY: the caller's.
        let cell = unsafe { Self::of(task) };
        // SAFETY: the stage is the caller's, who holds COMPLETE and the join interest.
        let stage = cell.stage.with_mut(|stage| unsafe { mem::replace(&mut *stage, Stage::Taken) });
        if let Stage::Output(output) = stage {
            // SAFETY: the caller's.
            unsafe { *slot.cast::<Option<Result<F::Output, JoinError>>>() = Some(output) };
        }
    }

    /// # Safety
    ///
    /// As for [`take_output`](Self::take_output).
    unsafe fn drop_output(task: NonNull<Header>) {
        // SAFETY: the caller's.
        let cell = unsafe { Self::of(task) };
        // SAFETY: the stage is the caller's.
        let stage = cell.stage.with_mut(|stage| unsafe { mem::replace(&mut *stage, Stage::Taken) });
        unwind::quietly(|| drop(stage));
    }

    /// # Safety
    ///
    /// - as for [`of`](Self::of);
    /// - the caller gives up a reference, and has set `NOTIFIED` for it.
    unsafe fn schedule(task: NonNull<Header>) {
        // SAFETY: the caller's.
        let scheduler = unsafe { &Self::of(task).scheduler };
        // SAFETY: the reference and the bit are the caller's to give.
        let runnable = unsafe { Runnable::from_raw(task) };
        // On a worker of the scheduler, the worker keeps it alive.
        let Err(runnable) = S::schedule_here(Arc::as_ptr(scheduler), runnable) else { return };
        // Elsewhere it may run and free the task at once, so its own reference has to outlive
        // the call.
        let scheduler = Arc::clone(scheduler);
        scheduler.schedule(runnable);
    }

    /// # Safety
    ///
    /// As for [`of`](Self::of).
    unsafe fn is_forked(task: NonNull<Header>) -> bool {
        // SAFETY: the caller's.
        unsafe { Self::of(task) }.scheduler.is_forked()
    }

    /// # Safety
    ///
    /// - `task` is a task of exactly these types;
    /// - the caller held its last reference.
    unsafe fn free(task: NonNull<Header>) {
        let cell = task.cast::<Self>().as_ptr();
        // The last reference owns every field; the models check it at these accesses.
        // SAFETY: nobody else refers to the cell, and each part is dropped or taken once, in
        // place: moving a large future out would copy it.
        unsafe {
            (*cell).header.place.with_mut(|_| ());
            (*cell).stage.with_mut(|stage| match *stage {
                Stage::Taken => {}
                _ => unwind::quietly(|| ptr::drop_in_place(stage)),
            });
            (*cell).header.join_waker.with_mut(|waker| {
                if let Some(waker) = (*waker).take() {
                    unwind::quietly(|| drop(waker));
                }
            });
            let scheduler = ManuallyDrop::take(&mut (*cell).scheduler);
            ptr::drop_in_place(&raw mut (*cell).header);
            // The box was of this type, whose layout `MaybeUninit` shares.
            drop(Box::from_raw(cell.cast::<MaybeUninit<Self>>()));
            S::reclaim(scheduler);
        }
    }
}

/// # Safety
///
/// - `stage` is valid and the caller's alone;
/// - a future in it never moves again.
unsafe fn poll<F: Future>(stage: *mut Stage<F>, context: &mut Context<'_>) -> Poll<F::Output> {
    // SAFETY: the caller's.
    let Stage::Future(future) = (unsafe { &mut *stage }) else {
        unreachable!("a task without a future is complete, and nobody runs it");
    };
    // SAFETY: the future lies in the task's allocation until it is dropped in place.
    unsafe { Pin::new_unchecked(future) }.poll(context)
}
