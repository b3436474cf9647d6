//! The client against scripted servers on plain sockets, over both drivers.

mod headers;
mod hostile;
mod proxy;
#[cfg(unix)]
mod unix;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use spanwire_runtime::blocking::spawn_blocking;
use spanwire_runtime::{Builder, driver};

use super::*;
use crate::model::{Phase, Signal, Status};
use crate::transport::endpoint::{Endpoint, Scope};

/// At least the threads of a runtime's blocking pool, where names are resolved.
const RESOLVERS: usize = 8;

/// Keeps a thread of the blocking pool busy until the sender is dropped.
fn block_a_resolver() -> (mpsc::Sender<()>, impl Sized) {
    let (release, released) = mpsc::channel();
    (release, spawn_blocking(move || released.recv().is_err()))
}

/// Above every body here that is to be read.
const BODY_BYTES_MAX: usize = 100;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

/// A server whose script runs on a thread of its own; `join` tells of its panics.
fn serve<T: Send + 'static>(
    script: impl FnOnce(TcpListener) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (address, thread::spawn(move || script(listener)))
}

/// Runs `script` with a client of `url` on a worker, with each driver that works here.
fn with_client<F>(driver: driver::Choice, url: &str, script: F) -> Vec<Outcome>
where
    F: AsyncFnOnce(&mut Client) -> Vec<Outcome> + Send + 'static,
{
    let connector = connector(url);
    let make = move || client(connector, Vec::new(), None);
    with_client_of(driver, make, script)
}

/// As `with_client`, of any client.
fn with_client_of<F>(
    driver: driver::Choice,
    make: impl FnOnce() -> Client + Send + 'static,
    script: F,
) -> Vec<Outcome>
where
    F: AsyncFnOnce(&mut Client) -> Vec<Outcome> + Send + 'static,
{
    let runtime = Builder::new().io(driver).build().unwrap();
    let task = runtime.spawn_pinned(move || async move { script(&mut make()).await });
    runtime.block_on(task).unwrap()
}

fn client(
    connector: Connector,
    headers: Vec<(HeaderName, HeaderValue)>,
    source: Option<ChangingHeaders>,
) -> Client {
    Client::new(connector, Protocol::HttpProtobuf, headers, source, BODY_BYTES_MAX)
}

fn connector(url: &str) -> Connector {
    let endpoint = Endpoint::parse(url, Scope::Base(Signal::Traces), "test").unwrap();
    Connector::plain(endpoint)
}

fn drivers() -> [driver::Choice; 2] {
    [driver::Choice::Epoll, driver::Choice::Auto]
}

/// Reads one request: its head and its body.
fn read_request(peer: &mut impl Read) -> (String, Vec<u8>) {
    try_read_request(peer).unwrap()
}

/// As `read_request`, from a client that may give up.
fn try_read_request(peer: &mut impl Read) -> io::Result<(String, Vec<u8>)> {
    let head = read_head(peer)?;
    let length = head.split("content-length: ").nth(1).unwrap();
    let mut body = vec![0; length.trim().parse().unwrap()];
    peer.read_exact(&mut body)?;
    Ok((head, body))
}

fn read_head(peer: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8(head).unwrap())
}

fn payload(parts: &[&'static [u8]]) -> Payload {
    Payload::new(parts.iter().copied().map(Bytes::from_static).collect(), 10)
}

/// A deadline for what should not need one: a failing test must not hang.
fn guard() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(20))
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn delivered() -> Outcome {
    Outcome::Delivered { rejected: 0, warning: None, status: Some(Status::Http(200)) }
}

fn phase(outcome: &Outcome) -> Phase {
    match outcome {
        Outcome::Retry { not_before: None, why } => why.phase,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_arrive_whole_and_share_one_connection() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            let requests = [(); 2].map(|()| {
                let request = read_request(&mut peer);
                peer.write_all(OK).unwrap();
                request
            });
            (requests, listener)
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            let one = client.attempt(Signal::Traces, &payload(&[b"ab", b"cde"]), guard()).await;
            let two = client.attempt(Signal::Traces, &payload(&[b"f"]), guard()).await;
            vec![one, two]
        });
        assert_eq!(outcomes, [delivered(), delivered()]);
        let (requests, _listener) = server.join().unwrap();
        for ((head, body), expected) in requests.iter().zip([&b"abcde"[..], b"f"]) {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(head.contains(&format!("\r\nhost: {address}\r\n")), "{head}");
            assert_eq!(body, expected);
        }
    }
}

#[test]
fn a_body_of_many_parts_arrives_in_order() {
    // More parts than one vectored send takes, and more bytes than a socket buffers.
    let parts: Vec<Bytes> = (0..3000_u32).map(|n| n.to_le_bytes().repeat(1000).into()).collect();
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            let (_, body) = read_request(&mut peer);
            peer.write_all(OK).unwrap();
            body
        });
        let payload = Payload::new(parts.clone(), 1);
        let outcomes = with_client(driver, &url(address), async move |client| {
            vec![client.attempt(Signal::Traces, &payload, guard()).await]
        });
        assert_eq!(outcomes, [delivered()]);
        assert!(server.join().unwrap() == parts.concat());
    }
}

