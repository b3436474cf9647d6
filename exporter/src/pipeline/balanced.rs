//! A set of endpoints that stand for one destination: connects the balancer with what carries
//! requests, and with the resolver.
//!
//! Each endpoint has as many carriers as the destination has lanes, so a lane always finds one;
//! a carrier that was never needed has opened no connection. An endpoint that leaves the set gets
//! nothing new: its idle carriers go at once, and with them their connections, and the busy ones
//! when they come back.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use spanwire_runtime::net::resolve;
use spanwire_runtime::spawn_pinned;
use spanwire_runtime::time::timeout;

use crate::model::{Failure, Outcome, Payload, Phase, Signal, Status};
use crate::pipeline::carrier::{Carrier, Collector, Target};
use crate::transport::balance::{Balance, Balancer, MemberId, Pick, Verdict, hash_of};

/// Endpoints that stand for one destination. They differ in where they are, and in nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Balanced {
    /// At least one.
    pub(crate) collectors: Vec<Collector>,
    pub(crate) balance: Balance,
    /// How often names are resolved, each of whose addresses then is an endpoint; none is not at
    /// all: then a name is one endpoint.
    pub(crate) resolve_every: Option<Duration>,
}

/// One a destination and signal, shared by its lanes.
pub(crate) struct Endpoints {
    signal: Signal,
    lanes: usize,
    /// What an endpoint asks for beyond this is not believed.
    pause_max: Duration,
    balanced: Arc<Balanced>,
    balancer: RefCell<Balancer<Collector>>,
    /// Carriers of each endpoint that are not in use.
    idle: RefCell<HashMap<MemberId, Vec<Carrier>>>,
    /// What was said by the last endpoint that asked for a pause.
    pause: RefCell<Option<Failure>>,
    resolution: Resolution,
}

/// What is known of the names' addresses.
struct Resolution {
    /// Of each configured endpoint, as far as known.
    addresses: RefCell<Vec<Vec<IpAddr>>>,
    /// When the names are resolved next; none while that is under way, or if it never is.
    due: Cell<Option<Instant>>,
    /// When they were last.
    last: Cell<Option<Instant>>,
    has_ended: Cell<bool>,
    /// Lanes that wait for the first answer.
    waiting: RefCell<Vec<Waker>>,
}

/// Carries the requests of one lane to the endpoints of a set.
pub(crate) struct BalancedCarrier {
    endpoints: Rc<Endpoints>,
    /// To whom the request belongs, if it does to anybody.
    preferred: Option<MemberId>,
    /// Where this request has failed.
    avoid: Vec<MemberId>,
}

impl Balanced {
    /// As [`Target::in_child`].
    pub(crate) fn in_child(&self) -> Result<Self, Box<dyn Error>> {
        let collectors =
            self.collectors.iter().map(Collector::in_child).collect::<Result<_, _>>()?;
        Ok(Self { collectors, ..self.clone() })
    }
}

impl Endpoints {
    /// No request is retried for longer than `budget`.
    pub(crate) fn new(
        balanced: Arc<Balanced>,
        signal: Signal,
        lanes: usize,
        budget: Duration,
    ) -> Rc<Self> {
        let resolution = Resolution {
            addresses: RefCell::new(vec![Vec::new(); balanced.collectors.len()]),
            due: Cell::new(balanced.resolve_every.map(|_| Instant::now())),
            last: Cell::new(None),
            has_ended: Cell::new(balanced.resolve_every.is_none()),
            waiting: RefCell::default(),
        };
        let endpoints = Self {
            signal,
            lanes,
            pause_max: budget.max(PAUSE_MAX_MIN),
            balancer: RefCell::new(Balancer::new(balanced.balance.clone())),
            balanced,
            idle: RefCell::default(),
            pause: RefCell::default(),
            resolution,
        };
        endpoints.join();
        Rc::new(endpoints)
    }

    pub(crate) fn signal(&self) -> Signal {
        self.signal
    }

    /// Whether records are to be sorted by whose trace they belong to.
    pub(crate) fn is_by_trace_id(&self) -> bool {
        self.signal != Signal::Metrics && self.balancer.borrow().is_by_trace_id()
    }

    /// To whom a trace belongs.
    pub(crate) fn owner_of(&self, trace_id: &[u8], now: Instant) -> Option<MemberId> {
        self.balancer.borrow().owner_of(trace_id, now)
    }

    pub(crate) fn carrier(self: &Rc<Self>) -> BalancedCarrier {
        BalancedCarrier { endpoints: Rc::clone(self), preferred: None, avoid: Vec::new() }
    }

    /// Tells the balancer of the endpoints as they are known now.
    fn join(&self) {
        let Balanced { collectors, balance, .. } = &*self.balanced;
        let addresses = self.resolution.addresses.borrow();
        let mut wanted = Vec::new();
        for (index, collector) in collectors.iter().enumerate() {
            let weight = match balance {
                Balance::Weighted(weights) => weights.get(index).copied().unwrap_or(1),
                _ => 1,
            };
            let known = addresses[index].iter().copied().map(Some);
            // A name that was never resolved stands for itself.
            let unknown = addresses[index].is_empty().then_some(None);
            for address in known.chain(unknown) {
                let endpoint = Collector { address, ..collector.clone() };
                let hash = hash_of(endpoint.label().as_bytes());
                wanted.push((endpoint, hash, weight));
            }
        }
        let mut balancer = self.balancer.borrow_mut();
        balancer.set(wanted, |known, new| {
            known.endpoint == new.endpoint && known.address == new.address
        });
        self.idle.borrow_mut().retain(|id, _| balancer.has(*id));
    }

