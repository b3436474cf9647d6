//! Telemetry about telemetry: none, with a global subscriber at TRACE that turns everything into
//! spans and log records, and a collector that is away.
//!
//! A process has one global subscriber, so each driver has a process of its own.

mod support;

#[allow(dead_code, reason = "an example has a `main`")]
#[path = "../examples/tracing_logs.rs"]
mod tracing_logs;

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use spanwire::{Exporter, Io};
use tracing::subscriber::set_global_default;
use tracing::{Event, Metadata, Subscriber, error, info, info_span, span, trace, trace_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use support::otel::{LONG, assert_balanced, builder, drivers};
use support::{Collector, Reply};

/// opentelemetry-rust #2877, #761, #2897: exporting made spans and log records, which were
/// exported, which made more of them.
#[test]
fn nothing_but_the_applications_own_telemetry_is_ever_exported() {
    for io in drivers() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "an_application", "--nocapture"])
            .env(DRIVER, format!("{io:?}").to_lowercase())
            .output()
            .unwrap();
        assert!(child.status.success(), "{io:?}: {}", String::from_utf8_lossy(&child.stderr));
    }
}

/// What the other test starts as a process; nothing on its own. The exporter's handler and its
/// source of headers log and trace as well, on the exporter's thread and on one of its pool.
#[test]
fn an_application() {
    let Ok(io) = std::env::var(DRIVER) else { return };
    let mut away = Collector::start();
    away.stop();
    let (told, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let exporter = noisy_exporter(&away.endpoint(), io.parse().unwrap(), &told, &asked);
    let providers = tracing_logs::Providers::new(&exporter);
    let heard = Heard::default();
    set_global_default(providers.subscriber().with(heard.clone())).unwrap();

    for _ in 0..ROUNDS {
        info_span!("application").in_scope(|| trace!("at work"));
        exporter.flush(Duration::from_millis(20)).unwrap_err();
    }
    assert!(told.load(Ordering::Relaxed) > 0, "the handler was not called");
    assert!(asked.load(Ordering::Relaxed) > 1, "the source was not called");
    let back = Collector::restarted(away.address(), |_| Reply::Accept);
    exporter.flush(LONG).unwrap();
    assert_only_the_applications(&back);
    assert_balanced(&exporter.stats(), 2 * ROUNDS);
    exporter.shutdown(LONG).unwrap();

    // On the exporter's threads, nobody but this test has said anything, and it was heard.
    let heard = heard.0.lock().unwrap();
    let of_exporter = heard.iter().filter(|(thread, _)| thread.starts_with(THREAD));
    let targets: Vec<_> = of_exporter.map(|(_, target)| &**target).collect();
    assert!(targets.len() > 2, "{heard:?}");
    assert!(targets.iter().all(|target| *target == module_path!()), "{targets:?}");
    assert!(heard.iter().any(|(thread, _)| thread.starts_with(&format!("{THREAD}-call-"))));
}

fn noisy_exporter(
    endpoint: &str,
    io: Io,
    told: &Arc<AtomicUsize>,
    asked: &Arc<AtomicUsize>,
) -> Exporter {
    let (told, asked) = (Arc::clone(told), Arc::clone(asked));
    let on_diagnostic = move |diagnostic: &spanwire::Diagnostic| {
        trace_span!("telling").in_scope(|| error!("{diagnostic}"));
        told.fetch_add(1, Ordering::Relaxed);
    };
    let builder = builder(endpoint).0.io(io).thread_name(THREAD).on_diagnostic(on_diagnostic);
    let builder = builder.headers_from(move |_| {
        trace_span!("asking").in_scope(|| info!("for headers"));
        asked.fetch_add(1, Ordering::Relaxed);
        Ok(Vec::new())
    });
    builder.build().unwrap()
}

fn assert_only_the_applications(collector: &Collector) {
    let names: Vec<_> = collector.spans().into_iter().map(|received| received.span.name).collect();
    assert_eq!(names, vec!["application"; ROUNDS]);
    let bodies = collector.logs().into_iter().map(|log| log.record.body.and_then(|it| it.value));
    let expected = Some(Value::StringValue("at work".to_owned()));
    assert_eq!(bodies.collect::<Vec<_>>(), vec![expected; ROUNDS]);
}

/// The thread and the target of each span and event.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(String, String)>>>);

impl Heard {
    fn hear(&self, metadata: &Metadata<'_>) {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        self.0.lock().unwrap().push((thread, metadata.target().to_owned()));
    }
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        self.hear(attributes.metadata());
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.hear(event.metadata());
    }
}

const DRIVER: &str = "SPANWIRE_TEST_SUPPRESSED_IO";
const THREAD: &str = "wire";
const ROUNDS: usize = 20;
