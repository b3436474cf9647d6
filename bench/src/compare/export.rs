//! `spanwire compare export`: starts the sink and the rows, in random order, and gathers what they
//! measured.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Allocator,
    child::{self, CANNOT_OPEN, Row},
    children,
    flood::Flooded,
    goals::{self, Goal},
    program,
    table::{self, Line},
    versions,
};
use crate::{
    faults::{Fault, ProxyProcess},
    measure,
    receive::{Protocol, encoding::Encoding, tls},
    shape::{Shape, Signal},
    sink::SinkProcess,
    subject::{Class, Kind, NEEDS_RIVALS, Wire},
};

/// The options of `spanwire compare export`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Records (spans, log records, data points) of each run in the closed loop
    #[arg(long, default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub spans: u64,
    /// Rounds; each runs every row once, in random order
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    pub runs: u16,
    /// What is exported
    #[arg(long, value_enum, default_value_t)]
    pub signal: Signal,
    /// How large a record is: no attributes, 10 and an event, 40, or those of the specification
    #[arg(long, value_enum, default_value_t)]
    pub shape: Shape,
    /// Producer threads
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// A producer pauses while more records than this are outstanding, and goes on at half of it;
    /// 8192 by default, and 65536 of the bare shape
    #[arg(long, value_name = "RECORDS", value_parser = clap::value_parser!(u64).range(64..))]
    pub outstanding: Option<u64>,
    /// Records a second of the rows at fixed rates; 0 leaves them out
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    pub rate: Vec<u64>,
    /// How OTLP is carried
    #[arg(long, value_enum, default_value_t)]
    pub protocol: Protocol,
    /// How bodies are compressed, by all at the level that opentelemetry-otlp has built in: gzip 6, zstd 3
    #[arg(long, value_enum, default_value_t)]
    pub compression: Encoding,
    /// Over TLS 1.3, by rustls with ring and one cipher suite for all
    #[arg(long)]
    pub tls: bool,
    /// Through a proxy that makes a round trip take so many milliseconds longer
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub rtt: Option<u64>,
    /// Requests in flight at once, for exporters that have several
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub in_flight: u16,
    /// The allocator of all rows
    #[arg(long, value_enum, default_value_t)]
    pub allocator: Allocator,
    /// Only these peers
    #[arg(long, value_delimiter = ',', default_values_t = Kind::ALL)]
    pub peers: Vec<Kind>,
    /// Instead of the rows: two producers that never pause for so many seconds, at default settings
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub flood: Option<u64>,
    /// End with one JSON object on the last line of stdout
    #[arg(long)]
    pub json: bool,
}

/// How the producers are paced, and what they call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As fast as the limit of outstanding records allows.
    Closed,
    /// So many a second.
    Fixed(u64),
    /// Exporters called with ready batches.
    Alone,
    /// What the sink can take.
    Ceiling,
}

/// The lines of one mode, in the order of the peers.
#[derive(Clone, Debug)]
pub struct Section {
    /// How they were measured.
    pub mode: Mode,
    /// Who was.
    pub lines: Vec<Line>,
}

/// Everything that was measured.
#[derive(Clone, Debug)]
pub struct Comparison {
    options: Options,
    /// One for each mode that has lines.
    pub sections: Vec<Section>,
    /// The floods, instead.
    pub floods: Vec<Flooded>,
    /// Peers that could not run, each with its reason.
    pub skipped: Vec<(Kind, String)>,
    /// Load averages before and after.
    pub load: [f64; 2],
}

/// Runs the whole comparison. Each run says a line on stderr.
///
/// # Errors
///
/// When the rivals are not compiled in, the sink or a row fails; the text tells. A driver that this
/// machine does not have is no failure: its peer is skipped.
pub fn run(options: &Options) -> Result<Comparison, String> {
    if cfg!(not(feature = "rivals")) && options.peers.iter().any(|peer| peer.needs_rivals()) {
        return Err(NEEDS_RIVALS.to_owned());
    }
    let program = program::on(options.allocator)?;
    let mut comparison = Comparison::new(options);
    match options.flood {
        None => {
            Bench::new(options, &program, &[])?.rounds(&mut comparison)?;
        }
        Some(seconds) => {
            let mut bench = Bench::new(options, &program, &["--count-only"])?;
            bench.floods(seconds, &mut comparison)?;
        }
    }
    comparison.load[1] = measure::load_average();
    Ok(comparison)
}

