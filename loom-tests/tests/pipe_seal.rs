//! Seal against flush: `take_all` misses nothing that was committed before, however chunks move
//! between the lists meanwhile, and the order of a thread holds over all takes.
#![cfg(loom)]

mod pipe;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use pipe::{check, of, pipe, put, take, tiny};

/// Three records over two chunks, the first of which is sealed on the way.
fn flush_against(chunks: usize, promote_after: u32) {
    check(move || {
        let (producer, mut drainer) = pipe(tiny(chunks, promote_after));
        let done = Arc::new(AtomicUsize::new(0));
        let progress = Arc::clone(&done);
        let writer = thread::spawn(move || {
            for index in 0..3 {
                put(&producer, 1, index).unwrap();
                progress.store(usize::from(index) + 1, Ordering::Release);
            }
        });
        let mut seen = Vec::new();
        for _ in 0..2 {
            let before = done.load(Ordering::Acquire);
            take(&mut drainer, &mut seen);
            assert!(seen.len() >= before, "{before} were appended, {seen:?} came out");
        }
        writer.join().unwrap();
        take(&mut drainer, &mut seen);
        assert_eq!(of(1, &seen), [0, 1, 2]);
    });
}

#[test]
fn nothing_is_missed_when_a_private_chunk_is_sealed() {
    flush_against(4, 0);
}

#[test]
fn nothing_is_missed_when_the_common_chunk_is_sealed() {
    flush_against(4, u32::MAX);
}

#[test]
fn nothing_is_missed_or_swapped_when_a_thread_is_promoted() {
    flush_against(4, 1);
}

/// A sealed chunk is taken while what the thread wrote before its promotion is still live.
#[test]
fn taking_sealed_chunks_keeps_the_order_of_a_promoted_thread() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(6, 1));
        let writer = thread::spawn(move || {
            for index in 0..4 {
                put(&producer, 1, index).unwrap();
            }
        });
        let (mut runs, mut seen) = (Vec::new(), Vec::new());
        drainer.take_sealed(usize::MAX, &mut runs);
        pipe::read(&runs, &mut seen);
        writer.join().unwrap();
        take(&mut drainer, &mut seen);
        assert_eq!(of(1, &seen), [0, 1, 2, 3]);
    });
}

/// Two threads seal a chunk each while the drainer takes all: no record comes out twice or never,
/// and each thread's come out in order.
#[test]
fn two_threads_that_seal_at_once_keep_their_orders() {
    check(|| {
        let (producer, mut drainer) = pipe(tiny(8, 0));
        let writers = [1, 2].map(|who| {
            let producer = producer.clone();
            thread::spawn(move || (0..3).for_each(|index| put(&producer, who, index).unwrap()))
        });
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        take(&mut drainer, &mut seen);
        assert_eq!((of(1, &seen), of(2, &seen)), (vec![0, 1, 2], vec![0, 1, 2]));
    });
}
