//! Whom to trust and who we are: PEM texts and files, and what becomes of them.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, Error, InconsistentKeys, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;

use super::files::Stamps;
use super::{HTTP1, HTTP2};
use crate::error::BuildError;

/// A PEM text and where it came from.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pem {
    pub(crate) place: Place,
    /// The variable or builder method.
    pub(crate) source_name: &'static str,
}

/// Where a PEM text is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In a file, which may be replaced while the program runs.
    File(PathBuf),
    /// Here. It may be a private key.
    Text(Arc<[u8]>),
}

/// What a client needs of its user; all of it may be absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Material {
    /// Authorities that are trusted in place of the machine's.
    pub(crate) trust: Option<Pem>,
    /// Our certificate, and those between it and its authority.
    pub(crate) certificate: Option<Pem>,
    /// The private key of it.
    pub(crate) key: Option<Pem>,
}

/// What was made of a [`Material`], or what a caller has made.
pub(super) struct Secrets {
    /// For HTTP/1.1.
    pub(super) http1: Arc<ClientConfig>,
    /// For HTTP/2. Both know the same sessions.
    pub(super) http2: Arc<ClientConfig>,
    /// Who is trusted, in words that follow "signed by".
    pub(super) trust: String,
    /// Where our certificate came from; absent if there is none, or if it is not known.
    pub(super) identity: Option<String>,
    presenter: Option<Arc<Presenter>>,
}

/// What stays the same when files change.
pub(super) struct Base {
    provider: Arc<CryptoProvider>,
    /// The machine's roots are read once, when they are needed first.
    platform: OnceLock<Arc<dyn ServerCertVerifier>>,
}

impl Base {
    /// With the process's default provider, if somebody has installed one, else ring.
    pub(super) fn new() -> Self {
        let installed = CryptoProvider::get_default().cloned();
        let ring = || Arc::new(rustls::crypto::ring::default_provider());
        Self { provider: installed.unwrap_or_else(ring), platform: OnceLock::new() }
    }

    fn platform(&self) -> Result<Arc<dyn ServerCertVerifier>, BuildError> {
        if let Some(known) = self.platform.get() {
            return Ok(Arc::clone(known));
        }
        let verifier = Verifier::new(Arc::clone(&self.provider)).map_err(|error| {
            let why = format!(
                "nobody is trusted on this machine ({error}); install its CA certificates \
                 (package ca-certificates), or set OTEL_EXPORTER_OTLP_CERTIFICATE"
            );
            let value = "the certificate authorities of this machine".to_owned();
            BuildError::InvalidValue { value, source_name: "the default", why }
        })?;
        Ok(Arc::clone(self.platform.get_or_init(|| Arc::new(verifier))))
    }
}

impl Material {
    /// The files it comes from.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        let pems = [&self.trust, &self.certificate, &self.key].into_iter().flatten();
        pems.filter_map(|pem| match &pem.place {
            Place::File(path) => Some(&**path),
            Place::Text(_) => None,
        })
    }

    /// Reads everything and makes a configuration of it; with it goes what the files looked like
    /// before.
    ///
    /// # Errors
    ///
    /// Which file, from which setting, and what is wrong with it.
    pub(super) fn load(&self, base: &Base) -> Result<(Secrets, Stamps), BuildError> {
        let stamps = Stamps::of(self.files());
        let verifier = match &self.trust {
            None => base.platform()?,
            Some(pem) => verifier(pem, base)?,
        };
        let presenter = Arc::new(Presenter::new(self.identity(base)?));
        let resolver: Arc<dyn ResolvesClientCert> = Arc::clone(&presenter) as _;
        let config = ClientConfig::builder_with_provider(Arc::clone(&base.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| self.unusable(&error))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(resolver);
        let trust = match &self.trust {
            None => "an authority that this machine trusts".to_owned(),
            Some(pem) => format!("an authority of {pem}"),
        };
        let identity = self.certificate.as_ref().map(Pem::to_string);
        let presenter = Some(presenter);
        Ok((Secrets { trust, identity, presenter, ..Secrets::of(config) }, stamps))
    }

    /// Our certificate and its key.
    fn identity(&self, base: &Base) -> Result<Option<Arc<CertifiedKey>>, BuildError> {
        let (certificate, key) = match (&self.certificate, &self.key) {
            (None, None) => return Ok(None),
            (Some(certificate), Some(key)) => (certificate, key),
            (Some(certificate), None) => return Err(certificate.refused(NO_KEY)),
            (None, Some(key)) => return Err(key.refused(NO_CERTIFICATE)),
        };
        let chain = certificate.certificates()?;
        let signing = base.provider.key_provider.load_private_key(key.private_key()?);
        let signing = signing.map_err(|error| {
            key.refused(format!("its key is of a kind that cannot be used: {error}"))
        })?;
        let certified = CertifiedKey::new(chain, signing);
        match certified.keys_match() {
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(key.refused(format!("it is not the key of the certificate in {certificate}")))
            }
            // A kind of key that does not tell: the first handshake will.
            Ok(()) | Err(Error::InconsistentKeys(_)) => Ok(Some(Arc::new(certified))),
            Err(error) => Err(certificate.refused(format!("its certificate is broken: {error}"))),
        }
    }

    /// The provider can do none of the versions of TLS that are safe.
    fn unusable(&self, error: &Error) -> BuildError {
        BuildError::InvalidValue {
            value: "the process's default crypto provider of rustls".to_owned(),
            source_name: "CryptoProvider::install_default",
            why: error.to_string(),
        }
    }
}

