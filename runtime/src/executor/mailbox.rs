//! Where other threads leave tasks for a worker.

use std::collections::VecDeque;
use std::mem;

use crate::sync::shim::Mutex;
use crate::task::schedule::Runnable;

/// Tasks from other threads, oldest first. It has no bound of its own: each task is in it at
/// most once, so it holds at most as many as there are tasks.
#[derive(Default)]
pub struct Mailbox(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    tasks: VecDeque<Runnable>,
    /// Set once: nobody will look in here again.
    closed: bool,
}

impl Mailbox {
    /// Leaves `task`; the caller rings afterwards.
    ///
    /// # Errors
    ///
    /// Gives the task back if the worker is gone.
    pub fn push(&self, task: Runnable) -> Result<(), Runnable> {
        let mut inside = self.0.lock();
        if inside.closed {
            return Err(task);
        }
        inside.tasks.push_back(task);
        Ok(())
    }

    /// Moves everything to the end of `queue`.
    pub fn take_into(&self, queue: &mut VecDeque<Runnable>) {
        queue.append(&mut self.0.lock().tasks);
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.0.lock().tasks.is_empty()
    }

    /// Refuses whatever comes from now on, and returns what had come before.
    pub fn close(&self) -> VecDeque<Runnable> {
        let mut inside = self.0.lock();
        inside.closed = true;
        mem::take(&mut inside.tasks)
    }
}
