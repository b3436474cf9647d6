//! epoll, through mio: an operation is tried at once, and again when its socket gets ready.
//!
//! Every call is non-blocking. One that would block puts its key into its socket's queue; a
//! socket is registered, edge-triggered, when that first happens, and stays registered until
//! it is closed. An edge is never lost, because nobody waits without having seen EAGAIN since
//! the last one, and registering reports what is ready already.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use ::mio::event::Event;
use ::mio::{Events, Poll, Token, Waker};

use super::op::{self, Backend, Connect, Exchange, Op, PARK_MAX, Recv, Send, Sent};
use super::slots::{Key, Slots};
use super::socket::Socket;
use crate::sync::doorbell::Unpark;
use crate::sys::errno;
use crate::sys::socket::{EVERY_ARRIVAL_IS_REPORTED, RECV_FLAGS, SEND_FLAGS, Watch};

/// The driver.
pub(super) struct Poller {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    /// One a registered socket; its index is the token.
    sources: Vec<Source>,
    /// Indices of `sources` that no socket has.
    free: Vec<usize>,
    /// Length of all queues together.
    waiting: usize,
    /// An unpark was seen outside a park; the next one must not wait.
    is_unparked: bool,
}

/// Who waits for a socket, in the order they came. The first one's last try would have blocked.
#[derive(Default)]
struct Source {
    readers: VecDeque<Key>,
    writers: VecDeque<Key>,
    /// The last receive took all there was, and nothing was reported since: another would
    /// surely block. That what comes next is reported depends on how sockets are watched here.
    is_dry: bool,
    /// More may come out of the socket than was reported: its end, an error, or what lies behind
    /// a byte of urgent data. So it is never dry again.
    is_peculiar: bool,
    /// None only while no socket has this.
    watch: Option<Watch>,
}

impl Source {
    fn queue(&mut self, direction: Direction) -> &mut VecDeque<Key> {
        match direction {
            Direction::Read => &mut self.readers,
            Direction::Write => &mut self.writers,
        }
    }

    /// There is something to receive.
    fn heard(&mut self, event: &Event) {
        self.is_dry = false;
        self.is_peculiar |= event.is_read_closed() || event.is_error() || event.is_priority();
    }

    /// Tries the operation, and learns from that.
    fn attempt(&mut self, op: &mut Op) -> Option<i32> {
        let result = attempt(op, self.watch.as_ref());
        if let Some(has_emptied) = has_emptied(op, result) {
            self.is_dry = EVERY_ARRIVAL_IS_REPORTED && has_emptied && !self.is_peculiar;
        }
        result
    }
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl Poller {
    /// Opens an epoll instance and its waker.
    ///
    /// # Errors
    /// If there are no descriptors left.
    pub(super) fn open() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), UNPARK)?);
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            waker,
            sources: Vec::new(),
            free: Vec::new(),
            waiting: 0,
            is_unparked: false,
        })
    }

    /// Waits for events, and tries again what waited for them.
    ///
    /// # Errors
    /// If somebody has closed our descriptor, or it is somebody else's by now.
    fn poll(&mut self, slots: &mut Slots<Op>, timeout: Duration) -> io::Result<()> {
        slots.tally().enters.raise();
        match self.poll.poll(&mut self.events, Some(timeout)) {
            // A signal: the caller sees an early return.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            polled => polled?,
        }
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            if event.token() == UNPARK {
                self.is_unparked = true;
                continue;
            }
            // An error is news to both directions.
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.hear(event);
                self.retry(slots, event.token().0, Direction::Read);
            }
            if event.is_writable() || event.is_write_closed() || event.is_error() {
                self.retry(slots, event.token().0, Direction::Write);
            }
        }
        self.events = events;
        Ok(())
    }

    fn hear(&mut self, event: &Event) {
        if let Some(source) = self.sources.get_mut(event.token().0) {
            source.heard(event);
        }
    }

    /// Goes on with those who wait, until one would block again.
    fn retry(&mut self, slots: &mut Slots<Op>, source: usize, direction: Direction) {
        let Some(source) = self.sources.get_mut(source) else { return };
        while let Some(&key) = source.queue(direction).front() {
            let Some(op) = slots.in_flight_mut(key) else { return };
            let Some(result) = source.attempt(op) else { return };
            source.queue(direction).pop_front();
            self.waiting -= 1;
            slots.complete(key, result);
        }
    }

    /// Tries the operation, or queues it. `Some` if it has ended.
    fn begin(&mut self, op: &mut Op, key: Key) -> Option<i32> {
        let Some(direction) = direction(op) else { return attempt(op, None) };
        if let Op::Exchange(exchange) = op
            && let Err(error) = request(exchange)
        {
            return Some(as_result(&Err(error)));
        }
        if self.is_worth_a_try(op, direction) {
            let result = match self.source_of(op) {
                Some(source) => source.attempt(op),
                None => attempt(op, None),
            };
            if result.is_some() {
                return result;
            }
        }
        if let Err(errno) = self.register(op.socket()?) {
            return Some(-errno);
        }
        self.source_of(op)?.queue(direction).push_back(key);
        self.waiting += 1;
        None
    }

    /// Whether the operation may come to an end at once.
    fn is_worth_a_try(&mut self, op: &Op, direction: Direction) -> bool {
        let is_exchange = matches!(op, Op::Exchange(_));
        match self.source_of(op) {
            // Registering reports what is there already, and an answer takes its time.
            None => !(is_exchange && EVERY_ARRIVAL_IS_REPORTED),
            // Nobody overtakes those who wait.
            Some(source) => {
                source.queue(direction).is_empty()
                    && !(source.is_dry && (is_exchange || matches!(op, Op::Recv(_))))
            }
        }
    }

    /// What is known of the socket of `op`, if it is registered.
    fn source_of(&mut self, op: &Op) -> Option<&mut Source> {
        self.sources.get_mut(op.socket()?.source()?)
    }

    /// Registers the socket once for its life.
    fn register(&mut self, socket: &Socket) -> Result<(), i32> {
        if socket.source().is_some() {
            return Ok(());
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.sources.push(Source::default());
            self.sources.len() - 1
        });
        match Watch::begin(self.poll.registry(), socket.raw_fd(), Token(index)) {
            Ok(watch) => {
                self.sources[index].watch = Some(watch);
                socket.set_source(index);
                Ok(())
            }
            Err(error) => {
                self.free.push(index);
                Err(error.raw_os_error().unwrap_or(errno::IO))
            }
        }
    }
}

