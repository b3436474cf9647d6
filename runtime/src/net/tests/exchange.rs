//! Requests and their answers, also on kernels that send less than they could.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;

use bytes::Bytes;

use super::*;
use crate::net::Sent;

/// Answers each connection, once it has ended, with what it has received.
fn mirror(mut peer: std::net::TcpStream) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        peer.write_all(&all).unwrap();
    })
}

#[test]
fn each_request_is_sent_once_and_whole() {
    on_each_driver(|driver| {
        for length in [1, 2, 100, 5000] {
            let (received, length) = block_on(driver, async {
                let (stream, peer) = pair().await;
                let mut echo = peer.try_clone().unwrap();
                let answers = thread::spawn(move || {
                    let mut request = vec![0; length];
                    echo.read_exact(&mut request).unwrap();
                    echo.write_all(b"?").unwrap();
                    request
                });
                let pieces = vec![Bytes::from(vec![b'a'; length / 2]); 2];
                let last = Bytes::from(vec![b'b'; length % 2]);
                let bufs = [pieces, vec![last]].concat();
                let exchanged = stream.exchange(bufs, Vec::with_capacity(1)).await;
                // A hostile kernel may tell of the answer before it tells of the request's end.
                assert!(!matches!(exchanged.sent, Sent::Failed(_)), "{exchanged:?}");
                assert_eq!((exchanged.received.unwrap(), exchanged.buf), (1, b"?".to_vec()));
                stream.shutdown(Shutdown::Write).unwrap();
                // Nothing was sent twice.
                mirror(peer).join().unwrap();
                assert_eq!(recv_to_end(&stream).await, b"");
                (answers.join().unwrap(), length)
            });
            let expected = [vec![b'a'; length / 2 * 2], vec![b'b'; length % 2]].concat();
            assert!(received == expected, "{} of {length} bytes", received.len());
        }
    });
}

async fn recv_to_end(stream: &crate::net::Stream) -> Vec<u8> {
    let mut all = Vec::with_capacity(64);
    loop {
        let (received, buf) = stream.recv(all).await;
        all = buf;
        if received.unwrap() == 0 {
            return all;
        }
        all.reserve(64);
    }
}

#[test]
fn what_a_dropped_exchange_received_is_not_lost() {
    on_each_driver(|driver| {
        block_on(driver, async {
            for turns in 0..6 {
                let (stream, mut peer) = pair().await;
                {
                    let bufs = vec![Bytes::from_static(b"who is there")];
                    let mut exchange = pin!(stream.exchange(bufs, Vec::with_capacity(3)));
                    poll_once(exchange.as_mut()).await;
                    peer.write_all(b"nobody").unwrap();
                    for _ in 0..turns {
                        driver.turn();
                    }
                }
                assert_eq!(recv_exact(&stream, 6).await, b"nobody");
                stream.close().await.unwrap();
            }
        });
    });
}
