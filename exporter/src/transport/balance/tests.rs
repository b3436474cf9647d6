use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const FAILED: Verdict = Verdict::Failed { pause: None };

/// A balancer of endpoints 0, 1, 2 ... with these weights.
fn balancer(balance: Balance, weights: &[u32]) -> Balancer<usize> {
    let mut balancer = Balancer::new(balance);
    set(&mut balancer, weights.iter().copied().enumerate());
    balancer
}

fn set(balancer: &mut Balancer<usize>, wanted: impl IntoIterator<Item = (usize, u32)>) {
    let wanted = wanted.into_iter().map(|(endpoint, weight)| {
        (endpoint, hash_of(format!("endpoint {endpoint}").as_bytes()), weight)
    });
    balancer.set(wanted, |known, new| known == new);
}

/// Picks, and says which endpoint it was.
fn pick(balancer: &mut Balancer<usize>, now: Instant, random: u64) -> (MemberId, usize) {
    match balancer.pick(now, random, None, &[]) {
        Pick::To(id) => (id, *balancer.endpoint(id).unwrap()),
        Pick::NotBefore(at) => panic!("not before {:?}", at - now),
    }
}

fn picks(balancer: &mut Balancer<usize>, count: usize) -> Vec<usize> {
    let now = Instant::now();
    let mut pick_and_end = |_| {
        let (id, endpoint) = pick(balancer, now, fastrand::u64(..));
        balancer.ended(id, Verdict::Well, now, 0);
        endpoint
    };
    (0..count).map(&mut pick_and_end).collect()
}

/// Fails the endpoint of `id` until its breaker is open.
fn break_it(balancer: &mut Balancer<usize>, id: MemberId, now: Instant) {
    for _ in 0..FAILURES_MAX {
        balancer.member(id).unwrap().began();
        balancer.ended(id, FAILED, now, u32::MAX);
    }
}

fn id_of(balancer: &Balancer<usize>, endpoint: usize) -> MemberId {
    balancer.here().find(|member| member.endpoint == endpoint).unwrap().id
}

