//! `spanwire sink`: a receiver in a process of its own, counting by decoding.
//!
//! In scope: OTLP over gRPC and over HTTP in protobuf and JSON, all on one port, plain, gzip or zstd,
//! with TLS if asked: spans and log records counted exactly by span id, and data points. Out of scope:
//! anything a collector does beyond counting. The process speaks lines:
//!
//! ```text
//! stdout  http://127.0.0.1:41235           first line: the endpoint for an exporter
//! stdin   mark                             asks for the counts since the last mark, and starts again from zero
//! stdout  {"spans":9,"unique":9,...,"logs":{...},"metrics":{...}}   the answer
//! stdin   count                            asks for the same, and goes on counting
//! stdin   (end of file), or SIGTERM, SIGINT
//! stdout  {"spans":0,...,"cpu_s":0.1}      last line: the counts since the last mark; as in all answers, the CPU time of the process
//! ```

use std::{
    fs,
    io::{self, BufRead, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread,
};

use nix::sys::signal::{SigSet, Signal};
use rustls::ServerConfig;

pub use process::SinkProcess;
pub use server::Server;

use crate::{
    measure,
    receive::tls,
    tally::{self, Received, Tally},
};

mod ceiling;
mod process;
mod server;
pub mod walk;

/// The options of `spanwire sink`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:4318", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Write the unique span ids received (since the last mark) here at the end, ascending, one in
    /// hex a line
    #[arg(long, value_name = "FILE", conflicts_with = "count_only")]
    pub ids: Option<PathBuf>,
    /// Count records without keeping their ids (8 bytes each): duplicates are not noticed
    #[arg(long)]
    pub count_only: bool,
    /// Append the span ids received to this file before a request is answered, and begin with those
    /// that are in it: so nothing that was acknowledged is forgotten if the sink is killed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["count_only", "ids"])]
    pub journal: Option<PathBuf>,
    /// Serve TLS, and nothing else, with a certificate for localhost and 127.0.0.1; the certificate of
    /// the authority that was made for it is written here
    #[arg(long, value_name = "FILE")]
    pub tls: Option<PathBuf>,
    /// Tell how many spans a second a sink in a process of its own can take on this machine, sent
    /// by two connections from requests that were encoded beforehand
    #[arg(long, conflicts_with_all = ["listen", "ids", "count_only", "journal", "tls"])]
    pub ceiling: bool,
}

enum Event {
    Mark,
    Count,
    End,
}

/// Runs until the end of stdin or a signal.
///
/// # Errors
///
/// When the address cannot be bound or the file of ids cannot be written; the text names it.
pub fn run(options: &Options) -> Result<(), String> {
    if options.ceiling {
        return say(&ceiling::measure()?.to_string());
    }
    // Before any thread starts, so that all of them inherit the mask and only the waiting one sees
    // the signals.
    let signals = block_signals()?;
    let tally = match &options.journal {
        Some(path) => Tally::with_journal(path)
            .map_err(|error| format!("cannot use the journal {}: {error}", path.display()))?,
        None if options.count_only => Tally::without_ids(),
        None => Tally::default(),
    };
    let tls = options.tls.as_deref().map(identity).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let server = Server::start_with(options.listen, tally, tls)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    say(&format!("{scheme}://{}", server.address()))?;
    let (sender, events) = mpsc::channel();
    watch_signals(signals, sender.clone())?;
    watch_stdin(sender)?;
    // The signal thread holds a sender for ever, so an error cannot come; it would mean the end all
    // the same.
    loop {
        match events.recv() {
            Ok(Event::Mark) => say(&with_cpu(server.take().finish().0))?,
            Ok(Event::Count) => say(&with_cpu(server.counts()))?,
            Ok(Event::End) | Err(_) => break,
        }
    }
    finish(&server, options.ids.as_deref())
}

/// A new identity, whose authority is in `path` when this returns.
fn identity(path: &Path) -> Result<Arc<ServerConfig>, String> {
    let identity = tls::identity()?;
    fs::write(path, identity.ca_pem).map_err(|error| {
        format!("cannot write the authority's certificate to {}: {error}", path.display())
    })?;
    Ok(identity.server)
}

fn finish(server: &Server, ids: Option<&Path>) -> Result<(), String> {
    let (counts, unique) = server.take().finish();
    if let Some(path) = ids {
        tally::write_ids(path, &unique)
            .map_err(|error| format!("cannot write the span ids to {}: {error}", path.display()))?;
    }
    say(&with_cpu(counts))
}

/// The counts, and the CPU time of the process from its start.
fn with_cpu(counts: Received) -> String {
    let mut json = counts.to_json();
    json["cpu_s"] = measure::process_cpu().as_secs_f64().into();
    json.to_string()
}

fn say(line: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write to stdout: {error}"))
}

fn block_signals() -> Result<SigSet, String> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block().map_err(|error| format!("cannot block signals: {error}"))?;
    Ok(signals)
}

fn watch_signals(signals: SigSet, events: Sender<Event>) -> Result<(), String> {
    spawn("sink-signals", move || {
        let _ = signals.wait();
        let _ = events.send(Event::End);
    })
}

fn watch_stdin(events: Sender<Event>) -> Result<(), String> {
    // A shell gives its background jobs the null device; its immediate end means nothing, so only
    // signals count then.
    if fs::read_link("/proc/self/fd/0").is_ok_and(|path| path == Path::new("/dev/null")) {
        return Ok(());
    }
    spawn("sink-stdin", move || {
        for line in io::stdin().lock().lines() {
            match line.as_deref() {
                Ok("mark") => drop(events.send(Event::Mark)),
                Ok("count") => drop(events.send(Event::Count)),
                Ok(other) => eprintln!("sink: the commands are mark and count, not {other:?}"),
                Err(_) => break,
            }
        }
        let _ = events.send(Event::End);
    })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let started = thread::Builder::new().name(name.into()).spawn(body);
    started.map(drop).map_err(|error| format!("cannot start the thread {name}: {error}"))
}
