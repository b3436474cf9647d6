//! Configuration, as its user meets it: code beats the signal's variable beats the generic one
//! beats the default, and what cannot be done is an error of `build` that says where it came from.

mod support;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::logs::{Logger, LoggerProvider};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use spanwire::otel_0_33::{LogProcessor, MetricExporter};
use spanwire::{
    BuildError, Builder, Compression, DiagnosticLevel, Explanation, Exporter, FlushError, Io,
    Protocol, Signal, SignalExporter, Standing,
};

use support::otel::{LONG, assert_balanced, builder, drivers, end_spans, provider};
use support::{Collector, Reply};

/// A builder that knows only these variables.
fn with_env(variables: &[(&str, &str)]) -> Builder {
    let owned = |(name, value): &(&str, &str)| (String::from(*name), String::from(*value));
    let variables: Vec<_> = variables.iter().map(owned).collect();
    Exporter::builder().env_from(move |name| {
        let found = variables.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.clone())
    })
}

/// Delivers one span, to wherever it is configured to go.
fn deliver_one(builder: Builder) {
    let exporter = builder.build().unwrap();
    let provider = provider(&exporter, "service");
    end_spans(&provider, 1);
    exporter.flush(LONG).unwrap();
    exporter.shutdown(LONG).unwrap();
}

/// The error of a configuration that cannot be built.
fn error_of(builder: Builder) -> BuildError {
    builder.build().map(|_| ()).expect_err("it must not be built")
}

#[test]
fn the_endpoint_of_the_code_beats_the_signals_beats_the_generic_one() {
    let collector = Collector::start();
    let at = |path: &str| format!("{}/{path}", collector.endpoint());
    let (generic, signal) = (at("generic"), at("signal"));
    let generic = ("OTEL_EXPORTER_OTLP_ENDPOINT", generic.as_str());
    let signal = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", signal.as_str());
    let both = || with_env(&[generic, signal]);
    deliver_one(with_env(&[generic]));
    deliver_one(both());
    deliver_one(both().endpoint(at("code")));
    deliver_one(both().endpoint(at("code")).traces_endpoint(at("code-traces")));

    let heads = collector.heads();
    let targets: Vec<_> = heads.iter().map(|head| head.split(' ').nth(1).unwrap()).collect();
    assert_eq!(targets, ["/generic/v1/traces", "/signal", "/code/v1/traces", "/code-traces"]);
}

#[test]
fn headers_of_all_sources_are_merged_by_name_and_the_nearest_source_wins() {
    let collector = Collector::start();
    let builder = with_env(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=generic,b=generic,c=generic,d=generic"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "B=signal,c=signal,d=signal"),
    ]);
    let from_code = [("C", "code"), ("e", "code")];
    deliver_one(builder.endpoint(collector.endpoint()).headers(from_code).header("D", "last"));

    let head = &collector.heads()[0];
    let mut given: Vec<_> = head.lines().filter(|line| line.find(": ") == Some(1)).collect();
    given.sort_unstable();
    assert_eq!(given, ["a: generic", "b: signal", "c: code", "d: last", "e: code"]);
}

#[test]
fn the_timeout_of_the_code_ends_an_attempt_that_the_variables_would_let_wait() {
    let collector = Collector::scripted(|request| match request {
        0 => Reply::Stall,
        _ => Reply::Accept,
    });
    let hour = "3600000";
    let builder = with_env(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", hour),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", hour),
    ]);
    let builder = builder.endpoint(collector.endpoint()).on_diagnostic(|_| {});
    // The flush succeeds, so the attempt that met silence was given up for another.
    deliver_one(builder.timeout(Duration::from_millis(50)));
    assert!(collector.requests() > 1);
}

#[test]
fn a_timeout_of_zero_delivers() {
    for io in drivers() {
        let collector = Collector::start();
        deliver_one(builder(&collector.endpoint()).0.io(io).timeout(Duration::ZERO));
        let endpoint = collector.endpoint();
        let variables = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "0"),
        ];
        deliver_one(with_env(&variables).io(io));
        assert_eq!(collector.spans().len(), 2);
    }
}

