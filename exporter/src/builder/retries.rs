//! How long, how often and how much is tried again.

use std::time::Duration;

use super::Builder;

impl Builder {
    /// How long a request is retried, from its first attempt. Default 5 minutes; zero never
    /// retries. Its bytes stay in the buffer meanwhile, so a full buffer drops new records first.
    /// It beats [`export_timeout`](Self::export_timeout).
    pub fn retry_budget(mut self, budget: Duration) -> Self {
        self.retry_budget = Some(budget);
        self
    }

    /// The first and the longest pause between attempts; half of each is random. Default 0.5 s
    /// and 30 s; the first is at least 1 ms and not above the longest. A peer's `Retry-After` is
    /// a minimum.
    pub fn retry_backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.retry.initial = first;
        self.retry.step_max = longest;
        self
    }

    /// What may be kept at once to be tried again, in bytes of requests of one signal. Default no
    /// limit but the buffer, in which it lies.
    ///
    /// A request that fails and has no room beside those that are being retried is given up, and
    /// counted under [`retries_exhausted`](crate::Dropped::retries_exhausted); those that were
    /// there before stay. Its lane still waits as long as it would have before the retry, so the
    /// collector is spared all the same. Less than one request is as good as no retries.
    pub fn retry_bytes(mut self, most: usize) -> Self {
        self.retry.bytes_max = most;
        self
    }
}
