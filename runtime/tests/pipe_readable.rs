//! A drainer on a worker hears of what threads append, with nothing else to keep it awake.

#[path = "support/probe.rs"]
mod probe;

use std::thread;

use probe::runtime;
use spanwire_runtime::pipe::{Config, Drainer, Pipe, Refusal, Tag, Want};

const TAG: Tag = Tag::new(0, 0);

/// Takes until `records` have come out. Each wait may be a sleep that only a producer ends.
async fn drain(mut drainer: Drainer, want: Want, records: u64) -> u64 {
    let (mut runs, mut taken) = (Vec::new(), 0);
    while taken < records {
        drainer.readable(want).await;
        match want {
            Want::Batch => drainer.take_sealed(usize::MAX, &mut runs),
            _ => drainer.take_all(&mut runs),
        }
        taken += runs.drain(..).map(|run| u64::from(run.records)).sum::<u64>();
    }
    taken
}

#[test]
fn every_first_commit_is_heard() {
    let runtime = runtime();
    let (pipe, drainer) = Pipe::new(Config::default(), runtime.doorbell());
    let task = runtime.spawn_pinned(move || drain(drainer, Want::First, 4 * 500));
    let producers: Vec<_> = (0..4)
        .map(|_| {
            let pipe = pipe.clone();
            thread::spawn(move || {
                for _ in 0..500 {
                    pipe.append(TAG, |cursor| cursor.put_u8(1)).unwrap();
                    thread::yield_now();
                }
            })
        })
        .collect();
    assert_eq!(runtime.block_on(task).unwrap(), 2000);
    producers.into_iter().for_each(|producer| producer.join().unwrap());
}

/// The pool is smaller than what goes through it, and the worker only hears of batches: if a
/// seal did not ring, or a chunk did not come back, this would not end.
#[test]
fn batches_alone_keep_a_small_pool_going() {
    let runtime = runtime();
    let mut config = Config::default();
    config.chunk_bytes = 4096;
    config.chunks = 8;
    let (pipe, drainer) = Pipe::new(config, runtime.doorbell());
    let task = runtime.spawn_pinned(move || drain(drainer, Want::Batch, 10_000));
    let producer = thread::spawn(move || {
        // More than the drainer waits for, because the last chunk is never sealed.
        let mut accepted = 0;
        while accepted < 10_100 {
            match pipe.append(TAG, |cursor| cursor.put_slice(&[7; 500])) {
                Ok(()) => accepted += 1,
                Err(Refusal::Full) => thread::yield_now(),
                Err(Refusal::Closed) => break,
                Err(other) => panic!("{other:?}"),
            }
        }
    });
    assert!(runtime.block_on(task).unwrap() >= 10_000);
    producer.join().unwrap();
}