#[test]
fn round_robin_takes_each_in_turn() {
    assert_eq!(picks(&mut balancer(Balance::RoundRobin, &[1; 3]), 7), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn weights_are_kept_and_spread_evenly() {
    let weights = vec![5, 1, 1];
    let mut balancer = balancer(Balance::Weighted(weights.clone()), &weights);
    assert_eq!(picks(&mut balancer, 7), [0, 0, 1, 0, 2, 0, 0]);
    let many = picks(&mut balancer, 700);
    let count = |endpoint| many.iter().filter(|it| **it == endpoint).count();
    assert_eq!((count(0), count(1), count(2)), (500, 100, 100));
}

#[test]
fn the_one_with_the_fewest_under_way_is_next() {
    let (now, mut balancer) = (Instant::now(), balancer(Balance::LeastInFlight, &[1; 3]));
    let first: Vec<_> = (0..3).map(|_| pick(&mut balancer, now, 0)).collect();
    let mut endpoints: Vec<_> = first.iter().map(|(_, endpoint)| *endpoint).collect();
    endpoints.sort_unstable();
    assert_eq!(endpoints, [0, 1, 2], "each gets one before any gets two");
    let (id, idle) = first[1];
    balancer.ended(id, Verdict::Well, now, 0);
    assert_eq!(pick(&mut balancer, now, u64::MAX).1, idle);
}

#[test]
fn any_endpoint_may_be_picked_at_random() {
    let mut balancer = balancer(Balance::Random, &[1; 4]);
    let now = Instant::now();
    for (quarter, random) in [0, 1 << 62, 1 << 63, u64::MAX].into_iter().enumerate() {
        assert_eq!(pick(&mut balancer, now, random).1, quarter);
    }
}

#[test]
fn an_endpoint_that_fails_three_times_in_a_row_is_left_alone_until_one_probe_succeeds() {
    let (now, mut balancer) = (Instant::now(), balancer(Balance::RoundRobin, &[1; 2]));
    let (sick, well) = (id_of(&balancer, 0), id_of(&balancer, 1));
    break_it(&mut balancer, sick, now);
    assert_eq!(picks(&mut balancer, 3), [1, 1, 1]);
    // Its time has come: one request is the probe, and no other meanwhile.
    let later = now + SECOND;
    assert_eq!(balancer.pick(later, 0, None, &[]), Pick::To(sick));
    assert_eq!(balancer.pick(later, 0, None, &[]), Pick::To(well));
    balancer.ended(sick, FAILED, later, u32::MAX);
    // It failed: twice the time.
    let almost = later + 2 * SECOND - Duration::from_nanos(1);
    assert_eq!(balancer.pick(almost, 0, None, &[]), Pick::To(well));
    assert_eq!(balancer.pick(later + 2 * SECOND, 0, None, &[]), Pick::To(sick));
    balancer.ended(sick, Verdict::Well, later, 0);
    assert_eq!(balancer.member(sick).unwrap().breaker, Breaker::Closed { failures: 0 });
}

#[test]
fn failures_that_are_not_in_a_row_open_nothing() {
    let (now, mut balancer) = (Instant::now(), balancer(Balance::RoundRobin, &[1; 2]));
    let id = id_of(&balancer, 0);
    for verdict in [FAILED, FAILED, Verdict::Well, FAILED, FAILED] {
        balancer.member(id).unwrap().began();
        balancer.ended(id, verdict, now, 0);
    }
    assert_eq!(balancer.member(id).unwrap().breaker, Breaker::Closed { failures: 2 });
}

#[test]
fn a_retry_goes_elsewhere_if_there_is_an_elsewhere() {
    let (now, mut balancer) = (Instant::now(), balancer(Balance::RoundRobin, &[1; 2]));
    let (first, second) = (id_of(&balancer, 0), id_of(&balancer, 1));
    for _ in 0..3 {
        assert_eq!(balancer.pick(now, 0, Some(first), &[first]), Pick::To(second));
    }
    break_it(&mut balancer, second, now);
    assert!(!balancer.has_other(now, &[first]));
    assert_eq!(balancer.pick(now, 0, None, &[first]), Pick::To(first));
}

#[test]
fn if_all_are_open_the_first_to_be_due_is_probed_at_once() {
    let (now, mut balancer) = (Instant::now(), balancer(Balance::RoundRobin, &[1; 2]));
    let (first, second) = (id_of(&balancer, 0), id_of(&balancer, 1));
    break_it(&mut balancer, second, now);
    break_it(&mut balancer, first, now + SECOND / 2);
    assert_eq!(balancer.pick(now + SECOND / 2, 0, None, &[]), Pick::To(second));
    assert_eq!(balancer.pick(now + SECOND / 2, 0, None, &[]), Pick::To(first));
    // Both probes are under way; there is still no dead stop.
    assert!(matches!(balancer.pick(now + SECOND / 2, 0, None, &[]), Pick::To(_)));
}

#[test]
fn a_pause_is_kept_for_its_endpoint_alone_and_by_all_if_all_have_asked() {
    let (now, mut balancer) = (Instant::now(), balancer(Balance::RoundRobin, &[1; 2]));
    let (first, second) = (id_of(&balancer, 0), id_of(&balancer, 1));
    let pause = |seconds| Verdict::Failed { pause: Some(SECOND * seconds) };
    assert_eq!(balancer.pick(now, 0, Some(first), &[]), Pick::To(first));
    balancer.ended(first, pause(10), now, 0);
    assert_eq!(balancer.unpaused_at(now), None);
    assert_eq!(balancer.pick(now, 0, Some(first), &[]), Pick::To(second));
    balancer.ended(second, pause(5), now, 0);
    assert_eq!(balancer.unpaused_at(now), Some(now + 5 * SECOND));
    assert_eq!(balancer.pick(now, 0, None, &[]), Pick::NotBefore(now + 5 * SECOND));
    assert_eq!(balancer.pick(now + 5 * SECOND, 0, None, &[]), Pick::To(second));
}

#[test]
fn a_probe_that_finds_out_nothing_is_followed_by_another() {
    let (now, mut balancer) = (Instant::now(), balancer(Balance::RoundRobin, &[1; 2]));
    let sick = id_of(&balancer, 0);
    break_it(&mut balancer, sick, now);
    let later = now + SECOND;
    assert_eq!(balancer.pick(later, 0, None, &[]), Pick::To(sick));
    balancer.ended(sick, Verdict::Unknown, later, 0);
    assert_eq!(balancer.pick(later, 0, None, &[]), Pick::To(sick));
}

#[test]
fn an_endpoint_that_leaves_gets_nothing_new_and_stays_until_nothing_is_under_way() {
    let (now, mut balancer) = (Instant::now(), balancer(Balance::RoundRobin, &[1; 3]));
    let (leaving, staying) = (id_of(&balancer, 0), id_of(&balancer, 1));
    assert_eq!(balancer.pick(now, 0, Some(leaving), &[]), Pick::To(leaving));
    break_it(&mut balancer, staying, now);
    set(&mut balancer, [(1, 1), (3, 1)]);
    assert!(!balancer.has(leaving));
    assert_eq!(balancer.endpoint(leaving), Some(&0), "its request has not ended");
    assert_eq!(picks(&mut balancer, 3), [3, 3, 3], "who stays keeps its health");
    balancer.ended(leaving, Verdict::Well, now, 0);
    assert_eq!(balancer.endpoint(leaving), None);
    // To want nothing, as when a name has no address for a moment, changes nothing.
    set(&mut balancer, []);
    assert_eq!(balancer.len(), 2);
    // Who comes back is somebody else.
    set(&mut balancer, [(0, 1), (1, 1), (3, 1)]);
    assert_ne!(id_of(&balancer, 0), leaving);
}

/// Other machines, and other versions, have to agree on whose a trace is.
#[test]
fn the_owner_of_a_trace_is_the_same_for_ever() {
    assert_eq!(hash_of(b""), 0xf52a_15e9_a9b5_e89b);
    let balancer = balancer(Balance::ByTraceId, &[1; 4]);
    let owner = |trace: u128| {
        let id = balancer.owner_of(&trace.to_be_bytes(), Instant::now()).unwrap();
        *balancer.endpoint(id).unwrap()
    };
    let owners: Vec<_> = (0..12).map(|trace| owner(trace * 0x0123_4567_89ab_cdef_0123)).collect();
    assert_eq!(owners, OWNERS);
}

const OWNERS: [usize; 12] = [3, 3, 3, 2, 3, 0, 2, 2, 1, 0, 0, 2];

fn owners(balancer: &Balancer<usize>, traces: u128, now: Instant) -> Vec<usize> {
    let owner = |trace: u128| *balancer.endpoint(owner_id(balancer, trace, now)).unwrap();
    (0..traces).map(owner).collect()
}

fn owner_id(balancer: &Balancer<usize>, trace: u128, now: Instant) -> MemberId {
    balancer.owner_of(&trace.to_be_bytes(), now).unwrap()
}

#[test]
fn traces_are_spread_evenly_and_only_those_of_an_endpoint_that_goes_move() {
    const TRACES: u128 = 20_000;
    let now = Instant::now();
    for count in [2, 3, 5, 10] {
        let mut balancer = balancer(Balance::ByTraceId, &vec![1; count]);
        let before = owners(&balancer, TRACES, now);
        let fair = TRACES as usize / count;
        for endpoint in 0..count {
            let own = before.iter().filter(|owner| **owner == endpoint).count();
            assert!(own.abs_diff(fair) < fair / 5, "{endpoint} of {count} has {own}, not {fair}");
        }
        // One is gone: what it had is spread, and nothing else moves.
        set(&mut balancer, (1..count).map(|endpoint| (endpoint, 1)));
        let after = owners(&balancer, TRACES, now);
        let moved = |before: &usize, after: &usize| before != after;
        assert!(before.iter().zip(&after).all(|(old, new)| !moved(old, new) || *old == 0));
        // It is back: so is all that it had.
        set(&mut balancer, (0..count).map(|endpoint| (endpoint, 1)));
        assert_eq!(owners(&balancer, TRACES, now), before);
        // One is sick: the same again.
        let sick = id_of(&balancer, 0);
        break_it(&mut balancer, sick, now);
        assert_eq!(owners(&balancer, TRACES, now), after);
    }
}

/// What may happen to a balancer.
#[derive(Clone, Debug)]
enum Step {
    /// A request begins, which prefers one and avoids others.
    Begin { random: u64, preferred: Option<usize>, avoid: Vec<usize> },
    /// One of those under way ends.
    End { which: usize, verdict: Verdict, random: u32 },
    /// Time passes.
    Wait(Duration),
    /// These are the endpoints from now on.
    Set(Vec<usize>),
}

/// What is known of an endpoint, said as plainly as can be: a log of what happened.
#[derive(Clone, Debug, Default)]
struct Oracle {
    in_flight: usize,
    failures: u32,
    is_open: bool,
    is_probed: bool,
    opened_again: u32,
    open_until: Option<Instant>,
    paused_until: Option<Instant>,
}

impl Oracle {
    fn is_well(&self, now: Instant) -> bool {
        !self.is_paused(now) && !self.is_open
    }

    fn is_due(&self, now: Instant) -> bool {
        let has_come = self.open_until.is_some_and(|until| until <= now);
        !self.is_paused(now) && self.is_open && !self.is_probed && has_come
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    fn begin(&mut self) {
        self.in_flight += 1;
        self.is_probed |= self.is_open;
    }

    fn end(&mut self, verdict: Verdict, now: Instant, random: u32) {
        self.in_flight -= 1;
        match verdict {
            Verdict::Well => {
                let (in_flight, paused_until) = (self.in_flight, self.paused_until);
                *self = Self { in_flight, paused_until, ..Self::default() };
            }
            Verdict::Failed { pause } => {
                let until = pause.map(|pause| now + pause);
                self.paused_until = self.paused_until.max(until);
                match (self.is_open, self.is_probed) {
                    (false, _) => {
                        self.failures += 1;
                        self.is_open = self.failures == 3;
                    }
                    (true, true) => self.opened_again += 1,
                    (true, false) => return,
                }
                if self.is_open {
                    self.is_probed = false;
                    let seconds = f64::from(30.min(1_u32 << self.opened_again.min(6)));
                    let wait = seconds / 2.0 * (1.0 + f64::from(random) / f64::from(u32::MAX));
                    self.open_until = Some(now + Duration::from_secs_f64(wait));
                }
            }
            Verdict::Unknown => {
                if self.is_probed {
                    (self.is_probed, self.open_until) = (false, Some(now));
                }
            }
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let endpoint = 0..5_usize;
    let pause =
        prop_oneof![3 => Just(None), 1 => (0..20_u64).prop_map(|n| Some(SECOND * n as u32))];
    let verdict = prop_oneof![
        2 => Just(Verdict::Well),
        4 => pause.prop_map(|pause| Verdict::Failed { pause }),
        1 => Just(Verdict::Unknown),
    ];
    let avoid = prop::collection::vec(endpoint.clone(), 0..3);
    prop_oneof![
        6 => (any::<u64>(), prop::option::of(endpoint.clone()), avoid)
            .prop_map(|(random, preferred, avoid)| Step::Begin { random, preferred, avoid }),
        6 => (any::<usize>(), verdict, any::<u32>())
            .prop_map(|(which, verdict, random)| Step::End { which, verdict, random }),
        3 => (0..5000_u64).prop_map(|millis| Step::Wait(Duration::from_millis(millis))),
        1 => prop::collection::btree_set(endpoint, 0..5)
            .prop_map(|wanted| Step::Set(wanted.into_iter().collect())),
    ]
}

fn balances() -> impl Strategy<Value = Balance> {
    prop_oneof![
        Just(Balance::RoundRobin),
        Just(Balance::Weighted(vec![3, 1, 2])),
        Just(Balance::LeastInFlight),
        Just(Balance::Random),
        Just(Balance::ByTraceId),
    ]
}

proptest! {
    /// Whatever happens, a pick is one of those that the rules allow.
    #[test]
    fn picks_are_what_a_naive_oracle_allows(
        balance in balances(),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut now = Instant::now();
        let mut balancer = balancer(balance, &[3, 1, 2]);
        // By id, because who comes back is somebody else.
        let mut known: Vec<(MemberId, usize, Oracle)> = Vec::new();
        let mut under_way: Vec<MemberId> = Vec::new();
        let mut wanted = vec![0, 1, 2];
        for step in steps {
            for member in &balancer.members {
                if !known.iter().any(|(id, ..)| *id == member.id) {
                    known.push((member.id, member.endpoint, Oracle::default()));
                }
            }
            let here: Vec<_> = known.iter().filter(|(id, ..)| balancer.has(*id)).cloned().collect();
            let endpoints: std::collections::BTreeSet<_> = here.iter().map(|it| it.1).collect();
            prop_assert!(endpoints.iter().eq(wanted.iter()));
            match step {
                Step::Begin { random, preferred, avoid } => {
                    let id_of = |endpoint: &usize| here.iter().find(|it| it.1 == *endpoint).map(|it| it.0);
                    let avoid: Vec<_> = avoid.iter().filter_map(id_of).collect();
                    let preferred = preferred.as_ref().and_then(id_of);
                    let is_free = |it: &&(MemberId, usize, Oracle)| !avoid.contains(&it.0);
                    let good = |it: &&(MemberId, usize, Oracle)| it.2.is_well(now) || it.2.is_due(now);
                    let open = |it: &&(MemberId, usize, Oracle)| !it.2.is_paused(now);
                    let ids = |chosen: Vec<&(MemberId, usize, Oracle)>| -> Vec<MemberId> {
                        chosen.into_iter().map(|it| it.0).collect()
                    };
                    let due = ids(here.iter().filter(is_free).filter(|it| it.2.is_due(now)).collect());
                    let best = ids(here.iter().filter(is_free).filter(good).collect());
                    let second = ids(here.iter().filter(good).collect());
                    let last = ids(here.iter().filter(open).collect());
                    prop_assert_eq!(balancer.has_other(now, &avoid), !best.is_empty());
                    match balancer.pick(now, random, preferred, &avoid) {
                        Pick::To(id) => {
                            let allowed = match preferred.filter(|id| best.contains(id)) {
                                Some(preferred) => vec![preferred],
                                None if !due.is_empty() => due,
                                None if !best.is_empty() => best,
                                None if !second.is_empty() => second,
                                None => last,
                            };
                            prop_assert!(allowed.contains(&id), "{id:?} is not of {allowed:?}");
                            known.iter_mut().find(|it| it.0 == id).unwrap().2.begin();
                            under_way.push(id);
                        }
                        Pick::NotBefore(at) => {
                            let ends = here.iter().map(|it| it.2.paused_until.unwrap());
                            prop_assert_eq!(Some(at), ends.min());
                            prop_assert!(at > now);
                        }
                    }
                }
                Step::End { which, verdict, random } if !under_way.is_empty() => {
                    let id = under_way.swap_remove(which % under_way.len());
                    known.iter_mut().find(|it| it.0 == id).unwrap().2.end(verdict, now, random);
                    balancer.ended(id, verdict, now, random);
                }
                Step::End { .. } => {}
                Step::Wait(time) => now += time,
                Step::Set(endpoints) => {
                    set(&mut balancer, endpoints.iter().map(|endpoint| (*endpoint, 1)));
                    if !endpoints.is_empty() {
                        wanted = endpoints;
                    }
                }
            }
            let held: usize = balancer.members.iter().map(|member| member.in_flight).sum();
            prop_assert_eq!(held, under_way.len());
        }
    }
}
