//! Random programs against a model: each accepted record comes out exactly once, intact, in the
//! order of its thread, in a run with its tag; and every counter agrees with the test's own.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread::{self, JoinHandle};

use proptest::prelude::*;
use spanwire_runtime::Doorbell;
use spanwire_runtime::pipe::{Config, Counters, Drainer, Pipe, Refusal, Run, Tag, WhenFull};

const CHUNK: usize = 4096;
/// The longest record; those that are longer than a chunk take memory of their own.
const LONGEST: usize = 5 * CHUNK / 2;
/// Threads of a program at a time.
const THREADS: usize = 3;
/// Bytes in front of a record: its length, who wrote it, and its number.
const HEAD: usize = 9;

#[derive(Clone, Debug)]
enum Op {
    /// Thread `who` appends records of these lengths, one after the other.
    Append {
        who: usize,
        scope: u32,
        lengths: Vec<usize>,
    },
    /// Thread `who` ends; if it is needed again, another one gets its place.
    Exit {
        who: usize,
    },
    TakeAll,
    TakeSealed {
        bytes_max: usize,
    },
    /// Drops the oldest of the runs that are held.
    Drop {
        runs: usize,
    },
    Close,
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        8 => HEAD..600,
        2 => (CHUNK - 2)..=(CHUNK + 2),
        1 => CHUNK..3 * CHUNK,
        1 => (LONGEST - 2)..=(LONGEST + 2),
        1 => (CHUNK / 2 - 2)..=(CHUNK / 2 + 2),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let lengths = prop::collection::vec(length(), 1..12);
    prop_oneof![
        10 => (0..THREADS, 0_u32..3, lengths)
            .prop_map(|(who, scope, lengths)| Op::Append { who, scope, lengths }),
        2 => (0..THREADS).prop_map(|who| Op::Exit { who }),
        2 => Just(Op::TakeAll),
        2 => (0_usize..5 * CHUNK).prop_map(|bytes_max| Op::TakeSealed { bytes_max }),
        4 => (0_usize..20).prop_map(|runs| Op::Drop { runs }),
        1 => prop::bool::weighted(0.1).prop_map(|close| if close { Op::Close } else { Op::TakeAll }),
    ]
}

/// A record of `length` bytes that says who wrote it; its filling depends on its number.
fn record(who: u8, number: u32, length: usize) -> Vec<u8> {
    let mut bytes = vec![number as u8 ^ who; length];
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    bytes[4] = who;
    bytes[5..HEAD].copy_from_slice(&number.to_le_bytes());
    bytes
}

/// One thread that does what it is told, so that a program decides the order of everything.
struct Hand {
    /// Of this thread, not of its place: order is promised for a thread, not for a successor.
    who: u8,
    orders: Sender<(Tag, Vec<u8>)>,
    outcomes: Receiver<Result<(), Refusal>>,
    thread: JoinHandle<()>,
}

impl Hand {
    fn new(who: u8, pipe: Pipe) -> Self {
        let (orders, todo) = channel::<(Tag, Vec<u8>)>();
        let (done, outcomes) = channel();
        let thread = thread::spawn(move || {
            for (tag, record) in todo {
                done.send(pipe.append(tag, |cursor| cursor.put_slice(&record))).unwrap();
            }
        });
        Self { who, orders, outcomes, thread }
    }

    fn append(&self, tag: Tag, record: Vec<u8>) -> Result<(), Refusal> {
        self.orders.send((tag, record)).unwrap();
        self.outcomes.recv().unwrap()
    }

    /// Returns once the thread's destructors have run.
    fn end(self) {
        drop(self.orders);
        self.thread.join().unwrap();
    }
}

/// A run on its way, and what it held when it was taken.
struct Held {
    run: Run,
    copy: Vec<u8>,
}

impl Held {
    fn new(run: Run) -> Self {
        Self { copy: run.bytes.to_vec(), run }
    }

    fn end(self) {
        assert_eq!(self.run.bytes, self.copy, "nobody wrote over a run that was held");
    }
}

/// What the test itself knows.
#[derive(Default)]
struct Oracle {
    /// For each thread, what it got in, in order: tag and record.
    accepted: HashMap<u8, Vec<(Tag, Vec<u8>)>>,
    /// For each thread, how many of those came out or will never.
    out: HashMap<u8, usize>,
    /// Whether a record that was accepted may be missing.
    may_evict: bool,
    counters: Counters,
}

