//! What the builder makes of code, variables and defaults, before anything runs.

use http::{HeaderName, HeaderValue};

use super::*;
use crate::model::Protocol;
use crate::transport::endpoint::{Endpoint, Scope};

fn collector(line: &LineSettings) -> (&Endpoint, &[(HeaderName, HeaderValue)]) {
    match &line.target {
        Target::Collector(collector) => (&collector.endpoint, &collector.headers),
        other => panic!("no output and no set was chosen: {other:?}"),
    }
}

/// A builder that knows only these variables.
fn with_env(variables: &'static [(&'static str, &'static str)]) -> Builder {
    Builder::new().env_from(|name| {
        let found = variables.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| (*value).to_owned())
    })
}

#[test]
fn without_code_and_variables_the_defaults_are_those_of_the_specification() {
    let settings = with_env(&[]).settings().unwrap();
    for (signal, line) in Signal::ALL.into_iter().zip(&settings.lines) {
        let url = format!("http://localhost:4318/{}", signal.path());
        let (endpoint, headers) = collector(line);
        assert_eq!(*endpoint, Endpoint::parse(&url, Scope::Signal(signal), "").unwrap());
        let Target::Collector(collector) = &line.target else { panic!("no output was chosen") };
        let choices = (collector.protocol, collector.coding.compression);
        assert_eq!(choices, (Protocol::HttpProtobuf, None));
        assert_eq!(collector.response_bytes_max, 4 << 20);
        assert_eq!(headers, []);
        assert_eq!(line.timeout, Some(Duration::from_secs(10)));
    }
    assert_eq!(settings.io, Choice::Auto);
}

#[cfg(feature = "grpc")]
#[test]
fn the_default_endpoint_of_grpc_is_port_4317() {
    for builder in [
        with_env(&[]).protocol(Protocol::Grpc),
        with_env(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]),
    ] {
        for line in lines(builder) {
            let (endpoint, _) = collector(&line);
            assert_eq!((&*endpoint.host, endpoint.port), ("localhost", 4317));
        }
    }
}

#[test]
fn the_timeout_of_the_code_beats_the_signals_beats_the_generic_one() {
    let generic = with_env(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "1")]);
    let signal = || {
        with_env(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "1"), ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2")])
    };
    let code = signal().timeout(Duration::from_millis(3));
    for (builder, millis) in [(generic, 1), (signal(), 2), (code, 3)] {
        let settings = builder.settings().unwrap();
        assert_eq!(settings.lines[0].timeout, Some(Duration::from_millis(millis)));
    }
}

#[test]
fn a_timeout_of_zero_is_no_limit_and_still_beats_what_it_overrules() {
    let variable = with_env(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]);
    let code = with_env(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "1")]).timeout(Duration::ZERO);
    for builder in [variable, code] {
        assert_eq!(builder.settings().unwrap().lines[0].timeout, None);
    }
}

