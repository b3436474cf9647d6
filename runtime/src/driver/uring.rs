//! io_uring: operations go to the kernel in batches, and their results come back in batches.
//!
//! An operation is only queued when it starts. One `io_uring_enter` in [`Backend::turn`] or
//! [`Backend::park`] submits all that were queued since the last one and fetches results.
//!
//! One profile, for Linux 6.1 and later: one thread submits (`SINGLE_ISSUER`), and the kernel
//! does its share of the work only when that thread enters it (`DEFER_TASKRUN`), so nothing
//! ever interrupts a task. The ring is restricted to the opcodes used here before it is
//! enabled, and its memory is not inherited by a fork.
//!
//! An unpark writes to an eventfd, which a multishot poll watches from the first park on. That
//! poll holds no memory of ours and is not counted as an operation. A worker with nothing in
//! flight sleeps on its doorbell's futex, not here: only a thread that waits *in the ring* with
//! something armed is accounted as waiting for a disk. Where the kernel can leave that out for
//! sockets too (`IORING_ENTER_NO_IOWAIT`, 6.15) it is asked to.

mod files;

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, register::Restriction};

use super::counts::Tally;
use super::op::{self, Backend, Connect, Exchange, Op, PARK_MAX, Recv, RecvFrom, Sent};
use super::slots::{Key, Slots};
use crate::sync::doorbell::Unpark;

/// The driver.
pub(super) struct Ring {
    ring: IoUring,
    bell: Arc<Bell>,
    /// The poll of the bell is in the ring.
    is_bell_armed: bool,
    /// The bell was heard outside a park; the next one must not wait.
    is_unparked: bool,
    /// The kernel knows `IORING_ENTER_NO_IOWAIT`.
    can_wait_uncounted: bool,
    /// How many entries were queued for operations, ever.
    queued: usize,
    /// Which of them are the receives of exchanges, as far as they are in the queue.
    pairs: Vec<usize>,
    /// Exchanges whose cancellation came too early for their receive: it is repeated.
    uncancelled: Vec<Key>,
    /// The errno with which the kernel has refused the ring for good: no further call is made.
    refused: Option<i32>,
    /// Errnos with which the next calls fail, before they reach the kernel.
    #[cfg(test)]
    faults: tests::Faults,
}

impl Ring {
    /// Opens a ring that is known to work: with its real flags and sizes, all opcodes, and one
    /// operation sent through it.
    ///
    /// # Errors
    /// If any of that fails, with the step, the errno and its likely cause.
    pub(super) fn open() -> Result<Self, Unavailable> {
        Self::with_sizes(SUBMISSIONS, COMPLETIONS)
    }

    /// As `open`, with queues for so many entries.
    fn with_sizes(submissions: u32, completions: u32) -> Result<Self, Unavailable> {
        let ring = build(submissions, completions).map_err(at("io_uring_setup"))?;
        check(&ring)?;
        let mut ring = Self {
            can_wait_uncounted: ring.params().is_feature_no_iowait(),
            ring,
            bell: Arc::new(Bell::new().map_err(at("eventfd"))?),
            is_bell_armed: false,
            is_unparked: false,
            queued: 0,
            pairs: Vec::new(),
            uncancelled: Vec::new(),
            refused: None,
            #[cfg(test)]
            faults: tests::Faults::default(),
        };
        ring.round_trip().map_err(at("io_uring_enter"))?;
        Ok(ring)
    }