    fn take(&self, id: MemberId) -> Option<Carrier> {
        let mut idle = self.idle.borrow_mut();
        let of_endpoint = idle.entry(id).or_insert_with(|| {
            let balancer = self.balancer.borrow();
            let make = |collector: &Collector| {
                let target = Target::Collector(Box::new(collector.clone()));
                Carrier::for_lanes(&target, self.signal, self.lanes, self.pause_max)
            };
            balancer.endpoint(id).map(make).unwrap_or_default()
        });
        of_endpoint.pop()
    }

    fn give_back(&self, id: MemberId, carrier: Carrier) {
        if self.balancer.borrow().has(id) {
            self.idle.borrow_mut().entry(id).or_default().push(carrier);
        }
    }

    fn ended(&self, id: MemberId, outcome: &Outcome, now: Instant) {
        let verdict = match verdict(outcome) {
            // As with one endpoint, later requests wait no longer than a retry could: without this
            // a mistaken date would silence the set for as long as it says.
            Verdict::Failed { pause: Some(pause) } => {
                Verdict::Failed { pause: Some(pause.min(self.pause_max)) }
            }
            verdict => verdict,
        };
        if let (Verdict::Failed { pause: Some(_) }, Outcome::Retry { why, .. }) = (verdict, outcome)
        {
            *self.pause.borrow_mut() = Some(why.clone());
        }
        self.balancer.borrow_mut().ended(id, verdict, now, fastrand::u32(..));
    }

    /// What it means for a lane that all endpoints have asked for a pause.
    fn paused(&self, until: Instant, now: Instant) -> Outcome {
        let why = self.pause.borrow().clone();
        let why = why.unwrap_or_else(|| Failure::new(Phase::Connect, "there is no endpoint now"));
        Outcome::Retry { not_before: Some(until.saturating_duration_since(now)), why }
    }

