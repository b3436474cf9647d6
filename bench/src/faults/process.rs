//! The proxy as a process of its own, and as a child.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::Arc,
    thread,
    time::Instant,
};

use serde_json::Value;

use super::{Fault, Proxy, Script};

/// The options of `spanwire proxy`.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Where to forward to
    #[arg(long, value_name = "ADDRESS")]
    pub to: SocketAddr,
    /// The fault to begin with
    #[arg(long, default_value_t, value_name = "FAULT")]
    pub fault: Fault,
    /// Faults by time: lines such as `2s latency 20ms`
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
}

/// Runs until the end of stdin; if that is the null device, until a signal ends it.
///
/// # Errors
///
/// When the address cannot be bound or the script cannot be read; the text tells.
pub fn run(options: &Options) -> Result<(), String> {
    let script = options.script.as_deref().map(read_script).transpose()?.unwrap_or_default();
    let proxy = Proxy::start(options.listen, options.to)
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    proxy.set(options.fault);
    say(&proxy.address().to_string())?;
    let proxy = Arc::new(proxy);
    play(script, Arc::clone(&proxy))?;
    if fs::read_link("/proc/self/fd/0").is_ok_and(|path| path == Path::new("/dev/null")) {
        loop {
            thread::park();
        }
    }
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match line.trim() {
            "" => continue,
            "status" => {}
            fault => match fault.parse() {
                Ok(fault) => proxy.set(fault),
                Err(error) => eprintln!("proxy: {error}"),
            },
        }
        say(&proxy.status().to_json().to_string())?;
    }
    Ok(())
}

fn read_script(path: &Path) -> Result<Script, String> {
    let wrong = |error: String| format!("the script {}: {error}", path.display());
    fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?.parse().map_err(wrong)
}

/// Puts the faults in force as their time comes.
fn play(script: Script, proxy: Arc<Proxy>) -> Result<(), String> {
    let start = Instant::now();
    let play = move || {
        for &(at, fault) in script.changes() {
            thread::sleep((start + at).saturating_duration_since(Instant::now()));
            proxy.set(fault);
        }
    };
    let started = thread::Builder::new().name("proxy-script".into()).spawn(play);
    started.map(drop).map_err(|error| format!("cannot start the thread of the script: {error}"))
}

fn say(line: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| format!("cannot write to stdout: {error}"))
}

/// A running `spanwire proxy`. Dropping it ends the process.
pub struct ProxyProcess {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl ProxyProcess {
    /// Starts this same program as a proxy to `upstream`.
    ///
    /// # Errors
    ///
    /// When the process cannot be started or says nothing; the text tells why.
    pub fn start(upstream: SocketAddr, fault: Fault) -> Result<Self, String> {
        let this = env::current_exe().map_err(|error| format!("cannot find myself: {error}"))?;
        Self::start_program(&this, upstream, fault)
    }

    /// The same of another program.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_program(
        program: &Path,
        upstream: SocketAddr,
        fault: Fault,
    ) -> Result<Self, String> {
        let mut child = Command::new(program)
            .args(["proxy", "--to", &upstream.to_string(), "--fault", &fault.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start a proxy: {error}"))?;
        let stdin = child.stdin.take().ok_or("the proxy has no stdin")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("the proxy has no stdout")?);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut proxy = Self { child, stdin, stdout, address };
        let line = proxy.line()?;
        proxy.address =
            line.parse().map_err(|_| format!("the proxy says {line:?} and not its address"))?;
        Ok(proxy)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Puts a fault in force; when this returns, it is.
    ///
    /// # Errors
    ///
    /// When the process is gone or answers nonsense.
    pub fn set(&mut self, fault: Fault) -> Result<Value, String> {
        self.ask(&fault.to_string())
    }

    /// The object that the proxy answers with.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn status(&mut self) -> Result<Value, String> {
        self.ask("status")
    }

    fn ask(&mut self, line: &str) -> Result<Value, String> {
        writeln!(self.stdin, "{line}").map_err(|error| format!("the proxy is gone: {error}"))?;
        let answer = self.line()?;
        serde_json::from_str(&answer)
            .map_err(|error| format!("the proxy did not answer with JSON ({error}): {answer:?}"))
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line) {
            Ok(0) => Err("the proxy ended without an answer; its reason is on stderr".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(format!("cannot read from the proxy: {error}")),
        }
    }
}

impl Drop for ProxyProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
