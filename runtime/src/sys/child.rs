//! Real forks for tests: the child does one thing and leaves without running anything else.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Forks, does `work` in the child, and waits for its verdict.
///
/// The child has this one thread of a process with many. It must not rely on anything that the
/// others may have locked, standard output among it; so what goes wrong is a value, not a panic.
///
/// # Panics
///
/// If `work` fails or panics, or if the child has not ended after 30 s: it is killed.
pub fn in_child(work: impl FnOnce() -> Result<(), String>) {
    let (mut reader, mut writer) = pipe();
    // SAFETY: the child runs `work` alone, which minds what it touches, and then `_exit`.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            let verdict = catch_unwind(AssertUnwindSafe(work));
            let verdict = verdict.unwrap_or_else(|_| Err(String::from("the child panicked")));
            let _ = writer.write_all(verdict.err().unwrap_or_default().as_bytes());
            // SAFETY: ends the process; no destructor of the parent's runs here.
            unsafe { libc::_exit(0) }
        }
        child => {
            drop(writer);
            assert_eq!(status(child), Some(0), "the child hangs");
            let mut verdict = String::new();
            reader.read_to_string(&mut verdict).unwrap();
            assert_eq!(verdict, "", "in the child");
        }
    }
}

/// An error with `what` unless `is` holds.
///
/// # Errors
///
/// See above.
pub fn ensure(is: bool, what: &str) -> Result<(), String> {
    if is { Ok(()) } else { Err(what.to_owned()) }
}

fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: the array has room for the two descriptors, which are nobody else's.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
    }
}

/// Waits for the end of `child` and returns the status that it exited with; none if it hangs, in
/// which case it is killed.
///
/// # Panics
///
/// If a signal has ended it.
pub fn status(child: libc::pid_t) -> Option<i32> {
    let ended = has_ended(child);
    let mut status = 0;
    // SAFETY: the child is ours and was not waited for; `status` is valid.
    unsafe {
        if !ended {
            libc::kill(child, libc::SIGKILL);
        }
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
    }
    assert!(!ended || libc::WIFEXITED(status), "the child ended with status {status:#x}");
    ended.then(|| libc::WEXITSTATUS(status))
}

/// Waits until `child` has ended, at most for [`PATIENCE`].
fn has_ended(child: libc::pid_t) -> bool {
    // SAFETY: takes numbers.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, child, 0) };
    // SAFETY: the call above has just returned this descriptor to nobody else.
    let process = unsafe { File::from_raw_fd(i32::try_from(process).unwrap()) };
    let mut event = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        // SAFETY: `event` is one valid entry.
        match unsafe { libc::poll(&raw mut event, 1, i32::try_from(left).unwrap()) } {
            -1 => assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINTR)),
            ready => return ready == 1,
        }
    }
}

/// How long a child may take for what it does at once: only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
