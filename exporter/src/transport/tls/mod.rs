//! TLS, by rustls.
//!
//! | file | what it does |
//! |---|---|
//! | `material` | PEM files and texts become a configuration, or an error that names them |
//! | `files` | whether one of them has changed |
//! | `session` | ciphertext in, plaintext out, and back: no I/O |
//! | `stream` | drives a session over a socket, with owned buffers |
//! | `failure` | who is at fault, in one line |
//!
//! One [`Tls`] serves all connections with the same settings, so that they share sessions and a
//! reconnection costs no full handshake.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use spanwire_runtime::blocking::spawn_blocking;

use self::failure::Words;
use self::files::Stamps;
use self::material::{Base, Secrets};
use self::session::Session;
use super::connect::Alpn;
use super::connection::Socket;
use crate::diagnostics::{Diagnostics, Kind};
use crate::error::BuildError;
use crate::model::{Failure, Phase};

mod failure;
mod files;
pub(crate) mod material;
mod session;
mod stream;

pub(crate) use self::failure::TlsError;
use self::material::Material;
pub(crate) use self::stream::TlsStream;

/// The client's side of TLS with the settings of a destination.
pub(crate) struct Tls {
    origin: Option<Arc<Origin>>,
    /// In place of an origin: what the caller has made.
    given: Option<ClientConfig>,
    /// In place of the endpoint's host.
    server_name: Option<String>,
    current: Mutex<Current>,
    diagnostics: Diagnostics,
}

/// What the current secrets were made of, and newer ones are.
struct Origin {
    material: Material,
    base: Base,
    /// Held while files are looked at, which takes for ever if their file system hangs.
    looking: Mutex<()>,
}

/// What new connections use.
struct Current {
    secrets: Arc<Secrets>,
    /// What the files looked like when somebody last tried to load them.
    stamps: Stamps,
    checked: Instant,
}

impl Tls {
    /// Loads `material`. Files in it are loaded again when they change.
    ///
    /// # Errors
    ///
    /// Which file, from which setting, and what is wrong with it; or nobody is trusted on this
    /// machine.
    pub(crate) fn load(
        material: Material,
        server_name: Option<String>,
        diagnostics: Diagnostics,
    ) -> Result<Self, BuildError> {
        let origin = Origin { material, base: Base::new(), looking: Mutex::default() };
        let (secrets, stamps) = origin.material.load(&origin.base)?;
        let current = Current::new(secrets, stamps).into();
        Ok(Self { origin: Some(Arc::new(origin)), given: None, server_name, current, diagnostics })
    }

    /// With a configuration that the caller has made; its ALPN is replaced.
    pub(crate) fn with_config(
        config: &ClientConfig,
        server_name: Option<String>,
        diagnostics: Diagnostics,
    ) -> Self {
        let current = Current::new(Secrets::given(config), Stamps::default()).into();
        let given = Some(config.clone());
        Self { origin: None, given, server_name, current, diagnostics }
    }

    /// The same, loaded again, for a forked process: neither locks nor sessions are shared.
    ///
    /// # Errors
    ///
    /// As [`load`](Self::load).
    pub(crate) fn again(&self) -> Result<Self, BuildError> {
        let (server_name, diagnostics) = (self.server_name.clone(), self.diagnostics.afresh());
        match (&self.origin, &self.given) {
            (_, Some(config)) => {
                let mut config = config.clone();
                config.resumption = Resumption::default();
                Ok(Self::with_config(&config, server_name, diagnostics))
            }
            (Some(origin), None) => Self::load(origin.material.clone(), server_name, diagnostics),
            (None, None) => Self::load(Material::default(), server_name, diagnostics),
        }
    }

