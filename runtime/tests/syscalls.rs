//! Which system calls a worker makes: all of them are written down while it works.
#![cfg(all(target_os = "linux", not(spanwire_portable)))]

#[path = "support/drivers.rs"]
mod drivers;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/seccomp.rs"]
mod seccomp;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use drivers::recv_exact;
use scratch::Scratch;
use seccomp::{Call, Calls};
use spanwire_runtime::driver::Choice;
use spanwire_runtime::fs::{self, File, OpenOptions};
use spanwire_runtime::net::TcpStream;
use spanwire_runtime::task::JoinHandle;
use spanwire_runtime::{Builder, Runtime};

/// A runtime whose worker is watched; none if there is no such driver here, or no watching.
fn watched(choice: Choice) -> Option<(Runtime, Calls)> {
    let calls = Calls::new();
    let (to_be_watched, (sender, receiver)) = (calls.clone(), std::sync::mpsc::channel());
    // The worker is the first thread; those for blocking calls inherit that they are watched.
    let once = Once::new();
    let hook = move || once.call_once(|| sender.send(to_be_watched.of_this_thread()).unwrap());
    let built = Builder::new().io(choice).on_thread_start(hook).build();
    if let Err(error) = receiver.recv().unwrap() {
        eprintln!("SKIPPED: no thread can be watched here: {error}");
        return None;
    }
    match built {
        Ok(runtime) => Some((runtime, calls)),
        Err(error) => {
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

/// The calls of `ROUNDS` round trips, and those before them.
fn calls_of_round_trips(choice: Choice) -> Option<(Vec<Call>, Vec<Call>)> {
    let (runtime, calls) = watched(choice)?;
    let addr = echo_server();
    let task = runtime.spawn_pinned(move || async move {
        let stream = TcpStream::connect(addr).await.unwrap();
        round_trips(&stream, 1).await;
        let before = calls.take();
        round_trips(&stream, ROUNDS).await;
        let during = calls.take();
        stream.close().await.unwrap();
        (before, during)
    });
    Some(runtime.block_on(task).unwrap())
}

#[test]
fn a_ring_sends_and_receives_for_two_calls_a_round_trip() {
    let Some((_, calls)) = calls_of_round_trips(Choice::Uring) else { return };
    assert!(calls.iter().all(|call| call.number == libc::SYS_io_uring_enter), "{calls:?}");
    assert!(calls.len() <= 2 * ROUNDS, "{} calls", calls.len());
}

/// A request and its answer, as the exporter has them: one call on each side, which hands the
/// request over, has the kernel begin with the receive behind it, and waits for the answer.
#[test]
fn a_ring_exchanges_for_one_call_a_round_trip_on_either_side() {
    let Some((client, client_calls)) = watched(Choice::Uring) else { return };
    let Some((server, server_calls)) = watched(Choice::Uring) else { return };
    let (told, heard) = std::sync::mpsc::channel();
    let served = server.spawn_pinned(move || async move {
        let listener =
            spanwire_runtime::net::TcpListener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        told.send(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        stream.recv(Vec::with_capacity(64)).await.0.unwrap();
        exchanges(&stream, server_calls).await
    });
    let addr = heard.recv().unwrap();
    let asked = client.spawn_pinned(move || async move {
        let stream = TcpStream::connect(addr).await.unwrap();
        exchanges(&stream, client_calls).await
    });
    for calls in [client.block_on(asked).unwrap(), server.block_on(served).unwrap()] {
        assert!(calls.iter().all(|call| call.number == libc::SYS_io_uring_enter), "{calls:?}");
        assert!(calls.len() <= ROUNDS, "{} calls", calls.len());
    }
}

/// To send, to wait, to receive: no receive is made that would surely find nothing.
#[test]
fn the_poller_exchanges_without_a_receive_in_vain() {
    let Some((client, calls)) = watched(Choice::Epoll) else { return };
    let addr = echo_server();
    let asked = client.spawn_pinned(move || async move {
        let stream = TcpStream::connect(addr).await.unwrap();
        exchanges(&stream, calls.clone()).await;
        exchanges(&stream, calls).await
    });
    let calls = client.block_on(asked).unwrap();
    let count = |number| calls.iter().filter(|call| call.number == number).count();
    assert_eq!(count(libc::SYS_sendmsg), ROUNDS, "{calls:?}");
    assert_eq!(count(libc::SYS_recvfrom), ROUNDS, "{calls:?}");
}

/// The calls of `ROUNDS` exchanges.
async fn exchanges(stream: &TcpStream, calls: Calls) -> Vec<Call> {
    let mut buf = Vec::with_capacity(64);
    calls.take();
    for _ in 0..ROUNDS {
        buf.clear();
        let exchanged = stream.exchange(vec![Bytes::from_static(b"ping")], buf).await;
        exchanged.received.unwrap();
        buf = exchanged.buf;
    }
    calls.take()
}

/// monoio #214, compio #835: without MSG_NOSIGNAL a peer that goes away ends the whole process.
#[test]
fn the_poller_makes_no_call_of_io_uring_and_raises_no_signal() {
    let Some((before, calls)) = calls_of_round_trips(Choice::Epoll) else { return };
    let ring = [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
    let all = || before.iter().chain(&calls);
    assert!(all().all(|call| !ring.contains(&call.number)), "{before:?} {calls:?}");
    let plain = [libc::SYS_write, libc::SYS_writev, libc::SYS_sendto];
    assert!(all().all(|call| !plain.contains(&call.number)), "{before:?} {calls:?}");
    let sends: Vec<_> = all().filter(|call| call.number == libc::SYS_sendmsg).collect();
    assert!(sends.len() >= ROUNDS);
    let flag = u64::from(libc::MSG_NOSIGNAL.cast_unsigned());
    assert!(sends.iter().all(|call| call.arguments[2] & flag != 0), "{sends:?}");
    // To send, to find nothing, to wait, to receive; and an event that comes late now and then.
    assert!(calls.len() <= 5 * ROUNDS, "{} calls", calls.len());
}

/// compio #957, netty #16655, eio #862: a process that waits for its sockets looks as if it waited
/// for a disk.
#[test]
fn a_ring_that_waits_for_a_socket_is_not_accounted_as_waiting_for_a_disk() {
    let Some((runtime, calls)) = watched(Choice::Uring) else { return };
    if !has_feature(IORING_FEAT_NO_IOWAIT) {
        return eprintln!("SKIPPED: this kernel is older than 6.15");
    }
    let _armed = receive_from_nobody(&runtime);
    let wait = first_after_mark(&calls, waits_in_driver);
    assert_ne!(wait.arguments[3] & IORING_ENTER_NO_IOWAIT, 0, "{wait:?}");
}

/// compio #984: 100 % CPU while nothing happens.
#[test]
fn a_worker_with_a_receive_in_flight_makes_no_call_while_nothing_comes() {
    for choice in [Choice::Uring, Choice::Epoll] {
        let Some((runtime, calls)) = watched(choice) else { continue };
        let _armed = receive_from_nobody(&runtime);
        first_after_mark(&calls, waits_in_driver);
        thread::sleep(WHILE);
        assert_eq!(calls.take(), [], "{choice:?}");
    }
}

#[test]
fn a_worker_with_nothing_in_flight_sleeps_on_a_futex_and_makes_no_call() {
    for choice in [Choice::Uring, Choice::Epoll] {
        let Some((runtime, calls)) = watched(choice) else { continue };
        runtime.block_on(runtime.spawn(async { mark() })).unwrap();
        first_after_mark(&calls, waits_on_futex);
        thread::sleep(WHILE);
        assert_eq!(calls.take(), [], "{choice:?}");
    }
}

#[test]
fn a_ring_makes_the_calls_on_files_and_its_worker_none() {
    let Some((runtime, calls)) = watched(Choice::Uring) else { return };
    let used = calls_on_files(&runtime, &calls);
    let others = used.iter().filter(|call| call.number != libc::SYS_io_uring_enter);
    assert_eq!(others.count(), 0, "{used:?}");
}

#[test]
fn a_worker_without_a_ring_leaves_the_calls_on_files_to_others() {
    let Some((runtime, calls)) = watched(Choice::Epoll) else { return };
    let used = calls_on_files(&runtime, &calls);
    let blocking = [
        libc::SYS_openat,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_renameat,
        libc::SYS_renameat2,
    ];
    // glibc's allocator reads /proc/sys/vm/overcommit_memory once, before it gives memory of a
    // thread back; no file of the task's is opened with these flags but a folder, which is synced.
    let is_the_allocators = |call: &Call| {
        call.number == libc::SYS_openat && call.arguments[2] == libc::O_CLOEXEC as u64
    };
    let own = used.iter().filter(|call| !is_the_allocators(call));
    assert!(own.into_iter().all(|call| !blocking.contains(&call.number)), "{used:?}");
}

/// What the worker does while a task goes through all that a queue on disk needs.
fn calls_on_files(runtime: &Runtime, calls: &Calls) -> Vec<Call> {
    let (dir, calls) = (Scratch::new(), calls.clone());
    let (draft, target) = (dir.path().join("draft"), dir.path().join("target"));
    let within = dir.path().to_owned();
    let task = runtime.spawn_pinned(move || async move {
        calls.take();
        let options = OpenOptions::new().read(true).write(true).create(true);
        let file = File::open_with(&draft, options).await.unwrap();
        file.write_all_at(vec![Bytes::from_static(b"content")], 0).await.unwrap();
        assert_eq!(file.read_at(Vec::with_capacity(7), 0).await.1, b"content");
        file.sync_data().await.unwrap();
        file.sync_all().await.unwrap();
        file.close().await.unwrap();
        fs::rename(&draft, &target).await.unwrap();
        fs::sync_dir(&within).await.unwrap();
        calls.take()
    });
    runtime.block_on(task).unwrap()
}

/// A task that waits for bytes which never come, and who does not send them.
fn receive_from_nobody(runtime: &Runtime) -> (JoinHandle<()>, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let task = runtime.spawn_pinned(move || async move {
        let stream = TcpStream::connect(addr).await.unwrap();
        mark();
        stream.recv(Vec::with_capacity(64)).await.0.unwrap();
    });
    (task, listener)
}

/// Waits for the first call of the watched thread after its [`mark`] that `is` it.
fn first_after_mark(calls: &Calls, is: impl Fn(&Call) -> bool) -> Call {
    let mut seen = Vec::new();
    loop {
        seen.extend(calls.take());
        let after = seen.iter().skip_while(|call| call.number != MARK);
        if let Some(call) = after.copied().find(|call| is(call)) {
            return call;
        }
        thread::yield_now();
    }
}

/// A system call that nothing else makes, for [`first_after_mark`].
fn mark() {
    // SAFETY: takes nothing.
    unsafe { libc::getppid() };
}

fn waits_in_driver(call: &Call) -> bool {
    let is_ring = call.number == libc::SYS_io_uring_enter && call.arguments[2] > 0;
    is_ring || [libc::SYS_epoll_wait, libc::SYS_epoll_pwait].contains(&call.number)
}

fn waits_on_futex(call: &Call) -> bool {
    let command = call.arguments[1] & libc::FUTEX_CMD_MASK as u64;
    let waits = [libc::FUTEX_WAIT as u64, libc::FUTEX_WAIT_BITSET as u64];
    call.number == libc::SYS_futex && waits.contains(&command)
}

/// Whether the kernel's rings have `feature`.
fn has_feature(feature: u32) -> bool {
    let mut params = [0_u32; 30];
    // SAFETY: `params` is as large as the kernel's structure, and zero.
    let fd = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) };
    // SAFETY: closes what was just opened, or nothing.
    unsafe { libc::close(i32::try_from(fd).unwrap()) };
    params[5] & feature != 0
}

async fn round_trips(stream: &TcpStream, count: usize) {
    for _ in 0..count {
        stream.send_all(vec![Bytes::from_static(b"ping")]).await.unwrap();
        recv_exact(stream, 4).await.unwrap();
    }
}

/// Echoes on a thread of its own, one connection.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut peer = listener.accept().unwrap().0;
        peer.set_nodelay(true).unwrap();
        let mut buf = [0; 64];
        while let Ok(count @ 1..) = peer.read(&mut buf) {
            peer.write_all(&buf[..count]).unwrap();
        }
    });
    addr
}

const ROUNDS: usize = 100;
/// How long nothing may happen. Longer would prove more, and no shorter time would be wrong.
const WHILE: Duration = Duration::from_millis(300);
/// See [`mark`].
const MARK: libc::c_long = libc::SYS_getppid;
/// From linux/io_uring.h.
const IORING_FEAT_NO_IOWAIT: u32 = 1 << 17;
/// From linux/io_uring.h.
const IORING_ENTER_NO_IOWAIT: u64 = 1 << 7;
