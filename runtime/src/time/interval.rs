//! Regular moments.

use std::time::{Duration, Instant};

use super::sleep::{Sleep, sleep_until};

/// Moments that are `period` apart, the first one now. A period below a millisecond counts as
/// one; one that no clock can express never comes after the first.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let runtime = spanwire_runtime::Builder::new().build()?;
/// let task = runtime.spawn(async {
///     let mut interval = spanwire_runtime::time::interval(Duration::from_millis(2));
///     let first = interval.tick().await;
///     let second = interval.tick().await;
///     second - first
/// });
/// assert!(runtime.block_on(task)? >= Duration::from_millis(2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn interval(period: Duration) -> Interval {
    Interval { period: period.max(PERIOD_MIN), sleep: sleep_until(Instant::now()) }
}

/// See [`interval`].
#[derive(Debug)]
pub struct Interval {
    period: Duration,
    sleep: Sleep,
}

impl Interval {
    /// Waits for the next moment and returns it. Moments that nobody waited for in time are
    /// left out, all but the last; the others keep their distance.
    ///
    /// May be dropped before it is ready without losing a moment.
    ///
    /// # Panics
    ///
    /// When polled on a thread that is not a worker.
    pub async fn tick(&mut self) -> Instant {
        (&mut self.sleep).await;
        let now = Instant::now();
        let due = self.sleep.deadline().unwrap_or(now);
        let last = last_moment(due, self.period, now);
        match last.checked_add(self.period) {
            Some(next) => self.sleep.reset(next),
            None => self.sleep.stop(),
        }
        last
    }

    /// How far apart the moments are.
    #[must_use]
    pub fn period(&self) -> Duration {
        self.period
    }
}

/// The last of the moments `due`, `due + period`, ... that is not after `now`.
fn last_moment(due: Instant, period: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let since = late % period.as_nanos();
    // What remains of a division is below the divisor, a duration.
    let since = Duration::from_nanos(u64::try_from(since).unwrap_or(u64::MAX));
    if late < period.as_nanos() { due } else { now.checked_sub(since).unwrap_or(due) }
}

/// The wheel cannot tell shorter ones apart.
const PERIOD_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_moment_that_is_due_is_itself() {
        let due = Instant::now();
        assert_eq!(last_moment(due, SECOND, due), due);
        assert_eq!(last_moment(due, SECOND, due + SECOND / 2), due);
    }

    #[test]
    fn missed_moments_are_left_out_and_the_phase_is_kept() {
        let due = Instant::now();
        assert_eq!(last_moment(due, SECOND, due + SECOND * 7 / 2), due + SECOND * 3);
    }

    #[test]
    fn a_clock_before_the_moment_is_harmless() {
        let due = Instant::now() + SECOND;
        assert_eq!(last_moment(due, SECOND, due - SECOND), due);
    }
}
