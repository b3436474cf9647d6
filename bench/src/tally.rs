//! What a receiver counted: spans, their unique ids, requests. The sink and the demo's collector
//! share it; neither shares anything with spanwire.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use serde_json::{Value, json};

/// The running counts of a receiver. Every span id is kept, 8 bytes each, so that uniqueness is
/// exact.
#[derive(Debug, Default)]
pub struct Tally {
    ids: Vec<u64>,
    requests: u64,
    malformed: u64,
    bytes: u64,
}

/// A tally at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Spans decoded, duplicates included.
    pub spans: u64,
    /// Different span ids among them.
    pub unique: u64,
    /// Requests that were answered with success.
    pub requests: u64,
    /// Requests whose body did not decode; answered with 400, their spans not counted.
    pub malformed: u64,
    /// Bytes of request bodies that decoded.
    pub bytes: u64,
}

impl Tally {
    /// Counts one request of `bytes` body bytes that carried the spans `ids`.
    pub fn accept(&mut self, ids: &[u64], bytes: usize) {
        self.ids.extend_from_slice(ids);
        self.requests += 1;
        self.bytes += bytes as u64;
    }

    /// Counts one request whose body did not decode.
    pub fn refuse(&mut self) {
        self.malformed += 1;
    }

    /// Spans so far, duplicates included. Cheap, for a progress line.
    pub fn spans(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Ends the tally: its counts, and the unique span ids in ascending order.
    pub fn finish(mut self) -> (Counts, Vec<u64>) {
        let spans = self.spans();
        self.ids.sort_unstable();
        self.ids.dedup();
        let counts = Counts {
            spans,
            unique: self.ids.len() as u64,
            requests: self.requests,
            malformed: self.malformed,
            bytes: self.bytes,
        };
        (counts, self.ids)
    }
}

impl Counts {
    /// One JSON object with a key for each field, and `duplicates`.
    pub fn to_json(self) -> Value {
        json!({
            "spans": self.spans,
            "unique": self.unique,
            "duplicates": self.spans - self.unique,
            "requests": self.requests,
            "malformed": self.malformed,
            "bytes": self.bytes,
        })
    }

    /// Reads what `to_json` wrote.
    ///
    /// # Errors
    ///
    /// When `text` is not JSON or lacks one of the keys; the text names which.
    pub fn from_json(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text)
            .map_err(|error| format!("the sink did not answer with JSON ({error}): {text:?}"))?;
        let field = |key: &str| {
            value[key].as_u64().ok_or_else(|| format!("the sink's answer lacks {key:?}: {text}"))
        };
        Ok(Self {
            spans: field("spans")?,
            unique: field("unique")?,
            requests: field("requests")?,
            malformed: field("malformed")?,
            bytes: field("bytes")?,
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
