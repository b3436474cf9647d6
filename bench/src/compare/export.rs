//! `spanwire compare export`: starts the sink and the rows, in random order, and gathers what they
//! measured.

use std::{
    fmt,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use super::{
    Allocator,
    child::{CANNOT_OPEN, Row},
    program,
    table::{self, Line},
    versions,
};
use crate::{
    measure,
    sink::SinkProcess,
    subject::{Kind, NEEDS_RIVALS},
};

/// The options of `spanwire compare export`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Spans of each run in the closed loop
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub spans: u64,
    /// Runs of each row
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// Producer threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// A producer pauses while more spans than this are outstanding, and goes on at half of it
    #[arg(
        long,
        default_value_t = OUTSTANDING_DEFAULT,
        value_name = "SPANS",
        value_parser = clap::value_parser!(u64).range(64..)
    )]
    pub outstanding: u64,
    /// Spans a second of the rows at a fixed rate; 0 leaves them out
    #[arg(long, default_value_t = 100_000)]
    pub rate: u64,
    /// The allocator of all rows
    #[arg(long, value_enum, default_value_t)]
    pub allocator: Allocator,
    /// Only these peers
    #[arg(long, value_delimiter = ',', default_values_t = Kind::ALL)]
    pub peers: Vec<Kind>,
    /// End with one JSON object on the last line of stdout
    #[arg(long)]
    pub json: bool,
}

/// How the producers are paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As fast as the limit of outstanding spans allows.
    Closed,
    /// At the rate of the options.
    Fixed,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Comparison {
    options: Options,
    /// The closed loop, in the order of the peers.
    pub rows: Vec<Line>,
    /// The fixed rate, in the order of the peers; empty when it is left out.
    pub fixed_rate: Vec<Line>,
    /// Peers that could not run, each with its reason.
    pub skipped: Vec<(Kind, String)>,
}

/// Runs the whole comparison. Each run says a line on stderr.
///
/// # Errors
///
/// When the rivals are not compiled in, the sink or a row fails; the text tells. A driver that this
/// machine does not have is no failure: its peer is skipped.
pub fn run(options: &Options) -> Result<Comparison, String> {
    if options.peers.contains(&Kind::OtlpHttp) && cfg!(not(feature = "rivals")) {
        return Err(NEEDS_RIVALS.to_owned());
    }
    let program = program::on(options.allocator)?;
    let mut bench = Bench { options, program: &program, sink: SinkProcess::start(None)? };
    let mut comparison = Comparison::new(options);
    bench.leave_out_what_cannot_run(&mut comparison)?;
    for round in 0..options.runs {
        let mut cells = comparison.cells();
        fastrand::shuffle(&mut cells);
        for (mode, peer) in cells {
            let (row, lost) = bench.cell(mode, peer, options.spans_of(mode))?;
            eprintln!("run {} of {}  {mode:<12} {peer:<15} {row}", round + 1, options.runs);
            comparison.add(mode, peer, row, lost);
        }
    }
    Ok(comparison)
}

struct Bench<'a> {
    options: &'a Options,
    program: &'a Path,
    sink: SinkProcess,
}

