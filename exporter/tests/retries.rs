//! How much is kept to be tried again, and who waits while it is.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spanwire::FlushError;

use support::otel::{LONG, assert_balanced, builder, drivers, end_spans, provider};
use support::{Collector, Reply};

fn busy(_: usize) -> Reply {
    Reply::Refuse(503, "", Vec::new())
}

#[test]
fn what_has_no_room_to_be_tried_again_is_a_counted_drop_and_told() {
    for io in drivers() {
        let collector = Collector::scripted(busy);
        let (builder, diagnostics) = builder(&collector.endpoint());
        let exporter = builder.io(io).retry_bytes(1).batch_records(5).build().unwrap();
        end_spans(&provider(&exporter, "service"), 20);
        assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 20, rejected: 0 }));
        let stats = exporter.stats();
        assert_eq!((stats.dropped.retries_exhausted, stats.retries), (20, 0));
        assert_eq!(collector.requests(), 4, "each was tried once");
        assert_balanced(&stats, 20);
        let told = diagnostics.of_kind("RetriesExhausted");
        assert!(told[0].contains("Builder::retry_bytes"), "{told:?}");
    }
}

#[test]
fn what_is_being_retried_keeps_its_place_and_is_delivered() {
    let is_up = Arc::new(AtomicBool::new(false));
    let script = Arc::clone(&is_up);
    let collector = Collector::concurrent(move |request| match script.load(Ordering::SeqCst) {
        true => Reply::Accept,
        false => busy(request),
    });
    let (builder, _) = builder(&collector.endpoint());
    // Room for one request of five spans, and two of them at once.
    let exporter = builder.retry_bytes(600).batch_records(5).in_flight(2).build().unwrap();
    end_spans(&provider(&exporter, "service"), 20);
    assert!(exporter.flush(Duration::from_millis(200)).is_err());
    collector.wait_for_requests(6);
    is_up.store(true, Ordering::SeqCst);
    let flushed = exporter.flush(LONG);
    let stats = exporter.stats();
    assert!(matches!(flushed, Err(FlushError::Lost { .. })), "{flushed:?}");
    assert!(stats.delivered >= 5, "the first to fail: {stats:?}");
    assert!(stats.dropped.retries_exhausted >= 5, "those beside it: {stats:?}");
    assert_balanced(&stats, 20);
    assert_eq!(collector.ids().len() as u64, stats.delivered);
}

#[test]
fn a_pause_asked_of_one_request_is_kept_by_all_lanes() {
    let collector = Collector::concurrent(|request| match request {
        0 => Reply::Refuse(429, "retry-after: 3600\r\n", Vec::new()),
        _ => Reply::Accept,
    });
    let (builder, _) = builder(&collector.endpoint());
    let exporter = builder.batch_records(5).retry_budget(Duration::MAX).build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 1);
    assert!(exporter.flush(Duration::from_millis(300)).is_err());
    assert_eq!(collector.requests(), 1);
    end_spans(&provider, 50);
    assert!(exporter.flush(Duration::from_millis(100)).is_err());
    assert_eq!(collector.requests(), 1, "nobody asks before the pause is over");
    assert_eq!(exporter.stats().in_flight, 51);
    // Dropped without it, the exporter would give them some seconds.
    assert!(exporter.shutdown(Duration::ZERO).is_err());
}

#[test]
fn a_pause_beyond_the_budget_is_kept_by_later_requests_for_as_long_as_the_budget() {
    let collector = Collector::scripted(|request| match request {
        0 => Reply::Refuse(503, "retry-after: 3600\r\n", Vec::new()),
        _ => Reply::Accept,
    });
    let budget = Duration::from_millis(700);
    let exporter = builder(&collector.endpoint()).0.retry_budget(budget).build().unwrap();
    let provider = provider(&exporter, "service");
    let begun = Instant::now();
    end_spans(&provider, 1);
    assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 1, rejected: 0 }));
    assert_eq!(collector.requests(), 1, "its end would have come too late");
    end_spans(&provider, 5);
    assert_eq!(exporter.flush(LONG), Ok(()));
    // A lower bound only.
    assert!(begun.elapsed() >= budget, "{:?}", begun.elapsed());
    assert_eq!((collector.requests(), collector.spans().len()), (2, 5));
}
