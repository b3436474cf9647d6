//! What becomes of a task that is spawned when its runtime ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::sync::shim::thread_local;
use crate::task::schedule::{Home, Owner, Place, Runnable, TaskRef};

/// Aborts a task that was in no queue yet. Its captures are dropped here and now; if their
/// destructors spawn in turn, that is refused too, one after the other and not one inside the
/// other, up to [`REFUSALS_MAX`]. What comes after those is leaked.
#[cold]
pub(super) fn refuse(task: Runnable) {
    let Some(task) = defer(task) else { return };
    task.shut_down(&Nobody);
    for count in 1.. {
        match next() {
            None => return,
            Some(task) if count < REFUSALS_MAX => task.shut_down(&Nobody),
            Some(task) => task.forget(&Nobody),
        }
    }
}

/// Leaves the task to a refusal that is under way on this thread; gives it back if none is, or if
/// the thread-locals are gone.
fn defer(task: Runnable) -> Option<Runnable> {
    let mut task = Some(task);
    let _ = REFUSED.try_with(|refused| {
        if refused.is_busy.replace(true) {
            refused.tasks.borrow_mut().extend(task.take());
        }
    });
    task
}

/// The next task that was left; none ends the refusal.
fn next() -> Option<Runnable> {
    REFUSED
        .try_with(|refused| {
            let task = refused.tasks.borrow_mut().pop_front();
            refused.is_busy.set(task.is_some());
            task
        })
        .ok()
        .flatten()
}

thread_local! {
    static REFUSED: Refused = const {
        Refused { is_busy: Cell::new(false), tasks: RefCell::new(VecDeque::new()) }
    };
}

struct Refused {
    is_busy: Cell<bool>,
    tasks: RefCell<VecDeque<Runnable>>,
}

/// Runs nothing: no task ever waits for it.
pub(super) struct Nobody;

impl Owner for Nobody {
    fn adopt(&self, _task: TaskRef) -> Place {
        unreachable!("a task that is shut down does not wait")
    }

    fn release(&self, _home: Home, _place: Place) -> Option<TaskRef> {
        None
    }

    fn requeue(&self, _task: Runnable) {
        unreachable!("a task that is shut down does not run")
    }
}

/// How many tasks the destructors of one refused task may spawn, before they are taken for a
/// loop without end.
const REFUSALS_MAX: usize = 1024;
