//! An outlet: one destination's side of a delivery, with a queue and lanes of its own.
//!
//! Each batch is offered to every outlet. The records are shared and not copied; what an outlet
//! holds keeps them in the buffer. So where there are several, each may hold its share of the
//! buffer only, and drops of its own what is over it: a destination that is slow or dead loses
//! its own copies and takes nothing from the others.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::batch::{Batch, Batcher};
use crate::model::Payload;
use crate::pipeline::balanced::Endpoints;
use crate::pipeline::flush::Tickets;
use crate::pipeline::lane::{Lanes, Parcel, Settled};
use crate::pipeline::ledger::{Fate, Place};
use crate::pipeline::partition::by_owner;
use crate::pipeline::submission::Owner;
use crate::transport::balance::MemberId;

/// What waits for one destination, and its lanes.
pub(crate) struct Outlet {
    place: Place,
    /// Batches that wait for a lane, oldest first. Bounded by the share, and without one by the
    /// pipe's pool, of which each leases chunks, and by the bytes of submissions.
    ready: VecDeque<Ready>,
    lanes: Lanes,
    /// What counts against the share, of the batches in `ready`.
    waiting_bytes: usize,
    share: Option<Share>,
    /// While more than this is held nothing waits for company: the buffer may run dry.
    hold_bytes_max: usize,
    /// For whom records are sorted by their trace before they are sent.
    sorted_for: Option<Rc<Endpoints>>,
}

/// A batch that waits for a lane.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) ticket: u64,
    pub(crate) batch: Batch,
    /// Whose submission it is; none if nobody waits for its answer.
    pub(crate) owner: Option<Owner>,
    /// It stays as it is, because it is full or is to; others may take in what comes next.
    pub(crate) is_whole: bool,
    /// Whom it is for.
    addressee: Addressee,
}

/// Whom of several endpoints a batch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addressee {
    /// Its records are still to be sorted, if they are to be.
    Unknown,
    /// This one, or any if it is nobody's.
    Known(Option<MemberId>),
}

/// How much of the buffer an outlet may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Bytes of what waits and is under way, other than submissions that somebody waits for.
    pub(crate) bytes_max: usize,
    /// What is dropped over it.
    pub(crate) over: Over,
}

/// Which of the batches that wait is dropped if there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The one that came last.
    Newest,
    /// The one that waits longest.
    Oldest,
}

