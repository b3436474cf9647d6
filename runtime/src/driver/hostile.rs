//! A driver over real sockets whose kernel is as unpleasant as a kernel may be.
//!
//! It runs the parity suite beside io_uring and epoll. What it does is drawn from a seed:
//!
//! - operations end in any order, and late; completions are reported in any order, a few at a time,
//!   as from a queue that is too small for them;
//! - calls on files are made, as by a ring;
//! - receives and sends transfer less than they could;
//! - a cancellation takes effect after a while, or comes too late;
//! - what can be repeated is interrupted unasked, once: ECANCELED, EINTR or EAGAIN;
//! - a call into the kernel does nothing at all, as after EAGAIN, EBUSY or EINTR;
//! - old completions come again;
//! - memory that a receive was lent is written to at any time until the receive has ended.

use std::collections::HashSet;
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::IntoRawFd;
use std::ptr;
use std::slice;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::mio;
use super::op::file::Call;
use super::op::{self, Backend, Exchange, Op, PARK_MAX, Recv, RecvFrom, Sent};
use super::slots::{Key, Lent, Slots};
use crate::sync::doorbell::Unpark;
use crate::sys::socket::{RECV_FLAGS, SEND_FLAGS};

/// The driver.
pub(super) struct Hostile {
    random: Random,
    /// What was started and has not ended.
    held: Vec<Held>,
    /// What has ended and was not reported.
    due: Vec<(Key, i32)>,
    /// What was reported for good; some of it is reported again.
    ended: Vec<Key>,
    /// What was interrupted once.
    interrupted: HashSet<Key>,
    bell: Arc<Bell>,
}

/// An operation in flight.
struct Held {
    key: Key,
    /// Where it was when it started.
    address: *const Op,
    /// What a receive may write into.
    room: Option<(*mut u8, usize)>,
    /// It is to be cancelled, after so many tries.
    cancelled_after: Option<usize>,
}

impl Hostile {
    /// A kernel of which `seed` says what it does.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            held: Vec::new(),
            due: Vec::new(),
            ended: Vec::new(),
            interrupted: HashSet::new(),
            bell: Arc::default(),
        }
    }

    /// Goes on with what is held and reports some of what has ended. Returns how much.
    fn advance(&mut self, slots: &mut Slots<Op>) -> usize {
        if self.random.one_in(8) {
            return 0;
        }
        self.perform(slots);
        self.report(slots)
    }

    fn perform(&mut self, slots: &mut Slots<Op>) {
        let mut held = mem::take(&mut self.held);
        self.random.shuffle(&mut held);
        held.retain_mut(|one| {
            let result = self.attempt(slots, one);
            self.due.extend(result.map(|result| (one.key, result)));
            result.is_none()
        });
        self.held = held;
    }

    fn attempt(&mut self, slots: &mut Slots<Op>, held: &mut Held) -> Option<i32> {
        let op = slots.in_flight_mut(held.key).expect("a slot keeps what the kernel holds");
        assert!(ptr::eq(op, held.address), "the kernel has this address");
        held.scribble(&mut self.random);
        if let Some(left) = &mut held.cancelled_after {
            let Some(fewer) = left.checked_sub(1) else { return Some(-libc::ECANCELED) };
            *left = fewer;
        }
        match self.random.below(8) {
            0 | 1 => None,
            2 if op.is_repeatable() && self.interrupted.insert(held.key) => {
                Some(-INTERRUPTIONS[self.random.below(INTERRUPTIONS.len())])
            }
            3 | 4 => shortened(op, &mut self.random),
            _ => whole(op),
        }
    }

    fn report(&mut self, slots: &mut Slots<Op>) -> usize {
        self.random.shuffle(&mut self.due);
        let count = self.random.below(COMPLETIONS + 1).min(self.due.len());
        for (key, result) in self.due.drain(..count) {
            slots.complete(key, result);
            let has_ended = slots.in_flight_mut(key).is_none();
            self.ended.extend(has_ended.then_some(key));
        }
        if self.random.one_in(4) && !self.ended.is_empty() {
            let old = self.ended[self.random.below(self.ended.len())];
            slots.complete(old, 7);
        }
        count
    }
}

impl Held {
    /// The kernel may write what it likes there, as long as it has the operation.
    fn scribble(&self, random: &mut Random) {
        if let Some((start, length)) = self.room {
            // SAFETY: the slot keeps the buffer, `length` bytes of it spare from `start` on,
            // until the operation has ended.
            unsafe { start.add(random.below(length)).write(0xdb) };
        }
    }
}

impl Backend for Hostile {
    fn start(&mut self, slots: &mut Slots<Op>, key: Key) {
        let op = slots.in_flight_mut(key).expect("it was just inserted");
        let at_once = if self.random.one_in(4) { whole(op) } else { None };
        let room = match op {
            Op::Recv(Recv { buf, .. })
            | Op::RecvFrom(RecvFrom { buf, .. })
            | Op::Exchange(Exchange { buf, .. }) => Some((op::spare_ptr(buf), op::spare(buf))),
            _ => None,
        };
        match at_once {
            Some(result) => slots.complete(key, result),
            None => {
                let address = ptr::from_ref(op);
                self.held.push(Held { key, address, room, cancelled_after: None });
            }
        }
    }

