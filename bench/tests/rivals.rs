//! Each rival of `compare export` can be measured: what it emits arrives at the sink, every time.
#![cfg(feature = "rivals")]

use std::{path::Path, process::Command};

use serde_json::Value;
use spanwire_bench::subject::{Kind, Role};

/// The comparison of these peers with few records; its JSON.
fn compare(peers: &[&str], more: &[&str]) -> Value {
    let peers = format!("--peers={}", peers.join(","));
    let few = ["compare", "export", "--spans=2000", "--runs=1", "--rate=50000", "--json"];
    let output = Command::new(Path::new(env!("CARGO_BIN_EXE_spanwire")))
        .args([&few[..], &[&peers], more].concat())
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    serde_json::from_str(stdout.lines().last().unwrap()).unwrap()
}

fn is_complete(row: &Value) {
    assert_eq!(row["lost"], 0, "{row}");
    assert!(row["delivered_per_s"].as_f64() > Some(0.0), "{row}");
    assert!(row["cpu_s_per_million"].as_f64() > Some(0.0), "{row}");
}

fn rows(json: &Value) -> Vec<Value> {
    let rows =
        ["/rows", "/alone/rows"].map(|at| json.pointer(at).unwrap().as_array().unwrap().clone());
    rows.concat()
}

/// One by one, because some of them are global to their process and all of them are children anyway.
#[test]
fn every_rival_delivers_every_span_over_one_wire_at_least() {
    let rivals = Kind::ALL.into_iter().filter(|kind| kind.role() == Role::Rival);
    let mut names: Vec<_> = rivals.map(Kind::name).collect();
    let mut found = Vec::new();
    let far = ["otlp-async-8192"];
    for (peers, wire) in [
        (&names[..], &["--protocol=http"][..]),
        (&names, &["--protocol=grpc"]),
        (&far, &["--rtt=2"]),
    ] {
        let json = compare(peers, wire);
        let rows = rows(&json);
        rows.iter().for_each(is_complete);
        found.extend(rows.iter().map(|row| row["peer"].as_str().unwrap().to_owned()));
    }
    found.sort_unstable();
    names.sort_unstable();
    assert_eq!(found, names);
}

#[test]
fn rivals_compress_encrypt_and_speak_json() {
    for (peers, wire, smaller) in [
        (
            &["otlp-grpc", "otlp-grpc-async"][..],
            &["--protocol=grpc", "--compression=gzip", "--tls"][..],
            2.0,
        ),
        (&["otlp-grpc-alone"], &["--protocol=grpc", "--compression=zstd"], 2.0),
        (&["otlp-http"], &["--compression=zstd", "--tls"], 2.0),
        (&["otlp-http", "otlp-hyper"], &["--protocol=http-json", "--compression=gzip"], 4.0),
    ] {
        let json = compare(peers, wire);
        let rows = rows(&json);
        assert_eq!(rows.len(), peers.len(), "{wire:?}: {:?}", json["skipped"]);
        for row in &rows {
            is_complete(row);
            assert!(row["compression_ratio"].as_f64() > Some(smaller), "{wire:?}: {row}");
        }
    }
}

#[test]
fn tracing_reaches_spanwire() {
    let json = compare(&["tracing-spanwire", "tracing-otlp"], &["--shape=spec"]);
    json["rows"].as_array().unwrap().iter().for_each(is_complete);
    assert!(json["ratios"]["tracing-spanwire"]["cpu_vs_tracing_otlp"].is_number(), "{json}");
}

#[test]
fn log_records_and_points_have_a_rival_too() {
    for signal in ["logs", "metrics"] {
        let json = compare(
            &["spanwire-epoll", "otlp-http", "otlp-hyper", "otlp-async", "noop"],
            &["--signal", signal],
        );
        let rows = json["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 4, "{json}");
        rows.iter().for_each(is_complete);
        assert_eq!(json["skipped"][0]["peer"], "otlp-async", "{json}");
        assert!(json["ratios"]["spanwire-epoll"]["cpu_vs_otlp_http"].is_number(), "{json}");
    }
}

#[test]
fn what_a_rival_cannot_do_is_said() {
    let json = compare(&["tracing-otlp", "otlp-http"], &["--shape=heavy"]);
    assert_eq!(json["rows"].as_array().unwrap().len(), 1, "{json}");
    assert_eq!(json["skipped"][0]["peer"], "tracing-otlp", "{json}");
}
