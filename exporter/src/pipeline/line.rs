//! A line: all that an exporter has once for each signal.

use std::iter;
use std::sync::Arc;
use std::time::{Duration, Instant};

use spanwire_runtime::pipe::{Counters, Pipe};

use crate::batch::Item;
use crate::model::Signal;
use crate::pipeline::command::{Command, Commands, NoRoom};
use crate::pipeline::flush::Losses;
use crate::pipeline::ledger::{Ledger, Life, Place};
use crate::pipeline::observe::{self, Component, Handed, Observer};
use crate::pipeline::reply::{Answer, reply};
use crate::pipeline::submission::{Accepted, Settlement};
use crate::stats::{ExporterStats, ProcessorStats, SignalStats};

/// From the doors of one signal to its collector. A task of its own delivers what is in the
/// pipe, over lanes of its own.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) pipe: Pipe,
    /// Of the main destination, and of what came to none.
    pub(crate) ledger: Ledger,
    /// Of each destination beside it, and who keeps its figures if it gets this signal.
    beside: Vec<(Ledger, Option<Arc<Observer>>)>,
    pub(crate) commands: Commands,
    pub(crate) limits: SubmitLimits,
    /// Nobody wants the signal: its doors ignore what comes.
    pub(crate) is_off: bool,
    /// Keeps the figures of the main destination.
    pub(crate) observer: Arc<Observer>,
    /// The name of the pipe in its figures; none of metrics, which do not come through it.
    processor: Option<Component>,
}

/// What bounds submissions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SubmitLimits {
    /// Bytes of all that are under way.
    pub(crate) bytes_max: usize,
    /// Time of one, retries included: the specification's TIMEOUT bounds a whole export. `None`
    /// is no limit.
    pub(crate) timeout: Option<Duration>,
}

impl Line {
    /// With so many destinations `beside` the main one.
    pub(crate) fn new(
        pipe: Pipe,
        limits: SubmitLimits,
        observer: Observer,
        processor: Option<Component>,
        beside: usize,
    ) -> Self {
        let (ledger, commands, observer) = (Ledger::new(), Commands::default(), Arc::new(observer));
        let beside = iter::repeat_with(|| (Ledger::new(), None)).take(beside).collect();
        Self { pipe, ledger, beside, commands, limits, observer, processor, is_off: false }
    }

    /// Has one of them keep its figures, because it gets this signal.
    pub(crate) fn observe_beside(&mut self, index: usize, observer: Observer) {
        self.beside[index].1 = Some(Arc::new(observer));
    }

    /// The accounts of one destination.
    pub(crate) fn ledger_of(&self, place: Place) -> &Ledger {
        match place {
            Place::Main => &self.ledger,
            Place::Beside(index) => &self.beside[index].0,
        }
    }

    /// Who keeps the figures of one destination.
    pub(crate) fn observer_of(&self, place: Place) -> Arc<Observer> {
        let beside = match place {
            Place::Main => None,
            Place::Beside(index) => self.beside[index].1.as_ref(),
        };
        Arc::clone(beside.unwrap_or(&self.observer))
    }

    /// Those of all destinations of this signal.
    pub(crate) fn observers(&self) -> impl Iterator<Item = &Observer> {
        let beside = self.beside.iter().filter_map(|(_, observer)| observer.as_deref());
        iter::once(&*self.observer).chain(beside)
    }

    /// Delivery has ended, to all destinations.
    pub(crate) fn end(&self, life: Life) {
        self.beside.iter().for_each(|(ledger, _)| ledger.end(life));
        // Last: who sees this end sees the others.
        self.ledger.end(life);
    }

    /// Queues `items`, which hold `records` records; the answer comes on their final outcome.
    /// What is not taken is counted, and answered at once.
    pub(crate) fn submit(&self, items: Vec<Item>, records: u64) -> Answer<Settlement> {
        let bytes = items.iter().fold(SUBMISSION_BYTES, |sum, item| {
            sum.saturating_add(item.bytes.len()).saturating_add(ITEM_BYTES)
        });
        let (asked, answer) = reply();
        if self.ledger.life() != Life::Running {
            self.ledger.count_submission_too_late(records);
            self.observer.turn_away(records, observe::ALREADY_SHUTDOWN);
            asked.answer(Settlement::dropped(records, "the exporter is shut down"));
            return answer;
        }
        match self.commands.reserve(bytes, self.limits.bytes_max) {
            Ok(()) => {
                // Counted first: from here on they are in flight, wherever they are.
                self.ledger.accept_submission(records);
                self.observer.begin_submission(records);
                let deadline =
                    self.limits.timeout.and_then(|limit| Instant::now().checked_add(limit));
                let accepted = Accepted { items, records, bytes, deadline, asked };
                self.commands.send(Command::Submit(accepted));
            }
            Err(NoRoom::Full) => {
                self.ledger.count_submission_full(records);
                self.observer.turn_away(records, observe::QUEUE_FULL);
                asked.answer(Settlement::dropped(records, "too much is under way already"));
            }
            Err(NoRoom::Closed) => {
                self.ledger.count_submission_too_late(records);
                self.observer.turn_away(records, observe::ALREADY_SHUTDOWN);
                asked.answer(Settlement::dropped(records, "the exporter has ended"));
            }
        }
        answer
    }

