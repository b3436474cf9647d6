//! The proxy does to its connections what the script says, and nothing else.

mod support;

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

use proptest::prelude::*;
use spanwire_bench::{
    faults::{Fault, Proxy, ProxyProcess},
    sink::SinkProcess,
};
use support::{PROTOBUF, body, post};

/// A server whose connections the test holds itself.
struct Upstream {
    address: SocketAddr,
    connections: Receiver<TcpStream>,
}

impl Upstream {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, connections) = mpsc::channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Self { address, connections }
    }

    fn next(&self) -> TcpStream {
        self.connections.recv_timeout(PATIENCE).expect("a connection from the proxy")
    }
}

fn proxy_to(upstream: &Upstream, fault: Fault) -> Proxy {
    let proxy = Proxy::start("127.0.0.1:0".parse().unwrap(), upstream.address).unwrap();
    proxy.set(fault);
    proxy
}

/// Both ends of a connection through the proxy.
fn pair(upstream: &Upstream, proxy: &Proxy) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let server = upstream.next();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    (client, server)
}

fn read_exact(stream: &mut TcpStream, bytes: usize) -> Vec<u8> {
    let mut read = vec![0; bytes];
    stream.read_exact(&mut read).unwrap();
    read
}

/// Whether nothing comes for a moment.
fn is_silent(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let silent = matches!(
        stream.read(&mut [0; 1]),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
    );
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    silent
}

#[test]
fn without_a_fault_every_byte_passes_and_so_does_the_end() {
    let upstream = Upstream::start();
    let proxy = proxy_to(&upstream, Fault::Pass);
    let (mut client, mut server) = pair(&upstream, &proxy);
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
    let sent = bytes.clone();
    let sender = thread::spawn(move || {
        client.write_all(&sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    });
    let mut received = Vec::new();
    server.read_to_end(&mut received).unwrap();
    assert!(received == bytes, "{} bytes of {}", received.len(), bytes.len());
    server.write_all(b"thanks").unwrap();
    drop(server);
    assert_eq!(sender.join().unwrap(), "thanks");
    let status = proxy.status();
    assert_eq!((status.accepted, status.bytes_up, status.bytes_down), (1, 1_000_000, 6));
}

#[test]
fn latency_delays_a_round_trip_and_loses_nothing() {
    let upstream = Upstream::start();
    let proxy = proxy_to(&upstream, Fault::Latency(Duration::from_millis(40)));
    let (mut client, mut server) = pair(&upstream, &proxy);
    let start = Instant::now();
    client.write_all(b"ping").unwrap();
    assert_eq!(read_exact(&mut server, 4), b"ping");
    server.write_all(b"pong").unwrap();
    assert_eq!(read_exact(&mut client, 4), b"pong");
    assert!(start.elapsed() >= Duration::from_millis(40), "{:?}", start.elapsed());
}

#[test]
fn a_stall_holds_everything_and_its_end_lets_it_go_on() {
    let upstream = Upstream::start();
    let proxy = proxy_to(&upstream, Fault::Pass);
    let (mut client, mut server) = pair(&upstream, &proxy);
    proxy.set(Fault::Stall);
    client.write_all(b"held").unwrap();
    assert!(is_silent(&mut server));
    proxy.set(Fault::Pass);
    assert_eq!(read_exact(&mut server, 4), b"held");
}

#[test]
fn a_half_open_connection_stays_dead_and_new_ones_work_afterwards() {
    let upstream = Upstream::start();
    let proxy = proxy_to(&upstream, Fault::Pass);
    let (mut client, mut server) = pair(&upstream, &proxy);
    proxy.set(Fault::Blackhole);
    client.write_all(b"into the void").unwrap();
    assert!(is_silent(&mut server) && is_silent(&mut client));
    proxy.set(Fault::Pass);
    client.write_all(b"still").unwrap();
    assert!(is_silent(&mut server) && is_silent(&mut client));
    let (mut other, mut served) = pair(&upstream, &proxy);
    other.write_all(b"alive").unwrap();
    assert_eq!(read_exact(&mut served, 5), b"alive");
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).unwrap_or(0), 0, "the client's end ends it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_reset_comes_after_exactly_so_many_bytes_of_an_answer(at in 0..200_usize, written in 1..40_usize) {
        let upstream = Upstream::start();
        let proxy = proxy_to(&upstream, Fault::Reset(at as u64));
        let (mut client, mut server) = pair(&upstream, &proxy);
        client.write_all(b"request").unwrap();
        read_exact(&mut server, 7);
        let answer: Vec<u8> = (0..=255).collect();
        for piece in answer.chunks(written) {
            // The proxy may have reset it by now.
            let _ = server.write_all(piece);
        }
        let mut received = Vec::new();
        let ended = client.read_to_end(&mut received);
        prop_assert_eq!(ended.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
        prop_assert_eq!(&received[..], &answer[..at]);
    }
}

