//! Sends spans, log records and metrics that cover every field of OTLP, and writes down what they
//! are.
//!
//! ```text
//! cargo run --example interop_send -- http://127.0.0.1:4318 expected.jsonl
//! ```
//!
//! `ci/interop.sh` compares that file with what an OpenTelemetry Collector received, and with what
//! Google's protobuf decodes. Each line is one record with its scope and resource, written from the
//! types of the SDK by the functions of `json.rs`: none of spanwire's encoders takes part. The
//! driver is chosen by `SPANWIRE_IO`.

mod json;
mod logs;
mod metrics;
mod spans;
mod values;

use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(endpoint), Some(path)) = (args.next(), args.next()) else {
        return Err("usage: interop_send <endpoint> <file for what was sent>".into());
    };
    let sent = Sent(Arc::new(Mutex::new(BufWriter::new(File::create(path)?))));
    let exporter = spanwire::Exporter::builder().endpoint(endpoint).build()?;
    spans::send(&exporter, &sent)?;
    logs::send(&exporter, &sent)?;
    metrics::send(&exporter, &sent)?;
    exporter.flush(LIMIT)?;
    let stats = exporter.stats();
    exporter.shutdown(LIMIT)?;
    sent.flush()?;
    println!("{stats:?}");
    let asked = std::env::var("SPANWIRE_IO").unwrap_or_else(|_| "auto".into());
    if asked != "auto" && asked != stats.driver {
        return Err(format!("SPANWIRE_IO is {asked}, but {} was used", stats.driver).into());
    }
    if stats.delivered != stats.emitted {
        return Err(format!("{} emitted, {} delivered", stats.emitted, stats.delivered).into());
    }
    Ok(())
}

/// The file for what was sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent(Arc<Mutex<BufWriter<File>>>);

impl Sent {
    /// Writes a record of this kind down.
    pub(crate) fn line(&self, resource: &str, scope: &str, kind: &str, record: &str) {
        let fields = [("resource", resource), ("scope", scope), (kind, record)];
        let line = json::object(&fields.map(|(name, json)| (name, json.to_owned())));
        let mut sent = self.0.lock().expect("no recorder panics while it writes");
        writeln!(sent, "{line}").expect("the file takes what was sent");
    }

    fn flush(&self) -> std::io::Result<()> {
        self.0.lock().expect("no recorder panics while it writes").flush()
    }
}

/// Bound of each wait.
const LIMIT: Duration = Duration::from_secs(20);
