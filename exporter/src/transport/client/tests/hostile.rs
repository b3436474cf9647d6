//! Peers that would hold the client for ever, or have it keep more than it can: each has an end,
//! and gives the connection up.

use super::*;

/// What one request comes to whose answer is `start` and then `filler` until the client closes.
fn endless(driver: driver::Choice, start: &'static str, filler: &'static str) -> Outcome {
    let (address, server) = serve(move |listener| {
        let (mut peer, _) = listener.accept().unwrap();
        read_request(&mut peer);
        peer.write_all(start.as_bytes()).unwrap();
        let filler = filler.repeat(64);
        while peer.write_all(filler.as_bytes()).is_ok() {}
    });
    let mut outcomes = with_client(driver, &url(address), async |client| {
        let outcome = client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await;
        assert!(client.idle.is_none(), "the connection is of no more use");
        assert!(client.buffer.capacity() <= 2 * RECEIVE_BYTES);
        vec![outcome]
    });
    server.join().unwrap();
    outcomes.remove(0)
}

#[test]
fn an_answer_whose_head_has_no_end_is_refused() {
    for driver in drivers() {
        for (start, filler) in [
            ("HTTP/1.1 200 OK\r\n", "x-bomb: bomb\r\n"),
            ("HTTP/1.1 200 OK\r\nx-bomb: ", "bomb"),
            ("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
            ("HTTP/1.1 100 ", "Continue"),
        ] {
            match endless(driver, start, filler) {
                Outcome::Refused { why } => assert_eq!(why.phase, Phase::Protocol, "{start:?}"),
                other => panic!("{start:?} {filler:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_body_that_has_no_end_is_given_up_and_the_status_counts() {
    for driver in drivers() {
        for (start, filler) in [
            ("transfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
            ("transfer-encoding: chunked\r\n\r\n1;", "extension"),
            ("transfer-encoding: chunked\r\n\r\n0\r\n", "x-trailer: bomb\r\n"),
            ("\r\n", "until the connection ends"),
            ("content-length: 1000000000000\r\n\r\n", "x"),
        ] {
            let of =
                |status: &str| -> &'static str { format!("HTTP/1.1 {status} X\r\n{start}").leak() };
            let taken = endless(driver, of("200"), filler);
            let is_warned = matches!(&taken, Outcome::Delivered { warning: Some(_), .. });
            assert!(is_warned, "{start:?}: {taken:?}");
            let refused = endless(driver, of("400"), filler);
            assert!(matches!(&refused, Outcome::Refused { .. }), "{start:?}: {refused:?}");
        }
    }
}

#[test]
fn a_peer_that_reads_nothing_is_given_up_at_the_deadline() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (peer, _) = listener.accept().unwrap();
            // Until the client gives up; more than sockets hold is on its way.
            let (mut next, _) = listener.accept().unwrap();
            read_request(&mut next);
            next.write_all(OK).unwrap();
            drop(peer);
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            let large = Payload::new(vec![vec![0; 32 << 20].into()], 1);
            let deadline = Instant::now() + Duration::from_millis(200);
            let late = client.attempt(Signal::Traces, &large, Some(deadline)).await;
            vec![late, client.attempt(Signal::Traces, &payload(&[b"x"]), guard()).await]
        });
        assert_eq!((phase(&outcomes[0]), &outcomes[1]), (Phase::Timeout, &delivered()));
        server.join().unwrap();
    }
}

#[test]
fn an_answer_that_drips_is_given_up_at_the_deadline() {
    for driver in drivers() {
        let (address, server) = serve(|listener| {
            let (mut peer, _) = listener.accept().unwrap();
            read_request(&mut peer);
            peer.set_nodelay(true).unwrap();
            peer.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
            // Always something, never the end: a deadline for each receive would not help.
            peer.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
            while peer.read(&mut [0]).is_err() && peer.write_all(b"x").is_ok() {}
        });
        let outcomes = with_client(driver, &url(address), async |client| {
            let deadline = Instant::now() + Duration::from_millis(200);
            vec![client.attempt(Signal::Traces, &payload(&[b"x"]), Some(deadline)).await]
        });
        assert_eq!(phase(&outcomes[0]), Phase::Timeout);
        server.join().unwrap();
    }
}
