//! What one thread may rely on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::thread;

use spanwire_runtime::Doorbell;
use spanwire_runtime::buf::Cursor;
use spanwire_runtime::pipe::{Config, Counters, Drainer, Pipe, Refusal, Run, Tag};

const CHUNK: usize = 4096;
const TAG: Tag = Tag::new(1, 2);

/// Everybody gets a chunk at once, so that tests need not warm up; no record is longer than one.
fn config(chunks: usize) -> Config {
    let mut config = Config::default();
    config.chunk_bytes = CHUNK;
    config.chunks = chunks;
    config.promote_after = 0;
    config.record_bytes_max = CHUNK;
    config
}

fn pipe(config: Config) -> (Pipe, Drainer) {
    Pipe::new(config, Arc::new(Doorbell::new()))
}

fn put(pipe: &Pipe, tag: Tag, record: &[u8]) -> Result<(), Refusal> {
    pipe.append(tag, |cursor| cursor.put_slice(record))
}

fn take(drainer: &mut Drainer) -> Vec<Run> {
    let mut runs = Vec::new();
    drainer.take_all(&mut runs);
    runs
}

fn bytes(runs: &[Run]) -> Vec<u8> {
    runs.iter().flat_map(|run| run.bytes.iter().copied()).collect()
}

#[track_caller]
fn assert_balanced(counters: Counters) {
    let Counters { offered, accepted, full, oversize, reentrant, closed, panicked, .. } = counters;
    assert_eq!(offered, accepted + full + oversize + reentrant + closed + panicked, "{counters:?}");
}

#[test]
fn equal_tags_form_one_run_and_a_change_begins_another() {
    let (pipe, mut drainer) = pipe(config(4));
    for (scope, record) in [(1, b"a"), (1, b"b"), (2, b"c"), (1, b"d")] {
        put(&pipe, Tag::new(0, scope), record).unwrap();
    }
    let runs = take(&mut drainer);
    let seen: Vec<_> =
        runs.iter().map(|run| (run.tag.scope, run.records, &run.bytes[..])).collect();
    assert_eq!(seen, [(1, 2, &b"ab"[..]), (2, 1, b"c"), (1, 1, b"d")]);
}

#[test]
fn a_run_that_goes_on_after_a_take_is_taken_from_there() {
    let (pipe, mut drainer) = pipe(config(4));
    put(&pipe, TAG, b"first").unwrap();
    assert_eq!(bytes(&take(&mut drainer)), b"first");
    assert!(take(&mut drainer).is_empty());
    put(&pipe, TAG, b"second").unwrap();
    let runs = take(&mut drainer);
    assert_eq!((runs[0].tag, runs[0].records, &runs[0].bytes[..]), (TAG, 1, &b"second"[..]));
    assert_eq!(pipe.counters().taken, 2);
}

#[test]
fn a_record_as_long_as_a_chunk_fits_and_a_longer_one_is_oversize() {
    for before in [0, 1, CHUNK - 1, CHUNK] {
        let (pipe, mut drainer) = pipe(config(4));
        put(&pipe, TAG, &vec![1; before]).unwrap();
        assert_eq!(put(&pipe, TAG, &[2; CHUNK + 1]), Err(Refusal::Oversize));
        put(&pipe, TAG, &[3; CHUNK]).unwrap();
        assert_eq!(bytes(&take(&mut drainer)), [vec![1; before], vec![3; CHUNK]].concat());
        let counters = pipe.counters();
        assert_eq!((counters.oversize, counters.accepted, counters.full), (1, 2, 0));
        assert_balanced(counters);
    }
}

#[test]
fn oversize_records_do_not_use_up_the_pool() {
    let (pipe, mut drainer) = pipe(config(4));
    for round in 0..100 {
        put(&pipe, TAG, &[round]).unwrap();
        assert_eq!(put(&pipe, TAG, &[0; CHUNK + 1]), Err(Refusal::Oversize));
    }
    assert_eq!(bytes(&take(&mut drainer)), (0..100).collect::<Vec<u8>>());
}

#[test]
fn empty_records_count() {
    let (pipe, mut drainer) = pipe(config(4));
    put(&pipe, TAG, b"").unwrap();
    put(&pipe, TAG, b"").unwrap();
    let runs = take(&mut drainer);
    assert_eq!((runs[0].records, runs[0].bytes.len()), (2, 0));
    assert!(take(&mut drainer).is_empty());
}

