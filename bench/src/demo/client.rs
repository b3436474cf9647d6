//! The clients that drive the demo's service: keep-alive connections, one request after the other
//! on each, every request with a client span and a `traceparent`.

use std::{
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::body::{self, Body};
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header::{HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use opentelemetry::{
    Context, KeyValue,
    propagation::{Injector, TextMapPropagator as _},
    trace::{SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::{net::TcpStream, runtime, task::LocalSet};

use super::{Options, pace::Pace};

/// Sends all requests from this thread and waits for their answers.
pub(super) fn drive(
    provider: &SdkTracerProvider,
    address: SocketAddr,
    options: &Options,
    served: Arc<AtomicU64>,
    pace: Pace,
) -> Result<(), String> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| format!("cannot start the demo's clients: {error}"))?;
    let clients = Clients {
        tracer: provider.tracer("demo.client"),
        address,
        requests: options.requests,
        next: AtomicU64::new(0),
        served,
        pace,
    };
    LocalSet::new().block_on(&runtime, clients.run(options.connections))
}

struct Clients {
    tracer: SdkTracer,
    address: SocketAddr,
    requests: u64,
    /// The number of the next request that any of the connections takes.
    next: AtomicU64,
    /// Requests answered so far, for the progress line.
    served: Arc<AtomicU64>,
    pace: Pace,
}

impl Clients {
    async fn run(self, connections: u16) -> Result<(), String> {
        let clients = Rc::new(self);
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let clients = Rc::clone(&clients);
                tokio::task::spawn_local(async move { clients.connection().await })
            })
            .collect();
        for task in tasks {
            task.await.map_err(|error| format!("a demo client failed: {error}"))??;
        }
        Ok(())
    }

    async fn connection(&self) -> Result<(), String> {
        let failed = |error| format!("the demo's service does not answer: {error}");
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        // It ends when the sender is dropped; its error would come out of the request as well.
        tokio::task::spawn_local(async { drop(connection.await) });
        loop {
            // Ordering: Relaxed, only the uniqueness of the numbers matters.
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.requests {
                return Ok(());
            }
            self.pace.wait().await;
            self.request(&mut sender, number).await?;
            // Ordering: Relaxed, a mere counter.
            self.served.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// One request in a client span.
    async fn request(&self, sender: &mut SendRequest<Body>, number: u64) -> Result<(), String> {
        let (method, path) = target(number);
        let builder = self
            .tracer
            .span_builder(method.to_string())
            .with_kind(SpanKind::Client)
            .with_attributes([
                KeyValue::new("http.request.method", method.to_string()),
                KeyValue::new("url.full", format!("http://{}{path}", self.address)),
                KeyValue::new("server.port", i64::from(self.address.port())),
            ]);
        let root = Context::new();
        let cx = root.with_span(builder.start_with_context(&self.tracer, &root));
        let request = self.head(method, &path, &cx)?;
        let answer = exchange(sender, request).await;
        match &answer {
            Ok(status) => cx.span().set_attribute(KeyValue::new(
                "http.response.status_code",
                i64::from(status.as_u16()),
            )),
            Err(error) => cx.span().set_status(Status::error(error.clone())),
        }
        cx.span().end();
        answer.map(drop)
    }

    fn head(&self, method: Method, path: &str, cx: &Context) -> Result<Request<Body>, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .body(Body::empty())
            .map_err(|error| format!("cannot build a request for {path}: {error}"))?;
        TraceContextPropagator::new().inject_context(cx, &mut Headers(request.headers_mut()));
        Ok(request)
    }
}

async fn exchange(
    sender: &mut SendRequest<Body>,
    request: Request<Body>,
) -> Result<StatusCode, String> {
    let failed = |error| format!("the demo's service does not answer: {error}");
    sender.ready().await.map_err(failed)?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    body::to_bytes(Body::new(response.into_body()), BODY_BYTES_MAX)
        .await
        .map_err(|error| format!("the demo's service broke off: {error}"))?;
    Ok(status)
}

/// What the request with this number asks for: six products, three searches, one order in ten.
fn target(number: u64) -> (Method, String) {
    match number % 10 {
        0..=5 => (Method::GET, format!("/products/{}", number % 1000)),
        6..=8 => (Method::GET, format!("/search/word{}", number % 1000)),
        _ => (Method::POST, format!("/cart/{}", number % 1000)),
    }
}

/// Writes the `traceparent`.
struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// Pages are some tens of bytes.
const BODY_BYTES_MAX: usize = 1 << 16;
