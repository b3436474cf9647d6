//! TLS with a certificate authority that is made on the spot.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
};

/// A receiver's identity, and whom a client has to trust for it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The authority's certificate.
    pub ca_pem: String,
    /// For `localhost`, `127.0.0.1` and `::1`; TLS 1.3 with [`CIPHER`] only; HTTP/2 or HTTP/1.1 by ALPN.
    pub server: Arc<ServerConfig>,
}

/// The provider of cryptography for all peers of a comparison: ring, with one cipher suite.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![ring::cipher_suite::TLS13_AES_256_GCM_SHA384],
        ..ring::default_provider()
    }
}

/// Makes an authority and a certificate of it.
///
/// # Errors
///
/// When the machine has no randomness, or the library refuses; the text tells.
pub fn identity() -> Result<Identity, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot make a certificate: {error}");
    let ca_key = KeyPair::generate().map_err(|error| cannot(&error))?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name.push(DnType::CommonName, "an authority of spanwire-bench");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let ca_pem = ca.self_signed(&ca_key).map_err(|error| cannot(&error))?.pem();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().map_err(|error| cannot(&error))?;
    let leaf = CertificateParams::new(NAMES.map(str::to_owned))
        .and_then(|leaf| leaf.signed_by(&key, &issuer))
        .map_err(|error| cannot(&error))?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut server = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| cannot(&error))?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .map_err(|error| cannot(&error))?;
    server.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(Identity { ca_pem, server: Arc::new(server) })
}

/// The configuration of a client that trusts this authority alone.
///
/// # Errors
///
/// When the text has no certificate in it; the text tells.
pub fn client(ca_pem: &str) -> Result<ClientConfig, String> {
    let cannot = |error: &dyn std::fmt::Display| format!("cannot use the authority: {error}");
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|error| cannot(&error))?;
    roots.add(ca).map_err(|error| cannot(&error))?;
    let config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| cannot(&error))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The cipher suite of all connections.
pub const CIPHER: &str = "TLS13_AES_256_GCM_SHA384";
/// HTTP/2 in ALPN.
pub const H2: &[u8] = b"h2";
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
