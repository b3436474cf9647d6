//! Which of several endpoints carries the next request (pure: `now`, random numbers and outcomes
//! go in, the pick comes out).
//!
//! Health is learnt from requests alone; nothing is sent to find it out. Each endpoint has a
//! circuit breaker of its own:
//!
//! ```text
//!            FAILURES_MAX failures in a row
//!   Closed ─────────────────────────────────► Open until a time
//!     ▲                                         │ that time has come, or there is no other:
//!     │ the probe succeeds                      ▼ one request goes through as the probe
//!     └──────────────────────────────────── Half-open ──► the probe fails: Open, for longer
//! ```
//!
//! Besides, an endpoint that asks for a pause (`Retry-After`) gets one, whatever its breaker says:
//! OTLP demands it (G10). So [`pick`](Balancer::pick) prefers, in this order: an endpoint whose
//! probe is due (one request is risked for it); those that are well; those of them where this
//! request has failed; and, if all are open, the one whose time comes first, at once: to send
//! nothing until a timer ends would be to give up what may be back already, and the backoff of the
//! request bounds how often that is tried. Only if all have asked for a pause is there nothing to
//! pick but a time.

use std::time::{Duration, Instant};

/// How the next endpoint is chosen among those that are well.
///
/// # Examples
///
/// ```
/// use spanwire::{Balance, Exporter};
///
/// let exporter = Exporter::builder()
///     .endpoints(["http://a.internal:4318", "http://b.internal:4318"])
///     .balance(Balance::LeastInFlight)
///     .build()?;
/// # Ok::<(), spanwire::BuildError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// In these proportions, one weight for each endpoint in their order, spread evenly: of the
    /// weights 2 and 1, the endpoints get `a b a`. Weights are 1 to 1000.
    Weighted(Vec<u32>),
    /// The one with the fewest requests under way.
    LeastInFlight,
    /// Any.
    Random,
    /// Spans and log records of one trace go to the same endpoint, as a collector that samples by
    /// whole traces needs it. Rendezvous hashing: when an endpoint comes or goes, only the traces
    /// that it gains or loses move. Metrics, and log records without a trace, go to any.
    ///
    /// Each batch is cut into one request for each endpoint, and its records are copied once to
    /// stand together.
    ByTraceId,
}

/// Names an endpoint of a balancer; never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MemberId(u64);

/// Chooses endpoints. `E` is what an endpoint is to the caller.
#[derive(Debug)]
pub(crate) struct Balancer<E> {
    balance: Balance,
    members: Vec<Member<E>>,
    next_id: u64,
    /// Where round robin goes on.
    cursor: usize,
}

#[derive(Debug)]
struct Member<E> {
    id: MemberId,
    endpoint: E,
    /// What stands for it in hashing, the same in every process.
    hash: u64,
    weight: i64,
    /// Smooth weighted round robin: grows by the weight, and is paid for by being picked.
    credit: i64,
    in_flight: usize,
    breaker: Breaker,
    /// It has asked for a pause until then.
    paused_until: Option<Instant>,
    /// Nothing new goes there; it is gone once nothing is under way.
    is_leaving: bool,
}

/// Whether an endpoint is to be trusted. Only [`Member::began`] and [`Member::ended`] move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Breaker {
    /// It is. So many requests in a row have failed.
    Closed { failures: u32 },
    /// It is not, until a time; how long this lasts grows with each probe that fails.
    Open { until: Instant, pause: Duration },
    /// One request is on its way to find out; `pause` is how long it was open before.
    HalfOpen { pause: Duration },
}

/// Where the next request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Pick {
    /// To this endpoint, which counts it as under way until [`Balancer::ended`].
    To(MemberId),
    /// Nowhere before this time: all have asked for a pause.
    NotBefore(Instant),
}

/// What a request says of its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It answered, and has taken the request or refused it for good.
    Well,
    /// It may take the request later; perhaps it asked for a pause.
    Failed { pause: Option<Duration> },
    /// Nothing: the request was not sent for a reason of our own.
    Unknown,
}

