//! Records that are longer than a chunk: whole, in order, bounded, and gone without a trace.

#[path = "support/pipes.rs"]
mod pipes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use pipes::{TAG, first_bytes, pipe, put, take};
use spanwire_runtime::pipe::{Config, Refusal};

const CHUNK: usize = 4096;

/// Two records of three chunks have room together.
fn config(promote_after: u32) -> Config {
    let mut config = Config::default();
    config.chunk_bytes = CHUNK;
    config.chunks = 8;
    config.promote_after = promote_after;
    config.record_bytes_max = 3 * CHUNK;
    config.large_bytes = 6 * CHUNK;
    config
}

#[test]
fn a_record_longer_than_a_chunk_comes_out_whole_between_its_neighbours() {
    // From a chunk of the thread's own, from the common one, and across a promotion.
    for promote_after in [0, 100, 1, 2] {
        let (pipe, mut drainer) = pipe(config(promote_after));
        for (byte, length) in [(1, 10), (2, CHUNK + 1), (3, 10), (4, 3 * CHUNK), (5, 1)] {
            put(&pipe, &vec![byte; length]).unwrap();
        }
        let runs = take(&mut drainer);
        assert_eq!(first_bytes(&runs), [1, 2, 3, 4, 5]);
        assert_eq!(runs[1].bytes, vec![2; CHUNK + 1]);
        assert_eq!(runs[3].bytes, vec![4; 3 * CHUNK]);
        assert!(runs.iter().all(|run| (run.tag, run.records) == (TAG, 1)));
        let counters = pipe.counters();
        assert_eq!((counters.accepted, counters.taken, counters.left_behind()), (5, 5, 0));
    }
}

#[test]
fn long_records_alone_use_no_chunk() {
    let mut config = config(0);
    (config.chunks, config.large_bytes) = (2, 100 * CHUNK);
    let (pipe, mut drainer) = pipe(config);
    put(&pipe, &[1; CHUNK]).unwrap();
    let before = take(&mut drainer);
    // The thread's chunk is full and lent; the other one is for the trials and goes back.
    for _ in 0..20 {
        put(&pipe, &[2; CHUNK + 1]).unwrap();
    }
    assert_eq!(first_bytes(&take(&mut drainer)), [2; 20]);
    drop(before);
}

#[test]
fn what_is_longer_than_both_limits_is_oversize() {
    for (record_bytes_max, large_bytes) in
        [(2 * CHUNK, 6 * CHUNK), (6 * CHUNK, 2 * CHUNK), (2 * CHUNK, 2 * CHUNK)]
    {
        let mut config = config(0);
        (config.record_bytes_max, config.large_bytes) = (record_bytes_max, large_bytes);
        let (pipe, mut drainer) = pipe(config);
        assert_eq!(put(&pipe, &[1; 2 * CHUNK + 1]), Err(Refusal::Oversize));
        put(&pipe, &[2; 2 * CHUNK]).unwrap();
        assert_eq!(first_bytes(&take(&mut drainer)), [2]);
        assert_eq!((pipe.counters().oversize, pipe.counters().full), (1, 0));
    }
}

#[test]
fn long_records_are_bounded_together_until_the_last_clone_is_gone() {
    let (pipe, mut drainer) = pipe(config(0));
    put(&pipe, &[1; 3 * CHUNK]).unwrap();
    put(&pipe, &[2; 3 * CHUNK]).unwrap();
    assert_eq!(put(&pipe, &[3; CHUNK + 1]), Err(Refusal::Full), "both wait");
    let mut runs = take(&mut drainer);
    assert_eq!(put(&pipe, &[3; CHUNK + 1]), Err(Refusal::Full), "both are lent");
    let slice = runs.remove(0).bytes.slice(1..2);
    assert_eq!(put(&pipe, &[3; CHUNK + 1]), Err(Refusal::Full), "a slice is lent");
    thread::spawn(move || drop(slice)).join().unwrap();
    put(&pipe, &[3; 3 * CHUNK]).unwrap();
    assert_eq!(put(&pipe, &[4; CHUNK + 1]), Err(Refusal::Full));
    put(&pipe, &[5]).unwrap();
    assert_eq!(first_bytes(&take(&mut drainer)), [3, 5]);
    assert_eq!((pipe.counters().full, pipe.counters().accepted), (4, 4));
}

#[test]
fn a_long_record_outlives_pipe_and_drainer() {
    let (pipe, mut drainer) = pipe(config(0));
    put(&pipe, &[7; 2 * CHUNK]).unwrap();
    let runs = take(&mut drainer);
    drop((pipe, drainer));
    assert_eq!(runs[0].bytes, vec![7; 2 * CHUNK]);
}

#[test]
fn taking_sealed_chunks_takes_what_came_before_a_long_record() {
    let (pipe, mut drainer) = pipe(config(100));
    put(&pipe, &[1]).unwrap();
    put(&pipe, &[2; CHUNK + 1]).unwrap();
    put(&pipe, &[3]).unwrap();
    let mut runs = Vec::new();
    drainer.take_sealed(usize::MAX, &mut runs);
    assert_eq!(first_bytes(&runs), [1, 2]);
    drainer.take_all(&mut runs);
    assert_eq!(first_bytes(&runs), [1, 2, 3]);
}

#[test]
fn a_panic_in_the_encoder_of_a_long_record_appends_nothing() {
    let (pipe, mut drainer) = pipe(config(0));
    put(&pipe, &[1]).unwrap();
    let mut calls = 0;
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        pipe.append(TAG, |cursor| {
            calls += 1;
            cursor.put_slice(&[2; CHUNK + 1]);
            // In the rest of a chunk, in an empty one, and then in memory of its own.
            assert!(calls < 3, "injected");
        })
    }));
    assert!(panicked.is_err());
    put(&pipe, &[3; 3 * CHUNK]).unwrap();
    put(&pipe, &[4; 3 * CHUNK]).unwrap();
    assert_eq!(first_bytes(&take(&mut drainer)), [1, 3, 4]);
    assert_eq!(pipe.counters().panicked, 1);
}

#[test]
fn the_room_that_an_encoder_gets_is_no_more_than_a_record_may_have() {
    let (pipe, mut drainer) = pipe(config(0));
    let mut rooms = Vec::new();
    let outcome = pipe.append(TAG, |cursor| {
        rooms.push(cursor.remaining());
        cursor.put_slice(&[1; 3 * CHUNK + 1]);
    });
    assert_eq!(outcome, Err(Refusal::Oversize));
    assert_eq!(rooms, [CHUNK, 3 * CHUNK]);
    assert!(take(&mut drainer).is_empty());
}
