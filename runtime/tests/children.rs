//! Processes that are denied something: io_uring as containers deny it, memory that may be
//! locked, descriptors. Each is a child of its own, so that the limit is the whole process's.
#![cfg(all(target_os = "linux", not(spanwire_portable)))]

#[allow(unreachable_pub, reason = "it is public where it is at home")]
#[path = "../src/sys/child.rs"]
mod child;

#[path = "support/drivers.rs"]
mod drivers;
#[path = "support/seccomp.rs"]
mod seccomp;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use bytes::Bytes;
use child::{ensure, in_child};
use drivers::recv_exact;
use seccomp::{Verdict, deny};
use spanwire_runtime::driver::{Choice, Kind};
use spanwire_runtime::fs::File;
use spanwire_runtime::net::TcpStream;
use spanwire_runtime::{Builder, Runtime};

/// Every way in which a profile may leave out calls of io_uring, as Docker (EPERM), Podman
/// (ENOSYS) and others deny them. compio #458, tokio #7691: the fallback was not taken.
#[test]
fn auto_works_and_a_forced_ring_is_an_error_whichever_calls_a_profile_denies() {
    let has_ring = has_ring();
    for errno in [libc::EPERM, libc::ENOSYS, libc::EACCES] {
        for denied in subsets(&RING) {
            in_child(|| {
                deny(&denied, Verdict::Errno(errno));
                let runtime = build(Choice::Auto)?;
                ensure(runtime.driver().kind == Kind::Epoll, "there is a ring after all")?;
                ensure(runtime.driver().reason.is_some(), "nobody is told why there is no ring")?;
                echo_works(&runtime)?;
                let error = build(Choice::Uring).err().ok_or("a ring that cannot be is forced")?;
                // Without a ring to begin with, the reason is not the profile's alone.
                let named = error.contains(name(errno)) || !has_ring;
                ensure(
                    named && error.contains("io_uring") && error.contains("SPANWIRE_IO"),
                    &format!("unclear: {error}"),
                )
            });
        }
    }
}

/// go-microvm #76: some sandboxes end a process that only tries.
#[test]
fn the_environment_can_say_that_no_call_of_io_uring_is_made() {
    in_child(|| {
        deny(&RING, Verdict::Kill);
        // SAFETY: the child has one thread.
        unsafe { std::env::set_var("SPANWIRE_IO", "epoll") };
        let choice = Choice::from_env().map_err(|error| error.to_string())?;
        let runtime = build(choice)?;
        echo_works(&runtime)?;
        ensure(files_work(&runtime), "files do not work")
    });
}

/// compio #458: a ring was counted against the limit of locked memory.
#[test]
fn a_process_that_may_lock_no_memory_has_a_driver() {
    let has_ring = has_ring();
    in_child(|| {
        limit(libc::RLIMIT_MEMLOCK, 0)?;
        // Root may lock what it likes, so it is somebody else.
        // SAFETY: takes numbers; the child has one thread.
        let lowered = unsafe { libc::geteuid() != 0 || libc::setuid(NOBODY) == 0 };
        ensure(lowered, "root cannot become anybody")?;
        echo_works(&build(Choice::Auto)?)?;
        match build(Choice::Uring) {
            Ok(runtime) => echo_works(&runtime),
            Err(_) if !has_ring => Ok(()),
            Err(error) => ensure(error.contains("RLIMIT_MEMLOCK"), &format!("unclear: {error}")),
        }
    });
}

#[test]
fn a_process_without_descriptors_is_told_so_and_one_with_just_enough_works() {
    for choice in [Choice::Auto, Choice::Uring, Choice::Epoll] {
        if choice == Choice::Uring && !has_ring() {
            continue;
        }
        in_child(|| {
            let mut worked = false;
            for spare in 0..ENOUGH {
                limit(libc::RLIMIT_NOFILE, lowest_free() + spare)?;
                let built = build(choice);
                limit(libc::RLIMIT_NOFILE, PLENTY)?;
                match built {
                    Ok(runtime) => {
                        worked = true;
                        echo_works(&runtime)?;
                    }
                    Err(error) => ensure(says_no_descriptors(&error), &error)?,
                }
            }
            ensure(worked || choice == Choice::Uring, "no number of descriptors is enough")
        });
    }
}

