//! `spanwire::init`: one call sets everything up, and its guard ends it. What is global and what
//! comes from the process's environment is tested in processes of its own: this program again.

mod support;

#[allow(dead_code, reason = "an example has a `main`")]
#[path = "../examples/init.rs"]
mod example;

use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::Context;
use opentelemetry::global;
use opentelemetry::logs::{Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry::trace::{Tracer, TracerProvider};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, Span, SpanData, SpanProcessor};
use spanwire::{Exporter, FlushError, Guard, GuardError, Init, InitError, Io, ShutdownError};

use support::Collector;
use support::otel::{LONG, drivers};

/// What a child process does, by name.
const SCENARIOS: [(&str, fn()); 8] = [
    ("events and links", events_and_links),
    ("example", || example::main().unwrap()),
    ("in one tokio thread", in_one_tokio_thread),
    ("second time", second_time),
    ("disabled", disabled),
    ("dropped", dropped),
    ("propagators", propagators),
    ("collecting", collecting),
];

/// Not a test but what the tests below start: this program, with a scenario in its environment.
#[test]
fn child() {
    let Ok(name) = std::env::var("INIT_SCENARIO") else { return };
    let found = SCENARIOS.iter().find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("no scenario {name}")).1();
}

/// Runs a scenario with nothing but these variables.
fn run(scenario: &str, variables: &[(&str, &str)]) -> Output {
    assert!(SCENARIOS.iter().any(|(name, _)| *name == scenario));
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["child", "--exact", "--nocapture"]).env_clear();
    let output = child.env("INIT_SCENARIO", scenario).envs(variables.iter().copied()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{scenario}: {output:?}");
    output
}

/// How many records of each signal arrived.
fn arrived(collector: &Collector) -> [usize; 3] {
    [collector.spans().len(), collector.logs().len(), collector.points()]
}

#[test]
fn one_call_exports_all_three_signals_as_the_environment_says_over_both_drivers() {
    for io in drivers() {
        let io = match io {
            Io::Uring => "uring",
            Io::Epoll => "epoll",
            _ => "auto",
        };
        let collector = Collector::start();
        run(
            "example",
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint()),
                ("OTEL_SERVICE_NAME", "the shop"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.version=7"),
                ("SPANWIRE_IO", io),
            ],
        );
        assert_eq!(arrived(&collector), [1, 1, 1]);
        assert!(collector.spans()[0].service.contains("the shop"));
        assert!(collector.logs()[0].service.contains("the shop"));
        let resource = collector.metrics()[0].resource_metrics[0].resource.clone().unwrap();
        let keys: Vec<_> = resource.attributes.iter().map(|it| it.key.as_str()).collect();
        assert!(keys.contains(&"service.name") && keys.contains(&"service.version"), "{keys:?}");
        // The log record names the span that it was written in.
        assert_eq!(collector.logs()[0].record.span_id, collector.spans()[0].span.span_id);
    }
}

#[test]
fn it_works_inside_of_a_tokio_with_one_thread() {
    let collector = Collector::start();
    run("in one tokio thread", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    // The sum is collected twice.
    assert_eq!(arrived(&collector), [1, 1, 2]);
}

fn in_one_tokio_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let guard = spanwire::init().unwrap();
        example::sell(&guard, "4711");
        guard.flush(LONG).unwrap();
        guard.shutdown(LONG).unwrap();
    });
}

