//! Names to addresses.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use crate::blocking::spawn_blocking;

/// Resolves `host` on the blocking pool, in the resolver's order. An address (`::1`, also
/// `[::1]`) is taken as it is.
///
/// # Errors
/// If the name is unknown, no resolver answers, or this thread is no worker.
///
/// # Examples
///
/// ```
/// use spanwire_runtime::{Builder, net};
///
/// let runtime = Builder::new().build()?;
/// let found = runtime.spawn_pinned(|| net::resolve("[::1]", 4318));
/// assert_eq!(runtime.block_on(found)??, ["[::1]:4318".parse()?]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(ip) = literal(host) {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.to_owned();
    match spawn_blocking(move || lookup(&name, port)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(io::Error::new(error.kind(), failure(host, &error))),
        Err(error) => Err(io::Error::other(failure(host, &error))),
    }
}

fn failure(host: &str, error: &dyn fmt::Display) -> String {
    format!("cannot resolve {host:?}: {error}")
}

/// An address, with or without brackets around IPv6.
fn literal(host: &str) -> Option<IpAddr> {
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match bracketed {
        Some(inside) => inside.parse().ok().map(IpAddr::V6),
        None => host.parse().ok(),
    }
}

fn lookup(name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((name, port).to_socket_addrs()?.collect())
}
