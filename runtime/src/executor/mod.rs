//! The executor: runs tasks on worker threads, and knows no I/O.
//!
//! A [`Pool`] has some workers, and a worker two queues: one of tasks that stay
//! there, and one that idle workers steal from. What is woken on a worker goes to its queues; from
//! elsewhere, pinned tasks go to their worker's mailbox, and others to the injector, from which
//! each worker takes its share. What a worker does when it has nothing to run, and every 61 tasks
//! in between, is up to its `Park`.
//!
//! A worker is woken for a task only if somebody else is not about to run it: not for the task
//! that the running one woke last, which runs next on the same worker while it is hot, and not
//! for the first in a queue. `sync/idle.rs` says who is woken, and why no task is left behind
//! while a worker sleeps.

mod block_on;
mod local;
mod mailbox;
mod owned;
mod pool;
mod refuse;
mod tally;
mod worker;
mod yield_now;

pub use self::block_on::block_on;
pub(crate) use self::local::{is_worker, with_pool};
pub use self::mailbox::Mailbox;
pub use self::pool::{Pool, WORKERS_MAX};
pub use self::tally::Tally;
pub use self::worker::run;
pub use self::yield_now::{YieldNow, consume_budget, yield_now};

/// How a worker looks around and how it waits.
pub trait Park {
    /// Looks for timers, completions and the like that are due, and wakes their tasks. Does not
    /// block.
    fn turn(&mut self);

    /// Waits until there may be something to do. The worker has nothing to run now; whoever
    /// gives it something later rings its doorbell. `has_work` says whether somebody has, and is
    /// called once, after the doorbell's `lie_down`. Returns whether it has looked around as
    /// [`turn`](Self::turn) does: not if there was work, so that busy neighbours cannot keep
    /// timers and driver waiting for ever.
    fn park(&mut self, has_work: &dyn Fn() -> bool) -> bool;
}

#[cfg(test)]
mod tests;
