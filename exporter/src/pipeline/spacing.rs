//! How far apart requests begin while others are under way (pure).
//!
//! ```text
//!            one round trip
//! lane 1  ├──────────────────┤├─────           A lane takes one request a round trip. If each were sent
//! lane 2     ├──────────────────┤├──           as soon as there is something, all lanes would leave
//! lane 3        ├──────────────────┤           together with little, and what comes next would wait
//! lane 4           ├─────────────────          for all of a round trip.
//!         ├──┤ a lane's share of it
//! ```
//!
//! So the next request waits for company until a share of the round trip has passed since the last
//! one, unless it can grow no more or somebody waits for it: Nagle's algorithm (RFC 896) for
//! several requests at a time, and with a limit. A near collector answers sooner than that.

use std::time::{Duration, Instant};

/// Of one destination.
#[derive(Debug, Default)]
pub(crate) struct Spacing {
    /// How long requests take; none before the first answer.
    round_trip: Option<Duration>,
    /// When the last request began.
    begun_at: Option<Instant>,
}

impl Spacing {
    /// A request begins.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.begun_at = Some(now);
    }

    /// A request was answered at the first attempt, after `took`: smoothed as TCP does it (RFC 6298,
    /// section 2).
    pub(crate) fn answered(&mut self, took: Duration) {
        self.round_trip = Some(match self.round_trip {
            None => took,
            Some(known) => known - known / SMOOTHING + took / SMOOTHING,
        });
    }

    /// Until when the next request waits for company while others of `lanes` are under way, which
    /// may be over; none if it does not wait.
    pub(crate) fn next_at(&self, lanes: usize) -> Option<Instant> {
        let share = self.round_trip? / u32::try_from(lanes).ok().filter(|lanes| *lanes > 0)?;
        let at = self.begun_at?.checked_add(share.min(WAIT_MAX))?;
        (share >= WAIT_MIN).then_some(at)
    }
}

/// A new sample counts for one part of so many.
const SMOOTHING: u32 = 8;
/// Timers are no finer.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// A collector that takes long to answer is no reason to keep records from it for long.
const WAIT_MAX: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn answered_in(took: Duration, now: Instant) -> Spacing {
        let mut spacing = Spacing::default();
        spacing.answered(took);
        spacing.begin(now);
        spacing
    }

    #[test]
    fn a_request_waits_for_a_lanes_share_of_the_round_trip_since_the_last_one_began() {
        let now = Instant::now();
        let spacing = answered_in(20 * MS, now);
        assert_eq!(spacing.next_at(4), Some(now + 5 * MS));
        assert_eq!(spacing.next_at(2), Some(now + 10 * MS));
    }

    #[test]
    fn nothing_waits_for_a_near_collector_or_one_that_never_answered() {
        let now = Instant::now();
        assert_eq!(answered_in(3 * MS, now).next_at(4), None);
        let mut unanswered = Spacing::default();
        unanswered.begin(now);
        assert_eq!(unanswered.next_at(4), None);
    }

    #[test]
    fn nothing_waits_long_for_a_collector_that_takes_long() {
        let now = Instant::now();
        let spacing = answered_in(Duration::MAX, now);
        assert_eq!(spacing.next_at(2), Some(now + WAIT_MAX));
    }

    #[test]
    fn the_round_trip_follows_what_requests_take() {
        let now = Instant::now();
        let mut spacing = answered_in(400 * MS, now);
        (0..100).for_each(|_| spacing.answered(20 * MS));
        let wait = spacing.next_at(4).unwrap() - now;
        assert!((5 * MS..6 * MS).contains(&wait), "{wait:?}");
    }
}
