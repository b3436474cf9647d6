//! The parity suite: what sockets promise, on every driver. It runs on a bare driver, without
//! the executor, so that a failure here is the driver's.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;

use super::{TcpStream, resolve};
use crate::driver::{Choice, Driver};
use crate::sync::doorbell::Unpark;

/// Wakes a `block_on`.
struct Ring {
    is_rung: AtomicBool,
    unpark: Box<dyn Unpark>,
}

impl Wake for Ring {
    fn wake(self: Arc<Self>) {
        // Ordering: Release pairs with the Acquire swap in `block_on`.
        self.is_rung.store(true, Ordering::Release);
        self.unpark.unpark();
    }
}

fn waker(driver: &Driver) -> (Arc<Ring>, Waker) {
    let ring = Arc::new(Ring { is_rung: AtomicBool::new(true), unpark: driver.unpark() });
    (Arc::clone(&ring), Waker::from(ring))
}

/// Runs `future` on this thread, parked in `driver` while it waits.
fn block_on<F: Future>(driver: &Driver, future: F) -> F::Output {
    let mut future = pin!(future);
    let (ring, waker) = waker(driver);
    driver.enter(|| {
        loop {
            // Ordering: Acquire pairs with the Release store in `wake`.
            if ring.is_rung.swap(false, Ordering::Acquire)
                && let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return output;
            }
            driver.park(None);
        }
    })
}

/// Polls `future` once, in which it must not end.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) {
    poll_fn(|cx| Poll::Ready(assert!(future.as_mut().poll(cx).is_pending()))).await;
}

/// Polls `future` once and drops it.
async fn poll_and_drop<F: Future>(future: F) {
    poll_once(pin!(future)).await;
}

/// Runs the test on each driver.
fn on_each_driver(test: impl Fn(&Driver)) {
    for choice in [Choice::Epoll, Choice::Uring] {
        match Driver::open(choice) {
            Ok((driver, _)) => {
                test(&driver);
                assert_eq!(driver.shutdown(PATIENCE), 0, "{choice:?}: every operation must end");
            }
            Err(error) if choice == Choice::Uring => eprintln!("SKIPPED on uring: {error}"),
            Err(error) => panic!("{choice:?}: {error}"),
        }
    }
}

/// A listener and its address.
fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

/// A connection between the driver and a plain socket.
async fn pair() -> (TcpStream, std::net::TcpStream) {
    let (listener, addr) = listener();
    let stream = TcpStream::connect(addr).await.unwrap();
    (stream, listener.accept().unwrap().0)
}

async fn recv_exact(stream: &TcpStream, count: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let (received, buf) = stream.recv(all).await;
        assert_ne!(received.unwrap(), 0, "the stream ended early");
        all = buf;
    }
    all
}

/// Waits until `count` bytes have arrived at `stream`, without taking them.
fn arrived(stream: &TcpStream, count: usize) {
    while peek(stream) < count {
        thread::yield_now();
    }
}

fn peek(stream: &TcpStream) -> usize {
    let mut room = [std::mem::MaybeUninit::uninit(); 64];
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
    stream.socket.recv_with_flags(&mut room, flags).unwrap_or(0)
}

#[test]
fn connect_send_and_receive() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            stream.set_nodelay(true).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), peer.local_addr().unwrap());
            assert_eq!(stream.local_addr().unwrap(), peer.peer_addr().unwrap());
            stream.send_all(vec![Bytes::from_static(b"ping")]).await.unwrap();
            let mut ping = [0; 4];
            peer.read_exact(&mut ping).unwrap();
            peer.write_all(b"pong").unwrap();
            let (received, buf) = stream.recv(Vec::with_capacity(64)).await;
            assert_eq!((&ping, received.unwrap(), &buf[..]), (b"ping", 4, &b"pong"[..]));
            stream.close().await.unwrap();
            assert_eq!(peer.read(&mut ping).unwrap(), 0);
        });
    });
}

