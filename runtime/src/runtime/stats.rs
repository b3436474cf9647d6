//! What a runtime has done, for people and dashboards.

use crate::driver;

/// What a runtime has done since it started, and what is queued now.
///
/// The numbers are counted by each worker for itself, and told whenever it looks around: at
/// the latest after 61 tasks, and before it sleeps. Reading them stops nobody, so numbers of
/// different workers need not be of the same moment.
///
/// # Examples
///
/// ```
/// let runtime = spanwire_runtime::Builder::new().build()?;
/// runtime.block_on(runtime.spawn(async {}))?;
/// for worker in runtime.stats().workers {
///     println!("{} polls, {} parks, {}", worker.polls, worker.parks, worker.driver.kind);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Each worker, in the order of their numbers.
    pub workers: Vec<WorkerStats>,
    /// Tasks in the queue that all workers share.
    pub injected: u64,
}

/// What one worker has done. See [`Stats`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerStats {
    /// Polls of tasks.
    pub polls: u64,
    /// Times that it took tasks from another worker's queue.
    pub steals: u64,
    /// Tasks that it took so.
    pub stolen: u64,
    /// Times that it slept.
    pub parks: u64,
    /// Sleeps that somebody ended by ringing; the others ended with a timer or an operation.
    pub rung: u64,
    /// Tasks in its queue that others may steal, when it last looked around.
    pub queued: u64,
    /// Tasks in its queue that stay with it, when it last looked around.
    pub pinned: u64,
    /// Tasks that were left for it by other threads, and that it has not fetched yet.
    pub mailbox: u64,
    /// Its driver, and why not another.
    pub driver: driver::Report,
    /// What its driver has done.
    pub io: driver::Counts,
}

impl Stats {
    /// Polls of tasks by all workers.
    #[must_use]
    pub fn polls(&self) -> u64 {
        self.workers.iter().map(|worker| worker.polls).sum()
    }
}
