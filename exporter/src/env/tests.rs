//! The environment's rules, each over a made-up environment.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStringExt;

use http::{HeaderName, HeaderValue};

use super::*;

fn reading(variables: &[(&str, &str)]) -> Reading {
    read(&|name| {
        let found = variables.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| (*value).into())
    })
}

/// What is said, and of what there is a warning.
fn read_from(variables: &[(&str, &str)]) -> (Settings, Vec<String>) {
    let Reading { settings, warnings, .. } = reading(variables);
    (settings, warnings.iter().map(Warning::to_string).collect())
}

/// What is said of traces.
fn settings(variables: &[(&str, &str)]) -> OfSignal {
    let (settings, warnings) = warned(variables);
    assert_eq!(warnings, [""; 0]);
    settings
}

fn traces(settings: Settings) -> Result<OfSignal, BuildError> {
    let [traces, ..] = settings.signals;
    traces
}

/// What is said of traces, and the warnings.
fn warned(variables: &[(&str, &str)]) -> (OfSignal, Vec<String>) {
    let (settings, warnings) = read_from(variables);
    (traces(settings).unwrap(), warnings)
}

/// What is wrong with what is said of traces.
fn error(variables: &[(&str, &str)]) -> BuildError {
    traces(read_from(variables).0).unwrap_err()
}

fn headers(settings: &OfSignal) -> Vec<(&str, &[u8])> {
    settings.headers.iter().map(|header| (header.name.as_str(), header.value.as_bytes())).collect()
}

/// The variables of all rows, each with the same value.
fn all_with(value: &'static str) -> Vec<(&'static str, &'static str)> {
    let names = table::TABLE.iter().flat_map(|row| row.names);
    names.map(|name| (*name, value)).collect()
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let empty = reading(&all_with(" "));
    assert_eq!((&*empty.warnings, &*empty.taken), (&[][..], &[][..]));
    assert_eq!(format!("{:?}", empty.settings), format!("{:?}", reading(&[]).settings));
}

#[test]
fn every_variable_of_the_table_is_read_and_no_other() {
    let read_names = RefCell::new(BTreeSet::new());
    read(&|name| {
        read_names.borrow_mut().insert(name.to_owned());
        None
    });
    let names: BTreeSet<_> = all_with("").into_iter().map(|(name, _)| name.to_owned()).collect();
    assert_eq!(*read_names.borrow(), names);
}

#[test]
fn every_row_of_the_table_says_all_there_is_to_say() {
    let mut seen = BTreeSet::new();
    for (index, row) in table::TABLE.iter().enumerate() {
        assert_eq!(row.id, format!("E{}", index + 1));
        let texts = [row.takes, row.default, row.code, row.effect];
        assert!(texts.iter().all(|text| !text.is_empty() && !text.ends_with('.')), "{row:?}");
        assert!(row.names.iter().all(|name| seen.insert(*name)), "{row:?}");
    }
}

#[test]
fn what_means_nothing_is_ignored_or_told_of_whatever_variable_it_stands_in() {
    // What takes any text.
    let free = ["E1", "E3", "E4", "E5", "E15", "E40", "E41", "E42", "E43", "E44"];
    for row in table::TABLE.iter().filter(|row| !free.contains(&row.id)) {
        for name in row.names {
            let (_, warnings) = read_from(&[(name, "-1,\u{1f}")]);
            assert!(warnings.iter().any(|text| text.starts_with(name)), "{name}: {warnings:?}");
        }
    }
}

#[test]
fn a_variable_that_is_not_utf8_is_ignored_with_a_warning_and_the_generic_one_applies() {
    let lookup = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT" | "SPANWIRE_IO" => Some(OsString::from_vec(vec![0xff])),
        "OTEL_EXPORTER_OTLP_TIMEOUT" => Some("7".into()),
        _ => None,
    };
    let Reading { settings, warnings, .. } = read(&lookup);
    assert_eq!(settings.io, None);
    assert_eq!(traces(settings).unwrap().timeout, Some(Duration::from_millis(7)));
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
fn proxies_are_read_in_lower_case_first_and_a_cgi_program_trusts_no_other() {
    let proxies = |variables: &[(&str, &str)]| {
        let (settings, warnings) = read_from(variables);
        (traces(settings).unwrap().proxies, warnings)
    };
    let name = |given: &Option<Given<String>>| given.as_ref().map(|given| given.source_name);
    let upper = [("HTTP_PROXY", "a"), ("HTTPS_PROXY", "b"), ("ALL_PROXY", "c"), ("NO_PROXY", "d")];
    let lower = [("http_proxy", "e"), ("https_proxy", "f"), ("all_proxy", "g"), ("no_proxy", "h")];
    for (variables, names) in [
        (upper.to_vec(), upper.map(|(name, _)| name)),
        ([upper, lower].concat(), lower.map(|(name, _)| name)),
    ] {
        let (found, warnings) = proxies(&variables);
        let found = [&found.http, &found.https, &found.all, &found.no_proxy].map(name);
        assert_eq!((found, warnings), (names.map(Some), vec![]));
    }
    let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "a"), ("HTTPS_PROXY", "b")];
    let (found, warnings) = proxies(&cgi);
    assert_eq!((name(&found.http), name(&found.https)), (None, Some("HTTPS_PROXY")));
    assert!(warnings.iter().any(|text| text.starts_with("HTTP_PROXY is ignored")), "{warnings:?}");
    let (found, _) = proxies(&[cgi.as_slice(), &[("http_proxy", "c")]].concat());
    assert_eq!(name(&found.http), Some("http_proxy"));
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
        let error = error(&[("OTEL_EXPORTER_OTLP_HEADERS", list)]);
        assert!(matches!(error, BuildError::InvalidHeader { .. }), "{list}");
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
}

