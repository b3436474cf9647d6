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
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::{net::TcpListener, runtime, sync::oneshot};

use crate::tally::{Counts, Tally};

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
    /// Full success: all spans are counted.
    Accept,
    /// Partial success: this many of the last spans are rejected and not counted.
    Reject(usize),
    /// This status, nothing counted.
    Refuse(u16),
}

/// Chooses the reply to the request with this number, counted from 0.
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

    /// Spans decoded so far, duplicates included.
    pub fn spans(&self) -> u64 {
        self.shared.lock().tally.spans()
    }

    /// Stops the collector and returns what it counted.
    pub fn finish(mut self) -> Counts {
        self.stop();
        let tally = std::mem::take(&mut self.shared.lock().tally);
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
    Router::new()
        .route("/v1/traces", post(export))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(shared)
}

async fn export(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != PROTOBUF) {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    let ids = ExportTraceServiceRequest::decode(body.as_ref()).ok().and_then(span_ids);
    let mut received = shared.lock();
    let Some(ids) = ids else {
        received.tally.refuse();
        return StatusCode::BAD_REQUEST.into_response();
    };
    let number = received.requests;
    received.requests += 1;
    let rejected = match (shared.script)(number) {
        Reply::Accept => 0,
        Reply::Reject(rejected) => rejected.min(ids.len()),
        Reply::Refuse(status) => {
            return StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST).into_response();
        }
    };
    received.tally.accept(&ids[..ids.len() - rejected], body.len());
    answer(rejected)
}

/// Success; partial when spans were rejected.
fn answer(rejected: usize) -> Response {
    let partial_success = (rejected > 0).then(|| ExportTracePartialSuccess {
        rejected_spans: rejected as i64,
        error_message: "rejected by the script".to_owned(),
    });
    let body = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    ([(header::CONTENT_TYPE, PROTOBUF)], body).into_response()
}

/// The ids of all spans; `None` when one is not 8 bytes.
fn span_ids(request: ExportTraceServiceRequest) -> Option<Vec<u64>> {
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    let spans = scopes.flat_map(|scope| scope.spans);
    spans.map(|span| span.span_id.try_into().ok().map(u64::from_be_bytes)).collect()
}

const PROTOBUF: &str = "application/x-protobuf";
/// As the sink's limit: what opentelemetry-otlp would send at most.
const BODY_BYTES_MAX: usize = 64 << 20;
