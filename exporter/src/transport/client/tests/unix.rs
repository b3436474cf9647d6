//! Requests over a Unix socket.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::*;

/// A path for a socket, which nothing has used yet and which goes away at the end.
struct SocketPath(PathBuf);

impl SocketPath {
    fn new(name: &str) -> Self {
        let name = format!("spanwire-{name}-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn url(&self) -> String {
        format!("unix://{}", self.0.display())
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn requests_over_a_unix_socket_share_one_connection_and_name_localhost() {
    for driver in drivers() {
        let path = SocketPath::new("client");
        let listener = UnixListener::bind(&path.0).unwrap();
        let server = thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            [(); 2].map(|()| {
                let request = read_request(&mut peer);
                peer.write_all(OK).unwrap();
                request
            })
        });
        let outcomes = with_client(driver, &path.url(), async |client| {
            let one = client.attempt(Signal::Traces, &payload(&[b"ab", b"c"]), guard()).await;
            vec![one, client.attempt(Signal::Traces, &payload(&[b"d"]), guard()).await]
        });
        assert_eq!(outcomes, [delivered(), delivered()]);
        for ((head, body), expected) in server.join().unwrap().iter().zip([&b"abc"[..], b"d"]) {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\nhost: localhost\r\n"), "{head}");
            assert_eq!(body, expected);
        }
    }
}

#[test]
fn a_unix_socket_that_is_not_there_may_be_tried_again_and_is_named() {
    for driver in drivers() {
        let path = SocketPath::new("absent");
        let outcomes = with_client(driver, &path.url(), async |client| {
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        assert_eq!(phase(&outcomes[0]), Phase::Connect);
        let Outcome::Retry { why, .. } = &outcomes[0] else { panic!("{outcomes:?}") };
        assert!(why.message.contains("spanwire-absent-"), "{why:?}");
    }
}