#[test]
fn what_is_no_header_name_may_be_a_secret_and_is_not_shown() {
    let list = "tenant=shop,Authorization: Bearer c2VjcmV0LXRva2Vu==";
    let error = error(&[("OTEL_EXPORTER_OTLP_HEADERS", list)]);
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
    assert_eq!(warnings, ["OTEL_EXPORTER_OTLP_HEADERS is not taken as it is: item 2 has no '='"]);
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
fn the_files_for_tls_are_handed_on_and_the_signal_wins() {
    let generic = settings(&[
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "/key.pem"),
        ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "/cert.pem"),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY", "/traces key.pem"),
    ]);
    let file = |path: &str, name| given(PathBuf::from(path), name);
    assert_eq!(
        generic.tls,
        GivenTls {
            certificate: file("/ca.pem", "OTEL_EXPORTER_OTLP_CERTIFICATE"),
            client_key: file("/traces key.pem", "OTEL_EXPORTER_OTLP_TRACES_CLIENT_KEY"),
            client_certificate: file("/cert.pem", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE"),
        }
    );
    assert_eq!(settings(&[]).tls.files().count(), 0);
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
    ]);
    assert_eq!(warnings, [""; 0]);
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
    ]);
    assert!(warnings[0].starts_with("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT"), "{warnings:?}");
    assert_eq!(warnings.len(), 1);
    let limits = settings.limits.resolve();
    assert_eq!((limits.log.count_max, limits.log.value_len_max), (10, None));
}

#[test]
fn who_gets_a_signal_is_known_in_any_case() {
    for (word, exporter) in [
        ("OTLP", SignalExporter::Otlp),
        ("console", SignalExporter::Stdout),
        ("otlp/Stdout", SignalExporter::Stdout),
        ("none", SignalExporter::None),
        (" otlp , ", SignalExporter::Otlp),
    ] {
        let (settings, warnings) =
            read_from(&[("OTEL_TRACES_EXPORTER", word), ("OTEL_LOGS_EXPORTER", "none")]);
        let expected = [Some(exporter), Some(SignalExporter::None), None];
        assert_eq!((settings.exporters, warnings), (expected, vec![]), "{word}");
    }
}

#[test]
fn an_exporter_that_is_not_known_is_ignored_and_of_several_the_first_applies() {
    let (settings, warnings) = read_from(&[
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_METRICS_EXPORTER", "prometheus,console,otlp"),
    ]);
    assert_eq!(settings.exporters, [None, None, Some(SignalExporter::Stdout)]);
    assert_eq!(
        warnings,
        [
            "OTEL_TRACES_EXPORTER is ignored: \"zipkin\" is not a known exporter",
            "OTEL_METRICS_EXPORTER is not taken as it is: \"prometheus\" is not a known exporter",
            "OTEL_METRICS_EXPORTER is not taken as it is: it names several; the first, console, \
             applies",
        ]
    );
}

#[test]
fn a_boolean_is_true_if_it_says_so_in_any_case_and_false_with_a_warning_if_it_says_neither() {
    for (word, is_true, warnings) in [
        ("true", true, 0),
        ("TRUE", true, 0),
        ("False", false, 0),
        ("1", false, 1),
        ("yes", false, 1),
    ] {
        let (settings, told) =
            read_from(&[("OTEL_SDK_DISABLED", word), ("OTEL_EXPORTER_OTLP_INSECURE", word)]);
        assert_eq!(settings.is_disabled, Some(is_true), "{word}");
        let insecure = given(is_true, "OTEL_EXPORTER_OTLP_INSECURE");
        assert_eq!(traces(settings).unwrap().insecure, insecure);
        assert_eq!(told.len(), 2 * warnings, "{told:?}");
        assert!(told.iter().all(|text| text.contains(" counts as false: ")), "{told:?}");
    }
}

