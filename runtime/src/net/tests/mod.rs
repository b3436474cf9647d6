//! The parity suite: what sockets promise, on every driver. It runs on a bare driver, without
//! the executor, so that a failure here is the driver's.

use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use super::TcpStream;
use crate::driver::{Choice, Driver};
use crate::sync::doorbell::Unpark;

mod accept;
mod dropped;
mod exchange;
mod files;
mod park;
mod stream;

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
    let is_pending = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
    assert!(is_pending, "it was to wait");
}

/// Polls `future` once and drops it.
async fn poll_and_drop<F: Future>(future: F) {
    poll_once(pin!(future)).await;
}

/// Runs the test on each driver, and on some whose kernel is hostile.
fn on_each_driver(test: impl Fn(&Driver)) {
    // Who forbids the ring means the tests as well.
    let has_ring = Choice::from_env() != Ok(Choice::Epoll);
    for choice in [Choice::Epoll, Choice::Uring].into_iter().take(1 + usize::from(has_ring)) {
        match Driver::open(choice) {
            Ok((driver, _)) => run_on(&format!("{choice:?}"), &driver, &test),
            Err(error) if choice == Choice::Uring => eprintln!("SKIPPED on uring: {error}"),
            Err(error) => panic!("{choice:?}: {error}"),
        }
    }
    for seed in 0..seeds() {
        run_on(&format!("hostile kernel {seed}"), &Driver::hostile(seed), &test);
    }
}

/// How many hostile kernels run each test. `SPANWIRE_TEST_SEEDS` has it run on more, or fewer.
fn seeds() -> u64 {
    let asked = std::env::var("SPANWIRE_TEST_SEEDS").ok();
    asked.and_then(|count| count.parse().ok()).unwrap_or(6)
}

fn run_on(name: &str, driver: &Driver, test: impl Fn(&Driver)) {
    eprintln!("on {name}");
    test(driver);
    assert_eq!(driver.shutdown(PATIENCE), 0, "{name}: every operation must end");
    let counts = driver.counts();
    assert_eq!(counts.started, counts.completed, "{name}: {counts:?}");
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