#[test]
fn connects_over_ipv6() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return eprintln!("SKIPPED: no IPv6 here");
    };
    on_each_driver(|driver| {
        let addr = listener.local_addr().unwrap();
        let stream = block_on(driver, TcpStream::connect(addr)).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    on_each_driver(|driver| {
        let (listener, addr) = listener();
        drop(listener);
        let error = block_on(driver, TcpStream::connect(addr)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn many_small_buffers_arrive_in_order() {
    on_each_driver(|driver| {
        let pieces: Vec<Bytes> = (0..5000_u32)
            .map(|i| Bytes::from(i.to_le_bytes()[..i as usize % 4].to_vec()))
            .collect();
        let expected = pieces.concat();
        let received = block_on(driver, async {
            let (stream, mut peer) = pair().await;
            let reader = thread::spawn(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).map(|_| all)
            });
            stream.send_all(pieces).await.unwrap();
            stream.close().await.unwrap();
            reader.join().unwrap().unwrap()
        });
        assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
    });
}

#[test]
fn eight_megabytes_pass_a_slow_reader() {
    on_each_driver(|driver| {
        let body: Bytes = (0..8 << 20).map(|i: u32| (i % 251) as u8).collect::<Vec<_>>().into();
        let received = block_on(driver, async {
            let (stream, mut peer) = pair().await;
            SockRef::from(&peer).set_recv_buffer_size(16 << 10).unwrap();
            let reader = thread::spawn(move || {
                let (mut all, mut piece) = (Vec::new(), [0; 1500]);
                loop {
                    let count = peer.read(&mut piece).unwrap();
                    if count == 0 {
                        return all;
                    }
                    all.extend_from_slice(&piece[..count]);
                    thread::yield_now();
                }
            });
            stream.send_all(vec![body.slice(..77), body.slice(77..)]).await.unwrap();
            drop(stream);
            reader.join().unwrap()
        });
        assert!(received == body, "{} of {} bytes", received.len(), body.len());
    });
}

#[test]
fn send_gives_the_buffers_back() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, _peer) = pair().await;
            let bufs = vec![Bytes::new(), Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
            let (sent, back) = stream.send(bufs.clone()).await;
            assert_eq!((sent.unwrap(), back), (5, bufs));
            let (sent, back) = stream.send(vec![Bytes::new()]).await;
            assert_eq!((sent.unwrap(), back.len()), (0, 1));
        });
    });
}

#[test]
fn a_receive_appends_within_capacity() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            peer.write_all(b"0123456789").unwrap();
            arrived(&stream, 10);
            let mut buf = Vec::with_capacity(7);
            buf.extend_from_slice(b"abc");
            let room = buf.capacity() - 3;
            let (received, buf) = stream.recv(buf).await;
            assert_eq!(received.unwrap(), room);
            assert_eq!(&buf[..], &b"abc0123456789"[..3 + room]);
            let (full, buf) = stream.recv(buf).await;
            assert_eq!(full.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(buf.len(), 3 + room);
        });
    });
}

#[test]
fn the_end_of_the_stream_is_zero_bytes() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, peer) = pair().await;
            assert!(!stream.is_stale());
            peer.shutdown(Shutdown::Write).unwrap();
            let (received, _) = stream.recv(Vec::with_capacity(8)).await;
            assert_eq!(received.unwrap(), 0);
            assert!(stream.is_stale());
        });
    });
}

#[test]
fn unasked_bytes_make_a_connection_stale() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            peer.write_all(b"408").unwrap();
            arrived(&stream, 3);
            assert!(stream.is_stale());
            assert_eq!(recv_exact(&stream, 3).await, b"408");
            assert!(!stream.is_stale());
        });
    });
}

#[test]
fn a_reset_is_an_error() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, peer) = pair().await;
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let (received, _) = stream.recv(Vec::with_capacity(8)).await;
            assert_eq!(received.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        });
    });
}

#[test]
fn a_send_to_a_closed_peer_is_an_error_and_no_signal() {
    // The default action of SIGPIPE ends a process, so a child has to survive this.
    if !is_child("sigpipe") {
        return run_child(
            "sigpipe",
            "net::tests::a_send_to_a_closed_peer_is_an_error_and_no_signal",
        );
    }
    // SAFETY: no other thread of this process depends on the action of SIGPIPE.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, peer) = pair().await;
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let (_, buf) = stream.recv(Vec::with_capacity(8)).await;
            assert_eq!(buf.len(), 0);
            let error = stream.send_all(vec![Bytes::from_static(b"x")]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn bytes_of_a_dropped_receive_go_to_the_next() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            poll_and_drop(stream.recv(Vec::with_capacity(3))).await;
            peer.write_all(b"first").unwrap();
            assert_eq!(recv_exact(&stream, 5).await, b"first");

            // This time the bytes are there before the kernel hears of the cancellation.
            {
                let mut receive = pin!(stream.recv(Vec::with_capacity(3)));
                poll_once(receive.as_mut()).await;
                driver.turn();
                peer.write_all(b"second").unwrap();
            }
            peer.write_all(b"|third").unwrap();
            assert_eq!(recv_exact(&stream, 12).await, b"second|third");
        });
    });
}

#[test]
fn a_completed_but_unfetched_receive_loses_nothing() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            {
                let mut receive = pin!(stream.recv(Vec::with_capacity(3)));
                poll_once(receive.as_mut()).await;
                driver.turn();
                peer.write_all(b"abcdef").unwrap();
                while driver.in_flight() > 0 {
                    driver.park(None);
                }
            }
            assert!(stream.is_stale());
            assert_eq!(recv_exact(&stream, 6).await, b"abcdef");
        });
    });
}

