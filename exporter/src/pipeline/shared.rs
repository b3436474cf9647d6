//! What the handle, the doors and the exporter thread share.

use std::collections::VecDeque;
#[cfg(feature = "internals")]
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use spanwire_runtime::Origin;
use spanwire_runtime::driver;
use spanwire_runtime::pipe::Pipe;

use crate::diagnostics::Diagnostics;
use crate::error::{FlushError, ShutdownError};
use crate::pipeline::flush::{Losses, Told};
use crate::pipeline::ledger::{Ledger, Life};
use crate::pipeline::registry::Registry;
use crate::pipeline::reply::{Answer, Asked, Waited, reply};
use crate::stats::{Dropped, Stats};

/// One an exporter, behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) pipe: Pipe,
    pub(crate) registry: Registry,
    pub(crate) ledger: Ledger,
    pub(crate) commands: Commands,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) driver: DriverReport,
    /// The exporter's thread.
    pub(crate) thread: ThreadId,
    /// Where that thread is: a forked child has none of it.
    pub(crate) origin: Origin,
    /// A test has this process play the child.
    #[cfg(feature = "internals")]
    pub(crate) plays_child: AtomicBool,
    pub(crate) end: End,
    /// The losses that the program was told of through a handle.
    pub(crate) told: Told,
}

/// Which driver runs, in the words of `Stats`.
#[derive(Debug)]
pub(crate) struct DriverReport {
    pub(crate) name: &'static str,
    pub(crate) reason: Option<Arc<str>>,
}

/// The end of the delivery, for those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct End {
    has_come: Mutex<bool>,
    came: Condvar,
}

/// What a handle asks of the exporter thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Deliver everything committed so far and say how it went.
    Flush { deadline: Option<Instant>, asked: Asked<Result<Losses, FlushError>> },
    /// The same, and then end.
    Shutdown { deadline: Option<Instant>, asked: Asked<Result<Losses, ShutdownError>> },
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
    /// Nobody will take commands any more.
    closed: bool,
}

impl Shared {
    /// Delivers everything that was accepted so far, by `deadline`; blocks this thread. `told`
    /// are the losses that this caller was told of.
    pub(crate) fn flush(&self, deadline: Option<Instant>, told: &Told) -> Result<(), FlushError> {
        self.check_flush()?;
        let before = told.so_far();
        match self.ask_flush(deadline).wait_until(with_grace(deadline)) {
            Waited::Answered(result) => flushed(told.tell(before, result?)),
            Waited::Abandoned => Err(self.flush_unanswered()),
            Waited::TimedOut => Err(FlushError::Timeout { pending: self.pending() }),
        }
    }

    /// The same as a future.
    pub(crate) fn flush_async(
        self: Arc<Self>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<(), FlushError>> + Send + 'static {
        let before = self.told.so_far();
        let asked = self.check_flush().map(|()| self.ask_flush(deadline));
        async move {
            match asked?.await {
                Some(result) => flushed(self.told.tell(before, result?)),
                None => Err(self.flush_unanswered()),
            }
        }
    }

    /// Turns new records away, delivers what is buffered by `deadline`, and ends the delivery;
    /// blocks this thread.
    pub(crate) fn shut_down(&self, deadline: Option<Instant>) -> Result<(), ShutdownError> {
        let answer = self.begin_shutdown(deadline)?;
        if self.is_exporter_thread() {
            // It cannot wait for itself; delivery ends by the deadline all the same.
            return Err(ShutdownError::Timeout { left: self.pending() });
        }
        let before = self.told.so_far();
        match answer.wait_until(with_grace(deadline)) {
            Waited::Answered(result) => ended(self.told.tell(before, result?)),
            Waited::Abandoned => Err(self.shutdown_unanswered()),
            Waited::TimedOut => Err(ShutdownError::Timeout { left: self.pending() }),
        }
    }

    /// The same as a future.
    pub(crate) fn shut_down_async(
        self: Arc<Self>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<(), ShutdownError>> + Send + 'static {
        let before = self.told.so_far();
        let begun = self.begin_shutdown(deadline);
        async move {
            match begun?.await {
                Some(result) => ended(self.told.tell(before, result?)),
                None => Err(self.shutdown_unanswered()),
            }
        }
    }

    /// Whether a flush can be waited for here.
    fn check_flush(&self) -> Result<(), FlushError> {
        if self.is_forked() {
            return Err(FlushError::Forked);
        }
        if self.is_exporter_thread() {
            // It cannot wait for itself: a diagnostic handler called us.
            return Err(FlushError::Timeout { pending: self.pending() });
        }
        Ok(())
    }

