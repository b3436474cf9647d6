//! What a pipe does when it is full: evict the oldest, or wait for room.

#[path = "support/pipes.rs"]
mod pipes;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use pipes::{first_bytes, pipe, put, take};
use spanwire_runtime::Builder;
use spanwire_runtime::pipe::{Config, Drainer, Pipe, Refusal, Run, Want, WhenFull};

const CHUNK: usize = 4096;
/// Longer than any test may take.
const FOR_EVER: Duration = Duration::from_secs(3600);

fn config(chunks: usize, when_full: WhenFull) -> Config {
    let mut config = Config::default();
    config.chunk_bytes = CHUNK;
    config.chunks = chunks;
    config.promote_after = 0;
    config.record_bytes_max = 2 * CHUNK;
    config.large_bytes = 4 * CHUNK;
    config.wake_bytes = usize::MAX;
    config.when_full = when_full;
    config
}

#[test]
fn the_oldest_make_room_and_are_counted() {
    let (pipe, mut drainer) = pipe(config(4, WhenFull::DropOldest));
    for index in 0..10 {
        put(&pipe, &[index; CHUNK]).unwrap();
    }
    let counters = pipe.counters();
    assert_eq!((counters.accepted, counters.evicted, counters.left_behind()), (10, 6, 4));
    assert_eq!(first_bytes(&take(&mut drainer)), [6, 7, 8, 9]);
    let counters = pipe.counters();
    assert_eq!((counters.taken, counters.full, counters.left_behind()), (4, 0, 0));
}

#[test]
fn what_is_lent_is_not_evicted_and_then_the_newest_is_refused() {
    let (pipe, mut drainer) = pipe(config(4, WhenFull::DropOldest));
    for index in 0..4 {
        put(&pipe, &[index; CHUNK]).unwrap();
    }
    let lent = take(&mut drainer);
    // The thread's own chunk is sealed by the attempt; all of it was taken, but it is lent.
    assert_eq!(put(&pipe, &[4; CHUNK]), Err(Refusal::Full));
    assert_eq!(put(&pipe, &[4; CHUNK]), Err(Refusal::Full));
    assert_eq!(first_bytes(&lent), [0, 1, 2, 3]);
    drop(lent);
    // Now it can be evicted, though nobody has reclaimed; nothing in it is lost.
    put(&pipe, &[5; CHUNK]).unwrap();
    assert_eq!((pipe.counters().evicted, pipe.counters().full), (0, 2));
    assert_eq!(first_bytes(&take(&mut drainer)), [5]);
}

#[test]
fn of_a_chunk_that_was_taken_in_part_the_rest_is_evicted_and_counted() {
    let (pipe, mut drainer) = pipe(config(2, WhenFull::DropOldest));
    put(&pipe, &[1; CHUNK / 4]).unwrap();
    drop(take(&mut drainer));
    put(&pipe, &[2; CHUNK / 4]).unwrap();
    put(&pipe, &[2; CHUNK / 4]).unwrap();
    put(&pipe, &[3; CHUNK]).unwrap();
    put(&pipe, &[4; CHUNK]).unwrap();
    assert_eq!(pipe.counters().evicted, 2);
    assert_eq!(first_bytes(&take(&mut drainer)), [3, 4]);
    assert_eq!(pipe.counters().left_behind(), 0);
}

#[test]
fn long_records_make_room_for_long_records_and_chunks_for_chunks() {
    let (pipe, mut drainer) = pipe(config(4, WhenFull::DropOldest));
    put(&pipe, &[1]).unwrap();
    for index in 2..8 {
        put(&pipe, &[index; 2 * CHUNK]).unwrap();
    }
    assert_eq!(pipe.counters().evicted, 4);
    assert_eq!(first_bytes(&take(&mut drainer)), [1, 6, 7]);
    // All long ones are lent or gone; nothing is evicted that would not help.
    let lent = {
        put(&pipe, &[8; 2 * CHUNK]).unwrap();
        put(&pipe, &[9; 2 * CHUNK]).unwrap();
        take(&mut drainer)
    };
    assert_eq!(put(&pipe, &[10; 2 * CHUNK]), Err(Refusal::Full));
    assert_eq!((pipe.counters().evicted, first_bytes(&lent)), (4, vec![8, 9]));
}

#[test]
fn no_long_record_is_evicted_if_that_would_not_make_room_enough() {
    let (pipe, mut drainer) = pipe(config(4, WhenFull::DropOldest));
    put(&pipe, &[1; CHUNK + 1]).unwrap();
    put(&pipe, &[2; CHUNK + 1]).unwrap();
    let lent = take(&mut drainer);
    put(&pipe, &[3; CHUNK + 1]).unwrap();
    // Even without the third, what is lent leaves too little.
    assert_eq!(put(&pipe, &[4; 2 * CHUNK]), Err(Refusal::Full));
    assert_eq!((pipe.counters().evicted, pipe.counters().full), (0, 1));
    assert_eq!(first_bytes(&take(&mut drainer)), [3]);
    assert_eq!(first_bytes(&lent), [1, 2]);
}