    /// Records accepted whose fate is open, at the destination that has most of them.
    pub(crate) fn pending(&self) -> u64 {
        let beside = self.beside.iter().map(|(ledger, _)| ledger.in_flight(&Counters::default()));
        beside.fold(self.ledger.in_flight(&self.pipe.counters()), u64::max)
    }

    /// What was lost so far of the records that had been accepted.
    pub(crate) fn losses(&self) -> Losses {
        let main = self.ledger.loss(&self.pipe.counters());
        let mut losses = Losses { main, ..Losses::default() };
        for (loss, (ledger, _)) in losses.beside.iter_mut().zip(&self.beside) {
            *loss = ledger.loss(&Counters::default());
        }
        losses
    }

    pub(crate) fn has_died(&self) -> bool {
        self.ledger.life() == Life::Died
    }

    /// The counters now, of the main destination.
    pub(crate) fn stats(&self) -> SignalStats {
        stats(&self.ledger, &self.pipe.counters())
    }

    /// The same of one beside it, which has no pipe of its own.
    pub(crate) fn stats_beside(&self, index: usize) -> SignalStats {
        stats(&self.beside[index].0, &Counters::default())
    }

    /// What became of a submission that came no further than a closed door.
    pub(crate) fn count_closed_submission(&self, records: u64) {
        self.ledger.count_submission_closed(records);
        self.observer.turn_away(records, observe::ALREADY_SHUTDOWN);
    }

    /// The same of one that names too many scopes or resources.
    pub(crate) fn count_unnamed_submission(&self, records: u64) {
        self.ledger.count_submission_unnamed(records);
        self.observer.turn_away(records, "too_many_scopes");
    }

    /// The same of one that could not be encoded.
    pub(crate) fn count_unencoded_submission(&self, records: u64) {
        self.ledger.count_submission_panicked(records);
        self.observer.turn_away(records, "encoder_panicked");
    }

    /// What waited for one destination beside the main one, and was over its share.
    pub(crate) fn turn_away_beside(&self, place: Place, records: u64) {
        self.observer_of(place).turn_away(records, observe::QUEUE_FULL);
    }

    /// The figures of all destinations now.
    pub(crate) fn exporter_stats(&self) -> impl Iterator<Item = ExporterStats> {
        self.observers().map(|observer| observer.stats(self.ledger.life()))
    }

    /// The figures of what comes through the pipe.
    pub(crate) fn processor_stats(&self, signal: Signal) -> Option<ProcessorStats> {
        let Component { kind: component_type, name } = self.processor.as_ref()?;
        let (handed, pipe) = (self.observer.handed(), self.pipe.counters());
        let has_ended = observe::end_of(self.ledger.life()).is_some();
        Some(ProcessorStats {
            signal,
            component_type,
            component_name: Arc::clone(name),
            queue_size: if has_ended { 0 } else { self.ledger.queued(&pipe, handed) },
            queue_capacity: self.records_max(handed),
            processed: self.ledger.processed(&pipe, handed),
        })
    }

    /// How many records of the mean size have room in the buffer.
    fn records_max(&self, handed: Handed) -> Option<u64> {
        let buffer = self.limits.bytes_max as u128 * u128::from(handed.records);
        let records = buffer.checked_div(handed.bytes.into())?;
        Some(u64::try_from(records).unwrap_or(u64::MAX))
    }
}

fn stats(ledger: &Ledger, pipe: &Counters) -> SignalStats {
    SignalStats {
        emitted: ledger.emitted(pipe),
        delivered: ledger.delivered(),
        rejected: ledger.rejected(),
        dropped: ledger.dropped(pipe),
        in_flight: ledger.in_flight(pipe),
    }
}

/// What a submission and each of its runs count for besides their bytes, so that very small ones
/// are bounded too: about what keeping them takes.
const SUBMISSION_BYTES: usize = 512;
const ITEM_BYTES: usize = 128;