impl<E> Balancer<E> {
    /// A balancer of nothing; see [`set`](Self::set).
    pub(crate) fn new(balance: Balance) -> Self {
        Self { balance, members: Vec::new(), next_id: 0, cursor: 0 }
    }

    /// Has the endpoints `wanted`, each with what it hashes as and its weight. Those that are here
    /// already (`is_same`) keep their health and what is under way; those that are not wanted any
    /// more get nothing new and leave. To want nothing changes nothing.
    pub(crate) fn set(
        &mut self,
        wanted: impl IntoIterator<Item = (E, u64, u32)>,
        is_same: impl Fn(&E, &E) -> bool,
    ) {
        let mut wanted = wanted.into_iter().peekable();
        if wanted.peek().is_none() {
            return;
        }
        self.members.iter_mut().for_each(|member| member.is_leaving = true);
        for (endpoint, hash, weight) in wanted {
            let mut known = self.members.iter_mut();
            match known.find(|member| is_same(&member.endpoint, &endpoint)) {
                Some(known) => {
                    (known.is_leaving, known.weight) = (false, i64::from(weight.max(1)));
                }
                None => self.add(endpoint, hash, weight),
            }
        }
        self.forget_left();
    }

    fn add(&mut self, endpoint: E, hash: u64, weight: u32) {
        let id = MemberId(self.next_id);
        self.next_id += 1;
        self.members.push(Member {
            id,
            endpoint,
            hash,
            weight: i64::from(weight.max(1)),
            credit: 0,
            in_flight: 0,
            breaker: Breaker::Closed { failures: 0 },
            paused_until: None,
            is_leaving: false,
        });
    }

    /// The endpoint, until it has left and nothing is under way to it.
    pub(crate) fn endpoint(&self, id: MemberId) -> Option<&E> {
        self.members.iter().find(|member| member.id == id).map(|member| &member.endpoint)
    }

    /// Whether new requests may go to `id`.
    pub(crate) fn has(&self, id: MemberId) -> bool {
        self.here().any(|member| member.id == id)
    }

    /// How many endpoints there are to choose from.
    pub(crate) fn len(&self) -> usize {
        self.here().count()
    }

    /// Whether requests are to be cut by trace.
    pub(crate) fn is_by_trace_id(&self) -> bool {
        self.balance == Balance::ByTraceId
    }

    /// Where the next request goes: to `preferred` if that is well or due for a probe, and not to
    /// those in `avoid` if there is another. `random` is any uniformly distributed number.
    pub(crate) fn pick(
        &mut self,
        now: Instant,
        random: u64,
        preferred: Option<MemberId>,
        avoid: &[MemberId],
    ) -> Pick {
        let Some(best) = self.here().map(|member| member.rank(now, avoid)).min() else {
            return Pick::NotBefore(now);
        };
        if best == Rank::Paused {
            return Pick::NotBefore(self.unpaused_at(now).unwrap_or(now));
        }
        let ranked = self.here().filter(|member| member.rank(now, avoid) == best);
        let ids: Vec<_> = ranked.map(|member| member.id).collect();
        let is_good = |id| self.rank_of(id, now, avoid).is_some_and(|rank| rank <= Rank::Well);
        let id = match (preferred.filter(|id| is_good(*id)), best) {
            (Some(preferred), _) => preferred,
            (None, Rank::Well | Rank::WellAvoided) => self.choose(&ids, random),
            (None, _) => self.first_due(&ids),
        };
        if let Some(member) = self.member(id) {
            member.began();
        }
        Pick::To(id)
    }

    /// Whether a request that is to avoid these would go to another endpoint that is well, or due
    /// for a probe.
    pub(crate) fn has_other(&self, now: Instant, avoid: &[MemberId]) -> bool {
        self.here().any(|member| member.rank(now, avoid) <= Rank::Well)
    }

