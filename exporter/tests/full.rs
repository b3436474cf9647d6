//! A buffer that is full: what is dropped is what the policy says, it is counted by reason, and
//! its user hears of the beginning and of the end.

mod support;

use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use support::otel::{DRIVERS, LONG, assert_balanced, builder, end_spans, provider};
use support::{Collector, Reply};

/// Twice what a buffer of [`BUFFER_BYTES`] holds, and more.
const TOO_MANY: usize = 40_000;
const BUFFER_BYTES: usize = 1 << 20;

#[test]
fn the_newest_are_dropped_and_both_ends_of_it_are_told_with_the_count() {
    for io in DRIVERS {
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
