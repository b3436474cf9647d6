//! A door: one way in for records of one signal, with a resource of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spanwire_runtime::PerProcess;
use spanwire_runtime::buf::Cursor;
use spanwire_runtime::pipe::{Pipe, Tag};

use crate::batch::Item;
use crate::encode::envelope::{Frame, Group};
use crate::encode::limits::Limits;
use crate::error::FlushError;
use crate::model::Signal;
use crate::pipeline::flush::Told;
use crate::pipeline::home::Home;
use crate::pipeline::line::Line;
use crate::pipeline::reply::{Answer, reply};
use crate::pipeline::shared::Shared;
use crate::pipeline::submission::{Settlement, Submission};

/// One way in. Closing it leaves the exporter and its other doors alone.
///
/// In a forked child it is a way into the child's exporter.
#[derive(Debug)]
pub(crate) struct Door {
    home: Arc<Home>,
    signal: Signal,
    resource: Frame,
    /// The one scope of its records; none if each names its own.
    scope: Option<Frame>,
    /// None if there is no exporter in this process.
    ways: PerProcess<Option<Way>>,
    /// From the start if nobody wants the signal.
    closed: AtomicBool,
    /// Nobody wants the signal: what comes is ignored.
    is_off: bool,
}

/// A door in one process.
#[derive(Debug)]
struct Way {
    shared: Arc<Shared>,
    /// The line's; here, beside nothing that others write, it costs an append one load.
    pipe: Pipe,
    /// Tells this door's scopes in a thread's cache from those of other doors, and of other
    /// processes.
    id: u64,
    /// `None` if there were too many resources already: its records are turned away.
    resource: Option<u32>,
    /// Of the one scope; none if there is no such, or if there are too many scopes or resources.
    tag: Option<Tag>,
    /// The losses that whoever flushes this door was told of.
    told: Told,
}

/// A door that records can come in by, in this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    door: &'a Door,
    way: &'a Way,
}

impl Door {
    /// Opens a door for records of `signal`, which belong to an empty resource at first.
    pub(crate) fn open(home: Arc<Home>, signal: Signal) -> Self {
        Self::open_for(home, signal, Frame::default(), None)
    }

    /// Opens a door for records of one resource, and of one scope if it is named.
    pub(crate) fn open_for(
        home: Arc<Home>,
        signal: Signal,
        resource: Frame,
        scope: Option<Frame>,
    ) -> Self {
        let ways = PerProcess::new(Way::open(&home, signal, &resource, scope.as_ref()));
        let is_off = home.settings().lines[signal.index()].is_off;
        Self { home, signal, resource, scope, ways, closed: AtomicBool::new(is_off), is_off }
    }

    /// How attributes are cut.
    #[inline]
    pub(crate) fn limits(&self) -> &Limits {
        &self.home.settings().limits
    }

    /// Sets the resource of the records to come.
    pub(crate) fn set_resource(&mut self, frame: Frame) {
        self.ways =
            PerProcess::new(Way::open(&self.home, self.signal, &frame, self.scope.as_ref()));
        self.resource = frame;
    }

    /// Where a record of this process comes in; the first one in a forked child starts its
    /// exporter. A record that cannot come in is counted.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Entry<'_>> {
        let entry = self.entry();
        if entry.is_none() {
            self.turn_away(1);
        }
        entry
    }

    /// Counts records that found no exporter in this process.
    #[cold]
    fn turn_away(&self, records: u64) {
        if !self.is_off {
            self.home.turn_away(self.signal, records);
        }
    }

    #[inline]
    fn entry(&self) -> Option<Entry<'_>> {
        let way = if self.ways.is_first() { self.ways.get() } else { self.way_of_child() };
        Some(Entry { door: self, way: way?.as_ref()? })
    }

    /// Neither the parent's way nor its exporter is touched.
    #[cold]
    fn way_of_child(&self) -> Option<&Option<Way>> {
        if self.is_off {
            return None;
        }
        // Before the way is made: one thing is made at a time.
        self.home.live()?;
        let open = || Way::open(&self.home, self.signal, &self.resource, self.scope.as_ref());
        self.ways.get_or_make(open)
    }

    /// Delivers whole groups of finished records that bypass the pipe; the answer comes on their
    /// final outcome. What is not taken is counted, and answered at once.
    pub(crate) fn submit(&self, submission: Submission) -> Answer<Settlement> {
        let records = submission.records;
        if records == 0 || self.is_off {
            return answered(Settlement::default());
        }
        let Some(entry) = self.entry() else {
            self.turn_away(records);
            let why = "this process was forked, and no exporter was started in it";
            return answered(Settlement::dropped(records, why));
        };
        if self.is_closed() {
            entry.line().count_closed_submission(records);
            return answered(Settlement::dropped(records, "the exporter's door is closed"));
        }
        let items: Option<Vec<_>> =
            submission.groups.into_iter().map(|group| entry.items(group)).collect();
        let Some(items) = items else {
            entry.line().count_unnamed_submission(records);
            let why = "there are too many different scopes or resources";
            return answered(Settlement::dropped(records, why));
        };
        entry.line().submit(items.into_iter().flatten().collect(), records)
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
                match self.entry() {
                    Some(entry) => entry.line().count_unencoded_submission(records),
                    None => self.turn_away(records),
                }
                answered(Settlement::dropped(records, "spanwire's encoder panicked on them"))
            }
        }
    }

    /// Delivers what came in so far, through this door or another of its signal.
    pub(crate) fn flush(&self, limit: Duration) -> Result<(), FlushError> {
        match self.home.existing() {
            _ if self.is_off => return Ok(()),
            // Nothing came in, in this process.
            None => return Ok(()),
            Some(Err(absent)) => return Err(absent.flush_error()),
            Some(Ok(_)) => {}
        }
        let Some(Entry { way, .. }) = self.entry() else { return Err(FlushError::Forked) };
        way.shared.flush(Some(self.signal), Instant::now().checked_add(limit), &way.told)
    }

    /// Turns away, and counts, all that comes from now on. False if it was closed already.
    pub(crate) fn close(&self) -> bool {
        // Ordering: as in `Entry::append`.
        !self.closed.swap(true, Ordering::Relaxed) || self.is_off
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: as in `Entry::append`.
        self.closed.load(Ordering::Relaxed)
    }
}