impl Oracle {
    fn appended(&mut self, who: u8, tag: Tag, record: Vec<u8>, outcome: Result<(), Refusal>) {
        let counters = &mut self.counters;
        counters.offered += 1;
        match outcome {
            Ok(()) => {
                counters.accepted += 1;
                self.accepted.entry(who).or_default().push((tag, record));
            }
            Err(Refusal::Full) => counters.full += 1,
            Err(Refusal::Oversize) => counters.oversize += 1,
            Err(Refusal::Closed) => counters.closed += 1,
            Err(other) => panic!("{other:?} is out of the question"),
        }
    }

    fn came_out(&mut self, run: &Run) {
        let (mut rest, mut records) = (&run.bytes[..], 0);
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
            let (record, after) = rest.split_at(length);
            let next = self.out.entry(record[4]).or_default();
            let accepted = &self.accepted[&record[4]];
            while self.may_evict && accepted[*next].1 != record {
                // Order is kept by those that are left.
                self.counters.evicted += 1;
                *next += 1;
            }
            let expected = &accepted[*next];
            assert_eq!((expected.0, &expected.1[..]), (run.tag, record));
            *next += 1;
            records += 1;
            rest = after;
        }
        assert_eq!(run.records, records);
        self.counters.taken += u64::from(records);
    }

    /// Nothing more comes out.
    fn end(&mut self) {
        for (who, accepted) in &self.accepted {
            let left = accepted.len() - self.out.get(who).copied().unwrap_or(0);
            assert!(self.may_evict || left == 0, "everything accepted came out");
            self.counters.evicted += left as u64;
        }
    }
}

fn run_program(config: Config, ops: Vec<Op>) {
    let (pipe, mut drainer) = Pipe::new(config, Arc::new(Doorbell::new()));
    let mut hands: [Option<Hand>; THREADS] = Default::default();
    let may_evict = config.when_full == WhenFull::DropOldest;
    let (mut oracle, mut held) = (Oracle { may_evict, ..Oracle::default() }, Vec::new());
    let (mut number, mut threads) = (0, 0);
    for op in ops {
        let mut runs = Vec::new();
        match op {
            Op::Append { who, scope, lengths } => {
                let hand = hands[who].get_or_insert_with(|| {
                    threads += 1;
                    Hand::new(threads, pipe.clone())
                });
                let who = hand.who;
                for length in lengths {
                    number += 1;
                    let (tag, record) = (Tag::new(7, scope), record(who, number, length));
                    let outcome = hand.append(tag, record.clone());
                    let fits = length <= LONGEST;
                    assert!(fits || outcome != Ok(()), "{length} bytes do not fit");
                    assert!(!fits || outcome != Err(Refusal::Oversize), "{length} bytes fit");
                    oracle.appended(who, tag, record, outcome);
                }
            }
            Op::Exit { who } => hands[who].take().into_iter().for_each(Hand::end),
            Op::TakeAll => drainer.take_all(&mut runs),
            Op::TakeSealed { bytes_max } => drainer.take_sealed(bytes_max, &mut runs),
            Op::Drop { runs } => {
                held.drain(..runs.min(held.len())).for_each(Held::end);
                drainer.reclaim();
            }
            Op::Close => pipe.close(),
        }
        runs.iter().for_each(|run| oracle.came_out(run));
        held.extend(runs.into_iter().map(Held::new));
    }
    finish(&pipe, &mut drainer, &mut oracle, hands, held);
}

fn finish(
    pipe: &Pipe,
    drainer: &mut Drainer,
    oracle: &mut Oracle,
    hands: [Option<Hand>; THREADS],
    held: Vec<Held>,
) {
    hands.into_iter().flatten().for_each(Hand::end);
    let mut last = Vec::new();
    drainer.take_all(&mut last);
    last.iter().for_each(|run| oracle.came_out(run));
    oracle.end();
    assert_eq!(pipe.counters(), oracle.counters);
    assert_eq!(pipe.counters().left_behind(), 0, "everything accepted came out");
    held.into_iter().for_each(Held::end);
    drop(last);
    drainer.reclaim();
    assert_all_free(pipe, drainer);
    assert_large_room(pipe, drainer);
}

