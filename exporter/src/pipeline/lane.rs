//! Lanes: each delivers one batch at a time over a connection of its own, until its fate is known.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use spanwire_runtime::time::sleep_until;

use crate::diagnostics::{About, Kind};
use crate::model::{Failure, Outcome, Payload, Phase, Signal};
use crate::pipeline::carrier::Carrier;
use crate::pipeline::ledger::{Fate, Ledger, Place};
use crate::pipeline::observe::{Ended, Observer};
use crate::pipeline::prepare::{Codec, prepare};
use crate::pipeline::shared::Shared;
use crate::pipeline::spacing::Spacing;
use crate::pipeline::submission::Owner;
use crate::retry::{Backoff, Decision, Held, Policy};
use crate::transport::balance::MemberId;

/// A request and whose flush it belongs to.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) ticket: u64,
    pub(crate) payload: Payload,
    /// Of several endpoints, whom it belongs to, if to anybody.
    pub(crate) preferred: Option<MemberId>,
    /// Whose submission it is; none if it came out of the pipe.
    pub(crate) owner: Option<Owner>,
}

/// A parcel whose fate is known.
#[derive(Clone, Debug)]
pub(crate) struct Settled {
    pub(crate) ticket: u64,
    pub(crate) records: u64,
    pub(crate) fate: Fate,
    pub(crate) owner: Option<Owner>,
    /// Why it was not delivered, or what the peer remarked.
    pub(crate) why: Option<String>,
}

/// What all lanes of one destination share.
pub(crate) struct Destination {
    pub(crate) shared: Arc<Shared>,
    pub(crate) signal: Signal,
    pub(crate) place: Place,
    pub(crate) policy: Policy,
    /// Bounds one attempt; `None` is no limit.
    pub(crate) timeout: Option<Duration>,
    codec: Codec,
    /// Keeps the figures of this destination.
    pub(crate) observer: Arc<Observer>,
    /// The peer asked all of us to wait until then.
    paused_until: Cell<Option<Instant>>,
    /// An attempt failed and none has succeeded since; whether the user was told.
    failing: Cell<Option<IsTold>>,
    /// How often somebody has asked for everything to be delivered now.
    hurries: Cell<u64>,
    /// What failed once and is kept to be tried again.
    held: RefCell<Held>,
    spacing: RefCell<Spacing>,
}

type IsTold = bool;

/// A fixed number of lanes. A lane that was never needed has opened no connection.
pub(crate) struct Lanes {
    destination: Rc<Destination>,
    lanes: Vec<Lane>,
}

enum Lane {
    Idle(Carrier),
    Busy {
        records: u64,
        /// What counts against the share of the destination.
        bytes: usize,
        since: Instant,
        delivery: Pin<Box<dyn Future<Output = (Carrier, Settled)>>>,
    },
}

impl Destination {
    pub(crate) fn new(
        shared: Arc<Shared>,
        signal: Signal,
        place: Place,
        policy: Policy,
        timeout: Option<Duration>,
        codec: Codec,
    ) -> Self {
        let observer = shared.line(signal).observer_of(place);
        Self {
            shared,
            signal,
            place,
            policy,
            timeout,
            codec,
            observer,
            paused_until: Cell::new(None),
            failing: Cell::new(None),
            hurries: Cell::new(0),
            held: RefCell::default(),
            spacing: RefCell::default(),
        }
    }

    fn ledger(&self) -> &Ledger {
        self.shared.line(self.signal).ledger_of(self.place)
    }

    fn about(&self, kind: Kind) -> About {
        About::from((kind, self.signal)).to(self.shared.name(self.place))
    }

    /// Tells the user that data is waiting, at most at the rate of the diagnostics.
    fn failed(&self, why: &Failure) {
        let is_told = self.report_failure(Kind::ExportFailing, &why.describe(self.signal), why);
        self.failing.set(Some(is_told || self.failing.get() == Some(true)));
    }

