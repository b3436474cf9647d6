//! Signals of the host, which are none of our threads' business.

pub use self::mask::Blocked;

#[cfg(unix)]
mod mask {
    use std::mem::MaybeUninit;
    use std::ptr;

    /// Puts the calling thread's signal mask back when dropped.
    #[must_use = "signals are blocked until this is dropped"]
    pub struct Blocked {
        /// The mask before; none if the system would not tell.
        before: Option<libc::sigset_t>,
    }

    impl Blocked {
        /// Blocks signals in the calling thread, all but [`FAULTS`].
        pub fn but_faults() -> Self {
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

    impl Drop for Blocked {
        fn drop(&mut self) {
            if let Some(before) = &self.before {
                // SAFETY: `before` is a mask that the system gave; a null old mask is allowed.
                unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before, ptr::null_mut()) };
            }
        }
    }

    /// What the kernel sends to the thread that caused it; blocked, it would end the process. The
    /// standard library's message about a stack overflow is a handler of the first two, and
    /// sandboxes make or refuse system calls in one of the last (`SECCOMP_RET_TRAP`).
    const FAULTS: [libc::c_int; 6] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS];
}

#[cfg(not(unix))]
mod mask {
    /// There are no signals to block.
    #[must_use = "signals are blocked until this is dropped"]
    pub struct Blocked(());

    impl Blocked {
        /// Does nothing.
        pub fn but_faults() -> Self {
            Self(())
        }
    }
}
