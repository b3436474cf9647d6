//! A forked child starts empty and exports on its own; the parent is unaffected. Each test forks
//! for real; the collector is the parent's.
#![cfg(target_os = "linux")]

mod support;

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use opentelemetry::logs::LoggerProvider as _;
use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::{Span as _, Tracer as _, TracerProvider as _};
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use spanwire::direct::{Resource, Scope, Span, Spans};
use spanwire::otel_0_33::{MetricExporter, SpanExporter};
use spanwire::{DiagnosticKind, Exporter, FlushError, Init, ShutdownError, Stats};
use spanwire_runtime::sys::child::{ensure, in_child};

use support::otel::{
    LONG, assert_balanced, builder, drivers, emit_logs_by, logger_provider, provider,
};
use support::{Collector, dead_address};

#[test]
fn what_ends_in_a_child_arrives_once_and_so_does_what_the_parent_had() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).batch_age(LONG).build().unwrap();
        let (spans, logs) = (provider(&exporter, "service"), logger_provider(&exporter, "service"));
        // Waits in the buffer while the child lives.
        end_named(&spans, "parent", 5);
        in_child(|| {
            end_named(&spans, "child", 3);
            emit_logs_by(&logs.logger("test"), 2);
            exporter.flush(LONG).map_err(|error| error.to_string())?;
            let stats = exporter.stats();
            ensure(is_all_delivered(&stats, 5), "the child's accounts are not its own")?;
            ensure(stats.traces.delivered == 3, "the child's spans are not delivered")
        });
        assert_eq!(named(&collector, "parent"), 0, "a child has sent its parent's spans");
        assert_eq!((named(&collector, "child"), collector.logs().len()), (3, 2));
        let services: Vec<_> = collector.spans().into_iter().map(|it| it.service).collect();
        assert!(services.iter().all(|service| service.contains("service")), "{services:?}");
        exporter.flush(LONG).unwrap();
        assert_eq!((named(&collector, "parent"), named(&collector, "child")), (5, 3));
        let stats = exporter.stats();
        assert_eq!((stats.emitted, stats.delivered), (5, 5), "the child's are not the parent's");
        exporter.shutdown(LONG).unwrap();
    }
}

#[test]
fn a_child_leaves_the_connections_of_its_parent_alone() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        let spans = provider(&exporter, "service");
        end_named(&spans, "parent", 1);
        exporter.flush(LONG).unwrap();
        in_child(|| {
            end_named(&spans, "child", 1);
            exporter.shutdown(LONG).map_err(|error| error.to_string())?;
            drop((spans.clone(), exporter.clone()));
            Ok(())
        });
        end_named(&spans, "parent", 1);
        exporter.flush(LONG).unwrap();
        assert_eq!((named(&collector, "parent"), named(&collector, "child")), (2, 1));
        assert_eq!(collector.connections(), 2, "one each");
    }
}

#[test]
fn children_of_a_child_have_exporters_of_their_own() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let spans = provider(&exporter, "service");
    end_named(&spans, "parent", 1);
    in_child(|| {
        // One that has an exporter forks, and one that has none yet.
        in_child(|| deliver(&exporter, &spans, "first grandchild", 2));
        deliver(&exporter, &spans, "child", 3)?;
        in_child(|| deliver(&exporter, &spans, "second grandchild", 4));
        deliver(&exporter, &spans, "child", 3)
    });
    exporter.flush(LONG).unwrap();
    let counts = ["parent", "child", "first grandchild", "second grandchild"]
        .map(|name| named(&collector, name));
    assert_eq!(counts, [1, 6, 2, 4]);
}

