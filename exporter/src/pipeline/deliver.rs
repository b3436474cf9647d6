//! The task of one signal: takes records from the pipe, cuts batches, keeps the lanes busy, and
//! answers flushes.
//!
//! ```text
//!         first commit
//!  Idle ───────────────► Gathering ──── a batch is sealed: take sealed, cut ───┐
//!   ▲  asleep, no timer     │  ▲                                               ├─► ready ─► lanes
//!   │                       │  └─ something came: take all, cut all, go on ────┘     └─► settled
//!   └─────── nothing came ──┤
//!                           └─ every lane is busy: Overdue, until one is idle again
//! ```
//!
//! The last three arrows of Gathering are taken when its interval is over. While every lane is
//! busy nothing is cut for its age: it would only wait in smaller pieces. What is ready may wait
//! for company although a lane is idle ([`spacing`](super::spacing)).

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::iter;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use spanwire_runtime::pipe::{Drainer, Run, Want};
use spanwire_runtime::time::sleep_until;

use crate::batch::{Batch, Batcher, Item};
use crate::diagnostics::{About, Kind};
use crate::encode::envelope::{self, Group};
use crate::error::{FlushError, ShutdownError};
use crate::model::{Payload, Signal};
use crate::pipeline::command::{Command, PRUNE_MIN};
use crate::pipeline::flush::{Ending, Flushes, Losses, Tickets};
use crate::pipeline::fullness::{Change, Fullness};
use crate::pipeline::lane::Settled;
use crate::pipeline::ledger::{Fate, Life, Place};
use crate::pipeline::line::Line;
use crate::pipeline::observe;
use crate::pipeline::outlet::{Outlet, Ready};
use crate::pipeline::reply::Asked;
use crate::pipeline::shared::Shared;
use crate::pipeline::submission::{Accepted, Owner, Submissions};

/// Everything the task owns. It lives on the exporter's thread.
pub(crate) struct Delivery {
    /// Dropped first: who is left unanswered by what follows finds the end counted already.
    alive: Alive,
    drainer: Drainer,
    batcher: Batcher,
    /// Of the main destination.
    main: Outlet,
    /// Of the destinations beside it.
    beside: Vec<Outlet>,
    /// Numbers the batches of all outlets, so that a flush waits for all.
    tickets: Tickets,
    submissions: Submissions,
    /// Fetched and not yet obeyed; empty between events.
    asked: VecDeque<Command>,
    flushes: Flushes<Asked<Result<Losses, FlushError>>>,
    stopping: Option<Stopping>,
    phase: Phase,
    /// A batch's worth was sealed, or the pool may run dry, and every lane was busy.
    is_pressed: bool,
    /// How long records may wait for company.
    age_max: Duration,
    fullness: Fullness,
    /// Whether the user was told that the buffer is full.
    is_full_told: bool,
    /// Too many scopes that the user was told of, or would have been but for the rate limit.
    unnamed_reported: u64,
    /// The same of records that were too large for the pipe.
    oversize_reported: u64,
    /// Whether records that find no lane are left in the pipe, where newer ones may evict them.
    leaves_behind: bool,
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
    Settled(Place, Settled),
    Asked(Command),
    Deadline,
}

