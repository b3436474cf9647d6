//! The wheel against a sorted map, under a clock that the test moves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// What a program does to a wheel.
#[derive(Clone, Debug)]
enum Step {
    /// Arms a timer this many nanoseconds ahead.
    Arm(u64),
    /// Disarms one of the timers ever armed, expired or not.
    Cancel(usize),
    /// Disarms one, and arms it anew this far ahead.
    Rearm(usize, u64),
    /// Time passes; zero is a clock that stands still.
    Pass(u64),
    /// Time passes up to the wheel's own next deadline.
    PassToDeadline,
}

/// Spans of time in nanoseconds, of every magnitude that the levels tell apart.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        1..3_000_000_u64,
        (0..10_000_u64).prop_map(|millis| millis * 1_000_000),
        (0..54_u32, any::<u64>()).prop_map(|(bits, noise)| (1 << bits) + noise % (1 << bits)),
        // Around the edges of levels, and beyond the top one (2 years).
        (0..8_u32, 0..3_u64).prop_map(|(level, off)| ((1 << (6 * level)) + off - 1) * 1_000_000),
        Just(100 * 365 * 86_400 * 1_000_000_000),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => span().prop_map(Step::Arm),
        1 => (0..100_usize).prop_map(Step::Cancel),
        1 => (0..100_usize, span()).prop_map(|(which, ahead)| Step::Rearm(which, ahead)),
        2 => span().prop_map(Step::Pass),
        3 => Just(Step::PassToDeadline),
    ]
}

/// The wheel, and the obviously right version of it.
struct Model {
    wheel: Wheel<usize>,
    start: Instant,
    now: Instant,
    /// What the wheel has been told of the time, in whole ticks.
    told: u64,
    /// Armed timers by tick.
    armed: BTreeMap<(u64, usize), ()>,
    /// The keys of all timers ever armed, with their ticks.
    keys: Vec<(Key, u64)>,
}

