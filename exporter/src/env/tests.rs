//! The environment's rules, each over a made-up environment.

use std::os::unix::ffi::OsStringExt;

use super::*;

type Read = Result<(Settings, Vec<Warning>), BuildError>;

fn read_from(variables: &[(&str, &str)]) -> Read {
    read(&|name| {
        let found = variables.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| (*value).into())
    })
}

/// What is said of traces.
fn settings(variables: &[(&str, &str)]) -> OfSignal {
    let (settings, warnings) = read_from(variables).unwrap();
    assert_eq!(warnings, []);
    traces(settings)
}

fn traces(settings: Settings) -> OfSignal {
    let [traces, ..] = settings.signals;
    traces
}

/// What is said of traces, and the warnings.
fn warned(variables: &[(&str, &str)]) -> (OfSignal, Vec<String>) {
    let (settings, warnings) = read_from(variables).unwrap();
    (traces(settings), warnings.iter().map(Warning::to_string).collect())
}

fn headers(settings: &OfSignal) -> Vec<(&str, &[u8])> {
    settings.headers.iter().map(|header| (header.name.as_str(), header.value.as_bytes())).collect()
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let names = NAMES.iter().flat_map(|names| {
        let pairs = [names.endpoint, names.headers, names.timeout, names.protocol];
        let pairs = pairs.into_iter().flatten().chain(names.compression).chain(names.tls_files);
        pairs.chain(names.schedule_delay.iter().chain(names.batch_size).copied())
    });
    let variables: Vec<_> = names.chain([IO]).map(|name| (name, " ")).collect();
    let (settings, warnings) = read_from(&variables).unwrap();
    assert_eq!((settings.io, warnings), (None, vec![]));
    for settings in settings.signals {
        assert_eq!((settings.endpoint, settings.headers), (None, vec![]));
        assert_eq!((settings.timeout, settings.schedule_delay), (None, None));
        assert_eq!(settings.batch_records_max, None);
        assert_eq!((settings.protocol, settings.compression), (None, None));
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_ignored_with_a_warning_and_the_generic_one_applies() {
    let lookup = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" | "SPANWIRE_IO" => Some(OsString::from_vec(vec![0xff])),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("7".into()),
        _ => None,
    };
    let (settings, warnings) = read(&lookup).unwrap();
    assert_eq!(settings.io, None);
    assert_eq!(traces(settings).timeout, Some(Duration::from_millis(7)));
    let warnings: Vec<_> = warnings.iter().map(Warning::to_string).collect();
    assert_eq!(
        warnings,
        [
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT is ignored: it is not UTF-8",
            "SPANWIRE_IO is ignored: it is not UTF-8",
        ]
    );
}

#[test]
fn the_endpoint_of_the_signal_wins_and_is_no_base_url() {
    let generic = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://generic");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces");
    let endpoint = settings(&[generic]).endpoint.unwrap();
    assert_eq!((&*endpoint.value, endpoint.is_base), ("http://generic", true));
    assert_eq!(endpoint.source_name, generic.0);
    let endpoint = settings(&[generic, traces]).endpoint.unwrap();
    assert_eq!((&*endpoint.value, endpoint.is_base), ("http://traces", false));
    assert_eq!(endpoint.source_name, traces.0);
    let empty = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "");
    assert!(settings(&[generic, empty]).endpoint.unwrap().is_base);
}

#[test]
fn headers_are_decoded_and_merged_by_name() {
    let settings = settings(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "Authorization=Basic%20abc%3D, tenant = a ,x=1,x=2,,"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "TENANT=b=c"),
    ]);
    let expected: [(&str, &[u8]); 3] =
        [("authorization", b"Basic abc="), ("x", b"2"), ("tenant", b"b=c")];
    assert_eq!(headers(&settings), expected);
    assert!(!format!("{settings:?}").contains("abc"));
}

#[test]
fn a_winner_replaces_all_values_of_its_name() {
    let header = |name: &'static str, value: &'static str| GivenHeader {
        name: HeaderName::from_static(name),
        value: HeaderValue::from_static(value),
        source_name: "test",
    };
    let mut merged = vec![header("a", "1"), header("b", "2"), header("a", "3")];
    merge_headers(&mut merged, vec![header("a", "4"), header("a", "5")]);
    assert_eq!(merged, [header("b", "2"), header("a", "4"), header("a", "5")]);
}

