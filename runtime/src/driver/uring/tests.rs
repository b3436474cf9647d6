//! What only a ring can meet: full queues, refused calls, late bells.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fs::File;
use std::future::Future;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::*;
use crate::driver::socket::Socket;
use crate::driver::{Choice, Driver, InFlight, Kind};

/// Errnos with which the next calls of `io_uring_enter` fail, before they reach the kernel.
#[derive(Clone, Default)]
pub(super) struct Faults(Rc<RefCell<VecDeque<i32>>>, Rc<Cell<Option<u32>>>);

impl Faults {
    /// Fails if a fault is due.
    pub(super) fn strike(&self) -> io::Result<()> {
        self.0.borrow_mut().pop_front().map_or(Ok(()), |no| Err(io::Error::from_raw_os_error(no)))
    }

    fn plan(&self, errno: i32, count: usize) {
        self.0.borrow_mut().extend(std::iter::repeat_n(errno, count));
    }

    fn are_over(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The kernel's memory will suffice for so many entries, once.
    fn take_only(&self, count: u32) {
        self.1.set(Some(count));
    }

    /// How many of the entries that are queued the kernel takes, and how many completions it
    /// waits for: none if it has not taken all.
    pub(super) fn taken_of(&self, queued: u32, want: u32) -> (u32, u32) {
        self.1.take().map_or((queued, want), |count| (count.min(queued), 0))
    }
}

/// Runs `test` with a ring whose queues have room for so many entries, if there can be a ring.
fn with_ring(submissions: u32, completions: u32, test: impl FnOnce(Ring)) {
    // Who forbids the ring means the tests as well.
    if Choice::from_env() == Ok(Choice::Epoll) {
        return eprintln!("SKIPPED on uring: SPANWIRE_IO is epoll");
    }
    match Ring::with_sizes(submissions, completions) {
        Ok(ring) => test(ring),
        Err(error) => eprintln!("SKIPPED on uring: {error}"),
    }
}

/// As [`with_ring`], with a driver around it.
fn with_driver(submissions: u32, completions: u32, test: impl FnOnce(Driver, Faults)) {
    with_ring(submissions, completions, |ring| {
        let faults = ring.faults.clone();
        test(Driver::new(Box::new(ring), Kind::Uring), faults);
    });
}

/// A connection between the driver and a plain socket.
fn pair(driver: &Driver) -> (Rc<Socket>, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    let ours = socket2::Socket::from(OwnedFd::from(ours));
    (Rc::new(Socket::new(ours, Rc::downgrade(&driver.0))), peer)
}

fn receive(driver: &Driver, socket: &Rc<Socket>) -> InFlight {
    driver.0.start(Op::recv(socket.lease(), Vec::with_capacity(16)))
}

fn poll(future: &mut InFlight) -> Poll<(Op, io::Result<usize>)> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Parks until `future` has ended.
fn wait(driver: &Driver, mut future: InFlight) -> io::Result<usize> {
    loop {
        if let Poll::Ready((_, result)) = poll(&mut future) {
            return result;
        }
        driver.park(None);
    }
}

/// tokio-uring 147, tokio 8277: what found no room in the queue was never fetched, and whoever
/// waited for it waited for ever.
#[test]
fn no_completion_is_lost_when_more_end_at_once_than_the_queue_holds() {
    with_driver(4, 8, |driver, _| {
        let (socket, peer) = pair(&driver);
        let receives: Vec<_> = (0..200).map(|_| receive(&driver, &socket)).collect();
        driver.turn();
        assert_eq!(driver.in_flight(), 200);
        drop(peer);
        for receive in receives {
            assert_eq!(wait(&driver, receive).unwrap(), 0);
        }
        let counts = driver.counts();
        assert!(counts.overflows > 0, "the queue held them all: {counts:?}");
        assert_eq!((counts.completed, counts.stale), (200, 0));
    });
}

/// A worker that has always something to run never parks.
#[test]
fn a_busy_worker_fetches_what_the_queue_did_not_hold() {
    with_driver(4, 8, |driver, _| {
        let (socket, peer) = pair(&driver);
        let receives: Vec<_> = (0..50).map(|_| receive(&driver, &socket)).collect();
        driver.turn();
        drop(peer);
        // Each turn fetches a queue full; there are more than enough of them.
        (0..1000).for_each(|_| driver.turn());
        assert_eq!(driver.in_flight(), 0);
        drop(receives);
    });
}

/// A multishot poll ends when its completion finds no room.
#[test]
fn the_bell_is_heard_after_the_queue_was_full() {
    with_driver(4, 8, |driver, _| {
        let (socket, peer) = pair(&driver);
        let bell = driver.unpark();
        bell.unpark();
        driver.park(None);
        let receives: Vec<_> = (0..50).map(|_| receive(&driver, &socket)).collect();
        driver.turn();
        drop(peer);
        bell.unpark();
        while driver.in_flight() > 0 {
            driver.park(None);
        }
        drop(receives);
        let (idle, _peer) = pair(&driver);
        let mut pending = receive(&driver, &idle);
        for _ in 0..20 {
            bell.unpark();
            driver.park(None);
        }
        assert!(poll(&mut pending).is_pending());
    });
}

#[test]
fn a_call_that_the_kernel_has_no_room_for_is_made_again() {
    for errno in [libc::EAGAIN, libc::EBUSY, libc::EINTR, libc::ETIME] {
        with_driver(4, 8, |driver, faults| {
            let (socket, mut peer) = pair(&driver);
            faults.plan(errno, 5);
            let bufs = vec![Bytes::from_static(b"there")];
            let send = driver.0.start(Op::send(socket.lease(), bufs));
            assert_eq!(wait(&driver, send).unwrap(), 5);
            peer.read_exact(&mut [0; 5]).unwrap();
            faults.plan(errno, 5);
            peer.write_all(b"back").unwrap();
            assert_eq!(wait(&driver, receive(&driver, &socket)).unwrap(), 4);
            assert!(faults.are_over());
        });
    }
}

/// Never an SQE whose operation has ended already: it is either queued or refused.
#[test]
fn an_operation_without_room_is_refused_and_the_next_one_works() {
    with_driver(4, 8, |driver, faults| {
        let (socket, peer) = pair(&driver);
        let queued: Vec<_> = (0..4).map(|_| receive(&driver, &socket)).collect();
        faults.plan(libc::EBUSY, PUSHES_MAX);
        let mut refused = receive(&driver, &socket);
        let Poll::Ready((op, Err(error))) = poll(&mut refused) else { panic!("it was queued") };
        assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
        assert_eq!(op.into_buf(&Err(error)).capacity(), 16, "the buffer comes back");
        drop(peer);
        for receive in queued {
            assert_eq!(wait(&driver, receive).unwrap(), 0);
        }
        assert_eq!(wait(&driver, receive(&driver, &socket)).unwrap(), 0);
        assert_eq!(driver.counts().stale, 0);
    });
}

/// The bell needs room as well, and making it may bring what the park would wait for.
#[test]
fn a_park_that_finds_the_queue_full_does_not_sleep_over_what_has_ended() {
    with_driver(4, 8, |driver, _| {
        let (socket, peer) = pair(&driver);
        drop(peer);
        let receives: Vec<_> = (0..4).map(|_| receive(&driver, &socket)).collect();
        driver.park(None);
        assert_eq!(driver.in_flight(), 0);
        drop(receives);
    });
}

#[test]
fn a_turn_with_nothing_queued_makes_no_call() {
    with_driver(SUBMISSIONS, COMPLETIONS, |driver, _| {
        let (socket, mut peer) = pair(&driver);
        let pending = receive(&driver, &socket);
        driver.turn();
        let before = driver.counts().enters;
        for _ in 0..1000 {
            driver.turn();
        }
        assert_eq!(driver.counts().enters, before);
        // What has ended meanwhile is seen without a call, and fetched with one.
        peer.write_all(b"!").unwrap();
        while driver.in_flight() > 0 {
            driver.turn();
        }
        assert_eq!(driver.counts().enters, before + 1);
        drop(pending);
    });
}

#[test]
fn a_park_submits_and_waits_in_one_call() {
    with_driver(SUBMISSIONS, COMPLETIONS, |driver, _| {
        let (socket, mut peer) = pair(&driver);
        // The first park has the bell watched.
        driver.unpark().unpark();
        driver.park(None);
        let before = driver.counts().enters;
        let send = driver.0.start(Op::send(socket.lease(), vec![Bytes::from_static(b"?")]));
        let receive = receive(&driver, &socket);
        peer.write_all(b"!").unwrap();
        driver.park(None);
        assert_eq!(driver.in_flight(), 0);
        assert_eq!(driver.counts().enters, before + 1);
        drop((send, receive));
    });
}

/// A worker that waits for a peer is not waiting for a disk; see compio 957, netty 16655.
#[test]
fn a_wait_is_not_accounted_as_one_for_a_disk_where_the_kernel_can_leave_that_out() {
    assert!(wait_flags(true).contains(EnterFlags::NO_IOWAIT));
    assert!(!wait_flags(false).contains(EnterFlags::NO_IOWAIT));
    with_ring(4, 8, |ring| {
        assert_eq!(ring.can_wait_uncounted, ring.ring.params().is_feature_no_iowait());
    });
}

#[test]
fn the_round_trip_leaves_nothing_behind() {
    with_ring(4, 8, |mut ring| {
        assert!(ring.ring.submission().is_empty());
        assert!(ring.ring.completion().is_empty());
    });
}

#[test]
fn other_programs_do_not_inherit_the_ring() {
    with_ring(4, 8, |ring| {
        for fd in [ring.ring.as_raw_fd(), ring.bell.0.as_raw_fd()] {
            assert!(is_closed_on_exec(fd));
        }
    });
}

fn is_closed_on_exec(fd: RawFd) -> bool {
    // SAFETY: it takes no pointers.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
    flags & libc::FD_CLOEXEC != 0
}

/// The ring is an ambient capability: seccomp does not see what is done through it.
#[test]
fn the_ring_does_nothing_but_what_it_is_for() {
    let socket = opcode::Socket::new(libc::AF_INET, libc::SOCK_STREAM, 0).build();
    let drained = opcode::Nop::new().build().flags(Flags::IO_DRAIN);
    for entry in [socket, drained] {
        with_ring(4, 8, |mut ring| {
            assert!(ring.push(&mut Slots::new(), &entry.user_data(NOP)));
            ring.enter(1, None).unwrap();
            let ended = ring.ring.completion().next().unwrap();
            assert_eq!((ended.user_data(), ended.result()), (NOP, -libc::EACCES));
        });
    }
    with_ring(4, 8, |ring| {
        let error = ring.ring.submitter().register_files(&[0]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    });
}

#[test]
fn a_completion_that_names_nothing_is_counted_and_ignored() {
    with_ring(4, 8, |mut ring| {
        let mut slots = Slots::new();
        for bits in [0, 1 << 32, u64::from(u32::MAX)] {
            assert!(ring.push(&mut slots, &opcode::Nop::new().build().user_data(bits)));
        }
        ring.turn(&mut slots).unwrap();
        assert_eq!(slots.tally().read().stale, 3);
    });
}

#[test]
fn a_ring_that_was_taken_away_is_an_error_wherever_that_is_noticed() {
    with_ring(SUBMISSIONS, COMPLETIONS, |mut ring| {
        let other = File::open("/dev/null").unwrap();
        // SAFETY: both descriptors are open; what is put in the place of the first one is
        // closed with it.
        let taken = unsafe { libc::dup2(other.as_raw_fd(), ring.ring.as_raw_fd()) };
        assert!(taken >= 0);
        let mut slots = Slots::new();
        // Who needs room in the queue, perhaps a task, is refused without a panic.
        let nop = opcode::Nop::new().build().user_data(NOP);
        let pushed = (0..=SUBMISSIONS).filter(|_| ring.push(&mut slots, &nop)).count();
        assert_eq!(pushed, SUBMISSIONS as usize);
        ring.turn(&mut slots).unwrap_err();
        ring.park(&mut slots, None).unwrap_err();
    });
}

/// The kernel says EBADR once it has dropped completions, for lack of memory: somebody would wait
/// for ever.
#[test]
fn a_ring_that_has_dropped_completions_ends_its_worker() {
    with_ring(4, 8, |mut ring| {
        ring.faults.plan(libc::EBADR, 1);
        let mut slots = Slots::new();
        ring.park(&mut slots, None).unwrap_err();
        ring.turn(&mut slots).unwrap_err();
    });
}

/// An exchange whose request is larger than the socket takes at once.
fn large_exchange(socket: &Rc<Socket>) -> Op {
    let request = vec![Bytes::from(vec![1; 64 << 20])];
    Op::exchange(socket.lease(), request, Vec::with_capacity(16))
}

/// With a broken send the kernel drops the receive in silence, so one completion ends both.
#[test]
fn a_send_that_is_not_complete_ends_its_exchange() {
    with_driver(8, 16, |driver, _| {
        let (socket, mut peer) = pair(&driver);
        let mut exchange = driver.0.start(large_exchange(&socket));
        let (op, result) = loop {
            if let Poll::Ready(ended) = poll(&mut exchange) {
                break ended;
            }
            driver.park(None);
        };
        let (op::Exchanged::Unsent(Ok(sent)), _, buf) = op.into_exchanged(result) else {
            panic!("it was too large");
        };
        assert_eq!(driver.in_flight(), 0);
        // Nobody receives any more.
        peer.write_all(b"answer").unwrap();
        assert_eq!(wait(&driver, receive(&driver, &socket)).unwrap(), 6);
        drop((driver, socket));
        let mut all = Vec::new();
        peer.read_to_end(&mut all).unwrap();
        assert_eq!((all.len(), buf.len()), (sent, 0));
    });
}

/// Making room for the bell may bring an interruption: before it has waited the park has to return,
/// so that the operation is started again. Nothing else would end it.
#[test]
fn a_park_does_not_wait_while_an_operation_is_to_be_started_again() {
    with_ring(4, 8, |mut ring| {
        let (ours, _peer) = UnixStream::pair().unwrap();
        let ours = socket2::Socket::from(OwnedFd::from(ours));
        let socket = Rc::new(Socket::new(ours, std::rc::Weak::new()));
        let mut slots = Slots::new();
        let receive = Box::new(Op::recv(socket.lease(), Vec::with_capacity(16)));
        let Ok(key) = slots.insert(receive) else { panic!("the table is empty") };
        slots.complete(key, -libc::EINTR);
        ring.park(&mut slots, None).unwrap();
        assert_eq!(slots.next_interrupted(), Some(key));
    });
}

/// The kernel may take the send and leave the receive in the queue, when it has no memory for
/// more. Then the two are not linked, the send is made at any time, and nobody says when.
#[test]
fn a_pair_that_the_kernel_has_cut_is_never_freed() {
    for before in 0..3 {
        with_driver(8, 16, |driver, faults| {
            let (socket, _peer) = pair(&driver);
            let _others: Vec<_> = (0..before).map(|_| receive(&driver, &socket)).collect();
            let bytes = Bytes::from(vec![1; 100]);
            let request = vec![bytes.clone()];
            let op = Op::exchange(socket.lease(), request, Vec::with_capacity(16));
            let exchange = driver.0.start(op);
            // The bell comes behind them, and the kernel takes all but that and the receive.
            faults.take_only(before + 1);
            let panic = catch_unwind(AssertUnwindSafe(|| driver.park(None))).unwrap_err();
            let text = panic.downcast_ref::<String>().unwrap();
            assert!(text.contains("ENOMEM"), "{text}");
            drop(exchange);
            drop(driver);
            assert!(!bytes.is_unique(), "the kernel may still read it");
        });
    }
}

/// Where the queue is cut between two operations nothing is wrong.
#[test]
fn a_queue_that_is_taken_in_parts_loses_nothing() {
    with_driver(8, 16, |driver, faults| {
        let (other, mut others_peer) = pair(&driver);
        let (socket, mut peer) = pair(&driver);
        let first = receive(&driver, &other);
        let request = vec![Bytes::from_static(b"ping")];
        let op = Op::exchange(socket.lease(), request, Vec::with_capacity(16));
        let exchange = driver.0.start(op);
        for count in [1, 2] {
            faults.take_only(count);
            driver.turn();
        }
        let mut ping = [0; 4];
        peer.read_exact(&mut ping).unwrap();
        peer.write_all(b"pong").unwrap();
        assert_eq!(wait(&driver, exchange).unwrap(), 4);
        others_peer.write_all(b"news").unwrap();
        assert_eq!(wait(&driver, first).unwrap(), 4);
    });
}
