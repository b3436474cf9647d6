//! The queue that all workers share: what goes in comes out once, also when it is closed.
#![cfg(loom)]

use std::iter;

use loom::sync::Arc;
use loom::thread;

use spanwire_runtime::sync::deque::Local;
use spanwire_runtime::sync::injector::Injector;

#[test]
fn two_workers_take_different_shares() {
    loom::model(|| {
        let injector = Arc::new(Injector::new());
        injector.push_many(1..=3).unwrap();
        let other = worker(&injector);
        let mine = take_all(&injector);
        complete(3, [mine, other.join().unwrap(), rest(&injector)]);
    });
}

#[test]
fn nothing_is_lost_between_pushes_and_takes() {
    loom::model(|| {
        let injector = Arc::new(Injector::new());
        let taker = worker(&injector);
        let pusher = {
            let injector = Arc::clone(&injector);
            thread::spawn(move || injector.push(1).unwrap())
        };
        injector.push_many([2, 3]).unwrap();
        pusher.join().unwrap();
        complete(3, [taker.join().unwrap(), rest(&injector), Vec::new()]);
    });
}

/// Whatever comes too late is given back, and what came in time is returned by the close or was
/// taken before. Nothing is left in the queue.
#[test]
fn a_push_against_a_close_is_refused_or_returned() {
    loom::model(|| {
        let injector = Arc::new(Injector::new());
        let taker = worker(&injector);
        let pusher = {
            let injector = Arc::clone(&injector);
            thread::spawn(move || {
                let first = injector.push(1).err();
                let others = injector.push_many([2, 3]).err();
                assert!(first.is_none() || others.is_some(), "open again");
                Vec::from_iter(first.into_iter().chain(others.into_iter().flatten()))
            })
        };
        let returned = Vec::from(injector.close());
        let refused = pusher.join().unwrap();
        let taken = taker.join().unwrap();
        assert_eq!(injector.len(), 0);
        complete(3, [returned, refused, taken]);
    });
}

fn worker(injector: &Arc<Injector<u32>>) -> thread::JoinHandle<Vec<u32>> {
    let injector = Arc::clone(injector);
    thread::spawn(move || take_all(&injector))
}

/// One share, as one of two workers.
fn take_all(injector: &Injector<u32>) -> Vec<u32> {
    let own = Local::new();
    let first = injector.take_into(&own, 2);
    first.into_iter().chain(iter::from_fn(|| own.pop())).collect()
}

/// What is left once nobody else is there: the count is exact again.
fn rest(injector: &Injector<u32>) -> Vec<u32> {
    let len = injector.len();
    let rest: Vec<_> = iter::from_fn(|| injector.pop()).collect();
    assert_eq!(rest.len(), len);
    rest
}

/// All of them together have everything once, and each has it in order.
fn complete(items: u32, parties: [Vec<u32>; 3]) {
    let mut all = parties.concat();
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(1..=items));
}
