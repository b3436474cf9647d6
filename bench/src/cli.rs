//! The command line, and the exit code: 0 when all went well and nothing was lost, 1 otherwise, 2
//! for wrong arguments.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use serde_json::Value;

use crate::{
    compare::{
        self,
        rows::{self, Row},
    },
    demo, env, faults, load,
    report::Summary,
    sink, soak,
};

/// OpenTelemetry export with a runtime of its own: see it work, load it, compare it
#[derive(Clone, Debug, Parser)]
#[command(name = "spanwire", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; `demo` when nothing is named.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The options of `demo`, so that the default command takes them too.
    #[command(flatten)]
    pub demo: demo::Options,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Drive a real HTTP service and export its traces, logs and metrics to a collector in this
    /// process (the default)
    ///
    /// With OTEL_EXPORTER_OTLP_ENDPOINT set, exports there instead; with only
    /// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, _LOGS_ENDPOINT or _METRICS_ENDPOINT set, only that signal. SPANWIRE_IO=auto|uring|epoll chooses the driver.
    Demo(demo::Options),
    /// Emit synthetic spans, flat out or at a rate, to an endpoint or to a sink of its own
    Load(load::Options),
    /// Receive traces, logs and metrics over gRPC or HTTP and count them; ends with its standard input, or by a signal
    Sink(sink::Options),
    /// Emit 50 000 spans a second for some minutes while everything goes wrong by turns, and check that each of them is accounted for
    Soak(soak::Options),
    /// Stand between an exporter and a collector, and misbehave as a script says
    ///
    /// Faults are lines of stdin too; each is answered by a line of JSON. What there is to choose from: pass, latency TIME, stall, blackhole, reset BYTES, slow BYTES, refuse, `answer STATUS [retry-after SECONDS]`, `endless [STATUS]`, header-bomb, garbage.
    Proxy(faults::Options),
    /// Print every environment variable, its value, what became of it and what is wrong with it; fails if no
    /// exporter can be built of it
    Env(env::Options),
    /// Measure spanwire beside other exporters and runtimes (build with `--features rivals`)
    #[command(subcommand)]
    Compare(compare::Command),
    /// One row of a comparison; started by `compare`.
    #[command(hide = true)]
    CompareChild(compare::ChildOptions),
    /// The same of a comparison of encoders.
    #[command(hide = true)]
    CompareEncodeChild(compare::encode::ChildOptions),
    /// The same of a comparison of queues.
    #[command(hide = true)]
    ComparePipeChild(compare::pipe::ChildOptions),
    /// The same of a comparison of runtimes.
    #[command(hide = true)]
    CompareRuntimeChild(compare::runtime::ChildOptions),
}

/// Parses the arguments of the process and runs.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command.unwrap_or(Command::Demo(cli.demo))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("spanwire: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether nothing was lost.
fn run(command: Command) -> Result<bool, String> {
    match command {
        Command::Demo(options) => {
            let demonstration = demo::run(&options)?;
            match options.json {
                true => conclude(&demonstration.summary, true),
                false => print(&demonstration, None).map(|()| demonstration.summary.is_complete()),
            }
        }
        Command::Load(options) => conclude(&load::run(&options)?, options.json),
        Command::Env(options) => {
            let report = env::run();
            print(&report, options.json.then(|| report.to_json()))?;
            Ok(report.can_build())
        }
        Command::Sink(options) => sink::run(&options).map(|()| true),
        Command::Soak(options) => {
            let report = soak::run(&options)?;
            print(&report, options.json.then(|| report.to_json()))?;
            Ok(report.passed())
        }
        Command::Proxy(options) => faults::run(&options).map(|()| true),
        Command::Compare(compare::Command::Export(options)) => {
            let comparison = compare::run(&options)?;
            print(&comparison, options.json.then(|| comparison.to_json()))?;
            Ok(comparison.lost() == 0)
        }
        Command::Compare(compare::Command::Encode(options)) => compare_rows(&options),
        Command::Compare(compare::Command::Pipe(options)) => {
            let report = compare::pipe::run(&options)?;
            print(&report, options.rows.json.then(|| report.to_json()))?;
            Ok(true)
        }
        Command::Compare(compare::Command::Runtime(options)) => {
            let comparison = compare::runtime::run(&options)?;
            print(&comparison, options.json.then(|| comparison.to_json()))?;
            Ok(true)
        }
        Command::CompareEncodeChild(options) => compare_child(&options),
        Command::ComparePipeChild(options) => {
            print(&Value::from(compare::pipe::run_child(&options)?), None)?;
            Ok(true)
        }
        Command::CompareRuntimeChild(options) => {
            let figures = compare::runtime::run_child(&options)?;
            print(&Value::from(figures), None)?;
            Ok(true)
        }
        Command::CompareChild(options) => {
            let figures = match options.flood {
                None => compare::run_child(&options)?.to_json(),
                Some(seconds) => compare::flood::run(&options, seconds)?.to_json(),
            };
            print(&figures, None)?;
            Ok(true)
        }
    }
}

fn compare_rows<R: Row>(options: &rows::Options<R>) -> Result<bool, String> {
    let comparison = rows::run(options)?;
    print(&comparison, options.json.then(|| comparison.to_json()))?;
    Ok(true)
}

fn compare_child<R: Row>(options: &rows::ChildOptions<R>) -> Result<bool, String> {
    print(&Value::from(rows::run_child(options)?), None)?;
    Ok(true)
}

fn conclude(summary: &Summary, json: bool) -> Result<bool, String> {
    print(summary, json.then(|| summary.to_json()))?;
    Ok(summary.is_complete())
}

/// The text for people, then the object for tools as the last line.
fn print(text: &impl std::fmt::Display, json: Option<Value>) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")
        .and_then(|()| json.map_or(Ok(()), |json| writeln!(out, "{json}")))
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write to stdout: {error}"))
}