impl Backend for Poller {
    fn start(&mut self, slots: &mut Slots<Op>, key: Key) {
        let Some(op) = slots.in_flight_mut(key) else { return };
        if let Some(result) = self.begin(op, key) {
            slots.complete(key, result);
        }
    }

    fn cancel(&mut self, slots: &mut Slots<Op>, key: Key) {
        let Some(op) = slots.in_flight_mut(key) else { return };
        let Some(direction) = direction(op) else { return };
        if let Some(source) = self.source_of(op) {
            source.queue(direction).retain(|waiting| *waiting != key);
            self.waiting -= 1;
        }
        slots.complete(key, -errno::CANCELED);
    }

    fn forget(&mut self, source: usize) {
        let entry = &mut self.sources[source];
        debug_assert!(
            entry.readers.is_empty() && entry.writers.is_empty(),
            "who waits for a socket holds a lease on it"
        );
        if let Some(watch) = entry.watch.take() {
            watch.end(self.poll.registry());
        }
        *entry = Source::default();
        self.free.push(source);
    }

    fn turn(&mut self, slots: &mut Slots<Op>) -> io::Result<()> {
        if self.waiting == 0 {
            return Ok(());
        }
        self.poll(slots, Duration::ZERO)
    }

    fn park(&mut self, slots: &mut Slots<Op>, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.unwrap_or(PARK_MAX).min(PARK_MAX);
        let timeout = if self.is_unparked { Duration::ZERO } else { timeout };
        let polled = self.poll(slots, timeout);
        self.is_unparked = false;
        polled
    }

    fn unpark(&self) -> Box<dyn Unpark> {
        Box::new(Unparker(Arc::clone(&self.waker)))
    }
}

/// Ends a park.
struct Unparker(Arc<Waker>);

impl Unpark for Unparker {
    fn unpark(&self) {
        // It cannot fail while the poller lives, and nobody needs it afterwards.
        let _ = self.0.wake();
    }
}

/// What the operation has to wait for; `None` if it never waits.
fn direction(op: &Op) -> Option<Direction> {
    match op {
        Op::Accept(_) | Op::Recv(_) | Op::RecvFrom(_) => Some(Direction::Read),
        // Its send does not wait.
        Op::Exchange(_) => Some(Direction::Read),
        Op::Connect(_) | Op::Send(_) => Some(Direction::Write),
        Op::Close(_) | Op::File(_) => None,
    }
}

/// Makes the operation's system call. `None` if it would block; else a result as from a ring.
pub(super) fn attempt(op: &mut Op, watch: Option<&Watch>) -> Option<i32> {
    let result = loop {
        let result = match watch {
            Some(watch) => watch.call(|| call(op)),
            None => call(op),
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => break result,
        }
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock && is_reported(op) => None,
        result => Some(as_result(&result)),
    }
}