#[test]
fn insecure_has_obsolete_names_which_lose_to_the_new_ones() {
    let of = |variables: &[(&str, &str)], signal: Signal| {
        let [traces, logs, metrics] = read_from(variables).0.signals.map(Result::unwrap);
        let all = [traces.insecure, logs.insecure, metrics.insecure];
        all[signal.index()].map(|given| given.value)
    };
    let span = ("OTEL_EXPORTER_OTLP_SPAN_INSECURE", "true");
    let metric = ("OTEL_EXPORTER_OTLP_METRIC_INSECURE", "true");
    assert_eq!(of(&[span, metric], Signal::Traces), Some(true));
    assert_eq!(of(&[span, metric], Signal::Logs), None);
    assert_eq!(of(&[span, metric], Signal::Metrics), Some(true));
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_INSECURE", "false");
    let generic = ("OTEL_EXPORTER_OTLP_INSECURE", "false");
    assert_eq!(of(&[span, traces, generic], Signal::Traces), Some(false));
    assert_eq!(of(&[metric, generic], Signal::Metrics), Some(true));
}

#[test]
fn the_queue_and_the_requests_in_flight_are_counted_and_zero_is_ignored() {
    let (set, warnings) = warned(&[
        ("OTEL_BSP_MAX_QUEUE_SIZE", "2048"),
        ("OTEL_BSP_MAX_CONCURRENT_EXPORTS", "2"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "0"),
    ]);
    assert_eq!(warnings, [""; 0]);
    assert_eq!((set.queue_records_max, set.in_flight), (Some(2048), Some(2)));
    assert_eq!(set.export_timeout, Some(Duration::ZERO));
    let (zero, warnings) =
        warned(&[("OTEL_BSP_MAX_QUEUE_SIZE", "0"), ("OTEL_BSP_MAX_CONCURRENT_EXPORTS", "0")]);
    assert_eq!((zero.queue_records_max, zero.in_flight), (None, None));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    let (many, warnings) = warned(&[("OTEL_BSP_MAX_CONCURRENT_EXPORTS", "1000")]);
    assert_eq!((many.in_flight, warnings.len()), (Some(64), 1));
}

#[test]
fn a_batch_is_no_larger_than_its_queue() {
    let (set, warnings) =
        warned(&[("OTEL_BSP_MAX_QUEUE_SIZE", "100"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "512")]);
    assert_eq!(set.batch_records_max, Some(100));
    assert_eq!(
        warnings,
        [
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE is not taken as it is: 512 is more than the queue of 100 \
          records holds, which applies"
        ]
    );
}

#[test]
fn the_variables_of_one_processor_are_not_those_of_another_signal() {
    let (settings, _) = read_from(&[
        ("OTEL_BLRP_EXPORT_TIMEOUT", "1"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "2"),
        ("OTEL_BLRP_SCHEDULE_DELAY", "3"),
        ("OTEL_BLRP_MAX_QUEUE_SIZE", "4"),
    ]);
    let millis = |millis| Some(Duration::from_millis(millis));
    let signals = settings.signals.map(Result::unwrap);
    assert_eq!(signals.each_ref().map(|of| of.export_timeout), [None, millis(1), millis(2)]);
    assert_eq!(signals.each_ref().map(|of| of.schedule_delay), [None, millis(3), None]);
    assert_eq!(signals.each_ref().map(|of| of.queue_records_max), [None, Some(4), None]);
}

#[cfg(feature = "otel_0_33")]
#[test]
fn propagators_are_a_list_in_which_none_is_nothing_and_what_is_not_known_is_left_out() {
    use Propagator::{Baggage, TraceContext};
    for (list, expected, warnings) in [
        ("tracecontext,baggage", Some(vec![TraceContext, Baggage]), 0),
        (" Baggage , TRACECONTEXT, baggage", Some(vec![Baggage, TraceContext]), 0),
        ("none", Some(vec![]), 0),
        ("b3,tracecontext", Some(vec![TraceContext]), 1),
        ("jaeger", None, 1),
    ] {
        let (settings, told) = read_from(&[("OTEL_PROPAGATORS", list)]);
        assert_eq!((settings.sdk.propagators, told.len()), (expected, warnings), "{list}");
    }
}

#[cfg(feature = "otel_0_33")]
#[test]
fn metrics_are_not_collected_without_a_pause() {
    let interval = |value| {
        let (settings, warnings) = read_from(&[("OTEL_METRIC_EXPORT_INTERVAL", value)]);
        (settings.sdk.metric_interval, warnings.len())
    };
    assert_eq!(interval("250"), (Some(Duration::from_millis(250)), 0));
    assert_eq!(interval("0"), (None, 1));
    assert_eq!(interval("-5"), (None, 1));
}