    fn succeeded(&self, warning: Option<&str>) {
        // Who was told of the failure is told of its end, however soon after another one.
        if self.failing.take() == Some(true) {
            self.shared.diagnostics.tell(self.about(Kind::ExportRecovered), "data is taken again");
        }
        if let Some(warning) = warning {
            self.report(Kind::PartialSuccess, warning);
        }
    }

    /// Tells the user that the request is lost, and, once, if that is for its encoding.
    fn refused(&self, payload: &Payload, why: &Failure) -> String {
        let text = why.describe(self.signal);
        self.report_failure(Kind::Refused, &text, why);
        if self.codec.learn(payload, why) {
            self.report(Kind::EncodingRefused, ENCODING_REFUSED);
        }
        text
    }

    /// What becomes of a request that cannot be made.
    fn unsendable(&self, why: &Failure) -> Ended {
        let (kind, fate) = match why.phase {
            Phase::Size => (Kind::Oversize, Fate::Oversize),
            _ => (Kind::Refused, Fate::Refused),
        };
        let text = why.describe(self.signal);
        self.report_failure(kind, &text, why);
        Ended::failed(fate, why, text, Instant::now())
    }

    /// How to retry what has to be delivered by `deadline`.
    fn policy_until(&self, deadline: Option<Instant>) -> Policy {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let budget = left.map_or(self.policy.budget, |left| left.min(self.policy.budget));
        Policy { budget, ..self.policy }
    }

    fn report(&self, kind: Kind, message: &str) -> IsTold {
        self.shared.diagnostics.report(self.about(kind), message, Instant::now())
    }

    fn report_failure(&self, kind: Kind, message: &str, why: &Failure) -> IsTold {
        let (about, cause) = (self.about(kind), Some(why.error_type()));
        self.shared.diagnostics.report_cause(about, message, cause, Instant::now())
    }

    /// Waits as long as the peer has asked everybody to wait. False if `allows` does not allow to
    /// wait until then.
    async fn wait_until_open(&self, allows: impl Fn(Instant) -> bool) -> bool {
        while let Some(at) = self.paused_until.get().filter(|at| *at > Instant::now()) {
            if !allows(at) {
                return false;
            }
            // All lanes wait for it; they are not to go on in the same instant.
            let later = self.policy.after_pause(at, fastrand::u32(..));
            sleep_until(if allows(later) { later } else { at }).await;
        }
        true
    }

    /// Waits until `at`, or until somebody is in a hurry.
    async fn back_off(&self, at: Instant) {
        let before = self.hurries.get();
        let mut sleep = pin!(sleep_until(at));
        // Nobody wakes this for a hurry: whoever is in one polls all lanes afterwards.
        poll_fn(|cx| match self.hurries.get() == before {
            true => sleep.as_mut().poll(cx),
            false => Poll::Ready(()),
        })
        .await;
    }

    /// Waits for the time of the next attempt; false if the budget does not reach so far.
    async fn wait_for(&self, at: Instant, backoff: &Backoff) -> bool {
        self.back_off(at).await;
        self.wait_until_open(|at| backoff.allows_until(at)).await
    }

    /// Keeps a request to be tried again, if there is room for it.
    fn keep(&self, bytes: usize) -> Option<Kept<'_>> {
        let is_kept = self.held.borrow_mut().admit(bytes, &self.policy);
        is_kept.then(|| Kept { destination: self, bytes })
    }

    fn pause(&self, until: Instant) {
        self.paused_until.set(self.paused_until.get().max(Some(until)));
    }
}

impl Lanes {
    /// As many lanes as there are carriers.
    pub(crate) fn new(destination: Destination, carriers: impl Iterator<Item = Carrier>) -> Self {
        let lanes = carriers.map(Lane::Idle).collect();
        Self { destination: Rc::new(destination), lanes }
    }

    pub(crate) fn has_idle(&self) -> bool {
        self.lanes.iter().any(|lane| matches!(lane, Lane::Idle(_)))
    }

