//! A scripted gRPC server for tests, on tokio and the server half of h2: what the client half
//! makes of a frame, it does not share.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::support::{self, PATIENCE};

/// What the server does with one request, after it has read it.
#[derive(Clone, Debug)]
pub(crate) enum GrpcReply {
    /// Status OK with an empty message; the records are kept.
    Accept,
    /// Status OK with this message; the records are kept.
    AcceptWith(Vec<u8>),
    /// A head with these fields and nothing else.
    TrailersOnly(u16, Vec<(&'static str, String)>),
    /// A head, no message, these trailers.
    Trailers(Vec<(&'static str, String)>),
    /// A head with this content type and body, and no trailers.
    Http(u16, &'static str, &'static str),
    /// RST_STREAM.
    Reset(Reason),
    /// A first answer before the request is read to its end: trailers only.
    Early(Vec<(&'static str, String)>),
    /// A message that says of itself that it has so many bytes; they are sent, too.
    Announce(u32),
    /// The records are kept, and the connection is told goodbye with the stream still open; then
    /// the answer.
    AcceptAndGoAway,
    /// The connection is closed with a GOAWAY of this reason, and the stream with it.
    Abort(Reason),
    /// The connection is closed without a word.
    Kill,
    /// Nothing: the stream stays open.
    Stall,
    /// Nothing, and the request is not read.
    StallUnread,
}

/// How the server speaks HTTP/2.
#[derive(Clone, Debug, Default)]
pub(crate) struct GrpcOptions {
    /// TLS, one handshake at a time.
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) streams_max: Option<u32>,
    /// Of each stream and of the connection, in bytes.
    pub(crate) window: Option<u32>,
    /// The first so many connections are read, and never answered.
    pub(crate) mute: usize,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct GrpcCall {
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) headers: HeaderMap,
    /// Without its prefix.
    pub(crate) message: Bytes,
    /// The compressed flag.
    pub(crate) flag: u8,
}

/// Listens until it is stopped or dropped.
pub(crate) struct GrpcServer {
    shared: Arc<Shared>,
    endpoint: String,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

type Script = Box<dyn Fn(usize) -> GrpcReply + Send + Sync>;

struct Shared {
    script: Script,
    options: GrpcOptions,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    calls: Vec<GrpcCall>,
    kept: Vec<usize>,
    connections: usize,
    /// Connections that the client has ended in good order.
    farewells: usize,
    /// Streams that the client has reset, with its reason.
    resets: Vec<Reason>,
    streams: usize,
    streams_most: usize,
}

impl GrpcServer {
    /// Accepts everything.
    pub(crate) fn start() -> Self {
        Self::scripted(|_| GrpcReply::Accept)
    }

    /// Answers request number n (from 0) as `script(n)` says.
    pub(crate) fn scripted(script: impl Fn(usize) -> GrpcReply + Send + Sync + 'static) -> Self {
        Self::with_options(GrpcOptions::default(), script)
    }

    pub(crate) fn with_options(
        options: GrpcOptions,
        script: impl Fn(usize) -> GrpcReply + Send + Sync + 'static,
    ) -> Self {
        let listener = std::net::TcpListener::bind((support::own_ip(), 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let listen = move || Listener::Tcp(TcpListener::from_std(listener).unwrap());
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        Self::listen(format!("{scheme}://{address}"), listen, options, Box::new(script))
    }

    /// Listens on a Unix socket at `path`.
    pub(crate) fn on_unix(path: &std::path::Path) -> Self {
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listen = move || Listener::Unix(UnixListener::from_std(listener).unwrap());
        let endpoint = format!("unix:{}", path.display());
        Self::listen(endpoint, listen, GrpcOptions::default(), Box::new(|_| GrpcReply::Accept))
    }

    fn listen(
        endpoint: String,
        listen: impl FnOnce() -> Listener + Send + 'static,
        options: GrpcOptions,
        script: Script,
    ) -> Self {
        let (state, changed) = (Mutex::default(), Condvar::new());
        let shared = Arc::new(Shared { script, options, state, changed });
        let (stop, stopped) = watch::channel(false);
        let serving = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let serve = async move { serving.accept(listen(), stopped).await };
            tokio::task::LocalSet::new().block_on(&runtime.unwrap(), serve);
        });
        Self { shared, endpoint, stop, thread: Some(thread) }
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The requests so far.
    pub(crate) fn calls(&self) -> Vec<GrpcCall> {
        self.shared.state.lock().unwrap().calls.clone()
    }

    /// How often each span id was kept.
    pub(crate) fn ids(&self) -> HashMap<Vec<u8>, usize> {
        let state = self.shared.state.lock().unwrap();
        let mut ids = HashMap::new();
        for index in &state.kept {
            let message = state.calls[*index].message.clone();
            let request = ExportTraceServiceRequest::decode(message).unwrap();
            let scopes = request.resource_spans.into_iter().flat_map(|spans| spans.scope_spans);
            for span in scopes.flat_map(|scope| scope.spans) {
                *ids.entry(span.span_id).or_default() += 1;
            }
        }
        ids
    }

    /// Connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.state.lock().unwrap().connections
    }

    /// The most streams that were open at once.
    pub(crate) fn streams_most(&self) -> usize {
        self.shared.state.lock().unwrap().streams_most
    }

    /// Waits until `count` requests have been read.
    pub(crate) fn wait_for_calls(&self, count: usize) {
        self.wait_until(&format!("{count} calls"), |state| state.calls.len() >= count);
    }

    /// Waits until the client has reset a stream, and says why it did.
    pub(crate) fn wait_for_reset(&self) -> Reason {
        self.wait_until("a reset", |state| !state.resets.is_empty());
        self.shared.state.lock().unwrap().resets[0]
    }

    /// Waits until the client has ended `count` connections in good order.
    pub(crate) fn wait_for_farewells(&self, count: usize) {
        self.wait_until("farewells", |state| state.farewells >= count);
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
}

impl Drop for GrpcServer {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server has panicked");
        }
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// What a stream asks of its connection.
enum Command {
    GoAway,
    Abort(Reason),
    Kill,
}

trait Socket: AsyncRead + AsyncWrite + Unpin {}
impl<S: AsyncRead + AsyncWrite + Unpin> Socket for S {}

impl Shared {
    async fn accept(self: Arc<Self>, listener: Listener, mut stopped: watch::Receiver<bool>) {
        loop {
            let accepting = async {
                let socket: Box<dyn Socket> = match &listener {
                    Listener::Tcp(listener) => {
                        let socket = listener.accept().await.unwrap().0;
                        match &self.options.tls {
                            None => Box::new(socket),
                            Some(config) => {
                                let acceptor = TlsAcceptor::from(Arc::clone(config));
                                Box::new(acceptor.accept(socket).await.ok()?)
                            }
                        }
                    }
                    Listener::Unix(listener) => Box::new(listener.accept().await.unwrap().0),
                };
                Some(socket)
            };
            let socket = tokio::select! {
                socket = accepting => socket,
                _ = stopped.changed() => return,
            };
            // Nobody to talk to, if TLS did not come about.
            let Some(socket) = socket else { continue };
            let number = self.change(|state| {
                state.connections += 1;
                state.connections
            });
            if number <= self.options.mute {
                tokio::task::spawn_local(listen_only(socket));
            } else {
                tokio::task::spawn_local(Arc::clone(&self).serve(socket));
            }
        }
    }

    async fn serve(self: Arc<Self>, socket: Box<dyn Socket>) {
        let mut builder = h2::server::Builder::new();
        if let Some(streams) = self.options.streams_max {
            builder.max_concurrent_streams(streams);
        }
        if let Some(window) = self.options.window {
            builder.initial_window_size(window).initial_connection_window_size(window);
        }
        let Ok(mut connection) = builder.handshake::<_, Bytes>(socket).await else { return };
        let (ask, mut asked) = mpsc::unbounded_channel();
        loop {
            tokio::select! {
                accepted = connection.accept() => match accepted {
                    Some(Ok((request, respond))) => {
                        let stream = Arc::clone(&self).answer(request, respond, ask.clone());
                        tokio::task::spawn_local(stream);
                    }
                    Some(Err(_)) => return,
                    None => {
                        self.change(|state| state.farewells += 1);
                        return;
                    }
                },
                command = asked.recv() => match command {
                    Some(Command::GoAway) => connection.graceful_shutdown(),
                    Some(Command::Abort(reason)) => connection.abrupt_shutdown(reason),
                    Some(Command::Kill) | None => return,
                },
            }
        }
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        ask: mpsc::UnboundedSender<Command>,
    ) {
        let (head, mut body) = request.into_parts();
        let (number, reply) = self.begin(head);
        match &reply {
            GrpcReply::StallUnread => return self.stall(respond).await,
            GrpcReply::Early(fields) => {
                let head = response(200, "application/grpc", fields);
                respond.send_response(head, true).unwrap();
                self.change(|state| state.streams -= 1);
                return;
            }
            _ => {}
        }
        let framed = read(&mut body).await;
        self.change(|state| {
            let Some(framed) = &framed else { return };
            let call = &mut state.calls[number];
            (call.flag, call.message) = (framed[0], framed.slice(5..));
            assert_eq!(framed[1..5], (framed.len() as u32 - 5).to_be_bytes());
            if matches!(
                reply,
                GrpcReply::Accept | GrpcReply::AcceptWith(_) | GrpcReply::AcceptAndGoAway
            ) {
                state.kept.push(number);
            }
        });
        if framed.is_none() {
            return;
        }
        if let GrpcReply::Stall = reply {
            return self.stall(respond).await;
        }
        // Before the answer: the client may send the next request as soon as it has it.
        self.change(|state| state.streams -= 1);
        match reply {
            GrpcReply::Accept => send(&mut respond, &framed_message(&[]), &ok()),
            GrpcReply::AcceptWith(message) => send(&mut respond, &framed_message(&message), &ok()),
            GrpcReply::AcceptAndGoAway => {
                ask.send(Command::GoAway).unwrap_or_default();
                tokio::task::yield_now().await;
                send(&mut respond, &framed_message(&[]), &ok());
            }
            GrpcReply::TrailersOnly(status, fields) => {
                let head = response(status, "application/grpc", &fields);
                respond.send_response(head, true).map(drop).unwrap();
            }
            GrpcReply::Trailers(fields) => send(&mut respond, &[], &fields),
            GrpcReply::Http(status, kind, text) => {
                let head = response(status, kind, &[]);
                let mut stream = respond.send_response(head, false).unwrap();
                stream.send_data(Bytes::from(text), true).unwrap();
            }
            GrpcReply::Reset(reason) => respond.send_reset(reason),
            GrpcReply::Announce(bytes) => {
                let head = response(200, "application/grpc", &[]);
                let mut stream = respond.send_response(head, false).unwrap();
                let prefix = [&[0][..], &bytes.to_be_bytes()].concat();
                stream.send_data(prefix.into(), false).unwrap();
                stream.send_data(vec![0; bytes as usize].into(), true).unwrap();
                let _ = poll_fn(|cx| stream.poll_reset(cx)).await;
            }
            GrpcReply::Abort(reason) => {
                ask.send(Command::Abort(reason)).unwrap_or_default();
                // Not dropped before the connection is.
                let _ = poll_fn(|cx| respond.poll_reset(cx)).await;
            }
            GrpcReply::Kill => ask.send(Command::Kill).unwrap_or_default(),
            GrpcReply::Stall | GrpcReply::StallUnread | GrpcReply::Early(_) => unreachable!(),
        }
    }

    fn begin(&self, head: http::request::Parts) -> (usize, GrpcReply) {
        let number = self.change(|state| {
            state.streams += 1;
            state.streams_most = state.streams_most.max(state.streams);
            state.calls.push(GrpcCall {
                path: head.uri.path().to_owned(),
                authority: head.uri.authority().map(ToString::to_string).unwrap_or_default(),
                headers: head.headers,
                message: Bytes::new(),
                flag: 0,
            });
            state.calls.len() - 1
        });
        (number, (self.script)(number))
    }

    /// Holds a stream open until the client has had enough.
    async fn stall(&self, mut respond: SendResponse<Bytes>) {
        if let Ok(reason) = poll_fn(|cx| respond.poll_reset(cx)).await {
            self.change(|state| {
                state.streams -= 1;
                state.resets.push(reason);
            });
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
        changed
    }
}

/// The whole body; none if the client gave it up.
async fn read(body: &mut RecvStream) -> Option<Bytes> {
    let mut all = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.ok()?;
        body.flow_control().release_capacity(piece.len()).ok()?;
        all.extend_from_slice(&piece);
    }
    Some(all.into())
}

/// Reads what comes and says nothing.
async fn listen_only(mut socket: Box<dyn Socket>) {
    use tokio::io::AsyncReadExt as _;
    let mut buf = [0; 4096];
    while socket.read(&mut buf).await.is_ok_and(|count| count > 0) {}
}

fn send(respond: &mut SendResponse<Bytes>, body: &[u8], trailers: &[(&'static str, String)]) {
    let head = response(200, "application/grpc", &[]);
    // The client may have gone, or given it up.
    let Ok(mut stream) = respond.send_response(head, false) else { return };
    let _ = stream.send_data(Bytes::copy_from_slice(body), false);
    let _ = stream.send_trailers(fields(trailers));
}

fn response(status: u16, kind: &str, given: &[(&'static str, String)]) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status.try_into().unwrap();
    *response.headers_mut() = fields(given);
    response.headers_mut().insert("content-type", HeaderValue::try_from(kind).unwrap());
    response
}

fn fields(given: &[(&'static str, String)]) -> HeaderMap {
    let value = |text: &String| HeaderValue::try_from(text.as_str()).unwrap();
    given.iter().map(|(name, text)| (http::HeaderName::from_static(name), value(text))).collect()
}

fn framed_message(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

fn ok() -> Vec<(&'static str, String)> {
    vec![("grpc-status", "0".to_owned())]
}
