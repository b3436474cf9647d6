//! No descriptor is left open, wherever a future is dropped. A binary of its own, with one test,
//! because descriptors belong to the process.
#![cfg(unix)]

#[path = "support/drivers.rs"]
mod drivers;

use std::collections::HashSet;
use std::fs;
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use drivers::{PATIENCE, on_each_driver, run};
use spanwire_runtime::net::{TcpListener, TcpStream, UdpSocket, UnixStream};
use spanwire_runtime::yield_now;

/// A generator of numbers that is the same in each run (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 as usize % bound
    }
}

#[test]
fn futures_dropped_at_any_moment_leave_no_descriptor_open() {
    on_each_driver(|runtime| {
        let before = descriptors();
        for round in 0..5 {
            run(runtime, move || drop_at_random(round));
            // A cancelled operation holds its socket until the kernel has let go of it.
            let deadline = Instant::now() + PATIENCE;
            while descriptors() != before {
                assert!(Instant::now() < deadline, "{:?} are left", descriptors());
                run(runtime, yield_now);
            }
        }
    });
}

async fn drop_at_random(seed: u64) {
    let mut chance = Chance(seed + 1);
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for _ in 0..100 {
        let listener = TcpListener::bind(here).unwrap();
        let udp = UdpSocket::bind(here).unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let mut futures: [Option<Pin<Box<dyn Future<Output = ()>>>>; 5] = [
            Some(Box::pin(async move { drop(listener.accept().await) })),
            Some(Box::pin(async move { drop(connect.await) })),
            Some(Box::pin(async move { drop(udp.recv(Vec::with_capacity(64)).await) })),
            Some(Box::pin(async move { drop(one.recv(Vec::with_capacity(64)).await) })),
            Some(Box::pin(async move { drop(other.close().await) })),
        ];
        for _ in 0..chance.below(12) {
            match futures.get_mut(chance.below(8)) {
                Some(future) => poll(future).await,
                None => yield_now().await,
            }
        }
    }
}

/// Polls once; drops what has ended.
async fn poll(future: &mut Option<Pin<Box<dyn Future<Output = ()>>>>) {
    let Some(pending) = future else { return };
    let is_done = poll_fn(|cx| Poll::Ready(pending.as_mut().poll(cx).is_ready())).await;
    if is_done {
        *future = None;
    }
}

fn descriptors() -> HashSet<String> {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    links.map(|link| link.unwrap().file_name().into_string().unwrap()).collect()
}
