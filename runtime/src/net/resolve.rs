//! Names to addresses.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

/// Resolves `host` on the blocking pool, in the resolver's order. An address (`::1`, also
/// `[::1]`) is taken as it is.
///
/// # Errors
/// If the name is unknown or no resolver answers.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(ip) = literal(host) {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let name = host.to_owned();
    let found = off_the_worker(move || lookup(&name, port)).await?;
    found.map_err(|error| io::Error::new(error.kind(), format!("cannot resolve {host:?}: {error}")))
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

/// Runs `work` on a thread of its own.
async fn off_the_worker<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    type Meeting<T> = Mutex<(Option<T>, Option<Waker>)>;
    let here: Arc<Meeting<T>> = Arc::new(Mutex::new((None, None)));
    let there = Arc::clone(&here);
    thread::Builder::new().name("spanwire-resolve".into()).spawn(move || {
        let result = work();
        let waker = {
            let mut meeting = there.lock().expect("nothing panics under this lock");
            meeting.0 = Some(result);
            meeting.1.take()
        };
        waker.map(Waker::wake)
    })?;
    Ok(poll_fn(move |cx| {
        let mut meeting = here.lock().expect("nothing panics under this lock");
        let Some(result) = meeting.0.take() else {
            meeting.1 = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(result)
    })
    .await)
}