#[test]
fn the_second_time_in_a_process_is_an_error_and_the_first_goes_on() {
    let collector = Collector::start();
    run("second time", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    assert_eq!(arrived(&collector), [1, 1, 1]);
}

fn second_time() {
    let wrong = Exporter::builder().endpoint("ftp://h");
    assert!(matches!(spanwire::init_with(wrong), Err(InitError::Build(_))));
    // What failed has changed nothing.
    let guard = spanwire::init().unwrap();
    assert!(matches!(spanwire::init(), Err(InitError::AlreadyDone)));
    example::sell(&guard, "4711");
    guard.shutdown(LONG).unwrap();
    assert!(matches!(spanwire::init(), Err(InitError::AlreadyDone)));
}

#[test]
fn a_disabled_sdk_starts_no_thread_and_exports_nothing_but_propagates_context() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    run("disabled", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_SDK_DISABLED", "true")]);
    assert_eq!((arrived(&collector), collector.connections()), ([0; 3], 0));
}

fn disabled() {
    let threads = || std::fs::read_dir("/proc/self/task").unwrap().count();
    let before = threads();
    let guard = spanwire::init().unwrap();
    assert!(guard.exporter().is_none());
    assert_eq!(threads(), before);
    example::sell(&guard, "4711");
    let span = guard.tracer_provider().tracer("shop").start("a span");
    assert!(!opentelemetry::trace::Span::is_recording(&span));
    assert_eq!(fields(), ["baggage", "traceparent", "tracestate"]);
    guard.flush(LONG).unwrap();
    guard.shutdown(LONG).unwrap();
}

/// The headers that the global propagator knows.
fn fields() -> Vec<String> {
    global::get_text_map_propagator(|propagator| {
        let mut fields: Vec<_> = propagator.fields().map(str::to_owned).collect();
        fields.sort();
        fields
    })
}

#[test]
fn the_propagators_are_those_of_the_environment() {
    for (list, expected) in [
        ("", "baggage,traceparent,tracestate"),
        ("baggage", "baggage"),
        ("tracecontext,b3", "traceparent,tracestate"),
        ("none", ""),
    ] {
        let variables = [("OTEL_PROPAGATORS", list), ("EXPECTED", expected)];
        run("propagators", &[&variables[..], &[("OTEL_LOG_LEVEL", "none")]].concat());
    }
}

fn propagators() {
    let guard = spanwire::init().unwrap();
    assert_eq!(fields().join(","), std::env::var("EXPECTED").unwrap());
    guard.shutdown(LONG).unwrap();
}

#[test]
fn a_guard_that_is_dropped_delivers_what_came_in() {
    let collector = Collector::start();
    run("dropped", &[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint())]);
    assert_eq!(arrived(&collector), [1, 1, 1]);
}

fn dropped() {
    let guard = spanwire::init().unwrap();
    example::sell(&guard, "4711");
    drop(guard);
}

#[test]
fn metrics_are_collected_as_often_as_the_environment_says() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    run(
        "collecting",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("OTEL_METRIC_EXPORT_INTERVAL", "10")],
    );
    assert!(collector.metrics().len() > 2);
}

fn collecting() {
    let guard = spanwire::init().unwrap();
    example::sell(&guard, "4711");
    let delivered = || guard.exporter().unwrap().stats().metrics.delivered;
    // Nobody asks for it; at the default interval the test would hang until it is killed.
    while delivered() < 3 {
        std::thread::yield_now();
    }
    guard.shutdown(LONG).unwrap();
}

#[test]
fn what_the_sdk_reads_by_itself_applies() {
    for (sampler, ratio, expected) in [
        ("always_off", "", 0),
        ("traceidratio", "0", 0),
        ("parentbased_traceidratio", "1", 1),
        ("always_on", "", 1),
    ] {
        let collector = Collector::start();
        run(
            "example",
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.endpoint()),
                ("OTEL_TRACES_SAMPLER", sampler),
                ("OTEL_TRACES_SAMPLER_ARG", ratio),
            ],
        );
        assert_eq!(collector.spans().len(), expected, "{sampler}");
    }
    let collector = Collector::start();
    run(
        "events and links",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &*collector.endpoint()),
            ("OTEL_SPAN_EVENT_COUNT_LIMIT", "1"),
            ("OTEL_SPAN_LINK_COUNT_LIMIT", "2"),
        ],
    );
    let span = collector.spans()[0].span.clone();
    assert_eq!((span.events.len(), span.dropped_events_count), (1, 2));
    assert_eq!((span.links.len(), span.dropped_links_count), (2, 1));
}

fn events_and_links() {
    use opentelemetry::trace::{Span, SpanContext};
    let guard = spanwire::init().unwrap();
    let mut span = guard.tracer_provider().tracer("shop").start("a span");
    for name in ["one", "two", "three"] {
        span.add_event(name, vec![]);
        span.add_link(SpanContext::NONE, vec![]);
    }
    span.end();
    guard.shutdown(LONG).unwrap();
}

/// As the environment of nobody says.
fn exporter(endpoint: &str) -> spanwire::Builder {
    Exporter::builder().env_from(|_| None).endpoint(endpoint).on_diagnostic(|_| {})
}

