//! A small runtime for telemetry: it runs futures and moves bytes.
//!
//! Each worker thread (one, unless more are asked for) owns its queues, a timer wheel and a
//! driver: io_uring, or epoll where io_uring is denied. Tasks that compute move to whichever
//! worker is idle; tasks that own a socket or a file stay where they are. Threads that produce
//! telemetry append finished records to a [`pipe`] and never wait; a worker takes what they
//! committed and lends it to the kernel without another copy.
//!
//! In scope: futures, timers, sockets and files with owned buffers, calls that block, the span
//! queue. Out of scope: telemetry itself (see the crate `spanwire`), TLS, HTTP.
//! `docs/runtime.md` in the repository says when to use it and when not.
//!
//! # Examples
//!
//! ```
//! use std::time::Duration;
//! use spanwire_runtime::{Builder, spawn, time};
//!
//! let runtime = Builder::new().workers(2).build()?;
//! let sum = runtime.spawn(async {
//!     let parts = [1, 2, 3].map(|part| spawn(async move { part * part }));
//!     let mut sum = 0;
//!     for part in parts {
//!         sum += part.await.expect("no part panics");
//!     }
//!     time::sleep(Duration::from_millis(1)).await;
//!     sum
//! });
//! assert_eq!(runtime.block_on(sum)?, 14);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Features, none on by default: `futures-io`, `hyper` and `tokio-io` add the module `compat`,
//! adapters to the traits of those crates. It is made for Linux; other systems have what `docs/platforms.md`
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
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
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
pub use self::sync::doorbell::{Button, Doorbell};
pub use self::sync::per_process::PerProcess;
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
