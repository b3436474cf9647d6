use rustls::{ClientConfig, InvalidMessage, RootCertStore};

use super::*;
use crate::transport::tls::material::{Base, Material, Pem, Place};
use crate::wire::response::MESSAGE_BYTES_MAX;

fn words(identity: Option<&str>) -> Words {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut secrets = Secrets::given(&config);
    secrets.identity = identity.map(ToOwned::to_owned);
    Words { server: "collector.test".to_owned(), secrets: Arc::new(secrets) }
}

fn told(identity: Option<&str>, error: Error) -> String {
    let failure = words(identity).failure(&Fault::Tls(error));
    assert_eq!((failure.phase, failure.status), (Phase::Tls, None));
    failure.message
}

#[test]
fn each_fault_says_whose_it_is_and_what_to_do() {
    use AlertDescription as Alert;
    let certificate = |error| Error::InvalidCertificate(error);
    let us = Some("/us.pem (VARIABLE)");
    for (identity, error, start, end) in [
        (
            None,
            certificate(CertificateError::UnknownIssuer),
            "the collector's certificate is not signed by ",
            "authority",
        ),
        (
            None,
            certificate(CertificateError::Expired),
            "the collector's certificate has expired; ",
            "clock",
        ),
        (
            None,
            certificate(CertificateError::NotValidYet),
            "the collector's certificate is not valid yet; ",
            "clock",
        ),
        (
            None,
            certificate(CertificateError::Revoked),
            "the collector's certificate was revoked; ",
            "another",
        ),
        (
            None,
            certificate(CertificateError::InvalidPurpose),
            "the collector's certificate is not one for a server",
            "another",
        ),
        (
            None,
            certificate(CertificateError::BadEncoding),
            "the collector's certificate cannot be verified: ",
            "another",
        ),
        (
            None,
            certificate(CertificateError::NotValidForName),
            "the collector's certificate is not for collector.test; ",
            "TlsConfig::server_name",
        ),
        (
            None,
            Error::AlertReceived(Alert::CertificateRequired),
            "the collector wants a client certificate; ",
            "CLIENT_KEY",
        ),
        (
            None,
            Error::AlertReceived(Alert::NoApplicationProtocol),
            "the collector does not offer ",
            "PROTOCOL",
        ),
        (
            None,
            Error::AlertReceived(Alert::ProtocolVersion),
            "the collector has neither TLS 1.2 nor 1.3; ",
            "settings",
        ),
        (
            None,
            Error::AlertReceived(Alert::HandshakeFailure),
            "the collector and we have no cipher ",
            "settings",
        ),
        (
            None,
            Error::AlertReceived(Alert::UnrecognisedName),
            "the collector does not know the name collector.test; ",
            "serves",
        ),
        (
            None,
            Error::AlertReceived(Alert::InternalError),
            "the collector ended TLS with the alert InternalError; ",
            "log",
        ),
        (
            None,
            Error::AlertReceived(Alert::UnknownCA),
            "the collector ended TLS with the alert UnknownCA; ",
            "log",
        ),
        (
            us,
            Error::AlertReceived(Alert::UnknownCA),
            "the collector does not accept our client certificate, /us.pem (VARIABLE): its authority is unknown there",
            "(the alert UnknownCA)",
        ),
        (
            us,
            Error::AlertReceived(Alert::BadCertificate),
            "the collector does not accept our client certificate, ",
            "(the alert BadCertificate)",
        ),
        (
            None,
            Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13),
            "the collector has neither TLS 1.2 nor 1.3; ",
            "settings",
        ),
        (
            None,
            Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon),
            "the collector and we have no cipher ",
            "settings",
        ),
        (
            None,
            Error::PeerIncompatible(PeerIncompatible::NullCompressionRequired),
            "the collector's TLS lacks what ours needs ",
            "update it",
        ),
        (
            None,
            Error::InvalidMessage(InvalidMessage::InvalidCcs),
            "what the collector, or a proxy between, has sent is not valid TLS: ",
            "InvalidCcs",
        ),
        (None, Error::NoCertificatesPresented, "the collector has no certificate; ", "settings"),
        (None, Error::FailedToGetCurrentTime, "TLS does not work: ", "time"),
    ] {
        let text = told(identity, error.clone());
        assert!(text.starts_with(start), "{error:?}: {text}");
        assert!(text.ends_with(end), "{error:?}: {text}");
    }
    let lost = |fault| words(None).failure(&fault).message;
    let reset = Fault::Lost(io::ErrorKind::ConnectionReset.into());
    assert!(
        lost(reset).starts_with("the connection was lost in the handshake: connection reset; ")
    );
    assert!(
        lost(Fault::Closed).starts_with("the collector closed the connection in the handshake")
    );
    assert!(lost(Fault::Foreign).starts_with("the collector does not speak TLS there; "));
}