#[test]
fn an_answer_in_single_bytes_is_read_whole() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            peer.set_nodelay(true).unwrap();
            read_request(&mut peer);
            let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: \
                           chunked\r\n\r\n4\r\n\x0a\x02\x08\x03\r\n0\r\n\r\n";
            answer.iter().for_each(|byte| peer.write_all(&[*byte]).unwrap());
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        assert!(matches!(outcomes[0], Outcome::Delivered { rejected: 3, .. }), "{outcomes:?}");
        server.join().unwrap();
    }
}

#[test]
fn a_connection_that_the_peer_will_close_is_not_used_again() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            // Both stay open: only the header says that the first is not to be used again.
            [b"connection: close\r\n", b"connection: other\r\n"].map(|field| {
                let (mut peer, _) = listener.accept().unwrap();
                read_request(&mut peer);
                let answer =
                    [b"HTTP/1.1 200 OK\r\n", &field[..], b"content-length: 0\r\n\r\n"].concat();
                peer.write_all(&answer).unwrap();
                peer
            })
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            let one = client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await;
            vec![one, client.attempt(Signal::Traces, &payload(&[b"y"]), guard()).await]
        });
        assert_eq!(outcomes, [delivered(), delivered()]);
        server.join().unwrap();
    }
}

#[test]
fn an_idle_connection_that_was_closed_is_noticed_before_it_is_used() {
    for driver in drivers() {
        let (closed, is_closed) = mpsc::channel();
        let (address, server) = serve(move |listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            peer.write_all(OK).unwrap();
            drop(peer);
            closed.send(()).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            peer.write_all(OK).unwrap();
        });
        let outcomes = with_client(driver, &url(address), async move |client| {
            client.unchecked_limit = Duration::ZERO;
            let one = client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await;
            is_closed.recv().unwrap();
            vec![one, client.attempt(Signal::Traces, &payload(&[b"y"]), guard()).await]
        });
        assert_eq!(outcomes, [delivered(), delivered()]);
        server.join().unwrap();
    }
}

#[test]
fn a_kept_connection_that_ends_without_a_word_is_replaced_once_and_at_once() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            peer.write_all(OK).unwrap();
            // Closed for being idle, as far as anybody can tell: twice, and the second time the
            // connection is a fresh one.
            for _ in 0..2 {
                read_request(&mut peer);
                drop(peer);
                peer = listener.accept().unwrap().0;
                read_request(&mut peer);
                peer.write_all(OK).unwrap();
            }
            read_request(&mut peer);
            drop(peer);
            read_request(&mut listener.accept().unwrap().0);
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            let mut outcomes = Vec::new();
            for _ in 0..4 {
                let request = payload(&[b"x"]);
                outcomes.push(client.attempt(Signal::Traces, &request, guard()).await);
            }
            outcomes
        });
        assert_eq!(outcomes[..3], [delivered(), delivered(), delivered()]);
        assert_eq!(phase(&outcomes[3]), Phase::Exchange);
        server.join().unwrap();
    }
}

#[test]
fn the_late_rest_of_an_answer_is_not_the_answer_to_the_next_request() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            peer.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            read_request(&mut peer);
            // A status without a body had one all the same.
            peer.write_all(b"0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            peer.write_all(OK).unwrap();
            // Of a fresh connection there is no earlier answer.
            read_request(&mut peer);
            drop(peer);
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            peer.write_all(b"0\r\n\r\n").unwrap();
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            let mut outcomes = Vec::new();
            for _ in 0..3 {
                let request = payload(&[b"x"]);
                outcomes.push(client.attempt(Signal::Traces, &request, guard()).await);
            }
            outcomes
        });
        assert!(matches!(&outcomes[0], Outcome::Delivered { .. }), "{outcomes:?}");
        assert_eq!(outcomes[1], delivered());
        assert!(matches!(&outcomes[2], Outcome::Refused { .. }), "{outcomes:?}");
        server.join().unwrap();
    }
}

#[test]
fn a_kept_connection_that_ends_within_an_answer_is_a_lost_connection() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            peer.write_all(OK).unwrap();
            read_request(&mut peer);
            peer.write_all(b"H").unwrap();
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            let one = client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await;
            vec![one, client.attempt(Signal::Traces, &payload(&[b"y"]), guard()).await]
        });
        assert_eq!((&outcomes[0], phase(&outcomes[1])), (&delivered(), Phase::Exchange));
        server.join().unwrap();
    }
}

