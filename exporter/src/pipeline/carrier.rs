//! What carries a request away: a connection to a collector, or a file.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderName, HeaderValue};
use spanwire_runtime::blocking::spawn_blocking;

use crate::encode::json;
use crate::model::{Failure, Outcome, Payload, Phase, Signal};
use crate::transport::client::Client;
use crate::transport::endpoint::Endpoint;
use crate::transport::lines::Lines;

/// Where the requests of a signal go.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// To a collector.
    Collector { endpoint: Endpoint, headers: Vec<(HeaderName, HeaderValue)> },
    /// Each as a line of OTLP/JSON.
    Lines(Arc<Lines>),
}

/// Carries one request at a time.
pub(crate) enum Carrier {
    Client(Box<Client>),
    Lines(Arc<Lines>),
}

impl Carrier {
    /// Of an answer's body, `body_bytes_max` are read at most.
    pub(crate) fn new(target: &Target, body_bytes_max: usize) -> Self {
        match target {
            Target::Collector { endpoint, headers } => {
                Self::Client(Box::new(Client::new(endpoint.clone(), headers, body_bytes_max)))
            }
            Target::Lines(lines) => Self::Lines(Arc::clone(lines)),
        }
    }

    /// Tries once, by `deadline` at the latest. A write has no deadline: it cannot be called
    /// back, and to do it again would double the line.
    pub(crate) async fn attempt(
        &mut self,
        signal: Signal,
        payload: &Payload,
        deadline: Option<Instant>,
    ) -> Outcome {
        match self {
            Self::Client(client) => client.attempt(payload, deadline).await,
            Self::Lines(lines) => write(Arc::clone(lines), signal, payload.clone()).await,
        }
    }
}

/// Writes a request as one line, on a thread that may block.
async fn write(lines: Arc<Lines>, signal: Signal, payload: Payload) -> Outcome {
    let written = spawn_blocking(move || line(signal, &payload).map(|line| lines.append(line)));
    match written.await {
        Ok(Ok(Ok(()))) => Outcome::Delivered { rejected: 0, warning: None },
        Ok(Ok(Err(error))) => unwritten(&error),
        // A bug of ours: what we have encoded cannot be read.
        Ok(Err(why)) => Outcome::Refused { why: Failure::new(Phase::Write, why) },
        Err(error) => Outcome::retry(Failure::new(Phase::Write, error.to_string())),
    }
}

fn line(signal: Signal, payload: &Payload) -> Result<Vec<u8>, String> {
    let mut request = Vec::with_capacity(payload.bytes);
    payload.parts.iter().for_each(|part| request.extend_from_slice(part));
    let mut line = Vec::with_capacity(JSON_FACTOR * payload.bytes);
    match json::transcode(signal, &request, &mut line) {
        Ok(()) => Ok(line),
        Err(error) => Err(format!("the encoded request {error}")),
    }
}

/// A full disk may have room later; who has closed the other end of a pipe does not come back.
fn unwritten(error: &io::Error) -> Outcome {
    let why = Failure::new(Phase::Write, error.to_string());
    match error.kind() {
        io::ErrorKind::BrokenPipe => Outcome::Refused { why },
        _ => Outcome::retry(why),
    }
}

/// About how much longer OTLP/JSON is than the same in protobuf.
const JSON_FACTOR: usize = 3;
