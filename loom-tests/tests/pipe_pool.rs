//! The pool: a chunk is one thread's at a time, however often it goes back and forth.
#![cfg(loom)]

mod pipe;

use loom::thread;
use pipe::{check, of, pipe, put, take, tiny};

/// Two threads want a chunk while the drainer returns one: each record is in one of them, and
/// whoever got none was told so.
#[test]
fn a_chunk_that_comes_back_goes_to_one_of_those_who_want_it() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(2, u32::MAX));
        // One chunk is sealed, the other full: whoever comes next needs the first.
        for index in 0..4 {
            put(&producer, 0, index).unwrap();
        }
        let mut runs = Vec::new();
        drainer.take_sealed(usize::MAX, &mut runs);
        drop(runs);
        let writers = [1, 2].map(|who| {
            let producer = producer.clone();
            thread::spawn(move || u8::from(put(&producer, who, 0).is_ok()))
        });
        drainer.reclaim();
        let accepted = writers.map(|writer| writer.join().unwrap());
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        assert_eq!(of(0, &seen), [2, 3]);
        for (who, accepted) in (1..).zip(accepted) {
            assert_eq!(of(who, &seen).len(), usize::from(accepted), "of {who} in {seen:?}");
        }
        let counters = producer.counters();
        assert_eq!(counters.accepted, 4 + u64::from(accepted[0] + accepted[1]));
        assert_eq!(counters.accepted + counters.full, counters.offered);
    });
}

/// A thread fills chunks faster than there are any, and gets them back one by one.
#[test]
fn what_was_taken_makes_room_for_what_comes() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(2, u32::MAX));
        let writer = thread::spawn(move || {
            let accepted = (0..5).filter(|&index| put(&producer, 1, index).is_ok());
            accepted.collect::<Vec<u8>>()
        });
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        drainer.reclaim();
        let accepted = writer.join().unwrap();
        take(&mut drainer, &mut seen);
        assert_eq!(of(1, &seen), accepted, "each that was accepted, once, in order");
    });
}
