//! TCP through the public interface, on each driver. `src/net/tests.rs` has the parity suite
//! proper, which runs on a bare driver.

#[path = "support/drivers.rs"]
mod drivers;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use drivers::{on_each_driver, poll_and_drop, recv_all, recv_exact, run};
use spanwire_runtime::driver::{Choice, Kind};
use spanwire_runtime::net::{self, Keepalive, TcpStream, resolve};
use spanwire_runtime::task::JoinError;
use spanwire_runtime::{Builder, time};

/// A server that sends back whatever it gets, to any number of clients.
fn echo_server() -> SocketAddr {
    let (listener, addr) = listener();
    thread::spawn(move || {
        for peer in listener.incoming() {
            thread::spawn(move || echo(peer?));
        }
        io::Result::Ok(())
    });
    addr
}

fn echo(mut peer: std::net::TcpStream) -> io::Result<()> {
    let mut buf = [0; 4096];
    loop {
        match peer.read(&mut buf)? {
            0 => return Ok(()),
            count => peer.write_all(&buf[..count])?,
        }
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

#[test]
fn the_driver_is_the_one_asked_for() {
    on_each_driver(|runtime| {
        let report = runtime.driver();
        assert_eq!(report.reason.is_none(), report.kind == Kind::Uring);
    });
}

#[test]
fn many_connections_at_once() {
    on_each_driver(|runtime| {
        let addr = echo_server();
        let tasks: Vec<_> = (0..64_u8)
            .map(|number| {
                runtime.spawn_pinned(move || async move {
                    let stream = TcpStream::connect(addr).await?;
                    for round in 0..10 {
                        let body = Bytes::from(vec![number ^ round; 700]);
                        stream.send_all(vec![body.slice(..9), body.slice(9..)]).await?;
                        assert_eq!(recv_exact(&stream, body.len()).await?, body);
                    }
                    stream.close().await
                })
            })
            .collect();
        for task in tasks {
            runtime.block_on(task).unwrap().unwrap();
        }
    });
}

#[test]
fn a_timed_out_receive_loses_nothing() {
    on_each_driver(|runtime| {
        let (listener, addr) = listener();
        let (timed_out, go) = mpsc::channel();
        let peer = thread::spawn(move || {
            let mut peer = listener.accept().unwrap().0;
            go.recv().unwrap();
            peer.write_all(b"late").unwrap();
        });
        let received = run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            let receive = stream.recv(Vec::with_capacity(4));
            time::timeout(Duration::from_millis(1), receive).await.unwrap_err();
            timed_out.send(()).unwrap();
            recv_exact(&stream, 4).await.unwrap()
        });
        assert_eq!(received, b"late");
        peer.join().unwrap();
    });
}

#[test]
fn a_sleeping_worker_hears_of_new_tasks() {
    on_each_driver(|runtime| {
        let (_listener, addr) = listener();
        let (connected, wait) = mpsc::channel();
        // Something is in flight for ever, so the worker sleeps in its driver.
        let idle = runtime.spawn_pinned(move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            connected.send(()).unwrap();
            stream.recv(Vec::with_capacity(1)).await.0.map(drop)
        });
        wait.recv().unwrap();
        for number in 0..100 {
            assert_eq!(run(runtime, move || async move { number }), number);
        }
        idle.abort();
        assert!(matches!(runtime.block_on(idle), Err(JoinError::Aborted)));
    });
}

#[test]
fn an_aborted_task_closes_its_connection() {
    on_each_driver(|runtime| {
        let (listener, addr) = listener();
        let task = runtime.spawn_pinned(move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            stream.recv(Vec::with_capacity(1)).await.0.map(drop)
        });
        let mut peer = listener.accept().unwrap().0;
        task.abort();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        assert!(matches!(runtime.block_on(task), Err(JoinError::Aborted)));
    });
}

#[test]
fn a_runtime_can_be_shut_down_with_operations_in_flight() {
    on_each_driver(|runtime| {
        let (listener, addr) = listener();
        let body = Bytes::from(vec![0; 64 << 20]);
        let task = runtime.spawn_pinned(move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            // Nobody reads it.
            stream.send_all(vec![body]).await
        });
        let mut peer = listener.accept().unwrap().0;
        peer.read_exact(&mut [0; 1024]).unwrap();
        drop(task);
    });
}