    /// Sends a NOP through the ring.
    fn round_trip(&mut self) -> io::Result<()> {
        let nop = opcode::Nop::new().build().user_data(NOP);
        // SAFETY: a NOP refers to no memory.
        let pushed = unsafe { self.ring.submission().push(&nop) };
        pushed.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))?;
        self.enter(1, Some(ROUND_TRIP_LIMIT))?;
        match self.ring.completion().next() {
            Some(entry) if entry.user_data() == NOP => op::outcome(entry.result()).map(drop),
            _ => Err(io::Error::from_raw_os_error(libc::ETIME)),
        }
    }

    /// Submits what is queued, lets the kernel finish what it can, and waits until there are
    /// `want` completions, or `timeout` has passed, or a signal came.
    fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        let entered = self.call(want, timeout);
        match entered.as_ref().map_err(io::Error::raw_os_error) {
            // Time is up; a signal; or the kernel is short of memory or of room for completions,
            // in which case what was not submitted stays queued until results were fetched.
            Err(Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY)) => Ok(()),
            _ => entered.map(drop),
        }
    }

    fn call(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<usize> {
        #[cfg(test)]
        self.faults.strike()?;
        let queued = u32::try_from(self.ring.submission().len()).unwrap_or(u32::MAX);
        #[cfg(test)]
        let (queued, want) = self.faults.taken_of(queued, want);
        let time = Timespec::from(timeout.unwrap_or(PARK_MAX).min(PARK_MAX));
        let args = SubmitArgs::new().timespec(&time);
        let flags = wait_flags(self.can_wait_uncounted).bits();
        // SAFETY: EXT_ARG announces the type that `args` has; `args` and the time it points to
        // live until the call returns. What the queued entries point to is owned by slots.
        let entered = unsafe { self.ring.submitter().enter(queued, want, flags, Some(&args)) };
        self.check_pairs().and(entered)
    }

    /// Fails if the kernel has taken the send of an exchange and left the receive in the queue,
    /// as it may when it has no memory for another request. The two are not linked then, and the
    /// end of one would say nothing about the other. So what the kernel has is given up with the
    /// ring, which is not entered again.
    fn check_pairs(&mut self) -> io::Result<()> {
        let (queued, left) = (self.queued, self.ring.submission().len());
        let is_cut = left > 0 && self.pairs.contains(&queued.wrapping_sub(left));
        self.pairs.retain(|at| queued.wrapping_sub(*at) <= left);
        if is_cut { Err(io::Error::from_raw_os_error(libc::ENOMEM)) } else { Ok(()) }
    }

    /// As `enter`, once the ring is known to work.
    ///
    /// # Errors
    /// If the kernel refuses the ring from now on: somebody has closed its descriptor, or has
    /// put the process under a seccomp profile.
    fn advance(&mut self, tally: &Tally, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        tally.enters.raise();
        if self.ring.submission().cq_overflow() {
            tally.overflows.raise();
        }
        if self.refused.is_none()
            && let Err(error) = self.enter(want, timeout)
        {
            self.refused = Some(error.raw_os_error().unwrap_or(libc::EIO));
        }
        match self.refused.map(io::Error::from_raw_os_error) {
            None => Ok(()),
            Some(error) => {
                let kind = error.kind();
                Err(io::Error::new(kind, Unavailable::new("io_uring_enter", error).to_string()))
            }
        }
    }

    /// Reports what has ended. Completions that found no room in the queue are held back by the
    /// kernel and moved up by the next `enter`, which `turn` makes if it sees that there are any.
    fn reap(&mut self, slots: &mut Slots<Op>) {
        for entry in self.ring.completion() {
            match entry.user_data() {
                BELL => {
                    self.is_unparked = true;
                    self.is_bell_armed = cqueue::more(entry.flags());
                }
                // A failed cancellation: its target has ended by itself.
                CANCEL => {}
                bits if bits & SEND_HALF != 0 => {
                    send_broken(slots, Key::from_bits(bits & !SEND_HALF), entry.result());
                }
                // The kernel holds the receive back until the send has ended, and for a moment
                // after that there is none to be found. Any other failure says that it ends.
                bits if bits & UNCANCELLED != 0 => {
                    if entry.result() == -libc::ENOENT {
                        self.uncancelled.push(Key::from_bits(bits & !UNCANCELLED));
                    }
                }
                key => slots.complete(Key::from_bits(key), entry.result()),
            }
        }
        for key in mem::take(&mut self.uncancelled) {
            if slots.in_flight_mut(key).is_some() {
                self.cancel_exchange(slots, key);
            }
        }
    }

    /// Has the receive of an exchange cancelled. (Its send does not wait.)
    fn cancel_exchange(&mut self, slots: &mut Slots<Op>, key: Key) {
        let cancel = opcode::AsyncCancel::new(key.to_bits()).build();
        let cancel = cancel.user_data(key.to_bits() | UNCANCELLED).flags(Flags::SKIP_SUCCESS);
        self.push(slots, &cancel);
    }

    /// Queues `entry`; false if there is no room to be had.
    fn push(&mut self, slots: &mut Slots<Op>, entry: &Entry) -> bool {
        self.push_all(slots, slice::from_ref(entry))
    }

    /// Queues `entries`, all or none, so that linked ones go together. Makes room if there is
    /// none; false if there is none to be had.
    fn push_all(&mut self, slots: &mut Slots<Op>, entries: &[Entry]) -> bool {
        for _ in 0..PUSHES_MAX {
            // SAFETY: what an entry points to is owned by its operation's slot, in a box, until
            // the operation's final completion; `Core` leaks the slots otherwise.
            if unsafe { self.ring.submission().push_multiple(entries) }.is_ok() {
                self.queued = self.queued.wrapping_add(entries.len());
                return true;
            }
            let advanced = self.advance(slots.tally(), 0, Some(Duration::ZERO));
            self.reap(slots);
            if advanced.is_err() {
                // The worker's next look ends it: this may be inside of a task or a destructor.
                return false;
            }
        }
        false
    }

    /// Queues the two entries of an exchange.
    fn push_pair(&mut self, slots: &mut Slots<Op>, pair: &[Entry; 2]) -> bool {
        let is_queued = self.push_all(slots, pair);
        if is_queued {
            self.pairs.push(self.queued.wrapping_sub(1));
        }
        is_queued
    }

    /// Has the bell watched, if it is not.
    fn arm_bell(&mut self, slots: &mut Slots<Op>) {
        if !self.is_bell_armed {
            let poll = opcode::PollAdd::new(Fd(self.bell.0.as_raw_fd()), POLLIN).multi(true);
            self.is_bell_armed = self.push(slots, &poll.build().user_data(BELL));
        }
    }
}