impl Model {
    fn new() -> Self {
        let start = Instant::now();
        let wheel = Wheel::new(start);
        Self { wheel, start, now: start, told: 0, armed: BTreeMap::new(), keys: Vec::new() }
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Arm(ahead) => self.arm(ahead),
            Step::Cancel(which) => self.cancel(which),
            Step::Rearm(which, ahead) => {
                self.cancel(which);
                self.arm(ahead);
            }
            Step::Pass(span) => self.pass(self.now + Duration::from_nanos(span)),
            Step::PassToDeadline => {
                if let Some(deadline) = self.wheel.next_deadline() {
                    self.pass(deadline.max(self.now));
                }
            }
        }
        self.check();
    }

    fn arm(&mut self, ahead: u64) {
        let deadline = self.now + Duration::from_nanos(ahead);
        let nanos = (deadline - self.start).as_nanos();
        let tick = (u64::try_from(nanos.div_ceil(1_000_000)).unwrap()).max(self.told + 1);
        let id = self.keys.len();
        self.keys.push((self.wheel.insert(deadline, id), tick));
        self.armed.insert((tick, id), ());
    }

    fn cancel(&mut self, which: usize) {
        if self.keys.is_empty() {
            return;
        }
        let id = which % self.keys.len();
        let (key, tick) = self.keys[id];
        let was_armed = self.armed.remove(&(tick, id)).is_some();
        assert_eq!(self.wheel.get_mut(key).copied(), was_armed.then_some(id));
        assert_eq!(self.wheel.cancel(key), was_armed.then_some(id));
    }

    fn pass(&mut self, to: Instant) {
        self.now = to;
        self.told = u64::try_from((to - self.start).as_millis()).unwrap().max(self.told);
        let mut expired = Vec::new();
        self.wheel.advance(to, &mut expired);
        let ticks: Vec<_> = expired.iter().map(|id| self.keys[*id].1).collect();
        assert!(ticks.is_sorted(), "out of order: {ticks:?}");
        let later = self.armed.split_off(&(self.told + 1, 0));
        let due: Vec<_> = std::mem::replace(&mut self.armed, later).into_keys().collect();
        expired.sort_unstable();
        let mut due: Vec<_> = due.into_iter().map(|(_, id)| id).collect();
        due.sort_unstable();
        assert_eq!(expired, due);
    }

    /// What holds between any two steps.
    fn check(&self) {
        assert_eq!(self.wheel.armed, self.armed.len());
        assert_eq!(self.wheel.is_empty(), self.armed.is_empty());
        let next = self.wheel.next_deadline().map(|at| at - self.start);
        let first = self.armed.first_key_value().map(|((tick, _), ())| *tick);
        assert_eq!(next.is_some(), first.is_some());
        if let (Some(next), Some(first)) = (next, first) {
            assert!(next <= Duration::from_millis(first), "would wake too late");
            assert!(next > Duration::from_millis(self.told), "would wake again for nothing");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_program_sees_the_same_as_with_a_sorted_map(
        program in prop::collection::vec(step(), 1..60),
    ) {
        let mut model = Model::new();
        for step in &program {
            model.run(step);
        }
    }
}

#[test]
fn a_timer_never_fires_early() {
    let start = Instant::now();
    let mut wheel = Wheel::new(start);
    wheel.insert(start + Duration::from_nanos(1_000_001), ());
    let mut expired = Vec::new();
    wheel.advance(start + Duration::from_nanos(1_999_999), &mut expired);
    assert!(expired.is_empty());
    wheel.advance(start + Duration::from_millis(2), &mut expired);
    assert_eq!(expired.len(), 1);
}

#[test]
fn a_far_timer_moves_down_at_most_five_times_a_turn_of_the_wheel() {
    let start = Instant::now();
    let mut wheel = Wheel::new(start);
    let deadline = start + Duration::from_millis((1 << 35) + 12_345_678);
    wheel.insert(deadline, ());
    let mut expired = Vec::new();
    let mut wakes = 0;
    while let Some(next) = wheel.next_deadline() {
        wheel.advance(next, &mut expired);
        wakes += 1;
    }
    assert_eq!(expired.len(), 1);
    assert!(wakes <= LEVELS, "{wakes} wakes");
}

#[test]
fn a_clock_that_goes_back_stands_still() {
    let start = Instant::now() + Duration::from_secs(10);
    let mut wheel = Wheel::new(start);
    wheel.insert(start + Duration::from_millis(5), ());
    let mut expired = Vec::new();
    wheel.advance(start + Duration::from_millis(4), &mut expired);
    wheel.advance(start - Duration::from_secs(5), &mut expired);
    assert!(expired.is_empty());
    wheel.advance(start + Duration::from_millis(5), &mut expired);
    assert_eq!(expired.len(), 1);
}

#[test]
fn entries_are_used_again() {
    let start = Instant::now();
    let mut wheel = Wheel::new(start);
    let mut stale = None;
    for round in 0..100 {
        let key = wheel.insert(start + Duration::from_secs(1), round);
        assert_eq!(wheel.cancel(key), Some(round));
        assert_ne!(stale.replace(key), Some(key));
    }
    assert_eq!(wheel.timers.len(), 1);
}

/// A wake before the deadline costs a system call, and an exporter's thread has few timers.
#[test]
fn few_timers_wake_for_their_own_ticks_alone_and_many_not_too_late() {
    let start = Instant::now();
    for count in [1, 3, LOOKED_AT_MAX as u64, LOOKED_AT_MAX as u64 + 1, 1000] {
        let mut wheel = Wheel::new(start);
        // Five of them in each slot of level 1 and more.
        let at = |n: u64| start + Duration::from_millis(1000 + 13 * (n * 7 % count));
        for n in 0..count {
            wheel.insert(at(n), ());
        }
        let (mut wakes, mut expired) = (0, Vec::new());
        while let Some(next) = wheel.next_deadline() {
            wheel.advance(next, &mut expired);
            wakes += 1;
        }
        assert_eq!(expired.len() as u64, count);
        assert!(count > 3 || wakes == count, "{wakes} wakes for {count}");
        assert!(wakes <= count + count / 4 + 1, "{wakes} wakes for {count}");
    }
}
