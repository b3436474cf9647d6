//! A tonic server whose answers a test writes down: the three services of OTLP, as opentelemetry-proto
//! generates them. Whatever spanwire and tonic do not read the same way, shows here.

use std::{
    collections::HashMap,
    future::pending,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use opentelemetry_proto::tonic::collector::{
    logs::v1::{
        ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
        logs_service_server::{LogsService, LogsServiceServer},
    },
    metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tokio::sync::watch;
use tonic::{
    Request, Response, Status,
    codec::CompressionEncoding,
    metadata::MetadataMap,
    service::InterceptorLayer,
    transport::{Server, server::TcpIncoming},
};

use super::otel::LONG;

/// What a service does with one request, after tonic has decoded it.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// OK; the records are kept.
    Accept,
    /// As `Accept`, but so many records were rejected, for this reason.
    Partial(i64, &'static str),
    /// As `Accept`, after so long.
    After(Duration),
    /// As `Accept`, once [`TonicServer::release`] was called.
    Held,
    /// This status; the records are not kept.
    Refuse(Status),
    /// Nothing, ever.
    Hang,
}

/// How the services of a server are set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Services {
    /// What requests may be encoded with.
    pub(crate) accepts: Option<CompressionEncoding>,
    /// What answers are encoded with, if the caller reads it.
    pub(crate) sends: Option<CompressionEncoding>,
    /// The largest message of a request; tonic's default is 4 MiB.
    pub(crate) request_bytes_max: Option<usize>,
    /// Metrics and logs are not served.
    pub(crate) are_for_traces_only: bool,
}

/// A request as tonic decoded it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) metadata: MetadataMap,
    /// The other end of its connection.
    pub(crate) from: SocketAddr,
    /// How many certificates the client has shown.
    pub(crate) certificates: usize,
    pub(crate) export: Export,
    /// Whether the script let the records in.
    pub(crate) is_kept: bool,
}

/// What was exported.
#[derive(Clone, Debug)]
pub(crate) enum Export {
    Traces(ExportTraceServiceRequest),
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

/// Looks at each request before the services do, and may refuse it.
pub(crate) type Interceptor = Arc<dyn Fn(&MetadataMap) -> Result<(), Status> + Send + Sync>;

/// Listens until it is stopped or dropped.
pub(crate) struct TonicServer {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: watch::Sender<Stop>,
    thread: Option<JoinHandle<()>>,
}

/// How a server ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// With a GOAWAY, and when the last connection is closed.
    Gracefully,
    Now,
}

struct Shared {
    script: Box<dyn Fn(usize) -> Answer + Send + Sync>,
    calls: Mutex<Vec<Call>>,
    called: Condvar,
    released: watch::Sender<bool>,
    /// Requests that a service is busy with, and the most there were.
    busy: AtomicUsize,
    busy_most: AtomicUsize,
}

impl TonicServer {
    /// Accepts everything.
    pub(crate) fn start() -> Self {
        Self::scripted(|_| Answer::Accept)
    }

    /// Answers request number n (from 0) as `script(n)` says.
    pub(crate) fn scripted(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::with(Server::builder(), Services::default(), script)
    }

    /// As `scripted`, with a server and services that are set otherwise than by default.
    pub(crate) fn with(
        server: Server,
        services: Services,
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::guarded(server, services, Arc::new(|_| Ok(())), script)
    }

    /// As `with`, behind an interceptor.
    pub(crate) fn guarded(
        server: Server,
        services: Services,
        interceptor: Interceptor,
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::on((own_ip(), 0).into(), server, services, interceptor, script)
    }

    /// One that accepts everything, on an address that another one listened on before.
    pub(crate) fn restarted(address: SocketAddr) -> Self {
        let open = Arc::new(|_: &MetadataMap| Ok(()));
        Self::on(address, Server::builder(), Services::default(), open, |_| Answer::Accept)
    }

    fn on(
        address: SocketAddr,
        server: Server,
        services: Services,
        interceptor: Interceptor,
        script: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        // std sets SO_REUSEADDR, so connections in TIME_WAIT do not stand in the way.
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            script: Box::new(script),
            calls: Mutex::default(),
            called: Condvar::new(),
            released: watch::Sender::new(false),
            busy: AtomicUsize::new(0),
            busy_most: AtomicUsize::new(0),
        });
        let (stop, stopping) = watch::channel(Stop::No);
        let serving = Arc::clone(&shared);
        let serve = move || serving.serve(listener, server, &services, interceptor, stopping);
        Self { shared, address, stop, thread: Some(thread::spawn(serve)) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests that reached a service so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.shared.calls.lock().unwrap().clone()
    }

    /// Waits until so many requests have reached a service.
    pub(crate) fn wait_for_calls(&self, count: usize) {
        let calls = self.shared.calls.lock().unwrap();
        let too_few = |calls: &mut Vec<Call>| calls.len() < count;
        let (calls, _) = self.shared.called.wait_timeout_while(calls, LONG, too_few).unwrap();
        assert!(calls.len() >= count, "{} of {count} requests", calls.len());
    }

    /// How often each span id was let in.
    pub(crate) fn ids(&self) -> HashMap<Vec<u8>, usize> {
        let mut ids = HashMap::new();
        for call in self.calls().into_iter().filter(|call| call.is_kept) {
            let Export::Traces(export) = call.export else { continue };
            let scopes = export.resource_spans.into_iter().flat_map(|one| one.scope_spans);
            for span in scopes.flat_map(|scope| scope.spans) {
                *ids.entry(span.span_id).or_default() += 1;
            }
        }
        ids
    }

    /// How many connections the requests came over.
    pub(crate) fn connections(&self) -> usize {
        let mut ends: Vec<_> = self.calls().iter().map(|call| call.from).collect();
        ends.sort_unstable();
        ends.dedup();
        ends.len()
    }

    /// The most requests that services were busy with at a time.
    pub(crate) fn busy_most(&self) -> usize {
        self.shared.busy_most.load(Ordering::SeqCst)
    }

    /// Answers what is held, now and later.
    pub(crate) fn release(&self) {
        self.shared.released.send_replace(true);
    }

    /// Says goodbye to each client, and waits until the last one has closed its connection.
    pub(crate) fn stop_gracefully(&mut self) {
        self.stop.send_replace(Stop::Gracefully);
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server ran");
        }
    }
}

