//! What a forked child finds of its parent's runtimes: nothing that hangs, nothing that is
//! locked, nothing that reaches the parent. Each test forks for real.
#![cfg(target_os = "linux")]

#[path = "support/child.rs"]
mod child;

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::hint;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use child::{ensure, in_child};
use spanwire_runtime::blocking::BlockingError;
use spanwire_runtime::driver::Choice;
use spanwire_runtime::pipe::{Config, Drainer, Pipe, Refusal, Tag, Want};
use spanwire_runtime::task::{JoinError, JoinHandle};
use spanwire_runtime::{Builder, Handle, Origin, Runtime};

#[test]
fn an_origin_knows_its_children_and_theirs_apart() {
    let origin = Origin::here();
    in_child(move || {
        ensure(!origin.is_here(), "the parent's origin is taken for the child's")?;
        let own = Origin::here();
        ensure(own.is_here() && Origin::here().is_here(), "the child has no origin of its own")?;
        in_child(move || {
            ensure(!origin.is_here(), "the grandparent's origin is taken for the grandchild's")?;
            ensure(!own.is_here(), "the parent's origin is taken for the grandchild's")
        });
        ensure(own.is_here(), "a fork has changed the parent's own origin")
    });
    assert!(origin.is_here());
}

#[test]
fn whatever_is_asked_of_the_parents_runtime_is_refused_at_once() {
    let runtime = runtime();
    let kept = runtime.spawn(std::future::pending::<()>());
    let blocking = runtime.handle().spawn_blocking(thread::park);
    in_child(|| {
        let spawned = runtime.spawn(async {});
        ensure(is_aborted(spawned), "a spawned task is not aborted")?;
        let pinned = runtime.spawn_pinned(|| async {});
        ensure(is_aborted(pinned), "a pinned task is not aborted")?;
        kept.abort();
        ensure(is_aborted(kept), "a task of the parent's is waited for")?;
        let call = pin!(runtime.handle().spawn_blocking(|| ()));
        ensure(matches!(poll(call), Poll::Ready(Err(BlockingError::Forked))), "a call is taken")?;
        let call = pin!(blocking);
        ensure(matches!(poll(call), Poll::Ready(Err(BlockingError::Forked))), "a call is awaited")?;
        ensure(!runtime.shutdown(Duration::MAX), "the parent's worker has ended, it says")
    });
}

#[test]
fn a_child_can_run_a_runtime_of_its_own() {
    let parents = runtime();
    in_child(move || {
        let own = runtime();
        let echo = own.spawn_pinned(|| async {
            let call = spanwire_runtime::blocking::spawn_blocking(|| 6).await;
            spanwire_runtime::yield_now().await;
            spanwire_runtime::time::sleep(Duration::from_millis(1)).await;
            call.map(|six| six * 7)
        });
        let answer = own.block_on(echo).map_err(|error| error.to_string())?;
        ensure(answer.is_ok_and(|answer| answer == 42), "a task of the child's goes wrong")?;
        drop(parents);
        ensure(own.shutdown(Duration::MAX), "the child's worker does not end")
    });
}

/// The fork comes while other threads spawn, wake, call and append as fast as they can, so one of
/// them is in the middle of any step, under any lock.
#[test]
fn no_lock_that_a_thread_of_the_parents_holds_is_waited_for() {
    let runtime = runtime();
    let (pipe, drainer) = Pipe::new(small(), runtime.doorbell());
    let drain = runtime.spawn_pinned(move || drain(drainer));
    let (waker, asleep) = task_that_is_woken(&runtime);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Also if a child fails: the scope waits for its threads.
        let _stops = Stops(&stop);
        for hammer in 0..HAMMERS {
            let (handle, pipe, waker, stop) = (runtime.handle(), &pipe, &waker, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    strike(hammer, &handle, pipe, waker);
                }
            });
        }
        for _ in 0..ROUNDS {
            in_child(|| touch_everything(&runtime, &pipe, &waker));
        }
    });
    pipe.close();
    asleep.abort();
    drain.abort();
    assert!(runtime.shutdown(Duration::MAX), "the parent's runtime is unharmed");
}