impl Outlet {
    pub(crate) fn new(
        place: Place,
        lanes: Lanes,
        share: Option<Share>,
        hold_bytes_max: usize,
        sorted_for: Option<Rc<Endpoints>>,
    ) -> Self {
        let ready = VecDeque::new();
        Self { place, ready, lanes, waiting_bytes: 0, share, hold_bytes_max, sorted_for }
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn has_idle(&self) -> bool {
        self.lanes.has_idle()
    }

    /// Nothing waits here.
    pub(crate) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Something waits, a lane is free for it, and it waits for no company.
    pub(crate) fn can_start(&self, is_hurried: bool) -> bool {
        let is_due = |until: Option<Instant>| until.is_none_or(|at| at <= Instant::now());
        !self.is_empty() && self.has_idle() && is_due(self.held_until(is_hurried))
    }

    /// Until when what waits is held for company although a lane is free, which may be over; none
    /// if it is not held.
    pub(crate) fn held_until(&self, is_hurried: bool) -> Option<Instant> {
        let may_grow = self.ready.len() == 1 && !self.ready[0].is_whole;
        let has_room = self.held_bytes() <= self.hold_bytes_max;
        let is_held = may_grow && has_room && self.has_idle() && !is_hurried;
        if is_held { self.lanes.next_at() } else { None }
    }

    /// What waits and is under way, without what somebody waits for.
    fn held_bytes(&self) -> usize {
        self.waiting_bytes + self.lanes.bytes()
    }

    /// Adds a batch to the last one that waits if one request may hold both, else queues it.
    pub(crate) fn offer(&mut self, batch: Batch, batcher: &Batcher, tickets: &mut Tickets) {
        self.waiting_bytes += weight(&batch);
        // Who waits for the last batch waits for what is added to it, too; that is harmless.
        let merged = match self.ready.back_mut() {
            Some(Ready { batch: last, is_whole: is_whole @ false, .. }) => {
                let before = weight(last) + weight(&batch);
                let merged = batcher.merge(last, batch);
                if merged.is_ok() {
                    self.waiting_bytes = self.waiting_bytes + weight(last) - before;
                    *is_whole = batcher.is_full(last);
                }
                merged
            }
            _ => Err(batch),
        };
        if let Err(batch) = merged {
            let (ticket, is_whole) = (tickets.issue(), batcher.is_full(&batch));
            let addressee = Addressee::Unknown;
            self.ready.push_back(Ready { ticket, batch, owner: None, is_whole, addressee });
        }
    }

    /// Queues a batch that stays as it is.
    pub(crate) fn queue(&mut self, batch: Batch, owner: Option<Owner>, tickets: &mut Tickets) {
        if owner.is_none() {
            self.waiting_bytes += weight(&batch);
        }
        let ticket = tickets.issue();
        let addressee = Addressee::Unknown;
        self.ready.push_back(Ready { ticket, batch, owner, is_whole: true, addressee });
    }

    /// Starts what waits and is due as long as there are lanes for it.
    pub(crate) fn start(
        &mut self,
        is_hurried: bool,
        tickets: &mut Tickets,
        payload: impl Fn(Batch) -> Payload,
    ) {
        while self.can_start(is_hurried)
            && let Some(ready) = self.take(0)
        {
            let ready = self.sort(ready, tickets);
            let Ready { ticket, batch, owner, addressee, .. } = ready;
            let preferred = match addressee {
                Addressee::Known(preferred) => preferred,
                Addressee::Unknown => None,
            };
            let parcel = Parcel { ticket, payload: payload(batch), preferred, owner };
            let started = self.lanes.start(parcel);
            debug_assert!(started.is_ok(), "a lane was idle");
        }
    }

    /// Cuts a batch into one for each endpoint that some of its records belong to, if they belong
    /// to any: now, because whom that is may have changed while it waited. Gives back the first;
    /// the others are next.
    fn sort(&mut self, ready: Ready, tickets: &mut Tickets) -> Ready {
        let Ready { ticket, batch, owner, addressee, .. } = ready;
        let (Some(endpoints), Addressee::Unknown) = (&self.sorted_for, addressee) else {
            return ready_for(addressee, ticket, batch, owner);
        };
        let now = Instant::now();
        let parts =
            by_owner(batch, endpoints.signal(), |trace_id| endpoints.owner_of(trace_id, now));
        tickets.split(ticket, parts.1.len());
        let ((preferred, first), others) = parts;
        for (preferred, batch) in others.into_iter().rev() {
            self.waiting_bytes += if owner.is_none() { weight(&batch) } else { 0 };
            self.ready.push_front(ready_for(Addressee::Known(preferred), ticket, batch, owner));
        }
        ready_for(Addressee::Known(preferred), ticket, first, owner)
    }

    /// Takes out a batch that is to be dropped because more is held than the share; call until
    /// there is none. One batch alone is never too much.
    pub(crate) fn take_excess(&mut self) -> Option<Settled> {
        let Share { bytes_max, over } = self.share?;
        if self.held_bytes() <= bytes_max || (self.ready.len() == 1 && self.lanes.bytes() == 0) {
            return None;
        }
        let is_droppable = |ready: &Ready| ready.owner.is_none();
        let (index, fate) = match over {
            Over::Newest => (self.ready.iter().rposition(is_droppable)?, Fate::Crowded),
            Over::Oldest => (self.ready.iter().position(is_droppable)?, Fate::Evicted),
        };
        let Ready { ticket, batch, owner, .. } = self.take(index)?;
        Some(Settled { ticket, records: batch.records, fate, owner, why: None })
    }

    /// The first in the queue that was submitted. All have the same time, so it is the first to
    /// run out of it.
    pub(crate) fn oldest_submission(&self) -> Option<(usize, Owner)> {
        let owners = self.ready.iter().map(|ready| ready.owner);
        owners.enumerate().find_map(|(index, owner)| Some((index, owner?)))
    }

    /// Takes out what waits at `index`.
    pub(crate) fn take(&mut self, index: usize) -> Option<Ready> {
        let ready = self.ready.remove(index)?;
        if ready.owner.is_none() {
            self.waiting_bytes -= weight(&ready.batch);
        }
        Some(ready)
    }

    /// The next parcel whose fate becomes known. Pending for ever while all lanes are idle.
    pub(crate) fn poll_settled(&mut self, cx: &mut Context<'_>) -> Poll<Settled> {
        self.lanes.poll_settled(cx)
    }

    /// Ends all pauses that no peer has asked for, once the lanes are polled again.
    pub(crate) fn hurry(&self) {
        self.lanes.hurry();
    }

    /// Gives up what waits and what is under way; returns how many records that were.
    pub(crate) fn abandon(&mut self) -> u64 {
        self.waiting_bytes = 0;
        let waiting = self.ready.drain(..).map(|ready| ready.batch.records).sum::<u64>();
        waiting + self.lanes.abandon()
    }
}

/// What stays as it is.
fn ready_for(addressee: Addressee, ticket: u64, batch: Batch, owner: Option<Owner>) -> Ready {
    Ready { ticket, batch, owner, is_whole: true, addressee }
}

/// What a batch counts for: its records, and about what keeping it takes, so that very small ones
/// are bounded too.
fn weight(batch: &Batch) -> usize {
    batch.bytes.saturating_add(BATCH_BYTES)
}

/// About what a batch takes beside its records.
const BATCH_BYTES: usize = 512;