impl Backend for Ring {
    fn start(&mut self, slots: &mut Slots<Op>, key: Key) {
        let Some(op) = slots.in_flight_mut(key) else { return };
        let is_queued = match op {
            Op::Exchange(exchange) => {
                let pair = pair(exchange, key);
                self.push_pair(slots, &pair)
            }
            op => {
                let entry = entry(op).user_data(key.to_bits());
                self.push(slots, &entry)
            }
        };
        if !is_queued {
            slots.complete(key, -libc::ENOBUFS);
        }
    }

    fn cancel(&mut self, slots: &mut Slots<Op>, key: Key) {
        if let Some(Op::Exchange(_)) = slots.in_flight_mut(key) {
            return self.cancel_exchange(slots, key);
        }
        let cancel = opcode::AsyncCancel::new(key.to_bits()).build();
        // Without room for it the operation ends by itself, or is cancelled at shutdown.
        self.push(slots, &cancel.user_data(CANCEL).flags(Flags::SKIP_SUCCESS));
    }

    fn forget(&mut self, _source: usize) {}

    fn takes_files(&self) -> bool {
        true
    }

    fn turn(&mut self, slots: &mut Slots<Op>) -> io::Result<()> {
        let queue = self.ring.submission();
        let has_work = !queue.is_empty() || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        let advanced = if has_work || self.refused.is_some() {
            self.advance(slots.tally(), 0, Some(Duration::ZERO))
        } else {
            Ok(())
        };
        self.reap(slots);
        advanced
    }

    fn park(&mut self, slots: &mut Slots<Op>, timeout: Option<Duration>) -> io::Result<()> {
        let before = slots.in_flight();
        self.arm_bell(slots);
        // Making room for the bell has brought results, and somebody waits for those.
        let has_ended = slots.in_flight() < before || slots.has_interrupted();
        let has_news = mem::take(&mut self.is_unparked) || has_ended;
        // A kernel too short of memory to watch the bell must not be waited for.
        let advanced = if has_news || !self.is_bell_armed {
            self.advance(slots.tally(), 0, Some(Duration::ZERO))
        } else {
            self.advance(slots.tally(), 1, timeout)
        };
        self.reap(slots);
        self.is_unparked = false;
        advanced
    }

    fn unpark(&self) -> Box<dyn Unpark> {
        Box::new(Arc::clone(&self.bell))
    }
}

