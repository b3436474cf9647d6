//! The lock-free span queue: many threads append, one drains.
//!
//! Memory is one pool of equal chunks. A thread that appends often has a chunk to itself and
//! writes records into it, one behind the other; a store publishes each. The drainer reads what
//! is published, also of chunks that are still being written, lends it out without a copy, and
//! returns a chunk to the pool when it is full, taken, and lent to nobody.
//!
//! ```text
//! thread A  [rec rec rec|        ]   committed: 3 records, 1 run   <- drainer reads up to |
//! thread B  [rec rec re.. sealed ]-> full list -> drainer -> Run, Run (leases) -> pool
//! others    [rec|                ]   the common chunk, under a lock
//! long      [rec]                    each in memory of its own
//! ```
//!
//! In steady state an append takes no lock and does no read-modify-write, no allocation, no
//! system call: it encodes, stores, fences, and looks whether the worker sleeps. Whatever is
//! touched once a chunk is behind a lock (see `ledger.rs`). `ci/fast-path.py` lists the
//! instructions.
//!
//! **Which chunk.** A thread's first [`Config::promote_after`] records go to the common chunk; then
//! it gets one of its own, and keeps it until it ends. At most half of the chunks belong to single
//! threads, so that idle ones starve nobody; who gets none asks again after as many records more.
//!
//! **Long records.** What does not fit an empty chunk is encoded into an allocation, in order with
//! its neighbours, and bounded by [`Config::record_bytes_max`] and [`Config::large_bytes`].
//!
//! **When it is full**, [`Config::when_full`] says what goes: the newest record, the oldest, or the
//! time of whoever appends.
//!
//! In scope: bytes and their tags, in order, and an exact count of what became of each record.
//! Out of scope: what the bytes mean, and when to send them.

mod chunk;
mod config;
mod counters;
mod drain;
mod large;
mod ledger;
mod patience;
mod pen;
mod shared;
mod slice;
mod thread;
mod wait;

use std::fmt;
use std::sync::Arc as StdArc;

pub use self::config::{Config, ConfigError, WhenFull};
pub use self::counters::Counters;
pub use self::drain::{Drainer, Run};
use self::shared::Shared;
use self::thread::Busy;
use crate::buf::Cursor;
use crate::sync::doorbell::Doorbell;
use crate::sync::shim::Arc;

/// Which resource and scope a record belongs to; equal tags of one thread form a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Tag {
    /// Index of the resource.
    pub resource: u32,
    /// Index of the scope.
    pub scope: u32,
}

impl Tag {
    /// A tag.
    pub const fn new(resource: u32, scope: u32) -> Self {
        Self { resource, scope }
    }
}

/// Why a record was not taken. It is counted already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// No free chunk, or no room for another long record: the exporter does not keep up. The next
    /// append may find room.
    Full,
    /// The record alone is longer than [`Config::record_bytes_max`] or [`Config::large_bytes`],
    /// and does not fit a chunk.
    Oversize,
    /// `append` was called from inside `append`, by the encoder or by an allocator that emits
    /// telemetry.
    Reentrant,
    /// The pipe is closed.
    Closed,
    /// The pipe is a parent process's, from which this one was forked; nobody drains it here.
    Forked,
}

/// What a drainer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Want {
    /// Any committed record; a producer's first commit wakes the sleeping worker.
    First,
    /// [`Config::wake_bytes`] of sealed chunks, or many chunks that hold less.
    Batch,
}

/// The producers' end. Clones are the same pipe.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use spanwire_runtime::Doorbell;
/// use spanwire_runtime::pipe::{Config, Pipe, Tag};
///
/// let (pipe, mut drainer) = Pipe::new(Config::default(), Arc::new(Doorbell::new()));
/// pipe.append(Tag::new(0, 1), |cursor| cursor.put_slice(b"one")).unwrap();
/// pipe.append(Tag::new(0, 1), |cursor| cursor.put_slice(b"two")).unwrap();
///
/// let mut runs = Vec::new();
/// drainer.take_all(&mut runs);
/// assert_eq!(runs.len(), 1);
/// assert_eq!(runs[0].records, 2);
/// assert_eq!(runs[0].bytes, "onetwo");
/// assert_eq!(pipe.counters().accepted, 2);
/// ```
#[derive(Clone)]
pub struct Pipe {
    /// The standard library's also under loom: threads refer to it weakly, and reference
    /// counts that loom does not see cannot hide a missing ordering from it.
    shared: StdArc<Shared>,
}

impl Pipe {
    /// A pipe whose worker is woken by `doorbell`. Sizes out of bounds are moved to the nearest
    /// bound; see [`Config::check`]. Memory is reserved, not touched.
    pub fn new(config: Config, doorbell: Arc<Doorbell>) -> (Self, Drainer) {
        let shared = StdArc::new(Shared::new(config.clamped(), doorbell));
        (Self { shared: StdArc::clone(&shared) }, Drainer::new(shared))
    }

    /// Appends one record: calls `encode` once; again, in an empty chunk, if the record did not
    /// fit into the rest of one; and then again for each larger size, if it is longer than a chunk.
    /// Waits for the drainer only if [`WhenFull::Block`] says so, which may be one more reason for
    /// another call.
    ///
    /// The calls of `encode` should write the same: the last one's bytes count. What it wrote is
    /// the record, also if it is nothing. It must not wait for another thread's append:
    /// threads without a chunk of their own append under a lock. If it panics, nothing was
    /// appended, which is counted.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why the record was dropped; it is counted already. An append from
    /// inside of an append, to this or another pipe, is refused.
    #[inline]
    pub fn append(&self, tag: Tag, mut encode: impl FnMut(&mut Cursor<'_>)) -> Result<(), Refusal> {
        thread::append(&self.shared, tag, &mut encode)
    }

    /// Refuses all that comes from now on.
    ///
    /// Threads look whether the pipe is closed without synchronising. An append that runs at
    /// the same time may still be accepted, even after the drainer's last take, and nothing
    /// waits for it: it is counted as accepted and not as taken, so
    /// [`Counters::left_behind`] is exact once the producers have stopped.
    pub fn close(&self) {
        self.shared.close();
    }

    /// The counters now: exact once producers have stopped.
    pub fn counters(&self) -> Counters {
        let _busy = Busy::hold();
        self.shared.counters()
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = &self.shared.config;
        f.debug_struct("Pipe").field("config", config).finish_non_exhaustive()
    }
}

const _: () = {
    const fn anywhere<T: Send + Sync>() {}
    anywhere::<Pipe>();
    anywhere::<Drainer>();
    anywhere::<Run>();
};
