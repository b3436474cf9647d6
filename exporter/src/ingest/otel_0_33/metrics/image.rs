//! The encoded metrics of the last collection, kept to be patched by the next.
//!
//! ```text
//! bytes   | metric | metric | metric .. | metric | ..        all scopes behind one another
//! scopes  |<------- scope, frame ------>|<------ scope, frame
//! ```
//!
//! A collection is walked beside the image. As long as each metric is patched in its place, the
//! image is all there is. From the first metric on that is not (its attribute sets changed, or it
//! is an exponential histogram, whose buckets have no fixed width), the image is spliced: metrics
//! that can be patched are, and copied; the others are written between them.
//!
//! What was handed out before may still be on its way to a receiver. Then the image is copied
//! first; bytes that somebody else can see are never written to.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use opentelemetry::InstrumentationScope;
use opentelemetry_sdk::metrics::data::{Metric, ResourceMetrics, ScopeMetrics};

use super::super::scope::encode_scope;
#[cfg(any(test, feature = "internals"))]
use super::data::patch_unseen;
use super::data::{Rules, guess_len, is_of, patch_metric, points_of, put_metric};
use crate::encode::envelope::{Frame, Group};
use crate::encode::limits::Limits;

/// The last collection, encoded.
#[derive(Debug)]
pub struct MetricImage {
    limits: Limits,
    /// The records of all scopes.
    bytes: Bytes,
    /// In the order of the collection; their metrics follow one another in `bytes` without gaps.
    scopes: Vec<ScopeImage>,
    points: u64,
    /// Memory of the image before the last splice, for the next.
    spare: Vec<u8>,
}

#[derive(Debug)]
struct ScopeImage {
    scope: InstrumentationScope,
    frame: Frame,
    /// Where each metric is.
    metrics: Vec<Range<usize>>,
}

impl MetricImage {
    /// An image of nothing.
    pub(crate) fn within(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            bytes: Bytes::new(),
            scopes: Vec::new(),
            points: 0,
            spare: Vec::new(),
        }
    }

    /// Makes this the image of `metrics`.
    pub fn encode(&mut self, metrics: &ResourceMetrics) {
        let mut known = VecDeque::from(std::mem::take(&mut self.scopes));
        // Copies if somebody else holds them still.
        let old = Vec::from(std::mem::take(&mut self.bytes));
        let mut splice = Splice::new(&self.limits, old, std::mem::take(&mut self.spare));
        for scope in metrics.scope_metrics() {
            let before = take_known(&mut known, scope.scope());
            self.scopes.push(splice.scope(before, scope));
        }
        self.points = splice.points;
        let (bytes, spare) = splice.finish();
        (self.bytes, self.spare) = (bytes.into(), spare);
    }

    /// Memory that is kept for the next collection.
    #[cfg(test)]
    pub(crate) fn spare_bytes(&self) -> usize {
        self.spare.capacity()
    }

    /// The records by scope, ready to be sent. They share the memory of the image.
    pub(crate) fn groups(&self) -> Vec<Group> {
        self.scopes.iter().map(|scope| scope.group(&self.bytes)).collect()
    }
}

/// For tests and benches.
#[cfg(any(test, feature = "internals"))]
impl MetricImage {
    /// An image of nothing, by the default limits.
    #[expect(clippy::new_without_default, reason = "users cannot name it")]
    pub fn new() -> Self {
        Self::within(&Limits::DEFAULT)
    }

    /// Forgets where everything is, for benches: the next collection is written afresh.
    pub fn forget(&mut self) {
        self.scopes.iter_mut().for_each(|scope| scope.metrics.clear());
    }

    /// Overwrites the numbers without a look at anything else, for benches: true if `metrics`
    /// are as many as before, with as many points.
    pub fn patch_unseen(&mut self, metrics: &ResourceMetrics) -> bool {
        let mut bytes = Vec::from(std::mem::take(&mut self.bytes));
        let mut ranges = self.scopes.iter().flat_map(|scope| &scope.metrics);
        let mut all = metrics.scope_metrics().flat_map(ScopeMetrics::metrics);
        let patched = all.all(|metric| {
            let range = ranges.next().cloned();
            range.is_some_and(|range| patch_unseen(&mut bytes[range], metric).is_some())
        });
        self.bytes = bytes.into();
        patched
    }

    /// The records of all scopes, behind one another.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Data points in the image.
    pub fn points(&self) -> u64 {
        self.points
    }
}

impl ScopeImage {
    fn group(&self, bytes: &Bytes) -> Group {
        let start = self.metrics.first().map_or(0, |first| first.start);
        let end = self.metrics.last().map_or(0, |last| last.end);
        Group { scope: self.frame.clone(), runs: vec![bytes.slice(start..end)] }
    }
}

