//! gRPC over TLS: HTTP/2 is agreed on in the handshake, or there is no connection.
#![cfg(all(target_os = "linux", feature = "tls"))]

#[path = "support/grpc.rs"]
mod server;
mod support;

use rustls::version::{TLS12, TLS13};
use spanwire::{Builder, Protocol, TlsConfig};

use server::{GrpcOptions, GrpcReply, GrpcServer};
use support::otel::{Diagnostics, LONG, drivers, end_spans, provider};
use support::tls::{Authority, Server};

const NAME: &str = "collector.test";

fn start(tls: &Server) -> GrpcServer {
    let options = GrpcOptions { tls: Some(tls.config()), ..GrpcOptions::default() };
    GrpcServer::with_options(options, |_| GrpcReply::Accept)
}

fn to(server: &GrpcServer, authority: &Authority) -> (Builder, Diagnostics) {
    let (builder, diagnostics) = support::otel::builder(server.endpoint());
    let tls = TlsConfig::new().ca_pem(authority.pem()).server_name(NAME);
    (builder.protocol(Protocol::Grpc).tls(tls), diagnostics)
}

/// What a user is told of a server that data does not go to.
fn complaint(server: &GrpcServer, authority: &Authority) -> String {
    let (builder, diagnostics) = to(server, authority);
    let exporter = builder.build().unwrap();
    // It would be flushed if it were dropped now.
    let provider = provider(&exporter, "service");
    end_spans(&provider, 1);
    let told = diagnostics.wait_for("ExportFailing");
    assert_eq!(exporter.stats().in_flight, 1, "it may be repaired");
    exporter.shutdown(std::time::Duration::ZERO).unwrap_err();
    assert!(server.calls().is_empty());
    told
}

#[test]
fn spans_arrive_over_either_version_of_tls_on_either_driver() {
    let authority = Authority::new("ours");
    for io in drivers() {
        for version in [&TLS12, &TLS13] {
            let identity = authority.identity(&[NAME]);
            let server = start(&Server::new(&identity).version(version).protocols(&["h2"]));
            let (builder, _) = to(&server, &authority);
            let exporter = builder.io(io).batch_bytes(3 << 20).batch_age(LONG).build().unwrap();
            let provider = provider(&exporter, "service");
            for count in [10, 20_000] {
                end_spans(&provider, count);
                exporter.flush(LONG).unwrap();
            }
            let ids = server.ids();
            assert!(ids.len() == 20_010 && ids.values().all(|times| *times == 1));
            assert_eq!(server.connections(), 1);
        }
    }
}

#[test]
fn a_server_that_does_not_offer_http_2_is_named() {
    let authority = Authority::new("ours");
    for protocols in [&["http/1.1"][..], &[]] {
        let server = Server::new(&authority.identity(&[NAME])).protocols(protocols);
        let told = complaint(&start(&server), &authority);
        assert!(told.contains("no secure connection to the collector: "), "{told}");
        assert!(told.contains("over TLS there (ALPN); check that the port"), "{told}");
    }
}

#[test]
fn a_server_that_wants_a_client_certificate_and_gets_none_is_told_by_variable() {
    let authority = Authority::new("ours");
    for version in [&TLS12, &TLS13] {
        let server = Server::new(&authority.identity(&[NAME])).version(version);
        let server = server.protocols(&["h2"]).clients_of(&authority);
        let told = complaint(&start(&server), &authority);
        assert!(told.contains("the collector wants a client certificate; set "), "{told}");
    }
}