    fn ask_flush(&self, deadline: Option<Instant>) -> Answer<Result<Losses, FlushError>> {
        let (asked, answer) = reply();
        self.commands.send(Command::Flush { deadline, asked });
        answer
    }

    /// Begins a shutdown; there is one.
    fn begin_shutdown(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Answer<Result<Losses, ShutdownError>>, ShutdownError> {
        if self.is_forked() {
            return Err(ShutdownError::Forked);
        }
        if !self.ledger.begin_stopping() {
            return Err(self.shutdown_unanswered());
        }
        self.pipe.close();
        let (asked, answer) = reply();
        self.commands.send(Command::Shutdown { deadline, asked });
        Ok(answer)
    }

    /// What a shutdown that nobody answers means.
    fn shutdown_unanswered(&self) -> ShutdownError {
        match self.ledger.life() {
            Life::Died => ShutdownError::Dead,
            _ => ShutdownError::AlreadyShutDown,
        }
    }

    /// Records accepted whose fate is open.
    pub(crate) fn pending(&self) -> u64 {
        self.ledger.in_flight(&self.pipe.counters())
    }

    /// Whether this process is a fork of the exporter's: its thread is not here.
    pub(crate) fn is_forked(&self) -> bool {
        // Ordering: set by a test for its own thread.
        #[cfg(feature = "internals")]
        if self.plays_child.load(Ordering::Relaxed) {
            return true;
        }
        !self.origin.is_here()
    }

    pub(crate) fn is_exporter_thread(&self) -> bool {
        thread::current().id() == self.thread
    }

    /// What a flush that nobody answers means.
    fn flush_unanswered(&self) -> FlushError {
        match self.ledger.life() {
            Life::Died => FlushError::Dead,
            _ => FlushError::ShutDown,
        }
    }

    /// The counters now.
    pub(crate) fn stats(&self) -> Stats {
        if self.is_forked() {
            return self.stats_of_child();
        }
        let pipe = self.pipe.counters();
        let ledger = &self.ledger;
        Stats {
            emitted: ledger.emitted(&pipe),
            delivered: ledger.delivered(),
            rejected: ledger.rejected(),
            dropped: ledger.dropped(&pipe),
            in_flight: ledger.in_flight(&pipe),
            requests: ledger.requests(),
            retries: ledger.retries(),
            driver: self.driver.name,
            driver_reason: self.driver.reason.clone(),
        }
    }

    /// What came of records in a forked child: nothing. The parent's counts are the parent's.
    fn stats_of_child(&self) -> Stats {
        let forked = self.ledger.forked();
        let dropped = Dropped { forked, ..Dropped::default() };
        Stats { emitted: forked, dropped, driver: self.driver.name, ..Stats::default() }
    }
}

fn flushed(lost: Losses) -> Result<(), FlushError> {
    match lost {
        lost if lost.is_none() => Ok(()),
        Losses { rejected, dropped } => Err(FlushError::Lost { dropped, rejected }),
    }
}

fn ended(lost: Losses) -> Result<(), ShutdownError> {
    match lost {
        lost if lost.is_none() => Ok(()),
        Losses { rejected, dropped } => Err(ShutdownError::Lost { dropped, rejected }),
    }
}

fn with_grace(deadline: Option<Instant>) -> Option<Instant> {
    deadline.and_then(|at| at.checked_add(GRACE))
}

impl From<&driver::Report> for DriverReport {
    fn from(report: &driver::Report) -> Self {
        let name = match report.kind {
            driver::Kind::Uring => "uring",
            driver::Kind::Epoll => "epoll",
            _ => "other",
        };
        Self { name, reason: report.reason.as_deref().map(Arc::from) }
    }
}

impl End {
    /// The delivery has ended.
    pub(crate) fn come(&self) {
        *self.has_come.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.came.notify_all();
    }

    /// Waits for it, at most for `limit`.
    pub(crate) fn wait(&self, limit: Duration) {
        let has_come = self.has_come.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether it came in time makes no difference to who waits.
        drop(self.came.wait_timeout_while(has_come, limit, |has_come| !*has_come));
    }
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exporter's thread answers at the deadline, and ends right after a shutdown; this is what
/// the scheduler of a busy machine may need to run it. Past it the caller is told without it.
pub(crate) const GRACE: Duration = Duration::from_millis(100);

/// Commands and flushes without a caller are not looked for below this many.
pub(crate) const PRUNE_MIN: usize = 1024;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

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
