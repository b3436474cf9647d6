//! What the tests of sockets share: a runtime with each driver, and ways to poll a future badly.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use spanwire_runtime::driver::Choice;
use spanwire_runtime::net::Stream;
use spanwire_runtime::{Builder, Runtime};

/// Runs the test on a runtime with each driver.
pub(crate) fn on_each_driver(test: impl Fn(&Runtime)) {
    for choice in [Choice::Epoll, Choice::Uring] {
        match Builder::new().io(choice).build() {
            Ok(runtime) => {
                test(&runtime);
                assert!(runtime.shutdown(PATIENCE), "{choice:?}: the worker must end");
            }
            Err(error) if choice == Choice::Uring => eprintln!("SKIPPED on uring: {error}"),
            Err(error) => panic!("{choice:?}: {error}"),
        }
    }
}

/// Runs a task on the worker and waits for it here.
pub(crate) fn run<M, F>(runtime: &Runtime, make: M) -> F::Output
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    runtime.block_on(runtime.spawn_pinned(make)).unwrap()
}

/// Polls `future` once and drops it; true if it had ended.
pub(crate) async fn poll_and_drop<F: Future>(future: F) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

/// Receives exactly `count` bytes.
pub(crate) async fn recv_exact(stream: &Stream, count: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::with_capacity(count);
    while all.len() < count {
        let (received, buf) = stream.recv(all).await;
        all = buf;
        if received? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    all.truncate(count);
    Ok(all)
}

/// Receives until the end of the stream.
pub(crate) async fn recv_all(stream: &Stream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        all.reserve(64 << 10);
        let (received, buf) = stream.recv(all).await;
        all = buf;
        if received? == 0 {
            return Ok(all);
        }
    }
}

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
