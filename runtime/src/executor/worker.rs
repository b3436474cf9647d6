//! One worker: its queue, its list of tasks, and the loop that runs them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::Park;
use super::mailbox::Mailbox;
use super::owned::Owned;
use crate::sync::doorbell::Doorbell;
use crate::sync::shim::Arc;
use crate::sync::shim::atomic::{AtomicBool, Ordering};
use crate::sys::fork::Origin;
use crate::task::schedule::{Runnable, Schedule};

/// What other threads know of a worker.
pub(crate) struct Shared {
    mailbox: Mailbox,
    doorbell: Arc<Doorbell>,
    /// Set once: the worker is to end.
    stop: AtomicBool,
    /// The worker's process: a forked child has no worker, and locks that nobody may ever open.
    origin: Origin,
}

impl Shared {
    /// A worker that does not run yet.
    pub(crate) fn new(doorbell: Arc<Doorbell>) -> Self {
        Self {
            mailbox: Mailbox::default(),
            doorbell,
            stop: AtomicBool::new(false),
            origin: Origin::here(),
        }
    }

    /// How to wake the worker.
    pub(crate) fn doorbell(&self) -> &Arc<Doorbell> {
        &self.doorbell
    }

    /// Queues a new task, from any thread. If the worker has ended, or is about to, or is the
    /// worker of a parent process, the task is aborted here and now; nothing but its captures
    /// exist yet.
    pub(crate) fn submit(&self, task: Runnable) {
        if let Err(task) = self.push(task) {
            // A task that was never polled is on no list, so any list will do.
            task.shut_down(&Owned::default());
        }
    }

    /// Asks the worker to end.
    pub(crate) fn stop(&self) {
        // Ordering: Relaxed; `ring` fences, and so does the worker before it looks a last time.
        self.stop.store(true, Ordering::Relaxed);
        self.doorbell.ring();
    }

    /// Whether the calling thread is the worker.
    pub(crate) fn is_here(&self) -> bool {
        on_worker(|local| local.is_of(self)).unwrap_or(false)
    }

    fn push(&self, task: Runnable) -> Result<(), Runnable> {
        if !self.origin.is_here() {
            return Err(task);
        }
        let mut task = Some(task);
        on_worker(|local| {
            if local.is_of(self) {
                local.queue.borrow_mut().extend(task.take());
            }
        });
        let Some(task) = task else { return Ok(()) };
        self.mailbox.push(task)?;
        self.doorbell.ring();
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        // Ordering: Relaxed; see `stop`.
        self.stop.load(Ordering::Relaxed)
    }

    fn has_work(&self) -> bool {
        self.is_stopping() || !self.mailbox.is_empty()
    }
}

impl Schedule for Shared {
    fn schedule(&self, task: Runnable) {
        let Err(task) = self.push(task) else { return };
        if self.origin.is_here() {
            // A worker that is gone has dropped the future, so the reference is all there is.
            drop(task);
        } else {
            // The future may be half-way through a poll of the parent's: nobody here may touch it.
            std::mem::forget(task);
        }
    }

    fn is_forked(&self) -> bool {
        !self.origin.is_here()
    }
}

/// The worker's own side; it never leaves its thread.
struct Local {
    shared: Arc<Shared>,
    queue: RefCell<VecDeque<Runnable>>,
    owned: Owned,
}

impl Local {
    fn is_of(&self, shared: &Shared) -> bool {
        std::ptr::eq(&raw const *self.shared, shared)
    }

    /// Whether a task of this worker has forked, and this is the child.
    fn is_forked(&self) -> bool {
        !self.shared.origin.is_here()
    }

    /// Runs tasks until there are none, or until it is time to look around. `left` counts those
    /// that may run before that.
    fn run_tasks(&self, left: &mut usize) -> Ran {
        while *left > 0 {
            let Some(task) = self.next() else { return Ran::All };
            *left -= 1;
            task.run(&self.owned);
            if self.is_forked() {
                return Ran::Forked;
            }
        }
        Ran::Enough
    }

    fn next(&self) -> Option<Runnable> {
        if self.queue.borrow().is_empty() {
            self.take_mail();
        }
        self.queue.borrow_mut().pop_front()
    }

    fn take_mail(&self) {
        self.shared.mailbox.take_into(&mut self.queue.borrow_mut());
    }

    /// Drops every future that this worker owns. A destructor may wake and spawn as it likes:
    /// whatever it puts into the queue is dropped in its turn.
    fn shut_down(&self) {
        for task in self.shared.mailbox.close() {
            task.shut_down(&self.owned);
        }
        loop {
            let queued = self.queue.borrow_mut().pop_front();
            if let Some(task) = queued {
                task.shut_down(&self.owned);
            } else if let Some(task) = self.owned.pop() {
                task.shut_down(&self.owned);
            } else {
                return;
            }
        }
    }
}

/// How `run_tasks` ended.
enum Ran {
    /// Nothing is left to run.
    All,
    /// It is time to look around.
    Enough,
    /// A task has forked and this is the child: nothing here is its own.
    Forked,
}

/// Runs the worker on this thread until it is told to stop, then drops all its tasks: also if
/// `park` panics, so that nobody waits for them in vain.
pub(crate) fn run(shared: &Arc<Shared>, park: &mut impl Park) {
    let local = Rc::new(Local {
        shared: Arc::clone(shared),
        queue: RefCell::default(),
        owned: Owned::default(),
    });
    let _entered = Entered::enter(&local);
    let _open = Open(&local);
    let mut left = TASKS_A_TURN;
    while !shared.is_stopping() {
        let looked = match local.run_tasks(&mut left) {
            Ran::Forked => return,
            Ran::All => park.park(&|| shared.has_work()),
            Ran::Enough => {
                park.turn();
                true
            }
        };
        if looked {
            left = TASKS_A_TURN;
            local.take_mail();
        }
    }
}

thread_local! {
    /// The worker that runs on this thread.
    static CURRENT: RefCell<Option<Rc<Local>>> = const { RefCell::new(None) };
}

/// Whether some worker runs on this thread.
pub(crate) fn is_worker() -> bool {
    on_worker(|local| !local.is_forked()).unwrap_or(false)
}

/// Calls `look` with this thread's worker. None elsewhere, and when the thread-locals are gone.
fn on_worker<R>(look: impl FnOnce(&Local) -> R) -> Option<R> {
    CURRENT.try_with(|current| current.borrow().as_deref().map(look)).ok().flatten()
}

/// This thread has a worker until this is dropped.
struct Entered;

impl Entered {
    fn enter(local: &Rc<Local>) -> Self {
        let before = CURRENT.replace(Some(Rc::clone(local)));
        assert!(before.is_none_or(|it| it.is_forked()), "a worker cannot run inside another");
        Self
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        drop(CURRENT.take());
    }
}

/// Shuts the worker down when dropped.
struct Open<'a>(&'a Rc<Local>);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if self.0.is_forked() {
            // The tasks are the parent's, and so is what their destructors would touch.
            std::mem::forget(Rc::clone(self.0));
        } else {
            self.0.shut_down();
        }
    }
}

/// How many tasks run before the worker looks at its mailbox, its timers and its driver. Go and
/// tokio settled on 61 too: a prime, so that it does not beat with the users' own batch sizes.
const TASKS_A_TURN: usize = 61;
