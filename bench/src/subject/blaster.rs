//! The sink's ceiling: requests that were encoded beforehand, on a blocking socket a thread. Only
//! the span ids are written anew for each request, so that the sink counts these spans as any
//! others.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::{Counts, Peer, Settings, Subject, outcomes::Outcomes, ready};
use crate::{
    drive::{Ids, Producer},
    shape::Shape,
    sink::walk,
};

pub(super) fn open(settings: &Settings) -> Result<Subject, String> {
    let endpoint = settings.endpoint.as_deref().unwrap_or_default();
    let address = endpoint
        .strip_prefix("http://")
        .ok_or_else(|| format!("the ceiling is measured on a sink of ours, not on {endpoint:?}"))?;
    let (address, shape) = (address.to_owned(), settings.shape);
    // So that a wrong address is an error here, and not later in a producer.
    connect(&address)?;
    let sent = Sent::default();
    let peer = sent.clone();
    Ok(Subject::new(move || Blaster::new(&address, shape, sent.clone()), peer))
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address)
        .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
        .and_then(|stream| stream.set_read_timeout(Some(PATIENCE)).map(|()| stream));
    stream.map_err(|error| format!("cannot connect to {address}: {error}"))
}

#[derive(Clone, Default)]
struct Sent(Outcomes);

/// One connection and the request that it sends again and again.
struct Blaster {
    stream: Result<TcpStream, String>,
    address: String,
    shape: Shape,
    request: Request,
    ids: fastrand::Rng,
    sent: Sent,
}

/// Head and body of a request, and where its body has the ids of the spans.
struct Request {
    bytes: Vec<u8>,
    ids_at: Vec<usize>,
}

impl Blaster {
    fn new(address: &str, shape: Shape, sent: Sent) -> Self {
        Self {
            stream: connect(address),
            address: address.to_owned(),
            shape,
            request: Request::new(SPANS, shape, address),
            ids: fastrand::Rng::new(),
            sent,
        }
    }

    fn exchange(&mut self) -> Result<(), String> {
        let stream = self.stream.as_mut().map_err(|error| error.clone())?;
        let failed = |error| format!("the sink is gone: {error}");
        stream.write_all(&self.request.bytes).map_err(failed)?;
        let mut answer = Vec::with_capacity(256);
        while !answer.ends_with(b"\r\n\r\n") {
            let mut some = [0; 256];
            let read = stream.read(&mut some).map_err(failed)?;
            if read == 0 {
                return Err("the sink closed the connection".to_owned());
            }
            answer.extend_from_slice(&some[..read]);
        }
        if answer.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err("not accepted".to_owned()) }
    }
}

impl Producer for Blaster {
    fn burst(&mut self, records: u64, ids: &mut Ids) -> u64 {
        let records = usize::try_from(records).unwrap_or(SPANS).min(SPANS);
        if records != self.request.ids_at.len() {
            self.request = Request::new(records, self.shape, &self.address);
        }
        for &at in &self.request.ids_at {
            let id = self.ids.u64(1..);
            self.request.bytes[at..at + 8].copy_from_slice(&id.to_be_bytes());
            ids.add(id);
        }
        let answered = self.exchange();
        if let Err(error) = &answered {
            self.stream = Err(error.clone());
        }
        self.sent.0.add(records as u64, answered.is_ok());
        records as u64
    }

    fn burst_len(&self) -> u64 {
        SPANS as u64
    }
}

impl Request {
    fn new(spans: usize, shape: Shape, host: &str) -> Self {
        let body = ready::request(spans, shape);
        let mut ids = Vec::new();
        walk::span_ids(&body, &mut ids).expect("a request of opentelemetry-proto is well-formed");
        let mut bytes = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-protobuf\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        let head = bytes.len();
        let ids_at = positions(&body, &ids).into_iter().map(|at| head + at).collect();
        bytes.extend_from_slice(&body);
        Self { bytes, ids_at }
    }
}

/// Where in `body` each of the ids is; they come in the order of the bytes.
fn positions(body: &[u8], ids: &[u64]) -> Vec<usize> {
    let mut from = 0;
    let mut find = |id: &u64| {
        let field = [&[SPAN_ID_TAG, 8][..], &id.to_be_bytes()].concat();
        let at = body[from..].windows(field.len()).position(|bytes| bytes == field)?;
        from += at + field.len();
        Some(from - 8)
    };
    ids.iter().filter_map(&mut find).collect()
}

impl Peer for Sent {
    fn settled(&self) -> u64 {
        self.0.settled()
    }

    fn counts(&self) -> Counts {
        self.0.counts("blocking")
    }

    fn flush(&self, _: Duration) -> Result<(), String> {
        Ok(())
    }

    fn shutdown(&self, _: Duration) -> Result<(), String> {
        Ok(())
    }
}

/// About 540 KB of typical spans, as spanwire's requests.
const SPANS: usize = 1000;
/// Field 2 of a Span, length-delimited.
const SPAN_ID_TAG: u8 = 0x12;
/// A sink that takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(30);
