//! The accounting law over random programs: producers of three signals that come and go, flushes,
//! a collector that refuses, stalls, hangs up and is away, buffers that are too small, and a
//! shutdown at any point.
//!
//! Some have a second destination, of which the law holds as well, for what it was handed; some a
//! set of endpoints, each with faults of its own, in place of the one collector.
//!
//! `emitted = delivered + rejected + dropped + in flight`, for each signal. The oracle is not a
//! difference of our own counters: `emitted` is what the test itself has counted, and what is
//! said to be delivered, rejected or refused is compared with the unique ids that the collector
//! has read, request by request. This is also the contract that the OpenTelemetry Collector has
//! its exporters tested with (exporter/exportertest/contract_checker.go): under random transient
//! and permanent errors each item is delivered or reported once.

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use opentelemetry::logs::{AnyValue, LogRecord as _, Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState, Tracer,
    TracerProvider,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{
    SdkTracerProvider, SpanData, SpanEvents, SpanExporter as _, SpanLinks,
};
use proptest::prelude::*;
use prost::Message;
use spanwire::otel_0_33::{MetricExporter, SpanExporter};
use spanwire::{Balance, Destination, Exporter, ShutdownError, Signal, SignalStats};
use spanwire::{TemporalityPreference, WhenFull};

use support::otel::{LONG, builder, drivers, logger_provider, provider};
use support::{Collector, Exchange, Reply};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn every_record_is_delivered_or_reported_once(program in program()) {
        program.run();
    }
}

/// Some seconds together, also on a busy machine.
const CASES: u32 = 90;

#[derive(Clone, Debug)]
struct Program {
    is_uring: bool,
    /// What each producing thread does.
    producers: Vec<Vec<Step>>,
    /// What the collector does with its first requests; it accepts all others.
    faults: Vec<Fault>,
    shape: Shape,
    when_full: WhenFull,
    lanes: usize,
    /// Otherwise there are no retries.
    retries: bool,
    end: End,
}

/// Where records go besides the collector of the program; that one has these faults.
#[derive(Clone, Debug)]
enum Shape {
    /// Nowhere.
    One,
    /// All of them also there, and independently.
    Beside(Vec<Fault>),
    /// Some of them there instead.
    Set(Vec<Fault>, Balance),
}

#[derive(Clone, Debug)]
enum Step {
    /// Ends so many spans.
    Spans(usize),
    /// Emits so many log records.
    Logs(usize),
    /// Exports a batch of so many spans, as one of the SDK's processors would.
    Batch(usize),
    /// Records so many points, and has them collected.
    Points(usize),
    /// A thread that ends so many spans, and itself.
    Child(usize),
    Flush(Duration),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Accept,
    /// Partial success: so many are rejected.
    Reject(u8),
    Refuse(u16),
    Busy(u16),
    HangUp,
    KeepAndHangUp,
    /// Attempts that meet it run out of their time, which is short then.
    Stall,
}

/// When the exporter is shut down, and within which time.
#[derive(Clone, Debug)]
enum End {
    AfterAll,
    /// Once so many records were emitted.
    Meanwhile {
        emitted: usize,
        limit: Duration,
    },
}

impl Program {
    fn run(&self) {
        let collector = faulty(&self.faults);
        let other = match &self.shape {
            Shape::One => None,
            Shape::Beside(faults) | Shape::Set(faults, _) => Some(faulty(faults)),
        };
        let exporter = self.exporter(&collector, other.as_ref());
        let world = World::new(&exporter);
        let ended = thread::scope(|scope| {
            let producers: Vec<_> = self
                .producers
                .iter()
                .map(|steps| scope.spawn(|| steps.iter().for_each(|step| world.take(step))))
                .collect();
            let are_done = || producers.iter().all(|producer| producer.is_finished());
            let (emitted, limit) = match self.end {
                End::AfterAll => (usize::MAX, LONG),
                End::Meanwhile { emitted, limit } => (emitted, limit),
            };
            while !are_done() && world.emitted() < emitted {
                thread::yield_now();
            }
            exporter.shutdown(limit)
        });
        let emitted = world.end();
        let is_cut = matches!(ended, Err(ShutdownError::Timeout { .. }));
        // A time limit may pass while an answer is on its way.
        let is_exact = !is_cut && !self.can_time_out();
        let (stats, mut exchanges) = (exporter.stats(), collector.exchanges());
        let others = other.map(|other| other.exchanges()).unwrap_or_default();
        if let Shape::Set(..) = self.shape {
            exchanges.extend_from_slice(&others);
        }
        for signal in Signal::ALL {
            let received = Received::of(signal, &exchanges);
            let emitted = &emitted[signal.index()];
            assert_eq!(stats.signal(signal).emitted, emitted.len() as u64, "{stats:?}");
            received.check(stats.signal(signal), emitted, is_exact);
            if let [beside] = &stats.destinations[..] {
                let received = Received::of(signal, &others);
                received.check(beside.signal(signal), emitted, is_exact);
                check_handed(beside.signal(signal), stats.signal(signal));
            }
        }
        assert_eq!(stats.accounted_for(), stats.emitted, "{stats:?}");
    }