    /// When the first pause ends, if all endpoints have asked for one.
    pub(crate) fn unpaused_at(&self, now: Instant) -> Option<Instant> {
        let ends = || self.here().map(|member| member.paused_until.filter(|until| *until > now));
        if ends().any(|end| end.is_none()) { None } else { ends().flatten().min() }
    }

    /// A request to `id` has ended. `random` is any uniformly distributed number.
    pub(crate) fn ended(&mut self, id: MemberId, verdict: Verdict, now: Instant, random: u32) {
        if let Some(member) = self.member(id) {
            member.ended(verdict, now, random);
        }
        self.forget_left();
    }

    /// Which endpoint the records of a trace belong to: the one with the highest score for it
    /// among those that can be trusted, or among all if none can.
    pub(crate) fn owner_of(&self, trace_id: &[u8], now: Instant) -> Option<MemberId> {
        let key = hash_of(trace_id);
        let score = |member: &&Member<E>| (mix(key ^ member.hash), member.id);
        let trusted = self.here().filter(|member| member.rank(now, &[]) <= Rank::Well);
        let owner = trusted.max_by_key(score).or_else(|| self.here().max_by_key(score));
        owner.map(|member| member.id)
    }

    /// By the strategy, among those that are as good as each other.
    fn choose(&mut self, ids: &[MemberId], random: u64) -> MemberId {
        match self.balance {
            Balance::RoundRobin => self.next_in_turn(ids),
            Balance::Weighted(_) => self.next_by_weight(ids),
            Balance::LeastInFlight => self.least_in_flight(ids, random),
            Balance::Random | Balance::ByTraceId => any_of(ids, random),
        }
    }

    fn next_in_turn(&mut self, ids: &[MemberId]) -> MemberId {
        let count = self.members.len();
        let mut turns = (0..count).map(|step| (self.cursor + step) % count);
        let turn = turns.find(|index| ids.contains(&self.members[*index].id)).unwrap_or(0);
        self.cursor = (turn + 1) % count;
        self.members[turn].id
    }

    /// Smooth weighted round robin, as nginx has it: each gains its weight, and the richest pays
    /// the sum of all.
    fn next_by_weight(&mut self, ids: &[MemberId]) -> MemberId {
        let chosen = || |member: &&mut Member<E>| ids.contains(&member.id);
        let mut sum = 0;
        for member in self.members.iter_mut().filter(chosen()) {
            member.credit += member.weight;
            sum += member.weight;
        }
        // The first of several that are as rich as each other.
        let richest = self.members.iter_mut().filter(chosen()).rev().max_by_key(|it| it.credit);
        richest.map_or(ids[0], |richest| {
            richest.credit -= sum;
            richest.id
        })
    }

    /// Of several that have equally few, any.
    fn least_in_flight(&self, ids: &[MemberId], random: u64) -> MemberId {
        let chosen = || self.members.iter().filter(|member| ids.contains(&member.id));
        let least = chosen().map(|member| member.in_flight).min().unwrap_or(0);
        let idlest = chosen().filter(|member| member.in_flight == least);
        any_of(&idlest.map(|member| member.id).collect::<Vec<_>>(), random)
    }

    /// Of those that are open, the one whose time comes first; at best it has come.
    fn first_due(&self, ids: &[MemberId]) -> MemberId {
        let chosen = self.members.iter().filter(|member| ids.contains(&member.id));
        let first = chosen.min_by_key(|member| match member.breaker {
            Breaker::Open { until, .. } => (false, Some(until)),
            // A probe is under way already, so it is not less than another's.
            Breaker::HalfOpen { .. } | Breaker::Closed { .. } => (true, None),
        });
        first.map_or(ids[0], |member| member.id)
    }

    /// Those that new requests may go to.
    fn here(&self) -> impl Iterator<Item = &Member<E>> {
        self.members.iter().filter(|member| !member.is_leaving)
    }

