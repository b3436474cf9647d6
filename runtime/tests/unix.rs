//! Unix sockets.
#![cfg(unix)]

#[path = "support/drivers.rs"]
mod drivers;

use std::io::{self, IoSlice, Write};
use std::mem;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as Peer;
use std::path::PathBuf;
use std::pin::pin;
use std::ptr;
use std::time::Duration;

use drivers::{PATIENCE, on_each_driver, recv_all, recv_exact, run};
use futures_util::future::join;
use socket2::{Domain, SockAddr, Socket, Type};
use spanwire_runtime::net::{UnixAddr, UnixListener, UnixStream};
use spanwire_runtime::time::timeout;

/// A path that nobody else uses, and that is removed in the end.
struct Path(PathBuf);

impl Path {
    fn new(name: &str) -> Self {
        let file = format!("spanwire-{name}-{}.sock", std::process::id());
        Self(std::env::temp_dir().join(file))
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_path_is_listened_at_and_connected_to() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let path = Path::new("path");
            let listener = UnixListener::bind(&path.0).unwrap();
            let client = UnixStream::connect(&path.0).await.unwrap();
            let (server, addr) = listener.accept().await.unwrap();
            assert_eq!(addr, UnixAddr::Unnamed);
            let bound = UnixAddr::Path(path.0.clone());
            assert_eq!(client.peer_addr().unwrap(), bound);
            assert_eq!(
                (server.local_addr().unwrap(), listener.local_addr().unwrap()),
                (bound.clone(), bound)
            );
            client.send_all(vec!["ping".into()]).await.unwrap();
            assert_eq!(recv_exact(&server, 4).await.unwrap(), b"ping");
        });
    });
}

#[test]
fn an_abstract_name_is_no_file_and_goes_with_its_listener() {
    if cfg!(not(target_os = "linux")) {
        return;
    }
    on_each_driver(|runtime| {
        run(runtime, || async {
            let name = format!("\0spanwire-abstract-{}", std::process::id());
            let listener = UnixListener::bind(&name).unwrap();
            let bound = UnixAddr::Abstract(name.as_bytes()[1..].to_vec());
            assert_eq!(listener.local_addr().unwrap(), bound);
            let client = UnixStream::connect(&name).await.unwrap();
            assert_eq!(client.peer_addr().unwrap(), bound);
            let (server, _) = listener.accept().await.unwrap();
            server.send_all(vec!["hello".into()]).await.unwrap();
            assert_eq!(recv_exact(&client, 5).await.unwrap(), b"hello");
            listener.close().await.unwrap();
            let error = UnixStream::connect(&name).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        });
    });
}

/// Nobody tells a poller that there is room, so it must not wait to be told.
#[test]
fn a_listener_whose_queue_is_full_is_waited_for() {
    // Others refuse at once.
    if cfg!(not(target_os = "linux")) {
        return;
    }
    on_each_driver(|runtime| {
        run(runtime, || async {
            let path = Path::new("full");
            let listener = full(&path.0);
            let mut waiting = pin!(UnixStream::connect(&path.0));
            timeout(A_WHILE, waiting.as_mut()).await.unwrap_err();
            let _room = listener.accept().unwrap();
            timeout(PATIENCE, waiting).await.expect("there is room").unwrap();
        });
    });
}

#[test]
fn a_listener_that_goes_refuses_who_waits_for_it() {
    // Others refuse at once.
    if cfg!(not(target_os = "linux")) {
        return;
    }
    on_each_driver(|runtime| {
        run(runtime, || async {
            let path = Path::new("gone");
            let listener = full(&path.0);
            let mut waiting = pin!(UnixStream::connect(&path.0));
            timeout(A_WHILE, waiting.as_mut()).await.unwrap_err();
            drop(listener);
            let error = timeout(PATIENCE, waiting).await.expect("nobody is there").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        });
    });
}

/// A receive ends behind what came with a descriptor, though more may have arrived by then.
#[test]
fn what_comes_behind_a_descriptor_is_received_too() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let path = Path::new("rights");
            let listener = std::os::unix::net::UnixListener::bind(&path.0).unwrap();
            let stream = UnixStream::connect(&path.0).await.unwrap();
            let (peer, _) = listener.accept().unwrap();
            // Nobody has received yet: from now on something waits for what arrives.
            let receiving = recv_exact(&stream, 2);
            let sending = async {
                send_with_descriptor(&peer, b"a");
                (&peer).write_all(b"b").unwrap();
            };
            assert_eq!(join(receiving, sending).await.0.unwrap(), b"ab");
        });
    });
}

#[test]
fn errors_name_the_path() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let path = Path::new("twice");
            let _listener = UnixListener::bind(&path.0).unwrap();
            let error = UnixListener::bind(&path.0).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
            assert!(error.to_string().contains(path.0.to_str().unwrap()), "{error}");
            let nowhere = Path::new("nowhere");
            let error = UnixStream::connect(&nowhere.0).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotFound);
            UnixStream::connect("long".repeat(100)).await.unwrap_err();
        });
    });
}

#[test]
fn a_pair_carries_more_than_its_buffers_hold_both_ways() {
    on_each_driver(|runtime| {
        run(runtime, || async {
            let (one, other) = UnixStream::pair().unwrap();
            let body: Vec<u8> = (0..4 << 20).map(|at: u32| (at % 251) as u8).collect();
            let sends = |stream: UnixStream, body: Vec<u8>| async move {
                let (sent, got) = join(
                    async {
                        stream.send_all(vec![body.into()]).await.unwrap();
                        stream.shutdown(Shutdown::Write)
                    },
                    recv_all(&stream),
                )
                .await;
                sent.unwrap();
                got.unwrap()
            };
            let (left, right) = join(sends(one, body.clone()), sends(other, body.clone())).await;
            assert!(left == body && right == body);
        });
    });
}

/// A listener with no room for one more: Linux queues one even if it is told none. Two and more
/// would have to wait.
fn full(path: &std::path::Path) -> Socket {
    let addr = SockAddr::unix(path).unwrap();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&addr).unwrap();
    listener.listen(0).unwrap();
    Socket::new(Domain::UNIX, Type::STREAM, None).unwrap().connect(&addr).unwrap();
    listener
}

/// Sends `bytes` to the other end of `peer`, and with them a descriptor.
fn send_with_descriptor(peer: &Peer, bytes: &[u8]) {
    let mut piece = IoSlice::new(bytes);
    // Aligned for a header, with room for it and what comes with it.
    let mut control = [0_u64; 4];
    // SAFETY: what the message points to outlives the call, which only reads it. The room for a
    // header and one descriptor is above, as CMSG_SPACE says.
    let sent = unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        message.msg_iov = (&raw mut piece).cast();
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<i32>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<i32>() as u32) as _;
        ptr::write_unaligned(libc::CMSG_DATA(header).cast(), peer.as_raw_fd());
        libc::sendmsg(peer.as_raw_fd(), &raw const message, 0)
    };
    assert_eq!(usize::try_from(sent), Ok(bytes.len()), "{}", io::Error::last_os_error());
}

/// How long a connect is watched waiting. Whatever it does meanwhile, the test is right.
const A_WHILE: Duration = Duration::from_millis(50);
