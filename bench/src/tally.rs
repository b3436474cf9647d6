//! What a receiver counted: records of each signal, their unique ids, requests. The sink and the
//! demo's collector share it; neither shares anything with spanwire.

use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Write},
    path::Path,
};

use serde_json::{Value, json};

use crate::shape::Signal;

/// The running counts of a receiver. Every id is kept, 8 bytes each, so that uniqueness is exact.
#[derive(Debug)]
pub struct Tally {
    signals: [Running; 3],
    keep_ids: bool,
    /// Where the span ids are written as they come, so that a tally outlives its process.
    journal: Option<File>,
}

#[derive(Debug, Default)]
struct Running {
    /// Ascending, each once.
    settled: Vec<u64>,
    /// What came since, as it came.
    ids: Vec<u64>,
    records: u64,
    /// Records that carry no id, or whose id was not kept.
    nameless: u64,
    requests: u64,
    malformed: u64,
    bytes: u64,
    wire_bytes: u64,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyBytes {
    /// Without its encoding.
    pub decoded: usize,
    /// As it came.
    pub wire: usize,
}

impl BodyBytes {
    /// Of a body without an encoding.
    pub fn plain(bytes: usize) -> Self {
        Self { decoded: bytes, wire: bytes }
    }
}

/// The counts of one signal at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records decoded, duplicates included: spans, log records, data points.
    pub records: u64,
    /// Different ones among them: by span id for spans and for log records that have one. Points
    /// and other log records have nothing to tell them apart, so all of them count.
    pub unique: u64,
    /// Requests that were answered with success.
    pub requests: u64,
    /// Requests whose body did not decode; answered with 400, their records not counted.
    pub malformed: u64,
    /// Bytes of request bodies that decoded, decompressed.
    pub bytes: u64,
    /// The same bodies as they came.
    pub wire_bytes: u64,
}

/// The counts of all signals at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Spans.
    pub traces: Counts,
    /// Log records.
    pub logs: Counts,
    /// Data points.
    pub metrics: Counts,
}

impl Default for Tally {
    fn default() -> Self {
        Self { signals: Default::default(), keep_ids: true, journal: None }
    }
}

impl Tally {
    /// A tally that counts records without keeping their ids, so that its memory does not grow.
    pub fn without_ids() -> Self {
        Self { keep_ids: false, ..Self::default() }
    }

    /// A tally of spans that goes on where the one with the same journal ended, even if it was killed:
    /// ids are in the file before a request is answered. Of the counts, only those of ids go on.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or read.
    pub fn with_journal(path: &Path) -> io::Result<Self> {
        let mut journal = File::options().read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        journal.read_to_end(&mut bytes)?;
        // A kill may have cut the last id; its request was not answered.
        let (ids, rest) = bytes.as_chunks::<8>();
        journal.set_len((bytes.len() - rest.len()) as u64)?;
        let mut tally = Self { journal: Some(journal), ..Self::default() };
        let traces = tally.of_mut(Signal::Traces);
        traces.ids = ids.iter().map(|id| u64::from_le_bytes(*id)).collect();
        traces.records = ids.len() as u64;
        Ok(tally)
    }

    /// Counts one request with `records` records, of which those that have an id have `ids`; its body
    /// has so many bytes, as it is and as it came.
    pub fn accept(&mut self, signal: Signal, records: u64, ids: &[u64], bytes: BodyBytes) {
        if signal == Signal::Traces {
            self.write_journal(ids);
        }
        let keep = self.keep_ids;
        let running = self.of_mut(signal);
        let kept = if keep { ids } else { &[] };
        running.ids.extend_from_slice(kept);
        running.records += records;
        running.nameless += records - kept.len() as u64;
        running.requests += 1;
        running.bytes += bytes.decoded as u64;
        running.wire_bytes += bytes.wire as u64;
    }

    fn write_journal(&mut self, ids: &[u64]) {
        let Some(journal) = &mut self.journal else { return };
        let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        if let Err(error) = journal.write_all(&bytes) {
            eprintln!(
                "sink: cannot write the journal: {error}; what comes now is lost by a restart"
            );
            self.journal = None;
        }
    }

