//! What became of the records that an exporter was handed, in the terms of the specification's
//! self-metrics (semantic conventions 1.44, `model/otel/metrics.yaml`).
//!
//! ```text
//!  processor: the pipe, batches that wait │ exporter: lanes, and submissions from the first
//!  ───────────────────────────────────────┼──────────────────────────────────────────────────
//!  queue.size          processed (success)│ inflight      exported, operation.duration
//!       ──────────────────────────────────► begin ──────────► end, once an operation
//! ```
//!
//! Nothing here is touched by a thread that ends a record: the exporter's thread comes here a few
//! times a request, whoever reads the figures when it reads them.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{Failure, Protocol, Signal, Status};
use crate::pipeline::ledger::{Fate, Life};
use crate::stats::{ByCause, Durations, ExporterStats, Server};

/// Keeps the figures of one exporter: the deliveries of one signal to one destination.
pub(crate) struct Observer {
    signal: Signal,
    pub(crate) component: Component,
    server: Option<Server>,
    tallies: Mutex<Tallies>,
}

/// The name of a part of the pipeline.
#[derive(Clone, Debug)]
pub(crate) struct Component {
    pub(crate) kind: &'static str,
    /// The kind, and a number in this process.
    pub(crate) name: Arc<str>,
}

/// How an operation ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) fate: Fate,
    /// Why it was not delivered, or what the peer remarked.
    pub(crate) why: Option<String>,
    /// Of the last attempt; none if that was a success.
    pub(crate) error_type: Option<Cow<'static, str>>,
    /// What the last attempt was answered with, if it was.
    pub(crate) status: Option<Status>,
    /// When the first attempt began.
    pub(crate) started: Instant,
}

/// An operation that has ended, for those who listen: one request, retries included.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "otel_0_33"), allow(dead_code, reason = "a meter reads it"))]
pub(crate) struct Operation {
    pub(crate) duration: Duration,
    /// None is a full success.
    pub(crate) error_type: Option<Cow<'static, str>>,
    pub(crate) status: Option<Status>,
}

/// Hears of each operation, on the exporter's thread.
pub(crate) type Listener = Arc<dyn Fn(&Operation) + Send + Sync>;

#[derive(Default)]
struct Tallies {
    in_flight: u64,
    /// What came out of the pipe and was handed over.
    handed: u64,
    handed_bytes: u64,
    /// Handed over, and too large for any request.
    oversize: u64,
    exported: Causes,
    durations: Durations,
    listeners: Vec<Listener>,
}

/// What the processor in front of an exporter wants to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Handed {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) in_flight: u64,
    /// Too large for any request.
    pub(crate) oversize: u64,
}

impl Observer {
    /// Of an exporter that sends with `protocol`, or writes a file if there is none.
    pub(crate) fn new(signal: Signal, protocol: Option<Protocol>, server: Option<Server>) -> Self {
        let component = Component::exporter(signal, protocol);
        Self { signal, component, server, tallies: Mutex::default() }
    }

    /// A request of `records` records in `bytes` from the pipe was handed to the exporter.
    pub(crate) fn begin(&self, records: u64, bytes: usize) {
        let mut tallies = self.lock();
        tallies.handed += records;
        tallies.handed_bytes += bytes as u64;
        tallies.in_flight += records;
    }

    /// A caller has handed over `records` records by itself.
    pub(crate) fn begin_submission(&self, records: u64) {
        self.lock().in_flight += records;
    }

    /// A caller's `records` records were turned away.
    pub(crate) fn turn_away(&self, records: u64, why: &'static str) {
        self.lock().exported.add(Some(why.into()), records);
    }

    /// `records` records that were in flight have ended without an operation of their own.
    pub(crate) fn give_up(&self, records: u64, why: &'static str) {
        let mut tallies = self.lock();
        tallies.settle(records);
        if why == OVERSIZE {
            tallies.oversize += records;
        }
        tallies.exported.add(Some(why.into()), records);
    }

