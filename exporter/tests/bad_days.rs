//! Collectors that are away, killed, stalled; and what the application notices of it: nothing.

mod support;

use std::time::Duration;

use spanwire::{FlushError, ShutdownError};

use support::otel::{LONG, assert_balanced, builder, drivers, end_spans, provider};
use support::{Collector, Reply, dead_address};

#[test]
fn an_endpoint_that_is_down_for_ever_costs_one_diagnostic_and_counted_spans() {
    for io in drivers() {
        let (builder, diagnostics) = builder(&format!("http://{}", dead_address()));
        let exporter = builder.io(io).build().unwrap();
        let provider = provider(&exporter, "service");
        end_spans(&provider, 100);
        let flushed = exporter.flush(Duration::from_millis(200));
        assert_eq!(flushed, Err(FlushError::Timeout { pending: 100 }));
        let stats = exporter.stats();
        assert_eq!((stats.in_flight, stats.delivered), (100, 0));
        assert_balanced(&stats, 100);
        end_spans(&provider, 1);
        let ended = exporter.shutdown(Duration::from_millis(200));
        assert_eq!(ended, Err(ShutdownError::Timeout { left: 101 }));
        let stats = exporter.stats();
        assert_eq!((stats.dropped.shutdown, stats.in_flight), (101, 0));
        assert_balanced(&stats, 101);
        assert!(stats.retries > 0, "{stats:?}");
        assert_eq!(diagnostics.of_kind("ExportFailing").len(), 1);
    }
}

#[test]
fn a_host_name_that_does_not_resolve_is_retried_and_counted() {
    let (builder, diagnostics) = builder("http://collector.invalid:4318");
    let exporter = builder.build().unwrap();
    end_spans(&provider(&exporter, "service"), 2);
    assert!(exporter.shutdown(Duration::from_millis(300)).is_err());
    assert_balanced(&exporter.stats(), 2);
    assert!(diagnostics.of_kind("ExportFailing").len() <= 1);
}

#[test]
fn a_collector_killed_and_restarted_loses_nothing_within_the_budget() {
    for io in drivers() {
        let mut collector = Collector::start();
        let address = collector.address();
        let (builder, diagnostics) = builder(&collector.endpoint());
        let exporter = builder.io(io).build().unwrap();
        let provider = provider(&exporter, "service");
        let mut ended = end_spans(&provider, 50);
        exporter.flush(LONG).unwrap();
        let before = collector.ids();
        collector.stop();

        ended.extend(end_spans(&provider, 70));
        assert!(exporter.flush(Duration::from_millis(100)).is_err());
        let collector = Collector::restarted(address, |_| Reply::Accept);
        exporter.flush(LONG).unwrap();

        let after = collector.ids();
        assert_eq!((before.len(), after.len()), (50, 70));
        assert!(ended.iter().all(|id| before.contains_key(id) != after.contains_key(id)));
        let stats = exporter.stats();
        assert_eq!((stats.delivered, stats.dropped.total()), (120, 0));
        assert_eq!(diagnostics.of_kind("ExportRecovered").len(), 1);
    }
}

#[test]
fn a_connection_lost_without_an_answer_is_resent_and_only_that_duplicates() {
    for (reply, copies) in [(Reply::HangUp, 1), (Reply::KeepAndHangUp, 2)] {
        let first = reply.clone();
        let collector = Collector::scripted(move |request| match request {
            0 => first.clone(),
            _ => Reply::Accept,
        });
        let exporter = builder(&collector.endpoint()).0.build().unwrap();
        let provider = provider(&exporter, "service");
        let uncertain = end_spans(&provider, 2);
        exporter.flush(LONG).unwrap();
        let certain = end_spans(&provider, 2);
        exporter.flush(LONG).unwrap();
        let ids = collector.ids();
        assert!(uncertain.iter().all(|id| ids[id] == copies), "{reply:?}");
        assert!(certain.iter().all(|id| ids[id] == 1), "{reply:?}");
        assert_eq!(exporter.stats().delivered, 4);
    }
}

#[test]
fn a_collector_that_stalls_runs_into_the_timeout_and_gets_the_batch_again() {
    for io in drivers() {
        let collector = Collector::scripted(|request| match request {
            0 => Reply::Stall,
            _ => Reply::Accept,
        });
        let exporter = builder(&collector.endpoint())
            .0
            .io(io)
            .timeout(Duration::from_millis(100))
            .build()
            .unwrap();
        end_spans(&provider(&exporter, "service"), 3);
        exporter.flush(LONG).unwrap();
        let stats = exporter.stats();
        assert_eq!(stats.delivered, 3);
        // On a busy machine an answer may take longer than the timeout once more.
        assert!(stats.retries >= 1, "{io:?}");
        assert_eq!(collector.ids().len(), 3);
    }
}

#[test]
fn while_the_collector_stalls_a_flush_keeps_its_deadline_and_the_data_stays() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let collector = Collector::scripted(move |request| {
        if request == 0 {
            let _ = held.recv();
        }
        Reply::Accept
    });
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    end_spans(&provider(&exporter, "service"), 3);
    let flushed = exporter.flush(Duration::from_millis(50));
    assert_eq!(flushed, Err(FlushError::Timeout { pending: 3 }));
    release.send(()).unwrap();
    exporter.flush(LONG).unwrap();
    assert_eq!(collector.ids().len(), 3);
}

