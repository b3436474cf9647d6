//! Requests whose headers come from a source.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::transport::header_source::FromFn;

const REFUSED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n";

/// Answers each request of one connection with the next of `answers`; returns the heads.
fn answers(answers: &'static [&'static [u8]]) -> (SocketAddr, JoinHandle<Vec<String>>) {
    serve(move |listener| {
        let (mut peer, _) = listener.accept().unwrap();
        let one = |answer: &&[u8]| {
            let (head, _) = read_request(&mut peer);
            peer.write_all(answer).unwrap();
            head
        };
        answers.iter().map(one).collect()
    })
}

/// The value of the only `name` in `head`.
fn value<'a>(head: &'a str, name: &str) -> &'a str {
    let mut found = head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let value = found.next().unwrap();
    assert_eq!(found.next(), None, "{head}");
    value
}

#[test]
fn a_refused_request_is_lost_and_later_ones_have_new_credentials() {
    for driver in drivers() {
        let (address, server) = answers(&[OK, REFUSED, OK, OK]);
        let token = AtomicUsize::new(1);
        let source = FromFn::new(move |request| {
            let token = match request.is_after_refusal() {
                true => token.fetch_add(1, Ordering::Relaxed) + 1,
                false => token.load(Ordering::Relaxed),
            };
            Ok(vec![("authorization".to_owned(), format!("Bearer {token}"))])
        });
        let source = ChangingHeaders::new(source, |_| Ok(()));
        // What the source gives wins over what is always the same.
        let headers = vec![
            (HeaderName::from_static("authorization"), HeaderValue::from_static("old")),
            (HeaderName::from_static("x-kept"), HeaderValue::from_static("kept")),
        ];
        let connector = connector(&url(address));
        let make = move || client(connector, headers, Some(source));
        let outcomes = with_client_of(driver, make, async |client| {
            let mut outcomes = Vec::new();
            for _ in 0..4 {
                let request = payload(&[b"x"]);
                outcomes.push(client.attempt(Signal::Traces, &request, guard()).await);
            }
            outcomes
        });
        let is_delivered = outcomes.iter().map(|outcome| *outcome == delivered());
        assert_eq!(is_delivered.collect::<Vec<_>>(), [true, false, true, true]);
        assert!(matches!(&outcomes[1], Outcome::Refused { why } if why.phase == Phase::Answer));
        let heads = server.join().unwrap();
        let sent: Vec<_> = heads.iter().map(|head| value(head, "authorization")).collect();
        assert_eq!(sent, ["Bearer 1", "Bearer 1", "Bearer 2", "Bearer 2"]);
        assert!(heads.iter().all(|head| value(head, "x-kept") == "kept"));
    }
}

#[test]
fn a_source_that_fails_has_the_attempt_made_again_and_nothing_sent() {
    for driver in drivers() {
        let (address, server) = answers(&[OK]);
        let calls = AtomicUsize::new(0);
        let source = FromFn::new(move |_| match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Err("the token server is away".into()),
            _ => Ok(Vec::new()),
        });
        let source = ChangingHeaders::new(source, |_| Ok(()));
        let connector = connector(&url(address));
        let make = move || client(connector, Vec::new(), Some(source));
        let outcomes = with_client_of(driver, make, async |client| {
            let one = client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await;
            vec![one, client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        assert_eq!(phase(&outcomes[0]), Phase::Headers);
        assert_eq!(outcomes[1], delivered());
        assert_eq!(server.join().unwrap().len(), 1);
    }
}

#[test]
fn a_refusal_whose_body_never_ends_is_told_to_the_source_all_the_same() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let mut silent = Vec::new();
            // Each request that is not answered in time says so itself, and is made again.
            loop {
                let (mut peer, _) = listener.accept().unwrap();
                let Ok((head, _)) = try_read_request(&mut peer) else { continue };
                if value(&head, "x-after") == "true" {
                    break peer.write_all(OK).unwrap();
                }
                let _ = peer.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 9\r\n\r\nno");
                silent.push(peer);
            }
        });
        let source = FromFn::new(move |request| {
            Ok(vec![("x-after".to_owned(), request.is_after_refusal().to_string())])
        });
        let source = ChangingHeaders::new(source, |_| Ok(()));
        let connector = connector(&url(address));
        let make = move || client(connector, Vec::new(), Some(source));
        let outcomes = with_client_of(driver, make, async |client| {
            loop {
                let deadline = Instant::now() + Duration::from_millis(200);
                let outcome =
                    client.attempt(Signal::Traces, &payload(&[b"x"]), Some(deadline)).await;
                if matches!(outcome, Outcome::Refused { .. }) {
                    break;
                }
            }
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        assert_eq!(outcomes, [delivered()]);
        server.join().unwrap();
    }
}
