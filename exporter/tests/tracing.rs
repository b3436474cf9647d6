//! The examples that come from `tracing`: what they make arrives, and delivering it makes nothing.

mod support;

#[allow(dead_code, reason = "an example has a `main`")]
#[path = "../examples/tracing_logs.rs"]
mod tracing_logs;
#[allow(dead_code, reason = "an example has a `main`")]
#[path = "../examples/tracing_spans.rs"]
mod tracing_spans;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use spanwire::Exporter;
use tracing::Dispatch;
use tracing::subscriber::with_default;

use support::otel::{LONG, builder, drivers};
use support::{Collector, ReceivedLog, Reply};

/// The value of an attribute.
fn attribute(attributes: &[KeyValue], key: &str) -> Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.clone().and_then(|value| value.value)
}

fn text(text: &str) -> Option<Value> {
    Some(Value::StringValue(text.to_owned()))
}

fn span(collector: &Collector, name: &str) -> Span {
    let spans = collector.spans();
    let found = spans.iter().find(|received| received.span.name == name);
    found.unwrap_or_else(|| panic!("no span {name} in {spans:#?}")).span.clone()
}

#[test]
fn spans_of_tracing_arrive_with_fields_events_and_parents_over_both_drivers() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        let provider = tracing_spans::provider(&exporter);
        let subscriber = tracing_spans::subscriber(&provider);
        let items = with_default(subscriber, || tracing_spans::handle("4711"));
        assert_eq!(items, Some(4711));
        provider.shutdown().unwrap();
        assert_eq!(collector.spans().len(), 2);

        let (parent, child) = (span(&collector, "handle"), span(&collector, "parse"));
        assert_eq!(child.parent_span_id, parent.span_id);
        assert_eq!(child.trace_id, parent.trace_id);
        assert!(parent.parent_span_id.is_empty());
        assert_eq!((parent.kind, child.kind), (2, 3));
        assert_eq!(attribute(&parent.attributes, "order"), text("4711"));
        // What a span learns late is one of its attributes as well.
        assert_eq!(attribute(&parent.attributes, "items"), Some(Value::IntValue(4711)));
        assert_eq!(parent.events[0].name, "looking the order up");
        let attempt = attribute(&parent.events[0].attributes, "attempt");
        assert_eq!(attempt, Some(Value::IntValue(1)));
        assert!(collector.spans().iter().all(|received| received.scope == "shop"));
        assert!(collector.spans().iter().all(|received| received.service.contains("shop")));
        let stats = exporter.stats();
        assert_eq!((stats.emitted, stats.delivered), (2, 2), "{stats:?}");
    }
}

#[test]
fn an_error_in_a_span_of_tracing_is_its_status() {
    let collector = Collector::start();
    let exporter = builder(&collector.endpoint()).0.build().unwrap();
    let provider = tracing_spans::provider(&exporter);
    let items =
        with_default(tracing_spans::subscriber(&provider), || tracing_spans::handle("none"));
    assert_eq!(items, None);
    exporter.flush(LONG).unwrap();
    let failed = span(&collector, "parse");
    assert_eq!(failed.status.unwrap_or_default().code, 2);
    let warned = span(&collector, "handle");
    let names: Vec<_> = warned.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["looking the order up", "there is no such order"]);
}

fn log<'a>(logs: &'a [ReceivedLog], body: &str) -> &'a ReceivedLog {
    let found =
        logs.iter().find(|log| log.record.body.clone().and_then(|body| body.value) == text(body));
    found.unwrap_or_else(|| panic!("no {body} in {logs:#?}"))
}

