//! How a worker sleeps in its driver, and how much a driver takes at once.

use std::cell::Cell;
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::driver::Shared;
use crate::driver::op::Op;

#[test]
fn a_park_ends_by_its_timeout() {
    on_each_driver(|driver| {
        driver.park(Some(Duration::ZERO));
        driver.park(Some(Duration::from_millis(1)));
        block_on(driver, async {
            let (stream, _peer) = pair().await;
            let mut receive = pin!(stream.recv(Vec::with_capacity(1)));
            poll_once(receive.as_mut()).await;
            driver.park(Some(Duration::from_millis(1)));
            assert_eq!(driver.in_flight(), 1);
        });
    });
}

#[test]
fn a_park_ends_by_an_unpark() {
    on_each_driver(|driver| {
        let unpark = driver.unpark();
        // Before the park, twice; then from another thread, again and again.
        unpark.unpark();
        unpark.unpark();
        driver.park(None);
        let (go, gone) = mpsc::sync_channel(0);
        let other = thread::spawn(move || {
            while gone.recv().is_ok() {
                unpark.unpark();
            }
        });
        for _ in 0..100 {
            go.send(()).unwrap();
            driver.park(None);
        }
        drop(go);
        other.join().unwrap();
    });
}

#[test]
fn an_unpark_survives_a_turn() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, _peer) = pair().await;
            let mut receive = pin!(stream.recv(Vec::with_capacity(1)));
            poll_once(receive.as_mut()).await;
            driver.unpark().unpark();
            driver.turn();
            driver.turn();
            driver.park(None);
        });
    });
}

#[test]
fn off_a_worker_is_an_error() {
    let mut connect = pin!(TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], 9))));
    let Poll::Ready(Err(error)) = connect.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    else {
        panic!("it must fail at once");
    };
    assert!(error.to_string().contains("spawn_pinned"), "{error}");
}

#[test]
fn the_current_driver_is_restored() {
    let (outer, _) = Driver::open(Choice::Epoll).unwrap();
    let (inner, _) = Driver::open(Choice::Epoll).unwrap();
    let seen = Cell::new(0);
    outer.enter(|| {
        inner.enter(|| seen.set(seen.get() + 1));
        assert!(Shared::current().is_ok());
    });
    assert!(Shared::current().is_err());
    assert_eq!(seen.get(), 1);
}

/// More operations than either queue of a ring holds, all of which end at once.
#[test]
fn no_completion_is_lost_when_the_queues_are_full() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, peer) = pair().await;
            let current = Shared::current().unwrap();
            let receive = || current.start(Op::recv(stream.socket.lease(), Vec::with_capacity(1)));
            let mut receives: Vec<_> = (0..3000).map(|_| receive()).collect();
            for receive in &mut receives {
                poll_once(Pin::new(receive)).await;
            }
            driver.turn();
            drop(peer);
            for receive in receives {
                assert_eq!(receive.await.1.unwrap(), 0);
            }
        });
        assert_eq!(driver.in_flight(), 0);
    });
}

/// The same with cancellations, which need room in the queues as well.
#[test]
fn no_cancellation_is_lost_when_the_queues_are_full() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, _peer) = pair().await;
            let current = Shared::current().unwrap();
            let receive = || current.start(Op::recv(stream.socket.lease(), Vec::with_capacity(1)));
            drop((0..3000).map(|_| receive()).collect::<Vec<_>>());
            stream.close().await.unwrap();
        });
        assert_eq!(driver.in_flight(), 0);
    });
}

/// A full queue is submitted by whoever needs room, and then results come in as well. The
/// worker may never look again, so their tasks have to be woken there and then.
#[test]
fn who_makes_room_in_the_queue_wakes_those_whose_results_come_in() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            let (other, _peer) = pair().await;
            let current = Shared::current().unwrap();
            let mut early = current.start(Op::recv(stream.socket.lease(), Vec::with_capacity(1)));
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            assert!(Pin::new(&mut early).poll(&mut Context::from_waker(&waker)).is_pending());
            driver.turn();
            peer.write_all(b"1").unwrap();
            arrived(&stream, 1);
            let receive = || current.start(Op::recv(other.socket.lease(), Vec::with_capacity(1)));
            let receives: Vec<_> = (0..500).map(|_| receive()).collect();
            let has_ended = driver.in_flight() == receives.len();
            assert_eq!(woken.0.load(Ordering::Relaxed), has_ended);
            assert_eq!(early.await.1.unwrap(), 1);
        });
    });
}

/// compio 984: a poller was woken again and again for what nobody waited for.
#[test]
fn who_waits_is_not_woken_for_what_others_left_lying() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (idle, _peer) = pair().await;
            let (noisy, mut peer) = pair().await;
            let mut receive = pin!(idle.recv(Vec::with_capacity(1)));
            poll_once(receive.as_mut()).await;
            // Room to send, unread bytes, and the end of the stream: all of it is ready for ever.
            poll_and_drop(noisy.recv(Vec::with_capacity(1))).await;
            peer.write_all(&[1; 100]).unwrap();
            drop(peer);
            assert_eq!(recv_exact(&noisy, 1).await, [1]);
            let before = driver.counts().enters;
            let until = Instant::now() + Duration::from_millis(30);
            while let Some(rest) = until.checked_duration_since(Instant::now()) {
                driver.park(Some(rest));
            }
            let calls = driver.counts().enters - before;
            assert!(calls < 10, "{calls} calls while nothing happened");
        });
    });
}

/// Whether it was used. Only one thread does, so there is nothing to order.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
