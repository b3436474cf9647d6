//! When to cut a request: by bytes, by count, or when the caller says that the time has come
//! (pure).
//!
//! Runs of encoded records go in; batches come out. A batch holds one resource and groups its
//! records by scope, so each becomes one request with one `ResourceSpans`. Records are never
//! copied: a run that must be split is sliced.
//!
//! ```text
//! push(item) ──┬─ open batch of its resource ──(target, count or limit reached)──► out
//! cut_all() ───┘                              (their age, or a flush) ───────────► out
//! ```
//!
//! Age is the caller's: it knows how long the pipe, where records wait too, was left alone.

mod weigh;

use bytes::Bytes;

pub(crate) use self::weigh::{Weigh, weigher};
use crate::wire::read::Records;

/// When batches are cut. Plain data; each field says what it costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Cut as soon as a request is estimated at this many bytes (default 512 KiB). More means
    /// fewer requests, and longer leases on the buffer.
    pub(crate) target_bytes: usize,
    /// No request is estimated above this (default 4 MiB, what common receivers accept); a
    /// record that alone exceeds it is reported as oversize.
    pub(crate) request_bytes_max: usize,
    /// Batches that wait for a lane become one request up to this estimate (default 4 MiB): what
    /// is far away, or slow, gets fewer and larger ones.
    pub(crate) merged_bytes_max: usize,
    /// At most this many records a request (default: no limit).
    pub(crate) records_max: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            target_bytes: 512 << 10,
            request_bytes_max: 4 << 20,
            merged_bytes_max: 4 << 20,
            records_max: None,
        }
    }
}

/// A run of records of one resource and scope, in the order that their thread ended them.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// Which resource; requests never mix them.
    pub(crate) resource: u32,
    /// Which scope within the request.
    pub(crate) scope: u32,
    /// How many records `bytes` holds; of metrics, data points.
    pub(crate) records: u64,
    /// The records: `12 <varint length> <bytes>` each, field 2 of `ScopeSpans` and its siblings.
    pub(crate) bytes: Bytes,
    /// Encoded size of the resource (head and tail), for the estimate of the request.
    pub(crate) resource_bytes: usize,
    /// Encoded size of the scope (head and tail), for the estimate of the request.
    pub(crate) scope_bytes: usize,
}

/// What one request will hold.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// The resource of all records.
    pub(crate) resource: u32,
    /// Scope and its runs, in the order of arrival; each scope occurs once.
    pub(crate) groups: Vec<(u32, Vec<Bytes>)>,
    /// How many records; never 0.
    pub(crate) records: u64,
    /// Bytes of the records, without resource and scopes.
    pub(crate) bytes: usize,
    /// Upper bound of the request's body: records, resource, scopes, tags and lengths.
    pub(crate) request_bytes: usize,
}

/// Records that fit into no request, for the caller to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub(crate) struct Oversize {
    /// How many records were left out.
    pub(crate) records: u64,
    /// Their bytes.
    pub(crate) bytes: usize,
}

/// Collects runs until a batch is due.
#[derive(Debug)]
pub(crate) struct Batcher {
    limits: Limits,
    weigh: Weigh,
    /// At most [`OPEN_MAX`] batches, one a resource, the one last added to at the end; none is
    /// empty.
    open: Vec<Batch>,
}

impl Batcher {
    /// An empty batcher of records that count for what `weigh` says. A record limit of 0 counts
    /// as 1.
    pub(crate) fn new(mut limits: Limits, weigh: Weigh) -> Self {
        limits.records_max = limits.records_max.map(|records| records.max(1));
        Self { limits, weigh, open: Vec::new() }
    }

    /// Cuts `items`, which hold `records` records together and need not say how many each, by
    /// the same limits but apart from all others.
    pub(crate) fn cut_apart(
        &self,
        mut items: Vec<Item>,
        records: u64,
        due: &mut Vec<Batch>,
    ) -> Oversize {
        if !self.is_one_request(&items, records) {
            items.iter_mut().for_each(|item| item.records = self.count(&item.bytes));
        } else if let Some((first, others)) = items.split_first_mut() {
            // It will not be cut, so it does not matter where the records are.
            first.records = records;
            others.iter_mut().for_each(|item| item.records = 0);
        }
        let mut apart = Self { open: Vec::new(), ..*self };
        let (mut oversize, before) = (Oversize::default(), due.len());
        for item in items {
            let left_out = apart.push(item, due);
            oversize.records += left_out.records;
            oversize.bytes += left_out.bytes;
        }
        apart.cut_all(due);
        reconcile(&mut due[before..], &mut oversize, records);
        oversize
    }