#[test]
fn a_connect_can_be_dropped() {
    on_each_driver(|driver| {
        // Nobody answers at this address (RFC 5737), and if somebody refuses, that is as good.
        let addr = SocketAddr::from(([192, 0, 2, 1], 9));
        let _polled_once = block_on(driver, async {
            let mut connect = pin!(TcpStream::connect(addr));
            poll_fn(|cx| Poll::Ready(connect.as_mut().poll(cx).is_ready())).await
        });
        driver.turn();
        while driver.in_flight() > 0 {
            driver.park(Some(PATIENCE));
        }
    });
}

#[test]
fn close_waits_for_what_was_dropped() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            poll_and_drop(stream.recv(Vec::with_capacity(3))).await;
            stream.close().await.unwrap();
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        });
        assert_eq!(driver.in_flight(), 0);
    });
}

#[test]
fn send_and_receive_at_the_same_time() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            let echo = thread::spawn(move || {
                let mut buf = [0; 4096];
                loop {
                    match peer.read(&mut buf).unwrap() {
                        0 => return,
                        count => peer.write_all(&buf[..count]).unwrap(),
                    }
                }
            });
            let body = Bytes::from(vec![7; 4 << 20]);
            let (sent, got) =
                both(stream.send_all(vec![body.clone()]), recv_exact(&stream, body.len())).await;
            sent.unwrap();
            assert!(got == body);
            drop(stream);
            echo.join().unwrap();
        });
    });
}

/// Waits for two futures at once.
async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut left, mut right) = (None, None);
    poll_fn(|cx| {
        if left.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            left = Some(output);
        }
        if right.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            right = Some(output);
        }
        if left.is_some() && right.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (left.unwrap(), right.unwrap())
}

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
fn shutdown_ends_everything() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, peer) = pair().await;
            let mut receive = pin!(stream.recv(Vec::with_capacity(1)));
            poll_once(receive.as_mut()).await;
            assert_eq!(driver.shutdown(PATIENCE), 0);
            poll_fn(|cx| receive.as_mut().poll(cx)).await.0.unwrap_err();
            drop(peer);
            stream.send(vec![Bytes::from_static(b"late")]).await.0.unwrap_err();
            stream.recv(Vec::with_capacity(1)).await.0.unwrap_err();
        });
    });
}

#[test]
fn a_socket_outlives_its_driver_harmlessly() {
    let mut kept = Vec::new();
    for choice in [Choice::Epoll, Choice::Auto] {
        let (driver, _) = Driver::open(choice).unwrap();
        kept.push(block_on(&driver, pair()));
    }
    let (stream, _peer) = kept.pop().unwrap();
    let mut receive = pin!(stream.recv(Vec::with_capacity(1)));
    let polled = receive.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready((Err(_), _))));
}

#[test]
fn descriptors_are_not_leaked() {
    if !is_child("fds") {
        return run_child("fds", "net::tests::descriptors_are_not_leaked");
    }
    on_each_driver(|driver| {
        let before = descriptors();
        for _ in 0..20 {
            block_on(driver, async {
                let (stream, _peer) = pair().await;
                poll_and_drop(stream.recv(Vec::with_capacity(3))).await;
                let (other, _peer) = pair().await;
                other.close().await.unwrap();
                drop(stream);
            });
            while driver.in_flight() > 0 {
                driver.park(None);
            }
        }
        assert_eq!(descriptors(), before);
    });
}

fn descriptors() -> HashSet<String> {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    links.map(|link| link.unwrap().file_name().into_string().unwrap()).collect()
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
fn names_and_literals_resolve() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let v4 = SocketAddr::from(([192, 0, 2, 7], 80));
            let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
            assert_eq!(resolve("192.0.2.7", 80).await.unwrap(), [v4]);
            assert_eq!(resolve("::1", 80).await.unwrap(), [v6]);
            assert_eq!(resolve("[::1]", 80).await.unwrap(), [v6]);
            let local = resolve("localhost", 80).await.unwrap();
            assert!(local.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 80));
            let error = resolve("no such host", 80).await.unwrap_err();
            assert!(error.to_string().contains("\"no such host\""), "{error}");
        });
    });
}

#[test]
fn the_current_driver_is_restored() {
    let (outer, _) = Driver::open(Choice::Epoll).unwrap();
    let (inner, _) = Driver::open(Choice::Epoll).unwrap();
    let seen = Cell::new(0);
    outer.enter(|| {
        inner.enter(|| seen.set(seen.get() + 1));
        assert!(crate::driver::Shared::current().is_ok());
    });
    assert!(crate::driver::Shared::current().is_err());
    assert_eq!(seen.get(), 1);
}

fn is_child(role: &str) -> bool {
    std::env::var_os(ROLE).is_some_and(|value| value == role)
}

/// Runs one test of this binary in a process of its own.
fn run_child(role: &str, test: &str) {
    let program = std::env::current_exe().unwrap();
    let child = std::process::Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{}: {errors}", child.status);
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"), "no test has this name");
}

/// Says to a child process what it is for.
const ROLE: &str = "SPANWIRE_TEST_ROLE";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
