//! Waiting for room: whoever waits is woken by what comes back, and by the end. A lost wake is a
//! deadlock, which loom reports; its waits never time out.
#![cfg(loom)]

mod pipe;

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;
use pipe::{check, of, put, take, tiny, wait};
use spanwire_runtime::Doorbell;
use spanwire_runtime::pipe::{Config, Drainer, Pipe, Refusal, Tag, Want, WhenFull};

fn block(chunks: usize) -> Config {
    let mut config = tiny(chunks, u32::MAX);
    config.when_full = WhenFull::Block(Duration::from_secs(3600));
    config
}

/// All chunks are full, and the last one is not sealed.
fn full(config: Config) -> (Arc<Doorbell>, Pipe, Drainer) {
    let bell = Arc::new(Doorbell::new());
    let (producer, drainer) = Pipe::new(config, Arc::clone(&bell));
    for index in 0..2 * config.chunks as u8 {
        put(&producer, 0, index).unwrap();
    }
    (bell, producer, drainer)
}

/// The worker sleeps until there is a batch; the thread that waits makes it one.
#[test]
fn a_thread_that_waits_wakes_the_worker_and_is_woken() {
    check(|| {
        let (bell, producer, mut drainer) = full(block(8));
        // Little is sealed: only somebody who waits makes it worth waking up for.
        let mut lent = Vec::new();
        drainer.take_all(&mut lent);
        let writer = thread::spawn(move || put(&producer, 1, 0).unwrap());
        wait(&bell, &mut drainer, Want::Batch);
        drop(lent);
        drainer.reclaim();
        writer.join().unwrap();
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        assert_eq!(seen, [(1, 0)]);
    });
}

/// A chunk comes back while a thread has been refused and does not wait yet.
#[test]
fn a_chunk_that_comes_back_before_the_wait_is_not_missed() {
    check(|| {
        let (_bell, producer, mut drainer) = full(block(2));
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        let writer = thread::spawn(move || put(&producer, 1, 0).unwrap());
        drainer.reclaim();
        writer.join().unwrap();
        take(&mut drainer, &mut seen);
        assert_eq!(of(1, &seen), [0]);
    });
}

/// One chunk comes back, and it has room for both.
#[test]
fn two_threads_that_wait_share_what_comes_back() {
    check(|| {
        let (_bell, producer, mut drainer) = full(block(2));
        let mut runs = Vec::new();
        drainer.take_sealed(usize::MAX, &mut runs);
        let writers = [1, 2].map(|who| {
            let producer = producer.clone();
            thread::spawn(move || put(&producer, who, 0).unwrap())
        });
        drop(runs);
        drainer.reclaim();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let mut seen = Vec::new();
        take(&mut drainer, &mut seen);
        assert_eq!((of(1, &seen), of(2, &seen)), (vec![0], vec![0]));
    });
}

#[test]
fn a_close_ends_the_wait() {
    check(|| {
        let (_bell, producer, drainer) = full(block(2));
        let writer = thread::spawn(move || put(&producer, 1, 0));
        drop(drainer);
        assert_eq!(writer.join().unwrap(), Err(Refusal::Closed));
    });
}

/// Room for long records comes back when the last one that was lent is dropped, anywhere.
#[test]
fn room_for_a_long_record_ends_the_wait_for_it() {
    check(|| {
        let mut config = block(2);
        (config.record_bytes_max, config.large_bytes) = (6, 6);
        let (producer, mut drainer) = Pipe::new(config, Arc::new(Doorbell::new()));
        let long = |pipe: &Pipe, who: u8| {
            pipe.append(Tag::new(0, who.into()), |cursor| {
                cursor.put_array([who, 0, who, 1, who, 2])
            })
        };
        long(&producer, 1).unwrap();
        let mut runs = Vec::new();
        drainer.take_all(&mut runs);
        let writer = thread::spawn(move || long(&producer, 2).unwrap());
        drop(runs);
        writer.join().unwrap();
        let mut runs = Vec::new();
        drainer.take_all(&mut runs);
        assert_eq!((runs[0].records, &runs[0].bytes[..]), (1, &[2, 0, 2, 1, 2, 2][..]));
    });
}
