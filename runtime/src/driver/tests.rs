//! What the slots promise, whatever the kernel and the futures do in whatever order.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::fake::{Fake, Kernel, number};
use super::op::Op;
use super::slots::{Abandoned, Effect, Key, SLOTS_MAX, Slots};
use super::socket::Socket;
use super::{Choice, Driver, InFlight, Kind};

/// Counts its wake-ups. How often a waker is called is not ordered against anything.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// An operation that says which of its kind are alive.
struct Tracked(u32, Rc<RefCell<BTreeSet<u32>>>);

impl Drop for Tracked {
    fn drop(&mut self) {
        assert!(self.1.borrow_mut().remove(&self.0), "dropped once");
    }
}

/// One step of a sequence; numbers pick one of what there is.
#[derive(Clone, Debug)]
enum Step {
    Insert,
    Wait(usize),
    Take(usize),
    Abandon(usize),
    Complete(usize, i32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Insert),
        2 => any::<usize>().prop_map(Step::Wait),
        2 => any::<usize>().prop_map(Step::Take),
        1 => any::<usize>().prop_map(Step::Abandon),
        3 => (any::<usize>(), -5..5).prop_map(|(at, result)| Step::Complete(at, result)),
    ];
    prop::collection::vec(step, 0..200)
}

/// What the naive model knows of one operation.
struct Modelled {
    key: Key,
    is_held: bool,
    is_abandoned: bool,
    /// The result, until it was fetched.
    result: Option<i32>,
    waker: Option<Arc<Count>>,
}

#[derive(Default)]
struct Model {
    ops: Vec<Modelled>,
    stale: u64,
    orphaned: u64,
}

proptest! {
    #[test]
    fn slots_do_what_a_naive_model_does(steps in steps()) {
        let alive = Rc::new(RefCell::new(BTreeSet::new()));
        let mut slots = Slots::new();
        let mut model = Model::default();
        for step in steps {
            perform(&mut slots, &mut model, &alive, step);
            let counts = slots.tally().read();
            prop_assert_eq!(counts.started, model.ops.len() as u64);
            prop_assert_eq!((counts.stale, counts.orphaned), (model.stale, model.orphaned));
            let held: BTreeSet<u32> = numbers(&model, |op| op.is_held);
            prop_assert_eq!(slots.in_flight(), held.len());
            let due = numbers(&model, |op| op.is_held || op.result.is_some());
            prop_assert_eq!(&*alive.borrow(), &due, "nothing lives longer, nothing less long");
        }
    }
}

fn numbers(model: &Model, filter: impl Fn(&Modelled) -> bool) -> BTreeSet<u32> {
    (0..).zip(&model.ops).filter(|(_, op)| filter(op)).map(|(number, _)| number).collect()
}

fn perform(
    slots: &mut Slots<Tracked>,
    model: &mut Model,
    alive: &Rc<RefCell<BTreeSet<u32>>>,
    step: Step,
) {
    let Step::Insert = step else { return act(slots, model, step) };
    let number = u32::try_from(model.ops.len()).unwrap();
    alive.borrow_mut().insert(number);
    let Ok(key) = slots.insert(Box::new(Tracked(number, Rc::clone(alive)))) else {
        panic!("there is room");
    };
    assert!(model.ops.iter().all(|op| op.key != key), "a key is never used twice");
    let new = Modelled { key, is_held: true, is_abandoned: false, result: None, waker: None };
    model.ops.push(new);
}

