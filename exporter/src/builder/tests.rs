//! What the builder makes of code, variables and defaults, before anything runs.

use super::*;

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
    let endpoint = Endpoint::parse("http://localhost:4318/v1/traces", Scope::Signal, "").unwrap();
    assert_eq!(settings.endpoint, endpoint);
    assert_eq!(settings.headers, []);
    assert_eq!(settings.timeout, Some(Duration::from_secs(10)));
    assert_eq!(settings.response_bytes_max, 4 << 20);
    assert_eq!(settings.io, Choice::Auto);
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
        assert_eq!(settings.timeout, Some(Duration::from_millis(millis)));
    }
}

#[test]
fn a_timeout_of_zero_is_no_limit_and_still_beats_what_it_overrules() {
    let variable = with_env(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "0")]);
    let code = with_env(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "1")]).timeout(Duration::ZERO);
    for builder in [variable, code] {
        assert_eq!(builder.settings().unwrap().timeout, None);
    }
}

#[test]
fn the_batch_settings_of_the_code_beat_those_of_the_batch_processor() {
    let variables =
        || with_env(&[("OTEL_BSP_SCHEDULE_DELAY", "7"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")]);
    let settings = variables().settings().unwrap();
    assert_eq!(settings.age_max, Duration::from_millis(7));
    assert_eq!(settings.batch.records_max, Some(8));
    let code = variables().batch_age(Duration::from_secs(1)).batch_records(9);
    let settings = code.settings().unwrap();
    assert_eq!(settings.age_max, Duration::from_secs(1));
    assert_eq!(settings.batch.records_max, Some(9));
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