#[test]
fn names_and_literals_resolve() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let v4 = SocketAddr::from(([192, 0, 2, 7], 80));
            let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
            assert_eq!(resolve("192.0.2.7", 80).await.unwrap(), [v4]);
            assert_eq!(resolve("::1", 80).await.unwrap(), [v6]);
            assert_eq!(resolve("[::1]", 80).await.unwrap(), [v6]);
            let local = resolve("localhost", 80).await.unwrap();
            assert!(!local.is_empty());
            assert!(local.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 80));
            let error = resolve("no such host", 80).await.unwrap_err();
            assert!(error.to_string().starts_with("cannot resolve \"no such host\""), "{error}");
        });
    });
}

#[test]
fn off_a_worker_sockets_are_an_error() {
    let (_listener, addr) = listener();
    let runtime = Builder::new().io(Choice::Epoll).build().unwrap();
    let error = runtime.block_on(TcpStream::connect(addr)).unwrap_err();
    assert!(error.to_string().contains("spawn_pinned"), "{error}");
    assert!(runtime.block_on(resolve("localhost", 1)).is_err());
}

#[test]
fn a_half_closed_stream_still_receives() {
    on_each_driver(|runtime| {
        let (listener, addr) = listener();
        let peer = thread::spawn(move || {
            let mut peer = listener.accept().unwrap().0;
            let mut all = Vec::new();
            // The end is seen behind everything, and the answer still arrives.
            peer.read_to_end(&mut all).unwrap();
            peer.write_all(&all).unwrap();
        });
        let echoed = run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            stream.send_all(vec!["all of it".into()]).await.unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let error = stream.send_all(vec!["more".into()]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
            recv_all(&stream).await.unwrap()
        });
        assert_eq!(echoed, b"all of it");
        peer.join().unwrap();
    });
}

#[test]
fn options_are_read_back_as_they_were_set() {
    on_each_driver(|runtime| {
        let (_listener, addr) = listener();
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            assert_eq!((stream.keepalive().unwrap(), stream.nodelay().unwrap()), (None, false));
            let keepalive = Keepalive::new(Duration::from_secs(30), Duration::from_secs(7), 5);
            stream.set_keepalive(Some(keepalive)).unwrap();
            stream.set_nodelay(true).unwrap();
            let seen = (stream.keepalive().unwrap(), stream.nodelay().unwrap());
            assert_eq!(seen, (Some(keepalive), true));
            stream.set_keepalive(None).unwrap();
            assert_eq!(stream.keepalive().unwrap(), None);
            let never = Keepalive::new(Duration::ZERO, Duration::ZERO, 0);
            stream.set_keepalive(Some(never)).unwrap_err();
        });
    });
}

/// A listener that accepts nobody and whose backlog is full answers no more: a black hole that
/// needs no network.
#[test]
fn a_connect_has_a_deadline() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let here = (Ipv4Addr::LOCALHOST, 0).into();
            let hole = net::TcpListener::bind_with_backlog(here, 0).unwrap();
            let addr = hole.local_addr().unwrap();
            let limit = Duration::from_millis(50);
            let mut open = Vec::new();
            let error = loop {
                match TcpStream::connect_timeout(addr, limit).await {
                    Ok(stream) => open.push(stream),
                    Err(error) => break error,
                }
                assert!(open.len() < 10, "the backlog has room for one or two");
            };
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(error.to_string().contains(&addr.to_string()), "{error}");
            // Dropping one half-way leaves nothing that the shutdown would have to wait for.
            poll_and_drop(TcpStream::connect(addr)).await;
        });
    });
}

#[test]
fn a_vectored_send_may_be_larger_than_the_socket_buffer() {
    on_each_driver(|runtime| {
        let (listener, addr) = listener();
        let peer = thread::spawn(move || {
            let mut all = Vec::new();
            listener.accept().unwrap().0.read_to_end(&mut all).map(|_| all)
        });
        let pieces: Vec<Bytes> =
            (0..1500_u32).map(|at| Bytes::from(vec![(at % 251) as u8; 7 * 1024])).collect();
        let expected = pieces.concat();
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            stream.send_all(pieces).await.unwrap();
            stream.close().await.unwrap();
        });
        assert!(peer.join().unwrap().unwrap() == expected);
    });
}
