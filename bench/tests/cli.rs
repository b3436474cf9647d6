//! The command line and the JSON that tools rely on.

use clap::{CommandFactory as _, Parser as _};
use serde_json::{Value, json};
use spanwire_bench::{
    cli::{Cli, Command},
    compare::{
        self, Row,
        flood::Flooded,
        lines::{Table, Unit},
        runtime::{
            peer::Peer,
            row::{Group, Row as RuntimeRow},
        },
        table::{Figure, Line, intervals, ratios},
    },
    histogram::Percentiles,
    report::{SignalSummary, Summary},
    shape::Signal,
    subject::{Counts, Kind},
};

fn parse(line: &str) -> Cli {
    Cli::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"))
}

#[test]
fn the_command_line_has_no_contradictions() {
    Cli::command().debug_assert();
}

#[test]
fn no_subcommand_is_the_demo_and_takes_its_options() {
    assert!(parse("spanwire").command.is_none());
    let cli = parse("spanwire --requests 7 --json");
    assert!(cli.command.is_none() && cli.demo.json);
    assert_eq!(cli.demo.requests, 7);
    assert!(matches!(parse("spanwire demo --json").command, Some(Command::Demo(o)) if o.json));
}

#[test]
fn the_options_that_the_documentation_names_are_there() {
    let load = "spanwire load --spans 5 --threads 2 --rate 9 --endpoint http://h:1 --ids f --json";
    let Some(Command::Load(options)) = parse(load).command else { panic!("not a load") };
    assert_eq!((options.spans, options.threads, options.rate), (5, 2, Some(9)));
    assert!(matches!(
        parse("spanwire sink --listen 127.0.0.1:0 --ids f").command,
        Some(Command::Sink(_))
    ));
    let export = "spanwire compare export --spans 300000 --runs 5 --allocator mimalloc --json";
    let Some(Command::Compare(compare::Command::Export(options))) = parse(export).command else {
        panic!("not a comparison")
    };
    assert_eq!((options.spans, options.runs), (300_000, 5));
    assert_eq!(options.rate, [10_000, 100_000]);
    assert_eq!(options.peers, Kind::ALL, "all peers, when none is named");
    let soak = "spanwire soak --minutes 10 --rate 9 --protocol grpc --seed 1 --phase-ms 100 --json";
    assert!(matches!(parse(soak).command, Some(Command::Soak(o)) if o.minutes == 10 && o.json));
    assert!(Cli::try_parse_from("spanwire soak --minutes 0".split(' ')).is_err());
    let proxy = "spanwire proxy --to 127.0.0.1:4318 --listen 127.0.0.1:0 --fault stall --script f";
    assert!(matches!(parse(proxy).command, Some(Command::Proxy(_))));
    parse("spanwire sink --tls ca.pem --journal ids");
    for protocol in ["grpc", "http", "http-json"] {
        for compression in ["none", "gzip", "zstd"] {
            parse(&format!(
                "spanwire compare export --protocol {protocol} --compression {compression} --tls --rtt 20"
            ));
        }
        parse(&format!("spanwire demo --protocol {protocol} --json"));
    }
    for shape in ["bare", "typical", "heavy", "spec"] {
        for signal in ["traces", "logs", "metrics"] {
            parse(&format!("spanwire compare export --shape {shape} --signal {signal} --json"));
        }
    }
    let runtime =
        "spanwire compare runtime --runs 3 --only yield_1,ping_pong --peers tokio-mt --json";
    let Some(Command::Compare(compare::Command::Runtime(options))) = parse(runtime).command else {
        panic!("not a comparison of runtimes")
    };
    assert_eq!((options.runs, options.only.len()), (3, 2));
    assert_eq!(options.peers, [Peer::TokioMt]);
}

#[test]
fn wrong_values_are_refused() {
    for line in [
        "spanwire load --threads 0",
        "spanwire load --rate 0",
        "spanwire sink --listen nowhere",
        "spanwire compare export --peers otlp-pigeon",
        "spanwire compare export --runs 0",
        "spanwire compare export --shape round",
        "spanwire compare export --signal profiles",
        "spanwire compare export --flood 0",
        "spanwire sink --ceiling --count-only",
        "spanwire compare runtime --only no_such_row",
        "spanwire compare runtime --peers carrier-pigeon",
        "spanwire compare runtime --budget-ms 0",
        "spanwire --requests 7 sink",
    ] {
        assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
    }
}

#[test]
fn every_peer_is_found_by_its_name() {
    for kind in Kind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
}