impl Drop for TonicServer {
    fn drop(&mut self) {
        self.stop.send_replace(Stop::Now);
        if !thread::panicking() {
            self.join();
        }
    }
}

impl Shared {
    fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        server: Server,
        services: &Services,
        interceptor: Interceptor,
        mut stopping: watch::Receiver<Stop>,
    ) {
        /// The settings of one service, each of which has methods of its own.
        macro_rules! set {
            ($service:ident) => {{
                let mut service = $service::from_arc(Arc::clone(&self));
                if let Some(encoding) = services.accepts {
                    service = service.accept_compressed(encoding);
                }
                if let Some(encoding) = services.sends {
                    service = service.send_compressed(encoding);
                }
                if let Some(limit) = services.request_bytes_max {
                    service = service.max_decoding_message_size(limit);
                }
                service
            }};
        }
        let others = !services.are_for_traces_only;
        let guard = move |request: Request<()>| interceptor(request.metadata()).map(|()| request);
        let router = server
            .layer(InterceptorLayer::new(guard))
            .add_service(set!(TraceServiceServer))
            .add_optional_service(others.then(|| set!(LogsServiceServer)))
            .add_optional_service(others.then(|| set!(MetricsServiceServer)));
        let mut goodbye = stopping.clone();
        let goodbye = async move {
            // The other end lives as long as the thread does.
            let _ = goodbye.wait_for(|stop| *stop != Stop::No).await;
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
            tokio::select! {
                served = router.serve_with_incoming_shutdown(incoming, goodbye) => served.unwrap(),
                _ = stopping.wait_for(|stop| *stop == Stop::Now) => {}
            }
        });
    }

    /// Follows the script: how many records are rejected, and why.
    async fn take<T>(
        &self,
        request: Request<T>,
        export: fn(T) -> Export,
    ) -> Result<(i64, String), Status> {
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        let _busy = Busy(&self.busy);
        self.busy_most.fetch_max(busy, Ordering::SeqCst);
        let from = request.remote_addr().expect("a TCP connection");
        let certificates = request.peer_certs().map_or(0, |chain| chain.len());
        let metadata = request.metadata().clone();
        let export = export(request.into_inner());
        let answer = {
            let mut calls = self.calls.lock().unwrap();
            let answer = (self.script)(calls.len());
            let is_kept = !matches!(answer, Answer::Refuse(_) | Answer::Hang);
            calls.push(Call { metadata, from, certificates, export, is_kept });
            answer
        };
        self.called.notify_all();
        // Whoever may come meanwhile, comes.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        match answer {
            Answer::Accept => {}
            Answer::Partial(rejected, why) => return Ok((rejected, why.to_owned())),
            Answer::After(wait) => tokio::time::sleep(wait).await,
            Answer::Held => {
                let _ = self.released.subscribe().wait_for(|released| *released).await;
            }
            Answer::Refuse(status) => return Err(status),
            Answer::Hang => pending().await,
        }
        Ok((0, String::new()))
    }
}

/// A request that a service is busy with, until it is answered or given up.
struct Busy<'a>(&'a AtomicUsize);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A service of OTLP: its trait and the types of its requests, answers and partial successes.
macro_rules! service {
    ($service:ident, $export:ident, $request:ident, $response:ident, $partial:ident, $rejected:ident) => {
        #[tonic::async_trait]
        impl $service for Shared {
            async fn export(
                &self,
                request: Request<$request>,
            ) -> Result<Response<$response>, Status> {
                let ($rejected, error_message) = self.take(request, Export::$export).await?;
                let is_partial = $rejected != 0 || !error_message.is_empty();
                let partial_success = is_partial.then_some($partial { $rejected, error_message });
                Ok(Response::new($response { partial_success }))
            }
        }
    };
}

service!(
    TraceService,
    Traces,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
    ExportTracePartialSuccess,
    rejected_spans
);
service!(
    LogsService,
    Logs,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
    ExportLogsPartialSuccess,
    rejected_log_records
);
service!(
    MetricsService,
    Metrics,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
    ExportMetricsPartialSuccess,
    rejected_data_points
);

/// An address of this process, so that a port which one server has let go of is not met by the
/// tests of another process: all of 127.0.0.0/8 is this machine.
fn own_ip() -> IpAddr {
    let [high, low] = (std::process::id() as u16).to_be_bytes();
    Ipv4Addr::new(127, 254, high, low).into()
}
