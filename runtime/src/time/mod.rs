//! Timers.

use std::future::Future;
use std::time::{Duration, Instant};

/// The deadline passed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed;

/// Waits for `duration` (only on a worker).
pub async fn sleep(_duration: Duration) {
    todo!()
}
/// Waits until `deadline`.
pub async fn sleep_until(_deadline: Instant) {
    todo!()
}
/// Bounds `future` by `limit`.
pub async fn timeout<F: Future>(_limit: Duration, _future: F) -> Result<F::Output, Elapsed> {
    todo!()
}
/// Bounds `future` by `deadline`.
pub async fn timeout_at<F: Future>(_deadline: Instant, _future: F) -> Result<F::Output, Elapsed> {
    todo!()
}