    fn exporter(&self, collector: &Collector, other: Option<&Collector>) -> Exporter {
        let timeout = if self.can_time_out() { Duration::from_millis(60) } else { LONG };
        let budget = if self.retries { LONG } else { Duration::ZERO };
        let builder = builder(&collector.endpoint()).0;
        let builder = match (&self.shape, other) {
            (Shape::Beside(_), Some(other)) => builder.destination(
                Destination::new("beside")
                    .endpoint(other.endpoint())
                    .timeout(timeout)
                    .in_flight(self.lanes),
            ),
            (Shape::Set(_, balance), Some(other)) => {
                builder.endpoints([collector.endpoint(), other.endpoint()]).balance(balance.clone())
            }
            _ => builder,
        };
        builder
            .io(drivers()[usize::from(!self.is_uring)])
            .metrics_temporality(TemporalityPreference::Delta)
            .retry_backoff(Duration::from_millis(1), Duration::from_millis(5))
            .retry_budget(budget)
            .timeout(timeout)
            .batch_bytes(64 << 10)
            .batch_age(Duration::from_millis(5))
            .buffer_bytes(1 << 20)
            .when_full(self.when_full)
            .in_flight(self.lanes)
            .build()
            .unwrap()
    }

    fn can_time_out(&self) -> bool {
        let others = match &self.shape {
            Shape::One => &[][..],
            Shape::Beside(faults) | Shape::Set(faults, _) => faults,
        };
        self.faults.iter().chain(others).any(|fault| matches!(fault, Fault::Stall))
    }
}

fn faulty(faults: &[Fault]) -> Collector {
    let faults = faults.to_vec();
    Collector::recording(move |request| {
        faults.get(request).map_or(Reply::Accept, |fault| fault.reply())
    })
}

/// A destination beside the main one was handed all that the main one has dealt with, and nothing
/// that never came so far.
fn check_handed(beside: &SignalStats, main: &SignalStats) {
    let dealt_with = main.delivered + main.rejected + main.dropped.refused;
    assert!(beside.emitted >= dealt_with, "{beside:?} {main:?}");
    assert!(beside.emitted <= main.emitted, "{beside:?} {main:?}");
}

impl Fault {
    fn reply(self) -> Reply {
        match self {
            Self::Accept => Reply::Accept,
            // partial_success { rejected: count }
            Self::Reject(count) => Reply::AcceptWith(vec![0x0a, 0x02, 0x08, count]),
            Self::Refuse(status) => Reply::Refuse(status, "", Vec::new()),
            Self::Busy(status) => Reply::Refuse(status, "retry-after: 0\r\n", Vec::new()),
            Self::HangUp => Reply::HangUp,
            Self::KeepAndHangUp => Reply::KeepAndHangUp,
            Self::Stall => Reply::Stall,
        }
    }
}

/// What the producers share.
struct World {
    exporter: Exporter,
    spans: SdkTracerProvider,
    logs: SdkLoggerProvider,
    metrics: SdkMeterProvider,
    batches: SpanExporter,
    /// The ids of all that was emitted, by signal.
    emitted: [Mutex<Vec<String>>; 3],
    next_id: AtomicU64,
}

impl World {
    fn new(exporter: &Exporter) -> Self {
        let never = Duration::from_secs(100_000);
        let reader = PeriodicReader::builder(MetricExporter::new(exporter)).with_interval(never);
        Self {
            exporter: exporter.clone(),
            spans: provider(exporter, "service"),
            logs: logger_provider(exporter, "service"),
            metrics: SdkMeterProvider::builder().with_reader(reader.build()).build(),
            batches: SpanExporter::new(exporter),
            emitted: Default::default(),
            next_id: AtomicU64::new(1),
        }
    }

    fn take(&self, step: &Step) {
        match *step {
            Step::Spans(count) => self.end_spans(count),
            Step::Logs(count) => self.emit_logs(count),
            Step::Batch(count) => self.export_batch(count),
            Step::Points(count) => self.record_points(count),
            Step::Child(count) => thread::scope(|scope| {
                scope.spawn(|| self.end_spans(count));
            }),
            // How it goes is told by the counts.
            Step::Flush(limit) => drop(self.exporter.flush(limit)),
        }
    }

