//! Nobody has the worker for himself, however much there is to do for him.

#[path = "support/drivers.rs"]
mod drivers;

use std::cell::Cell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use drivers::{on_each_driver, run};
use spanwire_runtime::net::UdpSocket;
use spanwire_runtime::{spawn_pinned, yield_now};

/// Each of its sends and receives is ready at once, so with epoll it never waits for anything.
#[test]
fn a_socket_that_is_always_ready_starves_nobody() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let turns = Rc::new(Cell::new(0));
            let seen = Rc::clone(&turns);
            let others = spawn_pinned(move || async move {
                for turn in 1..=10 {
                    yield_now().await;
                    turns.set(turn);
                }
            });
            let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let socket = UdpSocket::bind(addr).unwrap();
            let to_itself = socket.local_addr().unwrap();
            while seen.get() < 10 {
                socket.send_to("again".into(), to_itself).await.unwrap();
                let (received, _) = socket.recv(Vec::with_capacity(8)).await;
                assert_eq!(received.unwrap().from, to_itself);
            }
            others.await.unwrap();
        });
    });
}
