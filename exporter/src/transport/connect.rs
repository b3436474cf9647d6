//! Opening a connection: resolve, try the addresses in the resolver's order, and ask the proxy if
//! there is one.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use spanwire_runtime::net::{TcpStream, UnixStream, resolve};
use spanwire_runtime::time::timeout;

use super::connection::{Connection, Socket};
use super::endpoint::Endpoint;
use super::http1::Progress;
use super::proxy::Proxy;
#[cfg(feature = "tls")]
use super::tls::Tls;
use crate::model::{Failure, Phase};

/// Opens connections to one endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    /// Where to.
    pub(crate) endpoint: Endpoint,
    /// In place of those that the name has now.
    pub(crate) address: Option<IpAddr>,
    /// For an https endpoint.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<Arc<Tls>>,
    /// Who is asked for a tunnel, if not everything is reached directly.
    pub(crate) proxy: Option<Proxy>,
}

/// What is to be spoken over a connection, which a TLS handshake agrees on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "grpc"), allow(dead_code, reason = "only gRPC speaks the other"))]
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
            address: None,
            proxy: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Opens a connection; `busy_with` says meanwhile what is waited for, in words that follow
    /// "time was up while". The caller brings the deadline.
    ///
    /// # Errors
    ///
    /// The name is unknown or nobody can be asked; or no address accepted the connection; or the
    /// proxy opened no tunnel.
    pub(crate) async fn connect(
        &self,
        alpn: Alpn,
        busy_with: &Cell<&'static str>,
    ) -> Result<Connection, Failure> {
        let socket = self.socket(busy_with).await?;
        self.secure(socket, alpn, busy_with).await
    }

    /// A socket whose other end is the collector.
    async fn socket(&self, busy_with: &Cell<&'static str>) -> Result<Socket, Failure> {
        let Endpoint { host, port, unix_path, .. } = &self.endpoint;
        if let Some(path) = unix_path {
            busy_with.set("connecting to the collector");
            return connect_unix(path).await;
        }
        if let Some(proxy) = &self.proxy {
            return tunnel(proxy, &self.endpoint, busy_with).await;
        }
        busy_with.set("resolving the collector's host name");
        let addresses = match self.address {
            Some(address) => vec![SocketAddr::new(address, *port)],
            None => addresses_of(host, *port).await?,
        };
        busy_with.set("connecting to the collector");
        connect_any(addresses).await.map(Socket::Tcp)
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

/// Connects to the proxy and has it connect to `endpoint`.
async fn tunnel(
    proxy: &Proxy,
    endpoint: &Endpoint,
    busy_with: &Cell<&'static str>,
) -> Result<Socket, Failure> {
    // Nothing of this is the collector's fault.
    let of_proxy = |failure: Failure| Failure { phase: Phase::Proxy, ..failure };
    busy_with.set("resolving the proxy's host name");
    let addresses = addresses_of(&proxy.host, proxy.port).await.map_err(of_proxy)?;
    busy_with.set("connecting to the proxy");
    let stream = connect_any(addresses).await.map_err(of_proxy)?;
    busy_with.set("waiting for the proxy to reach the collector");
    let status = ask_for_tunnel(&stream, proxy.request(endpoint))
        .await
        .map_err(|why| Failure::new(Phase::Proxy, format!("its answer is of no use: {why}")))?;
    Proxy::judge(status).map(|()| Socket::Tcp(stream))
}

/// Sends a CONNECT and receives the head of the answer; what came behind it belongs to whoever
/// receives next. Returns the status.
async fn ask_for_tunnel(stream: &TcpStream, request: Vec<u8>) -> Result<u16, String> {
    stream.send_all(vec![request.into()]).await.map_err(|error| error.to_string())?;
    let mut reader = Proxy::reader();
    let mut buffer = Vec::with_capacity(TUNNEL_BYTES);
    loop {
        buffer.clear();
        let (received, back) = stream.recv(buffer).await;
        buffer = back;
        let (progress, taken) = match received.map_err(|error| error.to_string())? {
            0 => reader.end_of_stream().map(|progress| (progress, 0)),
            _ => reader.feed_to_end(&buffer),
        }
        .map_err(|error| error.to_string())?;
        if progress == Progress::Done {
            stream.unread(&buffer[taken..]);
            return Ok(reader.into_response().map_or(0, |response| response.status));
        }
    }
}

/// The addresses of `host`, asked for before each connection, so that a collector that moved is
/// found.
///
/// # Errors
///
/// The name is unknown, or nobody can be asked.
async fn addresses_of(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let found = resolve(host, port).await;
    found.map_err(|error| Failure::new(Phase::Resolve, error.to_string()))
}

/// Connects to the first of `addresses` that accepts. Each is begun with when the one before it
/// has failed, or has kept us waiting for [`HEAD_START`]; all that were begun with go on. So a
/// dead address costs little, however short the attempt is (RFC 8305, section 5).
///
/// # Errors
///
/// There is no address, or none of the first [`ADDRESSES_MAX`] accepted a connection.
async fn connect_any(addresses: Vec<SocketAddr>) -> Result<TcpStream, Failure> {
    let mut next = addresses.into_iter().take(ADDRESSES_MAX).map(connect_one).map(Box::pin);
    let Some(first) = next.next() else {
        return Err(Failure::new(Phase::Resolve, "it has no address"));
    };
    let mut under_way = vec![first];
    let mut failed = 0;
    loop {
        let ended = match next.len() {
            0 => Ok(first_of(&mut under_way).await),
            _ => timeout(HEAD_START, first_of(&mut under_way)).await,
        };
        let last = match ended {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => {
                failed += 1;
                Some(error)
            }
            Err(_) => None,
        };
        under_way.extend(next.next());
        if let (Some(error), true) = (last, under_way.is_empty()) {
            return Err(unconnected(failed, &error));
        }
    }
}

/// Waits for the first of `connects` to end, and takes it out.
async fn first_of<F>(connects: &mut Vec<Pin<Box<F>>>) -> io::Result<TcpStream>
where
    F: Future<Output = io::Result<TcpStream>>,
{
    poll_fn(|cx| {
        let ended = connects.iter_mut().enumerate().find_map(|(index, connect)| {
            match connect.as_mut().poll(cx) {
                Poll::Ready(result) => Some((index, result)),
                Poll::Pending => None,
            }
        });
        let Some((index, result)) = ended else { return Poll::Pending };
        drop(connects.swap_remove(index));
        Poll::Ready(result)
    })
    .await
}

fn unconnected(tried: usize, last: &io::Error) -> Failure {
    Failure::new(
        Phase::Connect,
        match tried {
            1 => last.to_string(),
            _ => format!("{tried} addresses tried, the last: {last}"),
        },
    )
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
/// How long one address may take. Two SYN retransmissions (1 s and 3 s) fit in.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
/// How long an address is alone before the next one is tried too: what RFC 8305 recommends.
const HEAD_START: Duration = Duration::from_millis(250);
/// Room for the answer of a proxy, which is a short head.
const TUNNEL_BYTES: usize = 1 << 10;

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

    /// An address that neither accepts nor refuses: its queue is full. It stays so for as long as
    /// what is returned is kept.
    fn silent() -> (SocketAddr, impl Sized) {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
        let socket = socket.unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        // Room for one, and on some systems for a few more.
        let patience = Duration::from_millis(100);
        let fill = || std::net::TcpStream::connect_timeout(&address, patience);
        let queued: Vec<_> = std::iter::from_fn(|| fill().ok()).collect();
        (address, (socket, queued))
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
    fn an_address_that_is_silent_holds_up_the_next_one_for_less_than_its_own_limit() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let (silent, _kept) = silent();
        let runtime = Builder::new().io(driver::Choice::Epoll).build().unwrap();
        let task = runtime.spawn_pinned(move || async move {
            let connect = connect_any(vec![silent, silent, deaf(), open]);
            timeout(CONNECT_LIMIT / 2, connect).await.map(|stream| stream.unwrap().peer_addr())
        });
        assert_eq!(runtime.block_on(task).unwrap().ok().unwrap().unwrap(), open);
    }

    #[test]
    fn a_name_without_addresses_is_not_resolved() {
        assert_eq!(connected_to(vec![]).unwrap_err().phase, Phase::Resolve);
    }
}