    /// Whether `items` are below all limits together.
    fn is_one_request(&self, items: &[Item], records: u64) -> bool {
        let bytes = items.iter().fold(CONTAINER_BYTES_MAX, |sum, item| {
            let parts = [item.bytes.len(), item.scope_bytes, item.resource_bytes];
            parts.into_iter().fold(sum, usize::saturating_add).saturating_add(CONTAINER_BYTES_MAX)
        });
        bytes < self.limits.target_bytes.min(self.limits.request_bytes_max)
            && self.limits.records_max.is_none_or(|max| records < max)
    }

    fn count(&self, run: &[u8]) -> u64 {
        Records::new(run).map_while(Result::ok).map(self.weigh).sum()
    }

    /// Adds a run; what became due is appended to `due`.
    pub(crate) fn push(&mut self, item: Item, due: &mut Vec<Batch>) -> Oversize {
        let mut oversize = Oversize::default();
        let mut rest = item;
        while !rest.bytes.is_empty() {
            let mut batch = self.take_open(rest.resource, rest.resource_bytes);
            let (fitting, remainder) = self.fit(&batch, rest);
            rest = remainder;
            if fitting.bytes.is_empty() && batch.groups.is_empty() {
                drop_first(&mut rest, &mut oversize, self.weigh);
                continue;
            }
            let is_full = !rest.bytes.is_empty();
            add(&mut batch, fitting);
            if is_full || self.is_due(&batch) { due.push(batch) } else { self.keep(batch, due) }
        }
        oversize
    }

    /// Cuts everything: it is old enough, or a flush wants it.
    pub(crate) fn cut_all(&mut self, due: &mut Vec<Batch>) {
        due.append(&mut self.open);
    }

    /// Adds the records of `more` to `batch` if one request may hold both, gives them back
    /// otherwise. It may be several times the target: while all lanes are busy, one larger request
    /// is less than many, and takes one round trip.
    pub(crate) fn merge(&self, batch: &mut Batch, more: Batch) -> Result<(), Batch> {
        let request_bytes = batch.request_bytes.saturating_add(more.request_bytes);
        let records = batch.records + more.records;
        let fits = batch.resource == more.resource
            && request_bytes <= self.limits.merged_bytes_max
            && request_bytes <= self.limits.request_bytes_max
            && self.limits.records_max.is_none_or(|max| records <= max);
        if !fits {
            return Err(more);
        }
        // An upper bound: scopes that both have are counted twice.
        (batch.request_bytes, batch.records) = (request_bytes, records);
        batch.bytes += more.bytes;
        for (scope, mut runs) in more.groups {
            match batch.groups.iter_mut().find(|(known, _)| *known == scope) {
                Some((_, known)) => known.append(&mut runs),
                None => batch.groups.push((scope, runs)),
            }
        }
        Ok(())
    }

    /// Whether nothing can be added to `batch` any more.
    pub(crate) fn is_full(&self, batch: &Batch) -> bool {
        batch.request_bytes >= self.limits.merged_bytes_max.min(self.limits.request_bytes_max)
            || self.limits.records_max.is_some_and(|max| batch.records >= max)
    }

    /// The open batch of `resource`, or a new one.
    fn take_open(&mut self, resource: u32, resource_bytes: usize) -> Batch {
        match self.open.iter().position(|batch| batch.resource == resource) {
            Some(index) => self.open.remove(index),
            None => Batch {
                resource,
                groups: Vec::new(),
                records: 0,
                bytes: 0,
                request_bytes: resource_bytes.saturating_add(CONTAINER_BYTES_MAX),
            },
        }
    }

    /// Puts a batch back, and cuts the one that was added to the longest ago if too many are
    /// open.
    fn keep(&mut self, batch: Batch, due: &mut Vec<Batch>) {
        self.open.push(batch);
        if self.open.len() > OPEN_MAX {
            due.push(self.open.remove(0));
        }
    }

    fn is_due(&self, batch: &Batch) -> bool {
        batch.request_bytes >= self.limits.target_bytes
            || self.limits.records_max.is_some_and(|max| batch.records >= max)
    }