/// The eventfd that ends a park. It is never read: its poll is edge-triggered, and every write
/// is an edge.
struct Bell(OwnedFd);

impl Bell {
    fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call above has just returned this descriptor to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
}

impl Unpark for Arc<Bell> {
    fn unpark(&self) {
        let one = 1_u64.to_ne_bytes();
        // It fails only after 2^64 - 2 rings.
        // SAFETY: `one` is valid for its eight bytes; the descriptor is open as long as `self`.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

/// The send of an exchange was not complete. With it the kernel has dropped the receive that is
/// linked to it, silently: if it had succeeded, that would have been silent instead, so that each
/// pair has one completion.
fn send_broken(slots: &mut Slots<Op>, key: Key, sent: i32) {
    if let Some(Op::Exchange(exchange)) = slots.in_flight_mut(key) {
        exchange.sent = Sent::Broken(sent);
    }
    slots.complete(key, -libc::ECANCELED);
}

/// A send that is not waited for and whose success is silent, and a receive that begins after
/// it: one completion in all. Only a send of everything is a success (WAITALL).
fn pair(exchange: &mut Exchange, key: Key) -> [Entry; 2] {
    let fd = Fd(exchange.socket.raw_fd());
    let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL | libc::MSG_DONTWAIT;
    let send = opcode::SendMsg::new(fd, exchange.message.header().as_ptr());
    let send = send.flags(flags.cast_unsigned()).build().user_data(key.to_bits() | SEND_HALF);
    let recv = recv_entry(fd, &mut exchange.buf).user_data(key.to_bits());
    [send.flags(Flags::IO_LINK | Flags::SKIP_SUCCESS), recv]
}

fn recv_entry(fd: Fd, buf: &mut Vec<u8>) -> Entry {
    let length = u32::try_from(op::spare(buf)).unwrap_or(u32::MAX);
    opcode::Recv::new(fd, op::spare_ptr(buf), length).build()
}

/// What the kernel has to do. All pointers lead into `op`'s box or into buffers it owns.
fn entry(op: &mut Op) -> Entry {
    let fd = Fd(op.raw_fd());
    match op {
        Op::Connect(Connect { addr, .. }) => {
            opcode::Connect::new(fd, addr.as_ptr().cast(), addr.len()).build()
        }
        Op::Send(send) => {
            // A ring raises no SIGPIPE anyway; the flag says that we count on it. With WAITALL the kernel goes on after a short send, without a round trip to us.
            let flags = (libc::MSG_NOSIGNAL | libc::MSG_WAITALL).cast_unsigned();
            opcode::SendMsg::new(fd, send.message.header().as_ptr()).flags(flags).build()
        }
        // Of an exchange this is the second half; see `pair`.
        Op::Recv(Recv { buf, .. }) | Op::Exchange(Exchange { buf, .. }) => recv_entry(fd, buf),
        Op::Accept(accept) => {
            let (name, length) = accept.peer.as_ptrs();
            opcode::Accept::new(fd, name, length).flags(libc::SOCK_CLOEXEC).build()
        }
        Op::RecvFrom(RecvFrom { buf, envelope, .. }) => {
            let header = envelope.lend(op::spare_ptr(buf), op::spare(buf));
            opcode::RecvMsg::new(fd, header).build()
        }
        Op::Close(_) => opcode::Close::new(fd).build(),
        Op::File(file) => files::entry(file),
    }
}

/// How the ring is entered.
fn wait_flags(can_wait_uncounted: bool) -> EnterFlags {
    // Without GETEVENTS deferred work is not run and overflowed completions stay behind.
    let flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
    if can_wait_uncounted { flags | EnterFlags::NO_IOWAIT } else { flags }
}

/// The ring, not enabled yet.
fn build(submissions: u32, completions: u32) -> io::Result<IoUring> {
    IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        // Lets `turn` see without a system call whether there is deferred work.
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(completions)
        .setup_r_disabled()
        .dontfork()
        .build(submissions)
}

/// Checks what the kernel supports, forbids the rest, and enables the ring.
fn check(ring: &IoUring) -> Result<(), Unavailable> {
    let params = ring.params();
    let mut probe = Probe::new();
    let submitter = ring.submitter();
    submitter.register_probe(&mut probe).map_err(at("io_uring_register"))?;
    let is_able = params.is_feature_ext_arg()
        && params.is_feature_nodrop()
        && params.is_feature_skip_cqe_on_success()
        && OPCODES.iter().chain(&files::OPCODES).all(|&code| probe.is_supported(code));
    if !is_able {
        return Err(at("io_uring features")(io::Error::from_raw_os_error(libc::EINVAL)));
    }
    let mut restrictions: Vec<Restriction> =
        OPCODES.iter().chain(&files::OPCODES).map(|&code| Restriction::sqe_op(code)).collect();
    restrictions
        .push(Restriction::sqe_flags_allowed((Flags::SKIP_SUCCESS | Flags::IO_LINK).bits()));
    submitter
        .register_restrictions(&mut restrictions)
        .and_then(|()| submitter.register_enable_rings())
        .map_err(at("io_uring_register"))
}

/// Why there is no ring.
#[derive(Debug)]
pub(super) struct Unavailable {
    /// What failed: a system call, or the check of what it found.
    step: &'static str,
    error: io::Error,
}

impl Unavailable {
    fn new(step: &'static str, error: io::Error) -> Self {
        Self { step, error }
    }
}

/// Names the step that an error belongs to.
fn at(step: &'static str) -> impl FnOnce(io::Error) -> Unavailable {
    move |error| Unavailable::new(step, error)
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = self.step;
        let (name, cause) = match self.error.raw_os_error() {
            Some(libc::EPERM) => {
                ("EPERM", "forbidden by a seccomp profile or kernel.io_uring_disabled")
            }
            Some(libc::EACCES) => ("EACCES", "forbidden by a security module"),
            Some(libc::ENOSYS) => {
                ("ENOSYS", "forbidden by a seccomp profile, or not in this kernel")
            }
            Some(libc::EINVAL) => ("EINVAL", "the kernel is older than 6.1"),
            Some(libc::ENOMEM) => ("ENOMEM", "a memory limit: RLIMIT_MEMLOCK or the cgroup's"),
            Some(libc::EMFILE) => ("EMFILE", "no descriptors left: raise RLIMIT_NOFILE"),
            Some(libc::ENFILE) => ("ENFILE", "no descriptors left in the whole system"),
            _ => return write!(f, "{step}: {}", self.error),
        };
        write!(f, "{step}: {name} ({cause})")
    }
}

impl From<Unavailable> for io::Error {
    fn from(unavailable: Unavailable) -> Self {
        let advice = "set SPANWIRE_IO to auto or epoll to go on without io_uring";
        Self::new(unavailable.error.kind(), format!("{unavailable}; {advice}"))
    }
}

/// All that the ring may be asked to do, but for files.
const OPCODES: [u8; 9] = [
    opcode::Nop::CODE,
    opcode::PollAdd::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Connect::CODE,
    opcode::Accept::CODE,
    opcode::SendMsg::CODE,
    opcode::RecvMsg::CODE,
    opcode::Recv::CODE,
    opcode::Close::CODE,
];

/// How many operations are submitted together at most; further ones cost another system call.
const SUBMISSIONS: u32 = 128;
/// Twice what `SUBMISSIONS` operations and their cancellations can post. It is no limit: what
/// finds no room is kept by the kernel (`NODROP`); see [`Ring::reap`].
const COMPLETIONS: u32 = 4 * SUBMISSIONS;
/// How often a full queue is submitted to make room for one entry.
const PUSHES_MAX: usize = 8;
/// How long a NOP may take before the ring counts as broken.
const ROUND_TRIP_LIMIT: Duration = Duration::from_secs(1);
const POLLIN: u32 = libc::POLLIN.cast_unsigned() as u32;

/// Marks in `user_data`, beside a key, which has no use for these bits; see [`Key::to_bits`]: the
/// send of an exchange,
const SEND_HALF: u64 = 1 << 31;
/// and a failed cancellation of its receive.
const UNCANCELLED: u64 = 1 << 30;
/// `user_data` of what is no operation; see [`Key::to_bits`].
const BELL: u64 = u64::MAX;
const CANCEL: u64 = u64::MAX - 1;
const NOP: u64 = u64::MAX - 2;

#[cfg(test)]
mod tests;
