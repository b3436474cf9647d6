//! What the lock-free protocols are made of: atomics and locks that loom can replace, the
//! doorbell that wakes a worker, the list of things a worker looks at before it sleeps, and
//! how to live with foreign code that panics and with the host's signals.

pub mod doorbell;
pub mod shim;
pub mod thread;
pub mod unwind;
pub mod watch;