#[test]
fn an_append_in_a_child_is_refused_and_counted_there_alone() {
    let runtime = runtime();
    let (pipe, mut drainer) = Pipe::new(small(), runtime.doorbell());
    let append = || pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(b"record"));
    append().unwrap();
    in_child(|| {
        ensure(append() == Err(Refusal::Forked), "a record is taken")?;
        ensure(append() == Err(Refusal::Forked), "a second record is taken")?;
        let counters = pipe.counters();
        ensure(counters.forked == 2 && counters.offered == 2, "the refusals are not counted")?;
        let mut runs = Vec::new();
        drainer.take_all(&mut runs);
        ensure(runs.is_empty(), "the child takes the parent's records")
    });
    let counters = pipe.counters();
    assert_eq!((counters.offered, counters.accepted, counters.forked), (1, 1, 0));
    let mut runs = Vec::new();
    drainer.take_all(&mut runs);
    assert_eq!(runs[0].bytes, "record");
}

/// What ends a worker's sleep in its driver is a descriptor that its children share. Nobody ever
/// reads it, so it has counted each use.
#[test]
fn a_child_does_not_ring_the_parents_worker() {
    // In a process of its own, where nobody else's runtimes are.
    in_child(|| {
        let before = bells();
        let runtime = Builder::new().io(Choice::from_env().unwrap()).thread_name(NAME).build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let (_receives, _peer) = receive_from_nobody(&runtime);
        await_sleep();
        let rings = || -> u64 {
            bells().iter().filter(|bell| !before.contains_key(bell.0)).map(|bell| bell.1).sum()
        };
        let unrung = rings();
        in_child(|| {
            runtime.doorbell().ring();
            Ok(())
        });
        ensure(rings() == unrung, "a child has rung")?;
        runtime.doorbell().ring();
        ensure(rings() > unrung, "the worker was not where a ring would have reached it")
    });
}

/// The thread that forks is the worker: then the child has a worker, of sorts.
#[test]
fn a_worker_that_forks_runs_nothing_more_in_the_child() {
    for choice in [Choice::Auto, Choice::Epoll] {
        let runtime = Builder::new().io(choice).build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (told, heard) = mpsc::sync_channel(1);
        let parent = std::process::id();
        let bystander = runtime.spawn_pinned(move || async move {
            let stream = spanwire_runtime::net::TcpStream::connect(address).await.unwrap();
            told.send(()).unwrap();
            let (received, buf) = stream.recv(Vec::with_capacity(8)).await;
            assert_eq!(std::process::id(), parent);
            received.map(|_| buf)
        });
        heard.recv().unwrap();
        let mut peer = listener.accept().unwrap().0;
        let forks = runtime.spawn_pinned(move || async move {
            // SAFETY: the child returns to the worker, which ends its thread, and by that itself.
            unsafe { libc::fork() }
        });
        let child = runtime.block_on(forks).unwrap();
        assert!(child > 0);
        assert_eq!(child::status(child), Some(0), "the child ends by itself");
        std::io::Write::write_all(&mut peer, b"still on").unwrap();
        let received = runtime.block_on(bystander).unwrap();
        assert_eq!(received.unwrap(), b"still on", "the parent's sockets are registered still");
    }
}

fn runtime() -> Runtime {
    Builder::new().io(Choice::from_env().unwrap()).build().unwrap()
}

/// Chunks so small that most appends touch what is shared.
fn small() -> Config {
    let mut config = Config::default();
    config.chunk_bytes = 4096;
    config.chunks = 64;
    config
}

/// What a hammering thread does, again and again.
fn strike(hammer: usize, handle: &Handle, pipe: &Pipe, waker: &Mutex<Option<Waker>>) {
    match hammer % 4 {
        0 => drop(handle.spawn(async {})),
        1 => drop(handle.spawn_blocking(|| hint::black_box(1))),
        2 => drop(pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(&[1; 1000]))),
        _ => waker.lock().unwrap().iter().for_each(Waker::wake_by_ref),
    }
}