    /// Until when the next request waits for company, which may be over; while none is under way it
    /// does not wait.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        let has_busy = self.lanes.iter().any(|lane| matches!(lane, Lane::Busy { .. }));
        let spacing = self.destination.spacing.borrow();
        if has_busy { spacing.next_at(self.lanes.len()) } else { None }
    }

    /// Starts delivering on the first idle lane; gives the parcel back if there is none.
    pub(crate) fn start(&mut self, parcel: Parcel) -> Result<(), Parcel> {
        let Some(lane) = self.lanes.iter_mut().find(|lane| matches!(lane, Lane::Idle(_))) else {
            return Err(parcel);
        };
        let (records, since) = (parcel.payload.records, Instant::now());
        self.destination.spacing.borrow_mut().begin(since);
        if parcel.owner.is_none() {
            self.destination.observer.begin(records, parcel.payload.bytes);
        }
        // Submissions that somebody waits for have a bound of their own.
        let bytes = parcel.owner.map_or(parcel.payload.bytes, |_| 0);
        // The carrier is taken out and comes back with the outcome.
        let idle = std::mem::replace(
            lane,
            Lane::Busy { records, bytes, since, delivery: Box::pin(std::future::pending()) },
        );
        if let (Lane::Idle(carrier), Lane::Busy { delivery, .. }) = (idle, lane) {
            *delivery = Box::pin(deliver(carrier, parcel, Rc::clone(&self.destination)));
        }
        Ok(())
    }

    /// The next parcel whose fate becomes known. Pending for ever while all are idle.
    pub(crate) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Settled> {
        for lane in &mut self.lanes {
            if let Lane::Busy { delivery, .. } = lane
                && let Poll::Ready((carrier, settled)) = delivery.as_mut().poll(cx)
            {
                *lane = Lane::Idle(carrier);
                return Poll::Ready(settled);
            }
        }
        Poll::Pending
    }

    /// Ends all pauses that no peer has asked for, once the lanes are polled again.
    pub(crate) fn hurry(&self) {
        let hurries = &self.destination.hurries;
        hurries.set(hurries.get() + 1);
    }

    /// Bytes of what is under way, without what somebody waits for.
    pub(crate) fn bytes(&self) -> usize {
        let busy = self.lanes.iter().map(|lane| match lane {
            Lane::Busy { bytes, .. } => *bytes,
            Lane::Idle(_) => 0,
        });
        busy.sum()
    }

    /// Gives up what is under way; returns how many records that were.
    pub(crate) fn abandon(&mut self) -> u64 {
        let observer = &self.destination.observer;
        let busy = self.lanes.drain(..).map(|lane| match lane {
            Lane::Busy { records, since, .. } => {
                observer.cut_off(since);
                records
            }
            Lane::Idle(_) => 0,
        });
        busy.sum()
    }
}

/// Sends one parcel until its fate is known.
async fn deliver(
    mut carrier: Carrier,
    parcel: Parcel,
    destination: Rc<Destination>,
) -> (Carrier, Settled) {
    let Parcel { ticket, payload, preferred, owner } = parcel;
    carrier.begin(preferred);
    let records = payload.records;
    let (ended, pause) = match prepare(payload, &destination.codec).await {
        Ok(payload) => {
            let sent = send(&mut carrier, &payload, owner, &destination).await;
            destination.codec.recycle(payload);
            sent
        }
        Err(why) => (destination.unsendable(&why), None),
    };
    if let Some(until) = pause {
        // What was given up for want of room spares the peer as a retry would have.
        destination.back_off(until).await;
    }
    destination.observer.end(records, &ended);
    let Ended { fate, why, .. } = ended;
    (carrier, Settled { ticket, records, fate, owner, why })
}