impl Delivery {
    pub(crate) fn new(
        alive: Alive,
        drainer: Drainer,
        batcher: Batcher,
        main: Outlet,
        beside: Vec<Outlet>,
        age_max: Duration,
        leaves_behind: bool,
    ) -> Self {
        Self {
            alive,
            drainer,
            batcher,
            main,
            beside,
            tickets: Tickets::default(),
            submissions: Submissions::default(),
            asked: VecDeque::new(),
            flushes: Flushes::new(),
            stopping: None,
            phase: Phase::Idle,
            is_pressed: false,
            age_max: age_max.min(AGE_LIMIT),
            fullness: Fullness::new(age_max.clamp(QUIET_MIN, AGE_LIMIT)),
            is_full_told: false,
            unnamed_reported: 0,
            oversize_reported: 0,
            leaves_behind,
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
            self.give_up_late_submissions();
            self.fill_lanes();
            self.answer_flushes();
            self.report_refusals();
            if self.is_over() {
                return self.end();
            }
            match self.next_event().await {
                Event::Readable => self.on_readable(),
                Event::Settled(place, settled) => self.settle(place, settled),
                Event::Asked(command) => self.obey_all(command),
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
        // Without a lane for them, records stay where newer ones may take their place.
        let has_place = |outlet: &Outlet| outlet.is_empty() || outlet.has_idle();
        let is_wanted = !self.leaves_behind || self.outlets().any(has_place);
        let drainer = &mut self.drainer;
        let mut readable = pin!(async {
            match is_wanted {
                true => drainer.readable(want).await,
                false => std::future::pending().await,
            }
        });
        let (main, beside, commands) =
            (&mut self.main, &mut self.beside, &self.alive.line().commands);
        poll_fn(|cx: &mut Context<'_>| {
            for outlet in iter::once(&mut *main).chain(beside.iter_mut()) {
                if let Poll::Ready(settled) = outlet.poll_settled(cx) {
                    return Poll::Ready(Event::Settled(outlet.place(), settled));
                }
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
            // Nothing else may happen for long; that records are dropped is to be noticed.
            Phase::Overdue => Instant::now().checked_add(self.age_max.max(QUIET_MIN)),
            Phase::Idle => None,
        };
        let submitted = self.main.oldest_submission().and_then(|(_, owner)| owner.deadline);
        let due = self.outlets().filter_map(|outlet| outlet.held_until(self.is_hurried())).min();
        let flush = self.flushes.next_deadline();
        let deadlines = [own, flush, submitted, due, self.fullness.deadline()];
        deadlines.into_iter().flatten().min()
    }

    fn on_readable(&mut self) {
        let was_idle = self.phase == Phase::Idle;
        if was_idle {
            self.gather();
        }
        self.drainer.take_sealed(usize::MAX, &mut self.runs);
        self.batch_runs();
        if !was_idle {
            self.is_pressed = true;
            self.relieve();
        }
    }

    /// A batch's worth was sealed: all that was taken goes out, also what is left of it after a
    /// cut, if there is a lane for it. Left behind it would add up to as much again.
    fn relieve(&mut self) {
        if self.is_pressed && self.outlets().any(Outlet::has_idle) {
            self.is_pressed = false;
            self.batcher.cut_all(&mut self.due);
            self.queue_due();
        }
    }

    /// The interval is over, or a flush is too late (which `answer_flushes` sees by itself).
    fn on_deadline(&mut self) {
        if matches!(self.phase, Phase::Gathering(until) if until <= Instant::now()) {
            self.end_interval();
        }
    }

    fn end_interval(&mut self) {
        if !self.outlets().any(Outlet::has_idle) {
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

    /// Takes and cuts all there is; whether there was anything.
    fn cut_everything(&mut self) -> bool {
        self.drainer.take_all(&mut self.runs);
        let were_due = self.batch_runs();
        self.batcher.cut_all(&mut self.due);
        self.queue_due() || were_due
    }

    /// Moves taken runs into the batcher and what became due into the queues; whether something
    /// did.
    fn batch_runs(&mut self) -> bool {
        let mut runs = std::mem::take(&mut self.runs);
        // All at once, so that a panic on the way leaves none of them uncounted.
        self.alive.line().ledger.hold(runs.iter().map(|run| u64::from(run.records)).sum());
        for run in runs.drain(..) {
            let oversize = self.batcher.push(self.item(run), &mut self.due);
            if oversize.records > 0 {
                self.alive.line().ledger.settle(oversize.records, Fate::Oversize);
                self.report(Kind::Oversize, OVERSIZE);
            }
        }
        self.runs = runs;
        self.queue_due()
    }

    fn item(&self, run: Run) -> Item {
        let resource = self.alive.shared.registry.resource_frame(run.tag.resource);
        let scope = self.alive.shared.registry.scope_frame(run.tag.scope);
        Item {
            resource: run.tag.resource,
            scope: run.tag.scope,
            records: run.records.into(),
            bytes: run.bytes,
            resource_bytes: resource.len(),
            scope_bytes: scope.len(),
        }
    }

    /// Offers what is due to every destination; whether there was anything.
    fn queue_due(&mut self) -> bool {
        let was_something = !self.due.is_empty();
        for batch in self.due.drain(..) {
            for outlet in &mut self.beside {
                self.alive.line().ledger_of(outlet.place()).hand(batch.records);
                outlet.offer(batch.clone(), &self.batcher, &mut self.tickets);
            }
            self.main.offer(batch, &self.batcher, &mut self.tickets);
        }
        was_something
    }

    fn fill_lanes(&mut self) {
        loop {
            // What should have been cut before and found all lanes busy: company for what waits.
            if self.phase == Phase::Overdue {
                self.end_interval();
            }
            let (shared, is_hurried) = (&self.alive.shared, self.is_hurried());
            for outlet in iter::once(&mut self.main).chain(&mut self.beside) {
                outlet.start(is_hurried, &mut self.tickets, |batch| payload(shared, batch));
            }
            self.relieve();
            if !self.outlets().any(|outlet| outlet.can_start(is_hurried)) {
                return self.drop_excess();
            }
        }
    }

    /// Drops what waits for a destination that holds more than its share.
    fn drop_excess(&mut self) {
        while let Some(settled) = self.main.take_excess() {
            self.settle(Place::Main, settled);
        }
        for index in 0..self.beside.len() {
            let place = self.beside[index].place();
            while let Some(settled) = self.beside[index].take_excess() {
                self.alive.line().turn_away_beside(place, settled.records);
                self.settle(place, settled);
                let about = About::from((Kind::DestinationFull, self.alive.signal));
                let about = about.to(self.alive.shared.name(place));
                self.alive.shared.diagnostics.report(about, SHARE_FULL, Instant::now());
            }
        }
    }

    /// Somebody waits for what was ended before.
    fn is_hurried(&self) -> bool {
        self.stopping.is_some() || self.flushes.len() > 0
    }

    fn outlets(&self) -> impl Iterator<Item = &Outlet> {
        iter::once(&self.main).chain(&self.beside)
    }

    fn settle(&mut self, place: Place, settled: Settled) {
        let Settled { ticket, records, fate, owner, why } = settled;
        self.alive.line().ledger_of(place).settle(records, fate);
        self.tickets.settle(ticket);
        match owner {
            Some(owner) => self.settle_submitted(owner, records, fate, why),
            None => self.drainer.reclaim(),
        }
    }

    fn settle_submitted(&mut self, owner: Owner, records: u64, fate: Fate, why: Option<String>) {
        if let Some(bytes) = self.submissions.settle(owner, records, fate, why) {
            self.alive.line().commands.release(bytes);
        }
    }

    /// Cuts a submission into requests of its own: whoever waits for it waits for nothing else,
    /// and for the main destination only.
    fn take_submission(&mut self, accepted: Accepted) {
        let Accepted { items, records, bytes, deadline, asked } = accepted;
        let owner = self.submissions.begin(asked, records, bytes, deadline);
        let mut batches = Vec::new();
        let oversize = self.batcher.cut_apart(items, records, &mut batches).records;
        for batch in batches {
            for outlet in &mut self.beside {
                self.alive.line().ledger_of(outlet.place()).hand(batch.records);
                outlet.queue(batch.clone(), None, &mut self.tickets);
            }
            self.main.queue(batch, Some(owner), &mut self.tickets);
        }
        if oversize > 0 {
            self.alive.line().ledger.settle(oversize, Fate::Oversize);
            self.report(Kind::Oversize, OVERSIZE);
            self.alive.line().observer.give_up(oversize, observe::OVERSIZE);
            self.settle_submitted(owner, oversize, Fate::Oversize, Some(OVERSIZE.to_owned()));
        }
    }

    /// Gives up what was submitted and has found no lane within its time.
    fn give_up_late_submissions(&mut self) {
        let now = Instant::now();
        while let Some((index, owner)) = self.main.oldest_submission()
            && owner.deadline.is_some_and(|at| at <= now)
            && let Some(Ready { ticket, batch, .. }) = self.main.take(index)
        {
            let why = Some("it waited too long for requests before it".to_owned());
            let (records, owner) = (batch.records, Some(owner));
            self.alive.line().observer.give_up(records, observe::TIMEOUT);
            let settled = Settled { ticket, records, fate: Fate::Exhausted, owner, why };
            self.settle(Place::Main, settled);
        }
    }

    /// Obeys `command` and those that wait behind it. They are fetched before the cut, which so
    /// has in it all that their callers had ended when they asked. Submissions need no cut.
    fn obey_all(&mut self, command: Command) {
        let behind = iter::from_fn(|| self.alive.line().commands.next()).take(PRUNE_MIN);
        self.asked.extend(iter::once(command).chain(behind));
        if !self.asked.iter().all(|command| matches!(command, Command::Submit(_))) {
            self.cut_everything();
            // No retry is waited for while somebody waits for the data.
            self.outlets().for_each(Outlet::hurry);
        }
        while let Some(command) = self.asked.pop_front() {
            self.obey(command);
        }
        if self.flushes.len() >= PRUNE_MIN {
            self.flushes.forget_unless(Asked::is_wanted);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Flush { deadline, asked } => {
                self.flushes.begin(self.tickets.next(), deadline, asked);
            }
            Command::Shutdown { deadline, asked } => {
                self.phase = Phase::Stopping;
                self.stopping = Some(Stopping { deadline, asked });
            }
            Command::Submit(accepted) => self.take_submission(accepted),
            #[cfg(feature = "internals")]
            Command::Panic => panic!("a panic was asked for"),
        }
    }

    fn answer_flushes(&mut self) {
        let now = Instant::now();
        while let Some((asked, ending)) = self.flushes.take_ended(&self.tickets, now) {
            if ending == Ending::Settled {
                self.report_room_if_empty();
            }
            asked.answer(match ending {
                Ending::Settled => Ok(self.alive.line().losses()),
                Ending::TimedOut => {
                    Err(FlushError::Timeout { pending: self.alive.line().pending() })
                }
            });
        }
    }

    /// After a flush, an empty pipe needs no quiet while to show that it has room.
    fn report_room_if_empty(&mut self) {
        self.report_refusals();
        if self.alive.line().pipe.counters().left_behind() == 0 {
            let change = self.fullness.end();
            self.report_fullness(change);
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
        if self.tickets.are_settled_below(self.tickets.next()) {
            self.report_room_if_empty();
        }
        let losses = self.alive.line().losses();
        let left = self.abandon_rest();
        self.alive.line().end(Life::Stopped);
        self.alive.line().commands.close();
        self.submissions.abandon("the exporter was shut down first");
        let Some(Stopping { asked, .. }) = self.stopping.take() else { return };
        asked.answer(match left {
            0 => Ok(losses),
            left => Err(ShutdownError::Timeout { left }),
        });
    }

    /// Settles everything that is still here as abandoned; returns how many records, of the
    /// destination that has most. What came in since the last cut stays in the pipe, where it is
    /// counted as left behind.
    fn abandon_rest(&mut self) -> u64 {
        let mut most = 0;
        for outlet in iter::once(&mut self.main).chain(&mut self.beside) {
            let left = outlet.abandon();
            let ledger = self.alive.shared.line(self.alive.signal).ledger_of(outlet.place());
            ledger.settle(left, Fate::Abandoned);
            most = most.max(left);
        }
        most
    }

    /// Tells the user of records that never came this far.
    fn report_refusals(&mut self) {
        let line = self.alive.line();
        let pipe = line.pipe.counters();
        let (drops, unnamed) = (line.ledger.crowded_out(&pipe), line.ledger.too_many_scopes());
        let change = self.fullness.observe(drops, Instant::now());
        self.report_fullness(change);
        if unnamed > self.unnamed_reported {
            let message = "too many different scopes or resources: name them statically";
            self.report(Kind::TooManyScopes, message);
            self.unnamed_reported = unnamed;
        }
        if pipe.oversize > self.oversize_reported {
            self.report(Kind::Oversize, OVERSIZE);
            self.oversize_reported = pipe.oversize;
        }
    }

    fn report_fullness(&mut self, change: Option<Change>) {
        match change {
            Some(Change::Begun) => self.is_full_told = self.report(Kind::BufferFull, FULL),
            // Who was told of the beginning is told of the end, however soon.
            Some(Change::Over { dropped }) if std::mem::take(&mut self.is_full_told) => {
                let message = format!("the buffer has room again; {dropped} records were dropped");
                let about = (Kind::BufferRecovered, self.alive.signal);
                self.alive.shared.diagnostics.tell(about, &message);
            }
            Some(Change::Over { .. }) | None => {}
        }
    }

    /// True if the rate limit let it pass.
    fn report(&self, kind: Kind, message: &str) -> bool {
        let about = (kind, self.alive.signal);
        self.alive.shared.diagnostics.report(about, message, Instant::now())
    }
}

/// The request of a batch: headers of our own between slices of the pipe.
fn payload(shared: &Shared, batch: Batch) -> Payload {
    let registry = &shared.registry;
    let resource = registry.resource_frame(batch.resource);
    let groups = batch
        .groups
        .into_iter()
        .map(|(scope, runs)| Group { scope: registry.scope_frame(scope), runs });
    let request = envelope::Request::new(&resource, groups.collect());
    Payload::new(request.parts, batch.records)
}

/// Tells everybody when the delivery ends, however it ends.
pub(crate) struct Alive {
    shared: Arc<Shared>,
    signal: Signal,
}

impl Alive {
    pub(crate) fn new(shared: Arc<Shared>, signal: Signal) -> Self {
        Self { shared, signal }
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    fn line(&self) -> &Line {
        self.shared.line(self.signal)
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        let (line, has_panicked) = (self.line(), std::thread::panicking());
        line.pipe.close();
        line.end(if has_panicked { Life::Died } else { Life::Stopped });
        line.commands.close();
        self.shared.end.come();
        if has_panicked {
            let message =
                "the delivery panicked (a bug); nothing of this signal is delivered any more";
            let about = (Kind::Died, self.signal);
            self.shared.diagnostics.report(about, message, Instant::now());
        }
    }
}

/// A buffer without drops for less than this is not said to have room, however short the age is.
const QUIET_MIN: Duration = Duration::from_millis(100);
/// What is said when records begin to be dropped for want of room.
const FULL: &str = "the buffer is full: producers are faster than the collector, and records are \
                    dropped; raise Builder::buffer_bytes, or look why the collector is slow";
/// What is said of records that fit into no request, or not into the buffer.
const OVERSIZE: &str = "a record exceeds the request limit (Builder::request_bytes_max) or half of \
                        the buffer (Builder::buffer_bytes), and was dropped";

/// What is said when the batches of one destination are dropped for want of room.
const SHARE_FULL: &str = "the destination is slower than the others and its share of the buffer is \
                          full: batches are dropped for it alone; look why it is slow, or raise \
                          Destination::buffer_bytes";

/// Records wait at most this long for company, whatever was configured: the clock can count it.
const AGE_LIMIT: Duration = Duration::from_secs(24 * 60 * 60);
