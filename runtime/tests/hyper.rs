//! hyper's client and server on this runtime; the server and the client are the example's.

#[path = "../examples/hyper.rs"]
#[allow(dead_code, reason = "the example's own main")]
mod example;

use std::cell::Cell;
use std::future::{Future, pending};
use std::io::{Read, Write};
use std::net::TcpStream as Peer;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::rt::{Executor, Timer};
use hyper::service::service_fn;
use spanwire_runtime::compat::{Io, PinnedExecutor, TaskTimer};
use spanwire_runtime::driver::Choice;
use spanwire_runtime::net::TcpListener;
use spanwire_runtime::{Builder, Runtime, yield_now};

/// Runs the test with the driver of choice and with the poller.
fn on_each_driver(test: impl Fn(&Runtime)) {
    for choice in [Choice::Auto, Choice::Epoll] {
        test(&Builder::new().io(choice).build().unwrap());
    }
}

fn run<F>(runtime: &Runtime, make: impl FnOnce() -> F + Send + 'static) -> F::Output
where
    F: Future + 'static,
    F::Output: Send + 'static,
{
    runtime.block_on(runtime.spawn_pinned(make)).unwrap()
}

#[test]
fn requests_over_one_connection_are_answered() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let mut client = example::connect(example::serve().unwrap()).await.unwrap();
            for length in [0, 1, 100_000, 8 << 20] {
                let body: Bytes = (0..length).map(|at: usize| at.to_le_bytes()[0]).collect();
                let answer = example::ask(&mut client, body.clone()).await.unwrap();
                assert!(answer == body, "{} of {length} bytes came back", answer.len());
            }
        });
    });
}

#[test]
fn many_connections_are_served_at_once() {
    on_each_driver(|runtime| {
        let addr = run(runtime, || async { example::serve().unwrap() });
        let clients: Vec<_> = (0..20_u8)
            .map(|number| {
                runtime.spawn_pinned(move || async move {
                    let mut client = example::connect(addr).await.unwrap();
                    for _ in 0..5 {
                        let body = Bytes::from(vec![number; 10_000]);
                        assert!(example::ask(&mut client, body.clone()).await.unwrap() == body);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| runtime.block_on(client).unwrap());
    });
}

/// The server's limit on a request's head is a timer of ours that hyper holds.
#[test]
fn a_client_that_says_nothing_is_let_go() {
    on_each_driver(|runtime| {
        let (told, addr) = mpsc::channel();
        let server = runtime.spawn_pinned(move || async move {
            let listener = TcpListener::bind(([127, 0, 0, 1], 0).into()).unwrap();
            told.send(listener.local_addr().unwrap()).unwrap();
            let stream = listener.accept().await.unwrap().0;
            hyper::server::conn::http1::Builder::new()
                .timer(TaskTimer::current())
                .header_read_timeout(Duration::from_millis(20))
                .serve_connection(Io::new(stream), service_fn(|_| pending::<Answer>()))
                .await
                .unwrap_err()
                .is_timeout()
        });
        let mut peer = Peer::connect(addr.recv().unwrap()).unwrap();
        peer.write_all(b"GET / HT").unwrap();
        assert_eq!(peer.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
        assert!(runtime.block_on(server).unwrap());
    });
}

type Answer = Result<hyper::Response<http_body_util::Empty<Bytes>>, hyper::Error>;

#[test]
fn a_pinned_executor_runs_what_is_not_send() {
    let runtime = Builder::new().build().unwrap();
    run(&runtime, || async {
        let (done, here) = (Rc::new(Cell::new(false)), thread::current().id());
        let there = Rc::clone(&done);
        PinnedExecutor::new().execute(async move {
            there.set(thread::current().id() == here);
        });
        while !done.get() {
            yield_now().await;
        }
    });
}

#[test]
fn a_handle_executes_from_anywhere() {
    let runtime = Builder::new().build().unwrap();
    let (done, told) = mpsc::channel();
    runtime.handle().execute(async move { done.send(thread::current().id()).unwrap() });
    assert_ne!(told.recv().unwrap(), thread::current().id());
}

#[test]
fn a_timer_may_be_awaited_on_any_thread_and_is_never_early() {
    let runtime = Builder::new().build().unwrap();
    let timer = TaskTimer::new(runtime.handle());
    let start = Instant::now();
    runtime.block_on(timer.sleep(Duration::from_millis(5)));
    assert!(start.elapsed() >= Duration::from_millis(5));
    let deadline = Instant::now() + Duration::from_millis(5);
    let sleep = timer.sleep_until(deadline);
    thread::spawn(move || Builder::new().build().unwrap().block_on(sleep)).join().unwrap();
    assert!(Instant::now() >= deadline);
}

#[test]
fn a_timer_that_was_reset_ends_at_its_new_moment() {
    let runtime = Builder::new().build().unwrap();
    let timer = TaskTimer::new(runtime.handle());
    let mut sleep = timer.sleep(Duration::MAX);
    let deadline = Instant::now() + Duration::from_millis(5);
    timer.reset(&mut sleep, deadline);
    runtime.block_on(&mut sleep);
    assert!(Instant::now() >= deadline);
    // It stays ended: hyper may look again.
    runtime.block_on(sleep);
}

#[test]
fn timers_end_with_the_runtime() {
    let runtime = Builder::new().build().unwrap();
    let timer = TaskTimer::new(runtime.handle());
    let mut waiting = timer.sleep(Duration::MAX);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut waiting).poll(&mut cx).is_pending());
    let other = Builder::new().build().unwrap();
    assert!(runtime.shutdown(Duration::from_secs(30)));
    other.block_on(waiting);
    other.block_on(timer.sleep(Duration::MAX));
}