/// Tries until the fate is known; says until when the lane is to be idle all the same.
async fn send(
    carrier: &mut Carrier,
    payload: &Payload,
    owner: Option<Owner>,
    destination: &Destination,
) -> (Ended, Option<Instant>) {
    let deadline = owner.and_then(|owner| owner.deadline);
    // What another request was told counts for this one too, but not against its budget.
    if !destination.wait_until_open(|at| deadline.is_none_or(|deadline| at < deadline)).await {
        return (Ended::late(PAUSED), None);
    }
    let started = Instant::now();
    let mut backoff = Backoff::new(destination.policy_until(deadline), started);
    let mut kept: Option<Kept<'_>> = None;
    loop {
        let outcome = attempt(carrier, payload, destination, deadline, kept.is_some()).await;
        let (not_before, why) = match outcome {
            Outcome::Delivered { rejected, warning, status } => {
                destination.succeeded(warning.as_deref());
                if kept.is_none() {
                    destination.spacing.borrow_mut().answered(started.elapsed());
                }
                return (Ended::delivered(rejected, warning, status, started), None);
            }
            Outcome::Refused { why } => {
                let text = destination.refused(payload, &why);
                return (Ended::failed(Fate::Refused, &why, text, started), None);
            }
            Outcome::Retry { not_before, why } => (not_before, why),
        };
        destination.failed(&why);
        let given_up = |text: String| {
            destination.report_failure(Kind::RetriesExhausted, &text, &why);
            Ended::failed(Fate::Exhausted, &why, text, started)
        };
        let Some(at) = next_attempt(destination, &mut backoff, not_before) else {
            return (given_up(why.describe(destination.signal)), None);
        };
        kept = kept.or_else(|| destination.keep(payload.bytes));
        if kept.is_none() {
            let text = why.describe(destination.signal);
            return (given_up(format!("{text}; {NO_ROOM}")), Some(at));
        }
        // An attempt at the deadline of a submission would be over before it began.
        if !destination.wait_for(at, &backoff).await || has_passed(deadline) {
            return (given_up(why.describe(destination.signal)), None);
        }
    }
}

fn has_passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|at| at <= Instant::now())
}

async fn attempt(
    carrier: &mut Carrier,
    payload: &Payload,
    destination: &Destination,
    until: Option<Instant>,
    is_retry: bool,
) -> Outcome {
    destination.ledger().count_request(is_retry);
    let limit = destination.timeout.and_then(|limit| Instant::now().checked_add(limit));
    let deadline = [limit, until].into_iter().flatten().min();
    carrier.attempt(destination.signal, payload, deadline).await
}

/// When to try again, if ever. A pause that the peer asked for is one for all lanes, also if this
/// request cannot wait for its end; but what it is asked of waits no longer than a retry could.
fn next_attempt(
    destination: &Destination,
    backoff: &mut Backoff,
    not_before: Option<Duration>,
) -> Option<Instant> {
    let now = Instant::now();
    let pause = not_before.map(|pause| pause.min(destination.policy.budget));
    if let Some(until) = pause.and_then(|pause| now.checked_add(pause)) {
        destination.pause(until);
    }
    match backoff.next(now, not_before, fastrand::u32(..)) {
        Decision::RetryAt(at) => Some(at),
        Decision::GiveUp => None,
    }
}

/// A request that is kept to be tried again; its bytes count until this is dropped.
struct Kept<'a> {
    destination: &'a Destination,
    bytes: usize,
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.destination.held.borrow_mut().release(self.bytes);
    }
}

/// Why a request is not kept to be tried again.
const NO_ROOM: &str = "what waits to be tried again has no more room (Builder::retry_bytes)";
/// What is said, once, of a peer that cannot read compressed bodies.
const ENCODING_REFUSED: &str = "the collector cannot read compressed requests, so later ones are \
                                sent as they are; set the compression to what it supports, or \
                                none";
/// Why a submission is given up whose time is shorter than a pause.
const PAUSED: &str = "the collector asked for a longer pause than the time limit of an export";