impl Way {
    fn open(home: &Home, signal: Signal, resource: &Frame, scope: Option<&Frame>) -> Option<Self> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let shared = Arc::clone(&home.live()?.shared);
        let resource = shared.registry.resource(resource.clone());
        let scope = scope.and_then(|scope| shared.registry.scope(scope.clone()));
        Some(Self {
            pipe: shared.line(signal).pipe.clone(),
            shared,
            // Ordering: a number and nothing more.
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            resource,
            tag: resource.zip(scope).map(|(resource, scope)| Tag::new(resource, scope)),
            told: Told::default(),
        })
    }
}

impl<'a> Entry<'a> {
    /// How attributes are cut.
    #[inline]
    pub(crate) fn limits(self) -> &'a Limits {
        self.door.limits()
    }

    pub(crate) fn id(self) -> u64 {
        self.way.id
    }

    /// The tag of a scope's records, or `None` if there are too many scopes or resources.
    pub(crate) fn tag(self, scope: Frame) -> Option<Tag> {
        Some(Tag::new(self.way.resource?, self.way.shared.registry.scope(scope)?))
    }

    /// The tag of the one scope's records.
    #[inline]
    pub(crate) fn own_tag(self) -> Option<Tag> {
        self.way.tag
    }

    /// Appends one record, unless the door is closed. What is not taken is counted.
    #[inline]
    pub(crate) fn append(self, tag: Option<Tag>, encode: impl FnMut(&mut Cursor<'_>)) {
        // Ordering: a record that ends while the door is being closed may go either way.
        if self.door.closed.load(Ordering::Relaxed) {
            return self.turn_away();
        }
        match tag {
            // The pipe has counted what it refuses, and a panic of the encoder, which is a bug of
            // ours and not to end somebody's request.
            Some(tag) => {
                let append = || self.way.pipe.append(tag, encode);
                drop(catch_unwind(AssertUnwindSafe(append)));
            }
            None => self.line().ledger.count_too_many_scopes(),
        }
    }

    /// Counts a record that comes too late; one that nobody wants is not counted at all.
    #[cold]
    fn turn_away(self) {
        if !self.door.is_off {
            self.line().ledger.count_closed_door();
        }
    }

    /// Counts a record that ended inside of this door's own work on another.
    #[cold]
    pub(crate) fn refuse_reentrant(self) {
        self.line().ledger.count_reentrant();
    }

    /// The runs of a group, named as the batcher wants them.
    fn items(self, group: Group) -> Option<Vec<Item>> {
        let (resource, scope_bytes) = (self.way.resource?, group.scope.len());
        let registry = &self.way.shared.registry;
        let scope = registry.scope(group.scope)?;
        let resource_bytes = registry.resource_frame(resource).len();
        let item = |bytes| Item { resource, scope, records: 0, bytes, resource_bytes, scope_bytes };
        Some(group.runs.into_iter().map(item).collect())
    }

    #[inline]
    fn line(self) -> &'a Line {
        self.way.shared.line(self.door.signal)
    }
}

fn answered(settlement: Settlement) -> Answer<Settlement> {
    let (asked, answer) = reply();
    asked.answer(settlement);
    answer
}
