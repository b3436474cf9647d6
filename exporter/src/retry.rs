//! When to try again: exponential backoff with jitter, `Retry-After` as a minimum, and a budget.
//!
//! Pure: the caller brings the clock and the random number.
//!
//! The OTLP specification asks for exponential backoff with random jitter between attempts (H11,
//! H12) and for `Retry-After` to be honoured (H10). Half of each step is fixed and half is random
//! ("equal jitter"), so a fleet that lost its collector together does not come back together and
//! a single client still waits long enough to be of use. For the same reason those who have waited
//! for the end of one pause that a peer asked for do not all go on in the same instant.

use std::time::{Duration, Instant};

/// How to retry. Plain data; each field says what it costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// The first step (default 500 ms). Shorter recovers faster and presses a sick peer harder.
    pub(crate) initial: Duration,
    /// The longest step (default 30 s): how long a recovered peer may wait for us.
    pub(crate) step_max: Duration,
    /// How long a request may be retried, from its first attempt (default 5 min). Zero never
    /// retries; `Duration::MAX` retries for ever. Its bytes stay in the buffer meanwhile.
    pub(crate) budget: Duration,
    /// What may be held for retries at once, in bytes (default: no limit but the buffer).
    pub(crate) bytes_max: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { initial: INITIAL, step_max: STEP_MAX, budget: BUDGET, bytes_max: usize::MAX }
    }
}

impl Policy {
    /// When to go on after a pause of all that ends at `end`: half of a first step later at most.
    /// `random` is any uniformly distributed number.
    pub(crate) fn after_pause(&self, end: Instant, random: u32) -> Instant {
        end.checked_add(portion(self.initial.min(self.step_max) / 2, random)).unwrap_or(end)
    }
}

/// What is held for the retries of one destination.
#[derive(Debug, Default)]
pub(crate) struct Held {
    bytes: usize,
}

impl Held {
    /// Makes room for a request of `bytes`, if then not more than `policy` allows is held. What
    /// was there before stays: it has waited longest.
    pub(crate) fn admit(&mut self, bytes: usize, policy: &Policy) -> bool {
        let sum = self.bytes.saturating_add(bytes);
        let is_admitted = sum <= policy.bytes_max;
        if is_admitted {
            self.bytes = sum;
        }
        is_admitted
    }

    /// A request of `bytes` that was admitted has ended.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// What to do after a retryable failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Decision {
    /// Try again at this time.
    RetryAt(Instant),
    /// The budget is spent, or the peer asked for more time than is left of it.
    GiveUp,
}

/// The retries of one request.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    policy: Policy,
    /// The next step before jitter; at most `policy.step_max`.
    step: Duration,
    /// When the budget ends; `None` is never.
    deadline: Option<Instant>,
}

impl Backoff {
    /// For a request whose first attempt began at `started`.
    pub(crate) fn new(policy: Policy, started: Instant) -> Self {
        let deadline = started.checked_add(policy.budget);
        Self { policy, step: policy.initial.min(policy.step_max), deadline }
    }

    /// Decides after a failure at `now`. `random` is any uniformly distributed number.
    ///
    /// The wait is at least `not_before`, and the next step grows from what was waited. A step of
    /// our own is cut short at the deadline, so that the budget always ends with an attempt.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        not_before: Option<Duration>,
        random: u32,
    ) -> Decision {
        let asked = not_before.unwrap_or(Duration::ZERO);
        if self.is_spent(now) || !self.allows(now, asked) {
            return Decision::GiveUp;
        }
        let wait = asked.max(self.step / 2).saturating_add(portion(self.step / 2, random));
        self.step = grow(self.step.max(asked)).min(self.policy.step_max);
        match (now.checked_add(wait), self.deadline) {
            (Some(at), Some(deadline)) => Decision::RetryAt(at.min(deadline)),
            (Some(at), None) => Decision::RetryAt(at),
            (None, Some(deadline)) => Decision::RetryAt(deadline),
            (None, None) => Decision::GiveUp,
        }
    }

    /// Whether an attempt at this time is within the budget.
    pub(crate) fn allows_until(&self, at: Instant) -> bool {
        self.deadline.is_none_or(|deadline| at <= deadline)
    }

    fn is_spent(&self, now: Instant) -> bool {
        self.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Whether waiting for `asked` ends within the budget.
    fn allows(&self, now: Instant, asked: Duration) -> bool {
        let Some(deadline) = self.deadline else { return true };
        now.checked_add(asked).is_some_and(|at| at <= deadline)
    }
}

/// `whole * random / 2^32`, without overflow.
fn portion(whole: Duration, random: u32) -> Duration {
    let nanos = (whole.as_nanos() * u128::from(random)) >> 32;
    u64::try_from(nanos).map_or(whole, Duration::from_nanos)
}

/// 1.6 times `step`: the factor of gRPC's connection backoff.
fn grow(step: Duration) -> Duration {
    step.saturating_mul(8) / 5
}

