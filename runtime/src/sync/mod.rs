//! What the lock-free protocols are made of: atomics and locks that loom can replace, the queues
//! that workers run from and steal from, who of them sleeps, the doorbell that wakes one, the list
//! of things a worker looks at before it sleeps, and how to live with foreign code that panics
//! and with the host's signals.

pub mod budget;
pub mod counter;
pub mod deque;
pub mod doorbell;
pub mod idle;
pub mod injector;
pub mod per_process;
pub mod shim;
pub mod thread;
pub mod unwind;
pub mod watch;
