//! How to trust a collector and to be trusted by it.

use std::cell::RefCell;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;

use super::Builder;
use crate::diagnostics::Diagnostics;
use crate::env::{Given, GivenTls};
use crate::error::BuildError;
use crate::model::Signal;
use crate::transport::endpoint::{Endpoint, Scheme};
use crate::transport::tls::material::{Material, Pem, Place};
use crate::transport::tls::{Tls, is_server_name};

/// How a collector behind an `https://` endpoint is trusted, and what it may trust us by.
///
/// Without any of it, whom this machine trusts is trusted, by its own means
/// ([rustls-platform-verifier]; `SSL_CERT_FILE` and `SSL_CERT_DIR` apply where it has none), and
/// no certificate of ours is shown. TLS 1.3 and 1.2 are spoken.
///
/// **Files are loaded again when they change**: before a new connection, at most once a second.
/// If the new ones cannot be used, the former stay in use, and a diagnostic
/// ([`DiagnosticKind::Certificates`](crate::DiagnosticKind::Certificates)) says why. Connections
/// that are open go on as they are.
///
/// # Examples
///
/// ```
/// use spanwire::{BuildError, Exporter, TlsConfig};
///
/// let tls = TlsConfig::new()
///     .ca_file("/etc/otel/ca.pem")
///     .client_certificate_file("/etc/otel/client.pem")
///     .client_key_file("/etc/otel/client-key.pem");
/// let built = Exporter::builder().endpoint("https://collector.internal:4318").tls(tls).build();
/// // There is no such file here, and the error says so.
/// let error = built.unwrap_err().to_string();
/// assert!(error.starts_with("the value \"/etc/otel/ca.pem\" of TlsConfig::ca_file"), "{error}");
/// ```
///
/// [rustls-platform-verifier]: https://docs.rs/rustls-platform-verifier
#[derive(Clone, Default)]
#[must_use = "it does nothing before it is given to a builder"]
pub struct TlsConfig {
    material: Material,
    server_name: Option<String>,
    given: Option<Arc<ClientConfig>>,
}

impl TlsConfig {
    /// The machine's authorities, and no certificate of ours.
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities in this PEM file **in place of** the machine's; default
    /// `OTEL_EXPORTER_OTLP_CERTIFICATE`, or the signal's variable. A certificate that a server
    /// itself uses is none of an authority, unless it was made as one (`CA:TRUE`), and then no
    /// server may use it.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.material.trust = Some(file(path, "TlsConfig::ca_file"));
        self
    }

    /// As [`ca_file`](Self::ca_file), from a PEM text.
    pub fn ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.material.trust = Some(text(pem, "TlsConfig::ca_pem"));
        self
    }

    /// The PEM file of the certificate that proves who we are, and of those between it and its
    /// authority, if the collector asks for one (mTLS); default
    /// `OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE`, or the signal's variable. It needs a key.
    pub fn client_certificate_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.material.certificate = Some(file(path, "TlsConfig::client_certificate_file"));
        self
    }

    /// As [`client_certificate_file`](Self::client_certificate_file), from a PEM text.
    pub fn client_certificate_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.material.certificate = Some(text(pem, "TlsConfig::client_certificate_pem"));
        self
    }

    /// The PEM file of the private key of the client certificate, not encrypted (PKCS #8, PKCS #1
    /// or SEC 1); default `OTEL_EXPORTER_OTLP_CLIENT_KEY`, or the signal's variable.
    pub fn client_key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.material.key = Some(file(path, "TlsConfig::client_key_file"));
        self
    }

    /// As [`client_key_file`](Self::client_key_file), from a PEM text. It is never shown.
    pub fn client_key_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.material.key = Some(text(pem, "TlsConfig::client_key_pem"));
        self
    }

    /// The name (or IP address) that the collector's certificate has to be for, and that it is
    /// asked for (SNI), where that is not the endpoint's host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// A configuration of your own, for what is not here: another crypto provider, hardware keys,
    /// a verifier of your own. Files and texts, here and in the environment, have no effect then.
    /// Its ALPN protocols are replaced, because what is spoken is not a matter of choice. Use the
    /// rustls that this crate [re-exports](crate::rustls), or the same version of it.
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use spanwire::rustls::{ClientConfig, RootCertStore, crypto};
    /// use spanwire::{Exporter, TlsConfig};
    ///
    /// let provider = Arc::new(crypto::ring::default_provider());
    /// let config = ClientConfig::builder_with_provider(provider)
    ///     .with_safe_default_protocol_versions()?
    ///     .with_root_certificates(RootCertStore::empty())
    ///     .with_no_client_auth();
    /// let tls = TlsConfig::new().client_config(Arc::new(config));
    /// let exporter = Exporter::builder().endpoint("https://localhost:4318").tls(tls).build()?;
    /// # exporter.shutdown(std::time::Duration::ZERO).ok();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn client_config(mut self, config: Arc<ClientConfig>) -> Self {
        self.given = Some(config);
        self
    }

    /// What the environment says.
    fn given(given: &GivenTls) -> Self {
        let pem = |file: &Option<Given<PathBuf>>| {
            file.as_ref().map(|Given { value, source_name }| self::file(value, source_name))
        };
        let material = Material {
            trust: pem(&given.certificate),
            certificate: pem(&given.client_certificate),
            key: pem(&given.client_key),
        };
        Self { material, ..Self::default() }
    }

    /// What is not set here is taken from `other`.
    fn or(self, other: &Self) -> Self {
        let (own, other_own) = (self.material, &other.material);
        Self {
            material: Material {
                trust: own.trust.or_else(|| other_own.trust.clone()),
                certificate: own.certificate.or_else(|| other_own.certificate.clone()),
                key: own.key.or_else(|| other_own.key.clone()),
            },
            server_name: self.server_name.or_else(|| other.server_name.clone()),
            given: self.given.or_else(|| other.given.clone()),
        }
    }

    /// Nothing can be told apart from `other`.
    fn is_same(&self, other: &Self) -> bool {
        let given = match (&self.given, &other.given) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        given && self.material == other.material && self.server_name == other.server_name
    }

    fn load(&self, diagnostics: Diagnostics) -> Result<Tls, BuildError> {
        let server_name = self.server_name.clone();
        match &self.given {
            Some(config) => Ok(Tls::with_config(config, server_name, diagnostics)),
            None => Tls::load(self.material.clone(), server_name, diagnostics),
        }
    }
}

