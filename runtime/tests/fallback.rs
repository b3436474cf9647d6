//! What happens where io_uring is denied. Each test puts the worker thread, and only that,
//! under a seccomp filter before the driver is opened, as a container's profile would.
#![cfg(all(target_os = "linux", not(spanwire_portable)))]

#[path = "support/drivers.rs"]
mod drivers;
#[path = "support/seccomp.rs"]
mod seccomp;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;

use bytes::Bytes;
use drivers::recv_exact;
use seccomp::{Verdict, deny};
use spanwire_runtime::driver::{Choice, Kind, Report};
use spanwire_runtime::net::TcpStream;
use spanwire_runtime::{BuildError, Builder, Runtime};

fn build(choice: Choice, calls: &[libc::c_long], verdict: Verdict) -> Result<Runtime, BuildError> {
    let calls = calls.to_vec();
    Builder::new().io(choice).on_thread_start(move || deny(&calls, verdict)).build()
}

/// Sends something to a server and gets it back.
fn echo_works(runtime: &Runtime) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let (mut peer, mut buf) = (listener.accept().unwrap().0, [0; 4]);
        peer.read_exact(&mut buf).unwrap();
        peer.write_all(&buf).unwrap();
        peer.read(&mut buf).unwrap()
    });
    let echo = runtime.spawn_pinned(move || async move {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.send_all(vec![Bytes::from_static(b"echo")]).await.unwrap();
        let all = recv_exact(&stream, 4).await.unwrap();
        stream.close().await.unwrap();
        all
    });
    assert_eq!(runtime.block_on(echo).unwrap(), b"echo");
    assert_eq!(server.join().unwrap(), 0);
}

/// Auto has to fall back, say `why`, and work.
fn falls_back(calls: &[libc::c_long], errno: i32, why: &str) {
    let runtime = build(Choice::Auto, calls, Verdict::Errno(errno)).unwrap();
    let Report { kind, reason, .. } = runtime.driver();
    assert_eq!(*kind, Kind::Epoll);
    let reason = reason.as_ref().unwrap();
    assert!(reason.contains(why), "{reason}");
    echo_works(&runtime);
}

#[test]
fn auto_falls_back_where_docker_forbids_the_ring() {
    falls_back(&RING, libc::EPERM, "io_uring_setup: EPERM (forbidden by a seccomp profile");
}

#[test]
fn auto_falls_back_where_podman_denies_the_ring() {
    falls_back(&RING, libc::ENOSYS, "io_uring_setup: ENOSYS (");
}

#[test]
fn auto_falls_back_on_an_old_kernel() {
    falls_back(&RING[..1], libc::EINVAL, "io_uring_setup: EINVAL (the kernel is older");
}

#[test]
fn auto_falls_back_without_memory_or_descriptors() {
    falls_back(&RING[..1], libc::ENOMEM, "io_uring_setup: ENOMEM (a memory limit");
    falls_back(&RING[..1], libc::EMFILE, "io_uring_setup: EMFILE (no descriptors");
}

#[test]
fn auto_falls_back_if_only_the_use_of_a_ring_is_denied() {
    if build(Choice::Uring, &[], Verdict::Kill).is_err() {
        return eprintln!("SKIPPED: no io_uring here");
    }
    falls_back(&[libc::SYS_io_uring_enter], libc::EPERM, "io_uring_enter: EPERM (");
    falls_back(&[libc::SYS_io_uring_register], libc::EACCES, "io_uring_register: EACCES (");
}

#[test]
fn a_forced_ring_that_is_denied_is_an_error() {
    for (errno, name) in [(libc::EPERM, "EPERM"), (libc::ENOSYS, "ENOSYS")] {
        let error = build(Choice::Uring, &RING, Verdict::Errno(errno)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, BuildError::Driver(_)));
        assert!(text.contains(name) && text.contains("SPANWIRE_IO"), "{text}");
    }
}

#[test]
fn epoll_makes_no_io_uring_call() {
    let runtime = build(Choice::Epoll, &RING, Verdict::Kill).unwrap();
    assert_eq!(runtime.driver().kind, Kind::Epoll);
    echo_works(&runtime);
}

#[test]
fn uring_moves_bytes_by_io_uring_only() {
    let calls = [
        libc::SYS_connect,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_recvmsg,
        libc::SYS_recvfrom,
        // Newer machines have the other one alone.
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
        libc::SYS_epoll_pwait,
    ];
    match build(Choice::Uring, &calls, Verdict::Kill) {
        Ok(runtime) => echo_works(&runtime),
        Err(error) => eprintln!("SKIPPED: {error}"),
    }
}

/// A profile that comes late takes the ring away under the worker's feet.
#[test]
fn a_ring_that_is_taken_away_ends_the_worker_and_not_the_host() {
    let Ok(runtime) = build(Choice::Uring, &[], Verdict::Kill) else {
        return eprintln!("SKIPPED: no io_uring here");
    };
    echo_works(&runtime);
    let (listener, calls) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(), RING);
    let addr = listener.local_addr().unwrap();
    let task = runtime.spawn_pinned(move || async move {
        deny(&calls, Verdict::Errno(libc::EPERM));
        TcpStream::connect(addr).await.map(drop)
    });
    assert!(runtime.block_on(task).is_err());
}

/// All that io_uring consists of.
const RING: [libc::c_long; 3] =
    [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
