//! https: who is trusted and who we are, against rustls as a server; and what a user is told when
//! there is no trust.
#![cfg(feature = "tls")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ServerConnection, StreamOwned};
use spanwire::{Builder, Io, TlsConfig};

use support::otel::{
    Diagnostics, LONG, assert_balanced, builder, drivers, emit_logs, end_spans, logger_provider,
    provider,
};
use support::tls::{Authority, LATER, NAME, Server, cutting, presenting, secure, to, trusting};
use support::{Collector, Reply};

#[test]
fn spans_arrive_over_either_version_of_tls_on_either_driver() {
    let authority = Authority::new("ours");
    for io in drivers() {
        for version in [&TLS12, &TLS13] {
            let server = Server::new(&authority.identity(&[NAME])).version(version);
            let (collector, seen) = server.start(|_| Reply::Accept);
            let exporter = secure(&collector, io, trusting(&authority));
            let provider = provider(&exporter, "service");
            for _ in 0..3 {
                end_spans(&provider, 100);
                exporter.flush(LONG).unwrap();
            }
            assert_eq!(collector.ids().len(), 300);
            assert_balanced(&exporter.stats(), 300);
            let handshakes = seen.handshakes();
            assert_eq!(handshakes.len(), 1, "one connection carries all: {handshakes:?}");
            assert_eq!(handshakes[0].kind, HandshakeKind::Full);
            assert_eq!(handshakes[0].version, version.version);
            assert_eq!(handshakes[0].protocol.as_deref(), Some("http/1.1"));
            assert_eq!(handshakes[0].name.as_deref(), Some(NAME));
            assert_eq!(handshakes[0].client, None);
        }
    }
}

#[test]
fn a_request_larger_than_one_send_and_a_slow_reader_arrives_whole() {
    let authority = Authority::new("ours");
    for io in drivers() {
        let (collector, seen) = Server::new(&authority.identity(&[NAME])).start(|_| Reply::Accept);
        let (builder, _) = to(&collector, trusting(&authority));
        let exporter = builder.io(io).batch_bytes(3 << 20).batch_age(LONG).build().unwrap();
        let provider = provider(&exporter, "service");
        let ended = end_spans(&provider, 30_000);
        exporter.flush(LONG).unwrap();
        let ids = collector.ids();
        assert!(ended.iter().all(|id| ids.get(id) == Some(&1)));
        assert_eq!(ids.len(), 30_000);
        assert_eq!(seen.handshakes().len(), 1);
    }
}

#[test]
fn a_request_that_the_socket_takes_in_parts_arrives_whole() {
    let authority = Authority::new("ours");
    for io in drivers() {
        let (collector, _) = Server::new(&authority.identity(&[NAME])).start(|_| Reply::Accept);
        let narrow = cutting(collector.address(), Vec::new());
        let (builder, _) = to(&collector, trusting(&authority));
        let builder = builder.endpoint(format!("https://{narrow}"));
        let exporter = builder.io(io).batch_bytes(900 << 10).batch_age(LONG).build().unwrap();
        let provider = provider(&exporter, "service");
        for _ in 0..2 {
            // Less than what is encrypted for one send, and more than any socket's buffer.
            end_spans(&provider, 13_000);
            exporter.flush(LONG).unwrap();
        }
        let ids = collector.ids();
        assert!(ids.len() == 26_000 && ids.values().all(|times| *times == 1));
        assert_eq!((collector.connections(), exporter.stats().retries), (1, 0));
    }
}

#[test]
fn a_server_that_changes_its_keys_keeps_the_connection() {
    let authority = Authority::new("ours");
    for io in drivers() {
        let server = Server::new(&authority.identity(&[NAME])).version(&TLS13).updating_keys();
        let (collector, seen) = server.start(|_| Reply::Accept);
        let exporter = secure(&collector, io, trusting(&authority));
        let provider = provider(&exporter, "service");
        for _ in 0..5 {
            end_spans(&provider, 10);
            exporter.flush(LONG).unwrap();
        }
        assert_eq!(collector.ids().len(), 50);
        assert_eq!(seen.handshakes().len(), 1);
        assert_eq!(exporter.stats().retries, 0);
    }
}

#[test]
fn a_certificate_for_an_ip_address_is_as_good_as_one_for_a_name() {
    let authority = Authority::new("ours");
    let (collector, seen) = Server::new(&authority.identity(&["x"])).start(|_| Reply::Accept);
    let address = collector.address().ip().to_string();
    seen.serve_by(&Server::new(&authority.identity(&[&address])));
    let (builder, _) = builder(&format!("https://{}", collector.address()));
    let exporter = builder.tls(trusting(&authority)).build().unwrap();
    end_spans(&provider(&exporter, "service"), 3);
    exporter.flush(LONG).unwrap();
    assert_eq!(collector.ids().len(), 3);
    assert_eq!(seen.handshakes()[0].name, None, "an address is no server name");
}