/// Whether an event will tell when an operation that would block is worth another try. Nobody
/// tells when the queue of a Unix listener has room again: such a connect is over.
fn is_reported(op: &Op) -> bool {
    !matches!(op, Op::Connect(Connect { is_under_way: false, .. }))
}

/// A result as from a ring.
fn as_result(result: &io::Result<usize>) -> i32 {
    match result {
        Ok(count) => i32::try_from(*count).unwrap_or(i32::MAX),
        Err(error) => -error.raw_os_error().unwrap_or(errno::IO),
    }
}

fn call(op: &mut Op) -> io::Result<usize> {
    match op {
        Op::Connect(op) => connect(op),
        Op::Send(op) => send(op),
        Op::Recv(op) => recv(&op.socket, &mut op.buf),
        Op::Exchange(op) => {
            request(op)?;
            recv(&op.socket, &mut op.buf)
        }
        Op::Accept(accept) => accept.call(),
        Op::RecvFrom(recv) => recv.call(),
        Op::Close(close) => {
            close.now();
            Ok(0)
        }
        // It would block the worker: `fs` has the blocking pool make these calls.
        Op::File(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn recv(socket: &Socket, buf: &mut Vec<u8>) -> io::Result<usize> {
    let room = op::spare(buf);
    socket.recv_with_flags(&mut buf.spare_capacity_mut()[..room], RECV_FLAGS)
}

/// Makes the send of an exchange, unless it is made.
fn request(op: &mut Exchange) -> io::Result<()> {
    if op.sent == Sent::NotYet {
        let pieces = op.message.pieces();
        let sent = loop {
            match op.socket.send_vectored_with_flags(pieces, SEND_FLAGS) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => break sent,
            }
        };
        op.sent = match sent {
            Ok(count) if count == op.message.bytes() => Sent::All,
            sent => Sent::Broken(as_result(&sent)),
        };
    }
    match op.sent {
        Sent::Broken(_) => Err(io::Error::from_raw_os_error(errno::CANCELED)),
        Sent::All | Sent::NotYet => Ok(()),
    }
}

/// Whether a receive that ended with `result`, or would have blocked, has left nothing behind.
/// `None` of other operations.
fn has_emptied(op: &Op, result: Option<i32>) -> Option<bool> {
    let (Op::Recv(Recv { socket, buf }) | Op::Exchange(Exchange { socket, buf, .. })) = op else {
        return None;
    };
    let count = result.map(|result| usize::try_from(result).unwrap_or(0));
    let is_short = |count| 0 < count && count < op::spare(buf);
    Some(count.is_none_or(is_short) && !socket.brings_descriptors())
}

fn send(op: &Send) -> io::Result<usize> {
    let pieces = op.message.pieces();
    match &op.message.name {
        None => op.socket.send_vectored_with_flags(pieces, SEND_FLAGS),
        Some(to) => op.socket.send_to_vectored_with_flags(pieces, to, SEND_FLAGS),
    }
}

/// Begins to connect, or asks how it went.
fn connect(op: &mut Connect) -> io::Result<usize> {
    let Connect { socket, addr, is_under_way } = op;
    if !*is_under_way {
        let begun = socket.connect(addr).map(|()| 0);
        let errno = begun.as_ref().err().and_then(io::Error::raw_os_error);
        // An interrupted one goes on, too.
        *is_under_way = matches!(errno, Some(errno::IN_PROGRESS | errno::INTERRUPTED));
        return match errno {
            Some(errno::IN_PROGRESS) => Err(io::ErrorKind::WouldBlock.into()),
            _ => begun,
        };
    }
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        // Ready for another reason; the handshake goes on.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => {
            Err(io::ErrorKind::WouldBlock.into())
        }
        result => result.map(|_| 0),
    }
}

/// The waker's token: no index of a source gets this high.
const UNPARK: Token = Token(usize::MAX);
/// How many events one call takes; the rest stay in the kernel for the next.
const EVENTS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_descriptor_that_was_taken_away_is_an_error_and_no_busy_loop() {
        let mut poller = Poller::open().unwrap();
        let other = File::open("/dev/null").unwrap();
        // SAFETY: both descriptors are open; what is put in the place of the first one is
        // closed with it.
        let taken = unsafe { libc::dup2(other.as_raw_fd(), poller.poll.as_raw_fd()) };
        assert!(taken >= 0);
        poller.park(&mut Slots::new(), None).unwrap_err();
    }
}
