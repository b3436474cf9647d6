//! System call filters for the calling thread: calls that fail, calls that kill, and calls that
//! are counted one by one.

// Each test that includes this file uses its own part of it.
#![allow(dead_code)]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a filter does with a call that it lists.
#[derive(Clone, Copy)]
pub(crate) enum Verdict {
    Errno(i32),
    Kill,
}

/// Filters the calling thread's system calls; it cannot be undone.
pub(crate) fn deny(calls: &[libc::c_long], verdict: Verdict) {
    let verdict = match verdict {
        Verdict::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(),
        Verdict::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for &call in calls {
        let number = u32::try_from(call).unwrap();
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 1));
        program.push(instruction(libc::BPF_RET | libc::BPF_K, verdict, 0));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0));
    install(&mut program, 0).unwrap();
}

/// One system call of a thread that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) number: libc::c_long,
    pub(crate) arguments: [u64; 6],
}

/// The calls of one thread, in their order. A call is in it before the kernel begins with it.
///
/// Whoever writes a call down holds up the thread that makes it, perhaps inside of the allocator.
/// So that must not allocate itself, nor wait for a lock under which the thread may allocate.
#[derive(Clone)]
pub(crate) struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Vec::with_capacity(CALLS_MAX))))
    }

    /// Writes down the calls that this thread makes from now on, but for those that only get
    /// memory.
    ///
    /// # Errors
    ///
    /// If a thread cannot be watched here: before Linux 5.5, or inside of some sandboxes.
    pub(crate) fn of_this_thread(&self) -> io::Result<()> {
        let listener = Arc::new(AtomicI32::new(UNKNOWN));
        let (calls, told) = (self.clone(), Arc::clone(&listener));
        // SAFETY: takes nothing.
        let this = unsafe { libc::gettid() };
        // It is there before anything waits for it.
        thread::spawn(move || {
            if let Some(listener) = listener_of(&told) {
                calls.watch(this, &listener);
            }
        });
        let mut program = pass(&MEMORY);
        program.push(instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF, 0));
        let installed = install(&mut program, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        // A store: a call of the kernel's would wait for whoever waits for this.
        listener.store(*installed.as_ref().unwrap_or(&NONE), Ordering::Release);
        installed.map(drop)
    }

    /// What was written down since it was asked last.
    pub(crate) fn take(&self) -> Vec<Call> {
        let mut taken = Vec::with_capacity(CALLS_MAX);
        taken.append(&mut self.0.lock().unwrap());
        assert!(taken.len() < CALLS_MAX, "more calls than anybody writes down");
        taken
    }

    /// Lets each call pass once it is written down, until the thread has ended, and all that it
    /// has started: they inherit the filter, but what they do is not written down.
    fn watch(&self, thread: libc::pid_t, listener: &OwnedFd) {
        while let Some(notice) = next_notice(listener) {
            let mut calls = self.0.lock().unwrap();
            if calls.len() < CALLS_MAX && i64::from(notice.pid) == i64::from(thread) {
                calls.push(Call { number: notice.data.nr.into(), arguments: notice.data.args });
            }
            drop(calls);
            let mut answer = libc::seccomp_notif_resp {
                id: notice.id,
                val: 0,
                error: 0,
                flags: libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32,
            };
            let send = libc::SECCOMP_IOCTL_NOTIF_SEND;
            // SAFETY: the call reads one answer from a valid place. It fails if the thread has
            // ended, which the next round notices.
            unsafe { libc::ioctl(listener.as_raw_fd(), send, &raw mut answer) };
        }
    }
}

/// Waits for the listener of the thread that is to be watched, if there is one.
fn listener_of(told: &AtomicI32) -> Option<OwnedFd> {
    loop {
        match told.load(Ordering::Acquire) {
            UNKNOWN => thread::yield_now(),
            NONE => return None,
            // SAFETY: `install` has returned this descriptor to nobody else.
            fd => return Some(unsafe { OwnedFd::from_raw_fd(fd) }),
        }
    }
}

/// The next call that waits; none once the thread has ended.
fn next_notice(listener: &OwnedFd) -> Option<libc::seccomp_notif> {
    let fd = listener.as_raw_fd();
    loop {
        // SAFETY: plain data, for which zero is valid; the kernel requires it.
        let mut notice: libc::seccomp_notif = unsafe { mem::zeroed() };
        // SAFETY: the call writes one notice to a valid place.
        if unsafe { libc::ioctl(fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut notice) } == 0 {
            return Some(notice);
        }
        match io::Error::last_os_error().raw_os_error() {
            // A signal; or a call that was given up meanwhile.
            Some(libc::EINTR) => {}
            Some(libc::ENOENT) if !is_over(fd) => {}
            _ => return None,
        }
    }
}

/// Whether nobody is left whose calls the listener hears of.
fn is_over(listener: i32) -> bool {
    let mut event = libc::pollfd { fd: listener, events: libc::POLLIN, revents: 0 };
    // SAFETY: `event` is one valid entry.
    let ready = unsafe { libc::poll(&raw mut event, 1, 0) };
    ready == 1 && event.revents & libc::POLLHUP != 0
}

/// The beginning of a program that lets `calls` pass.
fn pass(calls: &[libc::c_long]) -> Vec<libc::sock_filter> {
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for &call in calls {
        let number = u32::try_from(call).unwrap();
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number, 1));
        program.push(instruction(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0));
    }
    program
}

/// Puts the calling thread under `program`.
fn install(program: &mut [libc::sock_filter], flags: libc::c_ulong) -> io::Result<i32> {
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the first call takes only numbers; `filter` and what it points to outlive the
    // second, which copies them.
    let status = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
    };
    i32::try_from(status).ok().filter(|&fd| fd >= 0).ok_or_else(io::Error::last_os_error)
}

/// One BPF instruction; a comparison that fails skips `skip` others.
fn instruction(code: u32, operand: u32, skip: u8) -> libc::sock_filter {
    libc::sock_filter { code: u16::try_from(code).unwrap(), jt: 0, jf: skip, k: operand }
}

/// What an allocator asks of the kernel, whenever it likes.
const MEMORY: [libc::c_long; 6] = [
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
];
/// The listener is not known yet.
const UNKNOWN: i32 = -2;
/// There is no listener.
const NONE: i32 = i32::MAX;
/// So many calls are written down at most.
const CALLS_MAX: usize = 1 << 14;