impl Bench<'_> {
    /// A short run of each peer. A ring that cannot even start is one that this machine does not
    /// have.
    fn leave_out_what_cannot_run(&mut self, comparison: &mut Comparison) -> Result<(), String> {
        for &peer in &self.options.peers {
            match self.cell(Mode::Closed, peer, TRIAL_SPANS) {
                Ok(_) => comparison.include(peer),
                Err(error) if peer == Kind::SpanwireUring && error.contains(CANNOT_OPEN) => {
                    comparison.skipped.push((peer, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One run: the row, and its spans without a fate.
    fn cell(&mut self, mode: Mode, peer: Kind, spans: u64) -> Result<(Row, i64), String> {
        self.sink.mark()?;
        let row = self.child(mode, peer, spans)?;
        let known = self.sink.mark()?.unique + row.refused;
        let lost = row.emitted.wrapping_sub(known).cast_signed();
        Ok((row, lost))
    }

    fn child(&self, mode: Mode, peer: Kind, spans: u64) -> Result<Row, String> {
        let mut command = Command::new(self.program);
        command.arg("compare-child").args(["--peer", peer.name()]);
        command.args(["--endpoint", self.sink.endpoint()]);
        command.args(["--spans", &spans.to_string()]);
        command.args(["--warm-up", &(spans / WARM_UP_PART).to_string()]);
        command.args(["--threads", &self.options.threads.to_string()]);
        command.args(["--outstanding", &self.options.outstanding.to_string()]);
        if mode == Mode::Fixed {
            command.args(["--rate", &self.options.rate.to_string()]);
        }
        if let Some(io) = peer.io() {
            command.env("SPANWIRE_IO", io);
        }
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| format!("cannot start {}: {error}", self.program.display()))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            return Err(format!(
                "{peer} failed: {}",
                error.trim().trim_start_matches("spanwire: ")
            ));
        }
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        let output = String::from_utf8_lossy(&output.stdout);
        Row::from_json(output.lines().last().unwrap_or_default())
    }
}

impl Options {
    /// A fixed rate needs no more than two seconds.
    fn spans_of(&self, mode: Mode) -> u64 {
        match mode {
            Mode::Closed => self.spans,
            Mode::Fixed => self.spans.min(2 * self.rate),
        }
    }
}

impl Comparison {
    fn new(options: &Options) -> Self {
        let options = options.clone();
        Self { options, rows: Vec::new(), fixed_rate: Vec::new(), skipped: Vec::new() }
    }

    fn include(&mut self, peer: Kind) {
        let line = Line { peer, runs: Vec::new(), lost: 0 };
        if self.options.rate > 0 {
            self.fixed_rate.push(line.clone());
        }
        self.rows.push(line);
    }

    /// What one round runs.
    fn cells(&self) -> Vec<(Mode, Kind)> {
        let closed = self.rows.iter().map(|line| (Mode::Closed, line.peer));
        closed.chain(self.fixed_rate.iter().map(|line| (Mode::Fixed, line.peer))).collect()
    }

    fn add(&mut self, mode: Mode, peer: Kind, row: Row, lost: i64) {
        let lines = match mode {
            Mode::Closed => &mut self.rows,
            Mode::Fixed => &mut self.fixed_rate,
        };
        for line in lines.iter_mut().filter(|line| line.peer == peer) {
            line.lost += lost;
            line.runs.push(row.clone());
        }
    }

    /// The sum of what was lost, without regard to sign.
    pub fn lost(&self) -> u64 {
        self.rows.iter().chain(&self.fixed_rate).map(|line| line.lost.unsigned_abs()).sum()
    }

    /// The object for tools. Its keys are stable.
    pub fn to_json(&self) -> Value {
        let lines = |lines: &[Line]| lines.iter().map(Line::to_json).collect::<Vec<_>>();
        let skipped = self.skipped.iter();
        json!({
            "subject": "export",
            "rows": lines(&self.rows),
            "ratios": table::ratios(&self.rows),
            "fixed_rate": {
                "spans_per_s": self.options.rate,
                "rows": lines(&self.fixed_rate),
                "ratios": table::ratios(&self.fixed_rate),
            },
            "skipped": skipped
                .map(|(peer, reason)| json!({ "peer": peer.name(), "reason": reason }))
                .collect::<Vec<_>>(),
            "machine": measure::machine(),
            "versions": versions::of(&VERSIONS_OF),
            "allocator": self.options.allocator.to_string(),
            "spans": self.options.spans,
            "threads": self.options.threads,
            "outstanding": self.options.outstanding,
        })
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { spans, runs, threads, outstanding, rate, allocator, .. } = &self.options;
        writeln!(f, "{}", measure::machine())?;
        writeln!(f, "{}, {allocator}", versions::of(&VERSIONS_OF))?;
        writeln!(f, "{runs} runs, {threads} producers; median (least..greatest)")?;
        writeln!(f, "\nclosed loop: {spans} spans, at most {outstanding} outstanding")?;
        write_lines(f, &self.rows)?;
        if *rate > 0 {
            writeln!(f, "\nfixed rate: {rate} spans/s")?;
            write_lines(f, &self.fixed_rate)?;
        }
        for (peer, reason) in &self.skipped {
            writeln!(f, "skipped {peer}: {reason}")?;
        }
        write!(
            f,
            "\nthe sink's CPU time is not counted; noop drops every span: the floor of app ns/span"
        )
    }
}

fn write_lines(f: &mut fmt::Formatter<'_>, lines: &[Line]) -> fmt::Result {
    writeln!(f, "{}", table::heading())?;
    for line in lines {
        writeln!(f, "{}", line.text())?;
    }
    let ratios = table::ratios(lines);
    for (peer, ratios) in ratios.as_object().into_iter().flatten() {
        let each = ratios.as_object().into_iter().flatten();
        let each: Vec<_> = each.map(|(name, ratio)| format!("{name} {ratio}")).collect();
        writeln!(f, "{peer}: {}", each.join(", "))?;
    }
    Ok(())
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Closed => "closed loop",
            Self::Fixed => "fixed rate",
        })
    }
}

impl fmt::Display for Allocator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Glibc => "glibc",
            Self::Mimalloc => "mimalloc",
        })
    }
}

pub(super) const VERSIONS_OF: [&str; 4] =
    ["spanwire", "opentelemetry_sdk", "opentelemetry-otlp", "reqwest"];
/// Several batches of every peer fit into half of it. Spanwire's batch is about 1000 spans: at 2048 it
/// runs dry and waits for its age limit. opentelemetry-otlp is at its best at 2048, where its spans
/// stay in the cache: about a quarter less CPU than here, which `--outstanding 2048` shows.
const OUTSTANDING_DEFAULT: u64 = 8192;
/// Enough for every peer to connect and send.
const TRIAL_SPANS: u64 = 1_000;
/// The warm-up is a tenth of the measured part.
const WARM_UP_PART: u64 = 10;
