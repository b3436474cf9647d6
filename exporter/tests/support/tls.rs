//! Certificates, and a collector behind rustls as a server.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs;
use std::io::{self, Read as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use rustls::{
    HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
};

use spanwire::{Builder, Exporter, Io, TlsConfig};

use super::otel::{Diagnostics, builder};
use super::{Collector, PATIENCE, Reply, Talk};

/// An authority that signs certificates.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, both as PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { issuer: CertifiedIssuer::self_signed(params, key).unwrap() }
    }

    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for these names and addresses.
    pub(crate) fn identity(&self, names: &[&str]) -> Identity {
        self.sign(params(names))
    }

    /// One that expired long ago.
    pub(crate) fn expired(&self, names: &[&str]) -> Identity {
        let mut params = params(names);
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 3);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        roots
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = common_name("a test");
    params
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// How a collector does TLS.
pub(crate) struct Server {
    identity: Identity,
    versions: Vec<&'static SupportedProtocolVersion>,
    clients: Option<RootCertStore>,
    protocols: Vec<Vec<u8>>,
    /// A key update before each answer.
    updates_keys: bool,
}

impl Server {
    /// TLS 1.3 and 1.2 with this certificate; it asks for none.
    pub(crate) fn new(identity: &Identity) -> Self {
        Self {
            identity: identity.clone(),
            versions: rustls::ALL_VERSIONS.to_vec(),
            clients: None,
            protocols: vec![b"http/1.1".to_vec()],
            updates_keys: false,
        }
    }

    pub(crate) fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    /// Demands client certificates that `authority` has signed.
    pub(crate) fn clients_of(mut self, authority: &Authority) -> Self {
        self.clients = Some(authority.roots());
        self
    }

    pub(crate) fn protocols(mut self, protocols: &[&str]) -> Self {
        self.protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) fn updating_keys(mut self) -> Self {
        self.updates_keys = true;
        self
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&self.versions)
            .unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(roots) => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider)
                    .build()
                    .unwrap(),
            ),
        };
        let chain =
            rustls::pki_types::CertificateDer::pem_slice_iter(self.identity.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.identity.key.as_bytes()).unwrap();
        let mut config =
            builder.with_single_cert(chain.collect::<Result<_, _>>().unwrap(), key).unwrap();
        config.alpn_protocols = self.protocols.clone();
        Arc::new(config)
    }

    /// A collector that does this, and what it sees of TLS.
    pub(crate) fn start(
        self,
        script: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> (Collector, Seen) {
        let seen = self.seen();
        let seeing = seen.clone();
        let updates_keys = self.updates_keys;
        let wrap = move |socket: TcpStream| -> io::Result<Box<dyn Talk>> {
            let stream = seeing.shake_hands(socket)?;
            Ok(match updates_keys {
                true => Box::new(Updating(stream)),
                false => Box::new(stream),
            })
        };
        (Collector::wrapped(wrap, script), seen)
    }

    /// A server that does with each connection what `serve` does, and then lets go of it.
    pub(crate) fn start_raw(
        self,
        serve: impl Fn(StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
    ) -> (Collector, Seen) {
        let seen = self.seen();
        let seeing = seen.clone();
        let wrap = move |socket: TcpStream| -> io::Result<Box<dyn Talk>> {
            serve(seeing.shake_hands(socket)?);
            Err(io::ErrorKind::ConnectionAborted.into())
        };
        (Collector::wrapped(wrap, |_| Reply::HangUp), seen)
    }

    fn seen(&self) -> Seen {
        Seen {
            config: Arc::new(Mutex::new(self.config())),
            log: Arc::default(),
            failed: Arc::default(),
        }
    }
}

/// What a server sees of its handshakes, in order; and what new ones are to use.
#[derive(Clone)]
pub(crate) struct Seen {
    config: Arc<Mutex<Arc<ServerConfig>>>,
    log: Arc<Mutex<Log>>,
    /// Another handshake has failed.
    failed: Arc<Condvar>,
}

#[derive(Default)]
struct Log {
    handshakes: Vec<Handshake>,
    failures: Vec<String>,
}

/// A handshake that came to its end.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Handshake {
    pub(crate) kind: HandshakeKind,
    pub(crate) version: ProtocolVersion,
    pub(crate) protocol: Option<String>,
    /// What the client asked for (SNI).
    pub(crate) name: Option<String>,
    /// The client's certificate, as DER.
    pub(crate) client: Option<Vec<u8>>,
}

impl Seen {
    /// New connections are served by `server`.
    pub(crate) fn serve_by(&self, server: &Server) {
        *self.config.lock().unwrap() = server.config();
    }

    pub(crate) fn handshakes(&self) -> Vec<Handshake> {
        self.log.lock().unwrap().handshakes.clone()
    }

