//! Sleep against commit: no wake is lost. A lost one is a deadlock, which loom reports.
#![cfg(loom)]

mod pipe;

use loom::sync::Arc;
use loom::thread;
use pipe::{check, put, take, tiny, wait};
use spanwire_runtime::Doorbell;
use spanwire_runtime::pipe::{Pipe, Want};

#[test]
fn the_first_commit_wakes_an_idle_worker() {
    for promote_after in [0, u32::MAX] {
        check(move || {
            let bell = Arc::new(Doorbell::new());
            let (producer, mut drainer) = Pipe::new(tiny(2, promote_after), Arc::clone(&bell));
            let writer = thread::spawn(move || put(&producer, 1, 0).unwrap());
            let mut seen = Vec::new();
            wait(&bell, &mut drainer, Want::First);
            take(&mut drainer, &mut seen);
            assert_eq!(seen, [(1, 0)]);
            writer.join().unwrap();
        });
    }
}

#[test]
fn each_of_two_commits_wakes_an_idle_worker() {
    check(|| {
        let bell = Arc::new(Doorbell::new());
        let (producer, mut drainer) = Pipe::new(tiny(4, 0), Arc::clone(&bell));
        let other = producer.clone();
        let one = thread::spawn(move || put(&producer, 1, 0).unwrap());
        let two = thread::spawn(move || put(&other, 2, 0).unwrap());
        let mut seen = Vec::new();
        while seen.len() < 2 {
            wait(&bell, &mut drainer, Want::First);
            take(&mut drainer, &mut seen);
        }
        one.join().unwrap();
        two.join().unwrap();
    });
}

/// The worker does not want to hear of single commits; two sealed chunks are a batch.
#[test]
fn a_sealed_batch_wakes_a_dozing_worker() {
    check(|| {
        let bell = Arc::new(Doorbell::new());
        let mut config = tiny(12, 0);
        config.chunk_bytes = 4;
        config.wake_bytes = 8;
        let (producer, mut drainer) = Pipe::new(config, Arc::clone(&bell));
        let writer = thread::spawn(move || {
            for index in 0..5 {
                put(&producer, 1, index).unwrap();
            }
        });
        let mut runs = Vec::new();
        wait(&bell, &mut drainer, Want::Batch);
        drainer.take_sealed(usize::MAX, &mut runs);
        assert_eq!(runs.iter().map(|run| run.records).sum::<u32>(), 4);
        writer.join().unwrap();
    });
}

/// A producer that seals the last chunk and gets no other has to say so: what it sealed is what
/// the pool is waiting for.
#[test]
fn sealing_without_a_successor_wakes_an_idle_worker() {
    check(|| {
        let bell = Arc::new(Doorbell::new());
        let (producer, mut drainer) = Pipe::new(tiny(2, u32::MAX), Arc::clone(&bell));
        let mut seen = Vec::new();
        // Both chunks are written and all is taken, but the second one is not sealed yet.
        for index in 0..4 {
            put(&producer, 1, index).unwrap();
        }
        let mut runs = Vec::new();
        drainer.take_all(&mut runs);
        let writer = thread::spawn(move || {
            assert!(put(&producer, 1, 4).is_err());
            producer
        });
        wait(&bell, &mut drainer, Want::First);
        take(&mut drainer, &mut seen);
        drop(runs);
        drainer.reclaim();
        let producer = writer.join().unwrap();
        put(&producer, 1, 5).unwrap();
    });
}
