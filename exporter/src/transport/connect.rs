//! Opening a connection: resolve, then try the addresses in the resolver's order.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use spanwire_runtime::net::{TcpStream, UnixStream, resolve};
use spanwire_runtime::time::timeout;

use super::connection::{Connection, Socket};
use super::endpoint::Endpoint;
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::model::{Failure, Phase};

/// Opens connections to one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    /// Where to.
    pub(crate) endpoint: Endpoint,
    /// For an https endpoint.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<Tls>>,
}

/// What is to be spoken over a connection, which a TLS handshake agrees on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "TLS and gRPC name what they speak")]
pub(crate) enum Alpn {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, which is what gRPC needs.
    H2,
}

impl Connector {
    /// Opens connections in clear.
    #[cfg(test)]
    pub(crate) fn plain(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Opens a connection; `busy_with` says meanwhile what is waited for, in words that follow
    /// "time was up while". The caller brings the deadline.
    ///
    /// # Errors
    ///
    /// The name is unknown or nobody can be asked; or no address accepted the connection.
    pub(crate) async fn connect(
        &self,
        alpn: Alpn,
        busy_with: &Cell<&'static str>,
    ) -> Result<Connection, Failure> {
        if let Some(path) = &self.endpoint.unix_path {
            busy_with.set("connecting to the collector");
            return connect_unix(path).await.map(Connection::Plain);
        }
        busy_with.set("resolving the collector's host name");
        let addresses = addresses_of(&self.endpoint).await?;
        busy_with.set("connecting to the collector");
        let socket = connect_any(addresses).await.map(Socket::Tcp)?;
        self.secure(socket, alpn, busy_with).await
    }

    /// What is spoken over `socket`: TLS, if the endpoint wants it.
    #[cfg(feature = "tls")]
    async fn secure(
        &self,
        socket: Socket,
        alpn: Alpn,
        busy_with: &Cell<&'static str>,
    ) -> Result<Connection, Failure> {
        let Some(tls) = &self.tls else { return Ok(Connection::Plain(socket)) };
        busy_with.set("shaking hands for TLS with the collector");
        let stream = tls.handshake(socket, &self.endpoint.host, alpn).await?;
        Ok(Connection::Tls(Box::new(stream)))
    }

    #[cfg(not(feature = "tls"))]
    async fn secure(
        &self,
        socket: Socket,
        _: Alpn,
        _: &Cell<&'static str>,
    ) -> Result<Connection, Failure> {
        Ok(Connection::Plain(socket))
    }
}

async fn connect_unix(path: &Path) -> Result<Socket, Failure> {
    let connected = UnixStream::connect(path).await;
    let failure = |error| Failure::new(Phase::Connect, format!("{}: {error}", path.display()));
    connected.map(Socket::Unix).map_err(failure)
}

/// The addresses of `endpoint`, asked for before each connection, so that a collector that moved
/// is found.
///
/// # Errors
///
/// The name is unknown, or nobody can be asked.
async fn addresses_of(endpoint: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
    let found = resolve(&endpoint.host, endpoint.port).await;
    found.map_err(|error| Failure::new(Phase::Resolve, error.to_string()))
}

/// Connects to the first of `addresses` that accepts.
///
/// # Errors
///
/// There is no address, or none of the first [`ADDRESSES_MAX`] accepted a connection.
async fn connect_any(addresses: Vec<SocketAddr>) -> Result<TcpStream, Failure> {
    let mut tried = 0;
    let mut last = None;
    for address in addresses.into_iter().take(ADDRESSES_MAX) {
        match connect_one(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
        tried += 1;
    }
    Err(match last {
        Some(error) if tried > 1 => {
            Failure::new(Phase::Connect, format!("{tried} addresses tried, the last: {error}"))
        }
        Some(error) => Failure::new(Phase::Connect, error.to_string()),
        None => Failure::new(Phase::Resolve, "it has no address"),
    })
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
        Ok(connected) => connected?,
        Err(_) => return Err(io::ErrorKind::TimedOut.into()),
    };
    // A request is sent at once; only the last piece of a large one would wait. No harm if it
    // does, so an error is of no interest.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Addresses that one attempt tries.
const ADDRESSES_MAX: usize = 8;
/// How long one address may take, so that a dead first one does not use up the whole attempt.
/// Two SYN retransmissions (1 s and 3 s) fit in.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use spanwire_runtime::{Builder, driver};

    use super::*;

    /// A loopback address where nobody listens; a port that a test has let go of might be met
    /// by another test.
    fn deaf() -> SocketAddr {
        ([127, 9, 9, 9], 9).into()
    }

    fn connected_to(addresses: Vec<SocketAddr>) -> Result<SocketAddr, Failure> {
        let runtime = Builder::new().io(driver::Choice::Epoll).build().unwrap();
        let task = runtime.spawn_pinned(move || async move {
            connect_any(addresses).await.map(|stream| stream.peer_addr().unwrap())
        });
        runtime.block_on(task).unwrap()
    }

    #[test]
    fn the_next_address_is_tried_if_one_refuses_up_to_a_bound() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        assert_eq!(connected_to(vec![deaf(), open]), Ok(open));
        let mut addresses = vec![deaf(); ADDRESSES_MAX];
        addresses.push(open);
        let failure = connected_to(addresses).unwrap_err();
        assert_eq!(failure.phase, Phase::Connect);
        assert!(failure.message.starts_with("8 addresses tried"), "{failure:?}");
    }

    #[test]
    fn a_name_without_addresses_is_not_resolved() {
        assert_eq!(connected_to(vec![]).unwrap_err().phase, Phase::Resolve);
    }
}