struct Bench<'a> {
    options: &'a Options,
    program: &'a Path,
    sink: SinkProcess,
    /// Ends with it.
    _proxy: Option<ProxyProcess>,
    endpoint: String,
    ca: Option<Certificate>,
}

impl<'a> Bench<'a> {
    /// Starts the sink, and a proxy before it if there is to be a distance.
    fn new(options: &'a Options, program: &'a Path, sink: &[&str]) -> Result<Self, String> {
        let this = env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
        let ca = options.tls.then(Certificate::new);
        let tls = ca.iter().flat_map(|ca| ["--tls", ca.text()]);
        let sink: Vec<&str> = sink.iter().copied().chain(tls).collect();
        let sink = SinkProcess::start_program_with(&this, &sink)?;
        let mut endpoint = sink.endpoint().to_owned();
        let mut proxy = None;
        if let Some(rtt) = options.rtt {
            let (scheme, address) = endpoint.split_once("://").ok_or("a sink without a scheme")?;
            let to = address.parse().map_err(|_| format!("{address:?} is not an address"))?;
            let delay = Fault::Latency(Duration::from_millis(rtt));
            let started = proxy.insert(ProxyProcess::start(to, delay)?);
            endpoint = format!("{scheme}://{}", started.address());
        }
        Ok(Self { options, program, sink, _proxy: proxy, endpoint, ca })
    }

    fn rounds(&mut self, comparison: &mut Comparison) -> Result<(), String> {
        self.leave_out_what_cannot_run(comparison)?;
        for round in 0..self.options.runs {
            let mut cells = comparison.cells();
            fastrand::shuffle(&mut cells);
            for (mode, peer) in cells {
                let (row, lost) = self.cell(mode, peer, self.options.spans_of(mode))?;
                let text = row.to_string();
                children::report(round, self.options.runs, mode, peer, &text);
                comparison.add(mode, peer, row, lost);
            }
        }
        Ok(())
    }

