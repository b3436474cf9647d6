//! A small runtime for telemetry: it runs futures and moves bytes.
//!
//! One worker thread owns a task queue, a timer wheel and a driver (io_uring, or epoll where
//! io_uring is denied). Threads that produce telemetry append finished records to a [`pipe`]
//! and never wait; the worker takes what they committed and lends it to the kernel without
//! another copy.
//!
//! In scope: futures, timers, TCP with owned buffers, name resolution off the worker, the span
//! queue. Out of scope: telemetry itself; see the crate `spanwire`.
//!
//! Features, none on by default: `futures-io` and `hyper` add the module `compat`, adapters to
//! the traits of those crates. It is made for Linux; other systems have what `docs/platforms.md`
//! in the repository lists.
//!
//! All `unsafe` code of the spanwire workspace is in this crate. `docs/INVARIANTS.md` in the
//! repository maps each atomic to its partner and to the loom model that covers it.
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]
// What `internals` opens is private without it: public items that nobody reaches are expected.
#![cfg_attr(
    not(feature = "internals"),
    allow(unreachable_pub, unnameable_types, unused_imports, dead_code)
)]

pub mod blocking;
pub mod buf;
#[cfg(any(feature = "futures-io", feature = "hyper"))]
pub mod compat;
pub mod driver;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod executor;
#[cfg(not(feature = "internals"))]
mod executor;
pub mod fs;
pub mod net;
pub mod pipe;
mod runtime;
pub use self::executor::{YieldNow, consume_budget, yield_now};
pub use self::runtime::{
    BuildError, Builder, Handle, Runtime, Stats, WorkerStats, spawn, spawn_pinned,
};
pub use self::sync::doorbell::Doorbell;
pub use self::sys::fork::Origin;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod sync;
#[cfg(not(feature = "internals"))]
mod sync;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod sys;
#[cfg(not(feature = "internals"))]
mod sys;
pub mod task;
pub mod time;