#[test]
fn the_batch_settings_of_the_code_beat_those_of_the_batch_processor() {
    let variables =
        || with_env(&[("OTEL_BSP_SCHEDULE_DELAY", "7"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")]);
    let [traces, logs, _] = variables().settings().unwrap().lines;
    assert_eq!(traces.age_max, Duration::from_millis(7));
    assert_eq!(traces.batch.records_max, Some(8));
    assert_eq!((logs.age_max, logs.batch.records_max), (AGE_MAX, None));
    let code = variables().batch_age(Duration::from_secs(1)).batch_records(9);
    for line in code.settings().unwrap().lines {
        assert_eq!(line.age_max, Duration::from_secs(1));
        assert_eq!(line.batch.records_max, Some(9));
    }
}

#[test]
fn each_signal_has_its_own_variables_and_endpoints() {
    let builder = with_env(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://generic"),
        ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs/x"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,b=1"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "b=2"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "5"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "6"),
        ("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "7"),
    ]);
    let [traces, logs, metrics] = builder.settings().unwrap().lines;
    let to = |line| format!("{}{}", collector(line).0.authority, collector(line).0.target);
    assert_eq!(to(&traces), "generic/v1/traces");
    assert_eq!(to(&logs), "logs/x");
    assert_eq!(to(&metrics), "generic/v1/metrics");
    assert_eq!(collector(&traces).1[1].1, "1");
    let headers = collector(&metrics).1;
    assert_eq!((headers.len(), &headers[1].1), (2, &HeaderValue::from_static("2")));
    assert_eq!(traces.timeout, Some(TIMEOUT));
    assert_eq!(metrics.timeout, Some(Duration::from_millis(5)));
    assert_eq!((logs.age_max, logs.batch.records_max), (Duration::from_millis(6), Some(7)));
    let code = Builder::new().env_from(|_| None).metrics_endpoint("http://m/m").logs_endpoint("x");
    let Err(error) = code.settings() else { panic!("it is no URL") };
    assert!(error.to_string().contains("Builder::logs_endpoint"), "{error}");
}

#[test]
fn debug_shows_no_credentials() {
    let builder = Builder::new()
        .endpoint("http://user:secret@h/path?api_key=secret")
        .traces_endpoint("http://h?key=secret")
        .header("authorization", "secret");
    let shown = format!("{builder:?}");
    assert!(!shown.contains("secret") && shown.contains("***@h/path"), "{shown}");
}

#[test]
fn the_proxy_of_the_code_beats_the_variable_and_so_do_its_exceptions() {
    let variables = || {
        with_env(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example"),
            ("HTTP_PROXY", "http://variable:1"),
            ("NO_PROXY", "direct.example"),
        ])
    };
    let host = |builder: Builder| {
        let [traces, ..] = builder.settings().unwrap().lines;
        let Target::Collector(collector) = &traces.target else { panic!("no output was chosen") };
        collector.proxy.as_ref().map(|proxy| proxy.host.clone())
    };
    let code = || variables().proxy("http://code:2");
    assert_eq!(host(variables()).as_deref(), Some("variable"));
    assert_eq!(host(variables().endpoint("http://direct.example")), None);
    assert_eq!(host(variables().endpoint("http://localhost")), None);
    assert_eq!(host(code()).as_deref(), Some("code"));
    assert_eq!(host(code().endpoint("http://localhost")).as_deref(), Some("code"));
    assert_eq!(host(code().endpoint("http://direct.example")), None);
    assert_eq!(
        host(code().no_proxy("").endpoint("http://direct.example")).as_deref(),
        Some("code")
    );
    assert_eq!(host(code().no_proxy("*")), None);
    let Err(error) = variables().proxy("socks5://p").settings() else { panic!("it is no proxy") };
    assert!(error.to_string().contains("Builder::proxy"), "{error}");
}

#[test]
#[cfg(feature = "grpc")]
fn the_path_of_a_grpc_endpoint_is_warned_of_with_its_source() {
    let warnings = |builder: Builder| {
        let mut warnings = Vec::new();
        let given = builder.read_env().settings;
        builder.protocol(Protocol::Grpc).resolve(given, &mut warnings).unwrap();
        warnings.iter().map(|warning| warning.source_name).collect::<Vec<_>>()
    };
    let variable = with_env(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4317/v1/traces")]);
    assert_eq!(warnings(variable), ["OTEL_EXPORTER_OTLP_ENDPOINT"]);
    let code = with_env(&[]).logs_endpoint("http://h:4317/x");
    assert_eq!(warnings(code), ["Builder::logs_endpoint"]);
    assert_eq!(warnings(with_env(&[]).endpoint("http://h:4317/")), Vec::<&str>::new());
}

/// The settings of each signal.
fn lines(builder: Builder) -> [LineSettings; Signal::ALL.len()] {
    builder.settings().unwrap().lines
}

#[test]
fn the_variables_of_the_batch_processors_apply_to_their_signal_and_the_code_beats_them() {
    let variables = || {
        with_env(&[
            ("OTEL_BSP_MAX_QUEUE_SIZE", "10000"),
            ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "300"),
            ("OTEL_BSP_SCHEDULE_DELAY", "7"),
            ("OTEL_BSP_MAX_CONCURRENT_EXPORTS", "2"),
            ("OTEL_BLRP_MAX_QUEUE_SIZE", "1"),
            ("OTEL_BLRP_SCHEDULE_DELAY", "8"),
        ])
    };
    let [traces, logs, metrics] = lines(variables());
    // So many records of 1 KiB; and no buffer is below 1 MiB.
    let bytes = [&traces, &logs, &metrics].map(|line| line.submit_bytes_max);
    assert_eq!(bytes, [10_000 << 10, 1 << 20, 16 << 20]);
    assert_eq!(
        traces.pipe.chunks * traces.pipe.chunk_bytes,
        (10_000_usize << 10).next_multiple_of(64 << 10)
    );
    assert_eq!((traces.batch.records_max, logs.batch.records_max), (Some(300), None));
    let ms = Duration::from_millis;
    assert_eq!([traces.age_max, logs.age_max, metrics.age_max], [ms(7), ms(8), ms(1000)]);
    assert_eq!([traces.lanes, logs.lanes, metrics.lanes], [2, 4, 4]);

    let code = variables().buffer_bytes(2 << 20).batch_records(5).batch_age(ms(1)).in_flight(3);
    for line in lines(code) {
        assert_eq!((line.submit_bytes_max, line.batch.records_max), (2 << 20, Some(5)));
        assert_eq!((line.age_max, line.lanes), (ms(1), 3));
    }
}

#[test]
fn an_export_timeout_bounds_attempts_retries_and_submissions_and_zero_is_no_limit() {
    let ms = Duration::from_millis;
    let bounds = |line: &LineSettings| (line.timeout, line.retry.budget, line.submit_timeout);
    let [traces, logs, metrics] =
        lines(with_env(&[("OTEL_BSP_EXPORT_TIMEOUT", "20"), ("OTEL_METRIC_EXPORT_TIMEOUT", "0")]));
    assert_eq!(bounds(&traces), (Some(ms(20)), ms(20), Some(ms(20))));
    // As without it.
    assert_eq!(bounds(&logs), (Some(ms(10_000)), ms(300_000), Some(ms(10_000))));
    assert_eq!(bounds(&metrics), (Some(ms(10_000)), Duration::MAX, None));

    let code = with_env(&[("OTEL_BSP_EXPORT_TIMEOUT", "20")]);
    let [traces, ..] = lines(code.export_timeout(ms(30)).retry_budget(ms(40)).timeout(ms(0)));
    assert_eq!(bounds(&traces), (Some(ms(30)), ms(40), Some(ms(30))));
}

#[test]
fn signals_that_share_a_file_share_it_in_a_forked_child_too() {
    let settings = Builder::new().env_from(|_| None).stdout().settings().unwrap();
    let child = settings.in_child().unwrap();
    let lines = |settings: &Settings| {
        settings.lines.each_ref().map(|line| match &line.target {
            Target::Lines(lines) => std::sync::Arc::clone(lines),
            _ => panic!("it is not a file"),
        })
    };
    let ([first, others @ ..], [parents, ..]) = (lines(&child), lines(&settings));
    assert!(others.iter().all(|other| std::sync::Arc::ptr_eq(&first, other)));
    assert!(!std::sync::Arc::ptr_eq(&first, &parents));
}