    /// An operation with `records` records has ended.
    pub(crate) fn end(&self, records: u64, ended: &Ended) {
        let duration = ended.started.elapsed();
        let mut tallies = self.lock();
        tallies.settle(records);
        let error_type = tallies.count(records, ended);
        tallies.durations.record(duration);
        let listeners = tallies.listeners.clone();
        drop(tallies);
        let operation = Operation { duration, error_type, status: ended.status };
        tell(&listeners, &operation);
    }

    /// An operation was cut off; its records stay in flight until the end of the delivery, which
    /// tells what became of them.
    pub(crate) fn cut_off(&self, started: Instant) {
        let duration = started.elapsed();
        let mut tallies = self.lock();
        tallies.durations.record(duration);
        let listeners = tallies.listeners.clone();
        drop(tallies);
        let error_type = Some(Cow::Borrowed(SHUTDOWN));
        tell(&listeners, &Operation { duration, error_type, status: None });
    }

    /// From now on `listener` hears of each operation.
    #[cfg_attr(not(feature = "otel_0_33"), allow(dead_code, reason = "a meter listens"))]
    pub(crate) fn listen(&self, listener: Listener) {
        self.lock().listeners.push(listener);
    }

    #[cfg_attr(not(feature = "otel_0_33"), allow(dead_code, reason = "a meter names it"))]
    pub(crate) fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    pub(crate) fn handed(&self) -> Handed {
        let tallies = self.lock();
        let Tallies { handed: records, handed_bytes: bytes, in_flight, oversize, .. } = *tallies;
        Handed { records, bytes, in_flight, oversize }
    }