#[test]
fn a_full_pool_refuses_and_a_returned_chunk_ends_that() {
    let (pipe, mut drainer) = pipe(config(2));
    let mut accepted = 0;
    while put(&pipe, TAG, &[7; CHUNK / 2]).is_ok() {
        accepted += 1;
        assert!(accepted <= 4, "two chunks hold four halves");
    }
    assert_eq!(put(&pipe, TAG, &[7; CHUNK / 2]), Err(Refusal::Full));
    let runs = take(&mut drainer);
    assert_eq!(bytes(&runs).len(), accepted * CHUNK / 2);
    drainer.reclaim();
    assert_eq!(put(&pipe, TAG, &[7]), Err(Refusal::Full), "the runs are still lent");
    drop(runs);
    drainer.reclaim();
    put(&pipe, TAG, &[7]).unwrap();
    let counters = pipe.counters();
    assert_eq!(counters.full, 3);
    assert_balanced(counters);
}

#[test]
fn a_seal_without_successor_comes_back_though_all_of_it_was_taken() {
    let (pipe, mut drainer) = pipe(config(2));
    // Fills the pool, and takes each record while its chunk is live.
    while put(&pipe, TAG, &[7; CHUNK - 1]).is_ok() {
        drop(take(&mut drainer));
    }
    drop(take(&mut drainer));
    drainer.reclaim();
    put(&pipe, TAG, &[7]).unwrap();
}

#[test]
fn take_sealed_takes_the_oldest_chunks_up_to_the_limit_and_no_live_ones() {
    let (pipe, mut drainer) = pipe(config(16));
    for index in 0..5 {
        put(&pipe, TAG, &[index; CHUNK]).unwrap();
    }
    let mut take = |bytes_max| {
        let mut runs = Vec::new();
        drainer.take_sealed(bytes_max, &mut runs);
        runs.iter().map(|run| run.bytes[0]).collect::<Vec<_>>()
    };
    assert_eq!(take(0), [0], "at least one");
    assert_eq!(take(2 * CHUNK), [1, 2]);
    assert_eq!(take(usize::MAX), [3], "the last one is live");
    assert_eq!(take(usize::MAX), []);
}

#[test]
fn what_a_thread_appended_before_its_promotion_comes_out_first() {
    let mut config = config(16);
    config.promote_after = 3;
    for sealed_only in [false, true] {
        let (pipe, mut drainer) = pipe(config);
        for index in 0..8 {
            // The first three are in the common chunk; then each fills a chunk of its own.
            put(&pipe, TAG, &[index; CHUNK / 4 * 3][..if index < 3 { 1 } else { CHUNK / 4 * 3 }])
                .unwrap();
        }
        let mut runs = Vec::new();
        if sealed_only {
            drainer.take_sealed(CHUNK * 3, &mut runs);
        }
        drainer.take_all(&mut runs);
        let mut order = bytes(&runs);
        order.dedup();
        assert_eq!(order, (0..8).collect::<Vec<u8>>());
    }
}

#[test]
fn more_runs_than_a_chunk_has_room_for_go_to_the_next_chunk() {
    let (pipe, mut drainer) = pipe(config(16));
    for scope in 0..100 {
        put(&pipe, Tag::new(0, scope), &[scope as u8]).unwrap();
    }
    let runs = take(&mut drainer);
    let seen: Vec<_> = runs.iter().map(|run| (run.tag.scope, run.bytes[0])).collect();
    assert_eq!(seen, (0..100).map(|scope| (scope, scope as u8)).collect::<Vec<_>>());
}

#[test]
fn an_append_inside_an_append_is_refused_and_counted() {
    // From a chunk of the thread's own, and from the common chunk.
    for promote_after in [0, 100] {
        let mut config = config(4);
        config.promote_after = promote_after;
        let (outer, mut drainer) = pipe(config);
        let (other, _other_drainer) = pipe(config);
        outer
            .append(TAG, |cursor| {
                assert_eq!(put(&outer, TAG, b"inner"), Err(Refusal::Reentrant));
                assert_eq!(put(&other, TAG, b"inner"), Err(Refusal::Reentrant));
                cursor.put_slice(b"outer");
            })
            .unwrap();
        assert_eq!(bytes(&take(&mut drainer)), b"outer");
        assert_eq!(outer.counters().reentrant, 1);
        assert_eq!(other.counters().reentrant, 1);
        assert_balanced(outer.counters());
        assert_balanced(other.counters());
        put(&other, TAG, b"later").unwrap();
    }
}

