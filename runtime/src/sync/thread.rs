//! Threads of our own inside somebody else's process.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread in which signals are blocked from its first instruction on, so that the host's
/// handlers never run on it. Those that report a fault of the thread itself are not blocked: a
/// crash here is reported as anywhere else in the process.
///
/// # Errors
///
/// When the system refuses a thread, or `name` contains a NUL.
pub fn spawn(
    name: &str,
    stack_bytes: usize,
    main: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    if name.contains('\0') {
        // The standard library panics on it.
        let text = format!("the thread name {name:?} contains a NUL; choose one without");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let builder = Builder::new().name(name.to_owned()).stack_size(stack_bytes);
    let _blocked = signals::Blocked::but_faults();
    // A new thread inherits the mask of the thread that starts it.
    builder.spawn(main)
}

#[cfg(unix)]
mod signals {
    use std::mem::MaybeUninit;
    use std::ptr;

    /// Puts the calling thread's signal mask back when dropped.
    pub(super) struct Blocked {
        /// The mask before; none if the system would not tell.
        before: Option<libc::sigset_t>,
    }

    impl Blocked {
        /// Blocks signals in the calling thread, all but [`FAULTS`].
        pub(super) fn but_faults() -> Self {
            let mut all = MaybeUninit::uninit();
            let mut before = MaybeUninit::uninit();
            // SAFETY: both pointers are to live storage of the right type; sigfillset
            // initialises `all` before the others read it; the signals are valid.
            let failed = unsafe {
                libc::sigfillset(all.as_mut_ptr());
                for fault in FAULTS {
                    libc::sigdelset(all.as_mut_ptr(), fault);
                }
                libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr())
            };
            // SAFETY: pthread_sigmask succeeded, so it has written the old mask.
            Self { before: (failed == 0).then(|| unsafe { before.assume_init() }) }
        }
    }

    /// What the kernel sends to the thread that caused it. The standard library's message about
    /// a stack overflow is a handler of the first two.
    const FAULTS: [libc::c_int; 5] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP];

    impl Drop for Blocked {
        fn drop(&mut self) {
            if let Some(before) = &self.before {
                // SAFETY: `before` is a mask that the system gave; a null old mask is allowed.
                unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
            }
        }
    }
}

#[cfg(not(unix))]
mod signals {
    /// There are no signals to block.
    pub(super) struct Blocked;

    impl Blocked {
        /// Does nothing.
        pub(super) fn but_faults() -> Self {
            Self
        }
    }
}
