//! Why there is no secure connection: who is at fault, and what to do, in one line.

use std::error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

use super::Secrets;
use crate::model::{Failure, Phase};
use crate::transport::connect::Alpn;
use crate::transport::verdict::{one_line, start_of};

/// Why a handshake did not come to its end.
#[derive(Debug)]
pub(super) enum Fault {
    /// The connection was lost.
    Lost(io::Error),
    /// The peer has closed it.
    Closed,
    /// The peer answers, and not in TLS.
    Foreign,
    /// The two could not agree.
    Tls(Error),
}

/// What a failure is said in: what is known of both sides.
#[derive(Clone, Debug)]
pub(super) struct Words {
    /// The name that the peer's certificate has to be for.
    pub(super) server: String,
    pub(super) secrets: Arc<Secrets>,
}

/// An error of a TLS session, in words for the user.
#[derive(Debug)]
pub(crate) struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl error::Error for TlsError {}

impl TlsError {
    /// Whether `error` is one.
    pub(crate) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|error| error.is::<Self>())
    }
}

impl Words {
    /// Why a session is over that was established. With TLS 1.3 this is how a client learns that
    /// its certificate is not accepted.
    pub(super) fn error(&self, error: &Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, TlsError(self.explain(error)))
    }

    /// Why there is no session. Retryable: certificates are rotated, and servers repaired.
    pub(super) fn failure(&self, fault: &Fault) -> Failure {
        let text = match fault {
            Fault::Lost(error) => format!("the connection was lost in the handshake: {error}"),
            Fault::Closed => "the collector closed the connection in the handshake".to_owned(),
            Fault::Foreign => {
                let text = "the collector does not speak TLS there; use an http:// endpoint, or \
                            the port where it does";
                return Failure::new(Phase::Tls, text);
            }
            Fault::Tls(error) => return Failure::new(Phase::Tls, self.explain(error)),
        };
        let step = match self.wants_our_certificate() {
            true => WANTS_CERTIFICATE,
            false => "check that the port is one for TLS, and see the collector's log",
        };
        Failure::new(Phase::Tls, format!("{text}; {step}"))
    }

    /// The handshake is complete, but not for what is to be spoken.
    pub(super) fn unspoken(&self, alpn: Alpn) -> Failure {
        Failure::new(Phase::Tls, no_protocol(Some(alpn)))
    }

    /// The peer has asked for a certificate, and there is none.
    fn wants_our_certificate(&self) -> bool {
        self.secrets.identity.is_none() && self.secrets.was_asked()
    }

    fn explain(&self, error: &Error) -> String {
        let text = match error {
            Error::InvalidCertificate(error) => self.explain_certificate(error),
            Error::AlertReceived(alert) => self.explain_alert(*alert),
            Error::NoCertificatesPresented => {
                "the collector has no certificate; see its TLS settings".to_owned()
            }
            Error::PeerIncompatible(why) => explain_incompatible(why),
            Error::NoApplicationProtocol => no_protocol(None),
            Error::InvalidMessage(_) | Error::DecryptError | Error::PeerMisbehaved(_) => {
                format!(
                    "what the collector, or a proxy between, has sent is not valid TLS: {error}"
                )
            }
            other => format!("TLS does not work: {other}"),
        };
        one_line(&text)
    }

    fn explain_certificate(&self, error: &CertificateError) -> String {
        use CertificateError as Why;
        let what = match error {
            Why::UnknownIssuer => {
                let trust = &self.secrets.trust;
                return format!(
                    "the collector's certificate is not signed by {trust}; set \
                     OTEL_EXPORTER_OTLP_CERTIFICATE to a PEM file with the certificate of its \
                     authority"
                );
            }
            Why::NotValidForName => {
                return format!("the collector's certificate is not for {}; {NAMES}", self.server);
            }
            Why::NotValidForNameContext { presented, .. } => {
                let (names, server) = (names(presented), &self.server);
                return format!(
                    "the collector's certificate is for {names}, not for {server}; {NAMES}"
                );
            }
            Why::ExpiredContext { not_after, .. } => {
                format!("expired on {}; {TIME}", date(not_after))
            }
            Why::NotValidYetContext { not_before, .. } => {
                format!("is not valid before {}; {TIME}", date(not_before))
            }
            Why::Expired => format!("has expired; {TIME}"),
            Why::NotValidYet => format!("is not valid yet; {TIME}"),
            Why::Revoked => "was revoked; give it another".to_owned(),
            Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => {
                "is not one for a server (extended key usage); give it another".to_owned()
            }
            // webpki's word for it; it comes as an error of its own type.
            Why::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
                "is one of an authority (CA:TRUE), which no server may use; give it one that is \
                 signed by it"
                    .to_owned()
            }
            other => format!("cannot be verified: {other}; give it another"),
        };
        format!("the collector's certificate {what}")
    }

    fn explain_alert(&self, alert: AlertDescription) -> String {
        use AlertDescription as Alert;
        match alert {
            Alert::CertificateRequired => WANTS_CERTIFICATE.to_owned(),
            Alert::NoApplicationProtocol => no_protocol(None),
            Alert::ProtocolVersion => VERSIONS.to_owned(),
            Alert::UnrecognisedName => format!(
                "the collector does not know the name {}; use in the endpoint a name that it \
                 serves",
                self.server
            ),
            // What TLS 1.2, and servers written in Go, say in place of the first.
            Alert::HandshakeFailure | Alert::BadCertificate if self.wants_our_certificate() => {
                WANTS_CERTIFICATE.to_owned()
            }
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::DecryptError => self.explain_refusal(alert),
            Alert::HandshakeFailure | Alert::InsufficientSecurity => CIPHERS.to_owned(),
            other => format!("the collector ended TLS with {}; see its log", name_of(other)),
        }
    }

    /// The peer does not like our certificate, if we have one.
    fn explain_refusal(&self, alert: AlertDescription) -> String {
        let why = match alert {
            AlertDescription::CertificateExpired => "it has expired",
            AlertDescription::CertificateRevoked => "it was revoked",
            AlertDescription::UnknownCA => "its authority is unknown there",
            _ => "see the collector's log",
        };
        match &self.secrets.identity {
            Some(identity) => format!(
                "the collector does not accept our client certificate, {identity}: {why} ({})",
                name_of(alert)
            ),
            None => {
                format!("the collector ended TLS with {}; see its log", name_of(alert))
            }
        }
    }
}