/// Who trusts the authorities in `pem`, and nobody else.
fn verifier(pem: &Pem, base: &Base) -> Result<Arc<dyn ServerCertVerifier>, BuildError> {
    let mut roots = RootCertStore::empty();
    // A bundle may have a certificate that is of no use; that is no reason to refuse the others.
    let (added, _) = roots.add_parsable_certificates(pem.certificates()?);
    if added == 0 {
        return Err(pem.refused("its certificates cannot be read: they are not valid X.509"));
    }
    let provider = Arc::clone(&base.provider);
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(verifier.map_err(|error| pem.refused(error.to_string()))?)
}

impl Pem {
    /// Its certificates, one at least.
    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, BuildError> {
        let text = self.text()?;
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        match found {
            Ok(found) if found.is_empty() => {
                Err(self.refused("it has no certificate (-----BEGIN CERTIFICATE-----)"))
            }
            Ok(found) => Ok(found),
            Err(error) => Err(self.refused(format!("it is not valid PEM: {error:?}"))),
        }
    }

    /// Its first private key.
    fn private_key(&self) -> Result<PrivateKeyDer<'static>, BuildError> {
        let text = self.text()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
            // What the parser has found may be a part of the key, so it is not shown.
            let is_encrypted = text.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED);
            self.refused(if is_encrypted { IS_ENCRYPTED } else { HAS_NO_KEY })
        })
    }

    fn text(&self) -> Result<Arc<[u8]>, BuildError> {
        match &self.place {
            Place::Text(text) => Ok(Arc::clone(text)),
            Place::File(path) => {
                read(path).map_err(|error| self.refused(format!("it cannot be read: {error}")))
            }
        }
    }

    fn refused(&self, why: impl Into<String>) -> BuildError {
        let value = match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Text(_) => TEXT.to_owned(),
        };
        BuildError::InvalidValue { value, source_name: self.source_name, why: why.into() }
    }
}

/// A whole file of a sensible size: a path may lead to a device without an end.
fn read(path: &Path) -> io::Result<Arc<[u8]>> {
    let mut text = Vec::new();
    let count = File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if count as u64 > FILE_BYTES_MAX {
        let why = format!("it is larger than {FILE_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(text.into())
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => write!(f, "{} ({})", path.display(), self.source_name),
            Place::Text(_) => write!(f, "{TEXT} ({})", self.source_name),
        }
    }
}

impl fmt::Debug for Pem {
    /// Shows no text: it may be a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Text(_) => f.write_str(TEXT),
        }
    }
}

impl Secrets {
    /// Those of a caller's own configuration.
    pub(super) fn given(config: &ClientConfig) -> Self {
        Self::of(config.clone())
    }

    fn of(config: ClientConfig) -> Self {
        let speaking = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        Self {
            http1: speaking(HTTP1),
            http2: speaking(HTTP2),
            trust: "whom the given ClientConfig trusts".to_owned(),
            identity: config.client_auth_cert_resolver.has_certs().then(|| OWN.to_owned()),
            presenter: None,
        }
    }

    /// Whether a peer has ever asked for our certificate, as far as is known.
    pub(super) fn was_asked(&self) -> bool {
        self.presenter.as_ref().is_some_and(|presenter| presenter.was_asked.get().is_some())
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets")
            .field("trust", &self.trust)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

/// Shows our certificate, if there is one, to any peer that asks; and remembers that one did, for
/// the words of an error.
#[derive(Debug)]
struct Presenter {
    certified: Option<Arc<CertifiedKey>>,
    was_asked: OnceLock<()>,
}

impl Presenter {
    fn new(certified: Option<Arc<CertifiedKey>>) -> Self {
        Self { certified, was_asked: OnceLock::new() }
    }
}

impl ResolvesClientCert for Presenter {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.was_asked.get_or_init(|| ());
        self.certified.clone()
    }

    fn has_certs(&self) -> bool {
        self.certified.is_some()
    }
}

/// No certificate file is larger; all authorities of a machine take some 300 KB.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Stands for a PEM text, which is not shown.
const TEXT: &str = "a PEM text";
const OWN: &str = "the one of the given ClientConfig";
const NO_KEY: &str = "it is of no use without its key; set OTEL_EXPORTER_OTLP_CLIENT_KEY";
const NO_CERTIFICATE: &str =
    "it is of no use without its certificate; set OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
const HAS_NO_KEY: &str = "it has no private key in PEM (-----BEGIN PRIVATE KEY-----, RSA PRIVATE \
                          KEY or EC PRIVATE KEY)";
const IS_ENCRYPTED: &str = "its key is encrypted, and there is no way to give its password; \
                            decrypt it with: openssl pkey -in KEY -out NEW";
const ENCRYPTED: &[u8] = b"ENCRYPTED";

#[cfg(test)]
mod tests;
