//! Where other threads leave tasks for one worker.

use std::collections::VecDeque;

use crate::sync::injector::Injector;
use crate::task::schedule::Runnable;

/// Pinned tasks from other threads, oldest first. It has no bound of its own: each task is in it
/// at most once, so it holds at most as many as there are tasks.
#[derive(Default)]
pub struct Mailbox(Injector<Runnable>);

impl Mailbox {
    /// Leaves `task`; the caller rings afterwards.
    ///
    /// # Errors
    ///
    /// Gives the task back if the worker is gone.
    pub fn push(&self, task: Runnable) -> Result<(), Runnable> {
        self.0.push(task)
    }

    /// Moves everything to the end of `queue`.
    #[inline]
    pub fn take_into(&self, queue: &mut VecDeque<Runnable>) {
        if !self.is_empty() {
            self.0.take_all(queue);
        }
    }

    /// How many tasks wait here.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to take. Who must not miss anything asks after the doorbell's
    /// `lie_down`.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses whatever comes from now on, and returns what had come before.
    pub fn close(&self) -> VecDeque<Runnable> {
        self.0.close()
    }
}
