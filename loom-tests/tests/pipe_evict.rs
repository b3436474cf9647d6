//! Eviction against a take: what was cut is not evicted, and what is evicted was not cut.
#![cfg(loom)]

mod pipe;

use loom::thread;
use pipe::{check, of, pipe, put, read, take, tiny};
use spanwire_runtime::pipe::{Config, WhenFull};

fn drop_oldest(promote_after: u32) -> Config {
    let mut config = tiny(2, promote_after);
    config.when_full = WhenFull::DropOldest;
    config
}

/// The drainer has cut a piece of a live chunk and not handed it out when its thread seals that
/// chunk and wants its memory. Each record comes out or is counted, once, and in order.
fn evict_against_a_take(promote_after: u32) {
    check(move || {
        let (producer, mut drainer) = pipe(drop_oldest(promote_after));
        put(&producer, 1, 0).unwrap();
        let other = producer.clone();
        let writer = thread::spawn(move || {
            let accepted = (1..6).filter(|&index| put(&other, 1, index).is_ok());
            accepted.count()
        });
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        let accepted = 1 + writer.join().unwrap();
        take(&mut drainer, &mut seen);
        let order = of(1, &seen);
        assert!(order.is_sorted_by(|one, next| one < next), "{order:?}");
        let counters = producer.counters();
        assert_eq!(counters.accepted, accepted as u64);
        assert_eq!(counters.taken, order.len() as u64);
        assert_eq!(counters.accepted, counters.taken + counters.evicted, "{order:?}");
    });
}

#[test]
fn what_a_take_has_cut_of_a_private_chunk_is_not_evicted() {
    evict_against_a_take(0);
}

#[test]
fn what_a_take_has_cut_of_the_common_chunk_is_not_evicted() {
    evict_against_a_take(u32::MAX);
}

/// A part of the oldest chunk is read elsewhere when its thread wants the memory.
#[test]
fn a_chunk_is_evicted_only_after_its_last_reader() {
    check(|| {
        let (producer, mut drainer) = pipe(drop_oldest(u32::MAX));
        put(&producer, 1, 0).unwrap();
        let mut runs = Vec::new();
        drainer.take_all(&mut runs);
        (1..4).for_each(|index| put(&producer, 1, index).unwrap());
        let reader = thread::spawn(move || {
            let mut seen = Vec::new();
            read(&runs, &mut seen);
            assert_eq!(seen, [(1, 0)]);
        });
        // Goes to the chunk that the reader held, or the newest is refused.
        let evicted = put(&producer, 1, 4).is_ok();
        reader.join().unwrap();
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        assert_eq!(of(1, &seen), if evicted { vec![2, 3, 4] } else { vec![1, 2, 3] });
        assert_eq!(producer.counters().evicted, u64::from(evicted));
    });
}

/// Two threads want the memory of the same chunk.
#[test]
fn a_chunk_is_evicted_for_one_of_those_who_want_it() {
    check(|| {
        let (producer, mut drainer) = pipe(drop_oldest(u32::MAX));
        (0..4).for_each(|index| put(&producer, 0, index).unwrap());
        let writers = [1, 2].map(|who| {
            let producer = producer.clone();
            thread::spawn(move || usize::from(put(&producer, who, 0).is_ok()))
        });
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        // Refused only if the drainer had everything.
        let accepted = writers.map(|writer| writer.join().unwrap());
        take(&mut drainer, &mut seen);
        assert_eq!([of(1, &seen).len(), of(2, &seen).len()], accepted);
        let counters = producer.counters();
        assert_eq!(counters.accepted, counters.taken + counters.evicted);
        assert_eq!(counters.taken, seen.len() as u64);
    });
}