#[test]
fn a_peer_that_closes_without_an_answer_is_a_lost_connection() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            read_request(&mut listener.accept().unwrap().0);
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        assert_eq!(phase(&outcomes[0]), Phase::Exchange);
        server.join().unwrap();
    }
}

#[test]
fn a_refused_connection_may_be_tried_again() {
    for driver in drivers() {
        // Nobody listens there: other tests keep to 127.0.0.1.
        let deaf = ([127, 9, 9, 9], 9).into();
        let outcomes = with_client(driver, &url(deaf), async |client| {
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        assert_eq!(phase(&outcomes[0]), Phase::Connect);
    }
}

#[test]
fn a_host_that_cannot_be_resolved_may_be_tried_again() {
    // A label of 64 characters is no name, so nobody is asked.
    let url = format!("http://{}.example", "x".repeat(64));
    let outcomes = with_client(driver::Choice::Auto, &url, async |client| {
        vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
    });
    assert_eq!(phase(&outcomes[0]), Phase::Resolve);
}

#[test]
fn an_answer_before_the_request_is_sent_is_heard() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_head(&mut peer).unwrap();
            peer.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n").unwrap();
            // Nothing more is read, and nothing closed, until the client gives up the connection.
            let (mut next, _) = listener.accept().unwrap();
            read_request(&mut next);
            next.write_all(OK).unwrap();
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            let large = Payload::new(vec![vec![0; 32 << 20].into()], 1);
            let refused = client.attempt(Signal::Traces, &large, guard()).await;
            vec![refused, client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        match &outcomes[0] {
            Outcome::Refused { why } => assert_eq!(why.status, Some(Status::Http(413))),
            other => panic!("{other:?}"),
        }
        assert_eq!(outcomes[1], delivered());
        server.join().unwrap();
    }
}

#[test]
fn a_deadline_bounds_the_attempt_and_leaves_the_client_usable() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            // Silent towards the first request, however far it comes before its time is up.
            let mut silent = Vec::new();
            loop {
                let (mut peer, _) = listener.accept().unwrap();
                match try_read_request(&mut peer) {
                    Ok((_, body)) if body == b"y" => break peer.write_all(OK).unwrap(),
                    _ => silent.push(peer),
                }
            }
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            let deadline = Instant::now() + Duration::from_millis(200);
            let late = client.attempt(Signal::Traces, &payload(&[b"x"]), Some(deadline)).await;
            vec![late, client.attempt(Signal::Traces, &payload(&[b"y"]), guard()).await]
        });
        assert_eq!((phase(&outcomes[0]), &outcomes[1]), (Phase::Timeout, &delivered()));
        server.join().unwrap();
    }
}

#[test]
fn a_deadline_that_has_passed_is_a_timeout_and_no_panic() {
    for driver in drivers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let outcomes = with_client(driver, &url(address), async |client| {
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), Some(Instant::now())).await]
        });
        assert_eq!(phase(&outcomes[0]), Phase::Timeout);
    }
}

#[test]
fn a_timeout_says_what_the_attempt_was_busy_with() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for driver in drivers() {
        let late = |host: &str| {
            let url = format!("http://{host}:{port}");
            let outcomes = with_client(driver, &url, async |client| {
                // Nobody is free to resolve a name until the attempt is over, and its time is up
                // before the kernel is asked for a first result.
                let busy: Vec<_> = (0..RESOLVERS).map(|_| block_a_resolver()).collect();
                let outcome =
                    client.attempt(Signal::Traces, &payload(&[b"x"]), Some(Instant::now())).await;
                drop(busy);
                vec![outcome]
            });
            match &outcomes[0] {
                Outcome::Retry { why, .. } => why.message.clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(late("localhost"), "time was up while resolving the collector's host name");
        assert_eq!(late("127.0.0.1"), "time was up while connecting to the collector");
    }
}

#[test]
fn a_body_above_the_limit_is_not_awaited() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
            peer.write_all(head.as_bytes()).unwrap();
            // Returns when the client closes the connection, without a byte of the body.
            peer.read(&mut [0]).unwrap_or(0)
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        match &outcomes[0] {
            Outcome::Delivered { rejected: 0, warning: Some(text), .. } => {
                assert!(text.ends_with("the response body is above the limit"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(server.join().unwrap(), 0);
    }
}

#[test]
fn an_answer_that_is_cut_by_the_deadline_means_what_its_status_says() {
    for driver in drivers() {
        let (over, is_over) = mpsc::channel::<()>();
        let (address, server) = serve(move |listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n\x0a").unwrap();
            // Open until the client is done.
            let _ = is_over.recv();
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            let deadline = Instant::now() + Duration::from_secs(1);
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), Some(deadline)).await]
        });
        drop(over);
        let taken = matches!(outcomes[0], Outcome::Delivered { rejected: 0, warning: Some(_), .. });
        assert!(taken, "{outcomes:?}");
        server.join().unwrap();
    }
}