#[test]
fn the_protocol_and_compression_of_the_code_beat_variables_that_are_meant_for_others() {
    let collector = Collector::start();
    let builder = with_env(&[
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip"),
    ]);
    let builder = builder.protocol(Protocol::HttpProtobuf).compression(Compression::None);
    deliver_one(builder.endpoint(collector.endpoint()));
    assert_eq!(collector.spans().len(), 1);
}

#[test]
fn the_driver_of_the_code_beats_the_variable_whose_case_and_space_do_not_matter() {
    let driver = |builder: Builder| builder.build().unwrap().stats().driver;
    assert_eq!(driver(with_env(&[("SPANWIRE_IO", " EPoll ")])), "epoll");
    assert_eq!(driver(with_env(&[("SPANWIRE_IO", "kqueue")]).io(Io::Epoll)), "epoll");
}

#[test]
fn every_unsupported_variable_is_refused_with_its_value_and_its_name() {
    for (name, value, what) in [
        #[cfg(not(feature = "grpc"))]
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "protocol"),
        #[cfg(not(feature = "zstd"))]
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd", "compression"),
        #[cfg(not(feature = "tls"))]
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "https://h", "tls"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "grpc://h", "scheme"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "grpcs://h", "scheme"),
    ] {
        let error = error_of(with_env(&[(name, value)]));
        assert!(matches!(error, BuildError::Unsupported { .. }), "{error:?}");
        let text = error.to_string();
        let start = format!("{what} {value:?} from {name} is not supported by this build; use ");
        assert!(text.starts_with(&start), "{text}");
    }
}

