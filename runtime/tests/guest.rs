//! How the runtime behaves inside somebody else's process.
#![cfg(target_os = "linux")]

#[path = "support/probe.rs"]
mod probe;

use std::fs;
use std::thread;
use std::time::Duration;

use probe::runtime;
use spanwire_runtime::blocking::spawn_blocking;
use spanwire_runtime::{Builder, Runtime, driver};

#[test]
fn signals_are_blocked_in_the_worker_and_in_the_pool_but_not_faults() {
    let runtime = runtime();
    let task = runtime.spawn(async {
        let there = spawn_blocking(|| field("thread-self", "SigBlk")).await.unwrap();
        [field("thread-self", "SigBlk"), there]
    });
    for blocked in runtime.block_on(task).unwrap() {
        let blocked = u64::from_str_radix(&blocked, 16).unwrap();
        // All but SIGKILL and SIGSTOP, and the two that the C library keeps for itself.
        let never = [9, 19, 32, 33].iter().fold(0, |mask, signal| mask | 1_u64 << (signal - 1));
        // SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS: sent to the thread that caused them.
        let faults =
            [4, 5, 7, 8, 11, 31].iter().fold(0, |mask, signal| mask | 1_u64 << (signal - 1));
        assert_eq!(blocked & faults, 0, "{blocked:x}");
        assert_eq!(blocked | never | faults, u64::MAX, "{blocked:x}");
    }
}

#[test]
fn the_mask_of_the_thread_that_builds_a_runtime_is_as_before() {
    let before = field("thread-self", "SigBlk");
    let _runtime = runtime();
    assert_eq!(field("thread-self", "SigBlk"), before);
}

#[test]
fn the_thread_has_the_name_that_was_asked_for() {
    let runtime = Builder::new().thread_name("my-telemetry").build().unwrap();
    let task = runtime.spawn(async { field("thread-self", "Name") });
    assert_eq!(runtime.block_on(task).unwrap(), "my-telemetry");
}

/// An idle service must look idle: no tick, no poll, nothing.
#[test]
fn an_idle_worker_is_never_woken() {
    let choices = [driver::Choice::Epoll, driver::Choice::Auto];
    let runtimes = choices.map(|choice| Builder::new().io(choice).build().unwrap());
    let workers = runtimes.each_ref().map(asleep);
    let before = workers.each_ref().map(|worker| field(worker, "voluntary_ctxt_switches"));
    // Not for anything to happen: for nothing to happen.
    thread::sleep(Duration::from_millis(300));
    let after = workers.each_ref().map(|worker| field(worker, "voluntary_ctxt_switches"));
    assert_eq!(before, after);
}

/// The worker's directory below /proc, once the worker sleeps.
fn asleep(runtime: &Runtime) -> String {
    let task = runtime.spawn(async { fs::read_link("/proc/thread-self").unwrap() });
    let worker = runtime.block_on(task).unwrap().to_str().unwrap().to_owned();
    let mut last = String::new();
    loop {
        let now = field(&worker, "voluntary_ctxt_switches");
        if field(&worker, "State").starts_with('S') && now == last {
            return worker;
        }
        last = now;
        thread::yield_now();
    }
}

/// One line of a thread's status.
fn field(thread: &str, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap().trim().to_owned()
}