#[test]
fn a_buffer_that_is_full_drops_the_newest_counts_them_and_says_so_once() {
    let (builder, diagnostics) = builder(&format!("http://{}", dead_address()));
    let exporter = builder.buffer_bytes(1 << 20).build().unwrap();
    let provider = provider(&exporter, "service");
    let emitted = 40_000;
    end_spans(&provider, emitted);
    assert!(exporter.flush(Duration::from_millis(50)).is_err());
    let stats = exporter.stats();
    assert!(stats.dropped.queue_full > 0, "{stats:?}");
    assert_balanced(&stats, emitted);
    assert!(exporter.shutdown(Duration::from_millis(50)).is_err());
    assert_balanced(&exporter.stats(), emitted);
    assert_eq!(diagnostics.of_kind("BufferFull").len(), 1);
}

#[test]
fn a_panic_of_the_exporter_thread_is_told_at_once_and_the_data_is_counted() {
    let (builder, diagnostics) = builder(&format!("http://{}", dead_address()));
    let exporter = builder.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 5);
    exporter.inject_panic();
    // Either the flush is asked before the panic and abandoned, or it finds the thread dead.
    assert_eq!(exporter.flush(LONG), Err(FlushError::Dead));
    end_spans(&provider, 2);
    let stats = exporter.stats();
    assert_eq!((stats.dropped.exporter_died, stats.in_flight), (7, 0));
    assert_balanced(&stats, 7);
    assert_eq!(exporter.shutdown(LONG), Err(ShutdownError::Dead));
    assert_eq!(diagnostics.of_kind("Died").len(), 1);
}

#[test]
fn a_panic_with_batches_under_way_counts_them_all() {
    let collector = Collector::scripted(|_| Reply::Stall);
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 5);
    assert!(exporter.flush(Duration::ZERO).is_err());
    collector.wait_for_requests(1);
    end_spans(&provider, 3);
    exporter.inject_panic();
    assert_eq!(exporter.flush(LONG), Err(FlushError::Dead));
    let stats = exporter.stats();
    assert_eq!(stats.dropped.exporter_died, 8);
    assert_balanced(&stats, 8);
}

#[test]
fn a_shutdown_that_is_cut_off_in_the_middle_of_a_request_counts_it() {
    let collector = Collector::scripted(|_| Reply::Stall);
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 5);
    assert!(exporter.flush(Duration::ZERO).is_err());
    collector.wait_for_requests(1);
    let ended = exporter.shutdown(Duration::ZERO);
    assert_eq!(ended, Err(ShutdownError::Timeout { left: 5 }));
    assert_eq!(exporter.stats().dropped.shutdown, 5);
    assert_balanced(&exporter.stats(), 5);
}

#[test]
fn a_retry_budget_that_runs_out_is_a_counted_drop() {
    let (builder, diagnostics) = builder(&format!("http://{}", dead_address()));
    let exporter = builder.retry_budget(Duration::from_millis(100)).build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 4);
    assert_eq!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 4, rejected: 0 }));
    let stats = exporter.stats();
    assert_eq!(stats.dropped.retries_exhausted, 4);
    assert!(stats.retries >= 1, "{stats:?}");
    assert_balanced(&stats, 4);
    assert_eq!(diagnostics.of_kind("RetriesExhausted").len(), 1);
}

#[test]
fn a_shutdown_does_not_sit_out_a_pause_between_attempts() {
    let mut collector = Collector::start();
    let address = collector.address();
    let exporter = builder(&collector.endpoint())
        .0
        .retry_backoff(Duration::from_secs(3600), Duration::from_secs(3600))
        .retry_budget(Duration::MAX)
        .build()
        .unwrap();
    let provider = provider(&exporter, "service");
    collector.stop();
    end_spans(&provider, 5);
    assert!(exporter.flush(Duration::from_millis(100)).is_err());
    let collector = Collector::restarted(address, |_| Reply::Accept);
    assert_eq!(exporter.shutdown(LONG), Ok(()));
    assert_eq!(collector.ids().len(), 5);
}

#[test]
fn flushes_during_an_outage_do_not_cut_the_data_into_crumbs() {
    let mut collector = Collector::start();
    let address = collector.address();
    let exporter = builder(&collector.endpoint()).0.in_flight(1).build().unwrap();
    let provider = provider(&exporter, "service");
    collector.stop();
    for _ in 0..50 {
        end_spans(&provider, 1);
        assert!(exporter.flush(Duration::ZERO).is_err());
    }
    let collector = Collector::restarted(address, |_| Reply::Accept);
    exporter.flush(LONG).unwrap();
    assert_eq!(collector.ids().len(), 50);
    assert!(collector.requests() <= 3, "{} requests", collector.requests());
}

#[test]
fn a_collector_killed_in_the_middle_of_a_request_gets_it_again() {
    for io in drivers() {
        let mut collector = Collector::scripted(|_| Reply::Stall);
        let address = collector.address();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        let provider = provider(&exporter, "service");
        let ended = end_spans(&provider, 20);
        assert!(exporter.flush(Duration::ZERO).is_err());
        collector.wait_for_requests(1);
        collector.stop();
        let collector = Collector::restarted(address, |_| Reply::Accept);
        exporter.flush(LONG).unwrap();
        assert_eq!(collector.ids().len(), ended.len());
        assert_eq!(exporter.stats().delivered, 20);
    }
}

#[test]
fn a_diagnostic_handler_that_panics_harms_nobody() {
    let collector = Collector::scripted(|request| match request {
        0 => Reply::Refuse(400, "", Vec::new()),
        _ => Reply::Accept,
    });
    let exporter = builder(&collector.endpoint())
        .0
        .on_diagnostic(|_| panic!("a handler that panics"))
        .build()
        .unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 1);
    assert!(exporter.flush(LONG).is_err());
    end_spans(&provider, 1);
    assert_eq!(exporter.flush(LONG), Ok(()));
}
