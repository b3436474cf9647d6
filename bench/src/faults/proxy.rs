//! The listener, its connections, and the fault in force.

use std::{
    collections::HashMap,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use socket2::SockRef;

use super::{
    Fault, answer,
    relay::{Direction, Link},
};

/// A proxy that is listening. Dropping it resets its connections and ends it.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// What a proxy did so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The fault in force.
    pub fault: Fault,
    /// Connections that are open.
    pub open: u64,
    /// Connections accepted so far.
    pub accepted: u64,
    /// Bytes read from clients.
    pub bytes_up: u64,
    /// Bytes read from the other side.
    pub bytes_down: u64,
    /// Bytes that were read and not written yet.
    pub queued: u64,
}

pub(super) struct Shared {
    upstream: SocketAddr,
    state: Mutex<State>,
    /// Notified when the fault changes.
    changed: Condvar,
    ended: AtomicBool,
    accepted: AtomicU64,
    bytes_up: AtomicU64,
    bytes_down: AtomicU64,
    queued: AtomicI64,
}

#[derive(Default)]
struct State {
    fault: Fault,
    /// How many faults there were; tells one from the next of the same kind.
    number: u64,
    links: HashMap<u64, Arc<Link>>,
    /// Connections that the proxy answers itself.
    answered: u64,
}

impl Proxy {
    /// Listens on `listen` (port 0 picks one) and forwards to `upstream`.
    ///
    /// # Errors
    ///
    /// When the address cannot be bound, or no thread can be started.
    pub fn start(listen: SocketAddr, upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            state: Mutex::default(),
            changed: Condvar::new(),
            ended: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            bytes_up: AtomicU64::new(0),
            bytes_down: AtomicU64::new(0),
            queued: AtomicI64::new(0),
        });
        let accepting = Arc::clone(&shared);
        let accept = move || accept(&listener, &accepting);
        thread::Builder::new().name("proxy-accept".into()).spawn(accept)?;
        Ok(Self { shared, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a fault in force, in place of the one before, for all connections.
    pub fn set(&self, fault: Fault) {
        self.shared.set(fault);
    }

    /// What it did so far.
    pub fn status(&self) -> Status {
        let shared = &self.shared;
        // Ordering: Relaxed, here and where they are counted: mere counters, nothing is read on the
        // strength of them.
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let state = shared.lock();
        Status {
            fault: state.fault,
            open: state.links.len() as u64 + state.answered,
            accepted: of(&shared.accepted),
            bytes_up: of(&shared.bytes_up),
            bytes_down: of(&shared.bytes_down),
            queued: shared.queued.load(Ordering::Relaxed).max(0).unsigned_abs(),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Ordering: Release, pairs with the Acquire in `accept`, which the connection below wakes.
        self.shared.ended.store(true, Ordering::Release);
        self.shared.set(Fault::Refuse);
        drop(TcpStream::connect_timeout(&self.address, WAKE_LIMIT));
    }
}

impl Status {
    /// One object; its keys are stable.
    pub fn to_json(self) -> Value {
        json!({
            "fault": self.fault.to_string(),
            "open": self.open,
            "accepted": self.accepted,
            "bytes_up": self.bytes_up,
            "bytes_down": self.bytes_down,
            "queued": self.queued,
        })
    }
}

impl Shared {
    fn set(&self, fault: Fault) {
        let mut state = self.lock();
        state.fault = fault;
        state.number += 1;
        if fault == Fault::Refuse {
            state.links.values().for_each(|link| link.reset());
        } else if fault.answers() {
            state.links.values().for_each(|link| link.close());
        } else if fault == Fault::Blackhole {
            state.links.values().for_each(|link| link.swallow());
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The fault in force and its number, once it is not a stall.
    pub(super) fn fault_after_stall(&self) -> (u64, Fault) {
        let state = self.lock();
        let stalled = |state: &mut State| state.fault == Fault::Stall;
        let state = self.changed.wait_while(state, stalled).unwrap_or_else(PoisonError::into_inner);
        (state.number, state.fault)
    }

    pub(super) fn count(&self, direction: Direction, bytes: usize) {
        let counter = if direction == Direction::Up { &self.bytes_up } else { &self.bytes_down };
        counter.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn queued(&self, bytes: i64) {
        self.queued.fetch_add(bytes, Ordering::Relaxed);
    }

    fn fault(&self) -> Fault {
        self.lock().fault
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    // Errors of accept concern the connection that was about to come: the next may fare better.
    for client in listener.incoming().flatten() {
        // Ordering: Acquire, pairs with the Release in `Proxy::drop`.
        if shared.ended.load(Ordering::Acquire) {
            return;
        }
        let number = shared.accepted.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        let serve = move || {
            // What fails here is a connection, whose client sees it.
            let _ = serve(client, number, &shared);
        };
        let _ = thread::Builder::new().name("proxy-conn".into()).spawn(serve);
    }
}

fn serve(client: TcpStream, number: u64, shared: &Arc<Shared>) -> io::Result<()> {
    let fault = shared.fault();
    if fault == Fault::Refuse {
        return SockRef::from(&client).set_linger(Some(Duration::ZERO));
    }
    if fault.answers() {
        shared.lock().answered += 1;
        let served = answer::serve(client, fault, || shared.fault());
        shared.lock().answered -= 1;
        return served;
    }
    if matches!(fault, Fault::Slow(_)) {
        // The kernel would take megabytes on behalf of a slow reader.
        SockRef::from(&client).set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
    }
    let server = match TcpStream::connect(shared.upstream) {
        Ok(server) => server,
        // As near as a proxy can come to a port where nobody listens.
        Err(error) => {
            SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
            return Err(error);
        }
    };
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    relay(&Arc::new(Link::new(client, server)), number, shared);
    Ok(())
}

/// Relays both directions until both have ended.
fn relay(link: &Arc<Link>, number: u64, shared: &Arc<Shared>) {
    {
        let mut state = shared.lock();
        // A fault that came while the other side was being connected has not seen this link.
        if state.fault == Fault::Refuse || state.fault.answers() {
            return link.reset();
        }
        if state.fault == Fault::Blackhole {
            link.swallow();
        }
        state.links.insert(number, Arc::clone(link));
    }
    thread::scope(|scope| {
        let down = thread::Builder::new()
            .name("proxy-read".into())
            .spawn_scoped(scope, || link.relay(Direction::Down, shared));
        match down {
            Ok(_) => link.relay(Direction::Up, shared),
            Err(_) => link.reset(),
        }
    });
    shared.lock().links.remove(&number);
}

const SLOW_BUFFER_BYTES: usize = 16 << 10;
/// To wake the thread that accepts; on loopback.
const WAKE_LIMIT: Duration = Duration::from_secs(1);
