//! OTLP/gRPC against a server that is written frame by frame, for what no library would do.
#![cfg(all(target_os = "linux", feature = "grpc"))]

mod support;

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use spanwire::{Builder, Exporter, Io, Protocol};

use support::otel::{LONG, assert_balanced, builder, drivers, end_spans, provider};

/// A frame as in RFC 9113, section 4.1.
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Self {
        Self { kind, flags, stream, payload: payload.to_vec() }
    }

    fn bytes(&self) -> Vec<u8> {
        let length = (self.payload.len() as u32).to_be_bytes();
        let head = [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }

    fn read(socket: &mut impl Read) -> io::Result<Self> {
        let mut head = [0; 9];
        socket.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; length];
        socket.read_exact(&mut payload)?;
        Ok(Self { kind: head[3], flags: head[4], stream, payload })
    }
}

/// A connection after the client's preface; our settings, which change nothing, are sent.
struct Peer(TcpStream);

impl Peer {
    fn greet(mut socket: TcpStream) -> io::Result<Self> {
        let mut preface = [0; PREFACE.len()];
        socket.read_exact(&mut preface)?;
        assert_eq!(&preface, PREFACE);
        let mut peer = Self(socket);
        peer.send(&[Frame::new(SETTINGS, 0, 0, &[]), Frame::new(SETTINGS, ACK, 0, &[])])?;
        Ok(peer)
    }

    fn send(&mut self, frames: &[Frame]) -> io::Result<()> {
        let bytes: Vec<_> = frames.iter().flat_map(Frame::bytes).collect();
        self.0.write_all(&bytes)
    }

    /// Reads up to the end of the next request; returns its stream.
    fn next_request(&mut self) -> io::Result<u32> {
        loop {
            let frame = Frame::read(&mut self.0)?;
            if frame.kind == DATA && frame.flags & END_STREAM != 0 {
                return Ok(frame.stream);
            }
        }
    }

    /// Status OK, in literals without indexing (RFC 7541, section 6.2.2), and no message.
    fn accept(&mut self, stream: u32) -> io::Result<()> {
        let mut fields = vec![0x88];
        for (name, value) in [("content-type", "application/grpc"), ("grpc-status", "0")] {
            fields.push(0);
            for text in [name, value] {
                fields.push(text.len() as u8);
                fields.extend_from_slice(text.as_bytes());
            }
        }
        self.send(&[Frame::new(HEADERS, END_STREAM | END_HEADERS, stream, &fields)])
    }

    fn serve(mut self) -> io::Result<()> {
        loop {
            let stream = self.next_request()?;
            self.accept(stream)?;
        }
    }
}

