//! Timers: waiting, deadlines and regular moments, to the millisecond.
//!
//! Each worker has a hierarchical timing wheel. Timers belong to the worker that polls
//! them: they panic elsewhere. None ever fires early, and none overflows: what no clock can
//! express never comes.

mod current;
mod interval;
mod sleep;
mod timeout;
mod wheel;

pub(crate) use self::current::Timers;
pub use self::interval::{Interval, interval};
pub use self::sleep::{Sleep, sleep, sleep_until};
pub use self::timeout::{Elapsed, Timeout, timeout, timeout_at};
