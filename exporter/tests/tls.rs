//! https: who is trusted and who we are, against rustls as a server.
#![cfg(feature = "tls")]

mod support;

use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use spanwire::{Exporter, Io, TlsConfig};

use support::otel::{DRIVERS, LONG, builder, end_spans, provider};
use support::tls::{Authority, Server};
use support::{Collector, Reply};

/// An exporter to `collector` over TLS.
fn secure(collector: &Collector, io: Io, tls: TlsConfig) -> Exporter {
    builder(&endpoint(collector)).0.io(io).tls(tls.server_name(NAME)).build().unwrap()
}

fn endpoint(collector: &Collector) -> String {
    format!("https://{}", collector.address())
}

/// What servers have certificates for; nobody resolves it.
const NAME: &str = "collector.test";

#[test]
fn spans_arrive_over_either_version_of_tls_on_either_driver() {
    let authority = Authority::new("ours");
    for io in DRIVERS {
        for version in [&TLS12, &TLS13] {
            let server = Server::new(&authority.identity(&[NAME])).version(version);
            let (collector, seen) = server.start(|_| Reply::Accept);
            let exporter = secure(&collector, io, TlsConfig::new().ca_pem(authority.pem()));
            let provider = provider(&exporter, "service");
            for _ in 0..3 {
                end_spans(&provider, 100);
                exporter.flush(LONG).unwrap();
            }
            assert_eq!(collector.ids().len(), 300);
            let handshakes = seen.handshakes();
            assert_eq!(handshakes.len(), 1, "one connection carries all: {handshakes:?}");
            assert_eq!(handshakes[0].kind, HandshakeKind::Full);
            assert_eq!(handshakes[0].protocol.as_deref(), Some("http/1.1"));
            assert_eq!(handshakes[0].name.as_deref(), Some(NAME));
            assert_eq!(handshakes[0].client, None);
        }
    }
}
