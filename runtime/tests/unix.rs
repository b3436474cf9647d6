//! Unix sockets.
#![cfg(unix)]

#[path = "support/drivers.rs"]
mod drivers;

use std::io;
use std::net::Shutdown;
use std::path::PathBuf;

use drivers::{both, on_each_driver, recv_all, recv_exact, run};
use spanwire_runtime::net::{UnixAddr, UnixListener, UnixStream};

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
                let (sent, got) = both(
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
            let (left, right) = both(sends(one, body.clone()), sends(other, body.clone())).await;
            assert!(left == body && right == body);
        });
    });
}
