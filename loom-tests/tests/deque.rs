//! A worker's queue: every item is taken once, whoever takes it, and oldest first.
//!
//! Each party keeps what it got. In the end all of it together is what was pushed, without gaps or
//! doubles, and what one party got from one queue is in order. loom checks that no slot is
//! written while it is read. A queue has 4 slots here.
#![cfg(loom)]

use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};

use loom::thread;

use spanwire_runtime::sync::deque::{Local, Stealer};

#[test]
fn an_item_goes_to_the_owner_or_to_a_thief() {
    loom::model(|| {
        let queue = Local::starting_at(0);
        let thief = thief(queue.stealer(), 2);
        let mut owner = Party::default();
        owner.push(&queue, 1..=2);
        owner.pop(&queue);
        owner.push(&queue, 3..=3);
        owner.pop(&queue);
        owner.pop_all(&queue);
        complete(3, [owner, thief.join().unwrap()]);
    });
}

/// The thief may hold slots for as long as it likes: the owner goes around in the rest, and gives
/// away what does not fit.
#[test]
fn a_queue_that_flows_over_while_stolen_from_loses_nothing() {
    loom::model(|| {
        let queue = Local::starting_at(0);
        let thief = thief(queue.stealer(), 1);
        let mut owner = Party::default();
        owner.push(&queue, 1..=6);
        owner.pop_all(&queue);
        complete(6, [owner, thief.join().unwrap()]);
    });
}

/// A full queue: the owner claims all of it to keep a half, while a thief wants the other.
#[test]
fn a_thief_and_an_overflow_claim_different_halves() {
    loom::model(|| {
        let queue = Local::starting_at(0);
        let mut owner = Party::default();
        owner.push(&queue, 1..=4);
        let thief = thief(queue.stealer(), 2);
        owner.push(&queue, 5..=5);
        owner.pop(&queue);
        owner.push(&queue, 6..=6);
        owner.pop_all(&queue);
        complete(6, [owner, thief.join().unwrap()]);
    });
}

#[test]
fn two_thieves_do_not_get_the_same() {
    loom::model(|| {
        let queue = Local::starting_at(0);
        let thieves = [thief(queue.stealer(), 1), thief(queue.stealer(), 1)];
        let mut owner = Party::default();
        owner.push(&queue, 1..=3);
        owner.pop(&queue);
        let [first, second] = thieves.map(|thief| thief.join().unwrap());
        owner.pop_all(&queue);
        complete(3, [owner, first, second]);
    });
}

/// Somebody steals from the thief what it has just stolen, or what it had before.
#[test]
fn a_thief_is_stolen_from_while_it_steals() {
    loom::model(|| {
        let (queue, middle) = (Local::starting_at(0), Local::starting_at(0));
        let mut owner = Party::default();
        owner.push(&queue, 1..=4);
        owner.push(&middle, 5..=6);
        let end = thief(middle.stealer(), 2);
        let from = queue.stealer();
        let middle = thread::spawn(move || {
            let mut party = Party::default();
            party.take(from.steal_into(&middle));
            party.pop(&middle);
            // What it had comes before what it stole, so there is no order to check.
            party.popped.sort_unstable();
            party.pop_all(&middle);
            party.popped.sort_unstable();
            party
        });
        owner.pop(&queue);
        let (mut end, middle) = (end.join().unwrap(), middle.join().unwrap());
        end.popped.sort_unstable();
        owner.pop_all(&queue);
        complete(6, [owner, middle, end]);
    });
}

/// The positions pass the end of their 32 bits while items are pushed, stolen and flow over.
#[test]
fn positions_wrap_while_stolen_from() {
    loom::model(|| {
        let queue = Local::starting_at(u32::MAX - 1);
        let mut owner = Party::default();
        owner.push(&queue, 1..=2);
        let thief = thief(queue.stealer(), 2);
        owner.push(&queue, 3..=5);
        owner.pop_all(&queue);
        complete(5, [owner, thief.join().unwrap()]);
    });
}

