//! The accounts: what became of every record, each term counted where it happens.
//!
//! `emitted = delivered + rejected + dropped(by reason) + in flight`. What was offered, accepted
//! and refused at intake is counted by the pipe; what was turned away before the pipe and what
//! became of the records that left it is counted here. All counters are statistics: they are
//! added to with Relaxed and publish nothing.

use std::iter;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use spanwire_runtime::pipe::Counters;

use crate::pipeline::flush::Loss;
use crate::pipeline::observe::{self, Handed};
use crate::stats::{ByCause, Dropped};

/// Where the exporter is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Records are accepted and delivered.
    Running,
    /// `shutdown` was called; what is buffered is still being delivered.
    Stopping,
    /// Delivery has ended; what was left is counted as dropped.
    Stopped,
    /// The exporter thread panicked; what was left is counted as dropped.
    Died,
}

/// Counts records. One instance for each signal and destination of an exporter.
#[derive(Debug)]
pub(crate) struct Ledger {
    life: AtomicU8,
    /// Turned away at a door, before the pipe.
    closed_door: AtomicU64,
    too_many_scopes: AtomicU64,
    reentrant: AtomicU64,
    /// Records of submissions: those taken, and those turned away.
    submitted: AtomicU64,
    submitted_full: AtomicU64,
    submitted_late: AtomicU64,
    /// The same as before the pipe: at a closed door, without a name for their scope, and lost to
    /// a panic of the encoder.
    submitted_closed: AtomicU64,
    submitted_unnamed: AtomicU64,
    submitted_panicked: AtomicU64,
    /// Settled by the exporter thread.
    delivered: AtomicU64,
    rejected: AtomicU64,
    refused: AtomicU64,
    exhausted: AtomicU64,
    oversize: AtomicU64,
    abandoned: AtomicU64,
    crowded: AtomicU64,
    evicted: AtomicU64,
    /// Taken from the pipe, or submitted, and not yet settled.
    held: AtomicU64,
    requests: AtomicU64,
    retries: AtomicU64,
}

/// What finally became of records that left the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The peer has them; it rejected `rejected` of them.
    Delivered { rejected: u64 },
    /// The peer said that it will never take them.
    Refused,
    /// The retry budget ran out.
    Exhausted,
    /// They alone exceed the request limit.
    Oversize,
    /// Delivery ended before their turn.
    Abandoned,
    /// More was waiting for their destination than its share of the buffer when they came.
    Crowded,
    /// The same; they had waited longest.
    Evicted,
}

