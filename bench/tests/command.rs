//! The command as a process, end to end: what a user types and what a tool reads.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use spanwire_bench::sink::SinkProcess;

/// Runs `spanwire` with `io` as its driver; returns its exit code and the object on the last line.
fn run(io: &str, args: &[&str]) -> (Option<i32>, Value) {
    run_with(io, args, None)
}

/// As `run`, with the environment's endpoint.
fn run_with(io: &str, args: &[&str], endpoint: Option<&str>) -> (Option<i32>, Value) {
    let mut command = Command::new(program());
    for variable in [
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    ] {
        command.env_remove(variable);
    }
    command.envs(endpoint.map(|url| ("OTEL_EXPORTER_OTLP_ENDPOINT", url)));
    let output = command.env("SPANWIRE_IO", io).args(args).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let last = stdout.lines().last().unwrap_or_default();
    let json = serde_json::from_str(last).unwrap_or_else(|error| {
        panic!("{args:?}: {error}: {last:?}\\n{}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code(), json)
}

#[test]
fn the_demo_loses_nothing_and_names_its_driver() {
    for io in drivers() {
        let (code, json) = run(io, &["demo", "--requests", "300", "--quiet", "--json"]);
        assert_eq!((code, json["lost"].as_i64()), (Some(0), Some(0)), "{json}");
        assert_eq!(json["decoded"], json["delivered"], "{json}");
        assert_eq!(json["emitted"], json["delivered"], "{json}");
        assert!(json["emitted"].as_u64() > Some(900), "three spans a request at least: {json}");
        assert_eq!(json["driver"], *io, "{json}");
        assert!(json["on_end_ns"]["p50"].as_u64() > Some(0), "{json}");
        for signal in ["traces", "logs", "metrics"] {
            let of = &json["signals"][signal];
            assert!(of["emitted"].as_u64() > Some(0), "{signal}: {json}");
            assert_eq!(of["lost"], 0, "{signal}: {json}");
            for count in ["delivered", "decoded"] {
                assert_eq!(of[count], of["emitted"], "{count} {signal}: {json}");
            }
        }
        assert_eq!(json["signals"]["traces"]["emitted"], json["emitted"]);
    }
}

#[test]
fn the_demo_speaks_every_protocol() {
    for protocol in ["grpc", "http-json"] {
        let demo = ["demo", "--requests=60", "--quiet", "--json", "--protocol", protocol];
        let (code, json) = run("auto", &demo);
        assert_eq!((code, json["lost"].as_i64()), (Some(0), Some(0)), "{protocol}: {json}");
        for signal in ["traces", "logs", "metrics"] {
            let of = &json["signals"][signal];
            assert!(of["decoded"].as_u64() > Some(0), "{protocol}, {signal}: {json}");
            assert_eq!(of["decoded"], of["emitted"], "{protocol}, {signal}: {json}");
        }
    }
}

#[test]
fn the_demo_ends_with_a_trace() {
    let output = Command::new(program())
        .args(["demo", "--requests=40", "--quiet"])
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.starts_with("trace "), "{text}");
    assert!(text.contains("demo.client") && text.contains("└ ") && text.contains('█'), "{text}");
    assert!(!text.contains('\x1b'), "no colours where there is no terminal: {text}");
    assert!(text.contains("  delivered "), "the figures come after it: {text}");
}

#[test]
fn spanwire_takes_part_over_every_wire() {
    for (wire, smaller) in [
        (&["--protocol=grpc"][..], 1.0),
        (&["--protocol=grpc", "--tls", "--compression=gzip"], 2.0),
        (&["--tls", "--compression=zstd"], 2.0),
        (&["--protocol=http-json"], 1.0),
        (&["--rtt=2"], 1.0),
    ] {
        let args = ["compare", "export", "--peers=spanwire-epoll", "--spans=3000"];
        let (code, json) =
            run("auto", &[&args[..], &["--runs=1", "--rate=0", "--json"], wire].concat());
        let row = &json["rows"][0];
        assert_eq!((code, row["lost"].as_i64()), (Some(0), Some(0)), "{wire:?}: {json}");
        assert!(row["compression_ratio"].as_f64() >= Some(smaller), "{wire:?}: {row}");
        assert!(row["export_p99_ms"].as_f64() > Some(0.0), "{wire:?}: {row}");
    }
}

#[test]
fn the_demo_exports_where_the_environment_says() {
    let sink = SinkProcess::start_program(program(), None).unwrap();
    let demo = ["demo", "--requests", "100", "--quiet", "--json"];
    let (code, json) = run_with("auto", &demo, Some(sink.endpoint()));
    assert_eq!((code, &json["decoded"]), (Some(0), &Value::Null), "{json}");
    let received = sink.finish().unwrap();
    assert_eq!(json["emitted"].as_u64(), Some(received.traces.unique), "{json}");
    let emitted = |signal: &str| json["signals"][signal]["emitted"].as_u64();
    assert_eq!(emitted("logs"), Some(received.logs.records), "{json}");
    assert_eq!(emitted("metrics"), Some(received.metrics.records), "{json}");
}

#[test]
fn the_demo_exports_only_what_has_an_endpoint() {
    let sink = SinkProcess::start_program(program(), None).unwrap();
    let output = Command::new(program())
        .args(["demo", "--requests", "20", "--quiet", "--json"])
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .env("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", format!("{}/v1/logs", sink.endpoint()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let received = sink.finish().unwrap();
    assert!(received.logs.records >= 20, "a line in the access log for each request");
    assert_eq!((received.traces.requests, received.metrics.requests), (0, 0));
}

#[test]
fn every_id_that_the_load_emits_arrives_at_the_sink() {
    let directory = directory("load");
    let (sent, received) = (directory.join("sent"), directory.join("received"));
    for io in drivers() {
        let sink = SinkProcess::start_program(program(), Some(&received)).unwrap();
        let (code, json) = run(
            io,
            &[
                "load",
                "--spans=5000",
                "--threads=3",
                "--outstanding=2048",
                "--endpoint",
                sink.endpoint(),
                "--ids",
                sent.to_str().unwrap(),
                "--json",
            ],
        );
        assert_eq!((code, json["delivered"].as_u64()), (Some(0), Some(5000)), "{json}");
        assert_eq!(json["decoded"], Value::Null, "the sink is not the load's own");
        assert_eq!(sink.finish().unwrap().traces.unique, 5000);
        let sent = fs::read_to_string(&sent).unwrap();
        assert_eq!(sent.lines().count(), 5000);
        assert!(sent == fs::read_to_string(&received).unwrap(), "other ids arrived than were sent");
    }
    fs::remove_dir_all(directory).unwrap();
}

#[test]
fn the_load_brings_its_own_sink() {
    let (code, json) = run("auto", &["load", "--spans", "2000", "--rate", "100000", "--json"]);
    assert_eq!((code, json["decoded"].as_u64()), (Some(0), Some(2000)), "{json}");
}

#[test]
fn a_comparison_has_a_row_for_each_peer_that_can_run() {
    let (code, json) = run(
        "auto",
        &[
            "compare",
            "export",
            "--peers=spanwire-epoll,noop",
            "--spans=3000",
            "--runs=2",
            "--rate=100000",
            "--json",
        ],
    );
    assert_eq!((code, json["subject"].as_str()), (Some(0), Some("export")), "{json}");
    for rows in [&json["rows"], &json["fixed_rate"]["rows"]] {
        let rows = rows.as_array().unwrap();
        let peers: Vec<_> = rows.iter().map(|row| row["peer"].as_str().unwrap()).collect();
        assert_eq!(peers, ["spanwire-epoll", "noop"]);
        assert!(rows.iter().all(|row| row["lost"] == 0 && row["runs"] == 2), "{json}");
    }
    assert!(json["ratios"]["spanwire-epoll"]["app_ns_over_noop"].is_number(), "{json}");
}

#[test]
fn every_signal_can_be_compared_in_every_shape() {
    for signal in ["logs", "metrics"] {
        for shape in ["bare", "typical", "heavy", "spec"] {
            let args = ["compare", "export", "--peers=spanwire-epoll,noop", "--spans=2000"];
            let more = ["--runs=1", "--rate=0", "--signal", signal, "--shape", shape, "--json"];
            let (code, json) = run("auto", &[&args[..], &more].concat());
            assert_eq!((code, json["signal"].as_str()), (Some(0), Some(signal)), "{json}");
            let rows = json["rows"].as_array().unwrap();
            assert!(rows.len() == 2 && rows.iter().all(|row| row["lost"] == 0), "{json}");
            assert_eq!(json["fixed_rate"], Value::Null, "{json}");
            assert_eq!(json["goals"], serde_json::json!([]), "goals are about spans");
        }
    }
}

#[test]
fn ready_batches_and_the_sinks_ceiling_are_rows_of_their_own() {
    let args = ["compare", "export", "--peers=spanwire-alone,sink-ceiling", "--spans=5000"];
    let (code, json) = run("auto", &[&args[..], &["--runs=2", "--rate=0", "--json"]].concat());
    assert_eq!((code, &json["rows"]), (Some(0), &serde_json::json!([])), "{json}");
    let alone = &json["alone"]["rows"][0];
    assert_eq!((alone["peer"].as_str(), alone["lost"].as_i64()), (Some("spanwire-alone"), Some(0)));
    assert!(json["sink_ceiling"]["delivered_per_s"].as_f64() > Some(0.0), "{json}");
    assert_eq!(json["sink_ceiling"]["lost"], 0, "{json}");
    assert_eq!(json["goals"][0]["goal"], "alone_cpu_s_per_million", "{json}");
}

#[test]
fn a_flood_tells_what_was_dropped_and_how_memory_went() {
    let args = ["compare", "export", "--peers=spanwire-epoll", "--flood=1", "--json"];
    let (code, json) = run("auto", &args);
    assert_eq!(code, Some(0), "{json}");
    let flood = &json["flood"][0];
    assert_eq!((flood["peer"].as_str(), flood["lost"].as_i64()), (Some("spanwire-epoll"), Some(0)));
    assert!(
        flood["rss_mb"].as_f64() > Some(0.0) && flood["delivered"].as_u64() > Some(0),
        "{json}"
    );
    let goals: Vec<_> = json["goals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|goal| goal["goal"].as_str().unwrap())
        .collect();
    assert_eq!(goals, ["flood_dropped", "flood_rss_mb", "flood_rss_growth_mb"]);
}

#[test]
fn a_comparison_of_runtimes_has_a_figure_for_each_bench_and_peer() {
    let epoll = ["--peers=spanwire-1-epoll", "--runs=2", "--budget-ms=1", "--json"];
    let (code, json) = run("auto", &[&["compare", "runtime"], &epoll[..]].concat());
    assert_eq!((code, json["subject"].as_str()), (Some(0), Some("runtime")), "{json}");
    let rows = json["rows"].as_array().unwrap();
    let benches: Vec<_> = rows.iter().map(|row| row["bench"].as_str().unwrap()).collect();
    for bench in RUNTIME_BENCHES {
        assert_eq!(benches.iter().filter(|name| **name == bench).count(), 1, "{bench}: {json}");
    }
    for row in rows {
        let [ns, least, most] =
            [&row["ns"], &row["spread"][0], &row["spread"][1]].map(|value| value.as_f64().unwrap());
        assert!(0.0 < ns && least <= ns && ns <= most && row["runs"] == 2, "{row}");
        assert_eq!(row["peer"], "spanwire-1-epoll");
    }
    let counts = json["counts"].as_array().unwrap();
    assert_eq!(counts[0]["bench"], "idle_task_bytes");
    assert!(counts[0]["bytes"].as_f64() > Some(0.0), "{json}");
    assert_eq!(json["ratios"], serde_json::json!({}), "nobody to compare with");
}

#[test]
fn a_comparison_of_runtimes_leaves_out_what_was_not_asked_for() {
    let only = ["compare", "runtime", "--only=yield_1,wake_idle", "--peers=spanwire-1-epoll"];
    let (_, json) = run("auto", &[&only[..], &["--runs=1", "--budget-ms=1", "--json"]].concat());
    let rows = json["rows"].as_array().unwrap();
    let benches: Vec<_> = rows.iter().map(|row| row["bench"].as_str().unwrap()).collect();
    assert_eq!(benches, ["yield_1", "wake_idle_caller", "wake_idle_p50", "wake_idle_p99"]);
    assert_eq!(json["counts"], serde_json::json!([]), "no echo, no count of system calls");
}

/// Each body compares its bytes with the oracle's first, so this is a test of those as well.
#[test]
fn a_comparison_of_encoders_has_time_and_bytes_for_each_bench_and_peer() {
    let (code, json) = run("auto", &["compare", "encode", "--runs=2", "--budget-ms=1", "--json"]);
    assert_eq!((code, json["subject"].as_str()), (Some(0), Some("encode")), "{json}");
    for bench in ENCODE_BENCHES {
        let spanwire = |row: &&Value| row["bench"] == bench && row["peer"] == "spanwire";
        let row = json["rows"].as_array().unwrap().iter().find(spanwire);
        let row = row.unwrap_or_else(|| panic!("{bench}: {json}"));
        assert!(row["ns"].as_f64() > Some(0.0) && row["runs"] == 2, "{row}");
        let has_rivals = json["ratios"][bench]["spanwire"].is_object();
        assert_eq!(has_rivals, !ALONE.contains(&bench), "{bench}: {json}");
    }
    let bytes = json["counts"].as_array().unwrap();
    let of = |bench: &str| {
        let counts = bytes.iter().filter(move |count| count["bench"] == bench);
        counts.map(|count| count["bytes"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of("span_typical_bytes").len(), 5, "five peers: {json}");
    assert!(of("span_typical_bytes").iter().all(|bytes| (500.0..600.0).contains(bytes)), "{json}");
    assert!(json["goals"][0]["met"].is_boolean() && json["goals"][0]["at_most"].is_number());
}

#[test]
fn a_comparison_of_queues_has_means_and_tails() {
    let only = ["compare", "pipe", "--only=push_64_t2,push_512_t4,on_end_t1", "--no-allocations"];
    let tiny = ["--peers=spanwire,tokio,sdk-batch", "--runs=1", "--budget-ms=2", "--json"];
    let (code, json) = run("auto", &[&only[..], &tiny].concat());
    assert_eq!((code, json["subject"].as_str()), (Some(0), Some("pipe")), "{json}");
    let benches_of = |peer: &str| {
        let rows = json["rows"].as_array().unwrap().iter().filter(|row| row["peer"] == peer);
        rows.map(|row| row["bench"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let push = ["push_64_t2", "push_64_t2_p50", "push_64_t2_p99", "push_64_t2_p999", "push_512_t4"];
    let on_end = ["on_end_t1_added", "on_end_t1_p50", "on_end_t1_p99", "on_end_t1_p999"];
    assert_eq!(benches_of("tokio"), push);
    assert_eq!(benches_of("sdk-batch"), on_end);
    assert_eq!(benches_of("spanwire"), [&push[..], &on_end].concat());
    let goals = json["goals"].as_array().unwrap();
    assert!(goals.iter().any(|goal| goal["bench"] == "on_end_t1_added"), "{json}");
}

#[test]
fn a_push_does_not_allocate() {
    let program = env!("CARGO_BIN_EXE_spanwire-counting");
    let count = |peer: &str| {
        let cell = ["compare-pipe-child", "--row=push_64_t2", "--allocations", "--peer", peer];
        let output = Command::new(program).args(cell).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        serde_json::from_str::<Vec<f64>>(&text).unwrap_or_else(|_| panic!("{output:?}"))[0]
    };
    assert_eq!(count("spanwire"), 0.0);
    assert!(count("tokio") > 0.0, "the count sees what tokio's channel allocates");
}

/// What nobody else does, or only one who is not compiled in.
const ALONE: [&str; 4] =
    ["points_verified", "points_patched", "histograms_verified", "histograms_patched"];
/// The figures of a comparison of encoders that tools and the documentation name.
const ENCODE_BENCHES: [&str; 16] = [
    "span_bare",
    "span_typical",
    "span_heavy",
    "span_spec",
    "span_typical_cold",
    "log_5",
    "points_rebuilt",
    "points_verified",
    "points_patched",
    "histograms_rebuilt",
    "histograms_verified",
    "histograms_patched",
    "json_span",
    "walk_found",
    "walk_absent",
    "walk_all",
];

/// The times of a comparison of runtimes that tools and the documentation name.
const RUNTIME_BENCHES: [&str; 27] = [
    "spawn_join_batch",
    "spawn_join_batch_pinned",
    "spawn_join_one",
    "spawn_join_one_pinned",
    "yield_1",
    "yield_1_pinned",
    "yield_1000",
    "yield_1000_pinned",
    "ping_pong_channel",
    "ping_pong_channel_pinned",
    "timer_cancel",
    "sleeps_cpu",
    "echo_tcp",
    "echo_tcp_64_wall",
    "echo_tcp_64_cpu",
    "spawn_outside_wall",
    "spawn_outside_cpu",
    "wake_idle_caller",
    "wake_idle_p50",
    "wake_idle_p99",
    "spawn_many_local",
    "spawn_many_remote_idle",
    "spawn_many_remote_busy1",
    "spawn_many_remote_busy2",
    "yield_many",
    "ping_pong",
    "chained_spawn",
];

/// The drivers of this machine: a sandbox may deny io_uring, which the demo's own choice shows.
fn drivers() -> &'static [&'static str] {
    let (_, json) = run("auto", &["demo", "--requests", "1", "--quiet", "--json"]);
    if json["driver"] == "uring" {
        return &["epoll", "uring"];
    }
    eprintln!("only epoll is tested: {}", json["driver_reason"]);
    &["epoll"]
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_spanwire"))
}

fn directory(name: &str) -> PathBuf {
    let path =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}
