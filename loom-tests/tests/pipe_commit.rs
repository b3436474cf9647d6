//! Append and commit against a reader of the prefix: what is committed is whole and in order.
#![cfg(loom)]

mod pipe;

use loom::thread;
use pipe::{check, of, pipe, put, take, tiny};
use spanwire_runtime::pipe::Tag;

/// The drainer reads records below the committed mark while the next is being written above it.
#[test]
fn a_prefix_is_whole_while_the_chunk_is_written() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(2, 0));
        let writer = thread::spawn(move || {
            put(&producer, 1, 0).unwrap();
            put(&producer, 1, 1).unwrap();
        });
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        take(&mut drainer, &mut seen);
        writer.join().unwrap();
        take(&mut drainer, &mut seen);
        assert_eq!(seen, [(1, 0), (1, 1)]);
    });
}

/// The entry of the second run is written before the commit that publishes it.
#[test]
fn a_run_is_published_with_its_first_record() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(2, 0));
        let writer = thread::spawn(move || {
            put(&producer, 1, 0).unwrap();
            put(&producer, 2, 0).unwrap();
        });
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        writer.join().unwrap();
        take(&mut drainer, &mut seen);
        assert_eq!(seen, [(1, 0), (2, 0)]);
    });
}

/// Records that did not fit leave nothing behind, whatever they wrote before they noticed.
#[test]
fn a_record_that_did_not_fit_is_never_read() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(4, 0));
        let writer = thread::spawn(move || {
            put(&producer, 1, 0).unwrap();
            let long = producer.append(Tag::new(0, 2), |cursor| {
                cursor.put_array([2, 9]);
                cursor.put_array([2, 9]);
                cursor.put_array([2, 9]);
            });
            assert!(long.is_err());
            put(&producer, 1, 1).unwrap();
        });
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        writer.join().unwrap();
        take(&mut drainer, &mut seen);
        assert_eq!(seen, [(1, 0), (1, 1)]);
    });
}

/// Two threads share the common chunk: each one's records come out in order, once.
#[test]
fn the_common_chunk_keeps_the_order_of_each_thread() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(4, u32::MAX));
        let other = producer.clone();
        let one = thread::spawn(move || {
            put(&producer, 1, 0).unwrap();
            put(&producer, 1, 1).unwrap();
        });
        let two = thread::spawn(move || put(&other, 2, 0).unwrap());
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        one.join().unwrap();
        two.join().unwrap();
        take(&mut drainer, &mut seen);
        assert_eq!((of(1, &seen), of(2, &seen)), (vec![0, 1], vec![0]));
    });
}