fn summary() -> Summary {
    Summary {
        emitted: 1000,
        counts: Counts {
            delivered: 900,
            rejected: 30,
            dropped: 50,
            driver: "uring".into(),
            driver_reason: "chosen".into(),
            ..Counts::default()
        },
        decoded: Some(910),
        elapsed: std::time::Duration::from_secs(2),
        cpu: std::time::Duration::from_millis(5),
        rss_mb: 12.345,
        on_end_ns: Percentiles { mean: 100.04, p50: 90, p99: 200, p999: 300 },
        signals: Vec::new(),
    }
}

#[test]
fn the_keys_of_demo_and_load_are_stable() {
    let expected = json!({
        "emitted": 1000, "delivered": 900, "decoded": 910, "rejected": 30, "dropped": 50,
        "lost": 10, "spans_per_s": 450.0, "cpu_s_per_million": 5.0, "rss_mb": 12.3,
        "driver": "uring", "driver_reason": "chosen",
        "on_end_ns": { "mean": 100.0, "p50": 90, "p99": 200, "p999": 300 },
    });
    assert_eq!(summary().to_json(), expected);
}

#[test]
fn lost_is_what_has_no_fate() {
    let with = |decoded| Summary { decoded, ..summary() }.lost();
    assert_eq!(with(Some(920)), 0);
    assert_eq!(with(Some(930)), -10, "arrived, and counted as dropped as well");
    assert_eq!(with(None), 20, "a stranger's receiver: the exporter's word counts");
    assert_eq!(summary().decoded.map(|_| ()), Some(()));
}

#[test]
fn a_receiver_that_is_not_ours_leaves_decoded_null() {
    assert_eq!(Summary { decoded: None, ..summary() }.to_json()["decoded"], Value::Null);
}

fn line(peer: Kind, delivered: f64, cpu: f64, app: f64) -> Line {
    let row = |delivered_per_s| Row {
        delivered_per_s,
        cpu_s_per_million: cpu,
        rss_mb: 10.0,
        app_ns_per_span: app,
        ..Row::default()
    };
    Line { peer, runs: [3.0, 1.0, 2.0].map(|n| row(n * delivered)).to_vec(), lost: 0 }
}

