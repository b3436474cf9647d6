//! What the lock-free protocols are made of: atomics and locks that loom can replace, the
//! doorbell that wakes a worker, and the list of things a worker looks at before it sleeps.

pub mod doorbell;
pub mod shim;
pub mod watch;