impl fmt::Debug for TlsConfig {
    /// Shows paths, and no PEM text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConfig")
            .field("material", &self.material)
            .field("server_name", &self.server_name)
            .field("is_given", &self.given.is_some())
            .finish()
    }
}

/// What was chosen, and what was made of it.
#[derive(Default)]
pub(super) struct Choices {
    all: TlsConfig,
    /// In the order of [`Signal::ALL`]; each beats the one for all.
    signals: [TlsConfig; Signal::ALL.len()],
    /// Signals with the same settings share one, and with it their sessions.
    loaded: RefCell<Vec<(TlsConfig, Arc<Tls>)>>,
}

impl Choices {
    /// Whether the code names what the variables of a signal with this index would: who is trusted
    /// (`E3`), our key (`E4`) and our certificate (`E5`).
    pub(super) fn overrule(&self, id: &str, index: usize) -> bool {
        let names = |config: &TlsConfig| {
            let Material { trust, key, certificate } = &config.material;
            let named = match id {
                "E3" => trust,
                "E4" => key,
                _ => certificate,
            };
            named.is_some() || config.given.is_some()
        };
        names(&self.all) || self.signals.get(index).is_some_and(names)
    }
}

impl Builder {
    /// How the collectors behind `https://` endpoints are trusted, and what they trust us by.
    /// What is not set in `config` is taken from the environment, then from the machine.
    pub fn tls(mut self, config: TlsConfig) -> Self {
        self.tls.all = config;
        self
    }

    /// As [`tls`](Self::tls) for one signal; what is not set in `config` is taken from there.
    pub fn tls_for(mut self, signal: Signal, config: TlsConfig) -> Self {
        self.tls.signals[signal.index()] = config;
        self
    }

    /// What secures connections to `endpoint`; none if it is not an https one.
    pub(super) fn tls_to(
        &self,
        signal: Signal,
        endpoint: &Endpoint,
        given: &GivenTls,
    ) -> Result<Option<Arc<Tls>>, BuildError> {
        if endpoint.scheme != Scheme::Https {
            return Ok(None);
        }
        let code = self.tls.signals[signal.index()].clone().or(&self.tls.all);
        let config = code.or(&TlsConfig::given(given));
        check_name(&config, endpoint)?;
        let mut loaded = self.tls.loaded.borrow_mut();
        if let Some((_, tls)) = loaded.iter().find(|(known, _)| known.is_same(&config)) {
            return Ok(Some(Arc::clone(tls)));
        }
        let tls = Arc::new(config.load(self.diagnostics())?);
        loaded.push((config, Arc::clone(&tls)));
        Ok(Some(tls))
    }
}

/// A certificate must be able to name whom we want to talk to.
fn check_name(config: &TlsConfig, endpoint: &Endpoint) -> Result<(), BuildError> {
    let (name, source_name) = match &config.server_name {
        Some(name) => (name, "TlsConfig::server_name"),
        None => (&endpoint.host, "the host of the https endpoint"),
    };
    if is_server_name(name) {
        return Ok(());
    }
    let why = "it is neither a host name nor an IP address that a certificate can be for";
    Err(BuildError::InvalidValue { value: name.clone(), source_name, why: why.to_owned() })
}

fn file(path: impl Into<PathBuf>, source_name: &'static str) -> Pem {
    Pem { place: Place::File(path.into()), source_name }
}

fn text(pem: impl AsRef<[u8]>, source_name: &'static str) -> Pem {
    Pem { place: Place::Text(pem.as_ref().into()), source_name }
}