#[test]
fn what_a_certificate_says_is_shown_on_one_line_and_not_without_an_end() {
    let presented: Vec<_> = (0..9).map(|number| format!("name\n{number}")).collect();
    let expected = "collector.test".try_into().unwrap();
    let error = CertificateError::NotValidForNameContext { expected, presented };
    let text = told(None, Error::InvalidCertificate(error));
    assert!(text.contains("name 0, name 1, name 2, name 3, name 4 and 4 more, not for"), "{text}");
    let expected = "collector.test".try_into().unwrap();
    let presented = vec!["n\u{e9}".repeat(60_000); 9];
    let error = CertificateError::NotValidForNameContext { expected, presented };
    let text = told(None, Error::InvalidCertificate(error));
    assert!(text.len() <= MESSAGE_BYTES_MAX && text.ends_with(NAMES), "{text}");
    let text = told(None, Error::General("x".repeat(1 << 20)));
    assert_eq!(text.len(), MESSAGE_BYTES_MAX);
}

#[test]
fn no_date_is_too_far_away() {
    assert_eq!(date(&at(1_580_688_000)), "Mon, 03 Feb 2020 00:00:00 GMT");
    assert_eq!(date(&at(0)), "Thu, 01 Jan 1970 00:00:00 GMT");
    assert!(date(&at(u64::MAX)).ends_with("9999 00:00:00 GMT"));
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

#[test]
fn an_error_of_tls_is_told_apart_from_one_of_the_socket() {
    let error = words(None).error(&Error::DecryptError);
    assert!(TlsError::is(&error));
    assert!(
        !TlsError::is(&io::Error::other("reset")) && !TlsError::is(&io::ErrorKind::Other.into())
    );
}

#[test]
fn whoever_has_asked_for_a_certificate_and_got_none_wants_one() {
    let place = Place::Text(include_str!("../material/ec.pem").as_bytes().into());
    let trust = Some(Pem { place, source_name: "TRUST" });
    let (secrets, _) = Material { trust, ..Material::default() }.load(&Base::new()).unwrap();
    let words = Words { server: "collector.test".to_owned(), secrets: Arc::new(secrets) };
    let said = |alert| {
        let told = words.failure(&Fault::Tls(Error::AlertReceived(alert))).message;
        let lost = words.failure(&Fault::Lost(io::ErrorKind::ConnectionReset.into())).message;
        [told, lost]
            .map(|text| text.contains("the collector wants a client certificate; set OTEL_"))
    };
    // OpenSSL's with TLS 1.2, and that of servers in Go.
    for alert in [AlertDescription::HandshakeFailure, AlertDescription::BadCertificate] {
        assert_eq!(said(alert), [false, false], "nobody has asked yet");
    }
    assert!(words.secrets.http1.client_auth_cert_resolver.resolve(&[], &[]).is_none());
    for alert in [AlertDescription::HandshakeFailure, AlertDescription::BadCertificate] {
        assert_eq!(said(alert), [true, true]);
    }
    assert_eq!(said(AlertDescription::InternalError), [false, true], "that has another reason");
}