#[test]
fn a_client_certificate_is_shown_to_who_asks_for_one() {
    let (authority, clients) = (Authority::new("ours"), Authority::new("clients"));
    let us = clients.identity(&["us"]);
    for io in drivers() {
        for version in [&TLS12, &TLS13] {
            let server = Server::new(&authority.identity(&[NAME])).version(version);
            let (collector, seen) = server.clients_of(&clients).start(|_| Reply::Accept);
            let exporter = secure(&collector, io, presenting(trusting(&authority), &us));
            end_spans(&provider(&exporter, "service"), 3);
            exporter.flush(LONG).unwrap();
            assert_eq!(collector.ids().len(), 3);
            assert!(seen.handshakes()[0].client.is_some());
        }
    }
}

/// What a user is told of a server that data does not go to; and that it is kept.
fn complaint(builder: Builder, diagnostics: &Diagnostics, io: Io) -> String {
    let exporter = builder.io(io).batch_age(Duration::from_millis(5)).build().unwrap();
    // It would be flushed if it were dropped now.
    let provider = provider(&exporter, "service");
    end_spans(&provider, 7);
    let told = diagnostics.wait_for("ExportFailing");
    let stats = exporter.stats();
    assert_eq!((stats.in_flight, stats.dropped.total()), (7, 0), "it may be repaired");
    assert!(exporter.shutdown(Duration::ZERO).is_err());
    assert_balanced(&exporter.stats(), 7);
    assert!(told.contains(NO_CONNECTION), "{told}");
    assert!(!told.contains("PRIVATE KEY"));
    told
}

const NO_CONNECTION: &str = "traces: no secure connection to the collector: ";

#[test]
fn a_certificate_of_an_unknown_authority_is_refused_and_the_variable_is_named() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    for io in drivers() {
        let (collector, seen) = Server::new(&theirs.identity(&[NAME])).start(|_| Reply::Accept);
        let (builder, diagnostics) = to(&collector, trusting(&ours));
        let told = complaint(builder, &diagnostics, io);
        assert!(
            told.ends_with(
                "the collector's certificate is not signed by an authority of a PEM text \
             (TlsConfig::ca_pem); set OTEL_EXPORTER_OTLP_CERTIFICATE to a PEM file with the \
             certificate of its authority"
            ),
            "{told}"
        );
        assert_eq!(collector.requests(), 0);
        let failure = seen.wait_for_failure();
        assert!(failure.contains("UnknownCA"), "the server is told: {failure}");
    }
}

#[test]
fn without_an_authority_of_its_own_the_machines_are_asked() {
    let authority = Authority::new("nobody's");
    let (collector, _) = Server::new(&authority.identity(&[NAME])).start(|_| Reply::Accept);
    let (builder, diagnostics) = to(&collector, TlsConfig::new());
    match builder.build() {
        // A machine without any.
        Err(error) => assert!(error.to_string().contains("ca-certificates"), "{error}"),
        Ok(exporter) => {
            let provider = provider(&exporter, "service");
            end_spans(&provider, 1);
            let told = diagnostics.wait_for("ExportFailing");
            assert!(told.contains("an authority that this machine trusts"), "{told}");
            assert!(exporter.shutdown(Duration::ZERO).is_err());
        }
    }
}

#[test]
fn a_certificate_for_another_name_is_refused_and_both_names_are_told() {
    let authority = Authority::new("ours");
    let identity = authority.identity(&["other.test", "third.test"]);
    for io in drivers() {
        let (collector, _) = Server::new(&identity).start(|_| Reply::Accept);
        let (builder, diagnostics) = to(&collector, trusting(&authority));
        let told = complaint(builder, &diagnostics, io);
        assert!(
            told.contains("\"other.test\"") && told.contains(&format!("not for {NAME}")),
            "{told}"
        );
        assert!(told.contains("TlsConfig::server_name"), "{told}");
    }
}

#[test]
fn an_expired_certificate_is_refused_with_its_date() {
    let authority = Authority::new("ours");
    for io in drivers() {
        let (collector, _) = Server::new(&authority.expired(&[NAME])).start(|_| Reply::Accept);
        let (builder, diagnostics) = to(&collector, trusting(&authority));
        let told = complaint(builder, &diagnostics, io);
        assert!(told.contains("certificate expired on Mon, 03 Feb 2020 00:00:00 GMT"), "{told}");
    }
}

