//! A collector to embed: an axum server for OTLP/HTTP, and an h2 server for gRPC on another port, that
//! decode every request with the prost types of `opentelemetry-proto`.
//!
//! It is the other end of the demo, and shares no code with spanwire: what it counts, a stranger
//! understood. For measurements there is [`crate::sink`], which is cheaper.

use std::{
    borrow::Cow,
    io, mem,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest,
        metrics::v1::ExportMetricsServiceRequest,
        trace::v1::{
            ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        },
    },
    common::v1::any_value::Value,
    metrics::v1::{Metric, metric::Data},
    resource::v1::Resource,
    trace::v1::{Span, status::StatusCode as StatusCodeOf},
};
use prost::Message as _;
use tokio::{net::TcpListener, runtime, sync::oneshot, task};

use crate::{
    receive::{
        BODY_BYTES_MAX, Protocol,
        encoding::Encoding,
        grpc::{self, Answer, Call},
        json,
    },
    shape::Signal,
    tally::{BodyBytes, Received as Counts, Tally},
    waterfall::{self, Kept, Trace},
};

/// A running collector with a thread of its own. Dropping it stops it.
pub struct Collector {
    shared: Arc<Shared>,
    address: SocketAddr,
    grpc_address: SocketAddr,
    /// Sending or dropping it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// How to answer one request that decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Full success: all records are counted.
    Accept,
    /// Partial success: this many of the last records are rejected and not counted.
    Reject(usize),
    /// This status, nothing counted.
    Refuse(u16),
}

/// Chooses the reply to the request with this number, counted from 0, of whatever signal.
pub type Script = Box<dyn Fn(u64) -> Reply + Send + Sync>;

struct Shared {
    script: Script,
    state: Mutex<Received>,
}

#[derive(Default)]
struct Received {
    tally: Tally,
    requests: u64,
    kept: Kept,
}

impl Collector {
    /// Starts a collector that accepts everything, on a free port of the loopback.
    ///
    /// # Errors
    ///
    /// When no port can be bound or no thread started; the text tells.
    pub fn start() -> Result<Self, String> {
        Self::with_script(Box::new(|_| Reply::Accept))
    }

