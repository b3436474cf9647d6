//! Waiting for a task's output.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::pin::Pin;
use std::ptr;
use std::task::{Context, Poll, Waker, ready};

use super::run::TaskRef;
use crate::sync::budget;
use crate::sync::unwind::{Panic, Payload};

/// Waits for a task's output. Dropping it detaches the task, which runs on.
///
/// # Panics
///
/// When polled again after it has returned the output.
///
/// # Examples
///
/// ```
/// use spanwire_runtime::Builder;
/// use spanwire_runtime::task::JoinError;
///
/// let runtime = Builder::new().build()?;
/// assert_eq!(runtime.block_on(runtime.spawn(async { 7 }))?, 7);
///
/// let waits = runtime.spawn(std::future::pending::<()>());
/// waits.abort();
/// assert!(matches!(runtime.block_on(waits), Err(JoinError::Aborted)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinHandle<T> {
    task: ManuallyDrop<TaskRef>,
    /// The output may be taken, and dropped, on the handle's thread.
    _output: PhantomData<T>,
}

// SAFETY: the handle takes the output out of the task, so it is as `Send` as the output; the
// task itself is reached through its state.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: through a shared handle nobody reaches the output.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

/// Why there is no output.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The task panicked; here is what it panicked with.
    Panicked(Panic),
    /// The task was aborted, or its runtime shut down; or it belongs to a parent process, from
    /// which this one was forked.
    Aborted,
}

impl JoinError {
    pub(super) fn panicked(payload: Payload) -> Self {
        Self::Panicked(payload.into())
    }

    /// Whether the task panicked.
    #[must_use]
    pub fn is_panic(&self) -> bool {
        matches!(self, Self::Panicked(_))
    }

    /// Whether the task was aborted, or its runtime shut down or is a parent process's.
    #[must_use]
    pub fn is_aborted(&self) -> bool {
        matches!(self, Self::Aborted)
    }

    /// What the task panicked with, for [`std::panic::resume_unwind`].
    ///
    /// # Errors
    ///
    /// Gives the error back if the task did not panic.
    pub fn into_panic(self) -> Result<Payload, Self> {
        match self {
            Self::Panicked(panic) => Ok(panic.into_inner()),
            Self::Aborted => Err(self),
        }
    }
}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// - `task` is the reference made for the join handle of a task, and the only such;
    /// - the task's output is a `T`.
    pub(super) unsafe fn new(task: TaskRef) -> Self {
        Self { task: ManuallyDrop::new(task), _output: PhantomData }
    }

    /// Asks the task to stop: its worker drops its future. A task that has completed, or does
    /// so before its worker hears of it, keeps its output.
    pub fn abort(&self) {
        self.task.abort();
    }

    /// Whether the task has ended, so that its output is ready.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.header().state.load().is_complete()
    }

    /// Takes the output of a complete task.
    fn take_output(&self) -> Result<T, JoinError> {
        let mut output: Option<Result<T, JoinError>> = None;
        let slot = ptr::from_mut(&mut output).cast();
        // SAFETY: the task is complete and the join handle, which is borrowed by its one
        // `poll`, owns the stage; `slot` is of the output's type by the contract of `new`.
        unsafe { (self.task.header().vtable.take_output)(self.task.as_ptr(), slot) };
        output.expect("a join handle must not be polled after it has returned the output")
    }

    /// Whether the task will never end here.
    fn is_forked(&self) -> bool {
        // SAFETY: the handle's reference keeps the task alive.
        unsafe { (self.task.header().vtable.is_forked)(self.task.as_ptr()) }
    }

    /// Leaves a waker for the runner. False: the task is complete.
    fn register(&self, waker: &Waker) -> bool {
        let header = self.task.header();
        let now = header.state.load();
        if now.is_complete() {
            return false;
        }
        if now.has_join_waker() {
            // SAFETY: the handle may always read the waker while it is lent, and only it writes.
            let same = header
                .join_waker
                .with(|held| unsafe { (*held).as_ref().is_some_and(|held| held.will_wake(waker)) });
            if same {
                return true;
            }
            if !header.state.unset_join_waker() {
                return false;
            }
        }
        // Foreign code first, while the field is valid either way.
        let waker = waker.clone();
        // SAFETY: JOIN_WAKER is not set and the task was not complete: the field is the
        // handle's until `set_join_waker` lends it.
        let old = header.join_waker.with_mut(|held| unsafe { (*held).replace(waker) });
        let lent = header.state.set_join_waker();
        drop(old);
        lent
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        ready!(budget::proceed(context));
        if !self.register(context.waker()) {
            budget::spend();
            return Poll::Ready(self.take_output());
        }
        if self.is_forked() { Poll::Ready(Err(JoinError::Aborted)) } else { Poll::Pending }
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // SAFETY: taken once, here.
        let task = unsafe { ManuallyDrop::take(&mut self.task) };
        if task.header().state.is_left_to_join() {
            // SAFETY: the task is complete and this is the only reference: everything in the
            // cell is the handle's.
            return unsafe { task.free() };
        }
        let now = task.header().state.drop_join();
        if now.is_complete() {
            // SAFETY: the task is complete and the join handle owns the stage.
            unsafe { (task.header().vtable.drop_output)(task.as_ptr()) };
        }
        if !now.has_join_waker() {
            task.drop_join_waker();
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aborted => f.write_str("the task was aborted, or its runtime shut down"),
            Self::Panicked(panic) => {
                let text = panic.message().unwrap_or("something that is not text");
                write!(f, "the task panicked: {text}")
            }
        }
    }
}

impl Error for JoinError {}