/// Gives the first connection to `first`; all others are served as they should be. Returns how
/// many there were.
fn start(
    first: impl FnOnce(Peer) -> io::Result<()> + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((support::own_ip(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&connections);
    thread::spawn(move || {
        let mut first = Some(first);
        for socket in listener.incoming() {
            let Ok(peer) = Peer::greet(socket.unwrap()) else { continue };
            count.fetch_add(1, Ordering::SeqCst);
            match first.take() {
                Some(first) => thread::spawn(move || first(peer)),
                None => thread::spawn(move || peer.serve()),
            };
        }
    });
    (address, connections)
}

fn to(address: SocketAddr, io: Io) -> Builder {
    builder(&format!("http://{address}")).0.protocol(Protocol::Grpc).io(io)
}

fn deliver(exporter: &Exporter, spans: usize) {
    end_spans(&provider(exporter, "service"), spans);
    exporter.flush(LONG).unwrap();
    assert_eq!(exporter.stats().delivered, spans as u64);
    assert_balanced(&exporter.stats(), spans);
}

#[test]
fn wire3_a_stream_above_the_last_one_of_a_goodbye_is_tried_again_elsewhere() {
    for io in drivers() {
        for reason in [NO_ERROR, ENHANCE_YOUR_CALM] {
            let (address, connections) = start(move |mut peer| {
                peer.next_request()?;
                // Nothing was processed. The connection stays: it is for the client to go.
                peer.send(&[Frame::new(GOAWAY, 0, 0, &[[0; 4], reason].concat())])?;
                while Frame::read(&mut peer.0).is_ok() {}
                Ok(())
            });
            let exporter = to(address, io).timeout(LONG).build().unwrap();
            deliver(&exporter, 5);
            assert_eq!((exporter.stats().requests, exporter.stats().retries), (2, 1), "{io:?}");
            assert_eq!(connections.load(Ordering::SeqCst), 2, "{io:?}");
        }
    }
}

#[test]
fn a_stream_that_a_goodbye_includes_is_waited_for_on_the_connection_that_goes() {
    for io in drivers() {
        let (address, connections) = start(|mut peer| {
            let stream = peer.next_request()?;
            let last = stream.to_be_bytes();
            peer.send(&[Frame::new(GOAWAY, 0, 0, &[last, NO_ERROR].concat())])?;
            peer.accept(stream)?;
            while Frame::read(&mut peer.0).is_ok() {}
            Ok(())
        });
        let exporter = to(address, io).timeout(LONG).build().unwrap();
        deliver(&exporter, 5);
        assert_eq!((exporter.stats().requests, exporter.stats().retries), (1, 0), "{io:?}");
        assert_eq!(connections.load(Ordering::SeqCst), 1, "{io:?}");
        deliver_more(&exporter, 10);
        assert_eq!(connections.load(Ordering::SeqCst), 2, "{io:?}");
    }
}

/// Five more spans, which make `all`.
fn deliver_more(exporter: &Exporter, all: u64) {
    end_spans(&provider(exporter, "service"), 5);
    exporter.flush(LONG).unwrap();
    assert_eq!((exporter.stats().delivered, exporter.stats().retries), (all, 0));
}

#[test]
fn no_request_is_sent_before_the_peers_limits_are_known() {
    for io in drivers() {
        let (address, _) = start(|mut peer| {
            let mut knows_limits = false;
            let stream = loop {
                let frame = Frame::read(&mut peer.0)?;
                match frame.kind {
                    SETTINGS => knows_limits |= frame.flags & ACK != 0,
                    HEADERS => break frame.stream,
                    _ => {}
                }
            };
            if !knows_limits {
                // As nghttpd does it with small windows, and as RFC 9113, section 6.9.3, allows.
                return peer.send(&[Frame::new(RST_STREAM, 0, stream, &FLOW_CONTROL_ERROR)]);
            }
            peer.next_request()?;
            peer.accept(stream)?;
            peer.serve()
        });
        deliver(&to(address, io).timeout(LONG).build().unwrap(), 5);
    }
}

/// What a peer can say for ever without an answer being due, or with one that it never reads.
fn floods() -> Vec<(&'static str, Vec<Frame>)> {
    let window = 1_u32.to_be_bytes();
    vec![
        ("pings", vec![Frame::new(PING, 0, 0, &[7; 8])]),
        ("settings", vec![Frame::new(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])]),
        ("unknown frames", vec![Frame::new(0xfa, 0, 0, b"anything")]),
        ("window updates", vec![Frame::new(WINDOW_UPDATE, 0, 1, &window)]),
        ("empty data", vec![Frame::new(HEADERS, END_HEADERS, 1, &[0x88])]),
        // `:status: 103`, a literal that is not indexed.
        ("interim answers", vec![Frame::new(HEADERS, END_HEADERS, 1, b"\x08\x03103")]),
        ("fields", vec![Frame::new(HEADERS, 0, 1, &[0x88])]),
    ]
}

/// What follows the first frame of a flood; else that frame itself.
fn endless(kind: &str) -> Option<Frame> {
    match kind {
        "empty data" => Some(Frame::new(DATA, 0, 1, &[])),
        "fields" => Some(Frame::new(CONTINUATION, 0, 1, b"\x00\x01x\x01y")),
        _ => None,
    }
}

#[test]
fn what_a_peer_says_without_end_is_not_kept_and_a_shutdown_does_not_wait_for_its_end() {
    for io in drivers() {
        for (kind, frames) in floods() {
            let (address, _) = start(move |mut peer| {
                peer.next_request()?;
                peer.send(&frames)?;
                let one = endless(kind).unwrap_or_else(|| frames.into_iter().next().unwrap());
                let many = one.bytes().repeat((64 << 10) / one.bytes().len());
                loop {
                    peer.0.write_all(&many)?;
                }
            });
            let exporter = to(address, io).timeout(LONG).build().unwrap();
            let provider = provider(&exporter, "service");
            end_spans(&provider, 5);
            let before = memory();
            // Some of it ends the connection, and another takes the spans. The rest goes on.
            let _ = exporter.flush(Duration::from_millis(500));
            let grown = memory().saturating_sub(before);
            assert!(grown < GROWTH_MAX, "{io:?}, {kind}: {} MiB", grown >> 20);
            let _ = exporter.shutdown(Duration::from_millis(100));
            assert_balanced(&exporter.stats(), 5);
        }
    }
}

/// Of this process, in bytes.
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() << 12
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const NO_ERROR: [u8; 4] = [0; 4];
const FLOW_CONTROL_ERROR: [u8; 4] = [0, 0, 0, 3];
const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];
/// Some tens of megabytes arrive in the time.
const GROWTH_MAX: usize = 32 << 20;
