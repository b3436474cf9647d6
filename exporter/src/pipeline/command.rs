//! What handles and doors ask of a delivery task.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::error::{FlushError, ShutdownError};
use crate::pipeline::flush::Losses;
use crate::pipeline::reply::Asked;
use crate::pipeline::submission::Accepted;

/// What a handle asks of the delivery of one signal.
#[derive(Debug)]
pub(crate) enum Command {
    /// Deliver everything committed so far and say how it went.
    Flush { deadline: Option<Instant>, asked: Asked<Result<Losses, FlushError>> },
    /// The same, and then end.
    Shutdown { deadline: Option<Instant>, asked: Asked<Result<Losses, ShutdownError>> },
    /// Deliver these records and say what became of them.
    Submit(Accepted),
    /// Panic, to show what happens then.
    #[cfg(feature = "internals")]
    Panic,
}

/// Commands that wait for the exporter thread.
#[derive(Debug, Default)]
pub(crate) struct Commands(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    /// As many as there are callers who wait, and at most as many again whose callers are gone.
    waiting: VecDeque<Command>,
    /// How long the queue gets before commands without a caller are dropped.
    prune_at: usize,
    waker: Option<Waker>,
    /// What submissions under way count for, those that wait here and those that are being
    /// delivered.
    submitted_bytes: usize,
    /// Nobody will take commands any more.
    closed: bool,
}

/// Why there is no room for a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// Too much is under way.
    Full,
    /// Delivery has ended.
    Closed,
}

impl Command {
    /// Whether anybody waits for what comes of it.
    fn is_wanted(&self) -> bool {
        match self {
            Self::Flush { asked, .. } => asked.is_wanted(),
            _ => true,
        }
    }
}

impl Commands {
    /// Queues `command`, or drops it, which answers it, if nobody will take it.
    pub(crate) fn send(&self, command: Command) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        if queue.waiting.len() >= queue.prune_at.max(PRUNE_MIN) {
            queue.waiting.retain(Command::is_wanted);
            queue.prune_at = 2 * queue.waiting.len();
        }
        queue.waiting.push_back(command);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Makes room for a submission of `bytes`, if there are then at most `most` under way.
    pub(crate) fn reserve(&self, bytes: usize, most: usize) -> Result<(), NoRoom> {
        let mut queue = self.lock();
        let sum = queue.submitted_bytes.saturating_add(bytes);
        if queue.closed {
            return Err(NoRoom::Closed);
        }
        if sum > most {
            return Err(NoRoom::Full);
        }
        queue.submitted_bytes = sum;
        Ok(())
    }

    /// A submission of `bytes` is no longer under way.
    pub(crate) fn release(&self, bytes: usize) {
        let mut queue = self.lock();
        queue.submitted_bytes = queue.submitted_bytes.saturating_sub(bytes);
    }

    /// The next command, if there is one.
    pub(crate) fn next(&self) -> Option<Command> {
        self.lock().waiting.pop_front()
    }

    /// The next command; if there is none, `cx` is woken by the next.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Command> {
        let mut queue = self.lock();
        if let Some(command) = queue.waiting.pop_front() {
            return Poll::Ready(command);
        }
        queue.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Drops what waits and what comes.
    pub(crate) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        // Dropping a command answers it, which runs a caller's waker: not under the lock.
        drop(waiting);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Commands and flushes without a caller are not looked for below this many.
pub(crate) const PRUNE_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::pipeline::reply::reply;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_command_wakes_whoever_waits_for_one() {
        let (commands, wakes) = (Commands::default(), Arc::new(Wakes::default()));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        assert!(commands.poll_next(&mut context).is_pending());
        let (asked, _answer) = reply();
        commands.send(Command::Flush { deadline: None, asked });
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(commands.poll_next(&mut context).is_ready());
    }
}
