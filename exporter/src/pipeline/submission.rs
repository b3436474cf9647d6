//! Submissions: whole groups of finished records that bypass the pipe, and whose caller waits to
//! hear what became of them.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::batch::Item;
use crate::encode::envelope::Group;
use crate::pipeline::ledger::Fate;
use crate::pipeline::reply::Asked;

/// Finished records of one resource, grouped by scope, each group with runs of whole records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Submission {
    pub(crate) groups: Vec<Group>,
    /// How many records all groups hold: spans, log records, or data points of metrics.
    pub(crate) records: u64,
}

/// What became of the records of a submission; the three counts add up to all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub(crate) struct Settlement {
    /// Accepted by the collector.
    pub(crate) delivered: u64,
    /// The collector said that it did not keep them.
    pub(crate) rejected: u64,
    /// Given up.
    pub(crate) dropped: u64,
    /// Why some were not delivered, or what the collector remarked.
    pub(crate) why: Option<String>,
}

/// A submission on its way to the delivery task; its records are counted as held.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) items: Vec<Item>,
    pub(crate) records: u64,
    /// What it counts for against the bound of what is under way.
    pub(crate) bytes: usize,
    /// When it is given up; `None` is never.
    pub(crate) deadline: Option<Instant>,
    pub(crate) asked: Asked<Settlement>,
}

/// Submissions that the delivery task has and whose fate is not known in full.
#[derive(Debug, Default)]
pub(crate) struct Submissions {
    next: u64,
    /// At most as many as the bound of their bytes allows.
    open: BTreeMap<u64, Open>,
}

/// Which submission a batch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    id: u64,
    pub(crate) deadline: Option<Instant>,
}

#[derive(Debug)]
struct Open {
    asked: Asked<Settlement>,
    bytes: usize,
    /// Records whose fate is not known.
    records: u64,
    so_far: Settlement,
}

impl Settlement {
    /// All of `records` were given up.
    pub(crate) fn dropped(records: u64, why: impl Into<String>) -> Self {
        Self { dropped: records, why: Some(why.into()), ..Self::default() }
    }

    fn add(&mut self, records: u64, fate: Fate, why: Option<String>) {
        match fate {
            Fate::Delivered { rejected } => {
                let rejected = rejected.min(records);
                self.rejected += rejected;
                self.delivered += records - rejected;
            }
            _ => self.dropped += records,
        }
        // The first reason stands: what follows is mostly the same again.
        self.why = self.why.take().or(why);
    }
}

impl Submissions {
    /// Begins to keep the accounts of one with `records` records.
    pub(crate) fn begin(
        &mut self,
        asked: Asked<Settlement>,
        records: u64,
        bytes: usize,
        deadline: Option<Instant>,
    ) -> Owner {
        let owner = Owner { id: self.next, deadline };
        self.next += 1;
        let so_far = Settlement::default();
        self.open.insert(owner.id, Open { asked, bytes, records, so_far });
        owner
    }

    /// `records` of the submission have met their fate. If they were the last it is answered, and
    /// the bytes that it counted for are given back.
    pub(crate) fn settle(
        &mut self,
        owner: Owner,
        records: u64,
        fate: Fate,
        why: Option<String>,
    ) -> Option<usize> {
        let open = self.open.get_mut(&owner.id)?;
        debug_assert!(records <= open.records, "settled twice");
        open.records = open.records.saturating_sub(records);
        open.so_far.add(records, fate, why);
        if open.records > 0 {
            return None;
        }
        let open = self.open.remove(&owner.id)?;
        open.asked.answer(open.so_far);
        Some(open.bytes)
    }

    /// Delivery has ended: answers all that are open.
    pub(crate) fn abandon(&mut self, why: &str) {
        for (_, mut open) in std::mem::take(&mut self.open) {
            open.so_far.add(open.records, Fate::Abandoned, Some(why.to_owned()));
            open.asked.answer(open.so_far);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::reply::{Waited, reply};

    #[test]
    fn the_parts_add_up_and_the_last_one_answers() {
        let mut submissions = Submissions::default();
        let (asked, answer) = reply();
        let owner = submissions.begin(asked, 10, 77, None);
        let delivered = Fate::Delivered { rejected: 1 };
        assert_eq!(submissions.settle(owner, 6, delivered, None), None);
        assert_eq!(submissions.settle(owner, 4, Fate::Refused, Some("no".into())), Some(77));
        let settlement =
            Settlement { delivered: 5, rejected: 1, dropped: 4, why: Some("no".into()) };
        assert_eq!(answer.wait_until(None), Waited::Answered(settlement));
    }

    #[test]
    fn an_end_answers_what_is_open_with_what_is_known() {
        let mut submissions = Submissions::default();
        let (asked, answer) = reply();
        let owner = submissions.begin(asked, 3, 0, None);
        assert_eq!(submissions.settle(owner, 1, Fate::Delivered { rejected: 0 }, None), None);
        submissions.abandon("over");
        let settlement =
            Settlement { delivered: 1, rejected: 0, dropped: 2, why: Some("over".into()) };
        assert_eq!(answer.wait_until(None), Waited::Answered(settlement));
    }
}
