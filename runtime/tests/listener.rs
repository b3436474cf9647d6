//! Listening: whoever connects is served, whatever happens to the futures that accept.

#[path = "support/drivers.rs"]
mod drivers;

use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use drivers::{on_each_driver, poll_and_drop, run};
use futures_util::future::join;
use spanwire_runtime::net::{TcpListener, TcpStream};
use spanwire_runtime::time::sleep;
use spanwire_runtime::{spawn_pinned, yield_now};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

#[test]
fn both_ends_agree_on_their_addresses() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let listener = TcpListener::bind(ANY).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (server, addr) = listener.accept().await.unwrap();
            assert_eq!(addr, client.local_addr().unwrap());
            assert_eq!(server.peer_addr().unwrap(), addr);
            assert_eq!(server.local_addr().unwrap(), client.peer_addr().unwrap());
        });
    });
}

#[test]
fn ipv6_is_listened_on_where_there_is_any() {
    let has_ipv6 = std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    on_each_driver(|runtime| {
        let accepted = run(runtime, || async {
            let listener = TcpListener::bind((Ipv6Addr::LOCALHOST, 0).into())?;
            let client = TcpStream::connect(listener.local_addr()?).await?;
            let (_server, addr) = listener.accept().await?;
            io::Result::Ok((addr, client.local_addr()?))
        });
        match accepted {
            Ok((seen, own)) => assert_eq!(seen, own),
            Err(error) => assert!(!has_ipv6, "{error}"),
        }
    });
}

#[test]
fn an_address_in_use_is_an_error_and_a_lingering_one_is_not() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let listener = TcpListener::bind(ANY).unwrap();
            let addr = listener.local_addr().unwrap();
            let error = TcpListener::bind(addr).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            // This end closes first, so the connection lingers here.
            let client = TcpStream::connect(addr).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            server.close().await.unwrap();
            assert_eq!(client.recv(Vec::with_capacity(1)).await.0.unwrap(), 0);
            client.close().await.unwrap();
            listener.close().await.unwrap();
            TcpListener::bind(addr).unwrap();
        });
    });
}

/// Accepts are started and dropped all the time while clients connect. Each client must be
/// greeted: a connection that a dropped accept took goes to another one.
#[test]
fn no_client_is_forgotten_by_accepts_that_are_dropped() {
    on_each_driver(|runtime| {
        let task = runtime.spawn_pinned(|| async {
            let listener = TcpListener::bind(ANY).unwrap();
            let addr = listener.local_addr().unwrap();
            let clients = thread::spawn(move || (0..CLIENTS).for_each(|_| be_greeted(addr)));
            for round in 0.. {
                if clients.is_finished() {
                    break;
                }
                for polls in 0..round % 5 {
                    greet_within(&listener, polls).await;
                }
                // The kernel has it for a while, and may end it when nobody looks.
                let mut accept = pin!(listener.accept());
                if let Poll::Ready(accepted) = poll_once(accept.as_mut()).await {
                    greet(accepted).await;
                    continue;
                }
                sleep(Duration::from_micros(100 * (round % 3))).await;
            }
            clients.join().unwrap()
        });
        runtime.block_on(task).unwrap();
    });
}

/// How many clients connect, one after the other.
const CLIENTS: usize = 200;

fn be_greeted(addr: SocketAddr) {
    let mut stream = std::net::TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(drivers::PATIENCE)).unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

async fn greet_within(listener: &TcpListener, polls: u64) {
    let mut accept = pin!(listener.accept());
    for _ in 0..polls {
        if let Poll::Ready(accepted) = poll_once(accept.as_mut()).await {
            return greet(accepted).await;
        }
        yield_now().await;
    }
}

async fn greet(accepted: io::Result<(TcpStream, SocketAddr)>) {
    accepted.unwrap().0.send_all(vec!["!".into()]).await.unwrap();
}

async fn poll_once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// Of two accepts that wait, one is dropped with a connection in its hands: the other gets it,
/// though it waits for the next.
#[test]
fn what_one_accept_leaves_goes_to_another_that_waits() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let listener = TcpListener::bind(ANY).unwrap();
            let addr = listener.local_addr().unwrap();
            for _ in 0..20 {
                let dropped = async {
                    let mut accept = pin!(listener.accept());
                    assert!(poll_once(accept.as_mut()).await.is_pending());
                    yield_now().await;
                    // The first in the queue gets it; nobody polls it again.
                    TcpStream::connect(addr).await.unwrap()
                };
                let (client, accepted) = join(dropped, listener.accept()).await;
                assert_eq!(accepted.unwrap().1, client.local_addr().unwrap());
            }
        });
    });
}

#[test]
fn closing_a_listener_refuses_the_next_and_resets_those_who_wait() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let listener = TcpListener::bind(ANY).unwrap();
            let addr = listener.local_addr().unwrap();
            poll_and_drop(listener.accept()).await;
            let waits = TcpStream::connect(addr).await.unwrap();
            listener.close().await.unwrap();
            let (received, _) = waits.recv(Vec::with_capacity(1)).await;
            assert!(matches!(received, Ok(0) | Err(_)), "{received:?}");
            let error = TcpStream::connect(addr).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        });
    });
}

#[test]
fn many_clients_are_served_at_once() {
    on_each_driver(|runtime| {
        let sum = run(runtime, || async {
            let listener = TcpListener::bind(ANY).unwrap();
            let addr = listener.local_addr().unwrap();
            let clients: Vec<_> = (0..100_u8)
                .map(|number| {
                    spawn_pinned(move || async move {
                        let stream = TcpStream::connect(addr).await.unwrap();
                        stream.send_all(vec![vec![number].into()]).await.unwrap();
                        drivers::recv_exact(&stream, 1).await.unwrap()[0]
                    })
                })
                .collect();
            let mut servers = Vec::new();
            for _ in 0..clients.len() {
                let (stream, _) = listener.accept().await.unwrap();
                servers.push(spawn_pinned(move || async move {
                    let got = drivers::recv_exact(&stream, 1).await.unwrap();
                    stream.send_all(vec![got.into()]).await.unwrap();
                }));
            }
            for server in servers {
                server.await.unwrap();
            }
            let mut sum = 0;
            for client in clients {
                sum += u32::from(client.await.unwrap());
            }
            sum
        });
        assert_eq!(sum, (0..100).sum());
    });
}
