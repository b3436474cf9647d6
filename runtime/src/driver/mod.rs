//! Drivers: what starts operations and waits for them.
//!
//! Two drivers do the same: [`Kind::Uring`] hands operations to the kernel and gets their
//! results back; [`Kind::Epoll`] waits until a socket is ready and then makes the call itself.
//! Sockets and futures cannot tell which one they run on. One suite of tests runs on both.
//!
//! A driver belongs to the thread that opened it. The rule that everything here serves: a slot
//! owns whatever the kernel may touch until the operation's final completion, whether or not
//! anybody still waits. `slots.rs` has the state machine, `op/` the operations and what a
//! driver must do, `uring.rs` and `mio.rs` the drivers.
//!
//! # Which driver runs
//!
//! [`Choice::Auto`] builds the real ring with the flags and sizes it will be used with, checks
//! the opcodes, and sends one operation through it. If any of that fails (containers forbid
//! io_uring by default, and it needs Linux 6.1) epoll takes over and [`Report::reason`] says why.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::str::FromStr;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

pub use self::counts::Counts;
pub(crate) use self::counts::Tally;
use self::op::{Backend, Op};
use self::slots::{Abandoned, Effect, Key, Slots};
use self::socket::Socket;
use crate::sync::budget;
use crate::sync::doorbell::Unpark;
use crate::sync::shim::Arc;
use crate::sync::unwind;
use crate::sys::fork::Origin;
use crate::sys::{self, errno};

mod counts;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod hostile;
mod mio;
pub(crate) mod op;
mod slots;
pub(crate) mod socket;
#[cfg(test)]
mod tests;
#[cfg_attr(not(all(target_os = "linux", not(spanwire_portable))), path = "no_uring.rs")]
mod uring;

/// Which driver to use.
///
/// # Examples
///
/// ```
/// use spanwire_runtime::Builder;
/// use spanwire_runtime::driver::{Choice, Kind};
///
/// let runtime = Builder::new().io(Choice::Auto).build()?;
/// match &runtime.driver().reason {
///     None => assert_eq!(runtime.driver().kind, Kind::Uring),
///     Some(why) => println!("epoll, because of {why}"),
/// }
/// # Ok::<(), spanwire_runtime::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Choice {
    /// io_uring where it works, else epoll. Other systems than Linux have the latter only.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// epoll; no io_uring system call is made.
    Epoll,
}

impl Choice {
    /// Reads the environment variable `SPANWIRE_IO`: `auto`, `uring` or `epoll`. Unset or empty
    /// is [`Choice::Auto`].
    ///
    /// # Errors
    /// If it has any other value.
    pub fn from_env() -> Result<Self, UnknownChoice> {
        match std::env::var_os(VARIABLE) {
            None => Ok(Self::Auto),
            Some(value) => value.to_string_lossy().parse(),
        }
    }
}

impl FromStr for Choice {
    type Err = UnknownChoice;

    /// Understands what [`from_env`](Self::from_env) does, in any case, with space around it.
    ///
    /// ```
    /// use spanwire_runtime::driver::Choice;
    /// assert_eq!(" EPoll ".parse(), Ok(Choice::Epoll));
    /// assert!("kqueue".parse::<Choice>().unwrap_err().to_string().contains("\"kqueue\""));
    /// ```
    fn from_str(value: &str) -> Result<Self, UnknownChoice> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(UnknownChoice { value: value.to_owned() }),
        }
    }
}

/// `SPANWIRE_IO` names no driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownChoice {
    /// What it says instead.
    pub value: String,
}

impl fmt::Display for UnknownChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VARIABLE} is {:?}: set it to auto, uring or epoll, or unset it", self.value)
    }
}

impl std::error::Error for UnknownChoice {}

/// A driver that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// io_uring.
    Uring,
    /// epoll through mio; on other systems than Linux, what mio uses there (kqueue, AFD).
    Epoll,
}

impl fmt::Display for Kind {
    /// `uring` or `epoll`, as in `SPANWIRE_IO`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        })
    }
}

/// Which driver runs, and why not another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The driver in use.
    pub kind: Kind,
    /// Why io_uring is not in use, if it was considered; or that it was not asked for.
    pub reason: Option<String>,
}

/// The driver of one worker, which has to be opened and used on the worker's thread.
pub(crate) struct Driver(Rc<Shared>);