fn act(slots: &mut Slots<Tracked>, model: &mut Model, step: Step) {
    let count = model.ops.len();
    let (Step::Wait(at) | Step::Take(at) | Step::Abandon(at) | Step::Complete(at, _)) = step else {
        return;
    };
    let Some(at) = at.checked_rem(count) else { return };
    let op = &mut model.ops[at];
    match step {
        Step::Wait(_) if op.is_held && !op.is_abandoned => {
            let count = Arc::new(Count::default());
            let old = slots.wait(op.key, Waker::from(Arc::clone(&count)));
            assert_eq!(old.is_some(), op.waker.is_some());
            op.waker = Some(count);
        }
        Step::Take(_) if !op.is_abandoned => {
            let taken = slots.take(op.key).map(|(_, result)| result);
            assert_eq!(taken, op.result.take());
        }
        Step::Abandon(_) => {
            match slots.abandon(op.key) {
                Abandoned::InFlight(waker) => {
                    assert!(op.is_held && !op.is_abandoned);
                    assert_eq!(waker.is_some(), op.waker.is_some());
                    model.orphaned += 1;
                }
                Abandoned::Ended(_, result) => assert_eq!(op.result.take(), Some(result)),
                Abandoned::Unknown => {
                    assert!(op.is_abandoned || !op.is_held && op.result.is_none());
                }
            }
            op.is_abandoned = true;
        }
        Step::Complete(_, result) => {
            slots.complete(op.key, result);
            complete(slots, op, result, &mut model.stale);
        }
        _ => {}
    }
    assert!(slots.next_effect().is_none());
}

fn complete(slots: &mut Slots<Tracked>, op: &mut Modelled, result: i32, stale: &mut u64) {
    if !op.is_held {
        *stale += 1;
        return;
    }
    op.is_held = false;
    match slots.next_effect() {
        Some(Effect::Leftover(_, left)) => assert!(op.is_abandoned && left == result),
        Some(Effect::Wake(waker)) => {
            waker.wake();
            assert_eq!(op.waker.as_ref().map(|count| count.get()), Some(1));
            op.result = Some(result);
        }
        None => {
            assert!(op.waker.is_none() && !op.is_abandoned);
            op.result = Some(result);
        }
    }
}

/// A driver whose kernel is in the test's hands.
fn fake() -> (Driver, Kernel, Rc<Socket>) {
    let kernel = Kernel::default();
    let driver = Driver::new(Box::new(Fake(Rc::clone(&kernel))), Kind::Epoll);
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 1)).into();
    let socket = driver.0.socket(&addr).unwrap();
    (driver, kernel, socket)
}

/// One step of a sequence of futures.
#[derive(Clone, Debug)]
enum Move {
    Send(u8),
    Recv(usize),
    Poll(usize),
    Drop(usize),
    End(usize, i32),
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
    waker: Arc<Count>,
}

struct Owner(Arc<Vec<u8>>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
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
                Move::Again(at) => {
                    // A completion that is none: its operation has ended before.
                    driver.turn();
                    let old = Key::from_bits(at as u64 | 1 << 60);
                    kernel.borrow_mut().report(old, 7);
                    stale += 1;
                }
                Move::Turn => driver.turn(),
                Move::Poll(_) | Move::Drop(_) | Move::End(..) => {}
            }
            for held in &kernel.borrow().held {
                let memory = lent.iter().find(|(key, _)| *key == held.key);
                prop_assert!(memory.is_none_or(|(_, bytes)| Arc::strong_count(bytes) > 1));
            }
        }
        driver.turn();
        prop_assert_eq!(driver.0.core.borrow().slots.tally().read().stale, stale);
        // Whatever is left ends, and then nothing is held by anybody.
        while !kernel.borrow().held.is_empty() {
            kernel.borrow_mut().end(0, -libc::ECANCELED);
        }
        driver.turn();
        prop_assert_eq!(driver.in_flight(), 0);
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
    Tested { future, key, lent, waker: Arc::default() }
}

