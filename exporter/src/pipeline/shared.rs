//! What the handle, the doors and the exporter thread share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use spanwire_runtime::driver;

use crate::diagnostics::Diagnostics;
use crate::error::{FlushError, ShutdownError};
use crate::model::{DestinationName, Signal};
use crate::pipeline::command::Command;
use crate::pipeline::flush::{Loss, Losses, Told};
use crate::pipeline::ledger::{Ledger, Place};
use crate::pipeline::line::Line;
use crate::pipeline::observe::Observer;
use crate::pipeline::registry::Registry;
use crate::pipeline::reply::{Answer, Waited, reply};
use crate::stats::{DestinationStats, ProcessorStats, Stats};

/// One an exporter, behind an `Arc`.
#[derive(Debug)]
pub(crate) struct Shared {
    /// One a signal, in the order of [`Signal::ALL`].
    pub(crate) lines: [Line; Signal::ALL.len()],
    /// The destinations beside the main one; each line has as many ledgers beside its own.
    pub(crate) beside: Vec<DestinationName>,
    pub(crate) registry: Registry,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) driver: DriverReport,
    /// The exporter's thread.
    pub(crate) thread: ThreadId,
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

/// The end of all deliveries, for those who wait for it.
#[derive(Debug)]
pub(crate) struct End {
    state: Mutex<Ends>,
    came: Condvar,
}

#[derive(Debug)]
struct Ends {
    /// A shutdown was asked for.
    has_begun: bool,
    /// Deliveries that have not ended.
    open: usize,
}

/// What was asked of some lines, and of which.
type Asked<'a, E> = Vec<(&'a Line, Answer<Result<Losses, E>>)>;

impl Shared {
    pub(crate) fn line(&self, signal: Signal) -> &Line {
        &self.lines[signal.index()]
    }

    /// The line of one signal, or all of them.
    fn lines_of(&self, signal: Option<Signal>) -> &[Line] {
        match signal {
            Some(signal) => std::slice::from_ref(self.line(signal)),
            None => &self.lines,
        }
    }

    /// Delivers everything of `signal`, or of all, that was accepted so far, by `deadline`;
    /// blocks this thread. `told` are the losses that this caller was told of.
    pub(crate) fn flush(
        &self,
        signal: Option<Signal>,
        deadline: Option<Instant>,
        told: &Told,
    ) -> Result<(), FlushError> {
        let lines = self.lines_of(signal);
        self.check_flush(lines)?;
        let before = told.so_far();
        let asked = ask_flush(lines, deadline);
        let ended =
            asked.into_iter().map(|(line, answer)| match answer.wait_until(with_grace(deadline)) {
                Waited::Answered(result) => result,
                Waited::Abandoned => Err(flush_unanswered(line)),
                Waited::TimedOut => Err(FlushError::Timeout { pending: line.pending() }),
            });
        self.flushed(told.tell(before, flushes_together(ended)?))
    }

    /// The same of all signals, as a future.
    pub(crate) fn flush_async(
        self: Arc<Self>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<(), FlushError>> + Send + 'static {
        let before = self.told.so_far();
        let asked =
            self.check_flush(&self.lines).map(|()| answers(ask_flush(&self.lines, deadline)));
        async move {
            let mut ended = Vec::with_capacity(self.lines.len());
            for (line, answer) in self.lines.iter().zip(asked?) {
                ended.push(answer.await.unwrap_or_else(|| Err(flush_unanswered(line))));
            }
            self.flushed(self.told.tell(before, flushes_together(ended.into_iter())?))
        }
    }

    /// Turns new records away, delivers what is buffered by `deadline`, and ends the delivery;
    /// blocks this thread.
    pub(crate) fn shut_down(&self, deadline: Option<Instant>) -> Result<(), ShutdownError> {
        let asked = self.begin_shutdown(deadline)?;
        if self.is_exporter_thread() {
            // It cannot wait for itself; delivery ends by the deadline all the same.
            return Err(ShutdownError::Timeout { left: self.pending() });
        }
        let before = self.told.so_far();
        let ended =
            asked.into_iter().map(|(line, answer)| match answer.wait_until(with_grace(deadline)) {
                Waited::Answered(result) => result,
                Waited::Abandoned => Err(shutdown_unanswered(line)),
                Waited::TimedOut => Err(ShutdownError::Timeout { left: line.pending() }),
            });
        self.ended_with(self.told.tell(before, shutdowns_together(ended)?))
    }

