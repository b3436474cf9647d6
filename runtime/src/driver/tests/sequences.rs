//! Sequences of what futures and a kernel may do, in any order.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use proptest::prelude::*;

use super::{Count, Owner, fake};
use crate::driver::fake::number;
use crate::driver::op::Op;
use crate::driver::slots::{Key, REPEATS_MAX};
use crate::driver::{Driver, InFlight};

/// One step of a sequence of futures.
#[derive(Clone, Debug)]
enum Move {
    Send(u8),
    Recv(usize),
    Poll(usize),
    Drop(usize),
    End(usize, i32),
    Interrupt(usize),
    Again(usize),
    Turn,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        2 => any::<u8>().prop_map(Move::Send),
        2 => (1..50_usize).prop_map(Move::Recv),
        4 => any::<usize>().prop_map(Move::Poll),
        1 => any::<usize>().prop_map(Move::Drop),
        4 => (any::<usize>(), -3..60).prop_map(|(at, result)| Move::End(at, result)),
        2 => any::<usize>().prop_map(Move::Interrupt),
        1 => any::<usize>().prop_map(Move::Again),
        3 => Just(Move::Turn),
    ];
    prop::collection::vec(one, 0..200)
}

/// A future, and what the test knows of it.
struct Tested {
    future: InFlight,
    key: Key,
    /// What was lent to be sent: the owner of the bytes is alive as long as this is not unique.
    lent: Option<Arc<Vec<u8>>>,
    /// How often it was started again.
    repeats: u8,
    waker: Arc<Count>,
    /// How often its waker had been called when it began to wait.
    waits_since: Option<usize>,
}

proptest! {
    #[test]
    fn each_future_resolves_once_and_the_kernel_always_has_its_memory(moves in moves()) {
        let (driver, kernel, socket) = fake();
        let mut futures: Vec<Tested> = Vec::new();
        // All the memory that is lent, with the key of the operation.
        let mut lent: Vec<(Key, Arc<Vec<u8>>)> = Vec::new();
        let mut reported: Vec<(Key, i32)> = Vec::new();
        let mut stale = 0;
        for next in moves {
            match next {
                Move::Send(byte) => {
                    let bytes = Arc::new(vec![byte; usize::from(byte)]);
                    let bufs = vec![Bytes::from_owner(Owner(Arc::clone(&bytes))), Bytes::new()];
                    let new = start(&driver, Op::send(socket.lease(), bufs), Some(bytes.clone()));
                    lent.push((new.key, bytes));
                    futures.push(new);
                }
                Move::Recv(room) => {
                    let op = Op::recv(socket.lease(), Vec::with_capacity(room));
                    futures.push(start(&driver, op, None));
                }
                Move::Poll(at) if !futures.is_empty() => {
                    let at = at % futures.len();
                    if let Some(result) = poll(&mut futures[at]) {
                        let ended = futures.swap_remove(at);
                        let position = reported.iter().position(|(key, _)| *key == ended.key);
                        prop_assert_eq!(reported.swap_remove(position.unwrap()).1, result);
                    }
                }
                Move::Drop(at) if !futures.is_empty() => {
                    let dropped = futures.swap_remove(at % futures.len());
                    let key = dropped.key;
                    let was_held = kernel.borrow().held.iter().any(|held| held.key == key);
                    drop(dropped);
                    let was_cancelled = kernel.borrow().cancelled.contains(&key);
                    prop_assert!(was_cancelled || !was_held);
                    reported.retain(|(other, _)| *other != key);
                }
                Move::End(at, result) if !kernel.borrow().held.is_empty() => {
                    let mut kernel = kernel.borrow_mut();
                    let at = at % kernel.held.len();
                    let end = kernel.end(at, result);
                    if futures.iter().any(|future| future.key == end.0) {
                        reported.push(end);
                    }
                }
                Move::Interrupt(at) if !kernel.borrow().held.is_empty() => {
                    driver.turn();
                    let end = {
                        let mut kernel = kernel.borrow_mut();
                        let at = at % kernel.held.len();
                        kernel.end(at, -libc::ECANCELED)
                    };
                    driver.turn();
                    let goes_on = kernel.borrow().held.iter().any(|held| held.key == end.0);
                    match futures.iter_mut().find(|future| future.key == end.0) {
                        None => prop_assert!(!goes_on, "nobody waits for it"),
                        Some(future) if goes_on => future.repeats += 1,
                        Some(future) => {
                            let is_receive = future.lent.is_none();
                            prop_assert!(!is_receive || future.repeats == REPEATS_MAX);
                            reported.push(end);
                        }
                    }
                }
                Move::Again(at) => {
                    // A completion that is none: its operation has ended before.
                    driver.turn();
                    let old = Key::from_bits(at as u64 | 1 << 60);
                    kernel.borrow_mut().report(old, 7);
                    stale += 1;
                }
                Move::Turn => driver.turn(),
                Move::Poll(_) | Move::Drop(_) | Move::End(..) | Move::Interrupt(_) => {}
            }
            for held in &kernel.borrow().held {
                let memory = lent.iter().find(|(key, _)| *key == held.key);
                prop_assert!(memory.is_none_or(|(_, bytes)| Arc::strong_count(bytes) > 1));
            }
        }
        driver.turn();
        prop_assert_eq!(driver.counts().stale, stale);
        let repeats: u64 = futures.iter().map(|future| u64::from(future.repeats)).sum();
        prop_assert!(driver.counts().repeated >= repeats);
        // Whatever is left ends, and then nothing is held by anybody.
        driver.0.cancel_all();
        while !kernel.borrow().held.is_empty() {
            kernel.borrow_mut().end(0, -libc::ECANCELED);
        }
        driver.turn();
        prop_assert_eq!(driver.in_flight(), 0);
        for future in &futures {
            let is_woken = |since| future.waker.get() == since + 1;
            prop_assert!(future.waits_since.is_none_or(is_woken), "woken, and once");
        }
        futures.clear();
        prop_assert!(lent.iter().all(|(_, bytes)| Arc::strong_count(bytes) == 1));
        prop_assert_eq!(Rc::strong_count(&socket), 1);
    }
}

fn start(driver: &Driver, op: Op, lent: Option<Arc<Vec<u8>>>) -> Tested {
    let future = driver.0.start(op);
    let InFlight::Started(_, Some(key)) = future else { panic!("it has not been polled") };
    // The copy in `Tested` would keep the memory alive; only its length is of interest.
    let lent = lent.map(|bytes| Arc::new(bytes.to_vec()));
    Tested { future, key, lent, repeats: 0, waker: Arc::default(), waits_since: None }
}

/// Polls; checks what comes back against what was lent; returns the result.
fn poll(tested: &mut Tested) -> Option<i32> {
    let waker = Waker::from(Arc::clone(&tested.waker));
    let polled = Pin::new(&mut tested.future).poll(&mut Context::from_waker(&waker));
    let Poll::Ready((op, result)) = polled else {
        tested.waits_since = Some(tested.waker.get());
        return None;
    };
    match &tested.lent {
        Some(lent) => assert_eq!(op.into_bufs().concat(), **lent),
        None => {
            let buf = op.into_buf(&result);
            assert_eq!(buf.len(), *result.as_ref().unwrap_or(&0));
            let first = usize::from(buf.first().copied().unwrap_or(0));
            assert!(buf.iter().enumerate().all(|(at, &byte)| byte == number(first + at)));
        }
    }
    let errno = |error: io::Error| -error.raw_os_error().unwrap();
    Some(result.map_or_else(errno, |count| i32::try_from(count).unwrap()))
}
