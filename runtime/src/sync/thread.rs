//! Threads of our own inside somebody else's process.

use std::io;
use std::thread::{Builder, JoinHandle};

use crate::sys::signals;

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
