//! What a worker has done, readable from any thread while it goes on.

use crate::sync::counter::Counter;

/// Counts of one worker, which alone writes them.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Polls of tasks.
    pub polls: Counter,
    /// Times that tasks were taken from another worker.
    pub steals: Counter,
    /// Tasks taken from other workers.
    pub stolen: Counter,
    /// Times that the worker slept.
    pub parks: Counter,
    /// Sleeps that somebody ended by ringing.
    pub rung: Counter,
    /// Tasks in its own queues when it last looked around: those that may be stolen.
    pub queued: Counter,
    /// The same for those that are pinned.
    pub pinned: Counter,
}
