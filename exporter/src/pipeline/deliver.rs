//! The exporter's one task: takes records from the pipe, cuts batches, keeps the lanes busy, and
//! answers flushes.
//!
//! ```text
//!            first commit                      interval over, nothing came
//!   Idle ───────────────────────► Gathering ◄──────────────────────────────► Idle
//!   (asleep, no timer)             │      │
//!                    a batch is sealed   the interval is over
//!                                  │      │
//!                            take sealed  take all, cut all      (while a lane is free;
//!                                  └──┬───┘                       else: Overdue)
//!                                 full batches ──► ready ──► lanes ──► settled
//! ```
//!
//! While every lane is busy nothing is cut for its age: it would only wait in smaller pieces.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use spanwire_runtime::pipe::{Drainer, Run, Want};
use spanwire_runtime::time::sleep_until;

use crate::batch::{Batch, Batcher, Item};
use crate::diagnostics::Kind;
use crate::encode::envelope::{self, Group};
use crate::error::{FlushError, ShutdownError};
use crate::model::Payload;
use crate::pipeline::flush::{Ending, Flushes, Losses, Tickets};
use crate::pipeline::lane::{Lanes, Parcel, Settled};
use crate::pipeline::ledger::{Fate, Life};
use crate::pipeline::reply::Asked;
use crate::pipeline::shared::{Command, Shared};

/// Everything the task owns. It lives on the exporter's thread.
pub(crate) struct Delivery {
    shared: Arc<Shared>,
    drainer: Drainer,
    batcher: Batcher,
    /// Batches that wait for a lane, oldest first. Bounded by the pipe's pool: each leases chunks.
    ready: VecDeque<(u64, Batch)>,
    lanes: Lanes,
    tickets: Tickets,
    flushes: Flushes<Asked<Result<Losses, FlushError>>>,
    stopping: Option<Stopping>,
    phase: Phase,
    /// How long records may wait for company.
    age_max: Duration,
    /// Refusals for want of room that were reported already.
    full_reported: u64,
    /// Reused by every take.
    runs: Vec<Run>,
    /// Reused by every cut.
    due: Vec<Batch>,
}

/// What is being waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The last interval was empty: sleep until the first commit, without a timer.
    Idle,
    /// Records are coming in; what there is goes out at this time at the latest.
    Gathering(Instant),
    /// That time has passed and every lane is busy.
    Overdue,
    /// A shutdown was asked for: everything was cut, nothing more is coming.
    Stopping,
}

/// A shutdown that is under way.
#[derive(Debug)]
struct Stopping {
    /// `None` is never.
    deadline: Option<Instant>,
    asked: Asked<Result<Losses, ShutdownError>>,
}

enum Event {
    Readable,
    Settled(Settled),
    Asked(Command),
    Deadline,
}

impl Delivery {
    pub(crate) fn new(
        shared: Arc<Shared>,
        drainer: Drainer,
        batcher: Batcher,
        lanes: Lanes,
        age_max: Duration,
    ) -> Self {
        Self {
            shared,
            drainer,
            batcher,
            ready: VecDeque::new(),
            lanes,
            tickets: Tickets::default(),
            flushes: Flushes::new(),
            stopping: None,
            phase: Phase::Idle,
            age_max: age_max.min(AGE_LIMIT),
            full_reported: 0,
            runs: Vec::new(),
            due: Vec::new(),
        }
    }

    /// Runs until a shutdown has been asked for and carried out.
    pub(crate) async fn run(mut self) {
        loop {
            if self.phase == Phase::Stopping {
                // A record that was being appended when the pipe closed may have come in since.
                self.cut_everything();
            }
            self.fill_lanes();
            self.answer_flushes();
            self.report_full();
            if self.is_over() {
                return self.end();
            }
            match self.next_event().await {
                Event::Readable => self.on_readable(),
                Event::Settled(settled) => self.settle(settled),
                Event::Asked(command) => self.obey(command),
                Event::Deadline => self.on_deadline(),
            }
        }
    }

