//! Requests and answers as one operation: whatever the sizes, the peers and the moment a future
//! is dropped, what was sent arrives once and in order, and nobody waits for ever.

#[path = "support/drivers.rs"]
mod drivers;

use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::mpsc;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use drivers::{on_each_driver, recv_all, recv_exact, run};
use socket2::SockRef;
use spanwire_runtime::net::{Sent, TcpStream, Tried, UnixStream};
use spanwire_runtime::time::sleep;
use spanwire_runtime::{spawn_pinned, yield_now};

type Peer = std::net::TcpStream;

/// A server that treats its one client as `serve` does.
fn server<T: Send + 'static>(
    serve: impl FnOnce(Peer) -> T + Send + 'static,
) -> (SocketAddr, thread::JoinHandle<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    (addr, thread::spawn(move || serve(listener.accept().unwrap().0)))
}

/// Bytes that tell where they are.
fn pattern(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>().into()
}

/// Reads requests, each a length and as many bytes, and answers with the length.
fn count_requests(mut peer: Peer) -> usize {
    for served in 0.. {
        let mut length = [0; 4];
        if peer.read_exact(&mut length).is_err() {
            return served;
        }
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        peer.read_exact(&mut body).unwrap();
        assert!(body == pattern(body.len()));
        peer.write_all(&length).unwrap();
    }
    unreachable!("it returns")
}

fn request(length: usize) -> Vec<Bytes> {
    let head = Bytes::copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    let body = pattern(length);
    vec![head, Bytes::new(), body.slice(..length / 3), body.slice(length / 3..)]
}

#[test]
fn requests_of_all_sizes_are_answered() {
    on_each_driver(|runtime| {
        let (addr, server) = server(count_requests);
        let sizes = [0, 1, 700, 4 << 10, 64 << 10, 1 << 20, 3, 20 << 20, 10];
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            for _ in 0..5 {
                for size in sizes {
                    let exchanged = stream.exchange(request(size), Vec::with_capacity(64)).await;
                    assert!(matches!(exchanged.sent, Sent::All));
                    assert_eq!(exchanged.received.unwrap(), 4);
                    assert_eq!(exchanged.buf, (size as u32).to_le_bytes());
                }
            }
            assert!(!stream.is_stale());
        });
        assert_eq!(server.join().unwrap(), 5 * sizes.len());
    });
}

#[test]
fn more_pieces_than_one_call_takes_are_sent() {
    on_each_driver(|runtime| {
        let (addr, server) = server(count_requests);
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            let body = pattern(5000);
            let mut pieces = vec![Bytes::copy_from_slice(&5000_u32.to_le_bytes())];
            pieces.extend((0..5000).map(|at| body.slice(at..=at)));
            let exchanged = stream.exchange(pieces, Vec::with_capacity(64)).await;
            assert_eq!(exchanged.buf, 5000_u32.to_le_bytes());
        });
        assert_eq!(server.join().unwrap(), 1);
    });
}

#[test]
fn many_exchanges_run_at_once() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let tasks: Vec<_> = (0..50)
                .map(|number| {
                    spawn_pinned(move || async move {
                        let (addr, server) = server(count_requests);
                        let stream = TcpStream::connect(addr).await.unwrap();
                        for round in 0..20 {
                            let size = number * round;
                            let buf = Vec::with_capacity(64);
                            let exchanged = stream.exchange(request(size), buf).await;
                            assert_eq!(exchanged.buf, (size as u32).to_le_bytes());
                        }
                        stream.close().await.unwrap();
                        server
                    })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap().join().unwrap(), 20);
            }
        });
    });
}

/// A peer that answers and never reads: only who listens while it sends hears of that.
#[test]
fn an_answer_before_the_request_was_read_is_heard() {
    on_each_driver(|runtime| {
        let (done, wait) = mpsc::channel::<()>();
        let (addr, server) = server(move |mut peer| {
            peer.write_all(b"413").unwrap();
            let _closed = wait.recv();
        });
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            let body = vec![Bytes::from(vec![0; 64 << 20])];
            let exchanged = stream.exchange(body, Vec::with_capacity(64)).await;
            assert!(matches!(exchanged.sent, Sent::Partly));
            assert_eq!((exchanged.received.unwrap(), &exchanged.buf[..]), (3, &b"413"[..]));
            assert!(stream.is_stale(), "half a request is out");
        });
        drop(done);
        server.join().unwrap();
    });
}

