//! A file in place of a collector: lines of OTLP/JSON, each of them whole, and counted like what
//! is sent.

mod support;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use spanwire::otel_0_33::MetricExporter;
use spanwire::{BuildError, Exporter, FlushError};

use support::otel::{
    LONG, assert_balanced, builder, drivers, emit_logs, end_spans, logger_provider, provider,
};

#[test]
fn three_signals_are_appended_as_whole_lines_of_json() {
    for io in drivers() {
        let file = TempFile::new();
        std::fs::write(&file.0, "what was there before\n").unwrap();
        let exporter = builder("http://nobody").0.io(io).file(&file.0).build().unwrap();
        let (spans, logs) = (provider(&exporter, "service"), logger_provider(&exporter, "service"));
        let metrics = meter_provider(&exporter);
        // Several producers, so that lines of several signals are written at a time.
        std::thread::scope(|scope| {
            scope.spawn(|| end_spans(&spans, 5_000));
            scope.spawn(|| emit_logs(&logs, 5_000));
            scope.spawn(|| {
                let counter = metrics.meter("test").u64_counter("counter").build();
                (0..100).for_each(|set| counter.add(1, &[KeyValue::new("set", set)]));
                metrics.force_flush().unwrap();
            });
        });
        exporter.flush(LONG).unwrap();
        let lines = file.lines();
        assert_eq!(lines[0], "what was there before");
        let count = |what: &str| -> usize {
            let found = lines.iter().map(|line| line.matches(what).count());
            found.sum()
        };
        assert_eq!(count("\"spanId\":"), 5_000);
        assert_eq!(count("\"body\":"), 5_000);
        assert_eq!(count("\"asInt\":"), 100);
        for line in &lines[1..] {
            let is_one = ["resourceSpans", "resourceLogs", "resourceMetrics"]
                .iter()
                .any(|name| line.starts_with(&format!("{{\"{name}\":[")) && line.ends_with("]}"));
            assert!(is_one, "{line}");
        }
        let stats = exporter.stats();
        assert_balanced(&stats, 10_100);
        assert_eq!((stats.delivered, stats.metrics.delivered), (10_100, 100));
    }
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_of_the_configuration() {
    let error = Exporter::builder().env_from(|_| None).file("/no/such/directory/x").build();
    match error.unwrap_err() {
        BuildError::InvalidValue { value, source_name, why } => {
            assert_eq!((&*value, source_name), ("/no/such/directory/x", "Builder::file"));
            assert!(why.contains("cannot be opened"), "{why}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_says_how_to_reach_a_collector_has_no_effect_on_a_file() {
    let file = TempFile::new();
    let variables = |name: &str| match name {
        "OTEL_EXPORTER_OTLP_ENDPOINT" => Some("https://collector".to_owned()),
        "OTEL_EXPORTER_OTLP_CERTIFICATE" => Some("/cert.pem".to_owned()),
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL" => Some("grpc".to_owned()),
        _ => None,
    };
    let exporter =
        Exporter::builder().env_from(variables).file(&file.0).on_diagnostic(|_| ()).build();
    let exporter = exporter.unwrap();
    end_spans(&provider(&exporter, "service"), 1);
    exporter.shutdown(LONG).unwrap();
    assert_eq!(file.lines().len(), 1);
}

/// /dev/full is a disk without space.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_tried_again_and_counted() {
    for io in drivers() {
        let (builder, diagnostics) = builder("http://nobody");
        let exporter = builder
            .io(io)
            .file("/dev/full")
            .retry_budget(Duration::from_millis(500))
            .build()
            .unwrap();
        end_spans(&provider(&exporter, "service"), 3);
        let error = exporter.flush(LONG).unwrap_err();
        assert_eq!(error, FlushError::Lost { dropped: 3, rejected: 0 });
        let stats = exporter.stats();
        assert_balanced(&stats, 3);
        assert_eq!(stats.dropped.retries_exhausted, 3);
        assert!(stats.retries > 0);
        let told = diagnostics.of_kind("ExportFailing");
        assert!(told[0].contains("No space left on device"), "{told:?}");
    }
}

#[test]
fn two_exporters_may_append_to_one_file() {
    let file = TempFile::new();
    let exporters = [(); 2].map(|()| builder("http://nobody").0.file(&file.0).build().unwrap());
    std::thread::scope(|scope| {
        for exporter in &exporters {
            scope.spawn(|| {
                for _ in 0..20 {
                    end_spans(&provider(exporter, "service"), 100);
                    exporter.flush(LONG).unwrap();
                }
            });
        }
    });
    let lines = file.lines();
    assert!(lines.iter().all(|line| line.starts_with("{\"resourceSpans\":[")), "{lines:?}");
    let spans: usize = lines.iter().map(|line| line.matches("\"spanId\":").count()).sum();
    assert_eq!(spans, 2 * 20 * 100);
}

/// The child is this test again.
#[test]
fn a_standard_output_whose_reader_is_gone_ends_nobody() {
    const CHILD: &str = "SPANWIRE_TEST_READER_IS_GONE";
    const NAME: &str = "a_standard_output_whose_reader_is_gone_ends_nobody";
    if std::env::var_os(CHILD).is_some() {
        println!("{READY}");
        // The parent has closed its end of our output once our input ends.
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
        std::process::exit(write_to_nobody());
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // The test harness prints too, and before us.
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line.ends_with(READY)));
    drop(child.stdin.take());
    assert_eq!(child.wait().unwrap().code(), Some(ALIVE));
}

/// The code to exit with.
fn write_to_nobody() -> i32 {
    let exporter = builder("http://nobody").0.stdout().build().unwrap();
    end_spans(&provider(&exporter, "service"), 3);
    let flushed = exporter.flush(LONG);
    let stats = exporter.stats();
    assert_balanced(&stats, 3);
    let is_counted = flushed == Err(FlushError::Lost { dropped: 3, rejected: 0 })
        && stats.dropped.refused == 3
        && stats.retries == 0;
    if is_counted { ALIVE } else { 1 }
}

const ALIVE: i32 = 42;
const READY: &str = "the child is ready";

fn meter_provider(exporter: &Exporter) -> SdkMeterProvider {
    let never = Duration::from_secs(100_000);
    let reader = PeriodicReader::builder(MetricExporter::new(exporter)).with_interval(never);
    SdkMeterProvider::builder().with_reader(reader.build()).build()
}

/// A path that no other test has; the file is removed at the end.
struct TempFile(PathBuf);

impl TempFile {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("spanwire-output-{}-{number}.jsonl", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn lines(&self) -> Vec<String> {
        let text = read(&self.0);
        assert!(text.ends_with('\n') && !text.contains('\r'));
        text.lines().map(str::to_owned).collect()
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