    fn end_spans(&self, count: usize) {
        let tracer = self.spans.tracer("test");
        for _ in 0..count {
            let mut span = tracer.start(LONG_NAME);
            span.end();
            self.emit(Signal::Traces, span.span_context().span_id().to_string());
        }
    }

    fn emit_logs(&self, count: usize) {
        let logger = self.logs.logger("test");
        for _ in 0..count {
            let id = self.next_id().to_string();
            let mut record = logger.create_log_record();
            record.set_body(AnyValue::from(id.clone()));
            record.add_attribute("filler", LONG_NAME);
            logger.emit(record);
            self.emit(Signal::Logs, id);
        }
    }

    fn export_batch(&self, count: usize) {
        let batch: Vec<_> = (0..count).map(|_| span_data(SpanId::from(self.next_id()))).collect();
        for span in &batch {
            self.emit(Signal::Traces, span.span_context.span_id().to_string());
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        drop(runtime.block_on(self.batches.export(batch)));
    }

    fn record_points(&self, count: usize) {
        let counter = self.metrics.meter("test").u64_counter("counter").build();
        for _ in 0..count {
            let id = self.next_id().to_string();
            counter.add(1, &[KeyValue::new("id", id.clone())]);
            self.emit(Signal::Metrics, id);
        }
        drop(self.metrics.force_flush());
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn emit(&self, signal: Signal, id: String) {
        self.emitted[signal.index()].lock().unwrap().push(id);
    }

    /// How many records were emitted so far.
    fn emitted(&self) -> usize {
        self.emitted.iter().map(|ids| ids.lock().unwrap().len()).sum()
    }

    /// Shuts the providers down; returns what was emitted.
    fn end(self) -> [Vec<String>; 3] {
        // They may have nothing to say but that the exporter is shut down.
        let _ = (self.spans.shutdown(), self.logs.shutdown(), self.metrics.shutdown());
        self.emitted.map(|ids| ids.into_inner().unwrap())
    }
}

fn span_data(id: SpanId) -> SpanData {
    let context =
        SpanContext::new(TraceId::from(1), id, TraceFlags::SAMPLED, false, TraceState::NONE);
    SpanData {
        span_context: context,
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name: LONG_NAME.into(),
        start_time: SystemTime::UNIX_EPOCH,
        end_time: SystemTime::UNIX_EPOCH,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: InstrumentationScope::builder("batch").build(),
    }
}

/// What the collector has of one signal.
#[derive(Debug, Default)]
struct Received {
    /// How often it has said that it took each.
    taken: HashMap<String, usize>,
    refused: HashMap<String, usize>,
    /// All that it has ever read.
    seen: HashSet<String>,
    /// How many it has said that it did not keep.
    rejected: u64,
}

impl Received {
    fn of(signal: Signal, exchanges: &[Exchange]) -> Self {
        let mut received = Self::default();
        let path = format!("/{}", signal.path());
        for exchange in exchanges.iter().filter(|exchange| exchange.path == path) {
            let ids = ids(signal, &exchange.body);
            let distinct: HashSet<_> = ids.iter().cloned().collect();
            assert_eq!(distinct.len(), ids.len(), "a request has no record twice");
            received.seen.extend(distinct);
            let count = ids.len() as u64;
            let ids = ids.into_iter();
            match &exchange.reply {
                Reply::Accept => ids.for_each(|id| *received.taken.entry(id).or_default() += 1),
                Reply::AcceptWith(body) => {
                    received.rejected += u64::from(body[3]).min(count);
                    ids.for_each(|id| *received.taken.entry(id).or_default() += 1);
                }
                Reply::Refuse(status, ..) if !matches!(status, 429 | 503) => {
                    ids.for_each(|id| *received.refused.entry(id).or_default() += 1);
                }
                _ => {}
            }
        }
        received
    }

    fn check(&self, stats: &SignalStats, emitted: &[String], is_exact: bool) {
        assert_eq!(stats.accounted_for(), stats.emitted, "{stats:?}");
        assert_eq!(stats.in_flight, 0, "nobody delivers any more: {stats:?}");
        let emitted: HashSet<_> = emitted.iter().cloned().collect();
        assert!(self.seen.is_subset(&emitted), "what arrives was emitted");
        for (id, times) in &self.refused {
            assert_eq!(*times, 1, "{id} was refused, and sent again");
            assert!(!self.taken.contains_key(id), "{id} was refused, and sent again");
        }
        let reported = stats.delivered + stats.rejected;
        assert!(self.taken.len() as u64 >= reported, "more delivered than arrived: {stats:?}");
        if is_exact {
            // A record is sent twice only if the first outcome is unknown.
            assert!(self.taken.values().all(|times| *times == 1), "taken twice");
            assert_eq!(self.taken.len() as u64, reported, "{stats:?}");
            assert_eq!(stats.rejected, self.rejected, "{stats:?}");
            assert_eq!(stats.dropped.refused, self.refused.len() as u64, "{stats:?}");
        }
    }
}

/// The ids of the records in a request, as `World` gave them out.
fn ids(signal: Signal, body: &[u8]) -> Vec<String> {
    match signal {
        Signal::Traces => {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|it| it.scope_spans);
            let id = |id: Vec<u8>| SpanId::from_bytes(id.try_into().unwrap()).to_string();
            scopes.flat_map(|it| it.spans).map(|span| id(span.span_id)).collect()
        }
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(body).unwrap();
            let scopes = request.resource_logs.into_iter().flat_map(|it| it.scope_logs);
            scopes.flat_map(|it| it.log_records).map(|record| text(record.body)).collect()
        }
        _ => {
            let request = ExportMetricsServiceRequest::decode(body).unwrap();
            let scopes = request.resource_metrics.into_iter().flat_map(|it| it.scope_metrics);
            let points = scopes.flat_map(|it| it.metrics).flat_map(|metric| match metric.data {
                Some(Data::Sum(sum)) => sum.data_points,
                other => panic!("no sum: {other:?}"),
            });
            points.map(|mut point| text(point.attributes.remove(0).value)).collect()
        }
    }
}