/// A destination among those of an exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The one that submissions are answered for.
    Main,
    /// One of those beside it, which have all that it has, counted from 0.
    Beside(usize),
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            life: AtomicU8::new(Life::Running as u8),
            closed_door: AtomicU64::new(0),
            too_many_scopes: AtomicU64::new(0),
            reentrant: AtomicU64::new(0),
            submitted: AtomicU64::new(0),
            submitted_full: AtomicU64::new(0),
            submitted_late: AtomicU64::new(0),
            submitted_closed: AtomicU64::new(0),
            submitted_unnamed: AtomicU64::new(0),
            submitted_panicked: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
            oversize: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            crowded: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            held: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            retries: AtomicU64::new(0),
        }
    }

    pub(crate) fn life(&self) -> Life {
        // Ordering: Acquire pairs with `end`: who sees an end sees the counts before it.
        match self.life.load(Ordering::Acquire) {
            0 => Life::Running,
            1 => Life::Stopping,
            2 => Life::Stopped,
            _ => Life::Died,
        }
    }

    /// From running to stopping, unless it has ended.
    pub(crate) fn begin_stopping(&self) {
        let (from, to) = (Life::Running as u8, Life::Stopping as u8);
        // Ordering: Relaxed; nothing is read on account of it, and only `end` comes after it.
        let _ = self.life.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Delivery has ended; the first end stands. Called by the exporter's thread only.
    pub(crate) fn end(&self, life: Life) {
        if matches!(self.life(), Life::Running | Life::Stopping) {
            // Ordering: Release pairs with `life`.
            self.life.store(life as u8, Ordering::Release);
        }
    }

    pub(crate) fn count_closed_door(&self) {
        add(&self.closed_door, 1);
    }

    pub(crate) fn count_too_many_scopes(&self) {
        add(&self.too_many_scopes, 1);
    }

    pub(crate) fn count_reentrant(&self) {
        add(&self.reentrant, 1);
    }

    /// Records of a submission were taken; they are held until they are settled.
    pub(crate) fn accept_submission(&self, records: u64) {
        add(&self.submitted, records);
        add(&self.held, records);
    }

    /// The destination of this ledger got a copy of records; it holds them until they are
    /// settled. For those beside the main one, whose ledger has no pipe.
    pub(crate) fn hand(&self, records: u64) {
        self.accept_submission(records);
    }

    /// Too much was submitted already.
    pub(crate) fn count_submission_full(&self, records: u64) {
        add(&self.submitted_full, records);
    }

    /// Delivery was ending or had ended.
    pub(crate) fn count_submission_too_late(&self, records: u64) {
        add(&self.submitted_late, records);
    }

    /// The door was closed.
    pub(crate) fn count_submission_closed(&self, records: u64) {
        add(&self.submitted_closed, records);
    }

    /// There are too many scopes or resources.
    pub(crate) fn count_submission_unnamed(&self, records: u64) {
        add(&self.submitted_unnamed, records);
    }

    /// The encoder panicked.
    pub(crate) fn count_submission_panicked(&self, records: u64) {
        add(&self.submitted_panicked, records);
    }

    pub(crate) fn count_request(&self, retry: bool) {
        add(&self.requests, 1);
        add(&self.retries, retry.into());
    }

    /// Records left the pipe.
    pub(crate) fn hold(&self, records: u64) {
        add(&self.held, records);
    }

    /// `records` that were held have met their fate.
    pub(crate) fn settle(&self, records: u64, fate: Fate) {
        match fate {
            Fate::Delivered { rejected } => {
                // A peer that rejects more than it was sent is clamped.
                let rejected = rejected.min(records);
                add(&self.rejected, rejected);
                add(&self.delivered, records - rejected);
            }
            Fate::Refused => add(&self.refused, records),
            Fate::Exhausted => add(&self.exhausted, records),
            Fate::Oversize => add(&self.oversize, records),
            Fate::Abandoned => add(&self.abandoned, records),
            Fate::Crowded => add(&self.crowded, records),
            Fate::Evicted => add(&self.evicted, records),
        }
        self.held.fetch_sub(records, Ordering::Relaxed);
    }

    /// What was lost so far of the records that had been accepted.
    pub(crate) fn loss(&self, pipe: &Counters) -> Loss {
        let refused = [&self.refused, &self.exhausted, &self.oversize, &self.abandoned];
        let crowded = [&self.crowded, &self.evicted];
        let dropped = refused.into_iter().chain(crowded).map(load).sum::<u64>() + pipe.evicted;
        Loss { rejected: load(&self.rejected), dropped }
    }

    pub(crate) fn too_many_scopes(&self) -> u64 {
        load(&self.too_many_scopes) + load(&self.submitted_unnamed)
    }

    fn held(&self) -> u64 {
        load(&self.held)
    }

    pub(crate) fn delivered(&self) -> u64 {
        load(&self.delivered)
    }

    pub(crate) fn rejected(&self) -> u64 {
        load(&self.rejected)
    }

    pub(crate) fn requests(&self) -> u64 {
        load(&self.requests)
    }

    pub(crate) fn retries(&self) -> u64 {
        load(&self.retries)
    }

    /// Records that a program ended, whatever became of them.
    pub(crate) fn emitted(&self, pipe: &Counters) -> u64 {
        let own = [
            &self.submitted,
            &self.submitted_full,
            &self.submitted_late,
            &self.submitted_closed,
            &self.submitted_unnamed,
            &self.submitted_panicked,
            &self.closed_door,
            &self.too_many_scopes,
            &self.reentrant,
        ];
        let own: u64 = own.into_iter().map(load).sum();
        pipe.offered + own
    }

    /// Records that were dropped because the pipe, or what submissions may use, was full.
    pub(crate) fn crowded_out(&self, pipe: &Counters) -> u64 {
        pipe.full + pipe.evicted + load(&self.submitted_full) + self.over_share()
    }

    /// Those of them that were taken and were over the share of their destination.
    fn over_share(&self) -> u64 {
        load(&self.crowded) + load(&self.evicted)
    }

    /// Those of them that were turned away.
    fn full(&self, pipe: &Counters) -> u64 {
        pipe.full + load(&self.submitted_full) + load(&self.crowded)
    }

    /// The records that were dropped, by reason.
    pub(crate) fn dropped(&self, pipe: &Counters) -> Dropped {
        let mut dropped = Dropped {
            queue_full: self.full(pipe),
            evicted: pipe.evicted + load(&self.evicted),
            oversize: pipe.oversize + load(&self.oversize),
            reentrant: pipe.reentrant + load(&self.reentrant),
            after_shutdown: load(&self.closed_door) + load(&self.submitted_closed),
            refused: load(&self.refused),
            retries_exhausted: load(&self.exhausted),
            shutdown: load(&self.abandoned),
            encoder_panicked: pipe.panicked + load(&self.submitted_panicked),
            too_many_scopes: self.too_many_scopes(),
            ..Dropped::default()
        };
        let too_late = pipe.closed + load(&self.submitted_late);
        match self.life() {
            Life::Died => {
                dropped.exporter_died = too_late + pipe.left_behind() + self.held();
            }
            Life::Stopped => {
                dropped.after_shutdown += too_late;
                // Held is what a delivery that was cut off had in its hands.
                dropped.shutdown += pipe.left_behind() + self.held();
            }
            Life::Running | Life::Stopping => dropped.after_shutdown += too_late,
        }
        dropped
    }

    /// The records that ended at the processor, by cause, of which `handed` were handed on.
    pub(crate) fn processed(&self, pipe: &Counters, handed: Handed) -> Vec<ByCause> {
        let too_late = pipe.closed;
        let (mut closed, mut left) = (load(&self.closed_door), None);
        match self.life() {
            Life::Died => left = Some(("exporter_died", self.queued(pipe, handed) + too_late)),
            Life::Stopped => left = Some(("shutdown", self.queued(pipe, handed))),
            Life::Running | Life::Stopping => {}
        }
        if self.life() != Life::Died {
            closed += too_late;
        }
        let causes = [
            (observe::QUEUE_FULL, pipe.full + pipe.evicted + self.over_share()),
            (observe::ALREADY_SHUTDOWN, closed),
            (
                observe::OVERSIZE,
                pipe.oversize + load(&self.oversize).saturating_sub(handed.oversize),
            ),
            ("reentrant", pipe.reentrant + load(&self.reentrant)),
            ("encoder_panicked", pipe.panicked),
            ("too_many_scopes", load(&self.too_many_scopes)),
        ];
        let failed = causes.into_iter().chain(left).filter(|(_, records)| *records > 0);
        let failed = failed.map(|(cause, records)| ByCause::new(Some(cause.into()), records));
        iter::once(ByCause::new(None, handed.records)).chain(failed).collect()
    }

    /// Records of the pipe that nobody was handed.
    pub(crate) fn queued(&self, pipe: &Counters, handed: Handed) -> u64 {
        // What was given up at the end is held no more. The exporter has the rest of it all.
        let held = self.held() + load(&self.abandoned);
        pipe.left_behind() + held.saturating_sub(handed.in_flight)
    }

    /// Records accepted whose fate is open.
    pub(crate) fn in_flight(&self, pipe: &Counters) -> u64 {
        match self.life() {
            Life::Running | Life::Stopping => pipe.left_behind() + self.held(),
            Life::Stopped | Life::Died => 0,
        }
    }
}

fn add(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
