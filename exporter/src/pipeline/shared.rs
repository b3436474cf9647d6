//! What the handle, the doors and the exporter thread share.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use spanwire_runtime::driver;
use spanwire_runtime::pipe::Pipe;

use crate::diagnostics::Diagnostics;
use crate::error::{FlushError, ShutdownError};
use crate::pipeline::flush::{Losses, Told};
use crate::pipeline::ledger::{Ledger, Life};
use crate::pipeline::registry::Registry;
use crate::pipeline::reply::{Answer, Asked, Waited, reply};
use crate::stats::Stats;

/// One an exporter, behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) pipe: Pipe,
    pub(crate) registry: Registry,
    pub(crate) ledger: Ledger,
    pub(crate) commands: Commands,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) driver: driver::Report,
    /// The exporter's thread.
    pub(crate) thread: ThreadId,
    /// The losses that the program was told of through a handle.
    pub(crate) told: Told,
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

/// At most this many commands wait at once; a further one is answered at once, with an error.
pub(crate) const COMMANDS_MAX: usize = 1024;

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Command>,
    waker: Option<Waker>,
    /// Nobody will take commands any more.
    closed: bool,
}

impl Shared {
    /// Delivers everything that was accepted so far, by `deadline`; blocks this thread. `told`
    /// are the losses that this caller was told of.
    pub(crate) fn flush(&self, deadline: Option<Instant>, told: &Told) -> Result<(), FlushError> {
        if self.is_exporter_thread() {
            // It cannot wait for itself: a diagnostic handler called us.
            return Err(FlushError::Timeout { pending: self.pending() });
        }
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
        let answer = self.ask_flush(deadline);
        async move {
            match answer.await {
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
            driver: driver_name(self.driver.kind),
            driver_reason: self.driver.reason.as_deref().map(Arc::from),
        }
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

/// The exporter's thread answers at the deadline, and ends right after a shutdown; this is what
/// the scheduler of a busy machine may need to run it. Past it the caller is told without it.
pub(crate) const GRACE: Duration = Duration::from_millis(100);

fn driver_name(kind: driver::Kind) -> &'static str {
    match kind {
        driver::Kind::Uring => "uring",
        driver::Kind::Epoll => "epoll",
        _ => "other",
    }
}

impl Commands {
    /// Queues `command`, or drops it, which answers it, if nobody will take it.
    pub(crate) fn send(&self, command: Command) {
        let mut queue = self.lock();
        if queue.closed || queue.waiting.len() >= COMMANDS_MAX {
            return;
        }
        queue.waiting.push_back(command);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
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