    /// The counts so far; it goes on counting.
    pub fn counts(&mut self) -> Received {
        let [traces, logs, metrics] = self.signals.each_mut().map(Running::counts);
        Received { traces, logs, metrics }
    }

    /// Counts one request whose body did not decode.
    pub fn refuse(&mut self, signal: Signal) {
        self.of_mut(signal).malformed += 1;
    }

    /// Records so far, duplicates included. Cheap, for a progress line.
    pub fn records(&self, signal: Signal) -> u64 {
        self.signals[signal as usize].records
    }

    /// Takes what was counted, and counts from zero again, in the same way.
    pub fn take(&mut self) -> Self {
        // The journal stays with what goes on counting.
        let fresh =
            Self { keep_ids: self.keep_ids, journal: self.journal.take(), ..Self::default() };
        std::mem::replace(self, fresh)
    }

    /// Ends the tally: its counts, and the unique span ids of the traces in ascending order.
    pub fn finish(self) -> (Received, Vec<u64>) {
        let [traces, logs, metrics] = self.signals.map(Running::finish);
        (Received { traces: traces.0, logs: logs.0, metrics: metrics.0 }, traces.1)
    }

    fn of_mut(&mut self, signal: Signal) -> &mut Running {
        &mut self.signals[signal as usize]
    }
}

impl Running {
    fn finish(mut self) -> (Counts, Vec<u64>) {
        let counts = self.counts();
        (counts, self.settled)
    }

    /// Sorts what came since the last call into what was sorted before.
    fn counts(&mut self) -> Counts {
        if !self.ids.is_empty() {
            self.settled.append(&mut self.ids);
            // Of two runs that are sorted, mostly: a merge.
            self.settled.sort();
            self.settled.dedup();
        }
        Counts {
            records: self.records,
            unique: self.settled.len() as u64 + self.nameless,
            requests: self.requests,
            malformed: self.malformed,
            bytes: self.bytes,
            wire_bytes: self.wire_bytes,
        }
    }
}

impl Received {
    /// The counts of one signal.
    pub fn of(&self, signal: Signal) -> &Counts {
        match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
            Signal::Metrics => &self.metrics,
        }
    }

    /// One JSON object: the counts of traces under `spans`, `unique` and so on; those of the other
    /// signals under `logs` and `metrics`, where `records` stands for `spans`.
    pub fn to_json(self) -> Value {
        let mut json = self.traces.to_json("spans");
        json["logs"] = self.logs.to_json("records");
        json["metrics"] = self.metrics.to_json("records");
        json
    }

    /// Reads what `to_json` wrote.
    ///
    /// # Errors
    ///
    /// When `text` is not JSON or lacks one of the keys; the text names which.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| format!("the sink did not answer with JSON ({error}): {text:?}"))?;
        Ok(Self {
            traces: Counts::from_json(&value, "spans")?,
            logs: Counts::from_json(&value["logs"], "records")?,
            metrics: Counts::from_json(&value["metrics"], "records")?,
        })
    }
}

impl Counts {
    /// A key for each field, and `duplicates`.
    fn to_json(self, records: &str) -> Value {
        json!({
            records: self.records,
            "unique": self.unique,
            "duplicates": self.records - self.unique,
            "requests": self.requests,
            "malformed": self.malformed,
            "bytes": self.bytes,
            "wire_bytes": self.wire_bytes,
        })
    }

    fn from_json(value: &Value, records: &str) -> Result<Self, String> {
        let field = |key: &str| {
            value[key].as_u64().ok_or_else(|| format!("the sink's answer lacks {key:?}: {value}"))
        };
        Ok(Self {
            records: field(records)?,
            unique: field("unique")?,
            requests: field("requests")?,
            malformed: field("malformed")?,
            bytes: field("bytes")?,
            wire_bytes: field("wire_bytes")?,
        })
    }
}

/// Writes span ids, one a line in 16 hex digits, in the order given. Files of the same set in
/// ascending order are equal byte for byte, so `cmp` compares what was emitted with what arrived.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write_ids(path: &Path, ids: &[u64]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for id in ids {
        writeln!(file, "{id:016x}")?;
    }
    file.flush()
}