impl Driver {
    /// Opens the driver that `choice` asks for.
    ///
    /// # Errors
    /// If a forced io_uring is unavailable, or epoll cannot be set up (out of descriptors).
    pub(crate) fn open(choice: Choice) -> io::Result<(Self, Report)> {
        let reason = match choice {
            Choice::Epoll => NOT_ASKED_FOR.to_owned(),
            Choice::Auto | Choice::Uring => match uring::Ring::open() {
                Ok(ring) => {
                    let report = Report { kind: Kind::Uring, reason: None };
                    return Ok((Self::new(Box::new(ring), Kind::Uring), report));
                }
                Err(unavailable) if choice == Choice::Uring => return Err(unavailable.into()),
                Err(unavailable) => unavailable.to_string(),
            },
        };
        let report = Report { kind: Kind::Epoll, reason: Some(reason) };
        Ok((Self::new(Box::new(mio::Poller::open()?), Kind::Epoll), report))
    }

    fn new(backend: Box<dyn Backend>, kind: Kind) -> Self {
        let core = RefCell::new(Core { backend, slots: Slots::new() });
        let is_shut_down = Cell::new(false);
        Self(Rc::new(Shared { core, kind, is_shut_down, origin: Origin::here() }))
    }

    /// A driver whose kernel does what is allowed and unpleasant; `seed` says what.
    #[cfg(test)]
    pub(crate) fn hostile(seed: u64) -> Self {
        Self::new(Box::new(hostile::Hostile::new(seed)), Kind::Epoll)
    }

    /// How many operations the kernel or the poller still owes a result.
    pub(crate) fn in_flight(&self) -> usize {
        self.0.core.borrow().slots.in_flight()
    }

    /// What this driver has done; exact, as this is its thread.
    pub(crate) fn counts(&self) -> Counts {
        self.tally().read()
    }

    /// What this driver has done, for other threads to read while it goes on and afterwards.
    pub(crate) fn tally(&self) -> Arc<Tally> {
        Arc::clone(self.0.core.borrow().slots.tally())
    }

    /// What ends a [`park`](Self::park) from any thread: the one under way, or else the next.
    pub(crate) fn unpark(&self) -> Box<dyn Unpark> {
        self.0.core.borrow().backend.unpark()
    }

    /// Submits what was started, and wakes the tasks whose operations have ended. Never waits.
    ///
    /// # Panics
    /// If the driver does not work any more, which ends the worker.
    pub(crate) fn turn(&self) {
        let turned = self.0.with_core(|slots, backend| backend.turn(slots));
        self.0.run_effects();
        self.0.expect_usable(turned);
    }

    /// As [`turn`](Self::turn), but first waits until an operation ends, an unpark, or
    /// `timeout`. May return earlier.
    ///
    /// # Panics
    /// As [`turn`](Self::turn).
    pub(crate) fn park(&self, timeout: Option<Duration>) {
        let parked = self.0.park(timeout);
        self.0.expect_usable(parked);
    }

    /// Makes this the thread's current driver while `f` runs.
    pub(crate) fn enter<R>(&self, f: impl FnOnce() -> R) -> R {
        let _restore = Restore(CURRENT.replace(Some(Rc::clone(&self.0))));
        f()
    }

