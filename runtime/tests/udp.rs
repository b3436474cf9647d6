//! UDP. Error numbers are unix's.
#![cfg(unix)]

#[path = "support/drivers.rs"]
mod drivers;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use drivers::{on_each_driver, poll_and_drop, run};
use futures_util::future::join;
use spanwire_runtime::net::UdpSocket;
use spanwire_runtime::yield_now;

const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn pair() -> (UdpSocket, UdpSocket) {
    let (one, other) = (UdpSocket::bind(ANY).unwrap(), UdpSocket::bind(ANY).unwrap());
    one.connect(other.local_addr().unwrap()).unwrap();
    (one, other)
}

#[test]
fn datagrams_keep_their_bounds_and_their_senders() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let (client, server) = pair();
            assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
            for datagram in ["one", "", "three"] {
                assert_eq!(client.send(datagram.into()).await.unwrap(), datagram.len());
            }
            for datagram in ["one", "", "three"] {
                let mut buf = Vec::with_capacity(64);
                buf.extend_from_slice(b"kept ");
                let (received, buf) = server.recv(buf).await;
                let received = received.unwrap();
                assert_eq!(buf, [b"kept ", datagram.as_bytes()].concat());
                assert_eq!(received.from, client.local_addr().unwrap());
                assert_eq!((received.bytes, received.is_truncated), (datagram.len(), false));
            }
            let to = client.local_addr().unwrap();
            assert_eq!(server.send_to("back".into(), to).await.unwrap(), 4);
            let (received, buf) = client.recv(Vec::with_capacity(64)).await;
            assert_eq!(
                (received.unwrap().from, &buf[..]),
                (server.local_addr().unwrap(), &b"back"[..])
            );
            client.close().await.unwrap();
        });
    });
}

#[test]
fn a_datagram_that_was_cut_says_so() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let (client, server) = pair();
            let body = Bytes::from(vec![7; 1000]);
            let room = Vec::<u8>::with_capacity(10).capacity();
            // Once before the datagram comes, and once after.
            let (sent, (received, buf)) =
                join(client.send(body.clone()), server.recv(Vec::with_capacity(10))).await;
            assert_eq!(sent.unwrap(), 1000);
            let received = received.unwrap();
            assert_eq!((received.bytes, buf.len(), received.is_truncated), (room, room, true));
            client.send(body.slice(..room)).await.unwrap();
            let (received, _) = server.recv(Vec::with_capacity(10)).await;
            assert!(!received.unwrap().is_truncated, "just fits");
        });
    });
}

#[test]
fn what_a_dropped_receive_took_comes_first() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let (client, server) = pair();
            for round in 0..50_usize {
                let receive = server.recv(Vec::with_capacity(64));
                let mut receive = Box::pin(receive);
                let ended = std::future::poll_fn(|cx| {
                    std::task::Poll::Ready(receive.as_mut().poll(cx).is_ready())
                });
                assert!(!ended.await);
                for _ in 0..round % 3 {
                    yield_now().await;
                }
                client.send(Bytes::from(format!("round {round}"))).await.unwrap();
                for _ in 0..round % 2 {
                    yield_now().await;
                }
                drop(receive);
                let (received, buf) = server.recv(Vec::with_capacity(64)).await;
                assert!(!received.unwrap().is_truncated);
                assert_eq!(buf, format!("round {round}").as_bytes());
            }
            poll_and_drop(server.recv(Vec::with_capacity(1))).await;
        });
    });
}

#[test]
fn errors_are_told() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let (client, server) = pair();
            let error = client.send(vec![0; 70_000].into()).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
            let error = server.send("whom".into()).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EDESTADDRREQ));
            server.close().await.unwrap();
            client.send("nobody".into()).await.unwrap();
            let (received, _) = client.recv(Vec::with_capacity(1)).await;
            assert_eq!(received.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            let (received, _) = client.recv(Vec::new()).await;
            assert_eq!(received.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        });
    });
}

#[test]
fn ipv6_works_where_there_is_any() {
    let has_ipv6 = std::net::UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    on_each_driver(|runtime| {
        let received = run(runtime, || async {
            let server = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0).into())?;
            let client = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0).into())?;
            client.send_to("six".into(), server.local_addr()?).await?;
            let (received, _) = server.recv(Vec::with_capacity(64)).await;
            io::Result::Ok((received?.from, client.local_addr()?))
        });
        match received {
            Ok((from, client)) => assert_eq!(from, client),
            Err(error) => assert!(!has_ipv6, "{error}"),
        }
    });
}
