//! A collector for tests, on blocking std sockets and prost: it shares no code with spanwire.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod otel;
#[cfg(feature = "tls")]
pub(crate) mod tls;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// What the collector does with one request, after it has read it.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// 200 with an empty body; the records are kept.
    Accept,
    /// 200 with this body; the records are kept.
    AcceptWith(Vec<u8>),
    /// This status with these header lines and this body; the records are not kept.
    Refuse(u16, &'static str, Vec<u8>),
    /// 415 if the body is encoded, else as `Accept`.
    RefuseEncoded,
    /// Nothing: the connection stays open until the collector stops.
    Stall,
    /// The connection is closed without an answer; the records are not kept.
    HangUp,
    /// The connection is closed without an answer although the records are kept.
    KeepAndHangUp,
}

/// A request and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
    pub(crate) reply: Reply,
}

/// A span as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Received {
    /// Number of the request, from 0.
    pub(crate) request: usize,
    /// `service.name` of its resource, or "".
    pub(crate) service: String,
    /// Name of its scope.
    pub(crate) scope: String,
    /// The span.
    pub(crate) span: Span,
}

/// A log record as it arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReceivedLog {
    /// Number of the request, from 0.
    pub(crate) request: usize,
    /// `service.name` of its resource, or "".
    pub(crate) service: String,
    /// Its scope.
    pub(crate) scope: InstrumentationScope,
    /// The record.
    pub(crate) record: LogRecord,
}

/// Listens on a loopback port until it is stopped or dropped.
pub(crate) struct Collector {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

type Script = Box<dyn Fn(usize) -> Reply + Send + Sync>;

/// What a connection is talked over: the socket itself, or what wraps it.
pub(crate) trait Talk: Read + Write {}

impl<T: Read + Write> Talk for T {}

/// Wraps a connection that was accepted; or it is closed.
type Wrap = Box<dyn Fn(TcpStream) -> io::Result<Box<dyn Talk>> + Send + Sync>;

struct Shared {
    script: Script,
    wrap: Wrap,
    /// Whether whole requests are kept, with what came of them.
    records: bool,
    state: Mutex<State>,
    changed: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Read so far; the script may still be at work on the last one.
    begun: usize,
    requests: usize,
    heads: Vec<String>,
    spans: Vec<Received>,
    logs: Vec<ReceivedLog>,
    metrics: Vec<ExportMetricsServiceRequest>,
    exchanges: Vec<Exchange>,
    connections: Vec<TcpStream>,
}

impl Collector {
    /// Accepts everything.
    pub(crate) fn start() -> Self {
        Self::scripted(|_| Reply::Accept)
    }

    /// Answers request number n (from 0) as `script(n)` says, one at a time.
    pub(crate) fn scripted(script: impl FnMut(usize) -> Reply + Send + 'static) -> Self {
        Self::concurrent(one_at_a_time(script))
    }

    /// As `scripted`, but requests on different connections are answered at the same time.
    pub(crate) fn concurrent(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(TcpListener::bind((own_ip(), 0)).unwrap(), Box::new(script), false)
    }

