//! Futures that are dropped half-way, and what is left behind.

use std::collections::HashSet;
use std::fs;
use std::future::{Future, poll_fn};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::*;

#[test]
fn bytes_of_a_dropped_receive_go_to_the_next() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            poll_and_drop(stream.recv(Vec::with_capacity(3))).await;
            peer.write_all(b"first").unwrap();
            assert_eq!(recv_exact(&stream, 5).await, b"first");

            // This time the bytes are there before the kernel hears of the cancellation.
            {
                let mut receive = pin!(stream.recv(Vec::with_capacity(3)));
                poll_once(receive.as_mut()).await;
                driver.turn();
                peer.write_all(b"second").unwrap();
            }
            peer.write_all(b"|third").unwrap();
            assert_eq!(recv_exact(&stream, 12).await, b"second|third");
        });
    });
}

#[test]
fn a_completed_but_unfetched_receive_loses_nothing() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            {
                let mut receive = pin!(stream.recv(Vec::with_capacity(3)));
                poll_once(receive.as_mut()).await;
                driver.turn();
                peer.write_all(b"abcdef").unwrap();
                while driver.in_flight() > 0 {
                    driver.park(None);
                }
            }
            assert_eq!(recv_exact(&stream, 6).await, b"abcdef");
        });
    });
}

#[test]
fn a_connect_can_be_dropped() {
    on_each_driver(|driver| {
        // Nobody answers at this address (RFC 5737), and if somebody refuses, that is as good.
        let addr = SocketAddr::from(([192, 0, 2, 1], 9));
        let _polled_once = block_on(driver, async {
            let mut connect = pin!(TcpStream::connect(addr));
            poll_fn(|cx| Poll::Ready(connect.as_mut().poll(cx).is_ready())).await
        });
        driver.turn();
        while driver.in_flight() > 0 {
            driver.park(Some(PATIENCE));
        }
    });
}

#[test]
fn close_waits_for_what_was_dropped() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            poll_and_drop(stream.recv(Vec::with_capacity(3))).await;
            stream.close().await.unwrap();
            assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        });
        assert_eq!(driver.in_flight(), 0);
    });
}

#[test]
fn shutdown_ends_everything() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, peer) = pair().await;
            let mut receive = pin!(stream.recv(Vec::with_capacity(1)));
            poll_once(receive.as_mut()).await;
            assert_eq!(driver.shutdown(PATIENCE), 0);
            poll_fn(|cx| receive.as_mut().poll(cx)).await.0.unwrap_err();
            drop(peer);
            stream.send(vec![Bytes::from_static(b"late")]).await.0.unwrap_err();
            stream.recv(Vec::with_capacity(1)).await.0.unwrap_err();
        });
    });
}

#[test]
fn a_socket_outlives_its_driver_harmlessly() {
    let mut kept = Vec::new();
    for choice in [Choice::Epoll, Choice::Auto] {
        let (driver, _) = Driver::open(choice).unwrap();
        kept.push(block_on(&driver, pair()));
    }
    let (stream, _peer) = kept.pop().unwrap();
    let mut receive = pin!(stream.recv(Vec::with_capacity(1)));
    let polled = receive.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready((Err(_), _))));
}

#[test]
fn descriptors_are_not_leaked() {
    if !is_child("fds") {
        return run_child("fds", "net::tests::dropped::descriptors_are_not_leaked");
    }
    on_each_driver(|driver| {
        let before = descriptors();
        for _ in 0..20 {
            block_on(driver, async {
                let (stream, _peer) = pair().await;
                poll_and_drop(stream.recv(Vec::with_capacity(3))).await;
                let (other, _peer) = pair().await;
                other.close().await.unwrap();
                drop(stream);
            });
            while driver.in_flight() > 0 {
                driver.park(None);
            }
        }
        assert_eq!(descriptors(), before);
    });
}

fn descriptors() -> HashSet<String> {
    let links = fs::read_dir("/proc/self/fd").unwrap();
    links.map(|link| link.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_connection_with_something_left_behind_is_stale() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            {
                let mut receive = pin!(stream.recv(Vec::with_capacity(64)));
                poll_once(receive.as_mut()).await;
                peer.write_all(b"all of it").unwrap();
                while driver.in_flight() > 0 {
                    driver.park(None);
                }
            }
            // All of it, if the kernel is not hostile: then nothing is left in the socket itself.
            assert!(stream.is_stale());
            assert_eq!(recv_exact(&stream, 9).await, b"all of it");
            assert!(!stream.is_stale());

            // More than the socket takes at once, so that it has to wait.
            let body = Bytes::from(vec![0; 64 << 20]);
            {
                let mut send = pin!(stream.send_all(vec![body]));
                poll_once(send.as_mut()).await;
                driver.turn();
            }
            assert!(stream.is_stale());
        });
    });
}
