//! What a forked child finds of its parent's runtimes: nothing that hangs, nothing that is
//! locked, nothing that reaches the parent. Each test forks for real.
#![cfg(target_os = "linux")]

#[allow(unreachable_pub, reason = "it is public where it is at home")]
#[path = "../src/sys/child.rs"]
mod child;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::hint;
use std::io::Write;
use std::ops::Range;
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

/// A task that forks has a budget, which nobody refills in the child.
#[test]
fn a_child_of_a_worker_waits_for_as_much_as_it_likes() {
    let runtime = runtime();
    let forks = runtime.spawn(async {
        let child = fork();
        if child == 0 {
            let own = self::runtime();
            (0..1000).for_each(|_| own.block_on(own.spawn(async {})).unwrap());
            // SAFETY: ends the child; nothing of the parent's is dropped.
            unsafe { libc::_exit(0) };
        }
        child
    });
    let child = runtime.block_on(forks).unwrap();
    assert_eq!(child::status(child), Some(0), "the child hangs");
}

/// The fork comes while other threads spawn, wake, call and append as fast as they can, so one of
/// them is in the middle of any step, under any lock.
#[test]
fn no_lock_that_a_thread_of_the_parents_holds_is_waited_for() {
    for workers in [1, 2] {
        fork_under_fire(&runtime_of(workers));
    }
}

fn fork_under_fire(runtime: &Runtime) {
    let (pipe, drainer) = Pipe::new(small(), runtime.doorbell());
    let drain = runtime.spawn_pinned(move || drain(drainer));
    let (waker, asleep) = task_that_is_woken(runtime, Parents(std::process::id()));
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
            in_child(|| touch_everything(runtime, &pipe, &waker));
        }
    });
    pipe.close();
    asleep.abort();
    drain.abort();
    let unharmed = runtime.block_on(runtime.spawn(async { 1 }));
    assert_eq!(unharmed.unwrap(), 1, "the parent's runtime works");
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

/// The thread that forks is the worker: then the child has a worker, of sorts. Its thread ends,
/// and by that the child.
#[test]
fn a_worker_that_forks_runs_and_drops_nothing_more_in_the_child() {
    for (choice, workers) in [(Choice::Auto, 1), (Choice::Auto, 2), (Choice::Epoll, 2)] {
        let runtime = Builder::new().io(choice).workers(workers).build().unwrap();
        let parents = Parents(std::process::id());
        let busy = runtime.spawn(async move {
            loop {
                parents.check();
                spanwire_runtime::yield_now().await;
            }
        });
        let parents = Parents(std::process::id());
        let (waker, woken) = task_that_is_woken(&runtime, parents);
        let forks = runtime.spawn(async move {
            // Its turn comes next.
            waker.lock().unwrap().iter().for_each(Waker::wake_by_ref);
            fork()
        });
        let child = runtime.block_on(forks).unwrap();
        assert!(child > 0);
        assert_eq!(child::status(child), Some(0), "the child ends by itself");
        busy.abort();
        woken.abort();
        assert!(runtime.shutdown(Duration::MAX), "the parent's worker is unharmed");
    }
}

/// The poller is shared: what a child says to it, it says for the parent.
#[test]
fn a_socket_that_a_child_drops_stays_registered_for_the_parent() {
    for (choice, is_receiving) in
        [(Choice::Auto, true), (Choice::Epoll, true), (Choice::Epoll, false)]
    {
        let runtime = Builder::new().io(choice).build().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (told, heard) = mpsc::sync_channel(1);
        let task = runtime.spawn_pinned(move || async move {
            let stream = spanwire_runtime::net::TcpStream::connect(address).await.unwrap();
            // It had to wait for these, so the poller knows the socket.
            assert_eq!(stream.recv(Vec::with_capacity(8)).await.1, b"first");
            let mut receive = Box::pin(stream.recv(Vec::with_capacity(8)));
            if is_receiving {
                assert!(poll(receive.as_mut()).is_pending());
            }
            let child = fork();
            if child == 0 {
                drop(receive);
                drop(stream);
                // What a thread runs when it ends may want locks that the parent's other threads held.
                // SAFETY: ends the process; no destructor of the parent's runs here.
                unsafe { libc::_exit(0) }
            }
            told.send(child).unwrap();
            receive.await.1
        });
        let mut peer = listener.accept().unwrap().0;
        await_idle(&runtime);
        peer.write_all(b"first").unwrap();
        assert_eq!(child::status(heard.recv().unwrap()), Some(0));
        peer.write_all(b"still on").unwrap();
        assert_eq!(runtime.block_on(task).unwrap(), b"still on");
    }
}