/// Nothing was lost on the way: the pool is as large as in the beginning, less what is live. If
/// all of it is live, the refusal seals a chunk, and the next record finds that one.
fn assert_all_free(pipe: &Pipe, drainer: &mut Drainer) {
    let append = || pipe.append(Tag::new(0, 0), |cursor| cursor.put_u8(1));
    if append() == Err(Refusal::Full) {
        drainer.take_all(&mut Vec::new());
        drainer.reclaim();
        assert_ne!(append(), Err(Refusal::Full));
    }
}

/// All the room that long records had is theirs again.
fn assert_large_room(pipe: &Pipe, drainer: &mut Drainer) {
    drainer.take_all(&mut Vec::new());
    let append = || pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(&[1; LONGEST]));
    // The trial in a chunk may find none; see above.
    if append() == Err(Refusal::Full) {
        drainer.take_all(&mut Vec::new());
        drainer.reclaim();
        assert_ne!(append(), Err(Refusal::Full));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn what_went_in_comes_out_once_in_order_and_counted(
        chunks in 2_usize..10,
        promote_after in 0_u32..4,
        large_bytes in LONGEST..4 * LONGEST,
        when_full in prop_oneof![Just(WhenFull::DropNewest), Just(WhenFull::DropOldest)],
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let mut config = Config::default();
        config.chunk_bytes = CHUNK;
        config.chunks = chunks;
        config.promote_after = promote_after;
        config.record_bytes_max = LONGEST;
        config.large_bytes = large_bytes;
        config.when_full = when_full;
        run_program(config, ops);
    }
}

/// 64 threads come and go while the drainer takes; nobody decides the order but the machine.
#[test]
fn sixty_four_threads_that_come_and_go_lose_nothing() {
    const EACH: u32 = 200;
    let mut config = Config::default();
    config.chunk_bytes = CHUNK;
    config.chunks = 512;
    let (pipe, mut drainer) = Pipe::new(config, Arc::new(Doorbell::new()));
    let start = Arc::new(Barrier::new(8));
    // Eight at a time, each followed by seven others.
    let lanes: Vec<_> = (0..8_u8)
        .map(|lane| {
            let (pipe, start) = (pipe.clone(), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                (0..8).for_each(|turn| one_thread(pipe.clone(), lane * 8 + turn, EACH));
            })
        })
        .collect();
    let mut last = HashMap::new();
    while lanes.iter().any(|lane| !lane.is_finished()) {
        check_order(&mut drainer, &mut last);
    }
    lanes.into_iter().for_each(|lane| lane.join().unwrap());
    check_order(&mut drainer, &mut last);
    assert_eq!(last.len(), 64);
    assert!(last.values().all(|&number| number == EACH), "{last:?}");
    let counters = pipe.counters();
    assert_eq!(counters.accepted, 64 * u64::from(EACH));
    assert_eq!(counters.taken, counters.accepted);
}

fn one_thread(pipe: Pipe, who: u8, records: u32) {
    let thread = thread::spawn(move || {
        for number in 1..=records {
            let record = record(who, number, HEAD + number as usize % 50);
            // A full pool is the drainer's turn.
            while pipe.append(Tag::new(0, who.into()), |cursor| cursor.put_slice(&record)) != Ok(())
            {
                thread::yield_now();
            }
        }
    });
    thread.join().unwrap();
}

fn check_order(drainer: &mut Drainer, last: &mut HashMap<u8, u32>) {
    let mut runs = Vec::new();
    drainer.take_all(&mut runs);
    for run in &runs {
        let mut rest = &run.bytes[..];
        while !rest.is_empty() {
            let length = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
            let number = u32::from_le_bytes(rest[5..HEAD].try_into().unwrap());
            assert_eq!(rest[..length], record(rest[4], number, length));
            assert_eq!(run.tag.scope, u32::from(rest[4]));
            let before = last.insert(rest[4], number).unwrap_or(0);
            assert_eq!(number, before + 1, "thread {}", rest[4]);
            rest = &rest[length..];
        }
    }
    drop(runs);
    drainer.reclaim();
}