#[test]
fn events_of_tracing_arrive_as_log_records_of_their_span_over_both_drivers() {
    for io in drivers() {
        let collector = Collector::start();
        let exporter = builder(&collector.endpoint()).0.io(io).build().unwrap();
        let providers = tracing_logs::Providers::new(&exporter);
        with_default(providers.subscriber(), tracing_logs::handle);
        providers.shutdown().unwrap();

        let logs = collector.logs();
        assert_eq!(logs.len(), 4);
        let checkout = span(&collector, "checkout");
        let order = log(&logs, "an order came in");
        // The target of an event is the module that it stands in.
        assert_eq!(order.scope.name, "tracing::tracing_logs");
        let record = &order.record;
        assert_eq!((record.severity_number, record.severity_text.as_str()), (9, "INFO"));
        assert_eq!((&record.trace_id, &record.span_id), (&checkout.trace_id, &checkout.span_id));
        assert_eq!(record.flags, 1);
        assert!(record.observed_time_unix_nano > 0);
        assert_eq!(attribute(&record.attributes, "items"), Some(Value::IntValue(3)));
        assert_eq!(attribute(&record.attributes, "price"), Some(Value::DoubleValue(12.5)));
        assert_eq!(attribute(&record.attributes, "gift"), Some(Value::BoolValue(false)));
        assert_eq!(attribute(&record.attributes, "customer"), text("Ada"));

        let refused = log(&logs, "no money");
        assert_eq!(refused.scope.name, "shop::payment");
        assert_eq!(refused.record.event_name, "payment.refused");
        assert_eq!(refused.record.severity_number, 17);
        assert_eq!(attribute(&refused.record.attributes, "reason"), text("Some(\"limit\")"));

        let begin = log(&logs, "about to begin");
        assert_eq!((begin.record.severity_number, begin.record.trace_id.len()), (1, 0));
        let stats = exporter.stats();
        assert_eq!((stats.logs.emitted, stats.logs.delivered), (4, 4), "{stats:?}");
        assert_eq!((stats.traces.emitted, stats.traces.delivered), (1, 1), "{stats:?}");
    }
}

/// opentelemetry-rust #2877, #761: exporting made spans and log records, which were exported,
/// which made more of them.
#[test]
fn delivering_telemetry_makes_no_telemetry() {
    for io in drivers() {
        let dispatch: Arc<Mutex<Option<Dispatch>>> = Arc::default();
        let handled = Arc::new(AtomicUsize::new(0));
        // Failures too: what is told of them is told on the exporter's thread.
        let collector = Collector::scripted(|request| match request % 3 {
            0 => Reply::Refuse(503, "", Vec::new()),
            1 => Reply::Refuse(400, "", Vec::new()),
            _ => Reply::Accept,
        });
        let exporter = {
            let (dispatch, handled) = (Arc::clone(&dispatch), Arc::clone(&handled));
            let handler = move |diagnostic: &spanwire::Diagnostic| {
                let dispatch = dispatch.lock().unwrap().clone();
                let Some(dispatch) = dispatch else { return };
                tracing::dispatcher::with_default(&dispatch, || {
                    let span = tracing::trace_span!("telling");
                    span.in_scope(|| tracing::trace!("{diagnostic}"));
                });
                handled.fetch_add(1, Ordering::Relaxed);
            };
            builder(&collector.endpoint()).0.io(io).on_diagnostic(handler).build().unwrap()
        };
        let providers = tracing_logs::Providers::new(&exporter);
        *dispatch.lock().unwrap() = Some(Dispatch::new(providers.subscriber()));
        for _ in 0..5 {
            let dispatch = dispatch.lock().unwrap().clone().unwrap();
            tracing::dispatcher::with_default(&dispatch, || {
                tracing_logs::handle();
                let _: Result<_, _> = exporter.flush(LONG);
            });
        }
        assert!(handled.load(Ordering::Relaxed) > 0, "the handler was called");
        // Breaks the circle of the exporter that has the handler that has the exporter.
        dispatch.lock().unwrap().take();
        assert_quiet(&exporter, 20, 5);
    }
}

/// As many log records and spans came in as the test emitted.
fn assert_quiet(exporter: &Exporter, logs: u64, spans: u64) {
    let stats = exporter.stats();
    assert_eq!((stats.logs.emitted, stats.traces.emitted), (logs, spans), "{stats:?}");
    assert_eq!(stats.accounted_for(), stats.emitted, "{stats:?}");
}