/// The image of a scope, compared by its full identity. Scopes come in the same order mostly, so
/// it is the first; one that was skipped may come later.
fn take_known(
    known: &mut VecDeque<ScopeImage>,
    scope: &InstrumentationScope,
) -> Option<ScopeImage> {
    let at = known.iter().position(|known| known.scope == *scope)?;
    known.remove(at)
}

/// The old image on its way to the new one.
struct Splice<'a> {
    limits: &'a Limits,
    rules: Rules,
    old: Vec<u8>,
    /// How much of `old` is in its place in the new image, which is all of it so far unless `new`
    /// says otherwise.
    kept: usize,
    /// The new image, once it differs from the old one in more than numbers.
    new: Option<Vec<u8>>,
    /// Memory for it.
    spare: Vec<u8>,
    points: u64,
}

impl<'a> Splice<'a> {
    fn new(limits: &'a Limits, old: Vec<u8>, spare: Vec<u8>) -> Self {
        let rules = Rules::new(&limits.exempt);
        Self { limits, rules, old, kept: 0, new: None, spare, points: 0 }
    }

    fn scope(&mut self, before: Option<ScopeImage>, scope: &ScopeMetrics) -> ScopeImage {
        let (known, frame, ranges) = match before {
            Some(image) => (image.scope, image.frame, image.metrics),
            None => (scope.scope().clone(), encode_scope(scope.scope(), self.limits), Vec::new()),
        };
        let mut candidates = &*ranges;
        let metrics = scope.metrics().map(|metric| self.metric(&mut candidates, metric)).collect();
        ScopeImage { scope: known, frame, metrics }
    }

    /// Puts one metric into the new image. `candidates` are the metrics of the old image that
    /// were not passed yet.
    fn metric(&mut self, candidates: &mut &[Range<usize>], metric: &Metric) -> Range<usize> {
        self.points += points_of(metric);
        let before = self.find(candidates, metric);
        let Some(before) = before else { return self.write(metric, 0) };
        match patch_metric(&mut self.old[before.clone()], metric, &self.rules) {
            Some(()) => self.keep(before),
            None => self.write(metric, before.len()),
        }
    }

    /// Where a metric of this identity was, among the next few candidates; passes it and those
    /// before. Metrics without points are left out of a collection, so some may be missing now.
    fn find(&mut self, candidates: &mut &[Range<usize>], metric: &Metric) -> Option<Range<usize>> {
        let mut near = candidates.iter().take(LOOKAHEAD);
        let at = near.position(|range| is_of(&mut self.old[range.clone()], metric))?;
        let found = candidates[at].clone();
        *candidates = &candidates[at + 1..];
        Some(found)
    }

    fn keep(&mut self, patched: Range<usize>) -> Range<usize> {
        if self.new.is_none() && patched.start == self.kept {
            self.kept = patched.end;
            return patched;
        }
        self.part_ways();
        let Self { old, new, .. } = self;
        append(new, |new| new.extend_from_slice(&old[patched]))
    }

    fn write(&mut self, metric: &Metric, len_before: usize) -> Range<usize> {
        self.part_ways();
        let room = guess_len(metric).max(len_before + len_before / 4);
        append(&mut self.new, |new| put_metric(new, metric, &self.rules, room))
    }

    /// From here on the new image is another one than the old.
    fn part_ways(&mut self) {
        if self.new.is_none() {
            let mut new = std::mem::take(&mut self.spare);
            new.clear();
            new.extend_from_slice(&self.old[..self.kept]);
            self.new = Some(new);
        }
    }

    /// The new image, and memory for the next one.
    fn finish(mut self) -> (Vec<u8>, Vec<u8>) {
        let (mut image, mut spare) = match self.new {
            Some(new) => (new, self.old),
            None => {
                self.old.truncate(self.kept);
                (self.old, self.spare)
            }
        };
        spare.clear();
        let most = image.len().saturating_mul(2).saturating_add(SLACK);
        // What one large collection needed is given back.
        image.shrink_to(most);
        spare.shrink_to(most);
        (image, spare)
    }
}

/// Where `put` puts what it appends.
fn append(new: &mut Option<Vec<u8>>, put: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let new = new.get_or_insert_default();
    let start = new.len();
    put(new);
    start..new.len()
}

/// Metrics of the old image that are looked at for one of the new: so many may vanish at once
/// before others are written afresh for nothing.
const LOOKAHEAD: usize = 8;

/// Memory that is kept besides twice the bytes of an image.
const SLACK: usize = 64 << 10;