#[test]
fn a_panic_in_the_encoder_appends_nothing_and_breaks_nothing() {
    // In a chunk of its own, in the common chunk, and in a chunk on trial.
    for (promote_after, before) in [(0, 0), (0, 10), (0, CHUNK - 1), (100, 0), (100, CHUNK - 1)] {
        let mut config = config(4);
        config.promote_after = promote_after;
        let (pipe, mut drainer) = pipe(config);
        put(&pipe, TAG, &vec![1; before]).unwrap();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut calls = 0;
            pipe.append(TAG, |cursor| {
                calls += 1;
                cursor.put_array([9; 2]);
                assert!(!cursor.is_overflowed() && calls > 2, "injected");
            })
        }));
        assert!(panicked.is_err());
        put(&pipe, Tag::new(5, 5), &[2; 3]).unwrap();
        let runs = take(&mut drainer);
        assert_eq!(bytes(&runs), [vec![1; before], vec![2; 3]].concat());
        assert_eq!(runs.last().unwrap().tag, Tag::new(5, 5));
        assert_eq!(pipe.counters().panicked, 1);
        assert_balanced(pipe.counters());
    }
}

#[test]
fn an_encoder_that_swaps_its_cursor_appends_nothing() {
    let (pipe, mut drainer) = pipe(config(4));
    let outcome = pipe.append(TAG, |cursor| {
        *cursor = Cursor::new(vec![std::mem::MaybeUninit::new(1); 8].leak());
        cursor.put_array([1; 8]);
    });
    assert_eq!(outcome, Err(Refusal::Oversize));
    assert!(take(&mut drainer).is_empty());
}

#[test]
fn a_closed_pipe_refuses_and_gives_out_what_it_has() {
    let (pipe, mut drainer) = pipe(config(4));
    put(&pipe, TAG, b"before").unwrap();
    pipe.close();
    assert_eq!(put(&pipe, TAG, b"after"), Err(Refusal::Closed));
    assert_eq!(pipe.counters().left_behind(), 1);
    assert_eq!(bytes(&take(&mut drainer)), b"before");
    let counters = pipe.counters();
    assert_eq!((counters.closed, counters.left_behind()), (1, 0));
    assert_balanced(counters);
}

#[test]
fn a_pipe_closes_when_its_drainer_is_dropped() {
    let (pipe, drainer) = pipe(config(4));
    put(&pipe, TAG, b"left").unwrap();
    drop(drainer);
    assert_eq!(put(&pipe, TAG, b"after"), Err(Refusal::Closed));
    assert_eq!(pipe.counters().left_behind(), 1);
}

#[test]
fn a_run_outlives_pipe_and_drainer() {
    let (pipe, mut drainer) = pipe(config(4));
    put(&pipe, TAG, b"kept").unwrap();
    let runs = take(&mut drainer);
    drop((pipe, drainer));
    let clone = runs[0].bytes.slice(1..3);
    drop(runs);
    assert_eq!(thread::spawn(move || clone.to_vec()).join().unwrap(), b"ep");
}

#[test]
fn two_pipes_of_one_thread_do_not_mix() {
    let (one, mut from_one) = pipe(config(4));
    let (two, mut from_two) = pipe(config(4));
    for index in 0..100 {
        put(&one, TAG, &[index]).unwrap();
        put(&two, TAG, &[100 + index]).unwrap();
    }
    assert_eq!(bytes(&take(&mut from_one)), (0..100).collect::<Vec<u8>>());
    assert_eq!(bytes(&take(&mut from_two)), (100..200).collect::<Vec<u8>>());
}

#[test]
fn a_thread_that_ends_leaves_its_records_and_its_chunk_to_the_next() {
    let (pipe, mut drainer) = pipe(config(8));
    // Four chunks may be private; a hundred threads need one.
    for index in 0..100 {
        let pipe = pipe.clone();
        // Joined, because only that waits for the destructors of thread-locals.
        thread::spawn(move || put(&pipe, TAG, &[index; 10]).unwrap()).join().unwrap();
    }
    let runs = take(&mut drainer);
    assert_eq!(runs.len(), 1, "one chunk, handed on");
    assert_eq!(runs[0].records, 100);
    let expected: Vec<u8> = (0..100).flat_map(|index| [index; 10]).collect();
    assert_eq!(bytes(&runs), expected);
    assert_balanced(pipe.counters());
}

/// Whether two threads that append in turn each get a chunk of their own.
fn two_chunks_can_be_private(pipe: &Pipe, drainer: &mut Drainer) -> bool {
    put(pipe, TAG, b"mine").unwrap();
    thread::scope(|scope| scope.spawn(|| put(pipe, TAG, b"another's").unwrap()).join().unwrap());
    put(pipe, TAG, b"mine").unwrap();
    take(drainer).len() == 2
}