#[test]
fn a_process_that_runs_out_of_descriptors_keeps_the_connections_it_has() {
    for choice in [Choice::Auto, Choice::Epoll] {
        in_child(|| {
            let runtime = build(choice)?;
            let addr = echo_server();
            let task = runtime.spawn_pinned(move || async move {
                let stream = connect(addr).await?;
                round_trip(&stream).await?;
                limit(libc::RLIMIT_NOFILE, lowest_free())?;
                let refused =
                    TcpStream::connect(addr).await.err().and_then(|error| error.raw_os_error());
                let unopened =
                    File::open("/dev/null").await.err().and_then(|error| error.raw_os_error());
                let kept = round_trip(&stream).await;
                limit(libc::RLIMIT_NOFILE, PLENTY)?;
                ensure(refused == Some(libc::EMFILE), &format!("connect: {refused:?}"))?;
                ensure(unopened == Some(libc::EMFILE), &format!("open: {unopened:?}"))?;
                kept?;
                round_trip(&connect(addr).await?).await
            });
            runtime.block_on(task).map_err(|error| error.to_string())?
        });
    }
}

/// Whether there is a ring to begin with.
fn has_ring() -> bool {
    match build(Choice::Uring) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("SKIPPED on uring: {error}");
            false
        }
    }
}

fn build(choice: Choice) -> Result<Runtime, String> {
    Builder::new().io(choice).build().map_err(|error| error.to_string())
}

/// All that is not nothing.
fn subsets(calls: &[libc::c_long]) -> Vec<Vec<libc::c_long>> {
    let chosen = |set: usize| {
        let numbered = calls.iter().enumerate();
        numbered.filter(|(at, _)| set & 1 << at != 0).map(|(_, call)| *call).collect()
    };
    (1..1 << calls.len()).map(chosen).collect()
}

fn name(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "EPERM",
        libc::EACCES => "EACCES",
        _ => "ENOSYS",
    }
}

fn says_no_descriptors(error: &str) -> bool {
    error.contains("EMFILE") || error.contains("Too many open files")
}

/// A connection to an echo, there and back.
fn echo_works(runtime: &Runtime) -> Result<(), String> {
    let addr = echo_server();
    let task = runtime.spawn_pinned(move || async move { round_trip(&connect(addr).await?).await });
    runtime.block_on(task).map_err(|error| error.to_string())?
}

fn files_work(runtime: &Runtime) -> bool {
    let task = runtime.spawn_pinned(|| async {
        let file = File::open("/proc/self/stat").await?;
        let read = file.read_at(Vec::with_capacity(64), 0).await.0;
        file.close().await.and(read)
    });
    runtime.block_on(task).is_ok_and(|read| read.is_ok_and(|count| count > 0))
}

async fn connect(addr: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(addr).await.map_err(|error| format!("connect: {error}"))
}

async fn round_trip(stream: &TcpStream) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    stream.send_all(vec![Bytes::from_static(b"echo")]).await.map_err(text)?;
    let all = recv_exact(stream, 4).await.map_err(text)?;
    ensure(all == b"echo", "the echo says something else")
}

/// Echoes whatever comes, to anybody, as long as the process lives.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        // An accept takes a descriptor before it waits, so it fails where none may be had.
        let is_short = |error: &std::io::Error| error.raw_os_error() == Some(libc::EMFILE);
        loop {
            let (mut peer, _) = match listener.accept() {
                Ok(accepted) => accepted,
                Err(error) if is_short(&error) => {
                    thread::yield_now();
                    continue;
                }
                Err(_) => return,
            };
            thread::spawn(move || {
                let mut buf = [0; 64];
                while let Ok(count @ 1..) = peer.read(&mut buf) {
                    if peer.write_all(&buf[..count]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

fn limit(resource: libc::__rlimit_resource_t, to: u64) -> Result<(), String> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `now` is valid for both calls.
    let status = unsafe {
        libc::getrlimit(resource, &raw mut now);
        now.rlim_cur = to.min(now.rlim_max);
        libc::setrlimit(resource, &raw const now)
    };
    ensure(status == 0, "no limit can be set")
}

/// The lowest number that is no descriptor yet: limits are about numbers.
fn lowest_free() -> u64 {
    // SAFETY: takes a number; a descriptor that it returns is closed at once.
    unsafe {
        let fd = libc::dup(0);
        libc::close(fd);
        u64::try_from(fd).unwrap()
    }
}

/// All that io_uring consists of.
const RING: [libc::c_long; 3] =
    [libc::SYS_io_uring_setup, libc::SYS_io_uring_enter, libc::SYS_io_uring_register];
/// Nobody's user id.
const NOBODY: libc::uid_t = 65_534;
/// No driver needs as many descriptors.
const ENOUGH: u64 = 6;
/// For whatever a test does.
const PLENTY: u64 = 1024;