/// Takes all that the pipe gets, for ever.
async fn drain(mut drainer: Drainer) {
    let mut runs = Vec::new();
    loop {
        drainer.readable(Want::First).await;
        drainer.take_all(&mut runs);
        runs.clear();
    }
}

/// A task that only ever waits, and its waker.
fn task_that_is_woken(runtime: &Runtime) -> (Arc<Mutex<Option<Waker>>>, JoinHandle<()>) {
    let waker = Arc::new(Mutex::new(None));
    let left = Arc::clone(&waker);
    let task = runtime.spawn(poll_fn(move |context| {
        let _ = left.lock().unwrap().insert(context.waker().clone());
        Poll::<()>::Pending
    }));
    while waker.lock().unwrap().is_none() {
        thread::yield_now();
    }
    (waker, task)
}

/// A task that waits for bytes which never come, so that the worker sleeps in its driver.
fn receive_from_nobody(runtime: &Runtime) -> (JoinHandle<()>, std::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let task = runtime.spawn_pinned(move || async move {
        let stream = spanwire_runtime::net::TcpStream::connect(address).await.unwrap();
        let _ = stream.recv(Vec::with_capacity(1)).await;
    });
    (task, listener.accept().unwrap().0)
}

/// Waits until the thread called [`NAME`] sleeps, and does so for a while.
fn await_sleep() {
    let mut seen = 0;
    while seen < 10 {
        thread::sleep(Duration::from_millis(5));
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
        let states = tasks.map(|task| std::fs::read_to_string(task.path().join("stat")).unwrap());
        let sleeps = states.into_iter().any(|state| state.contains(&format!("({NAME}) S")));
        seen = if sleeps { seen + 1 } else { 0 };
    }
}

/// The process's eventfds, and how often each was written to.
fn bells() -> BTreeMap<String, u64> {
    let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap().map(Result::unwrap);
    let bells = infos.filter_map(|info| {
        let text = std::fs::read_to_string(info.path()).ok()?;
        let count = text.lines().find_map(|line| line.strip_prefix("eventfd-count:"))?;
        let count = u64::from_str_radix(count.trim(), 16).unwrap();
        Some((info.file_name().into_string().unwrap(), count))
    });
    bells.collect()
}

/// Everything that a child might do with what it has inherited.
fn touch_everything(
    runtime: &Runtime,
    pipe: &Pipe,
    waker: &Mutex<Option<Waker>>,
) -> Result<(), String> {
    ensure(is_aborted(runtime.spawn(async {})), "a task is not aborted")?;
    let call = pin!(runtime.handle().spawn_blocking(|| ()));
    ensure(matches!(poll(call), Poll::Ready(Err(BlockingError::Forked))), "a call is taken")?;
    let appended = pipe.append(Tag::new(0, 0), |cursor| cursor.put_slice(b"one"));
    ensure(appended == Err(Refusal::Forked), "a record is taken")?;
    ensure(pipe.counters().forked == 1, "a refusal is not counted")?;
    // The test's own lock may be held; the waker is what matters.
    if let Ok(waker) = waker.try_lock() {
        waker.iter().for_each(Waker::wake_by_ref);
    }
    runtime.doorbell().ring();
    pipe.close();
    // The same as dropping a runtime, which a reference cannot.
    // SAFETY: the copy is the only one that is used from now on: the child ends without dropping.
    drop(unsafe { std::ptr::read(runtime) });
    Ok(())
}

fn is_aborted<T>(task: JoinHandle<T>) -> bool {
    matches!(poll(pin!(task)), Poll::Ready(Err(JoinError::Aborted)))
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Tells the hammering threads to stop when dropped.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Threads that disturb: more than there are kinds of disturbance.
const HAMMERS: usize = 8;
/// Forks under fire.
const ROUNDS: usize = 100;
/// Name of a worker that is looked for among the threads.
const NAME: &str = "fork-bell";
