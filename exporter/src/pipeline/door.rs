//! A door: one way in for records of one signal, with a resource of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spanwire_runtime::buf::Cursor;
use spanwire_runtime::pipe::{Pipe, Tag};

use crate::batch::Item;
use crate::encode::envelope::{Frame, Group};
use crate::encode::limits::Limits;
use crate::error::FlushError;
use crate::model::Signal;
use crate::pipeline::flush::Told;
use crate::pipeline::line::Line;
use crate::pipeline::reply::{Answer, reply};
use crate::pipeline::shared::Shared;
use crate::pipeline::submission::{Settlement, Submission};

/// One way in. Closing it leaves the exporter and its other doors alone.
#[derive(Debug)]
pub(crate) struct Door {
    shared: Arc<Shared>,
    signal: Signal,
    /// The line's; here, beside nothing that others write, it costs an append one load.
    pipe: Pipe,
    /// Tells this door's scopes in a thread's cache from those of other doors.
    id: u64,
    /// `None` if there were too many resources already: its records are turned away.
    resource: Option<u32>,
    /// From the start if nobody wants the signal.
    closed: AtomicBool,
    /// The losses that whoever flushes this door was told of.
    told: Told,
}

impl Door {
    /// Opens a door for records of `signal`, which belong to an empty resource at first.
    pub(crate) fn open(shared: Arc<Shared>, signal: Signal) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let resource = resource(&shared, Frame::default());
        let line = shared.line(signal);
        let (pipe, is_off) = (line.pipe.clone(), line.is_off);
        Self {
            shared,
            signal,
            pipe,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            resource,
            closed: AtomicBool::new(is_off),
            told: Told::default(),
        }
    }

    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// How attributes are cut.
    #[inline]
    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// Sets the resource of the records to come.
    pub(crate) fn set_resource(&mut self, frame: Frame) {
        self.resource = resource(&self.shared, frame);
    }

    /// Whether records can come in here. They cannot in a forked child, where it is not safe even
    /// to ask for a tag: a lock may be held by a thread that is not there. What is turned away is
    /// counted.
    #[inline]
    pub(crate) fn admits(&self) -> bool {
        let is_forked = self.shared.is_forked();
        if is_forked {
            self.line().ledger.count_forked(1);
        }
        !is_forked
    }

    /// The tag of a scope's records, or `None` if there are too many scopes or resources.
    pub(crate) fn tag(&self, scope: Frame) -> Option<Tag> {
        Some(Tag::new(self.resource?, self.shared.registry.scope(scope)?))
    }

    /// Appends one record that was admitted, unless the door is closed. What is not taken is
    /// counted.
    #[inline]
    pub(crate) fn append(&self, tag: Option<Tag>, encode: impl FnMut(&mut Cursor<'_>)) {
        // Ordering: a record that ends while the door is being closed may go either way.
        if self.closed.load(Ordering::Relaxed) {
            return self.turn_away();
        }
        match tag {
            // The pipe has counted what it refuses, and a panic of the encoder, which is a bug of
            // ours and not to end somebody's request.
            Some(tag) => {
                let append = || self.pipe.append(tag, encode);
                drop(catch_unwind(AssertUnwindSafe(append)));
            }
            None => self.line().ledger.count_too_many_scopes(),
        }
    }

    /// Counts a record that comes too late; one that nobody wants is not counted at all.
    #[cold]
    fn turn_away(&self) {
        if !self.line().is_off {
            self.line().ledger.count_closed_door();
        }
    }

    /// Counts a record that ended inside of this door's own work on another.
    #[cold]
    pub(crate) fn refuse_reentrant(&self) {
        self.line().ledger.count_reentrant();
    }

    /// Delivers whole groups of finished records that bypass the pipe; the answer comes on their
    /// final outcome. What is not taken is counted, and answered at once.
    pub(crate) fn submit(&self, submission: Submission) -> Answer<Settlement> {
        let records = submission.records;
        if records == 0 {
            return answered(Settlement::default());
        }
        let ledger = &self.line().ledger;
        if self.shared.is_forked() {
            ledger.count_forked(records);
            let why = "this process was forked from the exporter's; build a new exporter here";
            return answered(Settlement::dropped(records, why));
        }
        // Ordering: as in `append`.
        if self.line().is_off {
            return answered(Settlement::default());
        }
        if self.closed.load(Ordering::Relaxed) {
            self.line().count_closed_submission(records);
            return answered(Settlement::dropped(records, "the exporter's door is closed"));
        }
        let items: Option<Vec<_>> =
            submission.groups.into_iter().map(|group| self.items(group)).collect();
        let Some(items) = items else {
            self.line().count_unnamed_submission(records);
            let why = "there are too many different scopes or resources";
            return answered(Settlement::dropped(records, why));
        };
        self.line().submit(items.into_iter().flatten().collect(), records)
    }

    /// The same of the `records` records that `encode` makes. A panic of it, which is a bug of
    /// ours, loses these records and does not reach the caller.
    pub(crate) fn submit_encoded(
        &self,
        records: u64,
        encode: impl FnOnce() -> Vec<Group>,
    ) -> Answer<Settlement> {
        match catch_unwind(AssertUnwindSafe(encode)) {
            Ok(groups) => self.submit(Submission { groups, records }),
            Err(_) => {
                self.line().count_unencoded_submission(records);
                answered(Settlement::dropped(records, "spanwire's encoder panicked on them"))
            }
        }
    }

    /// The runs of a group, named as the batcher wants them.
    fn items(&self, group: Group) -> Option<Vec<Item>> {
        let (resource, scope_bytes) = (self.resource?, group.scope.len());
        let scope = self.shared.registry.scope(group.scope)?;
        let resource_bytes = self.shared.registry.resource_frame(resource).len();
        let item = |bytes| Item { resource, scope, records: 0, bytes, resource_bytes, scope_bytes };
        Some(group.runs.into_iter().map(item).collect())
    }

    /// Delivers what came in so far, through this door or another of its signal.
    pub(crate) fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        self.shared.flush(Some(self.signal), Instant::now().checked_add(limit), &self.told)
    }

    /// Turns away, and counts, all that comes from now on. False if it was closed already.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::Relaxed) || self.line().is_off
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: as in `append`.
        self.closed.load(Ordering::Relaxed)
    }

    #[inline]
    fn line(&self) -> &Line {
        self.shared.line(self.signal)
    }
}

fn answered(settlement: Settlement) -> Answer<Settlement> {
    let (asked, answer) = reply();
    asked.answer(settlement);
    answer
}

/// The name of a resource in records; none if there are too many, or in a forked child.
fn resource(shared: &Shared, frame: Frame) -> Option<u32> {
    (!shared.is_forked()).then(|| shared.registry.resource(frame)).flatten()
}