    /// Starts a collector whose replies come from `script`.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn with_script(script: Script) -> Result<Self, String> {
        let cannot = |error| format!("cannot start the embedded collector: {error}");
        let (listener, address) = listen().map_err(cannot)?;
        let (grpc, grpc_address) = listen().map_err(cannot)?;
        let shared = Arc::new(Shared { script, state: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_io().build().map_err(cannot)?;
        let app = router(Arc::clone(&shared));
        let calls = Arc::clone(&shared);
        let serve = move || {
            task::LocalSet::new().block_on(&runtime, serve(listener, app, grpc, calls, stopped));
        };
        let thread =
            thread::Builder::new().name("collector".into()).spawn(serve).map_err(cannot)?;
        Ok(Self { shared, address, grpc_address, stop: Some(stop), thread: Some(thread) })
    }

    /// The endpoint for an exporter over HTTP, such as `http://127.0.0.1:41235`.
    pub fn endpoint(&self) -> String {
        self.endpoint_of(Protocol::Http)
    }

    /// The endpoint for an exporter that speaks this protocol.
    pub fn endpoint_of(&self, protocol: Protocol) -> String {
        match protocol {
            Protocol::Grpc => format!("http://{}", self.grpc_address),
            Protocol::Http | Protocol::HttpJson => format!("http://{}", self.address),
        }
    }

    /// Records decoded so far, duplicates included.
    pub fn records(&self, signal: Signal) -> u64 {
        self.shared.lock().tally.records(signal)
    }

    /// Stops the collector and returns what it counted.
    pub fn finish(self) -> Counts {
        self.finish_with_trace().0
    }

    /// The same, and one of the first traces: the one that tells most.
    pub fn finish_with_trace(mut self) -> (Counts, Option<Trace>) {
        self.stop();
        let mut received = self.shared.lock();
        let (tally, kept) = (received.tally.take(), mem::take(&mut received.kept));
        (tally.finish().0, kept.best())
    }

    fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It panics only by a bug, and then what it counted tells.
            let _ = thread.join();
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Received> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listen() -> io::Result<(std::net::TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn serve(
    listener: std::net::TcpListener,
    app: Router,
    grpc: std::net::TcpListener,
    calls: Arc<Shared>,
    stopped: oneshot::Receiver<()>,
) {
    let made = "a listener that was made non-blocking";
    let listener = TcpListener::from_std(listener).expect(made);
    let grpc = TcpListener::from_std(grpc).expect(made);
    // Not a graceful shutdown: an exporter's idle connection would hold it up.
    tokio::select! {
        _ = axum::serve(listener, app) => {}
        () = serve_grpc(grpc, calls) => {}
        _ = stopped => {}
    }
}

async fn serve_grpc(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // Errors of accept concern the connection that was about to come: the next may fare better.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let shared = Arc::clone(&shared);
        // A connection that breaks has nobody to tell.
        task::spawn_local(grpc::serve(stream, move |call| shared.answer(&call)));
    }
}

fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new();
    for signal in Signal::ALL {
        let export = move |State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes| {
            let answer = export(&shared, signal, &headers, &body);
            async move { answer }
        };
        router = router.route(&format!("/v1/{signal}"), post(export));
    }
    router.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(shared)
}

fn export(shared: &Shared, signal: Signal, headers: &HeaderMap, body: &[u8]) -> Response {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let json = match header(header::CONTENT_TYPE) {
        Some(PROTOBUF) => false,
        Some(JSON) => true,
        _ => return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response(),
    };
    let encoding = header(header::CONTENT_ENCODING).unwrap_or_default();
    let Some(encoding) = Encoding::from_header(encoding) else {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    };
    match shared.received(signal, encoding, json, body) {
        Reply::Accept => answer(0, json),
        Reply::Reject(rejected) => answer(rejected as u64, json),
        Reply::Refuse(status) => {
            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST).into_response()
        }
    }
}

impl Shared {
    /// Decodes and counts a request; what to answer, with as many rejected as there were to reject.
    fn received(&self, signal: Signal, encoding: Encoding, json: bool, body: &[u8]) -> Reply {
        let mut buffer = Vec::new();
        let plain = encoding.decode(body, &mut buffer).ok();
        let bytes = plain.map_or(0, <[u8]>::len);
        let message = plain.and_then(|plain| match json {
            true => json::to_protobuf(signal, plain).map(Cow::Owned),
            false => Some(Cow::Borrowed(plain)),
        });
        let draw = self.lock().requests < DRAWN_REQUESTS;
        let decoded = message.and_then(|message| decode(signal, &message, draw));
        let mut received = self.lock();
        let Some(mut decoded) = decoded else {
            received.tally.refuse(signal);
            return Reply::Refuse(400);
        };
        let number = received.requests;
        received.requests += 1;
        let reply = match (self.script)(number) {
            Reply::Accept => Reply::Accept,
            // No more than the records of a request, which fit into memory.
            Reply::Reject(most) => Reply::Reject(decoded.reject(most as u64) as usize),
            refusal @ Reply::Refuse(_) => return refusal,
        };
        let bytes = BodyBytes { decoded: bytes, wire: body.len() };
        received.tally.accept(signal, decoded.records, &decoded.ids, bytes);
        for (trace, span) in decoded.spans {
            received.kept.add(trace, span);
        }
        reply
    }

    /// The same over gRPC.
    fn answer(&self, call: &Call) -> Answer {
        match self.received(call.signal, call.encoding, false, &call.message) {
            Reply::Accept => Answer::Success(response(0).encode_to_vec()),
            Reply::Reject(rejected) => Answer::Success(response(rejected as u64).encode_to_vec()),
            Reply::Refuse(400) => {
                Answer::Failure(grpc::INVALID_ARGUMENT, "the request is malformed".to_owned())
            }
            Reply::Refuse(_) => Answer::Failure(grpc::UNAVAILABLE, "by the script".to_owned()),
        }
    }
}

