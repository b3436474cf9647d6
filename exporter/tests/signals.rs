//! Three signals in one exporter: each has its own way to the collector, and its own counts.

mod support;

use std::time::Duration;

use opentelemetry::logs::{Logger, LoggerProvider};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::trace::SpanProcessor as _;
use spanwire::otel_0_33::{LogProcessor, SpanProcessor};
use spanwire::{Exporter, FlushError, ShutdownError, Signal};

use support::otel::{LONG, assert_balanced, builder, drivers, end_spans, provider};
use support::{Collector, Reply};

#[test]
fn each_signal_goes_to_its_own_path_and_flush_means_all_of_them() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        end_spans(&provider(&exporter, "service"), 3);
        emit(&logger_provider(&exporter), 5);
        exporter.flush(LONG).unwrap();
        assert_eq!((collector.spans().len(), collector.logs().len()), (3, 5));
        let mut paths: Vec<_> = collector.heads().iter().filter_map(|head| path(head)).collect();
        paths.sort();
        assert_eq!(paths, ["/v1/logs", "/v1/traces"]);
        let stats = exporter.stats();
        assert_balanced(&stats, 8);
        let emitted = Signal::ALL.map(|signal| stats.signal(signal).emitted);
        assert_eq!(emitted, [3, 5, 0]);
        for signal in Signal::ALL {
            let of_signal = stats.signal(signal);
            assert_eq!(of_signal.accounted_for(), of_signal.emitted);
        }
    }
}

#[test]
fn a_collector_of_logs_that_stalls_does_not_hold_up_traces() {
    let (collector, stalled) = (Collector::start(), Collector::concurrent(|_| Reply::Stall));
    let exporter = builder(&collector.endpoint())
        .0
        .logs_endpoint(format!("{}/v1/logs", stalled.endpoint()))
        .in_flight(1)
        .build()
        .unwrap();
    let door = SpanProcessor::new(&exporter);
    let (spans, logs) = (provider(&exporter, "service"), logger_provider(&exporter));
    emit(&logs, 5);
    let error = exporter.flush(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error, FlushError::Timeout { pending: 5 });
    stalled.wait_for_requests_begun(1);
    end_spans(&spans, 3);
    // A door's flush means its own signal.
    door.force_flush().unwrap();
    assert_eq!(collector.ids().len(), 3);
    let stats = exporter.stats();
    assert_eq!((stats.traces.delivered, stats.logs.in_flight), (3, 5));
    let error = exporter.shutdown(Duration::ZERO).unwrap_err();
    assert_eq!(error, ShutdownError::Timeout { left: 5 });
    assert_balanced(&exporter.stats(), 8);
}

#[test]
fn a_delivery_that_dies_leaves_the_other_signals_alone() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let (spans, logs) = (provider(&exporter, "service"), logger_provider(&exporter));
    exporter.inject_panic();
    assert_eq!(exporter.flush(LONG), Err(FlushError::Dead));
    end_spans(&spans, 2);
    emit(&logs, 3);
    logs.force_flush().unwrap();
    assert_eq!(collector.logs().len(), 3);
    assert_eq!(exporter.shutdown(LONG), Err(ShutdownError::Dead));
    let stats = exporter.stats();
    assert_balanced(&stats, 5);
    assert_eq!((stats.logs.delivered, stats.traces.dropped.exporter_died), (3, 2));
}

#[test]
fn what_is_lost_of_one_signal_is_told_by_the_flush_of_all() {
    let collector = Collector::start();
    let refusing = Collector::scripted(|_| Reply::Refuse(400, "", Vec::new()));
    let (builder, diagnostics) = builder(&collector.endpoint());
    let exporter = builder.logs_endpoint(refusing.endpoint()).build().unwrap();
    let spans = provider(&exporter, "service");
    end_spans(&spans, 1);
    emit(&logger_provider(&exporter), 2);
    spans.force_flush().unwrap();
    let error = exporter.flush(LONG).unwrap_err();
    assert_eq!(error, FlushError::Lost { dropped: 2, rejected: 0 });
    exporter.flush(LONG).unwrap();
    let told = diagnostics.of_kind("Refused");
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("Refused: logs: "), "{told:?}");
}

fn logger_provider(exporter: &Exporter) -> SdkLoggerProvider {
    SdkLoggerProvider::builder().with_log_processor(LogProcessor::new(exporter)).build()
}

fn emit(provider: &SdkLoggerProvider, count: usize) {
    let logger = provider.logger("test");
    (0..count).for_each(|_| logger.emit(logger.create_log_record()));
}

fn path(head: &str) -> Option<String> {
    head.split(' ').nth(1).map(str::to_owned)
}