    /// Why the first handshake that failed did so, in the server's words.
    pub(crate) fn wait_for_failure(&self) -> String {
        let none = |log: &mut Log| log.failures.is_empty();
        let log = self.log.lock().unwrap();
        let (log, _) = self.failed.wait_timeout_while(log, PATIENCE, none).unwrap();
        log.failures.first().expect("a handshake that failed").clone()
    }

    /// Handshakes that were resumed, and all.
    pub(crate) fn resumed(&self) -> (usize, usize) {
        let handshakes = self.handshakes();
        let resumed = handshakes.iter().filter(|seen| seen.kind == HandshakeKind::Resumed);
        (resumed.count(), handshakes.len())
    }

    fn shake_hands(
        &self,
        mut socket: TcpStream,
    ) -> io::Result<StreamOwned<ServerConnection, TcpStream>> {
        let config = Arc::clone(&self.config.lock().unwrap());
        let mut connection = ServerConnection::new(config).unwrap();
        while connection.is_handshaking() {
            if let Err(error) = connection.complete_io(&mut socket) {
                self.log.lock().unwrap().failures.push(error.to_string());
                self.failed.notify_all();
                return Err(error);
            }
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let client = connection.peer_certificates().and_then(|chain| Some(chain.first()?.to_vec()));
        self.log.lock().unwrap().handshakes.push(Handshake {
            kind: connection.handshake_kind().unwrap(),
            version: connection.protocol_version().unwrap(),
            protocol: connection.alpn_protocol().map(text),
            name: connection.server_name().map(ToOwned::to_owned),
            client,
        });
        Ok(StreamOwned::new(connection, socket))
    }
}

/// Changes its keys before each write, and wants the client to do so too.
struct Updating(StreamOwned<ServerConnection, TcpStream>);

impl io::Read for Updating {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl io::Write for Updating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.conn.refresh_traffic_keys().map_err(io::Error::other)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A directory of a test's own, with everything in it until it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("spanwire-tls-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file as whole as `mv` does it, and returns its path.
    pub(crate) fn put(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.0.join(name), self.0.join(format!("{name}.new")));
        fs::write(&new, text).unwrap();
        fs::rename(new, &path).unwrap();
        path
    }
}

/// What servers have certificates for; nobody resolves it.
pub(crate) const NAME: &str = "collector.test";
/// Asks for a later attempt, and closes the connection.
pub(crate) const LATER: Reply = Reply::Refuse(503, "connection: close\r\n", Vec::new());

/// A builder of an exporter to `collector` over TLS, which does not ask for a name by itself.
pub(crate) fn to(collector: &Collector, tls: TlsConfig) -> (Builder, Diagnostics) {
    let (builder, diagnostics) = builder(&format!("https://{}", collector.address()));
    // One lane a signal, so that connections can be counted.
    (builder.tls(tls.server_name(NAME)).in_flight(1), diagnostics)
}

pub(crate) fn secure(collector: &Collector, io: Io, tls: TlsConfig) -> Exporter {
    to(collector, tls).0.io(io).build().unwrap()
}

/// Trusts whom `authority` has signed.
pub(crate) fn trusting(authority: &Authority) -> TlsConfig {
    TlsConfig::new().ca_pem(authority.pem())
}

pub(crate) fn presenting(tls: TlsConfig, identity: &Identity) -> TlsConfig {
    tls.client_certificate_pem(&identity.certificate).client_key_pem(&identity.key)
}

/// Forwards connections to `address`, of each only so many bytes of what comes back, in turn; then
/// it hangs up. When the limits are used up there are none. It takes little at once.
pub(crate) fn cutting(address: SocketAddr, limits: Vec<u64>) -> SocketAddr {
    let listener = TcpListener::bind((address.ip(), 0)).unwrap();
    // Those that are accepted inherit it. On loopback the usual segment is 64 KiB, and the socket
    // of who sends takes megabytes.
    #[cfg(target_os = "linux")]
    socket2::SockRef::from(&listener).set_tcp_mss(SEGMENT_BYTES).unwrap();
    let own = listener.local_addr().unwrap();
    thread::spawn(move || {
        let limits = limits.into_iter().chain(std::iter::repeat(u64::MAX));
        for (client, limit) in listener.incoming().zip(limits) {
            let Ok(client) = client else { return };
            thread::spawn(move || forward(&client, address, limit));
        }
    });
    own
}

/// A segment as on a network.
#[cfg(target_os = "linux")]
const SEGMENT_BYTES: u32 = 1448;

fn forward(client: &TcpStream, address: SocketAddr, limit: u64) {
    let Ok(server) = TcpStream::connect(address) else { return };
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let mut client = client;
    let _ = io::copy(&mut (&server).take(limit), &mut client);
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