/// The fork comes while other threads append, flush and read statistics as fast as they can, so
/// one of them is in the middle of any step, under any lock.
#[test]
fn no_lock_that_a_thread_of_the_parents_holds_keeps_a_child_from_exporting() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let spans = provider(&exporter, "service");
    let metrics = MetricExporter::new(&exporter);
    let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics).build();
    meters.meter("test").u64_counter("requests").build().add(1, &[]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stops = Stops(&stop);
        for hammer in 0..4 {
            let (exporter, spans, meters, stop) = (&exporter, &spans, &meters, &stop);
            scope.spawn(move || {
                let scopes: Vec<_> = (0..100).map(|number| format!("scope {number}")).collect();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match hammer {
                        0 => drop(exporter.flush(Duration::ZERO)),
                        1 => drop(meters.force_flush()),
                        _ => drop(spans.tracer(scopes[number % 100].clone()).start("parent")),
                    }
                    let _ = exporter.stats();
                }
            });
        }
        for _ in 0..ROUNDS {
            in_child(|| deliver(&exporter, &spans, "child", 5));
        }
    });
    assert_eq!(named(&collector, "child"), 5 * ROUNDS);
    exporter.shutdown(LONG).unwrap();
    assert_eq!(exporter.stats().accounted_for(), exporter.stats().emitted);
}

#[test]
fn many_threads_of_a_child_share_the_exporter_that_one_of_them_starts() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let spans = provider(&exporter, "service");
    in_child(|| {
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| end_named(&spans, "child", 10));
            }
        });
        exporter.flush(LONG).map_err(|error| error.to_string())?;
        ensure(is_all_delivered(&exporter.stats(), 80), "not all were delivered, once each")
    });
    assert_eq!((named(&collector, "child"), collector.connections()), (80, 1));
}

#[test]
fn a_child_that_ends_no_record_starts_no_thread() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let spans = provider(&exporter, "service");
    end_named(&spans, "parent", 1);
    in_child(|| {
        ensure(exporter.flush(Duration::MAX) == Ok(()), "nothing is to be flushed")?;
        ensure(spans.force_flush().is_ok(), "nothing is to be flushed through a door")?;
        ensure(exporter.stats() == Stats::default(), "it has counted nothing")?;
        ensure(threads() == 1, "a thread was started for nothing")?;
        drop(spans.clone());
        ensure(exporter.shutdown(LONG) == Ok(()), "nothing is to be shut down")?;
        ensure(exporter.shutdown(LONG) == Err(ShutdownError::AlreadyShutDown), "it is shut down")?;
        end_named(&spans, "child", 2);
        let stats = exporter.stats();
        ensure(stats.dropped.after_shutdown == 2, "what ends after a shutdown is counted")?;
        ensure(stats.accounted_for() == stats.emitted, "the law")?;
        ensure(exporter.flush(LONG) == Err(FlushError::ShutDown), "a flush says so")
    });
    exporter.flush(LONG).unwrap();
    assert_eq!((named(&collector, "parent"), named(&collector, "child")), (1, 0));
}

#[test]
fn a_child_of_one_that_was_shut_down_is_shut_down() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let spans = provider(&exporter, "service");
    exporter.shutdown(LONG).unwrap();
    in_child(|| {
        end_named(&spans, "child", 2);
        ensure(exporter.stats().dropped.after_shutdown == 2, "the records are not counted")?;
        ensure(exporter.shutdown(LONG) == Err(ShutdownError::AlreadyShutDown), "it is shut down")
    });
    assert_eq!(collector.requests(), 0);
    assert_balanced(&exporter.stats(), 0);
}

/// A door that was closed before the fork is closed in the child as well.
#[test]
fn a_closed_door_stays_closed_in_a_child() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let (closed, open) = (logger_provider(&exporter, "closed"), provider(&exporter, "open"));
    let logger = closed.logger("test");
    closed.shutdown().unwrap();
    in_child(|| {
        end_named(&open, "child", 1);
        emit_logs_by(&logger, 1);
        exporter.flush(LONG).map_err(|error| error.to_string())?;
        let stats = exporter.stats();
        ensure(stats.traces.delivered == 1, "another door is closed")?;
        ensure(stats.logs.dropped.after_shutdown == 1, "the door is open")
    });
    assert_eq!((named(&collector, "child"), collector.logs().len()), (1, 0));
}