/// The ring's memory is not inherited, so what a child has there is its own.
#[test]
fn memory_that_a_child_has_where_the_ring_was_is_left_alone() {
    let Ok(runtime) = Builder::new().io(Choice::Uring).build() else {
        return eprintln!("SKIPPED: no io_uring here");
    };
    let task = runtime.spawn(async {
        let rings = rings();
        let child = fork();
        if child == 0 {
            OWN.set(Own(rings.iter().map(|ring| own(ring.clone())).collect()));
        }
        (child, rings.len())
    });
    let (child, rings) = runtime.block_on(task).unwrap();
    assert!(rings > 0, "the ring's memory is not known by its name any more");
    assert_eq!(child::status(child), Some(0));
}

fn runtime() -> Runtime {
    runtime_of(1)
}

fn runtime_of(workers: usize) -> Runtime {
    Builder::new().io(Choice::from_env().unwrap()).workers(workers).build().unwrap()
}

/// Forks a worker, from inside of a task. The child returns to the worker.
fn fork() -> libc::pid_t {
    // SAFETY: what the child touches on its way is what these tests are about.
    unsafe { libc::fork() }
}

/// Ends a child in which it is used or dropped.
struct Parents(u32);

impl Parents {
    fn check(&self) {
        if std::process::id() != self.0 {
            // SAFETY: ends the child, and says that something went wrong.
            unsafe { libc::_exit(1) };
        }
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        self.check();
    }
}

/// Where this process has rings.
fn rings() -> Vec<Range<usize>> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let ring = |line: &&str| line.ends_with("anon_inode:[io_uring]");
    let range = |line: &str| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        Some(number(start)?..number(end)?)
    };
    maps.lines().filter(ring).filter_map(range).collect()
}

/// Puts memory where there is none.
fn own(place: Range<usize>) -> Range<usize> {
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    let (start, access) = (place.start as *mut libc::c_void, libc::PROT_READ);
    // SAFETY: a mapping that takes nobody's place.
    let mapped = unsafe { libc::mmap(start, place.len(), access, kind, -1, 0) };
    assert_eq!(mapped, start, "something is there in the child");
    place
}

/// What a child has mapped. It is looked at when the thread ends, after all else.
#[derive(Default)]
struct Own(Vec<Range<usize>>);

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: touches nothing; it fails where nothing is mapped.
        let is_there = |place: &Range<usize>| unsafe {
            libc::msync(place.start as *mut libc::c_void, place.len(), libc::MS_ASYNC) == 0
        };
        if !self.0.iter().all(is_there) {
            // SAFETY: ends the child, and says that something went wrong.
            unsafe { libc::_exit(1) };
        }
    }
}

thread_local! {
    static OWN: Cell<Own> = const { Cell::new(Own(Vec::new())) };
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
    match hammer {
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

/// A task of the parent's that only ever waits, and its waker.
fn task_that_is_woken(
    runtime: &Runtime,
    parents: Parents,
) -> (Arc<Mutex<Option<Waker>>>, JoinHandle<()>) {
    let waker = Arc::new(Mutex::new(None));
    let left = Arc::clone(&waker);
    let task = runtime.spawn(poll_fn(move |context| {
        parents.check();
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
    let (tell, polled) = mpsc::channel();
    let task = runtime.spawn_pinned(move || async move {
        let stream = spanwire_runtime::net::TcpStream::connect(address).await.unwrap();
        let mut receive = pin!(stream.recv(Vec::with_capacity(1)));
        poll_fn(|cx| {
            let polled = receive.as_mut().poll(cx).map(drop);
            let _ = tell.send(());
            polled
        })
        .await;
    });
    polled.recv().unwrap();
    (task, listener.accept().unwrap().0)
}

/// Lets the worker run all that can run.
fn await_idle(runtime: &Runtime) {
    for _ in 0..100 {
        runtime.block_on(runtime.spawn_pinned(|| async {})).unwrap();
    }
}

/// Waits until the thread called [`NAME`] waits in its driver. Whatever it had to do before is
/// done by then.
fn await_sleep() {
    let waits = [libc::SYS_io_uring_enter, libc::SYS_epoll_wait, libc::SYS_epoll_pwait];
    while !call_of(NAME).is_some_and(|call| waits.contains(&call)) {
        thread::yield_now();
    }
}

/// The system call that the thread of that name is in, if it is in one.
fn call_of(name: &str) -> Option<libc::c_long> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(Result::unwrap);
    let has_name = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let thread = tasks.map(|task| task.path()).find(has_name)?;
    let state = std::fs::read_to_string(thread.join("syscall")).ok()?;
    // "running", or the number and its arguments.
    state.split_whitespace().next()?.parse().ok()
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
    ensure(is_aborted(runtime.spawn_pinned(|| async {})), "a pinned task is not aborted")?;
    ensure(runtime.stats().polls() > 0, "the parent's statistics are gone")?;
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

/// Threads that disturb: one for each kind of disturbance.
const HAMMERS: usize = 4;
/// Forks under fire.
const ROUNDS: usize = 40;
/// Name of a worker that is looked for among the threads.
const NAME: &str = "fork-bell";
