//! Counters are exact once the producers have stopped.
#![cfg(loom)]

mod pipe;

use loom::thread;
use pipe::{check, pipe, put, take, tiny};

/// Two producers, one chunk each and none in reserve; threads end while counters are read.
#[test]
fn every_offer_is_counted_once_whatever_became_of_it() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(2, 0));
        let threads: Vec<_> = (1..=2)
            .map(|who| {
                let producer = producer.clone();
                thread::spawn(move || (0..3).filter(|&i| put(&producer, who, i).is_ok()).count())
            })
            .collect();
        let during = producer.counters();
        assert!(during.offered <= 6);
        let accepted: usize = threads.into_iter().map(|one| one.join().unwrap()).sum();
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        let after = producer.counters();
        assert_eq!((after.offered, after.accepted), (6, accepted as u64));
        assert_eq!((after.full, after.taken), (6 - after.accepted, after.accepted));
        assert_eq!(seen.len(), accepted);
    });
}

/// What is accepted while the pipe closes is taken or counted as left behind.
#[test]
fn a_close_loses_nothing_silently() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(2, 0));
        let other = producer.clone();
        let writer = thread::spawn(move || put(&other, 1, 0).is_ok());
        producer.close();
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        let accepted = u64::from(writer.join().unwrap());
        let counters = producer.counters();
        assert_eq!((counters.accepted, counters.closed), (accepted, 1 - accepted));
        assert_eq!(counters.left_behind(), accepted - seen.len() as u64);
    });
}