#[test]
fn nothing_is_evicted_for_a_promotion() {
    let (pipe, mut drainer) = pipe(config(2, WhenFull::DropOldest));
    // Another thread's chunk is full and live, the common one is sealed: none is free.
    thread::scope(|scope| scope.spawn(|| put(&pipe, &[1; CHUNK]).unwrap()).join().unwrap());
    put(&pipe, &[2; CHUNK]).unwrap();
    put(&pipe, &[3; CHUNK]).unwrap();
    let evicted = pipe.counters().evicted;
    assert_eq!(first_bytes(&take(&mut drainer)).len() as u64, 3 - evicted);
    assert_eq!(evicted, 1, "one chunk for one record");
}

/// Returns once another thread waits for room. There must be something sealed, and little.
fn until_somebody_waits(drainer: &mut Drainer) {
    let mut readable = pin!(drainer.readable(Want::Batch));
    while readable.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        thread::yield_now();
    }
}

/// A pipe whose chunks are all lent but the one that `appender` is going to seal, and what is lent.
fn full_pipe(limit: Duration) -> (Pipe, Drainer, Vec<Run>) {
    let (pipe, mut drainer) = pipe(config(8, WhenFull::Block(limit)));
    let mut lent = Vec::new();
    thread::scope(|scope| {
        let fill = || (0..8).for_each(|index| put(&pipe, &[index; CHUNK - 1]).unwrap());
        scope.spawn(fill).join().unwrap();
    });
    drainer.take_all(&mut lent);
    assert_eq!(lent.len(), 8);
    (pipe, drainer, lent)
}

#[test]
fn an_append_waits_until_a_chunk_comes_back() {
    let (pipe, mut drainer, lent) = full_pipe(FOR_EVER);
    thread::scope(|scope| {
        let appender = scope.spawn(|| put(&pipe, &[9; CHUNK]));
        until_somebody_waits(&mut drainer);
        drop(lent);
        drainer.reclaim();
        assert_eq!(appender.join().unwrap(), Ok(()));
    });
    assert_eq!(first_bytes(&take(&mut drainer)), [9]);
    assert_eq!((pipe.counters().accepted, pipe.counters().full), (9, 0));
}

#[test]
fn an_append_that_has_waited_long_enough_is_refused() {
    let (pipe, _drainer, _lent) = full_pipe(Duration::from_millis(1));
    let refused = thread::scope(|scope| scope.spawn(|| put(&pipe, &[9; CHUNK])).join().unwrap());
    assert_eq!(refused, Err(Refusal::Full));
    assert_eq!(pipe.counters().full, 1);
}

#[test]
fn a_limit_of_nothing_does_not_wait() {
    let (pipe, _drainer, _lent) = full_pipe(Duration::ZERO);
    let refused = thread::scope(|scope| scope.spawn(|| put(&pipe, &[9; CHUNK])).join().unwrap());
    assert_eq!(refused, Err(Refusal::Full));
}

#[test]
fn a_close_ends_the_wait() {
    let (pipe, mut drainer, _lent) = full_pipe(Duration::MAX);
    thread::scope(|scope| {
        let appender = scope.spawn(|| put(&pipe, &[9; CHUNK]));
        until_somebody_waits(&mut drainer);
        drop(drainer);
        assert_eq!(appender.join().unwrap(), Err(Refusal::Closed));
    });
    assert_eq!((pipe.counters().closed, pipe.counters().full), (1, 0));
}

#[test]
fn the_drainers_thread_does_not_wait_for_itself() {
    let (pipe, _drainer, _lent) = full_pipe(FOR_EVER);
    // This thread has taken what is lent.
    assert_eq!(put(&pipe, &[9; CHUNK]), Err(Refusal::Full));
}

#[test]
fn a_long_record_waits_for_room() {
    let (pipe, mut drainer) = pipe(config(8, WhenFull::Block(FOR_EVER)));
    put(&pipe, &[1; 2 * CHUNK]).unwrap();
    put(&pipe, &[2; 2 * CHUNK]).unwrap();
    let lent = take(&mut drainer);
    thread::scope(|scope| {
        let appender = scope.spawn(|| {
            put(&pipe, &[3]).unwrap();
            // Something sealed, so that the wait can be seen from here.
            put(&pipe, &[4; CHUNK]).unwrap();
            put(&pipe, &[5; 2 * CHUNK])
        });
        until_somebody_waits(&mut drainer);
        drop(lent);
        assert_eq!(appender.join().unwrap(), Ok(()));
    });
    assert_eq!(first_bytes(&take(&mut drainer)), [3, 4, 5]);
}

#[test]
fn producers_that_wait_lose_nothing() {
    const EACH: u32 = 3000;
    let runtime = Builder::new().build().unwrap();
    let (pipe, mut drainer) = Pipe::new(config(4, WhenFull::Block(FOR_EVER)), runtime.doorbell());
    let drained = runtime.spawn_pinned(move || async move {
        let (mut runs, mut records) = (Vec::new(), 0);
        while records < 4 * EACH {
            drainer.readable(Want::First).await;
            drainer.take_all(&mut runs);
            records += runs.drain(..).map(|run| run.records).sum::<u32>();
        }
        records
    });
    thread::scope(|scope| {
        for who in 0..4 {
            let pipe = pipe.clone();
            scope.spawn(move || {
                (0..EACH).for_each(|index| put(&pipe, &vec![who; index as usize % 600]).unwrap());
            });
        }
    });
    assert_eq!(runtime.block_on(drained).unwrap(), 4 * EACH);
    assert_eq!((pipe.counters().full, pipe.counters().accepted), (0, 4 * u64::from(EACH)));
}