/// First step. gRPC and the SDKs use 1 s; half of it halves what a restart of a local collector costs.
const INITIAL: Duration = Duration::from_millis(500);
/// Longest step, as in the Collector's own exporters.
const STEP_MAX: Duration = Duration::from_secs(30);
/// Default budget, as in the Collector's own exporters (`max_elapsed_time`).
const BUDGET: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wait(decision: Decision, now: Instant) -> Duration {
        match decision {
            Decision::RetryAt(at) => at - now,
            Decision::GiveUp => panic!("gave up"),
        }
    }

    #[test]
    fn steps_grow_by_1_6_up_to_the_longest() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Policy { budget: Duration::MAX, ..Policy::default() }, now);
        let waits: Vec<_> = (0..11)
            .map(|_| wait(backoff.next(now, None, u32::MAX), now).as_millis().next_multiple_of(10))
            .collect();
        assert_eq!(waits, [500, 800, 1280, 2050, 3280, 5250, 8390, 13430, 21480, 30000, 30000]);
    }

    #[test]
    fn half_of_a_step_is_random() {
        let now = Instant::now();
        let mut least = Backoff::new(Policy::default(), now);
        assert_eq!(wait(least.next(now, None, 0), now), INITIAL / 2);
        let mut middle = Backoff::new(Policy::default(), now);
        assert_eq!(wait(middle.next(now, None, 1 << 31), now), INITIAL * 3 / 4);
    }

    #[test]
    fn retry_after_is_a_minimum_and_later_steps_grow_from_it() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Policy::default(), now);
        let asked = Duration::from_secs(10);
        assert!(wait(backoff.next(now, Some(asked), 0), now) >= asked);
        assert_eq!(wait(backoff.next(now, None, 0), now), Duration::from_secs(8));
    }

    #[test]
    fn the_budget_ends_with_an_attempt_at_its_deadline() {
        let now = Instant::now();
        let budget = Duration::from_millis(600);
        let mut backoff = Backoff::new(Policy { budget, ..Policy::default() }, now);
        assert_eq!(wait(backoff.next(now, None, 0), now), Duration::from_millis(250));
        let later = now + Duration::from_millis(250);
        assert_eq!(backoff.next(later, None, u32::MAX), Decision::RetryAt(now + budget));
        assert_eq!(backoff.next(now + budget, None, 0), Decision::GiveUp);
    }

    #[test]
    fn a_peer_that_asks_for_more_than_the_budget_is_given_up_at_once() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Policy::default(), now);
        assert_eq!(backoff.next(now, Some(BUDGET * 2), 0), Decision::GiveUp);
        assert_eq!(backoff.next(now, Some(Duration::MAX), 0), Decision::GiveUp);
    }

    #[test]
    fn a_zero_budget_never_retries() {
        let now = Instant::now();
        let policy = Policy { budget: Duration::ZERO, ..Policy::default() };
        assert_eq!(Backoff::new(policy, now).next(now, None, 0), Decision::GiveUp);
    }

    #[test]
    fn who_waited_for_the_same_pause_does_not_go_on_in_the_same_instant() {
        let (policy, end) = (Policy::default(), Instant::now());
        assert_eq!(policy.after_pause(end, 0), end);
        assert_eq!(policy.after_pause(end, 1 << 31), end + INITIAL / 4);
        assert!(policy.after_pause(end, u32::MAX) <= end + INITIAL / 2);
        let endless = Policy { initial: Duration::MAX, step_max: Duration::MAX, ..policy };
        assert!(endless.after_pause(end, u32::MAX) >= end, "and no overflow");
    }

    #[test]
    fn what_waits_for_retries_is_bounded_and_the_first_to_come_stays() {
        let policy = Policy { bytes_max: 100, ..Policy::default() };
        let mut held = Held::default();
        assert!(held.admit(60, &policy));
        assert!(!held.admit(41, &policy));
        assert!(held.admit(40, &policy));
        held.release(60);
        assert!(held.admit(60, &policy));
        assert!(!Held::default().admit(101, &policy));
        assert!(held.admit(usize::MAX, &Policy::default()));
    }

    fn durations() -> impl Strategy<Value = Duration> {
        prop_oneof![
            Just(Duration::ZERO),
            Just(Duration::MAX),
            any::<u64>().prop_map(Duration::from_nanos),
            any::<u64>().prop_map(Duration::from_secs),
        ]
    }

    proptest! {
        #[test]
        fn no_policy_overflows_or_retries_outside_its_budget(
            initial in durations(),
            step_max in durations(),
            budget in durations(),
            asks in prop::collection::vec((prop::option::of(durations()), any::<u32>()), 1..20),
        ) {
            let started = Instant::now();
            let mut now = started;
            let mut backoff = Backoff::new(Policy { initial, step_max, budget, ..Policy::default() }, started);
            for (asked, random) in asks {
                let Decision::RetryAt(at) = backoff.next(now, asked, random) else { break };
                prop_assert!(at >= now);
                prop_assert!(at - now >= asked.unwrap_or(Duration::ZERO));
                prop_assert!(at - started <= budget);
                now = at;
            }
        }
    }
}