    /// As `concurrent`, over what `wrap` makes of each connection.
    pub(crate) fn wrapped(
        wrap: impl Fn(TcpStream) -> io::Result<Box<dyn Talk>> + Send + Sync + 'static,
        script: impl Fn(usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((own_ip(), 0)).unwrap();
        Self::listen_wrapped(listener, Box::new(wrap), Box::new(script), false)
    }

    /// As `concurrent`; whole requests are kept, whatever is answered, and nothing else.
    pub(crate) fn recording(script: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(TcpListener::bind((own_ip(), 0)).unwrap(), Box::new(script), true)
    }

    /// As `scripted`, on an address that was in use before (a restarted collector).
    pub(crate) fn restarted(
        address: SocketAddr,
        script: impl FnMut(usize) -> Reply + Send + 'static,
    ) -> Self {
        // std sets SO_REUSEADDR, so connections in TIME_WAIT do not stand in the way.
        Self::listen(TcpListener::bind(address).unwrap(), Box::new(one_at_a_time(script)), false)
    }

    fn listen(listener: TcpListener, script: Script, records: bool) -> Self {
        let plain: Wrap = Box::new(|stream| Ok(Box::new(stream)));
        Self::listen_wrapped(listener, plain, script, records)
    }

    fn listen_wrapped(listener: TcpListener, wrap: Wrap, script: Script, records: bool) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script,
            wrap,
            records,
            state: Mutex::default(),
            changed: Condvar::new(),
            stopping: AtomicBool::new(false),
        });
        let serving = Arc::clone(&shared);
        let acceptor = thread::spawn(move || serving.accept(&listener));
        Self { shared, address, acceptor: Some(acceptor) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests read so far, whatever was answered.
    pub(crate) fn requests(&self) -> usize {
        self.shared.state.lock().unwrap().requests
    }

    /// The heads of the requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.shared.state.lock().unwrap().heads.clone()
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections.len()
    }

    /// The spans kept so far, in the order of arrival; a resent span occurs twice.
    pub(crate) fn spans(&self) -> Vec<Received> {
        self.shared.state.lock().unwrap().spans.clone()
    }

    /// Whether a span with this id was kept.
    pub(crate) fn has(&self, id: &[u8]) -> bool {
        let state = self.shared.state.lock().unwrap();
        state.spans.iter().rev().any(|received| received.span.span_id == id)
    }

    /// How often each span id was kept.
    pub(crate) fn ids(&self) -> HashMap<Vec<u8>, usize> {
        let mut ids = HashMap::new();
        for received in self.spans() {
            *ids.entry(received.span.span_id).or_default() += 1;
        }
        ids
    }

    /// The log records kept so far, in the order of arrival; a resent one occurs twice.
    pub(crate) fn logs(&self) -> Vec<ReceivedLog> {
        self.shared.state.lock().unwrap().logs.clone()
    }

    /// The requests with metrics that were kept so far, in the order of arrival.
    pub(crate) fn metrics(&self) -> Vec<ExportMetricsServiceRequest> {
        self.shared.state.lock().unwrap().metrics.clone()
    }

    /// How many data points the metrics kept so far have.
    pub(crate) fn points(&self) -> usize {
        self.shared.state.lock().unwrap().points()
    }

    /// The requests of a collector that records them, in the order of their answers.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        self.shared.state.lock().unwrap().exchanges.clone()
    }

    /// Waits until `count` requests have been read.
    pub(crate) fn wait_for_requests(&self, count: usize) {
        self.wait_until(&format!("{count} requests"), |state| state.requests >= count);
    }

    /// Waits until `count` requests have been read, answered or not.
    pub(crate) fn wait_for_requests_begun(&self, count: usize) {
        self.wait_until(&format!("{count} requests"), |state| state.begun >= count);
    }

    /// Waits until `count` spans have been kept.
    pub(crate) fn wait_for_spans(&self, count: usize) {
        self.wait_until(&format!("{count} spans"), |state| state.spans.len() >= count);
    }

    /// Waits until `count` log records have been kept.
    pub(crate) fn wait_for_logs(&self, count: usize) {
        self.wait_until(&format!("{count} log records"), |state| state.logs.len() >= count);
    }

    /// Waits until `count` data points of metrics have been kept.
    pub(crate) fn wait_for_points(&self, count: usize) {
        self.wait_until(&format!("{count} data points"), |state| state.points() >= count);
    }

    fn wait_until(&self, what: &str, is_reached: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.shared.state.lock().unwrap();
        while !is_reached(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(left > Duration::ZERO, "no {what} within {PATIENCE:?}");
            state = self.shared.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Closes the listener and every connection: the collector was killed.
    pub(crate) fn stop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes `accept`.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().unwrap();
        }
        for connection in self.shared.state.lock().unwrap().connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.stop();
    }
}

