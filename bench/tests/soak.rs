//! A short soak: everything goes wrong once, and every span is accounted for.

use std::process::Command;

use serde_json::Value;

/// One cycle with short phases.
fn soak(io: &str, protocol: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_spanwire"))
        .args(["soak", "--cycles=1", "--phase-ms=400", "--rate=4000", "--json", "--protocol"])
        .arg(protocol)
        .env("SPANWIRE_IO", io)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let json: Value = serde_json::from_str(stdout.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"));
    assert_eq!(json["passed"], true, "{stderr}\n{json}");
    assert!(output.status.success());
    json
}

fn check(json: &Value, phases: usize) {
    assert_eq!(json["violations"], serde_json::json!([]), "{json}");
    assert_eq!((json["lost"].as_u64(), json["cycles"].as_u64()), (Some(0), Some(1)), "{json}");
    assert!(json["emitted"].as_u64() > Some(1000), "{json}");
    assert!(json["received"].as_u64() >= json["delivered"].as_u64(), "{json}");
    assert_eq!(json["phases"].as_array().unwrap().len(), phases, "{json}");
    assert_eq!(json["phases"][0]["trouble"], "pass", "{json}");
    assert!(json["on_end_ns"]["troubled"]["p999"].as_u64() > Some(0), "{json}");
    assert_eq!(json["memory"]["bounded"], true, "{json}");
}

#[test]
fn a_day_on_which_everything_goes_wrong_loses_nothing_uncounted_over_http() {
    let json = soak("epoll", "http");
    check(&json, 16);
    assert_eq!(json["driver"], "epoll");
}

#[test]
fn a_day_on_which_everything_goes_wrong_loses_nothing_uncounted_over_grpc() {
    check(&soak("auto", "grpc"), 11);
}