#[test]
fn a_sampler_that_the_sdk_would_replace_in_silence_is_told_of() {
    for (sampler, ratio, told) in [
        ("always_on", "", ""),
        ("traceidratio", "0.25", ""),
        ("parentbased_traceidratio", "1", ""),
        ("jaeger_remote", "", "OTEL_TRACES_SAMPLER is ignored: opentelemetry_sdk does not know"),
        ("Always_On", "", "OTEL_TRACES_SAMPLER is ignored: opentelemetry_sdk does not know"),
        ("traceidratio", "", "OTEL_TRACES_SAMPLER is not taken as it is: it has no ratio"),
        ("traceidratio", "half", "OTEL_TRACES_SAMPLER_ARG is ignored: \"half\" is not a number"),
        ("traceidratio", "1.5", "OTEL_TRACES_SAMPLER_ARG is ignored: \"1.5\" is not a number"),
        ("traceidratio", "NaN", "OTEL_TRACES_SAMPLER_ARG is ignored: \"NaN\" is not a number"),
        ("", "0.5", "OTEL_TRACES_SAMPLER_ARG is ignored: the sampler parentbased_always_on takes"),
    ] {
        let variables = [("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", ratio)];
        let (_, warnings) = read_from(&variables);
        match told {
            "" => assert_eq!(warnings, [""; 0], "{sampler} {ratio}"),
            told => assert!(warnings[0].starts_with(told), "{warnings:?}"),
        }
    }
}

#[test]
fn what_nobody_acts_on_is_told_of() {
    for name in ["OTEL_CONFIG_FILE", "OTEL_ENTITIES"] {
        let (_, warnings) = read_from(&[(name, "x")]);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with(&format!("{name} is ignored: not supported")));
    }
    for (filter, count) in [("always_off", 0), ("trace_based", 1), ("always_on", 1)] {
        let (_, warnings) = read_from(&[("OTEL_METRICS_EXEMPLAR_FILTER", filter)]);
        assert_eq!(warnings.len(), count, "{warnings:?}");
    }
}

#[test]
fn a_resource_attribute_without_a_value_is_told_of() {
    let of = |list| read_from(&[("OTEL_RESOURCE_ATTRIBUTES", list)]).1;
    assert_eq!(of("service.version=1,empty=,"), [""; 0]);
    assert_eq!(
        of("a=1,b"),
        ["OTEL_RESOURCE_ATTRIBUTES is not taken as it is: item 2 is not of the form key=value"]
    );
}

#[test]
fn the_level_of_diagnostics_is_known_in_any_case() {
    for (word, level) in [
        ("none", Level::Off),
        ("ERROR", Level::Error),
        ("warn", Level::Warn),
        ("info", Level::Info),
        ("debug", Level::Info),
    ] {
        assert_eq!(read_from(&[("OTEL_LOG_LEVEL", word)]).0.level, Some(level));
    }
    let (settings, warnings) = read_from(&[("OTEL_LOG_LEVEL", "loud")]);
    assert_eq!((settings.level, warnings.len()), (None, 1));
}

#[test]
fn what_decided_is_known() {
    let reading = reading(&[
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "2"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0"),
        ("SPANWIRE_IO", "epoll"),
    ]);
    let taken = |source_name, signal| Taken { source_name, signal };
    assert_eq!(
        reading.taken,
        [
            taken("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", Some(Signal::Traces)),
            taken("OTEL_EXPORTER_OTLP_TIMEOUT", Some(Signal::Logs)),
            taken("OTEL_EXPORTER_OTLP_TIMEOUT", Some(Signal::Metrics)),
            taken("SPANWIRE_IO", None),
        ]
    );
}

#[test]
fn a_list_of_headers_is_shown_by_names_only() {
    for (list, shown) in [
        ("a=secret, B =secret=secret", "a=***,B=***"),
        ("Bearer secret,a=1", "***,a=***"),
        ("secret secret=1,,", "***"),
        ("", ""),
    ] {
        assert_eq!(hidden_headers(list), shown);
    }
}

/// Found by the fuzz target `env`: what stood after the headers in the reading order was neither
/// read nor told of.
#[test]
fn a_header_that_cannot_be_sent_leaves_no_other_variable_unread() {
    let reading = reading(&[
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a b=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "rar"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1"),
    ]);
    assert_eq!(reading.warnings.len(), 1);
    let taken =
        Taken { source_name: "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", signal: Some(Signal::Traces) };
    assert!(reading.taken.contains(&taken));
    assert!(reading.settings.signals[0].is_err());
}