fn text(value: Option<opentelemetry_proto::tonic::common::v1::AnyValue>) -> String {
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        other => panic!("no text: {other:?}"),
    }
}

fn program() -> impl Strategy<Value = Program> {
    let producers = prop::collection::vec(prop::collection::vec(step(), 1..8), 1..4);
    let faults = prop_oneof![
        3 => prop::collection::vec(fault(), 0..12),
        1 => prop::collection::vec(prop_oneof![3 => fault(), 1 => Just(Fault::Stall)], 1..6),
    ];
    let options = (when_full(), 1..5_usize, any::<bool>(), any::<bool>());
    (producers, faults, shape(), options, end()).prop_map(
        |(producers, faults, shape, (when_full, lanes, retries, is_uring), end)| Program {
            is_uring,
            producers,
            faults,
            shape,
            when_full,
            lanes,
            retries,
            end,
        },
    )
}

fn shape() -> impl Strategy<Value = Shape> {
    let faults = || prop::collection::vec(fault(), 0..12);
    let balance = prop::sample::select(vec![
        Balance::RoundRobin,
        Balance::Weighted(vec![3, 1]),
        Balance::LeastInFlight,
        Balance::Random,
        Balance::ByTraceId,
    ]);
    prop_oneof![
        1 => Just(Shape::One),
        1 => faults().prop_map(Shape::Beside),
        1 => (faults(), balance).prop_map(|(faults, balance)| Shape::Set(faults, balance)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..3000_usize).prop_map(Step::Spans),
        2 => (1..2000_usize).prop_map(Step::Logs),
        2 => (1..200_usize).prop_map(Step::Batch),
        2 => (1..200_usize).prop_map(Step::Points),
        1 => (1..20_usize).prop_map(Step::Child),
        1 => millis(20).prop_map(Step::Flush),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => Just(Fault::Accept),
        1 => (0..100_u8).prop_map(Fault::Reject),
        1 => prop::sample::select(vec![400, 401, 413, 500]).prop_map(Fault::Refuse),
        2 => prop::sample::select(vec![429, 503]).prop_map(Fault::Busy),
        1 => Just(Fault::HangUp),
        1 => Just(Fault::KeepAndHangUp),
    ]
}

fn when_full() -> impl Strategy<Value = WhenFull> {
    prop_oneof![
        Just(WhenFull::DropNewest),
        Just(WhenFull::DropOldest),
        millis(3).prop_map(WhenFull::Block),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::AfterAll),
        1 => (0..2000_usize).prop_map(|emitted| End::Meanwhile { emitted, limit: LONG }),
        1 => (0..2000_usize, millis(20))
            .prop_map(|(emitted, limit)| End::Meanwhile { emitted, limit }),
    ]
}

fn millis(most: u64) -> impl Strategy<Value = Duration> {
    (0..most).prop_map(Duration::from_millis)
}

/// So long that a few thousand records fill a buffer.
const LONG_NAME: &str = "a name of three hundred characters, and it is as long as this so that the \
    buffer of a mebibyte, which is the smallest one, is full from time to time although a test \
    does not want to end a hundred thousand spans; what it says does not matter at all, and so it \
    ends about here, which is as good a place as any.";