    /// The same as a future.
    pub(crate) fn shut_down_async(
        self: Arc<Self>,
        deadline: Option<Instant>,
    ) -> impl Future<Output = Result<(), ShutdownError>> + Send + 'static {
        let before = self.told.so_far();
        let begun = self.begin_shutdown(deadline).map(answers);
        async move {
            let mut ended = Vec::with_capacity(self.lines.len());
            for (line, answer) in self.lines.iter().zip(begun?) {
                ended.push(answer.await.unwrap_or_else(|| Err(shutdown_unanswered(line))));
            }
            self.ended_with(self.told.tell(before, shutdowns_together(ended.into_iter())?))
        }
    }

    /// Whether a flush can be waited for here.
    fn check_flush(&self, lines: &[Line]) -> Result<(), FlushError> {
        if self.is_exporter_thread() {
            // It cannot wait for itself: a diagnostic handler called us.
            return Err(FlushError::Timeout { pending: lines.iter().map(Line::pending).sum() });
        }
        Ok(())
    }

    /// Begins a shutdown; there is one.
    fn begin_shutdown(
        &self,
        deadline: Option<Instant>,
    ) -> Result<Asked<'_, ShutdownError>, ShutdownError> {
        if !self.end.begin() {
            let has_died = self.lines.iter().any(Line::has_died);
            return Err(if has_died {
                ShutdownError::Dead
            } else {
                ShutdownError::AlreadyShutDown
            });
        }
        // All doors first, so that none of them outlives another for long.
        for line in &self.lines {
            line.ledger.begin_stopping();
            line.pipe.close();
        }
        Ok(self.lines.iter().map(|line| (line, ask_shutdown(line, deadline))).collect())
    }

    fn flushed(&self, lost: Losses) -> Result<(), FlushError> {
        let Loss { rejected, dropped } = lost.sum();
        match self.loser(lost) {
            Some(destination) => Err(FlushError::LostAt { destination, dropped, rejected }),
            None if lost.main.is_none() => Ok(()),
            None => Err(FlushError::Lost { dropped, rejected }),
        }
    }

    fn ended_with(&self, lost: Losses) -> Result<(), ShutdownError> {
        let Loss { rejected, dropped } = lost.sum();
        match self.loser(lost) {
            Some(destination) => Err(ShutdownError::LostAt { destination, dropped, rejected }),
            None if lost.main.is_none() => Ok(()),
            None => Err(ShutdownError::Lost { dropped, rejected }),
        }
    }

    /// The first destination beside the main one that has lost something.
    fn loser(&self, lost: Losses) -> Option<DestinationName> {
        self.beside.get(lost.first_beside()?).copied()
    }

    /// What diagnostics call a destination; the main one has no name.
    pub(crate) fn name(&self, place: Place) -> Option<DestinationName> {
        match place {
            Place::Main => None,
            Place::Beside(index) => self.beside.get(index).copied(),
        }
    }

    /// Records accepted whose fate is open.
    fn pending(&self) -> u64 {
        self.lines.iter().map(Line::pending).sum()
    }

    pub(crate) fn is_exporter_thread(&self) -> bool {
        thread::current().id() == self.thread
    }

    /// Those of all exporters.
    #[cfg_attr(not(feature = "otel_0_33"), allow(dead_code, reason = "a meter listens"))]
    pub(crate) fn observers(&self) -> impl Iterator<Item = &Observer> {
        self.lines.iter().flat_map(Line::observers)
    }

    fn processors(&self) -> impl Iterator<Item = ProcessorStats> {
        Signal::ALL.into_iter().filter_map(|signal| self.line(signal).processor_stats(signal))
    }

    /// The counters now.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            requests: self.lines.iter().map(|line| line.ledger.requests()).sum(),
            retries: self.lines.iter().map(|line| line.ledger.retries()).sum(),
            driver: self.driver.name,
            driver_reason: self.driver.reason.clone(),
            exporters: self.lines.iter().flat_map(Line::exporter_stats).collect(),
            processors: self.processors().collect(),
            destinations: (0..self.beside.len()).map(|index| self.stats_beside(index)).collect(),
            ..Stats::of(Signal::ALL.map(|signal| self.line(signal).stats()))
        }
    }

    fn stats_beside(&self, index: usize) -> DestinationStats {
        let ledgers = || self.lines.iter().map(|line| line.ledger_of(Place::Beside(index)));
        let parts = Signal::ALL.map(|signal| self.line(signal).stats_beside(index));
        DestinationStats {
            requests: ledgers().map(Ledger::requests).sum(),
            retries: ledgers().map(Ledger::retries).sum(),
            ..DestinationStats::of(self.beside[index], parts)
        }
    }
}

fn ask_flush(lines: &[Line], deadline: Option<Instant>) -> Asked<'_, FlushError> {
    let ask = |line| {
        let (asked, answer) = reply();
        let line: &Line = line;
        line.commands.send(Command::Flush { deadline, asked });
        (line, answer)
    };
    lines.iter().map(ask).collect()
}