    fn rank_of(&self, id: MemberId, now: Instant, avoid: &[MemberId]) -> Option<Rank> {
        self.here().find(|member| member.id == id).map(|member| member.rank(now, avoid))
    }

    fn member(&mut self, id: MemberId) -> Option<&mut Member<E>> {
        self.members.iter_mut().find(|member| member.id == id)
    }

    fn forget_left(&mut self) {
        self.members.retain(|member| !member.is_leaving || member.in_flight > 0);
    }
}

/// How willingly a request goes to an endpoint, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Its probe is due. First, or nobody would ever probe it while others are well.
    Due,
    Well,
    /// Well, or due for a probe; but this request has failed there.
    WellAvoided,
    /// Open, and its time has not come; or its probe is under way.
    Open,
    /// It has asked for a pause.
    Paused,
}

impl<E> Member<E> {
    fn rank(&self, now: Instant, avoid: &[MemberId]) -> Rank {
        let is_avoided = avoid.contains(&self.id);
        match self.breaker {
            _ if self.paused_until.is_some_and(|until| until > now) => Rank::Paused,
            Breaker::Closed { .. } if is_avoided => Rank::WellAvoided,
            Breaker::Closed { .. } => Rank::Well,
            Breaker::Open { until, .. } if until <= now && is_avoided => Rank::WellAvoided,
            Breaker::Open { until, .. } if until <= now => Rank::Due,
            Breaker::Open { .. } | Breaker::HalfOpen { .. } => Rank::Open,
        }
    }

    fn began(&mut self) {
        self.in_flight += 1;
        if let Breaker::Open { pause, .. } = self.breaker {
            self.breaker = Breaker::HalfOpen { pause };
        }
    }

    fn ended(&mut self, verdict: Verdict, now: Instant, random: u32) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match verdict {
            // Also if it began before the breaker opened: it is the latest that is known.
            Verdict::Well => self.breaker = Breaker::Closed { failures: 0 },
            Verdict::Failed { pause } => {
                let until = pause.and_then(|pause| now.checked_add(pause));
                self.paused_until = self.paused_until.max(until);
                self.breaker = self.breaker.failed(now, random);
            }
            Verdict::Unknown => self.breaker = self.breaker.unanswered(now),
        }
    }
}

impl Breaker {
    fn failed(self, now: Instant, random: u32) -> Self {
        match self {
            Self::Closed { failures } if failures + 1 < FAILURES_MAX => {
                Self::Closed { failures: failures + 1 }
            }
            Self::Closed { .. } => Self::opened(now, PAUSE_MIN, random),
            Self::HalfOpen { pause } => Self::opened(now, (pause * 2).min(PAUSE_MAX), random),
            // It began before this opened, and says nothing new.
            Self::Open { .. } => self,
        }
    }

    /// Half of the pause is random, so that many exporters do not probe together.
    fn opened(now: Instant, pause: Duration, random: u32) -> Self {
        let wait = pause / 2 + (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX));
        Self::Open { until: now.checked_add(wait).unwrap_or(now), pause }
    }

    /// The probe has found out nothing: the next request is one.
    fn unanswered(self, now: Instant) -> Self {
        match self {
            Self::HalfOpen { pause } => Self::Open { until: now, pause },
            other => other,
        }
    }
}

fn any_of(ids: &[MemberId], random: u64) -> MemberId {
    let index = (u128::from(random) * ids.len() as u128) >> 64;
    // Below the length, which so cannot be 0.
    ids[index as usize]
}

/// What bytes hash as: the same in every process and every version, because exporters on
/// different machines have to agree on whose a trace is. FNV-1a, mixed.
pub(crate) fn hash_of(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The finalizer of SplitMix64: each bit of the input is in each bit of the output.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Failures in a row that open a breaker: one is bad luck, two may be a restart.
const FAILURES_MAX: u32 = 3;
/// How long a breaker is open at first.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// How long at most: as long as a retry may take to find out that a collector is back.
const PAUSE_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
