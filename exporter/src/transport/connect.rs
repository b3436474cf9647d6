//! Opening a connection: resolve, then try the addresses in the resolver's order.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use spanwire_runtime::net::{TcpStream, resolve};
use spanwire_runtime::time::timeout;

use super::endpoint::Endpoint;
use crate::model::{Failure, Phase};

/// Connects to `endpoint`. The name is resolved each time, so a collector that moved is found.
///
/// # Errors
///
/// The name has no address, or none of the first [`ADDRESSES_MAX`] accepted a connection.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<TcpStream, Failure> {
    let addresses = resolve(&endpoint.host, endpoint.port)
        .await
        .map_err(|error| Failure::new(Phase::Resolve, error.to_string()))?;
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
