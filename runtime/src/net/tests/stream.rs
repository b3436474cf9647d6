//! Connecting, sending and receiving.

use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join;
use socket2::SockRef;

use super::*;

#[test]
fn connect_send_and_receive() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            stream.set_nodelay(true).unwrap();
            assert_eq!(stream.peer_addr().unwrap(), peer.local_addr().unwrap());
            assert_eq!(stream.local_addr().unwrap(), peer.peer_addr().unwrap());
            stream.send_all(vec![Bytes::from_static(b"ping")]).await.unwrap();
            let mut ping = [0; 4];
            peer.read_exact(&mut ping).unwrap();
            peer.write_all(b"pong").unwrap();
            assert_eq!((&ping, &recv_exact(&stream, 4).await[..]), (b"ping", &b"pong"[..]));
            stream.close().await.unwrap();
            assert_eq!(peer.read(&mut ping).unwrap(), 0);
        });
    });
}

#[test]
fn connects_over_ipv6() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return eprintln!("SKIPPED: no IPv6 here");
    };
    on_each_driver(|driver| {
        let addr = listener.local_addr().unwrap();
        let stream = block_on(driver, TcpStream::connect(addr)).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    on_each_driver(|driver| {
        // Nobody listens there: other tests keep to 127.0.0.1.
        let addr = (Ipv4Addr::new(127, 9, 9, 9), 9).into();
        let error = block_on(driver, TcpStream::connect(addr)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    });
}

#[test]
fn many_small_buffers_arrive_in_order() {
    on_each_driver(|driver| {
        let pieces: Vec<Bytes> = (0..5000_u32)
            .map(|i| Bytes::from(i.to_le_bytes()[..i as usize % 4].to_vec()))
            .collect();
        let expected = pieces.concat();
        let received = block_on(driver, async {
            let (stream, mut peer) = pair().await;
            let reader = thread::spawn(move || {
                let mut all = Vec::new();
                peer.read_to_end(&mut all).map(|_| all)
            });
            stream.send_all(pieces).await.unwrap();
            stream.close().await.unwrap();
            reader.join().unwrap().unwrap()
        });
        assert!(received == expected, "{} of {} bytes", received.len(), expected.len());
    });
}

#[test]
fn eight_megabytes_pass_a_slow_reader() {
    on_each_driver(|driver| {
        let body: Bytes = (0..8 << 20).map(|i: u32| (i % 251) as u8).collect::<Vec<_>>().into();
        let received = block_on(driver, async {
            let (stream, mut peer) = pair().await;
            SockRef::from(&peer).set_recv_buffer_size(16 << 10).unwrap();
            let reader = thread::spawn(move || {
                let (mut all, mut piece) = (Vec::new(), [0; 1500]);
                loop {
                    let count = peer.read(&mut piece).unwrap();
                    if count == 0 {
                        return all;
                    }
                    all.extend_from_slice(&piece[..count]);
                    thread::yield_now();
                }
            });
            stream.send_all(vec![body.slice(..77), body.slice(77..)]).await.unwrap();
            drop(stream);
            reader.join().unwrap()
        });
        assert!(received == body, "{} of {} bytes", received.len(), body.len());
    });
}

#[test]
fn send_gives_the_buffers_back() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, _peer) = pair().await;
            let bufs = vec![Bytes::new(), Bytes::from_static(b"abc"), Bytes::from_static(b"de")];
            let (sent, back) = stream.send(bufs.clone()).await;
            // A hostile kernel sends less, but something.
            assert!((1..=5).contains(&sent.unwrap()));
            assert_eq!(back, bufs);
            let (sent, back) = stream.send(vec![Bytes::new()]).await;
            assert_eq!((sent.unwrap(), back.len()), (0, 1));
        });
    });
}

#[test]
fn a_receive_appends_within_capacity() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            peer.write_all(b"0123456789").unwrap();
            arrived(&stream, 10);
            let mut buf = Vec::with_capacity(7);
            buf.extend_from_slice(b"abc");
            let room = buf.capacity() - 3;
            // A hostile kernel needs several calls.
            while buf.len() < buf.capacity() {
                let (before, (received, more)) = (buf.len(), stream.recv(buf).await);
                assert_eq!(received.unwrap(), more.len() - before);
                buf = more;
            }
            assert_eq!(buf.capacity(), 3 + room, "nothing was reallocated");
            assert_eq!(&buf[..], &b"abc0123456789"[..3 + room]);
            let (full, buf) = stream.recv(buf).await;
            assert_eq!(full.unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert_eq!(buf.len(), 3 + room);
        });
    });
}

#[test]
fn the_end_of_the_stream_is_zero_bytes() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, peer) = pair().await;
            assert!(!stream.is_stale());
            peer.shutdown(Shutdown::Write).unwrap();
            let (received, _) = stream.recv(Vec::with_capacity(8)).await;
            assert_eq!(received.unwrap(), 0);
            assert!(stream.is_stale());
        });
    });
}

#[test]
fn unasked_bytes_make_a_connection_stale() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            peer.write_all(b"408").unwrap();
            arrived(&stream, 3);
            assert!(stream.is_stale());
            assert_eq!(recv_exact(&stream, 3).await, b"408");
            assert!(!stream.is_stale());
        });
    });
}

#[test]
fn a_reset_is_an_error() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, peer) = pair().await;
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let (received, _) = stream.recv(Vec::with_capacity(8)).await;
            assert_eq!(received.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        });
    });
}

#[test]
fn a_send_to_a_closed_peer_is_an_error_and_no_signal() {
    // The default action of SIGPIPE ends a process, so a child has to survive this.
    if !is_child("sigpipe") {
        return run_child(
            "sigpipe",
            "net::tests::stream::a_send_to_a_closed_peer_is_an_error_and_no_signal",
        );
    }
    // SAFETY: no other thread of this process depends on the action of SIGPIPE.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, peer) = pair().await;
            SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
            drop(peer);
            let (_, buf) = stream.recv(Vec::with_capacity(8)).await;
            assert_eq!(buf.len(), 0);
            let error = stream.send_all(vec![Bytes::from_static(b"x")]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        });
    });
}

#[test]
fn send_and_receive_at_the_same_time() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            let echo = thread::spawn(move || {
                let mut buf = [0; 4096];
                loop {
                    match peer.read(&mut buf).unwrap() {
                        0 => return,
                        count => peer.write_all(&buf[..count]).unwrap(),
                    }
                }
            });
            let body = Bytes::from(vec![7; 4 << 20]);
            let (sent, got) =
                join(stream.send_all(vec![body.clone()]), recv_exact(&stream, body.len())).await;
            sent.unwrap();
            assert!(got == body);
            drop(stream);
            echo.join().unwrap();
        });
    });
}

#[test]
fn what_is_given_back_comes_first_and_makes_the_stream_stale_until_it_is_taken() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            peer.write_all(b"abcdef").unwrap();
            let received = recv_exact(&stream, 6).await;
            assert!(!stream.is_stale());
            stream.unread(&received[4..]);
            stream.unread(&received[2..4]);
            assert!(stream.is_stale());
            peer.write_all(b"gh").unwrap();
            assert_eq!(recv_exact(&stream, 6).await, b"cdefgh");
            assert!(!stream.is_stale());
        });
    });
}