#[test]
fn every_unsupported_value_of_the_code_is_refused_with_its_value_and_its_method() {
    let plain = || with_env(&[]);
    for (builder, value, method) in [
        #[cfg(not(feature = "grpc"))]
        (plain().protocol(Protocol::Grpc), "grpc", "Builder::protocol"),
        #[cfg(not(feature = "zstd"))]
        (plain().compression(Compression::Zstd), "zstd", "Builder::compression"),
        #[cfg(not(feature = "tls"))]
        (plain().endpoint("https://h"), "https://h", "Builder::endpoint"),
        (plain().traces_endpoint("grpc://h"), "grpc://h", "Builder::traces_endpoint"),
        (plain().logs_endpoint("grpcs://h"), "grpcs://h", "Builder::logs_endpoint"),
    ] {
        match error_of(builder) {
            BuildError::Unsupported { value: shown, source_name, .. } => {
                assert_eq!((&*shown, source_name), (value, method));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_unknown_word_of_the_signal_does_not_hide_the_generic_variable() {
    let collector = Collector::recording(|_| Reply::Accept);
    let builder = with_env(&[
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "carrier-pigeon"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
    ]);
    deliver_one(builder.endpoint(collector.endpoint()).on_diagnostic(|_| {}));
    assert!(collector.heads()[0].contains("application/json"), "{:?}", collector.heads());
}

#[test]
fn a_value_out_of_its_bounds_is_refused_with_its_method() {
    let plain = || with_env(&[]);
    let ms = Duration::from_millis;
    for (builder, value, method) in [
        (plain().batch_bytes(0), "0", "Builder::batch_bytes"),
        (plain().batch_records(0), "0", "Builder::batch_records"),
        (plain().request_bytes_max(1023), "1023", "Builder::request_bytes_max"),
        (plain().response_bytes_max(1023), "1023", "Builder::response_bytes_max"),
        (plain().buffer_bytes((1 << 20) - 1), "1048575", "Builder::buffer_bytes"),
        (plain().in_flight(0), "0", "Builder::in_flight"),
        (plain().in_flight(65), "65", "Builder::in_flight"),
        (plain().retry_backoff(Duration::ZERO, ms(5)), "0ns", "Builder::retry_backoff"),
        (plain().retry_backoff(ms(5), ms(4)), "4ms", "Builder::retry_backoff"),
        (with_env(&[("SPANWIRE_IO", "kqueue")]), "kqueue", "SPANWIRE_IO"),
    ] {
        match error_of(builder) {
            BuildError::InvalidValue { value: shown, source_name, .. } => {
                assert_eq!((&*shown, source_name), (value, method));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_bounds_themselves_are_accepted() {
    let ms = Duration::from_millis;
    let plain = || with_env(&[]);
    for builder in [
        plain().retry_backoff(ms(1), ms(1)),
        plain().response_bytes_max(1024),
        plain().request_bytes_max(1024),
        plain().buffer_bytes(1 << 20),
        plain().in_flight(1),
        plain().in_flight(64),
    ] {
        builder.build().unwrap();
    }
}

#[test]
fn a_header_that_cannot_be_sent_is_refused_without_what_may_be_a_secret() {
    let plain = || with_env(&[]);
    for (builder, shown) in [
        (plain().header("a", "1").header("Authorization: secret", ""), "item 2"),
        (plain().headers([("authorization", "secret\n")]), "authorization"),
        (plain().header("Accept-Encoding", "secret"), "accept-encoding"),
    ] {
        let error = error_of(builder);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        match error {
            BuildError::InvalidHeader { name, source_name: "Builder::header", .. } => {
                assert_eq!(name, shown);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn variables_without_effect_are_named() {
    let collector = Collector::start();
    let (builder, diagnostics) = builder(&collector.endpoint());
    let variables = ["OTEL_CONFIG_FILE", "OTEL_ENTITIES"];
    let set = move |name: &str| variables.contains(&name).then(|| "1".to_owned());
    drop(builder.env_from(set).build().unwrap());
    let told = diagnostics.of_kind("Configuration").join("\n");
    for name in variables {
        assert!(told.contains(&format!("{name} is ignored")), "{told}");
    }
}

#[test]
fn a_success_whose_body_is_above_the_limit_is_delivered_and_told_of() {
    let collector = Collector::scripted(|_| Reply::AcceptWith(vec![0; 1025]));
    let (builder, diagnostics) = builder(&collector.endpoint());
    let exporter = builder.response_bytes_max(1024).build().unwrap();
    end_spans(&provider(&exporter, "service"), 3);
    exporter.flush(LONG).unwrap();
    let stats = exporter.stats();
    assert_balanced(&stats, 3);
    assert_eq!((stats.delivered, stats.requests), (3, 1));
    let told = diagnostics.of_kind("PartialSuccess");
    assert!(
        told.len() == 1 && told[0].contains("the response body is above the limit"),
        "{told:?}"
    );
}

#[test]
fn a_refusal_whose_body_is_above_the_limit_is_final_even_if_its_status_is_retryable() {
    let collector = Collector::scripted(|_| Reply::Refuse(503, "", vec![b' '; 1025]));
    let exporter = builder(&collector.endpoint()).0.response_bytes_max(1024).build().unwrap();
    end_spans(&provider(&exporter, "service"), 3);
    exporter.flush(LONG).unwrap_err();
    let stats = exporter.stats();
    assert_balanced(&stats, 3);
    assert_eq!((stats.dropped.refused, stats.requests), (3, 1));
}

/// A span, a log record and a collection of metrics, by way of one exporter.
fn deliver_all(exporter: &Exporter) {
    let spans = provider(exporter, "service");
    end_spans(&spans, 1);
    let logs = SdkLoggerProvider::builder().with_log_processor(LogProcessor::new(exporter)).build();
    let logger = logs.logger("scope");
    logger.emit(logger.create_log_record());
    let metrics =
        SdkMeterProvider::builder().with_periodic_exporter(MetricExporter::new(exporter)).build();
    metrics.meter("scope").u64_counter("counter").build().add(1, &[]);
    for result in [metrics.shutdown(), logs.shutdown(), spans.shutdown()] {
        result.unwrap();
    }
    exporter.shutdown(LONG).unwrap();
}

/// How many records of each signal arrived.
fn arrived(collector: &Collector) -> [usize; 3] {
    [collector.spans().len(), collector.logs().len(), collector.points()]
}

#[test]
fn a_signal_whose_exporter_is_none_is_neither_exported_nor_counted_nor_an_error() {
    for (variable, expected) in [
        ("OTEL_TRACES_EXPORTER", [0, 1, 1]),
        ("OTEL_LOGS_EXPORTER", [1, 0, 1]),
        ("OTEL_METRICS_EXPORTER", [1, 1, 0]),
        ("OTEL_UNKNOWN_EXPORTER", [1, 1, 1]),
    ] {
        let collector = Collector::start();
        let builder = with_env(&[(variable, "none")]).endpoint(collector.endpoint());
        let exporter = builder.on_diagnostic(|_| {}).build().unwrap();
        deliver_all(&exporter);
        assert_eq!(arrived(&collector), expected, "{variable}");
        let stats = exporter.stats();
        let counted = [&stats.traces, &stats.logs, &stats.metrics].map(|it| it.emitted as usize);
        assert_eq!(counted, expected, "{variable}: {stats:?}");
        assert_eq!(stats.dropped.total(), 0);
    }
}

#[test]
fn a_disabled_sdk_exports_nothing_unless_the_code_says_otherwise() {
    let disabled = || with_env(&[("OTEL_SDK_DISABLED", "true")]);
    for (builder, expected) in [
        (disabled(), [0; 3]),
        (with_env(&[]).disabled(true), [0; 3]),
        (disabled().disabled(false), [1; 3]),
    ] {
        let collector = Collector::start();
        let exporter = builder.endpoint(collector.endpoint()).build().unwrap();
        deliver_all(&exporter);
        assert_eq!(arrived(&collector), expected);
        assert_eq!(exporter.stats().emitted as usize, expected.iter().sum::<usize>());
    }
}

#[test]
fn what_is_wrong_with_a_signal_that_nobody_exports_is_a_warning_and_no_error() {
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "carrier-pigeon"),
        #[cfg(not(feature = "grpc"))]
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc"),
        #[cfg(not(feature = "zstd"))]
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "ftp://h"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a b=secret"),
    ] {
        let told = Arc::new(Mutex::new(String::new()));
        let tell = Arc::clone(&told);
        let builder = with_env(&[(name, value), ("OTEL_METRICS_EXPORTER", "none")]);
        let builder = builder.on_diagnostic(move |told| {
            tell.lock().unwrap().push_str(&told.message);
        });
        drop(builder.build().unwrap());
        let told = told.lock().unwrap();
        assert!(told.starts_with(&format!("{name} is ignored: ")), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
}

#[test]
fn the_export_timeout_of_a_processor_bounds_the_retries_of_its_signal() {
    let collector = Collector::scripted(|_| Reply::Refuse(503, "", Vec::new()));
    let builder = with_env(&[("OTEL_BSP_EXPORT_TIMEOUT", "20")]).endpoint(collector.endpoint());
    let ms = Duration::from_millis;
    let exporter = builder.on_diagnostic(|_| {}).retry_backoff(ms(1), ms(1)).build().unwrap();
    end_spans(&provider(&exporter, "service"), 1);
    // Unless they were bounded, they would go on for five minutes.
    assert!(matches!(exporter.flush(LONG), Err(FlushError::Lost { dropped: 1, .. })));
    assert_eq!(exporter.stats().dropped.retries_exhausted, 1);
}

#[test]
fn diagnostics_below_the_level_are_not_delivered() {
    for (level, count) in [("error", 0), ("none", 0), ("warn", 1), ("info", 1), ("", 1)] {
        let told = Arc::new(AtomicUsize::new(0));
        let tell = Arc::clone(&told);
        let builder = with_env(&[("OTEL_LOG_LEVEL", level), ("OTEL_CONFIG_FILE", "x")]);
        let builder = builder.io(Io::Epoll).on_diagnostic(move |_| {
            tell.fetch_add(1, Ordering::Relaxed);
        });
        drop(builder.build().unwrap());
        assert_eq!(told.load(Ordering::Relaxed), count, "{level}");
    }
}

#[test]
fn the_code_beats_the_variables_of_who_exports_and_what_is_told() {
    let collector = Collector::start();
    let builder = with_env(&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_LOG_LEVEL", "loud")]);
    let builder = builder
        .endpoint(collector.endpoint())
        .signal_exporter(Signal::Traces, SignalExporter::Otlp)
        .diagnostic_level(DiagnosticLevel::Error)
        .on_diagnostic(|diagnostic| panic!("{diagnostic}"));
    deliver_one(builder);
    assert_eq!(collector.spans().len(), 1);
}

/// What `explain` says of one variable.
fn explained(explanation: &Explanation, name: &str) -> (Option<String>, Standing, usize) {
    let found = explanation.variables.iter().find(|variable| variable.name == name);
    let variable = found.unwrap_or_else(|| panic!("{name} is not in the table"));
    (variable.value.clone(), variable.standing.clone(), variable.remarks.len())
}

#[test]
fn what_became_of_each_variable_is_told_without_secrets() {
    let some = |text: &str| Some(text.to_owned());
    let explanation = with_env(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@h"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/?key=secret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret,secret"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "later"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_LOGS_COMPRESSION", "none"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
        ("OTEL_CONFIG_FILE", "/otel.yaml"),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "1"),
        ("OTEL_SERVICE_NAME", "shop"),
    ])
    .batch_age(Duration::ZERO)
    .attribute_count_max(3)
    .explain();
    use Signal::{Logs, Metrics, Traces};
    use Standing::{Applies, Ignored, Overruled, Refused, Unset};
    for (name, expected) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", (some("http://***@h"), Refused, 1)),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", (some("http://t/?***"), Applies(vec![Traces]), 0)),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", (None, Unset, 0)),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            (some("authorization=***,***"), Applies(vec![Traces, Logs, Metrics]), 1),
        ),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", (some("7"), Applies(vec![Traces, Logs, Metrics]), 0)),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", (some("later"), Ignored, 1)),
        (
            "OTEL_EXPORTER_OTLP_COMPRESSION",
            (some("none"), Overruled("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION"), 0),
        ),
        ("OTEL_CONFIG_FILE", (some("/otel.yaml"), Ignored, 1)),
        ("OTEL_BSP_SCHEDULE_DELAY", (some("1"), Overruled("Builder::batch_age"), 0)),
        (
            "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT",
            (some("1"), Overruled("Builder::attribute_count_max"), 0),
        ),
        ("OTEL_SERVICE_NAME", (some("shop"), Applies(vec![]), 0)),
        ("SPANWIRE_IO", (None, Unset, 0)),
    ] {
        assert_eq!(explained(&explanation, name), expected, "{name}");
    }
    let error = explanation.error.as_ref().and_then(BuildError::source_name);
    assert_eq!(error, Some("OTEL_EXPORTER_OTLP_ENDPOINT"));
    let text = explanation.to_string();
    assert!(text.ends_with("into a header, not into the URL"), "{text}");
    assert!(!format!("{text} {explanation:?}").contains("secret"), "{text}");
}

#[test]
fn an_explanation_of_nothing_has_every_setting_with_its_default() {
    let explanation = with_env(&[]).explain();
    assert!(explanation.error.is_none());
    assert!(explanation.variables.iter().all(|it| it.standing == Standing::Unset && it.is_fine()));
    let text = explanation.to_string();
    assert!(
        text.starts_with(
            "E1  OTEL_EXPORTER_OTLP_{TRACES_,LOGS_,METRICS_,}ENDPOINT  (URL; default http://localhost:4318, or \
             http://localhost:4317 for grpc)\nE2 "
        ),
        "{text}"
    );
    for line in [
        "E12 OTEL_{TRACES_,LOGS_,METRICS_}EXPORTER  (",
        "E21 OTEL_{BSP_,BLRP_}SCHEDULE_DELAY  (",
        "E40 SPANWIRE_IO  (",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.ends_with("\nan exporter can be built"), "{text}");
}

#[test]
fn a_file_in_place_of_a_collector_overrules_what_says_how_to_reach_one() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("HTTPS_PROXY", "http://p"),
        ("no_proxy", "*"),
    ];
    let explanation = with_env(&variables).stdout().explain();
    for (name, _) in variables {
        let (_, standing, _) = explained(&explanation, name);
        assert_eq!(standing, Standing::Overruled("Builder::file"), "{name}");
    }
    assert!(explanation.error.is_none());
}

#[test]
fn a_grpc_endpoint_without_a_scheme_is_in_clear_only_if_it_is_said_to_be_insecure() {
    let explain = |insecure: &'static str| {
        with_env(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "h:4317"),
            ("OTEL_EXPORTER_OTLP_INSECURE", insecure),
        ])
        .explain()
    };
    let source = |insecure| explain(insecure).error.and_then(|error| error.source_name());
    if cfg!(feature = "grpc") {
        assert_eq!(source("true"), None);
        // It is TLS then, which may be a feature that is not there.
        let expected = (!cfg!(feature = "tls")).then_some("OTEL_EXPORTER_OTLP_ENDPOINT");
        assert_eq!(source("false"), expected);
    } else {
        assert_eq!(source("true"), Some("OTEL_EXPORTER_OTLP_PROTOCOL"));
    }
}