    /// Begins to resolve the names if it is time; waits for the answer if there never was one.
    async fn refresh(self: &Rc<Self>) {
        let (now, resolution) = (Instant::now(), &self.resolution);
        if resolution.due.get().is_some_and(|due| due <= now) {
            resolution.due.set(None);
            let endpoints = Rc::downgrade(self);
            let names = self.names();
            // It goes on if the attempt that began it does not.
            drop(spawn_pinned(move || look_up(names, endpoints)));
        }
        poll_fn(|cx| {
            if resolution.has_ended.get() {
                return Poll::Ready(());
            }
            resolution.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// A connection could not be opened: perhaps the addresses are old.
    fn resolve_soon(&self, now: Instant) {
        let Resolution { due, last, .. } = &self.resolution;
        if let (Some(at), Some(last)) = (due.get(), last.get()) {
            due.set(Some(at.min(last.checked_add(RESOLVE_PAUSE).unwrap_or(at)).max(now)));
        }
    }

    /// What is to be resolved, of each configured endpoint; none of one that is no name, or whose
    /// name is the proxy's business.
    fn names(&self) -> Vec<Option<(String, u16)>> {
        let name = |collector: &Collector| {
            let is_name = collector.endpoint.unix_path.is_none() && collector.proxy.is_none();
            is_name.then(|| (collector.endpoint.host.clone(), collector.endpoint.port))
        };
        self.balanced.collectors.iter().map(name).collect()
    }

    /// What the resolver said; of a name that it did not know, the addresses stay.
    fn resolved(&self, found: Vec<Option<Vec<IpAddr>>>) {
        let resolution = &self.resolution;
        for (known, found) in resolution.addresses.borrow_mut().iter_mut().zip(found) {
            if let Some(found) = found.filter(|found| !found.is_empty()) {
                *known = found;
            }
        }
        self.join();
        let now = Instant::now();
        resolution.last.set(Some(now));
        resolution.due.set(self.balanced.resolve_every.and_then(|every| now.checked_add(every)));
        resolution.has_ended.set(true);
        resolution.waiting.take().into_iter().for_each(Waker::wake);
    }
}

impl BalancedCarrier {
    pub(crate) fn endpoints(&self) -> Rc<Endpoints> {
        Rc::clone(&self.endpoints)
    }

    /// A new request begins, which belongs to `preferred` if to anybody.
    pub(crate) fn begin(&mut self, preferred: Option<MemberId>) {
        self.preferred = preferred;
        self.avoid.clear();
    }

    /// Tries once, by `deadline` at the latest. An endpoint that cannot be connected to is no
    /// attempt if there is another: nothing was sent.
    pub(crate) async fn attempt(
        &mut self,
        signal: Signal,
        payload: &Payload,
        deadline: Option<Instant>,
    ) -> Outcome {
        let endpoints = Rc::clone(&self.endpoints);
        let limit = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let limit = RESOLVE_LIMIT.min(limit.unwrap_or(RESOLVE_LIMIT));
        if timeout(limit, endpoints.refresh()).await.is_err() {
            // Names stand for themselves until there is an answer; nobody waits for it again.
            endpoints.resolution.has_ended.set(true);
        }
        // Each endpoint is tried once at most: a second time is a retry, and has to be waited for.
        let mut tried = Vec::new();
        loop {
            let now = Instant::now();
            let picked = endpoints.balancer.borrow_mut().pick(
                now,
                fastrand::u64(..),
                self.preferred,
                &[&self.avoid[..], &tried].concat(),
            );
            let id = match picked {
                Pick::To(id) => id,
                Pick::NotBefore(until) => return endpoints.paused(until, now),
            };
            let outcome = match endpoints.take(id) {
                Some(mut carrier) => {
                    // Boxed, because a carrier may hold another only so.
                    let outcome = Box::pin(carrier.attempt(signal, payload, deadline)).await;
                    endpoints.give_back(id, carrier);
                    outcome
                }
                None => Outcome::retry(Failure::new(Phase::Connect, "all connections are in use")),
            };
            let now = Instant::now();
            endpoints.ended(id, &outcome, now);
            let Outcome::Retry { why, .. } = &outcome else { return outcome };
            self.avoid(id);
            tried.push(id);
            let is_unsent = is_unsent(why);
            if is_unsent {
                endpoints.resolve_soon(now);
            }
            let has_time = deadline.is_none_or(|at| now < at);
            if !(is_unsent && has_time && self.has_other(now, &tried)) {
                return self.shared_pause(outcome, now);
            }
        }
    }

    /// Has the next attempt go elsewhere, if there is an elsewhere where this was not tried.
    fn avoid(&mut self, id: MemberId) {
        self.avoid.push(id);
        if self.avoid.len() >= self.endpoints.balancer.borrow().len() {
            self.avoid = vec![id];
        }
    }

    fn has_other(&self, now: Instant, tried: &[MemberId]) -> bool {
        let avoid = [&self.avoid[..], tried].concat();
        self.endpoints.balancer.borrow().has_other(now, &avoid)
    }

    /// The pause that one endpoint has asked for is kept by the balancer; the lanes keep one if
    /// all endpoints have.
    fn shared_pause(&self, outcome: Outcome, now: Instant) -> Outcome {
        let Outcome::Retry { why, .. } = outcome else { return outcome };
        let until = self.endpoints.balancer.borrow().unpaused_at(now);
        let not_before = until.map(|until| until.saturating_duration_since(now));
        Outcome::Retry { not_before, why }
    }
}

/// Resolves all names, one after the other.
async fn look_up(names: Vec<Option<(String, u16)>>, endpoints: Weak<Endpoints>) {
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let addresses = match name {
            Some((host, port)) => resolve(&host, port).await.ok(),
            None => None,
        };
        found.push(addresses.map(|addresses| {
            let mut addresses: Vec<_> = addresses.into_iter().map(|it| it.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
            addresses.truncate(ADDRESSES_MAX);
            addresses
        }));
    }
    if let Some(endpoints) = endpoints.upgrade() {
        endpoints.resolved(found);
    }
}

/// What an outcome says of the endpoint. A refusal of this very request is no sign of ill health.
fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Delivered { .. } => Verdict::Well,
        Outcome::Retry { why, .. } if why.phase == Phase::Headers => Verdict::Unknown,
        Outcome::Retry { not_before, .. } => {
            Verdict::Failed { pause: not_before.filter(|pause| !pause.is_zero()) }
        }
        Outcome::Refused { why } => match (why.phase, why.status) {
            (
                Phase::Answer,
                Some(Status::Http(500..) | Status::Grpc(GRPC_UNKNOWN | GRPC_INTERNAL)),
            ) => Verdict::Failed { pause: None },
            (Phase::Answer, _) => Verdict::Well,
            (Phase::Headers | Phase::Encode | Phase::Size, _) => Verdict::Unknown,
            _ => Verdict::Failed { pause: None },
        },
    }
}

/// Whether the peer can have seen nothing of the request.
fn is_unsent(why: &Failure) -> bool {
    matches!(why.phase, Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Proxy)
}

/// What gRPC calls the like of a 500, and an answer that is none (otlp's wire2).
const GRPC_UNKNOWN: u8 = 2;
const GRPC_INTERNAL: u8 = 13;
/// How long the first requests wait for the first addresses.
const RESOLVE_LIMIT: Duration = Duration::from_secs(5);
/// However short the retries are, an endpoint that asks for a pause of this length gets it: what
/// comes meanwhile goes to others.
const PAUSE_MAX_MIN: Duration = Duration::from_secs(30);
/// Names are not resolved more often than this, whatever fails.
const RESOLVE_PAUSE: Duration = Duration::from_secs(1);
/// Addresses of one name that are used.
const ADDRESSES_MAX: usize = 64;

#[cfg(test)]
mod tests;