fn ask_shutdown(line: &Line, deadline: Option<Instant>) -> Answer<Result<Losses, ShutdownError>> {
    let (asked, answer) = reply();
    line.commands.send(Command::Shutdown { deadline, asked });
    answer
}

fn answers<E>(asked: Asked<'_, E>) -> Vec<Answer<Result<Losses, E>>> {
    asked.into_iter().map(|(_, answer)| answer).collect()
}

/// What a flush that nobody answers means.
fn flush_unanswered(line: &Line) -> FlushError {
    if line.has_died() { FlushError::Dead } else { FlushError::ShutDown }
}

/// What a shutdown that nobody answers means.
fn shutdown_unanswered(line: &Line) -> ShutdownError {
    if line.has_died() { ShutdownError::Dead } else { ShutdownError::AlreadyShutDown }
}

/// What all lines have lost, or the worst that happened to one: that nothing can be delivered any
/// more says more than that something is late.
fn flushes_together(
    ended: impl Iterator<Item = Result<Losses, FlushError>>,
) -> Result<Losses, FlushError> {
    let (mut lost, mut late, mut worst) = (Losses::default(), None, None);
    for result in ended {
        match result {
            Ok(losses) => lost = lost.plus(losses),
            Err(FlushError::Timeout { pending }) => late = Some(late.unwrap_or(0) + pending),
            Err(error) if worst != Some(FlushError::Dead) => worst = Some(error),
            Err(_) => {}
        }
    }
    match (worst, late) {
        (Some(error), _) => Err(error),
        (None, Some(pending)) => Err(FlushError::Timeout { pending }),
        (None, None) => Ok(lost),
    }
}

/// The same of a shutdown.
fn shutdowns_together(
    ended: impl Iterator<Item = Result<Losses, ShutdownError>>,
) -> Result<Losses, ShutdownError> {
    let (mut lost, mut late, mut worst) = (Losses::default(), None, None);
    for result in ended {
        match result {
            Ok(losses) => lost = lost.plus(losses),
            Err(ShutdownError::Timeout { left }) => late = Some(late.unwrap_or(0) + left),
            Err(error) if worst != Some(ShutdownError::Dead) => worst = Some(error),
            Err(_) => {}
        }
    }
    match (worst, late) {
        (Some(error), _) => Err(error),
        (None, Some(left)) => Err(ShutdownError::Timeout { left }),
        (None, None) => Ok(lost),
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
    /// Of `deliveries` that have not ended.
    pub(crate) fn of(deliveries: usize) -> Self {
        let state = Mutex::new(Ends { has_begun: false, open: deliveries });
        Self { state, came: Condvar::new() }
    }

    /// Begins a shutdown; false if another one has.
    fn begin(&self) -> bool {
        !std::mem::replace(&mut self.lock().has_begun, true)
    }

    /// Whether a shutdown has begun.
    pub(crate) fn has_begun(&self) -> bool {
        self.lock().has_begun
    }

    /// A delivery has ended.
    pub(crate) fn come(&self) {
        let mut ends = self.lock();
        ends.open = ends.open.saturating_sub(1);
        drop(ends);
        self.came.notify_all();
    }

    /// Waits for the last of them, at most for `limit`.
    pub(crate) fn wait(&self, limit: Duration) {
        // Whether it came in time makes no difference to who waits.
        drop(self.came.wait_timeout_while(self.lock(), limit, |ends| ends.open > 0));
    }

    fn lock(&self) -> MutexGuard<'_, Ends> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The exporter's thread answers at the deadline, and ends right after a shutdown; this is what
/// the scheduler of a busy machine may need to run it. Past it the caller is told without it.
pub(crate) const GRACE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_that_died_is_told_before_those_that_are_late_or_have_lost() {
        let sum = |rejected, dropped| {
            let main = Loss { rejected, dropped };
            Ok(Losses { main, ..Losses::default() })
        };
        let lost = sum(1, 2);
        let late = Err(FlushError::Timeout { pending: 3 });
        let together = |results: [_; 3]| flushes_together(results.into_iter());
        assert_eq!(together([lost, lost, lost]), sum(3, 6));
        assert_eq!(together([late, lost, late]), Err(FlushError::Timeout { pending: 6 }));
        for dead in [
            [late, Err(FlushError::Dead), lost],
            [Err(FlushError::Dead), late, Err(FlushError::ShutDown)],
        ] {
            assert_eq!(together(dead), Err(FlushError::Dead));
        }
    }

    #[test]
    fn the_end_comes_with_the_last_delivery() {
        let end = End::of(2);
        assert!(end.begin());
        assert!(!end.begin());
        end.come();
        assert_eq!(end.lock().open, 1);
        end.come();
        end.wait(Duration::from_secs(60));
    }
}
