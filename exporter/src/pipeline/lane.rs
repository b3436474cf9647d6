//! Lanes: each delivers one batch at a time over a connection of its own, until its fate is known.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use spanwire_runtime::time::sleep_until;

use crate::diagnostics::Kind;
use crate::model::{Failure, Outcome, Payload};
use crate::pipeline::ledger::Fate;
use crate::pipeline::shared::Shared;
use crate::retry::{Backoff, Decision, Policy};
use crate::transport::client::Client;

/// A request and whose flush it belongs to.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) ticket: u64,
    pub(crate) payload: Payload,
}

/// A parcel whose fate is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) ticket: u64,
    pub(crate) records: u64,
    pub(crate) fate: Fate,
}

/// What all lanes of one destination share.
pub(crate) struct Destination {
    pub(crate) shared: Arc<Shared>,
    pub(crate) policy: Policy,
    /// Bounds one attempt; `None` is no limit.
    pub(crate) timeout: Option<Duration>,
    /// The peer asked all of us to wait until then.
    paused_until: Cell<Option<Instant>>,
    /// An attempt failed and none has succeeded since.
    failing: Cell<bool>,
}

/// A fixed number of lanes. A lane that was never needed has opened no connection.
pub(crate) struct Lanes {
    destination: Rc<Destination>,
    lanes: Vec<Lane>,
}

enum Lane {
    Idle(Box<Client>),
    Busy { records: u64, delivery: Pin<Box<dyn Future<Output = (Client, Settled)>>> },
}

impl Destination {
    pub(crate) fn new(shared: Arc<Shared>, policy: Policy, timeout: Option<Duration>) -> Self {
        let (paused_until, failing) = (Cell::new(None), Cell::new(false));
        Self { shared, policy, timeout, paused_until, failing }
    }

    /// Tells the user, at the first failure and again at the recovery.
    fn failed(&self, why: &Failure) {
        self.failing.set(true);
        self.report(Kind::ExportFailing, &why.to_string());
    }

    fn succeeded(&self, warning: Option<&str>) {
        if self.failing.replace(false) {
            self.report(Kind::ExportRecovered, "the collector takes data again");
        }
        if let Some(warning) = warning {
            self.report(Kind::PartialSuccess, warning);
        }
    }

    fn report(&self, kind: Kind, message: &str) {
        self.shared.diagnostics.report(kind, message, Instant::now());
    }

    /// Waits as long as the peer has asked everybody to wait.
    async fn wait_until_open(&self) {
        while let Some(at) = self.paused_until.get().filter(|at| *at > Instant::now()) {
            sleep_until(at).await;
        }
    }

    fn pause(&self, until: Instant) {
        self.paused_until.set(self.paused_until.get().max(Some(until)));
    }
}

impl Lanes {
    /// As many lanes as there are clients.
    pub(crate) fn new(destination: Destination, clients: impl Iterator<Item = Client>) -> Self {
        let lanes = clients.map(|client| Lane::Idle(Box::new(client))).collect();
        Self { destination: Rc::new(destination), lanes }
    }

    pub(crate) fn has_idle(&self) -> bool {
        self.lanes.iter().any(|lane| matches!(lane, Lane::Idle(_)))
    }

    /// Starts delivering on the first idle lane; gives the parcel back if there is none.
    pub(crate) fn start(&mut self, parcel: Parcel) -> Result<(), Parcel> {
        let Some(lane) = self.lanes.iter_mut().find(|lane| matches!(lane, Lane::Idle(_))) else {
            return Err(parcel);
        };
        let records = parcel.payload.records;
        // The client is taken out and comes back with the outcome.
        let idle = std::mem::replace(
            lane,
            Lane::Busy { records, delivery: Box::pin(std::future::pending()) },
        );
        if let (Lane::Idle(client), Lane::Busy { delivery, .. }) = (idle, lane) {
            *delivery = Box::pin(deliver(*client, parcel, Rc::clone(&self.destination)));
        }
        Ok(())
    }

    /// The next parcel whose fate becomes known. Pending for ever while all are idle.
    pub(crate) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Settled> {
        for lane in &mut self.lanes {
            if let Lane::Busy { delivery, .. } = lane
                && let Poll::Ready((client, settled)) = delivery.as_mut().poll(cx)
            {
                *lane = Lane::Idle(Box::new(client));
                return Poll::Ready(settled);
            }
        }
        Poll::Pending
    }

    /// Gives up what is under way; returns how many records that were.
    pub(crate) fn abandon(&mut self) -> u64 {
        let busy = self.lanes.drain(..).map(|lane| match lane {
            Lane::Busy { records, .. } => records,
            Lane::Idle(_) => 0,
        });
        busy.sum()
    }
}

/// Sends one parcel until its fate is known.
async fn deliver(
    mut client: Client,
    parcel: Parcel,
    destination: Rc<Destination>,
) -> (Client, Settled) {
    let fate = send(&mut client, &parcel.payload, &destination).await;
    let settled = Settled { ticket: parcel.ticket, records: parcel.payload.records, fate };
    (client, settled)
}

async fn send(client: &mut Client, payload: &Payload, destination: &Destination) -> Fate {
    destination.wait_until_open().await;
    let mut backoff = Backoff::new(destination.policy, Instant::now());
    let mut is_retry = false;
    loop {
        destination.shared.ledger.count_request(is_retry);
        is_retry = true;
        let deadline = destination.timeout.and_then(|limit| Instant::now().checked_add(limit));
        let (not_before, why) = match client.attempt(payload, deadline).await {
            Outcome::Delivered { rejected, warning } => {
                destination.succeeded(warning.as_deref());
                return Fate::Delivered { rejected };
            }
            Outcome::Refused { why } => {
                destination.report(Kind::Refused, &why.to_string());
                return Fate::Refused;
            }
            Outcome::Retry { not_before, why } => (not_before, why),
        };
        destination.failed(&why);
        let now = Instant::now();
        match backoff.next(now, not_before, fastrand::u32(..)) {
            Decision::GiveUp => {
                destination.report(Kind::RetriesExhausted, &why.to_string());
                return Fate::Exhausted;
            }
            Decision::RetryAt(at) => {
                if let Some(until) = not_before.and_then(|pause| now.checked_add(pause)) {
                    destination.pause(until);
                }
                sleep_until(at).await;
            }
        }
        destination.wait_until_open().await;
    }
}
