//! `spanwire env`, as a person and as a tool sees it.

use std::{collections::HashMap, process::Command};

use serde_json::Value;

/// Runs it with nothing but these variables; its exit code, what it printed, and its object.
fn run(variables: &[(&str, &str)]) -> (Option<i32>, String, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_spanwire"))
        .args(["env", "--json"])
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let json = serde_json::from_str(text.lines().last().unwrap_or_default()).unwrap();
    (output.status.code(), text, json)
}

fn by_name(json: &Value) -> HashMap<&str, &Value> {
    let variables = json["variables"].as_array().unwrap();
    variables.iter().map(|variable| (variable["name"].as_str().unwrap(), variable)).collect()
}

#[test]
fn every_variable_is_printed_with_what_became_of_it_and_without_secrets() {
    let (code, text, json) = run(&[
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "5"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-5"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ]);
    assert_eq!((code, &json["builds"], &json["error"]), (Some(0), &true.into(), &Value::Null));
    let variables = by_name(&json);
    assert!(variables.len() > 60, "{json}");
    let of = |name: &str| variables[name];
    assert_eq!(of("OTEL_EXPORTER_OTLP_HEADERS")["value"], "authorization=***");
    assert_eq!(of("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")["standing"], "applies");
    assert_eq!(of("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT")["signals"], serde_json::json!(["traces"]));
    assert_eq!(of("OTEL_EXPORTER_OTLP_TIMEOUT")["standing"], "ignored");
    assert_eq!(of("OTEL_BSP_SCHEDULE_DELAY")["standing"], "unset");
    assert!(text.contains("does not know \"sometimes\""), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn it_fails_with_the_reason_if_no_exporter_can_be_built() {
    let (code, text, json) = run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector")]);
    assert_eq!((code, &json["builds"]), (Some(1), &false.into()));
    let reason = "the endpoint \"ftp://collector\" from OTEL_EXPORTER_OTLP_ENDPOINT cannot be used";
    assert!(json["error"].as_str().unwrap().starts_with(reason), "{json}");
    assert!(text.contains(&format!("no exporter can be built: {reason}")), "{text}");
    assert_eq!(by_name(&json)["OTEL_EXPORTER_OTLP_ENDPOINT"]["standing"], "refused");
}
