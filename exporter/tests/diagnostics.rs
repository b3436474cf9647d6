//! What the exporter tells its user: each kind once, with what a program needs to act on it.

mod support;

use std::sync::{Arc, Mutex};

use spanwire::direct::{Resource, Scope, Span, Spans};
use spanwire::{Builder, Diagnostic, DiagnosticKind as Kind, Exporter, FlushError, Signal};

use support::otel::{LONG, end_spans, provider};
use support::{Collector, Reply};

#[test]
fn a_diagnostic_names_signal_cause_and_count_and_is_told_once_in_a_while() {
    let collector = Collector::scripted(|_| Reply::Refuse(400, "", b"no".to_vec()));
    let (builder, told) = told();
    let exporter = builder.endpoint(collector.endpoint()).build().unwrap();
    let provider = provider(&exporter, "service");
    for _ in 0..3 {
        end_spans(&provider, 1);
        exporter.flush(LONG).unwrap_err();
    }
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].kind, told[0].signal), (Kind::Refused, Some(Signal::Traces)));
    assert_eq!(told[0].error_type.as_deref(), Some("400"));
    assert_eq!((told[0].count, told[0].suppressed), (1, 0));
}

#[test]
fn an_attempt_that_fails_is_told_with_its_cause_and_so_is_the_end_of_it() {
    let replies = |request| match request {
        0 => Reply::Refuse(503, "", Vec::new()),
        1 => Reply::HangUp,
        _ => Reply::Accept,
    };
    let collector = Collector::scripted(replies);
    let (builder, told) = told();
    let exporter = builder.endpoint(collector.endpoint()).build().unwrap();
    end_spans(&provider(&exporter, "service"), 1);
    exporter.flush(LONG).unwrap();
    let told = told.lock().unwrap();
    let kinds: Vec<_> = told.iter().map(|it| (it.kind, it.error_type.as_deref())).collect();
    assert_eq!(kinds, [(Kind::ExportFailing, Some("503")), (Kind::ExportRecovered, None)]);
}

#[test]
fn scopes_that_are_made_up_are_told_of_and_their_records_counted() {
    let collector = Collector::start();
    let (builder, told) = told();
    let exporter = builder.endpoint(collector.endpoint()).build().unwrap();
    let scopes: Vec<_> = (0..4_200).map(|number| format!("scope {number}")).collect();
    for scope in &scopes {
        let spans = Spans::new(&exporter, &Resource::default(), &Scope::new(scope, ""));
        spans.end(&Span::new([1; 16], [1; 8], "span"));
    }
    exporter.flush(LONG).unwrap();
    let stats = exporter.stats();
    assert!(stats.dropped.too_many_scopes > 0);
    assert_eq!(stats.delivered + stats.dropped.too_many_scopes, 4_200);
    assert_eq!(of(&told, Kind::TooManyScopes), 1);
}

#[test]
fn a_full_buffer_is_told_of_when_it_begins_and_when_it_is_over() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let collector = Collector::scripted(move |_| {
        let _ = held.recv();
        Reply::Accept
    });
    let (builder, told) = told();
    let builder = builder.endpoint(collector.endpoint()).buffer_bytes(1 << 20).in_flight(1);
    let exporter = builder.build().unwrap();
    let provider = provider(&exporter, "service");
    while exporter.stats().dropped.queue_full == 0 {
        end_spans(&provider, 1000);
    }
    drop(release);
    exporter.flush(LONG).unwrap();
    // The flush found it empty.
    assert_eq!((of(&told, Kind::BufferFull), of(&told, Kind::BufferRecovered)), (1, 1));
}

#[test]
fn a_flush_that_comes_too_late_leaves_the_data_in_the_queue_for_the_next_one() {
    let mut collector = Collector::start();
    let address = collector.address();
    collector.stop();
    let (builder, _told) = told();
    let exporter = builder.endpoint(collector.endpoint()).build().unwrap();
    // Dropped at the end: a provider waits for a flush of its own.
    let provider = provider(&exporter, "service");
    end_spans(&provider, 5);
    let late = exporter.flush(std::time::Duration::from_millis(50));
    assert_eq!(late, Err(FlushError::Timeout { pending: 5 }));
    assert_eq!(exporter.stats().in_flight, 5);
    let collector = Collector::restarted(address, |_| Reply::Accept);
    exporter.flush(LONG).unwrap();
    assert_eq!(collector.ids().len(), 5);
    exporter.shutdown(LONG).unwrap();
}

/// An exporter that keeps its diagnostics for the test.
fn told() -> (Builder, Arc<Mutex<Vec<Diagnostic>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&told);
    let backoff = std::time::Duration::from_millis(10);
    let builder = Exporter::builder()
        .env_from(|_| None)
        .retry_backoff(backoff, backoff)
        // Where io_uring is denied, that is told first.
        .on_diagnostic(move |diagnostic| match diagnostic.kind {
            Kind::Driver => {}
            _ => kept.lock().unwrap().push(diagnostic.clone()),
        });
    (builder, told)
}

fn of(told: &Mutex<Vec<Diagnostic>>, kind: Kind) -> usize {
    told.lock().unwrap().iter().filter(|diagnostic| diagnostic.kind == kind).count()
}
