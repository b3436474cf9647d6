//! Whether the buffer is full (pure: takes `now`), so that its user hears once when records begin
//! to be dropped and once when that is over.
//!
//! ```text
//!          a drop                       no drop for a while, or the pipe is empty
//!  Room ──────────► Full ────────────────────────────────────────────► Room
//!       tell: begun      (each drop meanwhile makes the while begin anew)  tell: over, how many
//! ```

use std::time::{Duration, Instant};

/// What is known of it.
#[derive(Debug)]
pub(crate) struct Fullness {
    /// Drops seen so far, since ever.
    seen: u64,
    /// How long no drop means room.
    quiet: Duration,
    episode: Option<Episode>,
}

/// Since the buffer has been full.
#[derive(Debug)]
struct Episode {
    /// Drops before it.
    before: u64,
    last_drop: Instant,
}

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Records are being dropped.
    Begun,
    /// It is over; so many were dropped meanwhile.
    Over { dropped: u64 },
}

impl Fullness {
    /// There is room again once there was no drop for `quiet`.
    pub(crate) fn new(quiet: Duration) -> Self {
        Self { seen: 0, quiet, episode: None }
    }

    /// There were `drops` drops since ever. Call again at [`deadline`](Self::deadline).
    pub(crate) fn observe(&mut self, drops: u64, now: Instant) -> Option<Change> {
        if drops > self.seen {
            let before = self.episode.as_ref().map_or(self.seen, |episode| episode.before);
            let is_new = self.episode.is_none();
            (self.seen, self.episode) = (drops, Some(Episode { before, last_drop: now }));
            return is_new.then_some(Change::Begun);
        }
        let is_over = self.deadline().is_some_and(|at| at <= now);
        if is_over { self.end() } else { None }
    }

    /// The pipe was found empty, or delivery ends: it is over, if it had begun.
    pub(crate) fn end(&mut self) -> Option<Change> {
        let episode = self.episode.take()?;
        Some(Change::Over { dropped: self.seen - episode.before })
    }

    /// When it will be over unless there is another drop.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.episode.as_ref().and_then(|episode| episode.last_drop.checked_add(self.quiet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_secs(1);

    #[test]
    fn the_first_drop_begins_it_and_a_quiet_while_ends_it_with_the_count() {
        let (start, mut fullness) = (Instant::now(), Fullness::new(QUIET));
        assert_eq!(fullness.observe(0, start), None);
        assert_eq!(fullness.observe(3, start), Some(Change::Begun));
        assert_eq!(fullness.observe(5, start + QUIET / 2), None);
        assert_eq!(fullness.deadline(), Some(start + QUIET / 2 + QUIET));
        assert_eq!(fullness.observe(5, start + QUIET), None);
        let over = fullness.observe(5, start + QUIET * 2);
        assert_eq!(over, Some(Change::Over { dropped: 5 }));
        assert_eq!((fullness.deadline(), fullness.observe(5, start + QUIET * 3)), (None, None));
    }

    #[test]
    fn each_time_counts_its_own_drops() {
        let (now, mut fullness) = (Instant::now(), Fullness::new(QUIET));
        assert_eq!(fullness.end(), None);
        assert_eq!(fullness.observe(7, now), Some(Change::Begun));
        assert_eq!(fullness.end(), Some(Change::Over { dropped: 7 }));
        assert_eq!(fullness.observe(9, now), Some(Change::Begun));
        assert_eq!(fullness.end(), Some(Change::Over { dropped: 2 }));
    }
}