#[test]
fn a_share_is_given_back_by_threads_that_end_and_by_threads_that_find_the_pool_empty() {
    // Two of four chunks may be private.
    let (pipe, mut drainer) = pipe(config(4));
    for _ in 0..10 {
        let pipe = pipe.clone();
        thread::spawn(move || put(&pipe, TAG, &[0; CHUNK + 1]).unwrap_err()).join().unwrap();
    }
    for _ in 0..10 {
        while put(&pipe, TAG, &[7; CHUNK]).is_ok() {}
        drop(take(&mut drainer));
        drainer.reclaim();
    }
    assert!(two_chunks_can_be_private(&pipe, &mut drainer));
}

#[test]
fn full_chunks_whose_records_were_taken_do_not_block_the_pool() {
    // One chunk is private and one is common: both are full and live, none is free.
    let (pipe, mut drainer) = pipe(config(2));
    put(&pipe, TAG, &[1; CHUNK]).unwrap();
    thread::scope(|scope| scope.spawn(|| put(&pipe, TAG, &[2; CHUNK]).unwrap()).join().unwrap());
    drop(take(&mut drainer));
    drainer.reclaim();
    assert_eq!(put(&pipe, TAG, &[3]), Err(Refusal::Full));
    drop(take(&mut drainer));
    drainer.reclaim();
    assert_eq!(put(&pipe, TAG, &[3]), Ok(()));
}

#[test]
fn idle_threads_hold_at_most_half_of_the_pool() {
    let (pipe, mut drainer) = pipe(config(8));
    let (entered, gate) = (Barrier::new(21), Barrier::new(21));
    let enter = || {
        let outcome = put(&pipe, TAG, &[1]);
        entered.wait();
        gate.wait();
        outcome
    };
    thread::scope(|scope| {
        let idle: Vec<_> = (0..20).map(|_| scope.spawn(enter)).collect();
        entered.wait();
        // Four chunks are private and one is common: three are left, and the common one.
        let free = (0..).take_while(|_| put(&pipe, TAG, &[2; CHUNK]).is_ok()).count();
        gate.wait();
        assert!(idle.into_iter().all(|thread| thread.join().unwrap().is_ok()));
        assert_eq!(free, 3);
    });
    assert_eq!(take(&mut drainer).iter().map(|run| run.records).sum::<u32>(), 23);
}

#[test]
fn an_append_while_thread_locals_are_destroyed_is_not_lost() {
    struct Last(Pipe);
    impl Drop for Last {
        fn drop(&mut self) {
            put(&self.0, TAG, b"last").unwrap();
            let inner = self.0.append(TAG, |_| {
                assert_eq!(put(&self.0, TAG, b"inner"), Err(Refusal::Reentrant));
            });
            assert_eq!(inner, Ok(()));
        }
    }
    thread_local!(static LAST: std::cell::RefCell<Option<Last>> = const { std::cell::RefCell::new(None) });

    let (pipe, mut drainer) = pipe(config(4));
    let clone = pipe.clone();
    let appender = thread::spawn(move || {
        // Destructors run in the order of first use, or in reverse: one of the two pipes of
        // threads below sees its writers gone.
        LAST.with_borrow_mut(|last| *last = Some(Last(clone.clone())));
        put(&clone, TAG, b"first").unwrap();
    });
    appender.join().unwrap();
    let clone = pipe.clone();
    let appender = thread::spawn(move || {
        put(&clone, TAG, b"first").unwrap();
        LAST.with_borrow_mut(|last| *last = Some(Last(clone.clone())));
    });
    appender.join().unwrap();
    let counters = pipe.counters();
    assert_eq!((counters.accepted, counters.reentrant), (6, 2));
    assert_balanced(counters);
    assert_eq!(take(&mut drainer).iter().map(|run| run.records).sum::<u32>(), 6);
}

#[test]
fn sizes_out_of_bounds_are_named_and_moved() {
    assert_eq!(Config::default().check(), Ok(()));
    let mut config = config(1);
    assert_eq!(config.check().unwrap_err().field, "chunks");
    config.chunks = 4;
    config.chunk_bytes = 5000;
    let error = config.check().unwrap_err();
    assert_eq!(
        error.to_string(),
        "pipe setting chunk_bytes = 5000 is out of bounds, the nearest is 8192"
    );
    config.chunk_bytes = 0;
    config.wake_bytes = 0;
    let (pipe, _drainer) = pipe(config);
    put(&pipe, TAG, &[0; 4096]).unwrap();
    assert_eq!(put(&pipe, TAG, &[0; 4097]), Err(Refusal::Oversize));
    config.chunks = usize::MAX;
    config.chunk_bytes = usize::MAX;
    assert!(config.check().is_err());
}