/// The same, but the peer closes with unread data in its socket, which resets the connection.
/// The answer may be lost with it (RFC 9112, 9.6), and nobody waits in any case.
#[test]
fn an_answer_and_a_reset_end_the_exchange() {
    on_each_driver(|runtime| {
        for _ in 0..20 {
            let (addr, server) = server(|mut peer| {
                peer.read_exact(&mut [0; 1000]).unwrap();
                peer.write_all(b"413").unwrap();
            });
            run(runtime, move || async move {
                let stream = TcpStream::connect(addr).await.unwrap();
                let body = vec![Bytes::from(vec![0; 64 << 20])];
                let exchanged = stream.exchange(body, Vec::with_capacity(64)).await;
                assert!(!matches!(exchanged.sent, Sent::All));
                match exchanged.received {
                    Ok(count) => assert_eq!(exchanged.buf, &b"413"[..count]),
                    Err(error) => {
                        let kinds = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
                        assert!(kinds.contains(&error.kind()), "{error}");
                    }
                }
            });
            server.join().unwrap();
        }
    });
}

#[test]
fn a_connection_that_was_reset_is_an_error_of_the_send() {
    on_each_driver(|runtime| {
        let (connected, wait) = mpsc::channel();
        let (addr, server) = server(move |mut peer| {
            peer.write_all(b"bye").unwrap();
            wait.recv().unwrap();
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
        });
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            connected.send(()).unwrap();
            server.join().unwrap();
            let exchanged = stream.exchange(vec!["x".into()], Vec::with_capacity(64)).await;
            assert!(matches!(exchanged.sent, Sent::Failed(_)), "{exchanged:?}");
            // What came before the reset is still there.
            assert!(matches!(exchanged.received, Ok(3) | Err(_)), "{exchanged:?}");
        });
    });
}

#[test]
fn what_has_arrived_before_is_the_answer() {
    on_each_driver(|runtime| {
        let (addr, server) = server(|mut peer| {
            peer.write_all(b"408").unwrap();
            recv_to_end(&mut peer)
        });
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            for _ in 0..2 {
                // The second time it was taken by a receive that nobody waits for.
                let exchanged = stream.exchange(vec!["x".into()], Vec::with_capacity(2)).await;
                assert!(matches!(exchanged.sent, Sent::All));
                assert!(exchanged.received.unwrap() > 0);
                if exchanged.buf.len() == 3 {
                    return;
                }
            }
        });
        assert!(server.join().unwrap().starts_with(b"x"));
    });
}

fn recv_to_end(peer: &mut Peer) -> Vec<u8> {
    let mut all = Vec::new();
    peer.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn the_end_of_the_stream_is_an_answer_of_no_bytes() {
    on_each_driver(|runtime| {
        let (addr, server) = server(|mut peer| {
            peer.read_exact(&mut [0; 4]).unwrap();
        });
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            let exchanged = stream.exchange(vec!["ping".into()], Vec::with_capacity(64)).await;
            assert!(matches!(exchanged.sent, Sent::All));
            assert_eq!(exchanged.received.unwrap(), 0);
        });
        server.join().unwrap();
    });
}

#[test]
fn a_half_that_cannot_be_is_told_and_nothing_is_sent() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let (one, other) = UnixStream::pair().unwrap();
            let (tried, rest, _) = one.try_exchange(vec!["x".into()], Vec::new()).await;
            assert!(
                matches!(tried, Tried::Unsent(Err(error)) if error.kind() == io::ErrorKind::InvalidInput)
            );
            assert_eq!(rest, ["x"]);
            drop(one);
            assert_eq!(recv_all(&other).await.unwrap(), b"");
        });
    });
}

#[test]
fn a_try_gives_back_what_is_left_to_send() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let (one, other) = UnixStream::pair().unwrap();
            let body = pattern(8 << 20);
            let buf = Vec::with_capacity(64);
            let (tried, rest, _) =
                one.try_exchange(vec![body.slice(..7), body.slice(7..)], buf).await;
            let Tried::Unsent(Ok(sent)) = tried else { panic!("{tried:?}") };
            assert!(0 < sent && sent < body.len());
            assert!(rest.concat() == body[sent..]);
            assert!(recv_exact(&other, sent).await.unwrap() == body[..sent]);
        });
    });
}

/// Polls `future`; true if it has ended.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