#[test]
fn an_exporter_that_a_child_builds_lives_beside_the_one_that_it_inherits() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.batch_age(LONG).build().unwrap();
    let spans = Spans::new(&exporter, &Resource::default(), &Scope::new("test", ""));
    spans.end(&Span::new([1; 16], [1; 8], "parent"));
    in_child(|| {
        // A handle and a door of the child's own; the inherited ones outlive it.
        let own = builder(&collector.endpoint()).0.batch_age(LONG).build();
        let own = own.map_err(|error| error.to_string())?;
        let door = Spans::new(&own, &Resource::default(), &Scope::new("test", ""));
        door.end(&Span::new([2; 16], [2; 8], "own"));
        spans.end(&Span::new([3; 16], [3; 8], "child"));
        drop((own, door));
        ensure(exporter.stats().in_flight == 1, "the inherited exporter's is on its way")?;
        exporter.shutdown(LONG).map_err(|error| error.to_string())
    });
    let counts = ["parent", "own", "child"].map(|name| named(&collector, name));
    assert_eq!(counts, [0, 1, 1]);
    drop((spans, exporter));
    assert_eq!(named(&collector, "parent"), 1, "the parent's drop flushes the parent's");
}

#[test]
fn the_last_handle_that_a_child_drops_delivers_and_does_not_wait_for_the_parents() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.batch_age(LONG).build().unwrap();
    let spans = provider(&exporter, "service");
    end_named(&spans, "parent", 1);
    let mut kept = Some((spans, exporter));
    in_child(|| {
        let (spans, exporter) = kept.take().expect("both");
        end_named(&spans, "child", 2);
        drop((spans, exporter));
        Ok(())
    });
    assert_eq!((named(&collector, "parent"), named(&collector, "child")), (0, 2));
    drop(kept);
    assert_eq!(named(&collector, "parent"), 1);
}

#[test]
fn a_collector_that_is_away_costs_a_child_counted_records() {
    let exporter = builder(&format!("http://{}", dead_address())).0.build().unwrap();
    let spans = provider(&exporter, "service");
    in_child(|| {
        end_named(&spans, "child", 3);
        let late = exporter.flush(Duration::from_millis(50));
        ensure(late == Err(FlushError::Timeout { pending: 3 }), "the flush is not late")?;
        let left = exporter.shutdown(Duration::ZERO);
        ensure(left == Err(ShutdownError::Timeout { left: 3 }), "nothing was left")?;
        ensure(exporter.stats().dropped.shutdown == 3, "what was left is not counted")
    });
    assert_balanced(&exporter.stats(), 0);
    exporter.shutdown(Duration::ZERO).unwrap();
}

#[test]
fn batches_of_the_sdks_own_processors_and_metrics_are_exported_in_a_child() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let simple =
        SdkTracerProvider::builder().with_simple_exporter(SpanExporter::new(&exporter)).build();
    in_child(|| {
        end_named(&simple, "child", 2);
        // The SDK's reader has a thread, so the child needs one of its own.
        let metrics = MetricExporter::new(&exporter);
        let meters = SdkMeterProvider::builder().with_periodic_exporter(metrics).build();
        meters.meter("test").u64_counter("requests").build().add(1, &[]);
        meters.force_flush().map_err(|error| error.to_string())?;
        ensure(is_all_delivered(&exporter.stats(), 3), "not all were delivered")
    });
    assert_eq!(named(&collector, "child"), 2);
    assert!(!collector.metrics().is_empty());
    assert_balanced(&exporter.stats(), 0);
}

#[test]
fn a_child_appends_to_the_same_file() {
    let path = std::env::temp_dir().join(format!("spanwire-fork-{}.jsonl", std::process::id()));
    let exporter = Exporter::builder().env_from(|_| None).file(&path).build().unwrap();
    let spans = provider(&exporter, "service");
    end_named(&spans, "parent", 1);
    exporter.flush(LONG).unwrap();
    in_child(|| deliver(&exporter, &spans, "child", 1));
    end_named(&spans, "parent", 1);
    exporter.shutdown(LONG).unwrap();
    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let names: Vec<_> = lines
        .lines()
        .map(|line| if line.contains("\"child\"") { "child" } else { "parent" })
        .collect();
    assert_eq!(names, ["parent", "child", "parent"]);
}

