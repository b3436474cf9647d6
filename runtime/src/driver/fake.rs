//! A driver whose kernel is the test: it ends operations when it is told to, in any order, late,
//! short, or with an error.
//!
//! Like the real kernel it keeps the addresses that it was given at the start and uses them at
//! the end, so memory that moved or was freed in between shows, to a sanitizer if not at once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::slice;
use std::time::Duration;

use super::op::{self, Backend, Op, Recv};
use super::slots::{Key, Slots};
use crate::sync::doorbell::Unpark;

/// What the test and the driver share.
pub(super) type Kernel = Rc<RefCell<State>>;

/// The kernel's side.
#[derive(Default)]
pub(super) struct State {
    /// What is in flight, in the order it was started.
    pub(super) held: Vec<Held>,
    /// What the driver was asked to cancel.
    pub(super) cancelled: Vec<Key>,
    /// Completions that the next turn will report.
    due: VecDeque<(Key, i32)>,
    /// What sends have sent.
    pub(super) sent: Vec<u8>,
    /// How many bytes receives have received: they are numbered.
    pub(super) received: usize,
    /// From now on nothing works any more, and nothing ends.
    pub(super) is_broken: bool,
}

/// An operation in flight.
pub(super) struct Held {
    /// Its slot.
    pub(super) key: Key,
    memory: Memory,
}

/// Addresses that the kernel was given.
enum Memory {
    Write(*mut u8, usize),
    Read(*const op::Message),
    None,
}

impl Held {
    /// How many bytes may be transferred.
    pub(super) fn length(&self) -> usize {
        match self.memory {
            Memory::Write(_, length) => length,
            // SAFETY: the slot keeps the message and what it points to until the completion.
            Memory::Read(message) => unsafe { (*message).pieces() }.iter().map(|p| p.len()).sum(),
            Memory::None => 0,
        }
    }
}

impl State {
    /// Ends what is held at `index`: bytes are transferred now, and the result, cut to what
    /// there was room for, is reported by the next turn. Returns what will be reported.
    pub(super) fn end(&mut self, index: usize, result: i32) -> (Key, i32) {
        let held = self.held.remove(index);
        let result = match (held.memory, usize::try_from(result)) {
            (Memory::Write(start, length), Ok(count)) => self.write(start, count.min(length)),
            (Memory::Read(message), Ok(count)) => self.read(message, count),
            (_, Ok(_)) => 0,
            (_, Err(_)) => result,
        };
        self.due.push_back((held.key, result));
        (held.key, result)
    }

    /// Reports a completion out of nowhere.
    pub(super) fn report(&mut self, key: Key, result: i32) {
        self.due.push_back((key, result));
    }

    fn write(&mut self, start: *mut u8, count: usize) -> i32 {
        // SAFETY: the slot keeps the buffer, at least `count` long, until the completion.
        let target = unsafe { slice::from_raw_parts_mut(start, count) };
        for byte in target {
            *byte = number(self.received);
            self.received += 1;
        }
        i32::try_from(count).unwrap()
    }

    fn read(&mut self, message: *const op::Message, count: usize) -> i32 {
        let before = self.sent.len();
        // SAFETY: the slot keeps the message and what it points to until the completion.
        for piece in unsafe { (*message).pieces() } {
            let room = (before + count - self.sent.len()).min(piece.len());
            self.sent.extend_from_slice(&piece[..room]);
        }
        i32::try_from(self.sent.len() - before).unwrap()
    }
}

/// The byte that is received after `before` others.
#[allow(clippy::cast_possible_truncation, reason = "it is a pattern")]
pub(super) fn number(before: usize) -> u8 {
    (before % 251) as u8
}

/// The driver's side.
pub(super) struct Fake(pub(super) Kernel);

impl Backend for Fake {
    fn start(&mut self, slots: &mut Slots<Op>, key: Key) {
        let memory = match slots.in_flight_mut(key).expect("it was just inserted") {
            Op::Recv(Recv { buf, .. }) => Memory::Write(op::spare_ptr(buf), op::spare(buf)),
            Op::Send(send) => Memory::Read(&raw const send.message),
            Op::Connect(_)
            | Op::Accept(_)
            | Op::Exchange(_)
            | Op::RecvFrom(_)
            | Op::Close(_)
            | Op::File(_) => Memory::None,
        };
        self.0.borrow_mut().held.push(Held { key, memory });
    }

    fn cancel(&mut self, _slots: &mut Slots<Op>, key: Key) {
        self.0.borrow_mut().cancelled.push(key);
    }

    fn forget(&mut self, _source: usize) {}

    fn turn(&mut self, slots: &mut Slots<Op>) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        if state.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        for (key, result) in state.due.drain(..) {
            slots.complete(key, result);
        }
        Ok(())
    }

    fn park(&mut self, slots: &mut Slots<Op>, _timeout: Option<Duration>) -> io::Result<()> {
        self.turn(slots)
    }

    fn unpark(&self) -> Box<dyn Unpark> {
        struct Nobody;
        impl Unpark for Nobody {
            fn unpark(&self) {}
        }
        Box::new(Nobody)
    }
}
