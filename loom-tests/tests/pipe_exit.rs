//! A thread's end against a scan and against the thread that gets its chunk.
#![cfg(loom)]

mod pipe;

use loom::thread;
use pipe::{check, of, pipe, put, take, tiny};

#[test]
fn what_an_ended_thread_left_comes_out_once() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(2, 0));
        let writer = thread::spawn(move || put(&producer, 1, 0).unwrap());
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        writer.join().unwrap();
        take(&mut drainer, &mut seen);
        take(&mut drainer, &mut seen);
        assert_eq!(seen, [(1, 0)]);
    });
}

/// Only one chunk may be private: the second thread gets it when the first has ended, or else
/// appends to the common one.
#[test]
fn a_chunk_passes_from_thread_to_thread_while_it_is_scanned() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(2, 0));
        let other = producer.clone();
        let one = thread::spawn(move || put(&producer, 1, 0).unwrap());
        let two = thread::spawn(move || {
            put(&other, 2, 0).unwrap();
            put(&other, 2, 1).unwrap();
        });
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        one.join().unwrap();
        two.join().unwrap();
        take(&mut drainer, &mut seen);
        assert_eq!((of(1, &seen), of(2, &seen)), (vec![0], vec![0, 1]));
    });
}