    /// A short run of each peer, which is the machine's warm-up as well and does not count. A ring
    /// that cannot even start is one that this machine does not have.
    fn leave_out_what_cannot_run(&mut self, comparison: &mut Comparison) -> Result<(), String> {
        for &peer in &self.options.peers {
            let lacks = peer.lacks(self.options.signal, self.options.shape);
            let wire = self.options.wire(self.ca.as_ref());
            let is_far = self.options.rtt.is_some();
            if let Some(reason) = lacks.or_else(|| peer.lacks_wire(&wire, is_far)) {
                comparison.skipped.push((peer, reason.to_owned()));
                continue;
            }
            match self.cell(Mode::Closed, peer, TRIAL_RECORDS) {
                Ok(_) => comparison.include(peer),
                Err(error) if peer == Kind::SpanwireUring && error.contains(CANNOT_OPEN) => {
                    comparison.skipped.push((peer, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// One run: the row, and its records without a fate.
    fn cell(&mut self, mode: Mode, peer: Kind, records: u64) -> Result<(Row, i64), String> {
        self.sink.mark()?;
        let mut row = Row::from_json(&self.child(peer, &self.arguments(mode, records))?)?;
        let received = *self.sink.mark()?.of(self.options.signal);
        let known = received.unique + row.refused;
        if received.records > 0 {
            row.wire_bytes_per_span = received.wire_bytes as f64 / received.records as f64;
            row.compression_ratio = received.bytes as f64 / received.wire_bytes.max(1) as f64;
        }
        let lost = row.emitted.wrapping_sub(known).cast_signed();
        Ok((row, lost))
    }

    fn floods(&mut self, seconds: u64, comparison: &mut Comparison) -> Result<(), String> {
        let able = |peer: &&Kind| FLOODED.contains(peer);
        for &peer in self.options.peers.iter().filter(able) {
            self.sink.mark()?;
            let threads = self.options.threads.max(FLOOD_THREADS).to_string();
            let seconds = seconds.to_string();
            let arguments = ["--spans", "0", "--flood", &seconds, "--threads", &threads];
            let line = self.child(peer, &arguments.map(str::to_owned));
            let line = match line {
                Err(error) if peer == Kind::SpanwireUring && error.contains(CANNOT_OPEN) => {
                    comparison.skipped.push((peer, error));
                    continue;
                }
                line => line?,
            };
            let received = self.sink.mark()?.of(self.options.signal).records;
            let flooded = Flooded { received, ..Flooded::from_json(&line)? };
            eprintln!("{flooded}");
            comparison.floods.push(flooded);
        }
        Ok(())
    }

    fn arguments(&self, mode: Mode, records: u64) -> Vec<String> {
        let mut arguments = vec![
            ("--spans", records),
            ("--warm-up", records / WARM_UP_PART),
            ("--threads", self.options.threads_of(mode)),
            ("--outstanding", self.options.outstanding()),
        ];
        if let Mode::Fixed(rate) = mode {
            arguments.push(("--rate", rate));
        }
        if let Some(bytes) = self.options.buffer_bytes() {
            arguments.push(("--buffer-bytes", bytes));
        }
        arguments.into_iter().flat_map(|(name, value)| [name.into(), value.to_string()]).collect()
    }

    /// What the child wrote on its last line.
    fn child(&self, peer: Kind, arguments: &[String]) -> Result<String, String> {
        let signal = self.options.signal.name();
        let (shape, sink) = (self.options.shape.name(), self.sink.id().to_string());
        let in_flight = self.options.in_flight.to_string();
        let ca = self.ca.iter().flat_map(|ca| ["--ca".to_owned(), ca.text().to_owned()]);
        let same = [
            "compare-child",
            "--peer",
            peer.name(),
            "--signal",
            signal,
            "--shape",
            shape,
            "--endpoint",
            &self.endpoint,
            "--sink",
            &sink,
            "--protocol",
            self.options.protocol.name(),
            "--compression",
            self.options.compression.name(),
            "--in-flight",
            &in_flight,
        ];
        let mut arguments = [&same.map(str::to_owned)[..], arguments].concat();
        arguments.extend(ca);
        let environment = peer.io().map(|io| ("SPANWIRE_IO", io));
        let output = children::output_with(self.program, &arguments, environment)
            .map_err(|error| format!("{peer} failed: {error}"))?;
        Ok(output.lines().last().unwrap_or_default().to_owned())
    }
}

impl Options {
    fn wire(&self, ca: Option<&Certificate>) -> Wire {
        Wire {
            protocol: Some(self.protocol),
            encoding: self.compression,
            level: child::level(self.compression),
            ca: ca.map(|ca| ca.0.clone()),
            in_flight: self.in_flight.into(),
            ..Wire::default()
        }
    }

    /// Whether records travel as they do by default: plain HTTP in protobuf, to a receiver nearby.
    pub(super) fn is_usual(&self) -> bool {
        let plain = self.compression == Encoding::None && !self.tls;
        self.protocol == Protocol::Http && plain && self.rtt.is_none()
    }

    /// How records travel, in a few words for people.
    pub(super) fn wire_text(&self) -> String {
        let mut text = self.protocol.to_string();
        if let Some(level) = child::level(self.compression) {
            text += &format!(", {} level {level}", self.compression);
        }
        if self.tls {
            text += &format!(", TLS by rustls and ring with {}", tls::CIPHER);
        }
        if let Some(rtt) = self.rtt {
            text += &format!(", {rtt} ms added to a round trip");
        }
        text += &format!(", {} requests in flight where there can be several", self.in_flight);
        if let Some(bytes) = self.buffer_bytes() {
            text += &format!(", a buffer of {} MiB for spanwire", bytes >> 20);
        }
        text
    }

    /// What the closed loop is limited to.
    fn outstanding_default(&self) -> u64 {
        if self.rtt.is_some() {
            return OUTSTANDING_FAR;
        }
        match self.shape {
            Shape::Bare => OUTSTANDING_BARE,
            Shape::Typical | Shape::Heavy | Shape::Spec => OUTSTANDING_DEFAULT,
        }
    }

    /// The limit of outstanding records: as given, or what suits the shape.
    pub(super) fn outstanding(&self) -> u64 {
        self.outstanding.unwrap_or_else(|| self.outstanding_default())
    }

    /// Over a distance everybody's queue holds what is outstanding; a row that drops looks fast.
    fn buffer_bytes(&self) -> Option<u64> {
        let needed = self.outstanding() * BUFFER_BYTES_DEFAULT / BUFFER_HOLDS;
        self.rtt.map(|_| needed.max(BUFFER_BYTES_DEFAULT))
    }

    /// A fixed rate is held for a second, a low one for longer: so that there are enough exports.
    fn spans_of(&self, mode: Mode) -> u64 {
        match mode {
            Mode::Fixed(rate) => self.spans.min(rate.max(FIXED_RECORDS_MIN)),
            Mode::Closed | Mode::Alone | Mode::Ceiling => self.spans,
        }
    }

    /// A collection is one thread's work; so is a call with a ready batch.
    fn threads_of(&self, mode: Mode) -> u64 {
        match (self.signal, mode) {
            (Signal::Metrics, _) | (_, Mode::Alone) => 1,
            (_, Mode::Ceiling) => CEILING_CONNECTIONS,
            _ => self.threads.into(),
        }
    }

    /// The rates, fastest last; points come by the collection and have none. A distance matters to who
    /// waits for answers, and at a rate nobody does.
    fn rates(&self) -> Vec<u64> {
        let mut rates: Vec<_> = self.rate.iter().copied().filter(|rate| *rate > 0).collect();
        rates.sort_unstable();
        rates.dedup();
        let only_closed = self.signal == Signal::Metrics || self.rtt.is_some();
        if only_closed { Vec::new() } else { rates }
    }
}

impl Comparison {
    fn new(options: &Options) -> Self {
        Self {
            options: options.clone(),
            sections: Vec::new(),
            floods: Vec::new(),
            skipped: Vec::new(),
            load: [measure::load_average(); 2],
        }
    }

    /// How it was asked for.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The lines of one mode.
    pub fn lines_of(&self, mode: Mode) -> &[Line] {
        let section = self.sections.iter().find(|section| section.mode == mode);
        section.map_or(&[], |section| &section.lines)
    }

    fn include(&mut self, peer: Kind) {
        for mode in self.modes_of(peer) {
            let line = Line { peer, runs: Vec::new(), lost: 0 };
            match self.sections.iter_mut().find(|section| section.mode == mode) {
                Some(section) => section.lines.push(line),
                None => self.sections.push(Section { mode, lines: vec![line] }),
            }
        }
    }

    fn modes_of(&self, peer: Kind) -> Vec<Mode> {
        match peer.class() {
            // One call after the other, and each waits for its answer.
            Class::Alone if self.options.rtt.is_some() => Vec::new(),
            Class::Alone => vec![Mode::Alone],
            Class::Bytes => vec![Mode::Ceiling],
            _ if peer.is_paced() => {
                let fixed = self.options.rates().into_iter().map(Mode::Fixed);
                std::iter::once(Mode::Closed).chain(fixed).collect()
            }
            _ => vec![Mode::Closed],
        }
    }

    /// What one round runs.
    fn cells(&self) -> Vec<(Mode, Kind)> {
        let of = |section: &Section| {
            let mode = section.mode;
            section.lines.iter().map(move |line| (mode, line.peer)).collect::<Vec<_>>()
        };
        self.sections.iter().flat_map(of).collect()
    }

    fn add(&mut self, mode: Mode, peer: Kind, row: Row, lost: i64) {
        let sections = self.sections.iter_mut().filter(|section| section.mode == mode);
        let lines = sections.flat_map(|section| &mut section.lines);
        for line in lines.filter(|line| line.peer == peer) {
            line.lost += lost;
            line.runs.push(row.clone());
        }
    }

    /// The sum of what was lost, without regard to sign. What rivals drop in a flood is not ours to
    /// answer for.
    pub fn lost(&self) -> u64 {
        let lines = self.sections.iter().flat_map(|section| &section.lines);
        let floods = self.floods.iter().filter(|flooded| flooded.peer.io().is_some());
        let lost = lines.map(|line| line.lost).chain(floods.map(Flooded::lost));
        lost.map(i64::unsigned_abs).sum()
    }

    /// What spanwire wants to be.
    pub fn goals(&self) -> Vec<Goal> {
        [goals::of(self), goals::of_flood(&self.floods)].concat()
    }

    /// The object for tools. Its keys are stable.
    pub fn to_json(&self) -> Value {
        let options = &self.options;
        let lines = |mode| self.lines_of(mode).iter().map(Line::to_json).collect::<Vec<_>>();
        let rates = options.rates();
        let fixed = |rate: &u64| {
            let of = self.lines_of(Mode::Fixed(*rate));
            json!({
                "spans_per_s": rate,
                "rows": lines(Mode::Fixed(*rate)),
                "ratios": table::ratios(of),
                "intervals": table::intervals(of),
            })
        };
        let closed = self.lines_of(Mode::Closed);
        let alone = self.lines_of(Mode::Alone);
        json!({
            "subject": "export",
            "signal": options.signal.name(),
            "shape": options.shape.name(),
            "protocol": options.protocol.name(),
            "compression": options.compression.name(),
            "compression_level": child::level(options.compression),
            "tls": options.tls.then_some(tls::CIPHER),
            "rtt_ms": options.rtt,
            "in_flight": options.in_flight,
            "rows": lines(Mode::Closed),
            "ratios": table::ratios(closed),
            "intervals": table::intervals(closed),
            "fixed_rate": rates.last().map(fixed),
            "fixed_rates": rates.iter().map(fixed).collect::<Vec<_>>(),
            "alone": {
                "rows": lines(Mode::Alone),
                "ratios": table::ratios(alone),
                "intervals": table::intervals(alone),
            },
            "sink_ceiling": lines(Mode::Ceiling).first(),
            "flood": self.floods.iter().map(Flooded::to_json).collect::<Vec<_>>(),
            "goals": self.goals().iter().map(Goal::to_json).collect::<Vec<_>>(),
            "skipped": self
                .skipped
                .iter()
                .map(|(peer, reason)| json!({ "peer": peer.name(), "reason": reason }))
                .collect::<Vec<_>>(),
            "machine": measure::machine(),
            "load_average": self.load,
            "versions": versions::of(&VERSIONS_OF),
            "features": versions::features(),
            "allocator": options.allocator.to_string(),
            "spans": options.spans,
            "runs": options.runs,
            "threads": options.threads,
            "outstanding": options.outstanding(),
            "buffer_bytes": options.buffer_bytes(),
        })
    }
}

/// The file of a sink's authority; dropping it removes the file.
struct Certificate(PathBuf);

impl Certificate {
    fn new() -> Self {
        let name = format!("spanwire-compare-{}.pem", std::process::id());
        Self(env::temp_dir().join(name))
    }

    fn text(&self) -> &str {
        // A temporary directory whose name is no text would be found out by the sink.
        self.0.to_str().unwrap_or_default()
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // The sink may not have written it.
        let _ = fs::remove_file(&self.0);
    }
}

pub(super) const VERSIONS_OF: [&str; 18] = [
    "spanwire",
    "opentelemetry_sdk",
    "opentelemetry-otlp",
    "reqwest",
    "hyper",
    "tonic",
    "h2",
    "rustls",
    "ring",
    "flate2",
    "miniz_oxide",
    "zlib-rs",
    "zstd-sys",
    "tokio",
    "tracing-opentelemetry",
    "fastrace",
    "fastrace-opentelemetry",
    "emit_otlp",
];
/// Several batches of every peer fit into half of it. Spanwire is woken by two batches, which are
/// about 2000 typical spans: below that it runs dry and waits for its age limit.
const OUTSTANDING_DEFAULT: u64 = 8192;
/// Over a distance: more than anybody has under way, which is four batches of 8192 for the rivals, and
/// for spanwire four requests of 4 MiB.
const OUTSTANDING_FAR: u64 = 49_152;
/// Of spanwire.
const BUFFER_BYTES_DEFAULT: u64 = 16 << 20;
/// So many typical spans; of larger ones fewer.
const BUFFER_HOLDS: u64 = 24_576;
/// At 10 000 a second three seconds, in which spanwire exports some 30 times.
const FIXED_RECORDS_MIN: u64 = 30_000;
/// Two of spanwire's batches are 12 000 bare spans.
const OUTSTANDING_BARE: u64 = 65_536;
/// Enough for every peer to connect and send.
const TRIAL_RECORDS: u64 = 1_000;
/// The warm-up is a tenth of the measured part.
const WARM_UP_PART: u64 = 10;
/// Enough to keep the sink busy: it has a thread for each.
const CEILING_CONNECTIONS: u64 = 2;
/// Who is flooded: who takes part with default settings and keeps counts.
const FLOODED: [Kind; 3] = [Kind::SpanwireUring, Kind::SpanwireEpoll, Kind::OtlpHttp];
const FLOOD_THREADS: u16 = 2;
