//! A file or the standard output in place of a collector.

use std::path::PathBuf;
use std::sync::Arc;

use super::Builder;
use crate::error::BuildError;
use crate::pipeline::carrier::Target;
use crate::transport::lines::Lines;

/// Where lines of OTLP/JSON go.
#[derive(Clone, Debug)]
pub(super) enum Output {
    File(PathBuf),
    Stdout,
}

impl Builder {
    /// Appends everything to the file at `path` as lines of OTLP/JSON, in place of sending it to a
    /// collector. The file is created if there is none.
    ///
    /// Each line is one JSON object, a `TracesData`, `LogsData` or `MetricsData`, as the
    /// OpenTelemetry Protocol File Exporter writes it (the Collector's `otlpjsonfile` receiver
    /// reads such files). The file grows; nobody rotates it. What says how to reach a collector,
    /// here or in the environment, has no effect then, and [`timeout`](Self::timeout) does not
    /// bound a write: only the exports of the SDK's own processors, which it gives up waiting for a
    /// turn. A write that fails, for want of space say, is a diagnostic and is tried again within
    /// [`retry_budget`](Self::retry_budget); a line of which only a part was written is followed
    /// by the whole one.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let path = std::env::temp_dir().join(format!("spanwire-{}.jsonl", std::process::id()));
    /// let exporter = spanwire::Exporter::builder().file(&path).build()?;
    /// // ... each provider gets a processor of this exporter, as for a collector ...
    /// exporter.shutdown(Duration::from_secs(5))?;
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.output = Some(Output::File(path.into()));
        self
    }

    /// Prints everything as lines of OTLP/JSON, as [`file`](Self::file) writes it.
    pub fn stdout(mut self) -> Self {
        self.output = Some(Output::Stdout);
        self
    }
}

impl Output {
    /// Opens it, so that a path that cannot be written to is an error of the configuration.
    pub(super) fn open(&self) -> Result<Target, BuildError> {
        let lines = match self {
            Self::Stdout => Lines::to_stdout(),
            Self::File(path) => Lines::to_file(path).map_err(|error| BuildError::InvalidValue {
                value: path.display().to_string(),
                source_name: "Builder::file",
                why: format!("it cannot be opened for appending: {error}"),
            })?,
        };
        Ok(Target::Lines(Arc::new(lines)))
    }
}