#[test]
fn a_server_that_wants_a_client_certificate_and_gets_none_is_told_by_variable() {
    let authority = Authority::new("ours");
    for io in drivers() {
        for version in [&TLS12, &TLS13] {
            let server = Server::new(&authority.identity(&[NAME])).version(version);
            let (collector, _) = server.clients_of(&authority).start(|_| Reply::Accept);
            let (builder, diagnostics) = to(&collector, trusting(&authority));
            let told = complaint(builder, &diagnostics, io);
            assert!(
                told.ends_with(
                    "the collector wants a client certificate; set \
                 OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY"
                ),
                "{told}"
            );
            assert_eq!(collector.requests(), 0);
        }
    }
}

#[test]
fn a_client_certificate_that_a_server_does_not_accept_is_named() {
    let (authority, strange) = (Authority::new("ours"), Authority::new("strange"));
    for io in drivers() {
        for (us, why) in [
            (strange.identity(&["us"]), "its authority is unknown there (the alert UnknownCA)"),
            (authority.expired(&["us"]), "it has expired (the alert CertificateExpired)"),
        ] {
            let server = Server::new(&authority.identity(&[NAME])).clients_of(&authority);
            let (collector, _) = server.start(|_| Reply::Accept);
            let (builder, diagnostics) = to(&collector, presenting(trusting(&authority), &us));
            let told = complaint(builder, &diagnostics, io);
            let whose = "the collector does not accept our client certificate, a PEM text \
                         (TlsConfig::client_certificate_pem): ";
            assert!(told.ends_with(&format!("{whose}{why}")), "{told}");
        }
    }
}

#[test]
fn a_peer_that_does_not_speak_tls_gets_nothing_and_is_named() {
    for io in drivers() {
        let collector = Collector::start();
        let (builder, diagnostics) = to(&collector, trusting(&Authority::new("ours")));
        // Whoever reads a hello as HTTP waits for the end of its line: it has to be told to end.
        let talker = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = talker.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in talker.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
                let _ = stream.read(&mut [0; 1024]);
            }
        });
        let builder = builder.endpoint(format!("https://{address}"));
        let told = complaint(builder, &diagnostics, io);
        assert!(told.contains("does not speak TLS there; use an http:// endpoint"), "{told}");
        assert_eq!(collector.requests(), 0);
    }
}

#[test]
fn a_server_for_another_protocol_is_told_apart() {
    let authority = Authority::new("ours");
    let server = Server::new(&authority.identity(&[NAME])).protocols(&["h2"]);
    let (collector, _) = server.start(|_| Reply::Accept);
    let (builder, diagnostics) = to(&collector, trusting(&authority));
    let told = complaint(builder, &diagnostics, Io::Auto);
    assert!(told.contains("(ALPN)") && told.contains("OTEL_EXPORTER_OTLP_PROTOCOL"), "{told}");
}

#[test]
fn a_server_that_does_not_say_what_it_speaks_speaks_http() {
    let authority = Authority::new("ours");
    let server = Server::new(&authority.identity(&[NAME])).protocols(&[]);
    let (collector, _) = server.start(|_| Reply::Accept);
    let exporter = secure(&collector, Io::Auto, trusting(&authority));
    end_spans(&provider(&exporter, "service"), 2);
    exporter.flush(LONG).unwrap();
}

#[test]
fn a_handshake_that_nobody_answers_ends_with_the_attempt() {
    for io in drivers() {
        let mute = TcpListener::bind("127.0.0.1:0").unwrap();
        let (builder, diagnostics) = builder(&format!("https://{}", mute.local_addr().unwrap()));
        let builder = builder.io(io).tls(trusting(&Authority::new("ours")));
        let exporter = builder.timeout(Duration::from_millis(50)).build().unwrap();
        let provider = provider(&exporter, "service");
        end_spans(&provider, 1);
        let told = diagnostics.wait_for("ExportFailing");
        assert!(told.contains("time was up while shaking hands for TLS"), "{told}");
        assert!(exporter.shutdown(Duration::ZERO).is_err());
        assert_balanced(&exporter.stats(), 1);
    }
}

#[test]
fn a_connection_that_is_cut_anywhere_loses_nothing() {
    let authority = Authority::new("ours");
    for io in drivers() {
        for version in [&TLS12, &TLS13] {
            let server = Server::new(&authority.identity(&[NAME])).version(version);
            let (collector, _) = server.start(|_| Reply::Accept);
            // Through the handshake, the tickets and the answer, and beyond.
            let limits = (0..2000).step_by(131).collect();
            let address = cutting(collector.address(), limits);
            let (builder, _) = to(&collector, trusting(&authority));
            let ms = Duration::from_millis;
            let builder = builder.retry_backoff(ms(1), ms(5));
            let builder = builder.endpoint(format!("https://{address}"));
            let exporter = builder.io(io).build().unwrap();
            let ended = end_spans(&provider(&exporter, "service"), 20);
            exporter.flush(LONG).unwrap();
            let ids = collector.ids();
            assert!(ended.iter().all(|id| ids.contains_key(id)));
            assert_eq!(exporter.stats().delivered, 20);
            assert!(exporter.stats().retries >= 5, "{:?}", exporter.stats());
        }
    }
}