#[test]
fn a_child_that_can_start_no_exporter_counts_its_records_and_says_so() {
    let collector = Collector::start();
    let told = Arc::new(AtomicUsize::new(0));
    let in_handler = Arc::clone(&told);
    let exporter = builder(&collector.endpoint()).0.on_diagnostic(move |diagnostic| {
        in_handler.fetch_add((diagnostic.kind == DiagnosticKind::Forked).into(), Ordering::Relaxed);
    });
    let exporter = exporter.build().unwrap();
    let spans = provider(&exporter, "service");
    in_child(|| {
        // Without descriptors there is no driver.
        let id = std::process::id().to_string();
        let limited = Command::new("prlimit").args(["--pid", &id, "--nofile=3:3"]).status();
        ensure(limited.is_ok_and(|status| status.success()), "the child could not be limited")?;
        end_named(&spans, "child", 2);
        let stats = exporter.stats();
        ensure((stats.emitted, stats.dropped.forked) == (2, 2), "the records are not counted")?;
        ensure(told.load(Ordering::Relaxed) == 1, "it was not told once")?;
        ensure(exporter.flush(LONG) == Err(FlushError::Forked), "a flush does not say so")?;
        ensure(exporter.shutdown(LONG) == Err(ShutdownError::Forked), "nor does a shutdown")
    });
    assert_balanced(&exporter.stats(), 0);
}

#[test]
fn a_record_that_ends_inside_of_a_start_that_fails_is_counted_too() {
    let collector = Collector::start();
    let cell = Arc::new(OnceLock::<SdkTracerProvider>::new());
    let in_handler = Arc::clone(&cell);
    let exporter = builder(&collector.endpoint()).0.on_diagnostic(move |_| {
        in_handler.get().into_iter().for_each(|spans| end_named(spans, "telling", 1));
    });
    let exporter = exporter.build().unwrap();
    let spans = provider(&exporter, "service");
    cell.set(spans.clone()).unwrap();
    in_child(|| {
        let id = std::process::id().to_string();
        let limited = Command::new("prlimit").args(["--pid", &id, "--nofile=3:3"]).status();
        ensure(limited.is_ok_and(|status| status.success()), "the child could not be limited")?;
        end_named(&spans, "child", 2);
        let stats = exporter.stats();
        ensure((stats.emitted, stats.accounted_for()) == (3, 3), "one is not counted")?;
        ensure((stats.dropped.forked, stats.dropped.reentrant) == (2, 1), "it has another reason")
    });
    assert_balanced(&exporter.stats(), 0);
}

/// The SDK's reader of metrics waits for ever for a thread that a child has not.
#[test]
fn the_guard_of_init_delivers_what_a_child_has_and_does_not_wait_for_the_parents_reader() {
    let collector = Collector::start();
    let init = Init::builder().exporter(builder(&collector.endpoint()).0).without_globals();
    let guard = init.install().unwrap();
    in_child(move || {
        end_named(guard.tracer_provider(), "child", 2);
        guard.flush(LONG).map_err(|error| error.to_string())?;
        ensure(guard.exporter().unwrap().stats().delivered == 2, "not delivered")?;
        end_named(guard.tracer_provider(), "child", 1);
        guard.shutdown(LONG).map_err(|error| error.to_string())
    });
    assert_eq!(named(&collector, "child"), 3);
}

/// Ends `count` spans called `name`. Their ids say nothing: the SDK's generator of ids is copied
/// by a fork, so a child repeats its parent's.
fn end_named(provider: &SdkTracerProvider, name: &'static str, count: usize) {
    let tracer = provider.tracer("test");
    (0..count).for_each(|_| tracer.start(name).end());
}

/// Ends spans and delivers them, as a child.
fn deliver(
    exporter: &Exporter,
    spans: &SdkTracerProvider,
    name: &'static str,
    count: usize,
) -> Result<(), String> {
    let before = exporter.stats();
    end_named(spans, name, count);
    exporter.flush(LONG).map_err(|error| error.to_string())?;
    ensure(is_all_delivered(&exporter.stats(), before.emitted + count as u64), "not delivered")
}

fn is_all_delivered(stats: &Stats, count: u64) -> bool {
    (stats.emitted, stats.delivered, stats.accounted_for()) == (count, count, count)
}

/// How many spans of that name have arrived.
fn named(collector: &Collector, name: &str) -> usize {
    collector.spans().iter().filter(|received| received.span.name == name).count()
}

/// Threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Tells threads to stop, also if the test fails.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Forks under fire.
const ROUNDS: usize = 20;
