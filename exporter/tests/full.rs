//! A buffer that is full: what is dropped is what the policy says, it is counted by reason, and
//! its user hears of the beginning and of the end.

mod support;

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use spanwire::{FlushError, WhenFull};

use support::otel::{LONG, assert_balanced, builder, drivers, end_spans, provider};
use support::{Collector, Reply};

/// Twice what a buffer of [`BUFFER_BYTES`] holds, and more.
const TOO_MANY: usize = 40_000;
const BUFFER_BYTES: usize = 1 << 20;

#[test]
fn the_newest_are_dropped_and_both_ends_of_it_are_told_with_the_count() {
    for io in drivers() {
        let (collector, release) = holding();
        let (builder, diagnostics) = builder(&collector.endpoint());
        let exporter = builder.io(io).buffer_bytes(BUFFER_BYTES).in_flight(1).build().unwrap();
        let provider = provider(&exporter, "service");
        let ended = end_spans(&provider, TOO_MANY);
        exporter.flush(Duration::from_millis(20)).unwrap_err();
        assert_eq!(diagnostics.of_kind("BufferFull:").len(), 1);
        assert_eq!(diagnostics.of_kind("BufferRecovered:").len(), 0);
        release.send(()).unwrap();
        // Nothing that had been accepted is lost.
        exporter.flush(LONG).unwrap();
        let stats = exporter.stats();
        assert_balanced(&stats, TOO_MANY);
        assert!(stats.dropped.queue_full > 0, "{stats:?}");
        assert_eq!(stats.dropped.total(), stats.dropped.queue_full);
        assert_eq!(collector.ids().len() as u64, stats.delivered);
        assert!(collector.has(&ended[0]) && !collector.has(&ended[TOO_MANY - 1]));
        let over = diagnostics.of_kind("BufferRecovered:");
        let count = format!("; {} records were dropped", stats.dropped.queue_full);
        assert!(over.len() == 1 && over[0].ends_with(&count), "{over:?}");
    }
}

#[test]
fn the_oldest_make_room_if_nobody_has_begun_to_send_them() {
    for io in drivers() {
        let (collector, release) = holding();
        let (builder, diagnostics) = builder(&collector.endpoint());
        let exporter = builder
            .io(io)
            .buffer_bytes(BUFFER_BYTES)
            .in_flight(1)
            .when_full(WhenFull::DropOldest)
            .build()
            .unwrap();
        let provider = provider(&exporter, "service");
        let first = end_spans(&provider, 1);
        exporter.flush(Duration::ZERO).unwrap_err();
        collector.wait_for_requests_begun(1);
        let ended = end_spans(&provider, TOO_MANY);
        release.send(()).unwrap();
        let error = exporter.flush(LONG).unwrap_err();
        let stats = exporter.stats();
        assert_balanced(&stats, TOO_MANY + 1);
        assert_eq!(error, FlushError::Lost { dropped: stats.dropped.evicted, rejected: 0 });
        assert!(stats.dropped.evicted > 0, "{stats:?}");
        assert_eq!(stats.dropped.total(), stats.dropped.evicted);
        assert_eq!(collector.ids().len() as u64, stats.delivered);
        assert!(collector.has(&first[0]), "it was being sent");
        // What is missing is one piece: it came after the request that was next, and before the
        // last ones.
        let ids = collector.ids();
        let mut arrived: Vec<_> = ended.iter().map(|id| ids.contains_key(id)).collect();
        assert_eq!(arrived.last(), Some(&true));
        arrived.dedup();
        assert!(matches!(*arrived, [true, false, true] | [false, true]), "{arrived:?}");
        assert_eq!(diagnostics.of_kind("BufferFull:").len(), 1);
        assert_eq!(diagnostics.of_kind("BufferRecovered:").len(), 1);
    }
}

#[test]
fn who_may_wait_waits_for_room_and_loses_nothing() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint())
            .0
            .io(io)
            .buffer_bytes(BUFFER_BYTES)
            .when_full(WhenFull::Block(LONG))
            .build()
            .unwrap();
        let provider = provider(&exporter, "service");
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| end_spans(&provider, TOO_MANY));
            }
        });
        exporter.flush(LONG).unwrap();
        let stats = exporter.stats();
        assert_balanced(&stats, 2 * TOO_MANY);
        assert_eq!((stats.delivered, stats.dropped.total()), (2 * TOO_MANY as u64, 0));
        assert_eq!(collector.ids().len(), 2 * TOO_MANY);
    }
}

#[test]
fn who_waits_in_vain_is_dropped_and_counted() {
    let (collector, release) = holding();
    let wait = Duration::from_micros(100);
    let exporter = builder(&collector.endpoint())
        .0
        .buffer_bytes(BUFFER_BYTES)
        .in_flight(1)
        .when_full(WhenFull::Block(wait))
        .build()
        .unwrap();
    let provider = provider(&exporter, "service");
    let (mut emitted, patience) = (0, Instant::now() + support::PATIENCE);
    while exporter.stats().dropped.queue_full == 0 && Instant::now() < patience {
        emitted += end_spans(&provider, 100).len();
    }
    release.send(()).unwrap();
    exporter.flush(LONG).unwrap();
    let stats = exporter.stats();
    assert_balanced(&stats, emitted);
    assert!(stats.dropped.queue_full > 0, "{stats:?}");
    assert_eq!(collector.ids().len() as u64, stats.delivered);
}

/// A collector that answers its first request when it is told to, and all others at once.
fn holding() -> (Collector, Sender<()>) {
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let collector = Collector::scripted(move |request| {
        if request == 0 {
            // An error means that the test has failed already.
            let _ = held.lock().unwrap().recv();
        }
        Reply::Accept
    });
    (collector, release)
}
