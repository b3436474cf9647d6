//! Streams behind the traits of futures-io keep what those traits promise, on each driver.

use std::future::Future;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream as Peer};
use std::pin::pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;

use futures_util::future::{join, poll_fn};
use futures_util::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use proptest::prelude::*;
use spanwire_runtime::compat::Io;
use spanwire_runtime::driver::Choice;
use spanwire_runtime::net::TcpStream;
use spanwire_runtime::{Builder, Runtime};

/// Runs the test with the driver of choice and with the poller.
fn on_each_driver(test: impl Fn(&Runtime)) {
    for choice in [Choice::Auto, Choice::Epoll] {
        test(&Builder::new().io(choice).build().unwrap());
    }
}

/// Runs `client` on the worker, connected to `peer` on a thread of its own.
fn against<C, F, P>(runtime: &Runtime, peer: P, client: C) -> F::Output
where
    C: FnOnce(Io<TcpStream>) -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
    P: FnOnce(Peer) + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    let peer = thread::spawn(move || peer(listener.accept().unwrap().0));
    let client = runtime.spawn_pinned(move || async move {
        client(Io::new(TcpStream::connect(addr).await.unwrap())).await
    });
    let output = runtime.block_on(client).unwrap();
    peer.join().unwrap();
    output
}

/// Sends back what comes, then ends.
fn echo(mut peer: Peer) {
    io::copy(&mut peer.try_clone().unwrap(), &mut peer).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
}

/// Bytes in which what is lost, swapped or doubled shows: no buffer is a multiple of its period.
fn pattern(length: usize) -> Vec<u8> {
    let period = |at: usize| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0];
    let period: Vec<u8> = (0..65_521).map(period).collect();
    let mut all = period.repeat(length.div_ceil(period.len()));
    all.truncate(length);
    all
}

/// One poll that leads to nothing.
fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn bytes_survive_any_chunking(
        writes in prop::collection::vec(1_usize..100_000, 1..12),
        reads in prop::collection::vec(1_usize..40_000, 1..6),
        vectored in any::<bool>(),
    ) {
        on_each_driver(|runtime| {
            let sent = pattern(writes.iter().sum());
            let (expected, writes, reads) = (sent.clone(), writes.clone(), reads.clone());
            let received = against(runtime, echo, move |io| async move {
                let (mut reader, mut writer) = io.split();
                let write = async {
                    let mut rest = &sent[..];
                    for length in writes {
                        let (now, later) = rest.split_at(length);
                        if vectored {
                            write_in_pieces(&mut writer, now).await;
                        } else {
                            writer.write_all(now).await.unwrap();
                        }
                        rest = later;
                    }
                    writer.close().await.unwrap();
                };
                let read = async {
                    let mut all = Vec::new();
                    for &length in reads.iter().cycle() {
                        let mut chunk = vec![0; length];
                        match reader.read(&mut chunk).await.unwrap() {
                            0 => break,
                            count => all.extend_from_slice(&chunk[..count]),
                        }
                    }
                    all
                };
                join(write, read).await.1
            });
            assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
        });
    }
}

/// Writes `bytes` through vectored writes of three pieces each.
async fn write_in_pieces(writer: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let (first, rest) = bytes.split_at(bytes.len() / 3);
        let (second, third) = rest.split_at(rest.len() / 2);
        let pieces = [first, second, third].map(io::IoSlice::new);
        bytes = &bytes[writer.write_vectored(&pieces).await.unwrap()..];
    }
}

#[test]
fn a_big_body_arrives_whole() {
    on_each_driver(|runtime| {
        let is_whole = against(runtime, echo, |io| async move {
            let (mut reader, mut writer) = io.split();
            let (sent, mut received) = (pattern(8 << 20), vec![0; 8 << 20]);
            let write = async {
                writer.write_all(&sent).await.unwrap();
                writer.close().await.unwrap();
            };
            let read = async {
                reader.read_exact(&mut received).await.unwrap();
                assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
            };
            join(write, read).await;
            received == sent
        });
        assert!(is_whole);
    });
}

#[test]
fn a_write_is_on_its_way_without_a_flush() {
    on_each_driver(|runtime| {
        against(runtime, echo, |mut io| async move {
            let mut back = [0; 4];
            io.write_all(b"ping").await.unwrap();
            io.read_exact(&mut back).await.unwrap();
            assert_eq!(&back, b"ping");
            io.close().await.unwrap();
        });
    });
}

#[test]
fn closing_ends_our_half_and_leaves_the_peers() {
    on_each_driver(|runtime| {
        let peer = |mut peer: Peer| {
            let mut all = String::new();
            peer.read_to_string(&mut all).unwrap();
            assert_eq!(all, "question");
            peer.write_all(b"answer").unwrap();
        };
        against(runtime, peer, |mut io| async move {
            io.write_all(b"question").await.unwrap();
            io.close().await.unwrap();
            io.close().await.unwrap();
            let late = io.write(b"more").await.unwrap_err();
            assert_eq!(late.kind(), ErrorKind::BrokenPipe);
            let mut answer = String::new();
            io.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "answer");
        });
    });
}

