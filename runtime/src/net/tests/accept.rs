//! Accepts and datagrams, also on kernels that are late, interrupt, and cancel too late.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;

use bytes::Bytes;

use super::*;
use crate::net::{TcpListener, UdpSocket};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// tokio 7979, monoio 318, tonbo's "async Rust is not safe with io_uring": an accept that was
/// dropped, but had a connection already, leaked it.
#[test]
fn each_client_is_accepted_though_accepts_are_dropped_all_the_time() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let listener = TcpListener::bind(ANY).unwrap();
            let addr = listener.local_addr().unwrap();
            let (mut clients, mut accepted) = (Vec::new(), 0);
            for round in 0..20 {
                accepted += accept_and_drop(driver, &listener, round % 4).await;
                clients.push(std::net::TcpStream::connect(addr).unwrap());
                accepted += accept_and_drop(driver, &listener, round % 3).await;
            }
            for _ in accepted..clients.len() {
                let (stream, peer) = listener.accept().await.unwrap();
                let is_ours = |client: &std::net::TcpStream| client.local_addr().unwrap() == peer;
                assert!(clients.iter().any(is_ours));
                stream.close().await.unwrap();
            }
            listener.close().await.unwrap();
        });
    });
}

/// Polls `count` accepts once each and drops them. Returns how many had ended.
async fn accept_and_drop(driver: &Driver, listener: &TcpListener, count: usize) -> usize {
    let mut accepted = 0;
    for _ in 0..count {
        let mut accept = pin!(listener.accept());
        let is_ready = poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx).is_ready())).await;
        accepted += usize::from(is_ready);
        driver.turn();
    }
    accepted
}

/// tokio-uring 158: one accept in flight, and the shutdown waited for ever.
#[test]
fn an_accept_in_flight_does_not_hold_up_a_shutdown() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let listener = TcpListener::bind(ANY).unwrap();
            let mut accept = Box::pin(listener.accept());
            poll_once(accept.as_mut()).await;
            assert_eq!(driver.shutdown(PATIENCE), 0);
            poll_fn(|cx| accept.as_mut().poll(cx)).await.unwrap_err();
        });
    });
}

#[test]
fn datagrams_are_whole_or_not_there() {
    on_each_driver(|driver| {
        block_on(driver, async {
            let (a, b) = (UdpSocket::bind(ANY).unwrap(), UdpSocket::bind(ANY).unwrap());
            let (from, to) = (a.local_addr().unwrap(), b.local_addr().unwrap());
            for length in (0..2000).step_by(100) {
                poll_and_drop(b.recv(Vec::with_capacity(2000))).await;
                let contents = Bytes::from(vec![b'x'; length]);
                assert_eq!(a.send_to(contents.clone(), to).await.unwrap(), length);
                let (received, buf) = b.recv(Vec::with_capacity(2000)).await;
                assert_eq!((received.unwrap().from, buf == contents), (from, true));
            }
        });
    });
}

/// Somebody sends signals, and the calls that they interrupt go on.
#[cfg(unix)]
#[test]
fn a_signal_ends_no_operation() {
    extern "C" fn ignore(_: libc::c_int) {}
    on_each_driver(|driver| {
        // SAFETY: the handler does nothing, and the struct is filled as sigaction(2) wants it;
        // without SA_RESTART, calls are interrupted.
        let this = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as usize;
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
            libc::pthread_self()
        } as usize;
        block_on(driver, async {
            let (stream, mut peer) = pair().await;
            let other = thread::spawn(move || {
                for _ in 0..100 {
                    // SAFETY: the thread waits for what is written below.
                    unsafe { libc::pthread_kill(this as libc::pthread_t, libc::SIGUSR1) };
                    thread::yield_now();
                }
                std::io::Write::write_all(&mut peer, b"still here").unwrap();
            });
            assert_eq!(recv_exact(&stream, 10).await, b"still here");
            other.join().unwrap();
        });
    });
}