/// Polls; checks what comes back against what was lent; returns the result.
fn poll(tested: &mut Tested) -> Option<i32> {
    let waker = Waker::from(Arc::clone(&tested.waker));
    let polled = Pin::new(&mut tested.future).poll(&mut Context::from_waker(&waker));
    let Poll::Ready((op, result)) = polled else { return None };
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

#[test]
fn what_an_orphaned_receive_took_comes_first() {
    let (driver, kernel, socket) = fake();
    for _ in 0..2 {
        drop(driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8))));
    }
    let mut settled = Box::pin(socket.receives_settled());
    let mut context = Context::from_waker(Waker::noop());
    assert!(settled.as_mut().poll(&mut context).is_pending());
    kernel.borrow_mut().end(0, 5);
    kernel.borrow_mut().end(0, -libc::ECANCELED);
    driver.turn();
    assert!(settled.as_mut().poll(&mut context).is_ready());
    let mut buf = Vec::with_capacity(3);
    buf.push(9);
    let room = buf.capacity() - 1;
    assert_eq!(socket.claim(&mut buf).unwrap().unwrap(), room.min(5));
    assert_eq!(buf, [&[9], &[0, 1, 2, 3, 4][..room.min(5)]].concat());
}

#[test]
fn an_error_that_an_orphan_met_is_not_lost() {
    let (driver, kernel, socket) = fake();
    drop(driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8))));
    kernel.borrow_mut().end(0, -libc::ECONNRESET);
    driver.turn();
    assert!(!socket.is_untouched());
    let error = socket.claim(&mut Vec::with_capacity(1)).unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
    assert!(socket.claim(&mut Vec::with_capacity(1)).is_none());
}

#[test]
fn a_kernel_that_never_ends_an_operation_gets_its_memory_for_good() {
    let (driver, kernel, socket) = fake();
    let bytes = Arc::new(vec![1; 100]);
    let bufs = vec![Bytes::from_owner(Owner(Arc::clone(&bytes)))];
    drop(driver.0.start(Op::send(socket.lease(), bufs)));
    assert_eq!(driver.shutdown(Duration::ZERO), 1);
    drop(driver);
    assert_eq!(Arc::strong_count(&bytes), 2);
    // Even now the kernel may read it.
    assert_eq!(kernel.borrow_mut().end(0, 100).1, 100);
    assert_eq!(kernel.borrow().sent, *bytes);
}

#[test]
fn a_driver_that_breaks_ends_its_worker_and_frees_nothing() {
    let (driver, kernel, socket) = fake();
    let bytes = Arc::new(vec![1; 100]);
    let bufs = vec![Bytes::from_owner(Owner(Arc::clone(&bytes)))];
    let send = driver.0.start(Op::send(socket.lease(), bufs));
    kernel.borrow_mut().is_broken = true;
    let panic = catch_unwind(AssertUnwindSafe(|| driver.park(None))).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("unusable"), "{text}");
    catch_unwind(AssertUnwindSafe(|| driver.turn())).unwrap_err();
    drop(send);
    // Without a limit, and all the same it waits for nothing.
    assert_eq!(driver.shutdown(Duration::MAX), 1);
    drop(driver);
    assert_eq!(Arc::strong_count(&bytes), 2, "even now the kernel may read it");
}

#[test]
fn an_unwinding_shutdown_frees_nothing() {
    let (driver, _kernel, socket) = fake();
    let bytes = Arc::new(vec![1; 100]);
    let bufs = vec![Bytes::from_owner(Owner(Arc::clone(&bytes)))];
    drop(driver.0.start(Op::send(socket.lease(), bufs)));
    // What is left of a shutdown that has panicked half-way.
    driver.0.is_shut_down.set(true);
    drop(driver);
    assert_eq!(Arc::strong_count(&bytes), 2);
}

/// Runs its closure whenever a waker with it is cloned.
struct OnClone(Box<dyn Fn()>);

impl OnClone {
    /// # Safety
    ///
    /// The waker is gone before `self` is.
    unsafe fn waker(&self) -> Waker {
        fn raw(data: *const ()) -> RawWaker {
            RawWaker::new(data, &VTABLE)
        }
        unsafe fn clone(data: *const ()) -> RawWaker {
            // SAFETY: the promise of `waker`.
            unsafe { (*data.cast::<OnClone>()).0() };
            raw(data)
        }
        static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, |_| (), |_| (), |_| ());
        // SAFETY: nothing but `clone` looks at the data, which lives by the promise above; the
        // test has one thread.
        unsafe { Waker::from_raw(raw((&raw const *self).cast())) }
    }
}