#[test]
fn a_read_that_is_dropped_loses_nothing() {
    on_each_driver(|runtime| {
        let (go, told) = mpsc::channel();
        let peer = move |mut peer: Peer| {
            told.recv().unwrap();
            peer.write_all(b"0123456789").unwrap();
        };
        against(runtime, peer, |mut io| async move {
            for _ in 0..3 {
                assert!(poll_once(io.read(&mut [0; 4])).is_pending());
            }
            go.send(()).unwrap();
            let mut all = String::new();
            io.read_to_string(&mut all).await.unwrap();
            assert_eq!(all, "0123456789");
        });
    });
}

#[test]
fn a_read_exact_that_is_dropped_half_way_leaves_the_rest() {
    on_each_driver(|runtime| {
        let (go, told) = mpsc::channel();
        let peer = move |mut peer: Peer| {
            peer.write_all(b"01234").unwrap();
            told.recv().unwrap();
            peer.write_all(b"56789").unwrap();
        };
        against(runtime, peer, |mut io| async move {
            let mut buf = [0; 8];
            // All five are there; whoever cancels this finds them in the buffer.
            assert_eq!(io.fill_buf().await.unwrap().len(), 5);
            assert!(poll_once(io.read_exact(&mut buf)).is_pending());
            assert_eq!(&buf, b"01234\0\0\0");
            go.send(()).unwrap();
            let mut rest = String::new();
            io.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "56789");
        });
    });
}

#[test]
fn what_a_write_has_taken_arrives_even_if_the_next_one_is_dropped() {
    on_each_driver(|runtime| {
        let (go, told) = mpsc::channel();
        let (report, reported) = mpsc::channel();
        let peer = move |mut peer: Peer| {
            told.recv().unwrap();
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            report.send(all).unwrap();
        };
        let taken = against(runtime, peer, move |mut io| async move {
            let bytes = pattern(32 << 20);
            let mut taken = 0;
            // The peer does not read yet, so this ends when all buffers are full.
            while let Poll::Ready(count) = poll_once(io.write(&bytes[taken..])) {
                taken += count.unwrap();
            }
            assert!(poll_once(io.write_all(&bytes[taken..])).is_pending());
            go.send(()).unwrap();
            io.close().await.unwrap();
            taken
        });
        assert!(reported.recv().unwrap() == pattern(taken), "{taken} bytes were taken");
    });
}

#[test]
fn a_peer_that_goes_away_is_an_error_and_stays_one() {
    on_each_driver(|runtime| {
        // Closing with bytes unread resets the connection.
        let peer = |mut peer: Peer| peer.read_exact(&mut [0; 8]).unwrap();
        against(runtime, peer, |mut io| async move {
            let bytes = pattern(32 << 20);
            let error = io.write_all(&bytes).await.unwrap_err();
            let gone = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
            assert!(gone.contains(&error.kind()), "{error}");
            let again = io.write(&bytes).await.unwrap_err();
            assert_eq!(again.kind(), error.kind());
            assert!(again.to_string().contains("earlier send"), "{again}");
            assert_eq!(io.flush().await.unwrap_err().kind(), error.kind());
        });
    });
}

#[test]
fn the_end_of_the_stream_is_the_end_as_often_as_one_asks() {
    on_each_driver(|runtime| {
        against(runtime, drop, |mut io| async move {
            for _ in 0..3 {
                assert_eq!(io.read(&mut [0; 4]).await.unwrap(), 0);
            }
        });
    });
}

#[test]
fn lines_are_read_across_receives() {
    on_each_driver(|runtime| {
        let peer = |mut peer: Peer| {
            for piece in ["one\ntw", "o\nthr", "ee"] {
                peer.write_all(piece.as_bytes()).unwrap();
            }
        };
        against(runtime, peer, |mut io| async move {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                if io.read_line(&mut line).await.unwrap() == 0 {
                    break;
                }
                lines.push(line);
            }
            assert_eq!(lines, ["one\n", "two\n", "three"]);
        });
    });
}

/// The traits say that an empty read or write is no news.
#[test]
fn empty_reads_and_writes_are_ready() {
    on_each_driver(|runtime| {
        against(runtime, echo, |mut io| async move {
            assert_eq!(io.read(&mut []).await.unwrap(), 0);
            assert_eq!(io.write(&[]).await.unwrap(), 0);
            poll_fn(|cx| std::pin::Pin::new(&mut io).poll_flush(cx)).await.unwrap();
            io.close().await.unwrap();
        });
    });
}

#[cfg(unix)]
#[test]
fn a_unix_stream_is_behind_the_same_traits() {
    use spanwire_runtime::net::{UnixListener, UnixStream};

    on_each_driver(|runtime| {
        let path = std::env::temp_dir().join(format!("spanwire-compat-{}", std::process::id()));
        let task = runtime.spawn_pinned(move || async move {
            let listener = UnixListener::bind(&path).unwrap();
            let (mut client, server) =
                join(async { Io::new(UnixStream::connect(&path).await.unwrap()) }, async {
                    Io::new(listener.accept().await.unwrap().0)
                })
                .await;
            std::fs::remove_file(&path).unwrap();
            let (reader, mut writer) = server.split();
            let echo = async {
                futures_util::io::copy(reader, &mut writer).await.unwrap();
                writer.close().await.unwrap();
            };
            let mut back = Vec::new();
            let ask = async {
                client.write_all(b"over a path").await.unwrap();
                client.close().await.unwrap();
                client.read_to_end(&mut back).await.unwrap();
            };
            join(echo, ask).await;
            back
        });
        assert_eq!(runtime.block_on(task).unwrap(), b"over a path");
    });
}