/// One record of each signal, without any global.
fn emit(guard: &Guard) {
    guard.tracer_provider().tracer("shop").in_span("sell", |_cx| {});
    let logger = guard.logger_provider().logger("shop");
    logger.emit(logger.create_log_record());
    guard.meter_provider().meter("shop").u64_counter("sales").build().add(1, &[]);
}

#[test]
fn a_flush_collects_metrics_and_delivers_everything_and_the_guard_goes_on() {
    let collector = Collector::start();
    let init = Init::builder().exporter(exporter(&collector.endpoint())).without_globals();
    let guard = init.install().unwrap();
    emit(&guard);
    guard.flush(LONG).unwrap();
    assert_eq!(arrived(&collector), [1, 1, 1]);
    emit(&guard);
    guard.shutdown(LONG).unwrap();
    assert_eq!(arrived(&collector), [2, 2, 2]);
}

/// Hears whether telemetry is suppressed where the guard asks a processor for something.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<Vec<bool>>>);

impl SpanProcessor for Asked {
    fn on_start(&self, _span: &mut Span, _cx: &Context) {}

    fn on_end(&self, _span: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        self.0.lock().unwrap().push(Context::is_current_telemetry_suppressed());
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        self.force_flush()
    }
}

#[test]
fn what_a_flush_or_shutdown_does_by_the_way_is_not_exported() {
    let (collector, asked) = (Collector::start(), Asked::default());
    let further = asked.clone();
    let guard = Init::builder()
        .exporter(exporter(&collector.endpoint()))
        .tracer_provider(|builder| builder.with_span_processor(further))
        .without_globals()
        .install()
        .unwrap();
    guard.flush(LONG).unwrap();
    guard.shutdown(LONG).unwrap();
    assert_eq!(*asked.0.lock().unwrap(), [true, true]);
}

#[test]
fn the_code_chooses_resource_sampler_and_interval_and_nothing_need_be_global() {
    let collector = Collector::start();
    for _ in 0..2 {
        let guard = Init::builder()
            .exporter(exporter(&collector.endpoint()))
            .resource(Resource::builder_empty().with_service_name("mine").build())
            .tracer_provider(|builder| builder.with_sampler(Sampler::AlwaysOff))
            .metric_interval(Duration::from_millis(10))
            .without_globals()
            .install()
            .unwrap();
        emit(&guard);
        collector.wait_for_points(1);
        guard.shutdown(LONG).unwrap();
    }
    assert_eq!((collector.spans().len(), collector.logs().len()), (0, 2));
    assert!(collector.logs()[0].service.contains("mine"));
}

#[test]
fn a_signal_that_nobody_exports_has_a_provider_all_the_same() {
    let collector = Collector::start();
    let endpoint = collector.endpoint();
    for (name, expected) in [
        ("OTEL_TRACES_EXPORTER", [0, 1, 1]),
        ("OTEL_LOGS_EXPORTER", [1, 1, 2]),
        ("OTEL_METRICS_EXPORTER", [2, 2, 2]),
    ] {
        let none = move |variable: &str| (variable == name).then(|| "none".to_owned());
        let builder = Exporter::builder().env_from(none).endpoint(&*endpoint);
        let guard = Init::builder().exporter(builder).without_globals().install().unwrap();
        emit(&guard);
        guard.shutdown(LONG).unwrap();
        assert_eq!(arrived(&collector), expected, "{name}");
    }
}

#[test]
fn an_end_without_a_collector_is_an_error_with_counts_by_its_deadline() {
    let init = || {
        let exporter = exporter(&format!("http://{}", support::dead_address()));
        Init::builder().exporter(exporter).without_globals().install().unwrap()
    };
    let guard = init();
    emit(&guard);
    let limit = Duration::from_millis(50);
    match guard.flush(limit) {
        Err(GuardError::Flush(FlushError::Timeout { pending })) => assert!(pending >= 2),
        other => panic!("{other:?}"),
    }
    match guard.shutdown(limit) {
        Err(GuardError::Shutdown(ShutdownError::Timeout { left })) => assert!(left >= 2),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_provider_that_was_shut_down_before_is_no_error_of_the_guard() {
    let collector = Collector::start();
    let init = Init::builder().exporter(exporter(&collector.endpoint())).without_globals();
    let guard = init.install().unwrap();
    emit(&guard);
    guard.tracer_provider().shutdown().unwrap();
    guard.shutdown(LONG).unwrap();
    assert_eq!(arrived(&collector), [1, 1, 1]);
}