    /// Cancels all operations and waits for their ends, at most for `limit`. Returns how many
    /// did not end: their memory is leaked, because the kernel may still touch it. Nothing can
    /// be started afterwards.
    pub(crate) fn shutdown(&self, limit: Duration) -> usize {
        if self.0.is_shut_down.replace(true) || !self.0.origin.is_here() {
            return 0;
        }
        self.0.cancel_all();
        self.0.drain(limit);
        let left = self.in_flight();
        self.tally().leaked.add(left as u64);
        left
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shutdown(DROP_LIMIT);
        if !self.0.origin.is_here() {
            // Where the ring was mapped may be somebody else's memory in a child by now.
            mem::forget(Rc::clone(&self.0));
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = self.0.core.borrow();
        f.debug_struct("Driver")
            .field("kind", &self.0.kind)
            .field("in_flight", &core.slots.in_flight())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

/// What the driver, its sockets and its futures share.
pub(crate) struct Shared {
    core: RefCell<Core>,
    kind: Kind,
    is_shut_down: Cell<bool>,
    /// The process of the worker. A child that a task has forked shares the poller with it, and
    /// has no memory where the ring was: it must not touch either.
    origin: Origin,
}

/// Borrowed only while no foreign code can run.
struct Core {
    backend: Box<dyn Backend>,
    slots: Slots<Op>,
}

impl Drop for Core {
    fn drop(&mut self) {
        // However it came to this: closing a ring does not wait for what it was lent to be
        // let go, so that has to stay for good.
        if self.slots.in_flight() > 0 {
            mem::forget(mem::replace(&mut self.slots, Slots::new()));
        }
    }
}

impl Shared {
    /// The driver of the worker that runs on this thread.
    ///
    /// # Errors
    /// On a thread that is no worker.
    pub(crate) fn current() -> io::Result<Rc<Self>> {
        CURRENT.with_borrow(Clone::clone).ok_or_else(|| {
            io::Error::other(
                "no driver on this thread: sockets and files belong to a worker, so use them in \
                 a task that `spawn_pinned` started",
            )
        })
    }

    /// A new stream socket for `addr`, closed on exec.
    pub(crate) fn socket(self: &Rc<Self>, addr: &socket2::SockAddr) -> io::Result<Rc<Socket>> {
        self.socket_of(socket2::Type::STREAM, addr)
    }

    /// A new datagram socket for `addr`, closed on exec.
    pub(crate) fn datagram_socket(
        self: &Rc<Self>,
        addr: &socket2::SockAddr,
    ) -> io::Result<Rc<Socket>> {
        self.socket_of(socket2::Type::DGRAM, addr)
    }

    fn socket_of(
        self: &Rc<Self>,
        kind: socket2::Type,
        addr: &socket2::SockAddr,
    ) -> io::Result<Rc<Socket>> {
        // The poller's calls must not block; a ring waits for the socket either way.
        let is_nonblocking = self.kind == Kind::Epoll;
        sys::open(addr.domain(), kind, is_nonblocking).map(|socket| self.adopt(socket))
    }

    /// Makes a stream that is connected a socket of this driver. Whether it blocks is of no
    /// interest any more: no send or receive waits.
    pub(crate) fn adopt(self: &Rc<Self>, socket: socket2::Socket) -> Rc<Socket> {
        Rc::new(Socket::new(socket, Rc::downgrade(self)))
    }

    /// Whether it takes [`Op::file`]. Files are always ready, so a poller is of no use to them.
    pub(crate) fn takes_files(&self) -> bool {
        self.core.borrow().backend.takes_files()
    }

    /// Starts `op`.
    pub(crate) fn start(self: &Rc<Self>, op: Op) -> InFlight {
        let op = Box::new(op);
        if self.is_shut_down.get() || !self.origin.is_here() {
            return InFlight::Failed(Some(op), errno::CANCELED);
        }
        let started = self.with_core(|slots, backend| {
            let key = slots.insert(op)?;
            backend.start(slots, key);
            Ok(key)
        });
        // Making room for one operation may have brought the results of others.
        self.run_effects();
        match started {
            Ok(key) => InFlight::Started(Rc::clone(self), Some(key)),
            Err(op) => InFlight::Failed(Some(op), errno::NO_BUFS),
        }
    }

    fn poll(&self, key: Key, cx: &Context<'_>) -> Poll<(Box<Op>, i32)> {
        let taken = self.core.borrow_mut().slots.take(key);
        if let Some(ended) = taken {
            return Poll::Ready(ended);
        }
        // Cloning and dropping wakers is foreign code: neither happens under the borrow, and
        // the operation may end meanwhile.
        let waker = cx.waker().clone();
        let mut core = self.core.borrow_mut();
        if let Some(ended) = core.slots.take(key) {
            drop(core);
            return Poll::Ready(ended);
        }
        let replaced = core.slots.wait(key, waker);
        drop(core);
        drop(replaced);
        Poll::Pending
    }

    /// Nobody waits for `key` any more. Never blocks.
    fn abandon(&self, key: Key) {
        if !self.origin.is_here() {
            return;
        }
        let abandoned = self.with_core(|slots, backend| {
            let abandoned = slots.abandon(key);
            if let Some(op) = slots.in_flight_mut(key) {
                op.orphaned();
                cancel(slots, backend, key);
            }
            abandoned
        });
        match abandoned {
            // Dropping wakers and buffers runs code of others: not inside the table's borrow,
            // and as this is a destructor, no panic leaves it.
            Abandoned::InFlight(waker) => unwind::quietly(|| drop(waker)),
            Abandoned::Ended(op, result) => {
                op.orphaned();
                unwind::quietly(|| op.dispose(result));
            }
            Abandoned::Unknown => {}
        }
        self.run_effects();
    }

    fn park(&self, timeout: Option<Duration>) -> io::Result<()> {
        let parked = self.with_core(|slots, backend| backend.park(slots, timeout));
        self.run_effects();
        parked
    }

    /// Waits until nothing is in flight, at most for `limit`.
    fn drain(&self, limit: Duration) {
        let deadline = Instant::now().checked_add(limit);
        while self.core.borrow().slots.in_flight() > 0 {
            let rest = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            // Not a panic: this may be the destructor of a worker that panics already.
            if self.park(rest).is_err() || rest == Some(Duration::ZERO) {
                break;
            }
        }
    }

    fn expect_usable(&self, advanced: io::Result<()>) {
        if let Err(error) = advanced {
            panic!("the {} driver of this worker has become unusable: {error}", self.kind);
        }
    }

    fn cancel_all(&self) {
        self.with_core(|slots, backend| {
            for key in slots.keys_in_flight() {
                cancel(slots, backend, key);
            }
        });
        self.run_effects();
    }

    /// A registered socket is about to be closed.
    fn forget(&self, source: usize) {
        if self.origin.is_here() {
            self.core.borrow_mut().backend.forget(source);
        }
    }

    fn with_core<R>(&self, f: impl FnOnce(&mut Slots<Op>, &mut dyn Backend) -> R) -> R {
        let mut core = self.core.borrow_mut();
        let Core { slots, backend } = &mut *core;
        let result = f(slots, &mut **backend);
        // Before anybody can drop or cancel them: the backend does not have them at this moment.
        while let Some(key) = slots.next_interrupted() {
            backend.start(slots, key);
        }
        result
    }

    /// Wakes and disposes, one at a time: each may come back and start or drop operations.
    fn run_effects(&self) {
        loop {
            let effect = self.core.borrow_mut().slots.next_effect();
            match effect {
                // One that panics must not take the others' wake-ups with it.
                Some(Effect::Wake(waker)) => unwind::quietly(|| waker.wake()),
                Some(Effect::Leftover(op, result)) => unwind::quietly(|| op.dispose(result)),
                None => return,
            }
        }
    }
}

/// Has `key` end soon, if it should.
fn cancel(slots: &mut Slots<Op>, backend: &mut dyn Backend, key: Key) {
    let is_wanted = slots.in_flight_mut(key).is_some_and(|op| op.is_cancellable());
    if is_wanted && slots.mark_cancelled(key) {
        backend.cancel(slots, key);
    }
}

/// Waits for an operation: the operation comes back with its result. Dropping this cancels the
/// operation without waiting.
#[must_use = "dropping this cancels the operation"]
pub(crate) enum InFlight {
    /// In a slot. `None` once the result was fetched.
    Started(Rc<Shared>, Option<Key>),
    /// Refused with this errno.
    Failed(Option<Box<Op>>, i32),
}

impl Future for InFlight {
    type Output = (Op, io::Result<usize>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A socket that is always ready must not keep the worker for itself.
        ready!(budget::proceed(cx));
        let ended = match &mut *self {
            Self::Started(shared, key) => {
                let at = key.expect("polled after it was ready");
                let ended = shared.poll(at, cx);
                if ended.is_ready() {
                    *key = None;
                }
                ended
            }
            Self::Failed(op, errno) => {
                Poll::Ready((op.take().expect("polled after it was ready"), -*errno))
            }
        };
        let (op, result) = ready!(ended);
        budget::spend();
        Poll::Ready((*op, op::outcome(result)))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Self::Started(shared, Some(key)) = self {
            shared.abandon(*key);
        }
    }
}

/// The error of whatever is used after its worker has ended.
pub(crate) fn shut_down() -> io::Error {
    io::Error::other("the worker of this socket has shut down")
}

/// Puts the former current driver back.
struct Restore(Option<Rc<Shared>>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<Shared>>> = const { RefCell::new(None) };
}

/// The environment variable that chooses the driver.
const VARIABLE: &str = "SPANWIRE_IO";
/// Why a chosen epoll runs.
const NOT_ASKED_FOR: &str = "epoll was chosen";
/// How long dropping a driver waits for operations that nobody shut down.
const DROP_LIMIT: Duration = Duration::from_millis(100);