fn one_at_a_time(
    script: impl FnMut(usize) -> Reply + Send + 'static,
) -> impl Fn(usize) -> Reply + Send + Sync + 'static {
    let script = Mutex::new(script);
    move |request| (script.lock().unwrap())(request)
}

/// An address of this machine that nobody listens on, now or later.
pub(crate) fn dead_address() -> SocketAddr {
    (own_ip(), 4318).into()
}

/// A loopback address that no other test uses, so that a port which one test has let go of is
/// not met by another: all of 127.0.0.0/8 is this machine.
pub(crate) fn own_ip() -> Ipv4Addr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let process = 1 + (std::process::id() % 250) as u8;
    Ipv4Addr::new(127, process, high, 1 + low % 250)
}

/// What a test waits for something that must happen; it fails, rather than hangs, past it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            self.state.lock().unwrap().connections.push(stream.try_clone().unwrap());
            let serving = Arc::clone(self);
            thread::spawn(move || serving.serve(stream));
        }
    }

    /// Serves one connection until it ends; how it ends is the client's business.
    fn serve(&self, stream: TcpStream) {
        let socket = stream.try_clone().unwrap();
        let Ok(talk) = (self.wrap)(stream) else {
            let _ = socket.shutdown(Shutdown::Both);
            return;
        };
        let mut reader = BufReader::new(talk);
        while let Ok((head, body)) = read_request(&mut reader) {
            match self.answer(head, &body) {
                Some(answer) if reader.get_mut().write_all(&answer).is_ok() => {}
                Some(_) => return,
                None => {
                    let _ = socket.shutdown(Shutdown::Both);
                    return;
                }
            }
        }
    }

    /// Follows the script; `None` hangs up.
    fn answer(&self, head: String, body: &[u8]) -> Option<Vec<u8>> {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let request = {
            let mut state = self.state.lock().unwrap();
            state.heads.push(head.clone());
            state.begun += 1;
            state.begun - 1
        };
        self.changed.notify_all();
        let reply = match (self.script)(request) {
            Reply::RefuseEncoded if header(&head, "content-encoding").is_some() => {
                Reply::Refuse(415, "accept-encoding: identity\r\n", Vec::new())
            }
            Reply::RefuseEncoded => Reply::Accept,
            other => other,
        };
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        if self.records {
            state.exchanges.push(Exchange { path, body: body.to_vec(), reply: reply.clone() });
        } else if matches!(reply, Reply::Accept | Reply::AcceptWith(_) | Reply::KeepAndHangUp) {
            state.keep(request, &path, &decoded(&path, &head, body));
        }
        self.changed.notify_all();
        drop(state);
        match reply {
            Reply::Accept | Reply::RefuseEncoded => Some(response(200, "", b"")),
            Reply::AcceptWith(body) => Some(response(200, "", &body)),
            Reply::Refuse(status, headers, body) => Some(response(status, headers, &body)),
            Reply::Stall => Some(Vec::new()),
            Reply::HangUp | Reply::KeepAndHangUp => None,
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> io::Result<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .expect("a request has a content-length");
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((head, body))
}

/// The body of a request in protobuf, however it was sent.
fn decoded(path: &str, head: &str, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match header(head, "content-encoding") {
        None => plain.extend_from_slice(body),
        Some("gzip") => {
            // Of several members, this reads the first one only.
            GzDecoder::new(body).read_to_end(&mut plain).expect("the body is gzip");
        }
        #[cfg(feature = "zstd")]
        Some("zstd") => {
            let decoder = zstd::stream::read::Decoder::new(body).unwrap();
            decoder.single_frame().read_to_end(&mut plain).expect("the body is zstd");
        }
        Some(other) => panic!("a body in {other}"),
    }
    match header(head, "content-type") {
        Some("application/x-protobuf") => plain,
        Some("application/json") => protobuf(path, &plain).expect("the body is OTLP/JSON"),
        other => panic!("a body of {other:?}"),
    }
}

fn protobuf(path: &str, json: &[u8]) -> serde_json::Result<Vec<u8>> {
    Ok(if path.ends_with("/v1/logs") {
        serde_json::from_slice::<ExportLogsServiceRequest>(json)?.encode_to_vec()
    } else if path.ends_with("/v1/metrics") {
        serde_json::from_slice::<ExportMetricsServiceRequest>(json)?.encode_to_vec()
    } else {
        serde_json::from_slice::<ExportTraceServiceRequest>(json)?.encode_to_vec()
    })
}

/// The value of a header of a request.
pub(crate) fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

impl State {
    /// Keeps what came to the path of a signal; any other path is one of traces.
    fn keep(&mut self, request: usize, path: &str, body: &[u8]) {
        if path.ends_with("/v1/logs") {
            self.logs.extend(decode_logs(request, body));
        } else if path.ends_with("/v1/metrics") {
            self.metrics.push(decode_metrics(body));
        } else {
            self.spans.extend(decode_spans(request, body));
        }
    }

    fn points(&self) -> usize {
        let resources = self.metrics.iter().flat_map(|export| &export.resource_metrics);
        let scopes = resources.flat_map(|resource| &resource.scope_metrics);
        scopes.flat_map(|scope| &scope.metrics).map(points_of).sum()
    }
}

fn decode_spans(request: usize, body: &[u8]) -> Vec<Received> {
    let mut export =
        ExportTraceServiceRequest::decode(body).expect("the body is an OTLP request of traces");
    assert_eq!(export.resource_spans.len(), 1, "a request holds one resource");
    let resource_spans = export.resource_spans.remove(0);
    let service = service_of(resource_spans.resource);
    let mut received = Vec::new();
    for scope_spans in resource_spans.scope_spans {
        let scope = scope_spans.scope.unwrap_or_default().name;
        received.extend(scope_spans.spans.into_iter().map(|span| Received {
            request,
            service: service.clone(),
            scope: scope.clone(),
            span,
        }));
    }
    received
}

fn decode_logs(request: usize, body: &[u8]) -> Vec<ReceivedLog> {
    let mut export =
        ExportLogsServiceRequest::decode(body).expect("the body is an OTLP request of logs");
    assert_eq!(export.resource_logs.len(), 1, "a request holds one resource");
    let resource_logs = export.resource_logs.remove(0);
    let service = service_of(resource_logs.resource);
    let mut received = Vec::new();
    for scope_logs in resource_logs.scope_logs {
        let scope = scope_logs.scope.unwrap_or_default();
        received.extend(scope_logs.log_records.into_iter().map(|record| ReceivedLog {
            request,
            service: service.clone(),
            scope: scope.clone(),
            record,
        }));
    }
    received
}

fn decode_metrics(body: &[u8]) -> ExportMetricsServiceRequest {
    let export =
        ExportMetricsServiceRequest::decode(body).expect("the body is an OTLP request of metrics");
    assert_eq!(export.resource_metrics.len(), 1, "a request holds one resource");
    export
}

/// How many data points a metric has.
pub(crate) fn points_of(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        Some(Data::ExponentialHistogram(histogram)) => histogram.data_points.len(),
        Some(Data::Summary(summary)) => summary.data_points.len(),
        None => 0,
    }
}

/// `service.name` of a resource, as `Debug` shows its value, or "".
fn service_of(resource: Option<Resource>) -> String {
    let attributes = resource.unwrap_or_default().attributes;
    let name = attributes.iter().find(|attribute| attribute.key == "service.name");
    name.map_or_else(String::new, |attribute| format!("{:?}", attribute.value))
}

fn response(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
    let content_type = match headers.contains("content-type") {
        true => "",
        false => "content-type: application/x-protobuf\r\n",
    };
    let length = body.len();
    let mut response = format!(
        "HTTP/1.1 {status} Scripted\r\n{content_type}{headers}content-length: {length}\r\n\r\n"
    )
    .into_bytes();
    response.extend_from_slice(body);
    response
}