#[test]
fn an_operation_that_ends_while_its_waker_is_cloned_is_ready() {
    let (driver, kernel, socket) = fake();
    let mut receive = driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8)));
    kernel.borrow_mut().end(0, 3);
    let shared = Rc::clone(&driver.0);
    let ends = OnClone(Box::new(move || {
        shared.with_core(|slots, backend| {
            let _ = backend.turn(slots);
        })
    }));
    let polled = {
        // SAFETY: the waker is dropped at the end of this block.
        let waker = unsafe { ends.waker() };
        Pin::new(&mut receive).poll(&mut Context::from_waker(&waker))
    };
    assert!(polled.is_ready(), "nobody would wake it");
}

#[test]
fn a_task_that_polls_often_waits_for_a_socket_once() {
    let (driver, kernel, socket) = fake();
    drop(driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8))));
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut settled = Box::pin(socket.receives_settled());
    for _ in 0..3 {
        assert!(settled.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    kernel.borrow_mut().end(0, -libc::ECANCELED);
    driver.turn();
    assert_eq!(count.get(), 1);
    assert!(settled.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn a_close_is_never_cancelled() {
    let (driver, kernel, _) = fake();
    let (ours, mut peer) = UnixStream::pair().unwrap();
    peer.set_nonblocking(true).unwrap();
    drop(driver.0.start(Op::close(ours.into())));
    assert_eq!(kernel.borrow().cancelled.len(), 0);
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    // If the kernel has not done it all the same, it is done now.
    kernel.borrow_mut().end(0, -libc::ECANCELED);
    driver.turn();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn a_waker_that_panics_takes_nobody_with_it() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("on purpose");
        }
    }
    let (driver, kernel, socket) = fake();
    let mut first = driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8)));
    let mut second = driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8)));
    let (bomb, count) = (Waker::from(Arc::new(Bomb)), Arc::new(Count::default()));
    assert!(Pin::new(&mut first).poll(&mut Context::from_waker(&bomb)).is_pending());
    let waker = Waker::from(Arc::clone(&count));
    assert!(Pin::new(&mut second).poll(&mut Context::from_waker(&waker)).is_pending());
    kernel.borrow_mut().end(0, 1);
    kernel.borrow_mut().end(0, 1);
    driver.turn();
    assert_eq!(count.get(), 1);
    for future in [first, second] {
        drop(future);
    }
}

#[test]
fn a_full_table_refuses_and_recovers() {
    let (driver, kernel, socket) = fake();
    let receive = || driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(1)));
    let mut context = Context::from_waker(Waker::noop());
    let mut receives: Vec<_> = (0..SLOTS_MAX).map(|_| receive()).collect();
    let Poll::Ready((op, Err(error))) = Pin::new(&mut receive()).poll(&mut context) else {
        panic!("there is no room");
    };
    assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
    assert_eq!(op.into_buf(&Err(error)).capacity(), 1, "the buffer comes back");
    kernel.borrow_mut().end(7, 0);
    driver.turn();
    assert!(Pin::new(&mut receives[7]).poll(&mut context).is_ready());
    assert!(matches!(receive(), InFlight::Started(..)));
    drop(receives);
    assert_eq!(driver.0.core.borrow().slots.tally().read().orphaned, u64::from(SLOTS_MAX));
    while let Some(last) = { kernel.borrow().held.len().checked_sub(1) } {
        kernel.borrow_mut().end(last, -libc::ECANCELED);
    }
    driver.turn();
    assert_eq!(driver.in_flight(), 0);
}

#[test]
fn the_environment_names_a_driver() {
    for (value, choice) in [
        ("", Choice::Auto),
        ("auto", Choice::Auto),
        ("uring", Choice::Uring),
        ("epoll", Choice::Epoll),
        (" EPoll\n", Choice::Epoll),
    ] {
        assert_eq!(value.parse(), Ok(choice));
    }
    let error = "io_uring".parse::<Choice>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "SPANWIRE_IO is \"io_uring\": set it to auto, uring or epoll, or unset it"
    );
}
