//! A collector to embed: an axum server that decodes every request with the prost types of
//! `opentelemetry-proto`.
//!
//! It is the other end of the demo, and shares no code with spanwire: what it counts, a stranger
//! understood. For measurements there is [`crate::sink`], which is cheaper.

use std::{
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
    metrics::v1::{Metric, metric::Data},
};
use prost::Message as _;
use tokio::{net::TcpListener, runtime, sync::oneshot};

use crate::{
    shape::Signal,
    tally::{Received as Counts, Tally},
};

/// A running collector with a thread of its own. Dropping it stops it.
pub struct Collector {
    shared: Arc<Shared>,
    address: SocketAddr,
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
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(cannot)?;
        listener.set_nonblocking(true).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let shared = Arc::new(Shared { script, state: Mutex::default() });
        let (stop, stopped) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_io().build().map_err(cannot)?;
        let app = router(Arc::clone(&shared));
        let serve = move || runtime.block_on(serve(listener, app, stopped));
        let thread =
            thread::Builder::new().name("collector".into()).spawn(serve).map_err(cannot)?;
        Ok(Self { shared, address, stop: Some(stop), thread: Some(thread) })
    }

    /// The endpoint for an exporter, such as `http://127.0.0.1:41235`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Records decoded so far, duplicates included.
    pub fn records(&self, signal: Signal) -> u64 {
        self.shared.lock().tally.records(signal)
    }

    /// Stops the collector and returns what it counted.
    pub fn finish(mut self) -> Counts {
        self.stop();
        let tally = self.shared.lock().tally.take();
        tally.finish().0
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

async fn serve(listener: std::net::TcpListener, app: Router, stopped: oneshot::Receiver<()>) {
    let listener = TcpListener::from_std(listener).expect("a listener that was made non-blocking");
    // Not a graceful shutdown: an exporter's idle connection would hold it up.
    tokio::select! {
        _ = axum::serve(listener, app) => {}
        _ = stopped => {}
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
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != PROTOBUF) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let decoded = decode(signal, body);
    let mut received = shared.lock();
    let Some(mut decoded) = decoded else {
        received.tally.refuse(signal);
        return StatusCode::BAD_REQUEST.into_response();
    };
    let number = received.requests;
    received.requests += 1;
    let rejected = match (shared.script)(number) {
        Reply::Accept => 0,
        Reply::Reject(rejected) => decoded.reject(rejected as u64),
        Reply::Refuse(status) => {
            return StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST).into_response();
        }
    };
    received.tally.accept(signal, decoded.records, &decoded.ids, body.len());
    answer(rejected)
}

/// Success; partial when records were rejected.
fn answer(rejected: u64) -> Response {
    // The answers of the three signals have other names and the same fields.
    let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected.cast_signed(),
        error_message: "rejected by the script".to_owned(),
    });
    let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    ([(header::CONTENT_TYPE, PROTOBUF)], body).into_response()
}

/// The records of one request, and the ids of those that have one, in the same order.
struct Decoded {
    records: u64,
    ids: Vec<u64>,
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
fn decode(signal: Signal, body: &[u8]) -> Option<Decoded> {
    match signal {
        Signal::Traces => spans(ExportTraceServiceRequest::decode(body).ok()?),
        Signal::Logs => log_records(ExportLogsServiceRequest::decode(body).ok()?),
        Signal::Metrics => Some(points(&ExportMetricsServiceRequest::decode(body).ok()?)),
    }
}

fn spans(request: ExportTraceServiceRequest) -> Option<Decoded> {
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    let ids: Option<Vec<_>> = spans.map(|span| id(&span.span_id)).collect();
    ids.map(|ids| Decoded { records: ids.len() as u64, ids })
}

/// A record outside of any span has no id.
fn log_records(request: ExportLogsServiceRequest) -> Option<Decoded> {
    let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    let mut decoded = Decoded { records: 0, ids: Vec::new() };
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
    Decoded { records: metrics.map(|metric| points_of(metric) as u64).sum(), ids: Vec::new() }
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
/// As the sink's limit: what opentelemetry-otlp would send at most.
const BODY_BYTES_MAX: usize = 64 << 20;