    /// Makes a secure stream of `socket`, which leads to `host`, for what `alpn` speaks. The
    /// caller brings the deadline.
    ///
    /// # Errors
    ///
    /// Who is at fault; retryable, because certificates are rotated and servers repaired.
    pub(crate) async fn handshake(
        &self,
        socket: Socket,
        host: &str,
        alpn: Alpn,
    ) -> Result<TlsStream, Failure> {
        let secrets = self.fresh().await;
        let server = self.server_name.as_deref().unwrap_or(host).to_owned();
        let config = match alpn {
            Alpn::Http1 => Arc::clone(&secrets.http1),
            Alpn::H2 => Arc::clone(&secrets.http2),
        };
        let session = session(config, &server)?;
        let words = Words { server, secrets };
        let stream = TlsStream::new(socket, session, words.clone());
        stream.shake_hands().await.map_err(|fault| words.failure(&fault))?;
        match (alpn, stream.speaks(alpn.name())) {
            // HTTP/1.1 is what is spoken without a word about it.
            (_, Some(true)) | (Alpn::Http1, None) => Ok(stream),
            _ => Err(words.unspoken(alpn)),
        }
    }

    /// What a new connection is to use. If files have changed they are loaded first; if the new
    /// ones are of no use, the former stay.
    async fn fresh(&self) -> Arc<Secrets> {
        if let Some((origin, before)) = self.due() {
            let loading = spawn_blocking(move || origin.load_if_changed(&before));
            // Without a thread for it the former stay until the next connection.
            if let Ok(Some(loaded)) = loading.await {
                self.renew(loaded);
            }
        }
        Arc::clone(&self.current().secrets)
    }

    /// Where the secrets come from, if it is time for a look at that; then it is not for a while.
    fn due(&self) -> Option<(Arc<Origin>, Stamps)> {
        let origin = self.origin.as_ref()?;
        let mut current = self.current();
        let is_due = !current.stamps.is_empty() && current.checked.elapsed() >= CHECK_INTERVAL;
        is_due.then(|| {
            current.checked = Instant::now();
            (Arc::clone(origin), current.stamps.clone())
        })
    }

    fn renew(&self, loaded: Loaded) {
        let mut current = self.current();
        current.stamps = loaded.stamps;
        match loaded.secrets {
            Ok(secrets) => current.secrets = Arc::new(secrets),
            Err(error) => {
                drop(current);
                let text = format!("{error}; what was loaded before stays in use");
                self.diagnostics.report(Kind::Certificates, &text, Instant::now());
            }
        }
    }

    /// Held for an assignment: nothing waits for it, and nothing can panic under it.
    fn current(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("material", &self.origin.as_ref().map(|origin| &origin.material))
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl Current {
    fn new(secrets: Secrets, stamps: Stamps) -> Self {
        Self { secrets: Arc::new(secrets), stamps, checked: Instant::now() }
    }
}

/// What came of loading files again.
struct Loaded {
    secrets: Result<Secrets, BuildError>,
    stamps: Stamps,
}

impl Origin {
    /// Blocks. Nothing if no file looks otherwise than `before`, or if somebody else is still
    /// looking: one thread at most hangs with a file system, and not each that resolves names.
    fn load_if_changed(&self, before: &Stamps) -> Option<Loaded> {
        let looking = self.looking.try_lock();
        if matches!(looking, Err(TryLockError::WouldBlock)) {
            return None;
        }
        let stamps = Stamps::of(self.material.files());
        (stamps != *before).then(|| match self.material.load(&self.base) {
            Ok((secrets, stamps)) => Loaded { secrets: Ok(secrets), stamps },
            Err(error) => Loaded { secrets: Err(error), stamps },
        })
    }
}

impl Alpn {
    /// As it is called in a handshake (RFC 7301).
    fn name(self) -> &'static [u8] {
        match self {
            Self::Http1 => HTTP1,
            Self::H2 => HTTP2,
        }
    }
}

/// Whether a certificate can be for `host`.
pub(crate) fn is_server_name(host: &str) -> bool {
    ServerName::try_from(host).is_ok()
}

fn session(config: Arc<ClientConfig>, server: &str) -> Result<Session, Failure> {
    let name = ServerName::try_from(server.to_owned()).map_err(|_| {
        Failure::new(Phase::Tls, "no certificate can be for the endpoint's host; use another name")
    })?;
    Session::new(config, name).map_err(|error| Failure::new(Phase::Tls, error.to_string()))
}

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";
/// How often files are looked at, at most; and only before a new connection.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
