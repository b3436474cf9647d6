//! The service that the demo observes: a small shop on axum, instrumented by hand through the
//! OpenTelemetry API, the way an application would do it.

use std::{net::SocketAddr, sync::Arc, thread, time::Instant};

use axum::{
    Extension, Router,
    extract::{MatchedPath, Path, Request, State},
    http::{HeaderMap, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use opentelemetry::{
    Context, KeyValue,
    logs::Severity,
    propagation::{Extractor, TextMapPropagator as _},
    trace::{SpanKind, Status, TraceContextExt as _, Tracer as _},
};
use opentelemetry_sdk::{propagation::TraceContextPropagator, trace::SdkTracer};
use tokio::{net::TcpListener, runtime, sync::oneshot};

use super::shop::Shop;

/// A running service with a thread of its own.
pub(super) struct Service {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Service {
    /// Starts the service on a free port of the loopback.
    pub(super) fn start(shop: Shop) -> Result<Self, String> {
        let cannot = |error| format!("cannot start the demo's service: {error}");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").map_err(cannot)?;
        listener.set_nonblocking(true).map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        let runtime = runtime::Builder::new_current_thread().enable_io().build().map_err(cannot)?;
        let (stop, stopped) = oneshot::channel();
        let app = router(Arc::new(shop));
        let serve = move || runtime.block_on(serve(listener, app, stopped));
        let thread = thread::Builder::new().name("service".into()).spawn(serve).map_err(cannot)?;
        Ok(Self { address, stop, thread })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it and waits for its thread, so that all of its spans have ended.
    pub(super) fn stop(self) {
        drop(self.stop);
        // It panics only by a bug, which the clients have seen as failed requests.
        let _ = self.thread.join();
    }
}

async fn serve(listener: std::net::TcpListener, app: Router, stopped: oneshot::Receiver<()>) {
    let listener = TcpListener::from_std(listener).expect("a listener that was made non-blocking");
    tokio::select! {
        _ = axum::serve(listener, app) => {}
        _ = stopped => {}
    }
}

fn router(shop: Arc<Shop>) -> Router {
    Router::new()
        .route("/products/{id}", get(product))
        .route("/search/{word}", get(search))
        .route("/cart/{id}", post(add_to_cart))
        .layer(middleware::from_fn_with_state(Arc::clone(&shop), observed))
        .with_state(shop)
}

/// What every request leaves: a server span, a child of the caller's; a line in the access log; its
/// duration.
async fn observed(State(shop): State<Arc<Shop>>, mut request: Request, next: Next) -> Response {
    let (start, method) = (Instant::now(), request.method().clone());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unknown", MatchedPath::as_str);
    let tracer = &shop.tracer;
    let caller = TraceContextPropagator::new().extract(&Headers(request.headers()));
    let builder = tracer
        .span_builder(format!("{} {route}", request.method()))
        .with_kind(SpanKind::Server)
        .with_attributes([
            KeyValue::new("http.request.method", request.method().to_string()),
            KeyValue::new("http.route", route.to_owned()),
            KeyValue::new("url.path", request.uri().path().to_owned()),
            KeyValue::new("url.scheme", "http"),
        ]);
    let cx = caller.with_span(builder.start_with_context(tracer, &caller));
    request.extensions_mut().insert(cx.clone());
    shop.active.add(1, &[]);
    let response = next.run(request).await;
    shop.active.add(-1, &[]);
    let status = response.status();
    shop.served(&cx, &method, route, status, start.elapsed());
    cx.span().set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
    if status.is_server_error() {
        cx.span().set_status(Status::error(status.to_string()));
    }
    cx.span().end();
    response
}

/// A cache in front of a database: every second product is cached.
async fn product(
    State(shop): State<Arc<Shop>>,
    Extension(cx): Extension<Context>,
    Path(id): Path<u64>,
) -> Response {
    if !cached(&shop.tracer, &cx, id) {
        query(&shop.tracer, &cx, "SELECT name, price FROM products WHERE id = $1", 1).await;
    }
    if id.is_multiple_of(97) {
        shop.log(&cx, Severity::Warn, format!("product {id} is not in the catalogue"));
        return (StatusCode::NOT_FOUND, "no such product").into_response();
    }
    rendered(&shop.tracer, &cx, format!("product {id}"))
}

/// A query whose index is broken now and then, to have errors in the data.
async fn search(
    State(shop): State<Arc<Shop>>,
    Extension(cx): Extension<Context>,
    Path(word): Path<String>,
) -> Response {
    let broken = word.ends_with("98");
    let found = if broken { 0 } else { word.len() as i64 };
    query(&shop.tracer, &cx, "SELECT id FROM products WHERE words @@ $1", found).await;
    if broken {
        cx.span().record_error(&std::io::Error::other("the search index is being rebuilt"));
        shop.log(&cx, Severity::Error, format!("search for {word}: the index is being rebuilt"));
        return (StatusCode::INTERNAL_SERVER_ERROR, "search is broken").into_response();
    }
    rendered(&shop.tracer, &cx, format!("{found} products for {word}"))
}

async fn add_to_cart(
    State(shop): State<Arc<Shop>>,
    Extension(cx): Extension<Context>,
    Path(id): Path<u64>,
) -> Response {
    query(&shop.tracer, &cx, "SELECT stock FROM products WHERE id = $1 FOR UPDATE", 1).await;
    query(&shop.tracer, &cx, "INSERT INTO cart (product, amount) VALUES ($1, 1)", 1).await;
    shop.added_to_cart.add(1, &[KeyValue::new("product.shelf", (id % 8) as i64)]);
    rendered(&shop.tracer, &cx, format!("product {id} is in your cart"))
}

/// Whether the product is in the cache; one internal span with an event.
fn cached(tracer: &SdkTracer, cx: &Context, id: u64) -> bool {
    let hit = id.is_multiple_of(2);
    let builder = tracer.span_builder("cache get").with_attributes([
        KeyValue::new("cache.key", format!("product:{id}")),
        KeyValue::new("cache.hit", hit),
    ]);
    let cx = cx.with_span(builder.start_with_context(tracer, cx));
    let event = if hit { "cache.hit" } else { "cache.miss" };
    cx.span().add_event(event, vec![KeyValue::new("cache.shard", (id % 8) as i64)]);
    cx.span().end();
    hit
}

/// What a database driver would record around a query; one client span.
async fn query(tracer: &SdkTracer, cx: &Context, text: &'static str, rows: i64) {
    let builder = tracer.span_builder("db query").with_kind(SpanKind::Client).with_attributes([
        KeyValue::new("db.system.name", "postgresql"),
        KeyValue::new("db.namespace", "shop"),
        KeyValue::new("db.query.text", text),
        KeyValue::new("server.address", "db.example.internal"),
        KeyValue::new("server.port", 5432),
    ]);
    let cx = cx.with_span(builder.start_with_context(tracer, cx));
    // Other requests run here, as they would while a database thinks.
    tokio::task::yield_now().await;
    cx.span().set_attribute(KeyValue::new("db.response.returned_rows", rows));
    cx.span().end();
}

fn rendered(tracer: &SdkTracer, cx: &Context, page: String) -> Response {
    let builder = tracer.span_builder("render").with_attributes([
        KeyValue::new("template", "page.html"),
        KeyValue::new("template.seconds", 0.000_25),
        KeyValue::new("template.bytes", page.len() as i64),
    ]);
    let cx = cx.with_span(builder.start_with_context(tracer, cx));
    cx.span().end();
    page.into_response()
}

/// Reads the caller's `traceparent`.
struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
