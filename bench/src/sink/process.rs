//! A sink as a child process, so that its CPU time and memory are not the subject's.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::tally::Received;

/// A running `spanwire sink`. Dropping it ends the process.
pub struct SinkProcess {
    child: Child,
    /// `None` once the end was announced by closing it.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    endpoint: String,
}

impl SinkProcess {
    /// Starts this same program as a sink on a free port of the loopback, and waits until it
    /// listens.
    ///
    /// # Errors
    ///
    /// When the process cannot be started or says nothing; the text tells why.
    pub fn start(ids: Option<&Path>) -> Result<Self, String> {
        Self::start_program(&this_program()?, ids)
    }

    /// As [`start`](Self::start), for a sink that counts without keeping ids: its memory does not
    /// grow, however long it runs.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_counting() -> Result<Self, String> {
        Self::start_program_with(&this_program()?, &["--count-only"])
    }

    /// Starts `program` as a sink with these options besides.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_program_with(program: &Path, options: &[&str]) -> Result<Self, String> {
        Self::start_at(program, SocketAddr::from(([127, 0, 0, 1], 0)), options)
    }

    /// The same at an address of its own.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_at(program: &Path, listen: SocketAddr, options: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(["sink", "--listen", &listen.to_string()]).args(options);
        Self::start_command(command)
    }

    /// Starts `program` as a sink.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_program(program: &Path, ids: Option<&Path>) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.args(["sink", "--listen", "127.0.0.1:0"]);
        if let Some(path) = ids {
            command.arg("--ids").arg(path);
        }
        Self::start_command(command)
    }

    fn start_command(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start a sink ({command:?}): {error}"))?;
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().ok_or("the sink has no stdout")?);
        let mut sink = Self { child, stdin, stdout, endpoint: String::new() };
        sink.endpoint = sink.line()?;
        Ok(sink)
    }

    /// The endpoint for an exporter, such as `http://127.0.0.1:41235`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The counts since the start or the last mark; the sink starts again from zero.
    ///
    /// # Errors
    ///
    /// When the process is gone or answers nonsense.
    pub fn mark(&mut self) -> Result<Received, String> {
        self.ask(b"mark\n")
    }

    /// The counts since the start or the last mark; the sink goes on counting.
    ///
    /// # Errors
    ///
    /// As [`mark`](Self::mark).
    pub fn count(&mut self) -> Result<Received, String> {
        self.ask(b"count\n")
    }

    /// Ends the process and returns its last counts.
    ///
    /// # Errors
    ///
    /// When the process is gone, answers nonsense, or could not write its file of ids (it says so
    /// on stderr).
    pub fn finish(mut self) -> Result<Received, String> {
        self.stdin = None;
        let counts = Received::from_json(&self.line()?);
        let status =
            self.child.wait().map_err(|error| format!("cannot wait for the sink: {error}"))?;
        if status.success() { counts } else { Err(format!("the sink failed: {status}")) }
    }

    fn ask(&mut self, command: &[u8]) -> Result<Received, String> {
        let stdin = self.stdin.as_mut().ok_or("the sink was ended already")?;
        stdin.write_all(command).map_err(|error| format!("the sink is gone: {error}"))?;
        Received::from_json(&self.line()?)
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.stdout.read_line(&mut line) {
            Ok(0) => Err("the sink ended without an answer; its reason is on stderr".to_owned()),
            Ok(_) => Ok(line.trim_end().to_owned()),
            Err(error) => Err(format!("cannot read from the sink: {error}")),
        }
    }
}

fn this_program() -> Result<PathBuf, String> {
    env::current_exe().map_err(|error| format!("cannot find myself: {error}"))
}

impl Drop for SinkProcess {
    fn drop(&mut self) {
        // After `finish` both fail, because the process is gone: that is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