#[test]
fn the_keys_of_a_comparison_are_stable() {
    let ours = line(Kind::SpanwireUring, 300.0, 0.5, 350.0);
    let expected = json!({
        "peer": "spanwire-uring", "delivered_per_s": 600.0, "cpu_s_per_million": 0.5,
        "machine_s_per_million": 0.0, "sink_s_per_million": 0.0,
        "rss_mb": 10.0, "app_ns_per_span": 350.0, "exporter_cpu_percent": 0.0,
        "export_p50_ms": 0.0, "export_p99_ms": 0.0, "wire_bytes_per_span": 0.0,
        "compression_ratio": 0.0, "lost": 0, "runs": 3,
        "spread": {
            "delivered_per_s": [300.0, 900.0], "cpu_s_per_million": [0.5, 0.5],
            "machine_s_per_million": [0.0, 0.0], "sink_s_per_million": [0.0, 0.0],
            "rss_mb": [10.0, 10.0], "app_ns_per_span": [350.0, 350.0],
            "exporter_cpu_percent": [0.0, 0.0], "export_p50_ms": [0.0, 0.0],
            "export_p99_ms": [0.0, 0.0], "wire_bytes_per_span": [0.0, 0.0],
            "compression_ratio": [0.0, 0.0],
        },
    });
    assert_eq!(ours.to_json(), expected);
    let rival = line(Kind::OtlpHttp, 100.0, 3.0, 700.0);
    let floor = line(Kind::Noop, 900.0, 0.2, 250.0);
    let expected = json!({ "spanwire-uring": {
        "cpu_vs_otlp_http": 6.0, "delivered_vs_otlp_http": 3.0, "rss_vs_otlp_http": 1.0,
        "app_vs_otlp_http": 2.0, "cpu_over_noop_vs_otlp_http": 9.33, "app_ns_over_noop": 100.0,
    }});
    let lines = [ours, rival, floor];
    assert_eq!(ratios(&lines), expected);
    let keys = |value: Value| {
        value["spanwire-uring"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(keys(intervals(&lines)), keys(ratios(&lines)));
    assert_eq!(intervals(&lines)["spanwire-uring"]["cpu_vs_otlp_http"], json!([6.0, 6.0]));
}

#[test]
fn every_rival_is_met_by_one_of_ours() {
    use spanwire_bench::subject::Role;
    for rival in Kind::ALL.into_iter().filter(|kind| kind.role() == Role::Rival) {
        assert!(Kind::ALL.into_iter().any(|ours| ours.meets(rival)), "{rival}");
    }
    assert!(!Kind::SpanwireUring.meets(Kind::TracingOtlp), "other spans are other work");
    assert!(!Kind::SpanwireUring.meets(Kind::Noop) && !Kind::OtlpHttp.meets(Kind::OtlpHyper));
}

#[test]
fn a_flood_survives_its_way_between_processes() {
    let flooded = Flooded {
        peer: Kind::OtlpHttp,
        emitted: 100,
        refused: 30,
        received: 60,
        seconds: 2.0,
        cpu_s_per_million: 0.5,
        rss_begin_mb: 20.0,
        rss_rest_mb: 25.0,
    };
    assert_eq!(Flooded::from_json(&flooded.to_json().to_string()), Ok(flooded.clone()));
    assert_eq!((flooded.lost(), flooded.rss_growth_mb()), (10, 5.0));
}

#[test]
fn one_signal_that_lost_something_fails_the_whole_program() {
    let of = |signal, decoded| SignalSummary {
        signal,
        emitted: 10,
        counts: Counts { delivered: 10, ..Counts::default() },
        decoded: Some(decoded),
    };
    let whole = Summary { emitted: 920, decoded: Some(840), ..summary() };
    assert!(whole.is_complete());
    let with = |signals| Summary { signals, ..whole.clone() };
    assert!(with(vec![of(Signal::Logs, 10)]).is_complete());
    let lossy = with(vec![of(Signal::Logs, 10), of(Signal::Metrics, 9)]);
    assert!(!lossy.is_complete());
    assert_eq!(lossy.to_json()["signals"]["metrics"]["lost"], 1);
    assert_eq!(lossy.to_json()["lost"], 0, "the keys of traces stay what they are");
}

#[test]
fn a_row_survives_its_way_between_processes() {
    let row = Row { emitted: 7, refused: 2, driver: "epoll".into(), ..Row::default() };
    assert_eq!(Row::from_json(&row.to_json().to_string()), Ok(row));
    assert!(Row::from_json("{}").unwrap_err().contains("delivered_per_s"));
    assert!(Row::from_json("").is_err());
}

#[test]
fn the_median_is_the_middle_of_the_runs() {
    let median = |values: &[f64]| Figure::of(values.iter().copied()).median;
    assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
    assert_eq!(median(&[9.0, 1.0, 5.0, 4.0]), 4.5);
    assert_eq!(Figure::of([]), Figure::default());
}

#[test]
fn every_row_of_runtimes_has_peers_to_be_compared_with() {
    let peers = [Peer::Spanwire1Uring, Peer::TokioMt, Peer::Smol, Peer::Monoio, Peer::Glommio];
    for row in RuntimeRow::all() {
        let [ours, tokio, smol, monoio, glommio] = peers.map(|peer| row.suits(peer));
        assert!(ours, "{row}");
        assert_eq!((tokio, monoio), (smol, glommio), "{row}");
        let io = row.group() == Group::Io;
        assert_eq!((tokio, monoio), (io || !row.is_pinned(), io || row.is_pinned()), "{row}");
    }
}

#[test]
fn the_keys_of_a_comparison_of_runtimes_are_stable() {
    let mut table = Table::default();
    for ns in [30.0, 10.04, 20.0] {
        table.add("yield_1", Peer::TokioMt, Unit::Ns, 5.0 * ns);
        table.add("yield_1", Peer::Spanwire1Uring, Unit::Ns, ns);
    }
    table.add("idle_task_bytes", Peer::Smol, Unit::Bytes, 99.95);
    table.add("echo_tcp_io_uring_enters", Peer::Spanwire1Uring, Unit::Calls, 1.0);
    table.add("echo_tcp_io_uring_enters", Peer::TokioMt, Unit::Calls, 0.0);
    table.sort(&["yield_1".into(), "idle_task_bytes".into()]);
    let times = json!([
        {"bench": "yield_1", "peer": "spanwire-1-uring", "ns": 20.0, "spread": [10.0, 30.0], "runs": 3},
        {"bench": "yield_1", "peer": "tokio-mt", "ns": 100.0, "spread": [50.2, 150.0], "runs": 3},
    ]);
    assert_eq!(table.to_json(true), times);
    assert_eq!(table.to_json(false).as_array().unwrap().len(), 3);
    let ratios = json!({"yield_1": {"spanwire-1-uring": {"tokio-mt": 5.0}}});
    assert_eq!(table.ratios(), ratios, "a count of nothing has no ratio");
}