    async fn next_event(&mut self) -> Event {
        let want = if self.phase == Phase::Idle { Want::First } else { Want::Batch };
        let deadline = self.next_deadline();
        let mut timer = pin!(async {
            match deadline {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        });
        let mut readable = pin!(self.drainer.readable(want));
        let (lanes, commands) = (&mut self.lanes, &self.shared.commands);
        poll_fn(|cx: &mut Context<'_>| {
            if let Poll::Ready(settled) = lanes.poll_settled(cx) {
                return Poll::Ready(Event::Settled(settled));
            }
            if let Poll::Ready(command) = commands.poll_next(cx) {
                return Poll::Ready(Event::Asked(command));
            }
            if timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Event::Deadline);
            }
            readable.as_mut().poll(cx).map(|()| Event::Readable)
        })
        .await
    }

    fn next_deadline(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Gathering(until) => Some(until),
            Phase::Stopping => self.stopping.as_ref().and_then(|stopping| stopping.deadline),
            Phase::Idle | Phase::Overdue => None,
        };
        [own, self.flushes.next_deadline()].into_iter().flatten().min()
    }

    fn on_readable(&mut self) {
        if self.phase == Phase::Idle {
            self.gather();
        }
        self.drainer.take_sealed(usize::MAX, &mut self.runs);
        self.batch_runs();
    }

    /// The interval is over, or a flush is too late (which `answer_flushes` sees by itself).
    fn on_deadline(&mut self) {
        if matches!(self.phase, Phase::Gathering(until) if until <= Instant::now()) {
            self.end_interval();
        }
    }

    fn end_interval(&mut self) {
        if !self.lanes.has_idle() || !self.ready.is_empty() {
            self.phase = Phase::Overdue;
        } else if self.cut_everything() {
            self.gather();
        } else {
            self.phase = Phase::Idle;
        }
    }

    fn gather(&mut self) {
        self.phase = Phase::Gathering(Instant::now() + self.age_max);
    }

    /// Takes and cuts all there is; false if there was nothing.
    fn cut_everything(&mut self) -> bool {
        self.drainer.take_all(&mut self.runs);
        self.batch_runs();
        self.batcher.cut_all(&mut self.due);
        let any = !self.due.is_empty();
        self.queue_due();
        any
    }

    /// Moves taken runs into the batcher and what became due into the queue.
    fn batch_runs(&mut self) {
        let mut runs = std::mem::take(&mut self.runs);
        for run in runs.drain(..) {
            self.shared.ledger.hold(run.records.into());
            let oversize = self.batcher.push(self.item(run), &mut self.due);
            if oversize.records > 0 {
                self.shared.ledger.settle(oversize.records, Fate::Oversize);
                self.report(Kind::Oversize, "a record exceeds the request limit and was dropped");
            }
        }
        self.runs = runs;
        self.queue_due();
    }

    fn item(&self, run: Run) -> Item {
        let resource = self.shared.registry.resource_frame(run.tag.resource);
        let scope = self.shared.registry.scope_frame(run.tag.scope);
        Item {
            resource: run.tag.resource,
            scope: run.tag.scope,
            records: run.records.into(),
            bytes: run.bytes,
            resource_bytes: resource.len(),
            scope_bytes: scope.len(),
        }
    }

    fn queue_due(&mut self) {
        for batch in self.due.drain(..) {
            self.ready.push_back((self.tickets.issue(), batch));
        }
    }

    fn fill_lanes(&mut self) {
        loop {
            while self.lanes.has_idle()
                && let Some((ticket, batch)) = self.ready.pop_front()
            {
                let parcel = Parcel { ticket, payload: self.payload(batch) };
                let started = self.lanes.start(parcel);
                debug_assert!(started.is_ok(), "a lane was idle");
            }
            if self.phase != Phase::Overdue || !self.lanes.has_idle() {
                return;
            }
            self.end_interval();
        }
    }

    /// The request of a batch: headers of our own between slices of the pipe.
    fn payload(&self, batch: Batch) -> Payload {
        let registry = &self.shared.registry;
        let resource = registry.resource_frame(batch.resource);
        let groups = batch
            .groups
            .into_iter()
            .map(|(scope, runs)| Group { scope: registry.scope_frame(scope), runs });
        let request = envelope::Request::new(&resource, groups.collect());
        Payload::new(request.parts, batch.records)
    }

    fn settle(&mut self, settled: Settled) {
        self.shared.ledger.settle(settled.records, settled.fate);
        self.tickets.settle(settled.ticket);
        self.drainer.reclaim();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Flush { deadline, asked } => {
                self.cut_everything();
                self.flushes.begin(self.tickets.next(), deadline, asked);
            }
            Command::Shutdown { deadline, asked } => {
                self.cut_everything();
                self.phase = Phase::Stopping;
                self.stopping = Some(Stopping { deadline, asked });
            }
            #[cfg(feature = "internals")]
            Command::Panic => panic!("a panic was asked for"),
        }
    }

    fn answer_flushes(&mut self) {
        let now = Instant::now();
        while let Some((asked, ending)) = self.flushes.take_ended(&self.tickets, now) {
            asked.answer(match ending {
                Ending::Settled => Ok(self.shared.ledger.losses()),
                Ending::TimedOut => Err(FlushError::Timeout { pending: self.shared.pending() }),
            });
        }
    }

    /// Whether a shutdown was asked for and is done, or out of time.
    fn is_over(&self) -> bool {
        let Some(stopping) = &self.stopping else { return false };
        let is_late = stopping.deadline.is_some_and(|at| at <= Instant::now());
        is_late || self.tickets.are_settled_below(self.tickets.next())
    }

    /// Counts what is left, and ends.
    fn end(mut self) {
        let losses = self.shared.ledger.losses();
        let left = self.abandon_rest();
        self.shared.ledger.end(Life::Stopped);
        self.shared.commands.close();
        let Some(Stopping { asked, .. }) = self.stopping.take() else { return };
        asked.answer(match left {
            0 => Ok(losses),
            left => Err(ShutdownError::Timeout { left }),
        });
    }

    /// Settles everything that is still here as abandoned; returns how many records.
    fn abandon_rest(&mut self) -> u64 {
        self.cut_everything();
        let waiting = self.ready.drain(..).map(|(_, batch)| batch.records).sum::<u64>();
        let left = waiting + self.lanes.abandon();
        self.shared.ledger.settle(left, Fate::Abandoned);
        left
    }

    /// Tells the user once in a while that the buffer is full.
    fn report_full(&mut self) {
        let full = self.shared.pipe.counters().full;
        if full > self.full_reported {
            let new = full - self.full_reported;
            self.full_reported = full;
            self.report(Kind::BufferFull, &format!("the buffer was full; {new} records dropped"));
        }
    }

    fn report(&self, kind: Kind, message: &str) {
        self.shared.diagnostics.report(kind, message, Instant::now());
    }
}

/// Records wait at most this long for company, whatever was configured: the clock can count it.
const AGE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

impl Drop for Delivery {
    /// However the task ends, nobody waits for it any more.
    fn drop(&mut self) {
        self.shared.pipe.close();
        let has_panicked = std::thread::panicking();
        self.shared.ledger.end(if has_panicked { Life::Died } else { Life::Stopped });
        if has_panicked {
            self.report(
                Kind::Died,
                "the exporter's thread panicked; nothing is delivered any more",
            );
        }
        self.shared.commands.close();
    }
}