    fn cancel(&mut self, _slots: &mut Slots<Op>, key: Key) {
        let after = self.random.below(4);
        if let Some(held) = self.held.iter_mut().find(|held| held.key == key) {
            held.cancelled_after.get_or_insert(after);
        }
    }

    fn forget(&mut self, _source: usize) {}

    fn takes_files(&self) -> bool {
        true
    }

    fn turn(&mut self, slots: &mut Slots<Op>) -> io::Result<()> {
        self.advance(slots);
        Ok(())
    }

    fn park(&mut self, slots: &mut Slots<Op>, timeout: Option<Duration>) -> io::Result<()> {
        let deadline = Instant::now() + timeout.unwrap_or(PARK_MAX).min(PARK_MAX);
        while self.advance(slots) == 0 && !self.bell.wait() && Instant::now() < deadline {}
        Ok(())
    }

    fn unpark(&self) -> Box<dyn Unpark> {
        Box::new(Arc::clone(&self.bell))
    }
}

/// Does what `op` asks for, if that is possible now.
fn whole(op: &mut Op) -> Option<i32> {
    match op {
        Op::File(file) => Some(made(&mut file.call)),
        op => mio::attempt(op, None),
    }
}

/// Makes a call on a file, with what a ring would report and leave behind: an open's descriptor,
/// and what was read behind the end of the buffer.
fn made(call: &mut Call) -> i32 {
    let before = if let Call::Read { buf, .. } = call { buf.len() } else { 0 };
    let result = outcome(call.make());
    match call {
        Call::Open { opened, .. } => opened.take().map_or(result, IntoRawFd::into_raw_fd),
        Call::Read { buf, .. } => {
            buf.truncate(before);
            result
        }
        _ => result,
    }
}

/// Transfers less than `op` asks for, if it transfers anything.
fn shortened(op: &mut Op, random: &mut Random) -> Option<i32> {
    let transferred = match op {
        Op::Recv(Recv { buf, .. }) => {
            let (start, length) = (op::spare_ptr(buf), 1 + random.below(op::spare(buf)));
            // SAFETY: as many bytes from `start` on are the spare capacity of the operation's
            // buffer, which nobody else looks at meanwhile.
            let room =
                unsafe { slice::from_raw_parts_mut(start.cast::<MaybeUninit<u8>>(), length) };
            op.socket()?.recv_with_flags(room, RECV_FLAGS)
        }
        // The kernel cuts no datagrams.
        Op::Send(send) if is_stream(&send.socket) => {
            let first = send.message.pieces().first()?;
            let some = &first[..1 + random.below(first.len())];
            send.socket.send_with_flags(some, SEND_FLAGS)
        }
        // A send that is not complete drops the receive that is linked to it.
        Op::Exchange(exchange) if exchange.sent == Sent::NotYet => {
            let first = exchange.message.pieces().first()?;
            let some = &first[..1 + random.below(first.len())];
            let sent = outcome(exchange.socket.send_with_flags(some, SEND_FLAGS));
            let is_all = usize::try_from(sent) == Ok(exchange.message.bytes());
            exchange.sent = if is_all { Sent::All } else { Sent::Broken(sent) };
            return (!is_all).then_some(-libc::ECANCELED);
        }
        _ => return whole(op),
    };
    Some(outcome(transferred)).filter(|&result| result != -libc::EAGAIN)
}

fn outcome(transferred: io::Result<usize>) -> i32 {
    match transferred {
        Ok(count) => i32::try_from(count).expect("less than a result can say"),
        Err(error) => -error.raw_os_error().expect("an error of the system"),
    }
}

fn is_stream(socket: &socket2::Socket) -> bool {
    socket.r#type().is_ok_and(|kind| kind == socket2::Type::STREAM)
}

/// Ends a park.
#[derive(Default)]
struct Bell {
    is_rung: Mutex<bool>,
    rung: Condvar,
}

impl Bell {
    /// Waits a little; true if rung.
    fn wait(&self) -> bool {
        let is_rung = self.is_rung.lock().unwrap();
        let (mut is_rung, _) = self.rung.wait_timeout_while(is_rung, A_LITTLE, |is| !*is).unwrap();
        mem::take(&mut *is_rung)
    }
}

impl Unpark for Arc<Bell> {
    fn unpark(&self) {
        *self.is_rung.lock().unwrap() = true;
        self.rung.notify_one();
    }
}

/// Numbers that look random; SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom
/// number generators, 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    #[allow(clippy::cast_possible_truncation, reason = "the remainder is below a usize")]
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }
}

/// How many completions are reported at once, at most.
const COMPLETIONS: usize = 4;
const INTERRUPTIONS: [i32; 3] = [libc::ECANCELED, libc::EINTR, libc::EAGAIN];
/// How long a park sleeps between two looks.
const A_LITTLE: Duration = Duration::from_micros(100);