    /// The figures now. What was in flight when the delivery ended has ended with it.
    pub(crate) fn stats(&self, life: Life) -> ExporterStats {
        let tallies = self.lock();
        let (mut exported, mut in_flight) = (tallies.exported.clone(), tallies.in_flight);
        if let Some(why) = end_of(life) {
            exported.add(Some(why.into()), std::mem::take(&mut in_flight));
        }
        ExporterStats {
            signal: self.signal,
            component_type: self.component.kind,
            component_name: Arc::clone(&self.component.name),
            server: self.server.clone(),
            in_flight,
            exported: exported.0,
            durations: tallies.durations.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Tallies> {
        self.tallies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tallies {
    fn settle(&mut self, records: u64) {
        debug_assert!(records <= self.in_flight, "settled twice");
        self.in_flight = self.in_flight.saturating_sub(records);
    }

    /// Counts the records of an operation; returns what makes it no full success.
    fn count(&mut self, records: u64, ended: &Ended) -> Option<Cow<'static, str>> {
        let Fate::Delivered { rejected } = ended.fate else {
            let error_type = ended.error_type.clone().unwrap_or(Cow::Borrowed(OTHER));
            if ended.fate == Fate::Oversize {
                self.oversize += records;
            }
            self.exported.add(Some(error_type.clone()), records);
            return Some(error_type);
        };
        let rejected = rejected.min(records);
        self.exported.add(None, records - rejected);
        self.exported.add(Some(REJECTED.into()), rejected);
        (rejected > 0).then_some(Cow::Borrowed(REJECTED))
    }
}

impl Ended {
    /// The peer has it.
    pub(crate) fn delivered(
        rejected: u64,
        why: Option<String>,
        status: Option<Status>,
        started: Instant,
    ) -> Self {
        Self { fate: Fate::Delivered { rejected }, why, error_type: None, status, started }
    }

    /// It was given up after an attempt that failed.
    pub(crate) fn failed(fate: Fate, failure: &Failure, why: String, started: Instant) -> Self {
        let (error_type, status) = (Some(failure.error_type()), failure.status);
        Self { fate, why: Some(why), error_type, status, started }
    }

    /// Its time was over before there was an attempt.
    pub(crate) fn late(why: &str) -> Self {
        let (error_type, why) = (Some(Cow::Borrowed(TIMEOUT)), Some(why.to_owned()));
        Self { fate: Fate::Exhausted, why, error_type, status: None, started: Instant::now() }
    }
}

/// Records by cause. It is short: it is searched from the front.
#[derive(Clone, Debug, Default)]
struct Causes(Vec<ByCause>);

impl Causes {
    fn add(&mut self, error_type: Option<Cow<'static, str>>, records: u64) {
        if records == 0 {
            return;
        }
        if let Some(known) = self.0.iter_mut().find(|known| known.error_type == error_type) {
            known.records += records;
        } else if self.0.len() < CAUSES_MAX || error_type.as_deref() == Some(OTHER) {
            self.0.push(ByCause::new(error_type, records));
        } else {
            // A peer that makes statuses up does not make series up.
            self.add(Some(OTHER.into()), records);
        }
    }
}

impl Component {
    /// The exporter of a signal over `protocol`, or to a file.
    fn exporter(signal: Signal, protocol: Option<Protocol>) -> Self {
        let kinds = match protocol {
            Some(Protocol::HttpProtobuf) => HTTP,
            Some(Protocol::HttpJson) => HTTP_JSON,
            Some(Protocol::Grpc) => GRPC,
            None => FILE,
        };
        Self::numbered(kinds, signal)
    }

    /// The buffer of a signal; none for metrics, which have none.
    pub(crate) fn processor(signal: Signal) -> Option<Self> {
        (signal != Signal::Metrics).then(|| Self::numbered(PROCESSOR, signal))
    }

    fn numbered(kinds: usize, signal: Signal) -> Self {
        let kind = KINDS[kinds][signal.index()];
        // Ordering: a number and nothing more.
        let number = NEXT[kinds][signal.index()].fetch_add(1, Ordering::Relaxed);
        Self { kind, name: format!("{kind}/{number}").into() }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").field("component", &self.component).finish_non_exhaustive()
    }
}

/// Not under the lock: it is somebody else's code, and its panic is not to end the delivery.
fn tell(listeners: &[Listener], operation: &Operation) {
    for listener in listeners {
        let _ = catch_unwind(AssertUnwindSafe(|| listener(operation)));
    }
}

/// What has become of records when a delivery has ended; none while it runs.
pub(crate) fn end_of(life: Life) -> Option<&'static str> {
    match life {
        Life::Running | Life::Stopping => None,
        Life::Stopped => Some(SHUTDOWN),
        Life::Died => Some("exporter_died"),
    }
}

/// Kinds of components, by [`Signal::index`]. Where the specification has a name for one it is
/// that; else it is the name of a type of this crate, without the version of the SDK in it.
const KINDS: [[&str; Signal::ALL.len()]; 5] = [
    ["otlp_http_span_exporter", "otlp_http_log_exporter", "otlp_http_metric_exporter"],
    [
        "otlp_http_json_span_exporter",
        "otlp_http_json_log_exporter",
        "otlp_http_json_metric_exporter",
    ],
    ["otlp_grpc_span_exporter", "otlp_grpc_log_exporter", "otlp_grpc_metric_exporter"],
    ["spanwire::FileSpanExporter", "spanwire::FileLogExporter", "spanwire::FileMetricExporter"],
    ["spanwire::SpanProcessor", "spanwire::LogProcessor", "spanwire::MetricProcessor"],
];
const HTTP: usize = 0;
const HTTP_JSON: usize = 1;
const GRPC: usize = 2;
const FILE: usize = 3;
const PROCESSOR: usize = 4;
/// The number of the next component of each kind.
static NEXT: [[AtomicU64; Signal::ALL.len()]; KINDS.len()] =
    [const { [const { AtomicU64::new(0) }; Signal::ALL.len()] }; KINDS.len()];

/// Different causes that are counted apart.
const CAUSES_MAX: usize = 32;
/// The specification's name for what is not counted apart.
const OTHER: &str = "_OTHER";
/// The specification's name for what a peer does not keep.
const REJECTED: &str = "rejected";
const SHUTDOWN: &str = "shutdown";
/// Time was over.
pub(crate) const TIMEOUT: &str = "timeout";
/// A record that fits into no request.
pub(crate) const OVERSIZE: &str = "oversize";
/// The specification's names for what was turned away.
pub(crate) const QUEUE_FULL: &str = "queue_full";
pub(crate) const ALREADY_SHUTDOWN: &str = "already_shutdown";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Phase;

    fn observer() -> Observer {
        Observer::new(Signal::Traces, Some(Protocol::Grpc), Some(Server::new("host", Some(1))))
    }

    fn of(stats: &ExporterStats, error_type: Option<&str>) -> u64 {
        let known = stats.exported.iter().filter(|it| it.error_type.as_deref() == error_type);
        known.map(|it| it.records).sum()
    }

    #[test]
    fn records_stay_in_flight_until_their_operation_ends_and_are_then_counted_once() {
        let (observer, now) = (observer(), Instant::now());
        observer.begin(10, 1000);
        observer.begin(5, 500);
        let before = observer.stats(Life::Running);
        assert_eq!((before.in_flight, before.exported.len(), before.durations.count()), (15, 0, 0));
        observer.end(10, &Ended::delivered(3, None, Some(Status::Grpc(0)), now));
        let failure = Failure::answer(Status::Http(503), "");
        observer.end(5, &Ended::failed(Fate::Exhausted, &failure, String::new(), now));
        let after = observer.stats(Life::Running);
        assert_eq!((after.in_flight, after.durations.count()), (0, 2));
        let counts = [None, Some("rejected"), Some("503")].map(|cause| of(&after, cause));
        assert_eq!(counts, [7, 3, 5]);
        assert_eq!(observer.handed(), Handed { records: 15, bytes: 1500, ..Handed::default() });
    }

    #[test]
    fn what_is_in_flight_at_the_end_has_ended_with_it() {
        let observer = observer();
        observer.begin_submission(4);
        observer.cut_off(Instant::now());
        for (life, cause) in [(Life::Stopped, "shutdown"), (Life::Died, "exporter_died")] {
            let stats = observer.stats(life);
            assert_eq!((stats.in_flight, of(&stats, Some(cause))), (0, 4));
            assert_eq!(stats.durations.count(), 1);
        }
        assert_eq!(observer.stats(Life::Stopping).in_flight, 4);
    }

    #[test]
    fn a_listener_hears_of_each_operation_once_and_may_panic_or_ask_back() {
        let observer = Arc::new(observer());
        let heard = Arc::new(Mutex::new(Vec::new()));
        observer.listen(Arc::new(|_| panic!("expected by the test")));
        let (kept, asked) = (Arc::clone(&heard), Arc::downgrade(&observer));
        observer.listen(Arc::new(move |operation| {
            let in_flight = asked.upgrade().unwrap().stats(Life::Running).in_flight;
            kept.lock().unwrap().push((operation.error_type.clone(), operation.status, in_flight));
        }));
        observer.begin(2, 1);
        observer.end(1, &Ended::delivered(0, None, None, Instant::now()));
        let failure = Failure::new(Phase::Timeout, "");
        observer.end(1, &Ended::failed(Fate::Refused, &failure, String::new(), Instant::now()));
        let expected = [(None, None, 1), (Some(Cow::Borrowed("timeout")), None, 0)];
        assert_eq!(*heard.lock().unwrap(), expected);
    }

    #[test]
    fn a_peer_that_makes_statuses_up_makes_no_series_up() {
        let observer = observer();
        for status in 0..1000 {
            observer.begin(1, 1);
            let failure = Failure::answer(Status::Http(status), "");
            let ended = Ended::failed(Fate::Refused, &failure, String::new(), Instant::now());
            observer.end(1, &ended);
        }
        let stats = observer.stats(Life::Running);
        assert_eq!(stats.exported.len(), CAUSES_MAX + 1);
        assert_eq!(of(&stats, Some(OTHER)), 1000 - CAUSES_MAX as u64);
    }

    #[test]
    fn components_are_numbered_from_zero_by_type() {
        let kind = "otlp_http_json_metric_exporter";
        let numbers = [0, 1].map(|_| {
            let Component { kind: own, name } =
                Component::exporter(Signal::Metrics, Some(Protocol::HttpJson));
            assert_eq!(own, kind);
            name.strip_prefix(kind).unwrap().strip_prefix('/').unwrap().parse::<u64>().unwrap()
        });
        // Another test may build one between the two.
        assert!(numbers[0] < numbers[1]);
    }
}