#[test]
fn a_slow_reader_loses_nothing() {
    let upstream = Upstream::start();
    let proxy = proxy_to(&upstream, Fault::Slow(1_000_000));
    let (mut client, mut server) = pair(&upstream, &proxy);
    let bytes = vec![7; 200_000];
    let (sent, start) = (bytes.clone(), Instant::now());
    let sender = thread::spawn(move || client.write_all(&sent));
    assert!(read_exact(&mut server, bytes.len()) == bytes);
    assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
    sender.join().unwrap().unwrap();
}

#[test]
fn refusing_resets_what_is_there_and_what_comes() {
    let upstream = Upstream::start();
    let proxy = proxy_to(&upstream, Fault::Pass);
    let (mut client, _server) = pair(&upstream, &proxy);
    proxy.set(Fault::Refuse);
    let reset = Some(ErrorKind::ConnectionReset);
    assert_eq!(client.read(&mut [0; 1]).err().map(|error| error.kind()), reset);
    let mut next = TcpStream::connect(proxy.address()).unwrap();
    next.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(next.read(&mut [0; 1]).err().map(|error| error.kind()), reset);
    assert!(upstream.connections.try_recv().is_err(), "nothing went on");
}

#[test]
fn a_scripted_status_is_answered_and_no_collector_sees_the_request() {
    let upstream = Upstream::start();
    let proxy = proxy_to(&upstream, Fault::Answer(503, Some(2)));
    let endpoint = format!("http://{}", proxy.address());
    assert_eq!(post(&endpoint, PROTOBUF, &body(&[1, 2, 3])), (503, Vec::new()));
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    for _ in 0..2 {
        client.write_all(b"POST / HTTP/1.1\r\ncontent-length: 2\r\n\r\nxx").unwrap();
        let expected =
            b"HTTP/1.1 503 Scripted\r\nretry-after: 2\r\ncontent-length: 0\r\n\r\n".as_slice();
        assert_eq!(read_exact(&mut client, expected.len()), expected, "and kept alive");
    }
    assert!(upstream.connections.try_recv().is_err());
    proxy.set(Fault::Pass);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "its connections end with the fault");
    pair(&upstream, &proxy);
}

#[test]
fn answers_without_an_end_go_on_until_the_client_has_enough() {
    for (fault, begin) in [
        (Fault::Endless(200), "HTTP/1.1 200 Scripted\r\ncontent-type"),
        (Fault::HeaderBomb, "HTTP/1.1 200 OK\r\nx-bomb"),
        (Fault::Garbage, "220 mail"),
    ] {
        let upstream = Upstream::start();
        let proxy = proxy_to(&upstream, fault);
        let mut client = TcpStream::connect(proxy.address()).unwrap();
        client.write_all(b"POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n").unwrap();
        let answer = read_exact(&mut client, begin.len());
        assert_eq!(String::from_utf8(answer).unwrap(), begin);
        if fault != Fault::Garbage {
            read_exact(&mut client, 1 << 20);
        }
    }
}

#[test]
fn the_proxy_as_a_process_takes_faults_from_its_standard_input() {
    let sink = SinkProcess::start_program(program(), None).unwrap();
    let to = sink.endpoint().strip_prefix("http://").unwrap().parse().unwrap();
    let mut proxy = ProxyProcess::start_program(program(), to, Fault::Pass).unwrap();
    let endpoint = format!("http://{}", proxy.address());
    assert_eq!(post(&endpoint, PROTOBUF, &body(&[1, 2])).0, 200);
    let status = proxy.set(Fault::Answer(429, None)).unwrap();
    assert_eq!(status["fault"], "answer 429");
    assert_eq!(post(&endpoint, PROTOBUF, &body(&[3])).0, 429);
    proxy.set(Fault::Pass).unwrap();
    assert_eq!(post(&endpoint, PROTOBUF, &body(&[4])).0, 200);
    assert_eq!(proxy.status().unwrap()["accepted"], 3);
    assert_eq!(sink.finish().unwrap().traces.unique, 3);
}

#[test]
fn a_script_that_is_wrong_is_refused_before_anything_listens() {
    let script = std::env::temp_dir().join(format!("spanwire-script-{}", std::process::id()));
    std::fs::write(&script, "0s pass\n1s explode\n").unwrap();
    let output = Command::new(program())
        .args(["proxy", "--to", "127.0.0.1:9", "--script"])
        .arg(&script)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    std::fs::remove_file(script).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("line 2"), "{error}");
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_spanwire"))
}

/// Long enough that only a bug reaches it.
const PATIENCE: Duration = Duration::from_secs(20);