    /// Splits `item` into what `batch` has room for and the rest. A run whose records cannot be
    /// told apart is a bug of ours; it stays whole, because half a record would spoil the request.
    fn fit(&self, batch: &Batch, mut item: Item) -> (Item, Item) {
        let overhead = group_overhead(batch, &item);
        let used = batch.request_bytes.saturating_add(overhead);
        let bytes_room = self.limits.request_bytes_max.saturating_sub(used);
        let records_max = self.limits.records_max.unwrap_or(u64::MAX);
        let records_room = records_max.saturating_sub(batch.records);
        if item.bytes.len() <= bytes_room && item.records <= records_room {
            let rest = Item { records: 0, bytes: Bytes::new(), ..item };
            return (item, rest);
        }
        let is_first = batch.groups.is_empty();
        let prefix = prefix_that_fits(&item.bytes, bytes_room, records_room, self.weigh, is_first);
        debug_assert!(prefix.is_some(), "a run does not consist of whole records");
        let (bytes, records) = prefix.unwrap_or((item.bytes.len(), item.records));
        let fitting = Item { records, bytes: item.bytes.split_to(bytes), ..item };
        item.records = item.records.saturating_sub(records);
        (fitting, item)
    }
}

/// Sees to it that the parts add up to `records`, also if who made the items has miscounted,
/// which is a bug of ours: each record has to be counted once, by whatever name.
fn reconcile(due: &mut [Batch], oversize: &mut Oversize, records: u64) {
    oversize.records = oversize.records.min(records);
    let mut left = records - oversize.records;
    for batch in &mut *due {
        batch.records = batch.records.min(left);
        left -= batch.records;
    }
    debug_assert_eq!(left, 0, "miscounted by who made the items");
    match due.last_mut() {
        Some(last) => last.records += left,
        None => oversize.records += left,
    }
}

/// Bytes that `item` adds to `batch` besides its records: its scope, unless it is there already.
fn group_overhead(batch: &Batch, item: &Item) -> usize {
    match batch.groups.iter().any(|(scope, _)| *scope == item.scope) {
        true => 0,
        false => item.scope_bytes.saturating_add(CONTAINER_BYTES_MAX),
    }
}

fn add(batch: &mut Batch, item: Item) {
    if item.bytes.is_empty() {
        return;
    }
    let added = group_overhead(batch, &item).saturating_add(item.bytes.len());
    batch.request_bytes = batch.request_bytes.saturating_add(added);
    batch.bytes += item.bytes.len();
    batch.records += item.records;
    // Runs of one scope mostly follow each other, so the last group is looked at first.
    match batch.groups.iter_mut().rev().find(|(scope, _)| *scope == item.scope) {
        Some((_, runs)) => runs.push(item.bytes),
        None => batch.groups.push((item.scope, vec![item.bytes])),
    }
}

/// Leaves the first record of `rest` out: it does not even fit into an empty request.
fn drop_first(rest: &mut Item, oversize: &mut Oversize, weigh: Weigh) {
    let (bytes, records) = match first_record(&rest.bytes) {
        Some(bytes) => (bytes, weigh(&rest.bytes[..bytes])),
        None => (rest.bytes.len(), rest.records),
    };
    let _ = rest.bytes.split_to(bytes);
    rest.records = rest.records.saturating_sub(records);
    oversize.bytes += bytes;
    oversize.records += records;
}

/// The longest prefix of whole records of `run` within both limits, as (bytes, records);
/// `None` if a record within the limits is malformed. If the run is to be the first of its batch,
/// one record is taken however much it counts for: it cannot be cut.
fn prefix_that_fits(
    run: &[u8],
    bytes_max: usize,
    records_max: u64,
    weigh: Weigh,
    is_first: bool,
) -> Option<(usize, u64)> {
    let (mut bytes, mut records) = (0, 0);
    for record in Records::new(run) {
        let record = record.ok()?;
        let (next, weight) = (bytes + record.len(), weigh(record));
        let is_too_many = records + weight > records_max && !(is_first && bytes == 0);
        if next > bytes_max || is_too_many {
            break;
        }
        (bytes, records) = (next, records + weight);
    }
    Some((bytes, records))
}

/// Length of the record at the start of `run`, its tag and length included; `None` if there is
/// no whole record.
fn first_record(run: &[u8]) -> Option<usize> {
    Some(Records::new(run).next()?.ok()?.len())
}

/// Longest length prefix in a request: five varint bytes hold any u32.
const LENGTH_BYTES_MAX: usize = 5;
/// Upper bound of what one container costs besides its parts: a tag byte and a length prefix,
/// and the same again for the resource or scope message inside it.
const CONTAINER_BYTES_MAX: usize = 2 * (1 + LENGTH_BYTES_MAX);
/// Resources that may have an open batch at once; beyond that the oldest is cut.
const OPEN_MAX: usize = 64;

#[cfg(test)]
mod tests;
