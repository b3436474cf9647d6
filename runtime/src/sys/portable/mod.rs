//! Twins of what only Linux has, made of the standard library.

mod futex;
pub mod wiped;

pub use self::futex::Futex;

/// What `futex.rs` is made of here. loom's models build the same file with loom's parts.
mod parts {
    pub(super) use std::sync::atomic::{AtomicU32, Ordering};
    pub(super) use std::sync::{Condvar, Mutex};
}

/// Why there is no io_uring.
pub const NO_URING: &str = "io_uring is not in this build: it needs Linux, and no \
                            `--cfg spanwire_portable`";
