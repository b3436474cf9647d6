//! When to ask the peer for a sign of life, and when it is dead.
//!
//! Pure: the caller brings the clock, sends the pings and tells of what it hears.

use std::time::{Duration, Instant};

/// How to look after a connection on which nothing is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeepaliveConfig {
    /// Nothing was heard for so long: a ping is sent. Shorter finds a dead peer earlier; many
    /// servers close a connection that pings more often than every five minutes.
    pub(crate) interval: Duration,
    /// Nothing was heard for so long after a ping: the connection is dead.
    pub(crate) timeout: Duration,
    /// Also while no request is under way. An idle exporter wakes up for it.
    pub(crate) while_idle: bool,
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Keepalive {
    config: KeepaliveConfig,
    /// A ping was sent, and nothing was heard since.
    pinged_at: Option<Instant>,
    /// Requests are under way since.
    busy_since: Option<Instant>,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing until then, or until a request begins.
    Wait(Option<Instant>),
    /// Send a ping, then ask again.
    Ping,
    /// Close the connection.
    Dead,
}

impl Keepalive {
    pub(super) fn new(config: KeepaliveConfig) -> Self {
        Self { config, pinged_at: None, busy_since: None }
    }

    /// What to do at `now`, if something was last heard at `heard_at`, and requests are under way
    /// or not.
    pub(super) fn step(&mut self, now: Instant, heard_at: Instant, is_busy: bool) -> Step {
        if !is_busy {
            self.busy_since = None;
        }
        let busy_since = is_busy.then(|| *self.busy_since.get_or_insert(now));
        self.pinged_at = self.pinged_at.filter(|at| *at > heard_at);
        if let Some(at) = self.pinged_at {
            return match at.checked_add(self.config.timeout) {
                Some(end) if now >= end => Step::Dead,
                end => Step::Wait(end),
            };
        }
        if !is_busy && !self.config.while_idle {
            return Step::Wait(None);
        }
        // A connection that was idle is not asked as soon as it is used.
        let since = busy_since.map_or(heard_at, |since| since.max(heard_at));
        match since.checked_add(self.config.interval) {
            Some(due) if now >= due => {
                self.pinged_at = Some(now);
                Step::Ping
            }
            due => Step::Wait(due),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);
    const TIMEOUT: Duration = Duration::from_secs(3);
    const SECOND: Duration = Duration::from_secs(1);

    fn keepalive(while_idle: bool) -> Keepalive {
        Keepalive::new(KeepaliveConfig { interval: INTERVAL, timeout: TIMEOUT, while_idle })
    }

    #[test]
    fn a_peer_that_says_nothing_is_pinged_after_the_interval_and_dead_after_the_timeout() {
        let (start, mut keepalive) = (Instant::now(), keepalive(false));
        let due = start + INTERVAL;
        assert_eq!(keepalive.step(start, start, true), Step::Wait(Some(due)));
        assert_eq!(keepalive.step(due, start, true), Step::Ping);
        assert_eq!(keepalive.step(due, start, true), Step::Wait(Some(due + TIMEOUT)));
        assert_eq!(keepalive.step(due + TIMEOUT, start, true), Step::Dead);
    }

    #[test]
    fn whatever_is_heard_is_a_sign_of_life() {
        let (start, mut keepalive) = (Instant::now(), keepalive(false));
        let due = start + INTERVAL;
        keepalive.step(start, start, true);
        assert_eq!(keepalive.step(due, start + SECOND, true), Step::Wait(Some(due + SECOND)));
        assert_eq!(keepalive.step(due + SECOND, start + SECOND, true), Step::Ping);
        let heard = due + 2 * SECOND;
        assert_eq!(keepalive.step(heard, heard, true), Step::Wait(Some(heard + INTERVAL)));
    }

    #[test]
    fn an_idle_connection_is_left_alone_unless_asked_for() {
        let start = Instant::now();
        let later = start + 100 * INTERVAL;
        assert_eq!(keepalive(false).step(later, start, false), Step::Wait(None));
        assert_eq!(keepalive(true).step(later, start, false), Step::Ping);
    }

    #[test]
    fn a_connection_that_was_idle_is_not_pinged_as_soon_as_it_is_used() {
        let (start, mut keepalive) = (Instant::now(), keepalive(false));
        let later = start + 100 * INTERVAL;
        assert_eq!(keepalive.step(later, start, true), Step::Wait(Some(later + INTERVAL)));
    }

    #[test]
    fn times_without_end_do_not_overflow() {
        let now = Instant::now();
        let config =
            KeepaliveConfig { interval: Duration::MAX, timeout: Duration::MAX, while_idle: true };
        assert_eq!(Keepalive::new(config).step(now, now, true), Step::Wait(None));
    }
}
