//! Who waits for what to be delivered (pure: takes `now`).
//!
//! Batches are numbered in the order they are cut. A flush waits for every batch with a number
//! below the one that is next when the flush begins; it ends when none of those is open any
//! more, or at its deadline, whatever comes first.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Numbers batches and tells when all below a number are settled.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    next: u64,
    /// In how many parts each batch is that is not settled.
    open: BTreeMap<u64, usize>,
}

impl Tickets {
    /// A number for a batch that was just cut.
    pub(crate) fn issue(&mut self) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.open.insert(ticket, 1);
        ticket
    }

    /// The batch with this number is now in `parts` parts more.
    pub(crate) fn split(&mut self, ticket: u64, parts: usize) {
        if let Some(open) = self.open.get_mut(&ticket) {
            *open += parts;
        }
    }

    /// The batch with this number, or a part of it, has met its fate.
    pub(crate) fn settle(&mut self, ticket: u64) {
        let Some(parts) = self.open.get_mut(&ticket) else {
            debug_assert!(false, "batch {ticket} settled twice");
            return;
        };
        *parts -= 1;
        if *parts == 0 {
            self.open.remove(&ticket);
        }
    }

    /// The number of the batch that is cut next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Whether all batches numbered below `limit` are settled.
    pub(crate) fn are_settled_below(&self, limit: u64) -> bool {
        self.open.first_key_value().is_none_or(|(&oldest, _)| oldest >= limit)
    }
}

/// Callers that wait; `A` is how to answer one.
#[derive(Debug)]
pub(crate) struct Flushes<A>(Vec<Waiting<A>>);

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All of it is settled.
    Settled,
    /// The deadline passed first.
    TimedOut,
}

#[derive(Debug)]
struct Waiting<A> {
    limit: u64,
    deadline: Option<Instant>,
    answer: A,
}

impl<A> Flushes<A> {
    pub(crate) fn new() -> Self {
        Self(Vec::new())
    }

    /// Drops those whose caller is gone.
    pub(crate) fn forget_unless(&mut self, is_wanted: impl Fn(&A) -> bool) {
        self.0.retain(|flush| is_wanted(&flush.answer));
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Waits for the batches numbered below `limit`.
    pub(crate) fn begin(&mut self, limit: u64, deadline: Option<Instant>, answer: A) {
        self.0.push(Waiting { limit, deadline, answer });
    }

    /// When the next of them times out.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|flush| flush.deadline).min()
    }

    /// Takes one that has ended; call until there is none.
    pub(crate) fn take_ended(&mut self, tickets: &Tickets, now: Instant) -> Option<(A, Ending)> {
        let is_settled = |flush: &Waiting<A>| tickets.are_settled_below(flush.limit);
        let is_late = |flush: &Waiting<A>| flush.deadline.is_some_and(|at| at <= now);
        let index = self.0.iter().position(|flush| is_settled(flush) || is_late(flush))?;
        let flush = self.0.swap_remove(index);
        let ending = if is_settled(&flush) { Ending::Settled } else { Ending::TimedOut };
        Some((flush.answer, ending))
    }
}

/// What one destination lost of the records that it was to get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loss {
    pub(crate) rejected: u64,
    pub(crate) dropped: u64,
}

/// What was lost of the records that had been accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    pub(crate) main: Loss,
    /// By the destinations beside the main one; those that there are not have lost nothing.
    pub(crate) beside: [Loss; BESIDE_MAX],
}

impl Loss {
    fn each_with(self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            rejected: combine(self.rejected, other.rejected),
            dropped: combine(self.dropped, other.dropped),
        }
    }

    /// The sum of two.
    pub(crate) fn plus(self, more: Self) -> Self {
        self.each_with(more, u64::saturating_add)
    }

    /// Whether nothing was lost.
    pub(crate) fn is_none(self) -> bool {
        self == Self::default()
    }
}

