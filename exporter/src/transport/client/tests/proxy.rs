//! Requests through a scripted proxy. The collector's name has no address: only the proxy, which
//! here is the collector too, gets to know it.

use super::*;
use crate::transport::proxy::Proxy;

const COLLECTOR: &str = "http://collector.invalid:4318";
const TUNNEL: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// Runs `script` with a client that reaches [`COLLECTOR`] through the proxy at `address`.
fn through<F>(driver: driver::Choice, address: SocketAddr, script: F) -> Vec<Outcome>
where
    F: AsyncFnOnce(&mut Client) -> Vec<Outcome> + Send + 'static,
{
    let proxy = Proxy::parse(&format!("http://us%65r:secret@{address}"), "test").unwrap();
    let connector = Connector { proxy: Some(proxy), ..connector(COLLECTOR) };
    with_client_of(driver, move || client(connector, Vec::new(), None), script)
}

/// The outcome of one attempt through a proxy that answers `answer` and closes.
fn answered(driver: driver::Choice, answer: &'static [u8]) -> Outcome {
    let (address, server) = serve(move |listener| {
        let (mut peer, _) = listener.accept().unwrap();
        read_head(&mut peer).unwrap();
        peer.write_all(answer).unwrap();
        // What else the client said: nothing of a request may reach a proxy that opens no tunnel.
        drop(listener);
        peer.shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = peer.read_to_end(&mut rest);
        rest
    });
    let mut outcomes = through(driver, address, async |client| {
        vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
    });
    assert_eq!(server.join().unwrap(), b"", "{}", answer.escape_ascii());
    outcomes.remove(0)
}

#[test]
fn requests_go_through_one_tunnel_and_the_proxy_sees_its_credentials_once() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            let connect = read_head(&mut peer).unwrap();
            peer.write_all(TUNNEL).unwrap();
            let heads = [(); 2].map(|()| {
                let (head, body) = read_request(&mut peer);
                peer.write_all(OK).unwrap();
                (head, body)
            });
            (connect, heads)
        });
        let outcomes = through(driver, address, async |client| {
            let one = client.attempt(Signal::Traces, &payload(&[b"ab", b"c"]), guard()).await;
            vec![one, client.attempt(Signal::Traces, &payload(&[b"d"]), guard()).await]
        });
        assert_eq!(outcomes, [delivered(), delivered()]);
        let (connect, requests) = server.join().unwrap();
        let start = "CONNECT collector.invalid:4318 HTTP/1.1\r\nhost: collector.invalid:4318\r\n";
        assert!(connect.starts_with(start), "{connect}");
        assert!(
            connect.contains("\r\nproxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n"),
            "{connect}"
        );
        for ((head, body), expected) in requests.iter().zip([&b"abc"[..], b"d"]) {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
            assert!(head.contains("\r\nhost: collector.invalid:4318\r\n"), "{head}");
            assert!(!head.contains("proxy-authorization"), "{head}");
            assert_eq!(body, expected);
        }
    }
}

#[test]
fn what_a_proxy_answers_is_no_refusal_by_the_collector() {
    for driver in drivers() {
        for (answer, words) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\ncontent-length: 9\r\n\r\ngo away! "[..], "status 407, it wants other credentials"),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n", "status 403, it does not let us through"),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "status 502, it cannot reach the collector"),
            (b"HTTP/1.1 504 Gateway Timeout\r\n\r\n", "status 504, it cannot reach the collector"),
            (b"HTTP/1.1 302 Found\r\nlocation: http://other\r\n\r\n", "status 302, it refuses"),
            (b"", "the connection ended before the response"),
            (b"HTTP/1.1 200 Conn", "the connection ended before the response"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", "malformed response head"),
            (b"\x05\xff", "malformed response head"),
            (b"HTTP/1.1 101 Switching\r\n\r\n", "status 101"),
        ] {
            let outcome = answered(driver, answer);
            assert_eq!(phase(&outcome), Phase::Proxy);
            let Outcome::Retry { why, .. } = outcome else { panic!("{outcome:?}") };
            assert!(why.message.contains(words), "{why:?}");
            assert!(why.status.is_none() && !why.message.contains("secret"), "{why:?}");
        }
    }
}

#[test]
fn an_endless_head_of_a_proxy_has_an_end() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_head(&mut peer).unwrap();
            peer.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
            // Until the client closes the connection.
            let mut sent = 0_u64;
            while peer.write_all(b"x-bomb: bomb bomb bomb bomb bomb\r\n").is_ok() {
                sent += 1;
            }
            sent
        });
        let outcomes = through(driver, address, async |client| {
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        assert_eq!(phase(&outcomes[0]), Phase::Proxy);
        server.join().unwrap();
    }
}

#[test]
fn a_proxy_that_hangs_is_given_up_at_the_deadline_by_name() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_head(&mut peer).unwrap();
            // Half an answer, and then nothing until the client gives up.
            peer.write_all(b"HTTP/1.1 200 ").unwrap();
            let _ = peer.read(&mut [0]);
        });
        let outcomes = through(driver, address, async |client| {
            let deadline = Instant::now() + Duration::from_millis(200);
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), Some(deadline)).await]
        });
        assert_eq!(phase(&outcomes[0]), Phase::Timeout);
        let Outcome::Retry { why, .. } = &outcomes[0] else { panic!("{outcomes:?}") };
        let words = "time was up while waiting for the proxy to reach the collector";
        assert_eq!(why.message, words);
        server.join().unwrap();
    }
}

#[test]
fn a_proxy_that_nobody_runs_is_not_taken_for_the_collector() {
    for driver in drivers() {
        // Nobody listens there: other tests keep to 127.0.0.1.
        let outcomes = through(driver, ([127, 9, 9, 9], 9).into(), async |client| {
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        assert_eq!(phase(&outcomes[0]), Phase::Proxy);
    }
}

#[test]
fn what_comes_behind_the_answer_of_a_proxy_is_the_collectors() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_head(&mut peer).unwrap();
            // An answer that nobody has asked for yet, in the same piece as the tunnel.
            peer.write_all(&[TUNNEL, OK].concat()).unwrap();
            read_request(&mut peer);
        });
        let outcomes = through(driver, address, async |client| {
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        assert_eq!(outcomes, [delivered()]);
        server.join().unwrap();
    }
}