/// While a thief is held up between looking and claiming, the queue goes around. With positions
/// as narrow as its slots, it would find everything as it was.
#[test]
fn a_lap_later_is_another_position() {
    loom::model(|| {
        let queue = Local::starting_at(0);
        let mut owner = Party::default();
        owner.push(&queue, 1..=2);
        let thief = thief(queue.stealer(), 1);
        for next in 3..=10 {
            owner.pop(&queue);
            owner.push(&queue, next..=next);
        }
        let thief = thief.join().unwrap();
        owner.pop_all(&queue);
        complete(10, [owner, thief]);
    });
}

/// Several tasks that come from the injector are seen together.
#[test]
fn a_batch_is_stolen_from_while_it_is_pushed() {
    loom::model(|| {
        let queue = Local::starting_at(0);
        let thief = thief(queue.stealer(), 1);
        let mut owner = Party::default();
        assert_eq!(queue.push_from(&mut (1..=3).collect(), 3), 3);
        owner.pop_all(&queue);
        complete(3, [owner, thief.join().unwrap()]);
    });
}

/// What a thief has copied, a batch may overwrite, and no earlier.
#[test]
fn a_batch_is_pushed_where_a_thief_has_been() {
    static OVER: AtomicBool = AtomicBool::new(false);
    loom::model(|| {
        let queue = Local::starting_at(0);
        let mut owner = Party::default();
        owner.push(&queue, 1..=3);
        let thief = thief(queue.stealer(), 1);
        let mut batch = (4..=6).collect();
        // Otherwise loom does not try what happens if the thief comes first.
        thread::yield_now();
        OVER.fetch_or(queue.push_from(&mut batch, 3) == 3, Ordering::Relaxed);
        let thief = thief.join().unwrap();
        owner.pop_all(&queue);
        owner.given_back.extend(batch);
        complete(6, [owner, thief]);
    });
    assert!(OVER.load(Ordering::Relaxed), "no order in which the slots are written again");
}

/// The queue and all that is left in it are dropped while somebody steals.
#[test]
fn a_queue_is_dropped_while_stolen_from() {
    loom::model(|| {
        let queue = Local::starting_at(0);
        for _ in 0..3 {
            assert!(queue.push(loom::sync::Arc::new(())).is_ok());
        }
        let stealer = queue.stealer();
        let thief = thread::spawn(move || {
            let own = Local::starting_at(0);
            drop(stealer.steal_into(&own));
        });
        drop(queue);
        thief.join().unwrap();
    });
}

/// Steals `times`, on a thread and to a queue of its own.
fn thief(from: Stealer<u32>, times: usize) -> thread::JoinHandle<Party> {
    thread::spawn(move || {
        let own = Local::starting_at(0);
        let mut party = Party::default();
        for _ in 0..times {
            party.take(from.steal_into(&own));
            party.pop_all(&own);
        }
        party
    })
}

/// Somebody who takes items.
#[derive(Default)]
struct Party {
    popped: Vec<u32>,
    /// What flowed over.
    given_back: Vec<u32>,
}

impl Party {
    fn push(&mut self, queue: &Local<u32>, items: impl IntoIterator<Item = u32>) {
        for item in items {
            self.given_back.extend(queue.push(item).err().into_iter().flatten());
        }
    }

    fn pop(&mut self, queue: &Local<u32>) {
        self.take(queue.pop());
    }

    fn pop_all(&mut self, queue: &Local<u32>) {
        self.popped.extend(iter::from_fn(|| queue.pop()));
    }

    fn take(&mut self, item: Option<u32>) {
        self.popped.extend(item);
    }
}

/// All of them together have everything once, and each has it in order.
fn complete<const N: usize>(items: u32, parties: [Party; N]) {
    for party in &parties {
        assert!(party.popped.is_sorted(), "out of order: {:?}", party.popped);
        assert!(party.given_back.is_sorted(), "out of order: {:?}", party.given_back);
    }
    let parts = parties.into_iter().flat_map(|party| [party.popped, party.given_back]);
    let mut all: Vec<_> = parts.flatten().collect();
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(1..=items));
}
