use std::io::{Read as _, Write as _};

use proptest::collection::vec;
use proptest::prelude::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::*;

const NAME: &str = "collector.test";

/// A client and a server, and what is on its way between them.
struct Pair {
    client: Session,
    server: ServerConnection,
}

impl Pair {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key.into())
            .unwrap();
        let server = ServerConnection::new(Arc::new(config)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Session::new(Arc::new(config), NAME.try_into().unwrap()).unwrap();
        Self { client, server }
    }

    /// A pair after its handshake, whose messages arrive in pieces of `piece` bytes.
    fn established(version: &'static SupportedProtocolVersion, piece: usize) -> Self {
        let mut pair = Self::new(version);
        while pair.client.shake_hands() != Ok(Shaking::Done) || pair.server.is_handshaking() {
            pair.uplink();
            let ciphertext = pair.downlink();
            for part in ciphertext.chunks(piece) {
                pair.client.shake_hands().unwrap();
                pair.client.accept(part.to_vec());
            }
        }
        pair
    }

    /// Everything that the client has to send; returns the plaintext that the server has got.
    fn uplink(&mut self) -> Vec<u8> {
        let mut output = Vec::new();
        self.client.take_output(&mut output);
        self.deliver(&output)
    }

    fn deliver(&mut self, mut ciphertext: &[u8]) -> Vec<u8> {
        let mut plaintext = Vec::new();
        while !ciphertext.is_empty() {
            self.server.read_tls(&mut ciphertext).unwrap();
            self.server.process_new_packets().unwrap();
            let mut piece = [0; 4096];
            while let Ok(count @ 1..) = self.server.reader().read(&mut piece) {
                plaintext.extend_from_slice(&piece[..count]);
            }
        }
        plaintext
    }

    fn downlink(&mut self) -> Vec<u8> {
        let mut ciphertext = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut ciphertext).unwrap();
        }
        ciphertext
    }
}

fn bytes_of(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index * 7 + index / 256) as u8).collect()
}

fn versions() -> impl Strategy<Value = &'static SupportedProtocolVersion> {
    prop_oneof![Just(&rustls::version::TLS12), Just(&rustls::version::TLS13)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_server_gets_what_the_slices_hold_however_they_are_cut(
        version in versions(),
        piece in 1_usize..5000,
        lengths in vec(prop_oneof![0_usize..20, 0_usize..3000, 60_000_usize..140_000], 0..12),
    ) {
        let mut pair = Pair::established(version, piece);
        let whole = bytes_of(lengths.iter().sum());
        let mut rest = Bytes::from(whole.clone());
        let mut plaintext = Pieces::new(lengths.iter().map(|count| rest.split_to(*count)).collect());
        let mut received = Vec::new();
        while plaintext.bytes() > 0 {
            let (before, mut output) = (plaintext.bytes(), Vec::new());
            pair.client.encrypt(&mut plaintext, &mut output).unwrap();
            prop_assert_eq!(before - plaintext.bytes(), before.min(STEP_BYTES));
            prop_assert!(output.len() <= before.min(STEP_BYTES) + 512);
            received.extend(pair.deliver(&output));
        }
        prop_assert!(received == whole);
    }

    #[test]
    fn what_a_server_sends_is_read_however_it_arrives(
        version in versions(),
        arriving in vec(1_usize..20_000, 1..6),
        rooms in vec(1_usize..9000, 1..6),
        count in 0_usize..60_000,
        updates_keys in any::<bool>(),
    ) {
        let mut pair = Pair::established(version, usize::MAX);
        let whole = bytes_of(count);
        if updates_keys && pair.server.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
            pair.server.refresh_traffic_keys().unwrap();
        }
        pair.server.writer().write_all(&whole).unwrap();
        pair.server.send_close_notify();
        let mut ciphertext = &*pair.downlink();
        let (mut arriving, mut rooms) = (arriving.iter().cycle(), rooms.iter().cycle());
        let mut received = Vec::new();
        let end = loop {
            let mut buffer = Vec::with_capacity(*rooms.next().unwrap());
            let room = buffer.capacity();
            match pair.client.read(&mut buffer).unwrap() {
                Read::NotYet => {
                    let inbox = pair.client.lend_inbox();
                    prop_assert!(inbox.is_empty() && inbox.capacity() >= INBOX_BYTES);
                    let (now, later) =
                        ciphertext.split_at((*arriving.next().unwrap()).min(ciphertext.len()));
                    ciphertext = later;
                    pair.client.accept(now.to_vec());
                }
                Read::Data(read) => {
                    prop_assert!(read == buffer.len() && read > 0 && buffer.capacity() == room);
                    received.extend(buffer);
                }
                end => break end,
            }
        };
        prop_assert_eq!(end, Read::Closed);
        prop_assert!(received == whole);
        prop_assert!(pair.client.has_news());
    }

    #[test]
    fn what_is_no_tls_ends_the_session_and_does_not_panic(
        version in versions(),
        noise in vec(any::<u8>(), 1..2000),
        is_established in any::<bool>(),
    ) {
        let mut pair = match is_established {
            true => Pair::established(version, usize::MAX),
            false => Pair::new(version),
        };
        pair.client.accept(noise);
        let _ = pair.client.shake_hands();
        let mut buffer = Vec::with_capacity(64);
        let read = pair.client.read(&mut buffer);
        prop_assert!(buffer.is_empty(), "nothing of it is data: {read:?}");
    }
}

#[test]
fn an_end_without_a_word_is_a_cut_and_what_came_before_it_is_read() {
    let mut pair = Pair::established(&rustls::version::TLS13, usize::MAX);
    assert!(!pair.client.has_news());
    pair.server.writer().write_all(b"answer").unwrap();
    let ciphertext = pair.downlink();
    pair.client.accept(ciphertext);
    assert!(pair.client.has_news());
    let mut buffer = Vec::with_capacity(16);
    assert_eq!(pair.client.read(&mut buffer), Ok(Read::Data(6)));
    assert_eq!(pair.client.read(&mut buffer), Ok(Read::NotYet));
    pair.client.accept(Vec::new());
    assert_eq!(pair.client.read(&mut buffer), Ok(Read::Cut));
    assert_eq!(buffer, b"answer");
}

#[test]
fn a_record_that_was_changed_on_its_way_ends_the_session_and_the_server_is_told() {
    let mut pair = Pair::established(&rustls::version::TLS13, usize::MAX);
    pair.server.writer().write_all(b"answer").unwrap();
    let mut ciphertext = pair.downlink();
    *ciphertext.last_mut().unwrap() ^= 1;
    pair.client.accept(ciphertext);
    let mut buffer = Vec::with_capacity(16);
    assert_eq!(pair.client.read(&mut buffer), Err(Error::DecryptError));
    assert!(!pair.client.is_foreign(), "it was TLS");
    let mut output = Vec::new();
    let mut plaintext = Pieces::new(vec![Bytes::from_static(b"more")]);
    assert_eq!(pair.client.encrypt(&mut plaintext, &mut output), Err(Error::DecryptError));
    pair.client.take_output(&mut output);
    let mut alert = &*output;
    pair.server.read_tls(&mut alert).unwrap();
    let told = pair.server.process_new_packets();
    assert_eq!(told, Err(Error::AlertReceived(rustls::AlertDescription::BadRecordMac)));
}

#[test]
fn who_answers_a_hello_with_http_is_foreign() {
    let mut pair = Pair::new(&rustls::version::TLS13);
    pair.client.accept(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec());
    assert!(pair.client.shake_hands().is_err());
    assert!(pair.client.is_foreign());
}