fn explain_incompatible(why: &PeerIncompatible) -> String {
    use PeerIncompatible as Why;
    match why {
        Why::ServerDoesNotSupportTls12Or13 | Why::ServerTlsVersionIsDisabledByOurConfig => {
            VERSIONS.to_owned()
        }
        Why::NoCipherSuitesInCommon
        | Why::NoKxGroupsInCommon
        | Why::NoSignatureSchemesInCommon
        | Why::NoCertificateRequestSignatureSchemesInCommon => CIPHERS.to_owned(),
        other => format!("the collector's TLS lacks what ours needs ({other:?}); update it"),
    }
}

fn no_protocol(alpn: Option<Alpn>) -> String {
    let wanted = match alpn {
        Some(Alpn::H2) => "HTTP/2, which gRPC needs,",
        Some(Alpn::Http1) => "HTTP/1.1",
        None => "the protocol asked for",
    };
    format!(
        "the collector does not offer {wanted} over TLS there (ALPN); check that the port is the \
         one of OTEL_EXPORTER_OTLP_PROTOCOL"
    )
}

/// The names in a certificate, as many and as much of each as are of use.
fn names(presented: &[String]) -> String {
    let shown: Vec<_> =
        presented.iter().take(NAMES_MAX).map(|name| start_of(name, NAME_BYTES_MAX)).collect();
    match presented.len() - shown.len() {
        _ if shown.is_empty() => "no name".to_owned(),
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// As the protocol calls it.
fn name_of(alert: AlertDescription) -> String {
    format!("the alert {alert:?}")
}

fn date(time: &UnixTime) -> String {
    // Later than any certificate can say; beyond it a date cannot be written.
    let seconds = time.as_secs().min(YEAR_9999);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

const WANTS_CERTIFICATE: &str = "the collector wants a client certificate; set \
                                 OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and \
                                 OTEL_EXPORTER_OTLP_CLIENT_KEY";
const NAMES: &str = "use a name of its certificate in the endpoint, or set TlsConfig::server_name";
const TIME: &str = "renew it there, or set this machine's clock";
const VERSIONS: &str = "the collector has neither TLS 1.2 nor 1.3; update it, or see its settings";
const CIPHERS: &str = "the collector and we have no cipher or key type in common; see the \
                       collector's TLS settings";
/// Names of a certificate that are shown.
const NAMES_MAX: usize = 5;
/// Bytes of such a name that are shown: with all of them there is room for what to do.
const NAME_BYTES_MAX: usize = 100;
const YEAR_9999: u64 = 253_370_764_800;

#[cfg(test)]
mod tests;
