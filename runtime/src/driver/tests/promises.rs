//! What the driver promises, one by one, against a kernel that the test plays.

use std::future::Future;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

use bytes::Bytes;

use super::{Count, fake};
use crate::driver::InFlight;
use crate::driver::op::Op;
use crate::driver::slots::{REPEATS_MAX, SLOTS_MAX};

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
fn an_interruption_that_an_orphan_met_is_nobodys_error() {
    let (driver, kernel, socket) = fake();
    for errno in [libc::ECANCELED, libc::EINTR, libc::EAGAIN] {
        drop(driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8))));
        kernel.borrow_mut().end(0, -errno);
        driver.turn();
        assert!(socket.claim(&mut Vec::with_capacity(1)).is_none());
    }
}

/// tokio-uring 232: a descriptor was closed, and its number used again, under an operation.
#[test]
fn a_descriptor_stays_open_while_an_operation_has_it() {
    let (driver, kernel, _) = fake();
    let (ours, mut peer) = UnixStream::pair().unwrap();
    peer.set_nonblocking(true).unwrap();
    let socket = driver.0.adopt(socket2::Socket::from(OwnedFd::from(ours)));
    drop(driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8))));
    drop(socket);
    assert_eq!(peer.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    kernel.borrow_mut().end(0, -libc::ECANCELED);
    driver.turn();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

/// compio 601: a length above u32::MAX was cut to its lower half.
#[test]
fn no_length_is_more_than_a_result_can_say() {
    let (driver, kernel, socket) = fake();
    let half = Bytes::from(vec![0; 1 << 29]);
    drop(driver.0.start(Op::send(socket.lease(), vec![half; 9])));
    drop(driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(5 << 30))));
    for held in &kernel.borrow().held {
        assert_eq!(held.length(), 1 << 30);
    }
    driver.0.cancel_all();
    kernel.borrow_mut().end(1, -libc::ECANCELED);
    kernel.borrow_mut().end(0, -libc::ECANCELED);
    driver.turn();
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

/// A kernel was seen to end operations with ECANCELED that nobody had cancelled, when a signal came
/// (neondatabase/neon 11819).
#[test]
fn a_receive_that_is_interrupted_unasked_goes_on() {
    let (driver, kernel, socket) = fake();
    let mut receive = driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8)));
    let mut context = Context::from_waker(Waker::noop());
    for errno in [libc::ECANCELED, libc::EINTR, libc::EAGAIN] {
        kernel.borrow_mut().end(0, -errno);
        driver.turn();
        assert!(Pin::new(&mut receive).poll(&mut context).is_pending());
        assert_eq!(kernel.borrow().held.len(), 1, "it was started again");
    }
    kernel.borrow_mut().end(0, 3);
    driver.turn();
    let Poll::Ready((op, result)) = Pin::new(&mut receive).poll(&mut context) else {
        panic!("it has ended");
    };
    assert_eq!(op.into_buf(&result), [0, 1, 2]);
    assert_eq!((driver.counts().repeated, driver.counts().stale), (3, 0));
}

#[test]
fn an_interruption_without_end_is_an_error() {
    let (driver, kernel, socket) = fake();
    let mut receive = driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8)));
    for _ in 0..=REPEATS_MAX {
        kernel.borrow_mut().end(0, -libc::ECANCELED);
        driver.turn();
    }
    assert_eq!(errno(&mut receive), Some(libc::ECANCELED));
}

/// It may have sent something, and sending that twice would be worse.
#[test]
fn a_send_that_is_interrupted_unasked_is_an_error() {
    let (driver, kernel, socket) = fake();
    let mut send = driver.0.start(Op::send(socket.lease(), vec![Bytes::from_static(b"once")]));
    kernel.borrow_mut().end(0, -libc::ECANCELED);
    driver.turn();
    assert_eq!(errno(&mut send), Some(libc::ECANCELED));
}

#[test]
fn what_nobody_waits_for_any_more_is_cancelled_at_once() {
    let (driver, kernel, socket) = fake();
    let receive = driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8)));
    assert_eq!(driver.counts().cancelled, 0);
    drop(receive);
    assert_eq!((driver.counts().cancelled, kernel.borrow().cancelled.len()), (1, 1));
    kernel.borrow_mut().end(0, -libc::ECANCELED);
    driver.turn();
    assert_eq!(driver.in_flight(), 0);
}

#[test]
fn what_was_cancelled_is_not_started_again() {
    let (driver, kernel, socket) = fake();
    let mut receive = driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8)));
    drop(driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(8))));
    driver.0.cancel_all();
    for _ in 0..2 {
        kernel.borrow_mut().end(0, -libc::ECANCELED);
    }
    driver.turn();
    assert_eq!(errno(&mut receive), Some(libc::ECANCELED));
    assert_eq!((driver.in_flight(), kernel.borrow().held.len()), (0, 0));
    assert_eq!((driver.counts().cancelled, driver.counts().repeated), (2, 0));
}

/// The errno with which `future` has ended.
fn errno(future: &mut InFlight) -> Option<i32> {
    match Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready((_, result)) => result.unwrap_err().raw_os_error(),
        Poll::Pending => panic!("it has ended"),
    }
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
    assert_eq!(driver.counts().orphaned, u64::from(SLOTS_MAX));
    while let Some(last) = { kernel.borrow().held.len().checked_sub(1) } {
        kernel.borrow_mut().end(last, -libc::ECANCELED);
    }
    driver.turn();
    assert_eq!(driver.in_flight(), 0);
}