/// The answer to a request whose future was dropped goes to the next receive.
#[test]
fn what_a_dropped_exchange_received_comes_next() {
    on_each_driver(|runtime| {
        let (addr, server) = server(count_requests);
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            for round in 0..200_usize {
                {
                    let mut exchange =
                        pin!(stream.exchange(request(round), Vec::with_capacity(64)));
                    let mut is_over = poll_once(exchange.as_mut()).await;
                    if round % 5 == 0 {
                        // Long enough that the answer comes while nobody looks.
                        sleep(Duration::from_millis(1)).await;
                    }
                    for _ in 0..round % 4 {
                        yield_now().await;
                        is_over = is_over || poll_once(exchange.as_mut()).await;
                    }
                    if is_over {
                        continue;
                    }
                }
                let answer = recv_exact(&stream, 4).await.unwrap();
                assert_eq!(answer, (round as u32).to_le_bytes());
            }
            // Nobody knows what a dropped send has sent, though here it was everything.
            assert!(stream.is_stale());
        });
        server.join().unwrap();
    });
}

/// Nobody answers, so only the cancellation can end the receive, whenever it comes.
#[test]
fn a_dropped_exchange_lets_go_of_its_socket() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            for round in 0..100_usize {
                let (one, other) = UnixStream::pair().unwrap();
                {
                    let mut exchange =
                        pin!(one.exchange(vec!["ping".into()], Vec::with_capacity(8)));
                    for _ in 0..=round % 5 {
                        assert!(!poll_once(exchange.as_mut()).await);
                        yield_now().await;
                    }
                }
                one.close().await.unwrap();
                assert_eq!(recv_all(&other).await.unwrap(), b"ping");
            }
        });
    });
}

#[test]
fn a_dropped_exchange_of_a_large_request_lets_go_of_its_socket() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let body = pattern(8 << 20);
            for round in 0..20_usize {
                let (one, other) = UnixStream::pair().unwrap();
                {
                    let mut exchange =
                        pin!(one.exchange(vec![body.clone()], Vec::with_capacity(8)));
                    for _ in 0..=round % 5 {
                        assert!(!poll_once(exchange.as_mut()).await);
                        yield_now().await;
                    }
                }
                one.close().await.unwrap();
                let got = recv_all(&other).await.unwrap();
                assert!(got == body[..got.len()], "{} bytes", got.len());
            }
        });
    });
}

/// A byte of urgent data cuts a receive short though more lies behind it. Who takes a short
/// receive for the sign that there is no more waits for ever.
#[test]
fn what_lies_behind_urgent_data_is_received() {
    on_each_driver(|runtime| {
        let (go, gone) = mpsc::sync_channel(0);
        let (addr, server) = server(move |mut peer| {
            for _ in 0..20 {
                peer.write_all(b"abc").unwrap();
                SockRef::from(&peer).send_out_of_band(b"!").unwrap();
                peer.write_all(b"def").unwrap();
                gone.recv().unwrap();
            }
        });
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            for _ in 0..20 {
                assert_eq!(recv_exact(&stream, 6).await.unwrap(), b"abcdef");
                go.send(()).unwrap();
            }
        });
        server.join().unwrap();
    });
}

/// Something arrives, the driver hears of it, and nobody receives it: the next receive does,
/// though nothing is reported any more, and so does the next exchange.
#[test]
fn what_arrives_while_nobody_receives_is_received_later() {
    on_each_driver(|runtime| {
        let (go, gone) = mpsc::sync_channel(0);
        let (written, is_written) = mpsc::channel();
        let (addr, server) = server(move |mut peer| {
            for () in gone {
                peer.write_all(b"news").unwrap();
                written.send(()).unwrap();
            }
        });
        run(runtime, move || async move {
            let stream = TcpStream::connect(addr).await.unwrap();
            // Something is in flight, so the worker sleeps in its driver and hears of everything.
            let (idle, _other) = UnixStream::pair().unwrap();
            let mut waits = pin!(idle.recv(Vec::with_capacity(1)));
            assert!(!poll_once(waits.as_mut()).await);
            for round in 0..20 {
                // Finds nothing, so the driver watches the socket from now on.
                drivers::poll_and_drop(stream.recv(Vec::with_capacity(1))).await;
                go.send(()).unwrap();
                is_written.recv().unwrap();
                sleep(Duration::from_millis(1)).await;
                let buf = Vec::with_capacity(64);
                let buf = match round % 2 {
                    0 => stream.recv(buf).await.1,
                    _ => stream.exchange(vec!["?".into()], buf).await.buf,
                };
                // The dropped receive may have taken the first byte for this one.
                let rest = recv_exact(&stream, 4 - buf.len()).await.unwrap();
                assert_eq!([buf, rest].concat(), b"news");
            }
        });
        server.join().unwrap();
    });
}