/// Reads a whole request, which has a body, and answers it with `answer`.
fn answer(
    mut stream: StreamOwned<ServerConnection, std::net::TcpStream>,
    answer: &str,
    close: bool,
) {
    if !read_request(&mut stream) {
        return;
    }
    stream.write_all(answer.as_bytes()).unwrap();
    if close {
        stream.conn.send_close_notify();
    }
    stream.flush().unwrap();
}

/// Reads a whole request; false if the client has gone.
fn read_request(stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>) -> bool {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    while !is_whole(&request) {
        match stream.read(&mut piece) {
            Ok(count) if count > 0 => request.extend_from_slice(&piece[..count]),
            _ => return false,
        }
    }
    true
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, _)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.to_ascii_lowercase();
    let length = length.split("content-length: ").nth(1).unwrap();
    let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
    request.len() >= head.len() + 4 + length
}

#[test]
fn only_a_close_notify_ends_an_answer_that_ends_with_the_connection() {
    let authority = Authority::new("ours");
    let by_length = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let by_end = "HTTP/1.1 200 OK\r\n\r\n";
    for io in drivers() {
        for (text, close, is_cut) in [
            (by_length, true, false),
            // Many servers are so rude; nothing is missing.
            (by_length, false, false),
            (by_end, true, false),
            // Who has cut it?
            (by_end, false, true),
        ] {
            let server = Server::new(&authority.identity(&[NAME]));
            let (collector, _) = server.start_raw(move |stream| answer(stream, text, close));
            let (builder, diagnostics) = to(&collector, trusting(&authority));
            let exporter = builder.io(io).build().unwrap();
            end_spans(&provider(&exporter, "service"), 2);
            exporter.flush(LONG).unwrap();
            assert_eq!(exporter.stats().delivered, 2);
            let told = diagnostics.of_kind("PartialSuccess");
            assert_eq!(told.len(), usize::from(is_cut), "{text:?} {close}: {told:?}");
            assert!(told.iter().all(|text| text.contains("close_notify")), "{told:?}");
        }
    }
}

#[test]
fn what_a_server_says_beyond_its_answer_is_not_the_answer_to_the_next_request() {
    let authority = Authority::new("ours");
    let taken = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let refused = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n";
    for io in drivers() {
        let is_first = AtomicBool::new(true);
        let (collector, seen) =
            Server::new(&authority.identity(&[NAME])).start_raw(move |mut stream| {
                let says_more = is_first.swap(false, Ordering::Relaxed);
                while read_request(&mut stream) {
                    // Two records, which arrive together.
                    stream.conn.writer().write_all(taken).unwrap();
                    if says_more {
                        stream.conn.writer().write_all(refused).unwrap();
                    }
                    stream.flush().unwrap();
                }
            });
        let exporter = secure(&collector, io, trusting(&authority));
        let provider = provider(&exporter, "service");
        for delivered in [2, 4] {
            end_spans(&provider, 2);
            exporter.flush(LONG).unwrap();
            assert_eq!(exporter.stats().delivered, delivered, "{io:?}");
        }
        assert_eq!(seen.handshakes().len(), 2, "{io:?}");
    }
}

#[test]
fn a_reconnection_resumes_the_session() {
    let authority = Authority::new("ours");
    for io in drivers() {
        for version in [&TLS12, &TLS13] {
            let server = Server::new(&authority.identity(&[NAME])).version(version);
            let (collector, seen) = server.start(|request| match request % 2 {
                0 => LATER,
                _ => Reply::Accept,
            });
            let (builder, _) = to(&collector, trusting(&authority));
            let exporter = builder.io(io).build().unwrap();
            end_spans(&provider(&exporter, "service"), 3);
            exporter.flush(LONG).unwrap();
            assert_eq!(seen.resumed(), (1, 2), "the second of two");
        }
    }
}

#[test]
fn signals_with_the_same_settings_share_their_sessions() {
    let authority = Authority::new("ours");
    let (collector, seen) = Server::new(&authority.identity(&[NAME])).start(|_| Reply::Accept);
    let exporter = secure(&collector, Io::Auto, trusting(&authority));
    end_spans(&provider(&exporter, "service"), 1);
    exporter.flush(LONG).unwrap();
    emit_logs(&logger_provider(&exporter, "service"), 1);
    exporter.flush(LONG).unwrap();
    assert_eq!(seen.resumed(), (1, 2), "that of the logs");
}