/// Success; partial when records were rejected.
fn answer(rejected: u64, json: bool) -> Response {
    let response = response(rejected);
    if json {
        let body = serde_json::to_vec(&response).unwrap_or_default();
        return ([(header::CONTENT_TYPE, JSON)], body).into_response();
    }
    ([(header::CONTENT_TYPE, PROTOBUF)], response.encode_to_vec()).into_response()
}

/// The answers of the three signals have other names and the same fields.
fn response(rejected: u64) -> ExportTraceServiceResponse {
    let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected.cast_signed(),
        error_message: "rejected by the script".to_owned(),
    });
    ExportTraceServiceResponse { partial_success }
}

/// The records of one request, and the ids of those that have one, in the same order.
#[derive(Default)]
struct Decoded {
    records: u64,
    ids: Vec<u64>,
    /// Spans that may be drawn, with their traces.
    spans: Vec<(u128, waterfall::Span)>,
}

impl Decoded {
    /// Takes away the last records; returns how many.
    fn reject(&mut self, rejected: u64) -> u64 {
        let rejected = rejected.min(self.records);
        self.records -= rejected;
        self.ids.truncate(usize::try_from(self.records).unwrap_or(usize::MAX));
        rejected
    }
}

/// `None` when the body is not a request of this signal, or an id is not 8 bytes.
fn decode(signal: Signal, body: &[u8], draw: bool) -> Option<Decoded> {
    match signal {
        Signal::Traces => spans(ExportTraceServiceRequest::decode(body).ok()?, draw),
        Signal::Logs => log_records(ExportLogsServiceRequest::decode(body).ok()?),
        Signal::Metrics => Some(points(&ExportMetricsServiceRequest::decode(body).ok()?)),
    }
}

fn spans(request: ExportTraceServiceRequest, draw: bool) -> Option<Decoded> {
    let mut decoded = Decoded::default();
    for resource in request.resource_spans {
        let service = resource.resource.as_ref().map_or("", service_of).to_owned();
        for scope in resource.scope_spans {
            let name = scope.scope.map_or_else(String::new, |scope| scope.name);
            for span in scope.spans {
                decoded.records += 1;
                decoded.ids.push(id(&span.span_id)?);
                if draw {
                    decoded.spans.extend(drawable(span, &service, &name));
                }
            }
        }
    }
    Some(decoded)
}

fn service_of(resource: &Resource) -> &str {
    let name = resource.attributes.iter().find(|attribute| attribute.key == "service.name");
    match name.and_then(|name| name.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(name)) => name,
        _ => "",
    }
}

/// A span for the waterfall.
fn drawable(span: Span, service: &str, scope: &str) -> Option<(u128, waterfall::Span)> {
    let trace = span.trace_id[..].try_into().ok().map(u128::from_be_bytes)?;
    let status = span.status.filter(|status| status.code() == StatusCodeOf::Error);
    let drawn = waterfall::Span {
        id: id(&span.span_id)?,
        parent: id(&span.parent_span_id).unwrap_or(0),
        name: span.name,
        service: service.to_owned(),
        scope: scope.to_owned(),
        start: span.start_time_unix_nano,
        end: span.end_time_unix_nano,
        error: status.map(|status| status.message),
    };
    Some((trace, drawn))
}

/// A record outside of any span has no id.
fn log_records(request: ExportLogsServiceRequest) -> Option<Decoded> {
    let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    let mut decoded = Decoded::default();
    for record in scopes.flat_map(|scope| scope.log_records) {
        decoded.records += 1;
        if !record.span_id.is_empty() {
            decoded.ids.push(id(&record.span_id)?);
        }
    }
    Some(decoded)
}

fn points(request: &ExportMetricsServiceRequest) -> Decoded {
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics);
    let records = metrics.map(|metric| points_of(metric) as u64).sum();
    Decoded { records, ..Decoded::default() }
}

fn points_of(metric: &Metric) -> usize {
    match &metric.data {
        None => 0,
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
    }
}

fn id(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
/// Later ones bring nothing to look at that the first ones did not.
const DRAWN_REQUESTS: u64 = 64;