impl Losses {
    fn each_with(mut self, other: Self, combine: impl Fn(u64, u64) -> u64) -> Self {
        self.main = self.main.each_with(other.main, &combine);
        for (own, other) in self.beside.iter_mut().zip(other.beside) {
            *own = own.each_with(other, &combine);
        }
        self
    }

    /// What was lost after `earlier`.
    fn since(self, earlier: Self) -> Self {
        self.each_with(earlier, u64::saturating_sub)
    }

    /// The losses of two together.
    pub(crate) fn plus(self, more: Self) -> Self {
        self.each_with(more, u64::saturating_add)
    }

    /// What all destinations have lost; a record counts once for each that has lost it.
    pub(crate) fn sum(self) -> Loss {
        self.beside.into_iter().fold(self.main, Loss::plus)
    }

    /// The first destination beside the main one that has lost something.
    pub(crate) fn first_beside(self) -> Option<usize> {
        self.beside.iter().position(|loss| !loss.is_none())
    }
}

/// The losses that one caller was told of. The handles of an exporter share one and each door
/// has its own, so what a provider's shutdown has told the SDK is still told to the program.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Losses>);

impl Told {
    /// What was told before a flush that begins now.
    pub(crate) fn so_far(&self) -> Losses {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A flush that began when `before` had been told has ended with these losses in `total`:
    /// what it has to tell.
    pub(crate) fn tell(&self, before: Losses, total: Losses) -> Losses {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A flush that ended earlier may come to tell later.
        *told = told.each_with(total, u64::max);
        total.since(before)
    }
}

/// At most so many destinations beside the main one.
pub(crate) const BESIDE_MAX: usize = 7;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_flush_waits_for_what_was_cut_before_it_only() {
        let (now, mut tickets, mut flushes) = (Instant::now(), Tickets::default(), Flushes::new());
        let (first, second) = (tickets.issue(), tickets.issue());
        flushes.begin(tickets.next(), None, "flush");
        let third = tickets.issue();
        assert_eq!(flushes.take_ended(&tickets, now), None);
        tickets.settle(second);
        tickets.settle(third);
        assert_eq!(flushes.take_ended(&tickets, now), None);
        tickets.settle(first);
        assert_eq!(flushes.take_ended(&tickets, now), Some(("flush", Ending::Settled)));
        assert_eq!(flushes.take_ended(&tickets, now), None);
    }

    #[test]
    fn a_flush_of_nothing_ends_at_once_even_with_a_deadline_of_now() {
        let now = Instant::now();
        let mut flushes = Flushes::new();
        flushes.begin(0, Some(now), ());
        let ended = flushes.take_ended(&Tickets::default(), now);
        assert_eq!(ended, Some(((), Ending::Settled)));
    }

    #[test]
    fn a_deadline_ends_the_wait_and_leaves_the_batch_open() {
        let (now, mut tickets, mut flushes) = (Instant::now(), Tickets::default(), Flushes::new());
        let ticket = tickets.issue();
        let deadline = now + Duration::from_secs(1);
        flushes.begin(tickets.next(), Some(deadline), ());
        assert_eq!(flushes.next_deadline(), Some(deadline));
        assert_eq!(flushes.take_ended(&tickets, now), None);
        assert_eq!(flushes.take_ended(&tickets, deadline), Some(((), Ending::TimedOut)));
        tickets.settle(ticket);
        assert!(tickets.are_settled_below(tickets.next()));
    }

    fn losses(rejected: u64, dropped: u64) -> Losses {
        Losses { main: Loss { rejected, dropped }, ..Losses::default() }
    }

    #[test]
    fn a_loss_is_told_to_every_flush_that_was_waiting_and_to_no_later_one() {
        let told = Told::default();
        let lost = losses(2, 5);
        let (first, second) = (told.so_far(), told.so_far());
        assert_eq!(told.tell(first, lost), lost);
        let fewer = losses(2, 3);
        assert_eq!(told.tell(second, fewer), fewer);
        assert!(told.tell(told.so_far(), lost).sum().is_none());
    }
}
