//! Spans of `tracing`, handed to the SDK by tracing-opentelemetry: to spanwire, and to
//! opentelemetry-otlp.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Subscriber, info, span};
use tracing_subscriber::{layer::SubscriberExt as _, registry};

use super::{
    Kind, Settings, Subject,
    noop::NEVER,
    otlp::{self, Client, Otlp, Provider},
    spanwire::Telemetry,
};
use crate::{
    drive::{Ids, Producer},
    shape::{Attribute, Plain, Shape, Signal},
    span::{EVENT_KEY, SCOPE_NAME, VARIANTS},
};

pub(super) fn open_spanwire(settings: &Settings) -> Result<Subject, String> {
    let telemetry = Telemetry::open(settings, &[Signal::Traces], NEVER)?;
    subscribe(&telemetry.traces())?;
    Ok(Subject::new(maker(settings), telemetry))
}

pub(super) fn open_otlp(settings: &Settings) -> Result<Subject, String> {
    let batch = Kind::TracingOtlp.batch(0).unwrap_or_default();
    let (processor, outcomes) = otlp::span_processor(Client::Reqwest, settings, batch)?;
    let provider = super::provider(processor, settings);
    subscribe(&provider)?;
    let (client, provider) = (Client::Reqwest, Provider::Traces(provider));
    Ok(Subject::new(maker(settings), Otlp { outcomes, client, provider, runtime: None }))
}

/// The layer as a user would set it up, without the attributes that it adds by itself (source
/// location, thread, idle and busy time): the spans are to be the same as everybody's.
fn subscribe(provider: &SdkTracerProvider) -> Result<(), String> {
    let layer = tracing_opentelemetry::layer()
        .with_tracer(provider.tracer(SCOPE_NAME))
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_target(false);
    tracing::subscriber::set_global_default(subscriber(layer))
        .map_err(|error| format!("a subscriber is set already: {error}"))
}

fn subscriber<L: tracing_subscriber::Layer<registry::Registry> + Send + Sync>(
    layer: L,
) -> impl Subscriber + Send + Sync {
    registry().with(layer)
}

fn maker(settings: &Settings) -> impl Fn() -> TracingMaker + 'static {
    let shape = settings.shape;
    move || TracingMaker {
        shape,
        variants: (0..VARIANTS).map(|variant| shape.span_attributes(variant)).collect(),
        made: 0,
    }
}

struct TracingMaker {
    shape: Shape,
    variants: Vec<Vec<Attribute>>,
    made: usize,
}

impl Producer for TracingMaker {
    /// The ids are the layer's own; nobody asks for them here.
    fn burst(&mut self, records: u64, _: &mut Ids) -> u64 {
        for _ in 0..records {
            let variant = self.made % VARIANTS;
            self.made += 1;
            let attributes = &self.variants[variant];
            match self.shape {
                Shape::Bare => bare(),
                Shape::Typical | Shape::Heavy => typical(attributes, variant),
                Shape::Spec => spec(attributes),
            }
        }
        records
    }
}

fn bare() {
    drop(span!(Level::INFO, "PATCH /products/list", otel.kind = "server"));
}

fn typical(attributes: &[Attribute], variant: usize) {
    let span = span!(
        Level::INFO,
        "PATCH /products/list",
        otel.kind = "server",
        http.request.method = "PATCH",
        http.route = "/api/v1/products/{id}/reviews/latest",
        url.path = text(&attributes[2]),
        enduser.id = text(&attributes[3]),
        server.address = "shop-frontend.example.internal",
        http.response.status_code = 200_i64,
        http.response.body.size = 4096 + variant as i64,
        server.port = 8443_i64,
        cache.hit = variant.is_multiple_of(2),
        app.discount.ratio = 0.125 * variant as f64,
    );
    let _entered = span.enter();
    info!(cache.key = EVENT_KEY, cache.shard = (variant % 8) as i64, "cache.miss");
}

fn spec(attributes: &[Attribute]) {
    drop(span!(
        Level::INFO,
        "PATCH /products/list",
        otel.kind = "server",
        benchmark.attribute0 = text(&attributes[0]),
        benchmark.attribute1 = text(&attributes[1]),
        benchmark.attribute2 = text(&attributes[2]),
        benchmark.attribute3 = text(&attributes[3]),
        benchmark.attribute4 = text(&attributes[4]),
        benchmark.attribute5 = text(&attributes[5]),
        benchmark.attribute6 = text(&attributes[6]),
        benchmark.attribute7 = text(&attributes[7]),
        benchmark.attribute8 = text(&attributes[8]),
        benchmark.attribute9 = text(&attributes[9]),
    ));
}

fn text(attribute: &Attribute) -> &str {
    match &attribute.value {
        Plain::Built(text) => text,
        Plain::Literal(text) => text,
        Plain::Int(_) | Plain::Bool(_) | Plain::Double(_) => "",
    }
}