#[test]
fn a_header_that_cannot_be_sent_is_an_error_without_its_value() {
    for list in ["a b=secret", "=secret", "a=secret%0d%0ax: y", "a=secret%00"] {
        let error = read_from(&[("OTEL_EXPORTER_OTLP_HEADERS", list)]).unwrap_err();
        assert!(matches!(error, BuildError::InvalidHeader { .. }), "{list}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

#[test]
fn what_is_no_header_name_may_be_a_secret_and_is_not_shown() {
    let list = "tenant=shop,Authorization: Bearer c2VjcmV0LXRva2Vu==";
    let error = read_from(&[("OTEL_EXPORTER_OTLP_HEADERS", list)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the header item 2 from OTEL_EXPORTER_OTLP_HEADERS cannot be sent: its name is empty or \
         has characters that no header name may have"
    );
    assert!(!format!("{error:?}").contains("c2Vjc"), "{error:?}");
}

#[test]
fn a_pair_without_a_value_is_ignored_and_not_shown() {
    let (settings, warnings) = warned(&[("OTEL_EXPORTER_OTLP_HEADERS", "a=1,secret")]);
    assert_eq!(headers(&settings), [("a", &b"1"[..])]);
    assert_eq!(warnings, ["OTEL_EXPORTER_OTLP_HEADERS is ignored: item 2 has no '='"]);
}

#[test]
fn the_timeout_is_in_milliseconds_and_zero_is_kept_as_no_limit() {
    let generic = ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500");
    assert_eq!(settings(&[generic]).timeout, Some(Duration::from_millis(2500)));
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", " 0 ");
    assert_eq!(settings(&[generic, traces]).timeout, Some(Duration::ZERO));
}

#[test]
fn a_bad_number_is_ignored_with_a_warning_and_the_generic_one_applies() {
    for bad in ["-1", "1s", "1.5", "99999999999999999999"] {
        let (settings, warnings) = warned(&[
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", bad),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
        ]);
        assert_eq!(settings.timeout, Some(Duration::from_millis(7)));
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains(bad), "{warnings:?}");
    }
}

#[test]
fn the_batch_processor_variables_apply_when_set() {
    const SCHEDULE_DELAY: &str = "OTEL_BSP_SCHEDULE_DELAY";
    const BATCH_SIZE: &str = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
    let set = settings(&[(SCHEDULE_DELAY, "5000"), (BATCH_SIZE, "512")]);
    assert_eq!(set.schedule_delay, Some(Duration::from_secs(5)));
    assert_eq!(set.batch_records_max, Some(512));
    let (zero, warnings) = warned(&[(SCHEDULE_DELAY, "0"), (BATCH_SIZE, "0")]);
    assert_eq!((zero.schedule_delay, zero.batch_records_max), (Some(Duration::ZERO), None));
    assert_eq!(warnings, ["OTEL_BSP_MAX_EXPORT_BATCH_SIZE is ignored: 0 would send nothing"]);
}

#[test]
fn a_generic_variable_that_means_nothing_is_warned_of_once() {
    let (_, warnings) = warned(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "soon")]);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[test]
fn a_limit_without_a_counterpart_is_named() {
    let (_, warnings) = warned(&[("OTEL_BSP_MAX_QUEUE_SIZE", "2048")]);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].starts_with("OTEL_BSP_MAX_QUEUE_SIZE is ignored: "), "{warnings:?}");
}

#[test]
fn a_tls_file_is_an_error() {
    for name in NAMES.iter().flat_map(|names| names.tls_files) {
        match read_from(&[(name, "/file.pem")]) {
            Err(BuildError::Unsupported { what, value, source_name }) => {
                assert_eq!((what, &*value, source_name), ("tls", "/file.pem", name));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn given<T>(value: T, source_name: &'static str) -> Option<Given<T>> {
    Some(Given { value, source_name })
}

#[test]
fn words_are_known_in_any_case_and_the_signal_wins() {
    let generic = ("OTEL_EXPORTER_OTLP_PROTOCOL", "gRPC");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "HTTP/protobuf");
    assert_eq!(settings(&[generic]).protocol, given(Protocol::Grpc, generic.0));
    assert_eq!(settings(&[generic, traces]).protocol, given(Protocol::HttpProtobuf, traces.0));
    let generic = ("OTEL_EXPORTER_OTLP_COMPRESSION", "GZIP");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "None");
    assert_eq!(settings(&[generic]).compression, given(Compression::Gzip, generic.0));
    assert_eq!(settings(&[generic, traces]).compression, given(Compression::None, traces.0));
}

#[test]
fn every_word_is_read_as_it_is_written() {
    for choice in [Protocol::HttpProtobuf, Protocol::HttpJson, Protocol::Grpc] {
        assert_eq!(Protocol::named(&choice.to_string()), Some(choice));
    }
    for choice in [Compression::None, Compression::Gzip, Compression::Zstd] {
        assert_eq!(Compression::named(&choice.to_string()), Some(choice));
    }
}

#[test]
fn an_unknown_word_is_ignored_with_a_warning_and_the_generic_one_applies() {
    let (settings, warnings) = warned(&[
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "carrier-pigeon"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "rar"),
    ]);
    let source_name = "OTEL_EXPORTER_OTLP_PROTOCOL";
    assert_eq!(settings.protocol, Some(Given { value: Protocol::Grpc, source_name }));
    assert_eq!(settings.compression, None);
    assert_eq!(
        warnings,
        [
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is ignored: \"carrier-pigeon\" is not a known \
             protocol",
            "OTEL_EXPORTER_OTLP_COMPRESSION is ignored: \"rar\" is not a known compression",
        ]
    );
}

#[test]
fn limits_are_read_and_the_models_beat_the_general_ones() {
    let (settings, warnings) = read_from(&[
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "100"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "11"),
        ("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "110"),
        ("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "12"),
        ("OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "0"),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "99999999999"),
        ("OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "140"),
    ])
    .unwrap();
    assert_eq!(warnings, []);
    let limits = settings.limits.resolve();
    let of = |limits: &limits::AttributeLimits| (limits.count_max, limits.value_len_max);
    assert_eq!(of(&limits.span), (11, Some(110)));
    assert_eq!(of(&limits.event), (12, Some(110)));
    assert_eq!(of(&limits.link), (0, Some(110)));
    // As good as all of them: `u32::MAX` is what nobody said.
    assert_eq!(of(&limits.log), (u32::MAX - 1, Some(140)));
    assert_eq!(of(&limits.exempt), (u32::MAX, None));
}

#[test]
fn a_limit_that_is_no_number_is_ignored_with_a_warning_and_the_general_one_applies() {
    let (settings, warnings) = read_from(&[
        ("OTEL_ATTRIBUTE_COUNT_LIMIT", "10"),
        ("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "-1"),
        ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", ""),
    ])
    .unwrap();
    let warnings: Vec<_> = warnings.iter().map(|warning| warning.source_name).collect();
    assert_eq!(warnings, ["OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"]);
    let limits = settings.limits.resolve();
    assert_eq!((limits.log.count_max, limits.log.value_len_max), (10, None));
}
