//! The span that every figure of this project is about, made through the OpenTelemetry API.
//!
//! A 20-character name, kind server, a remote parent, 10 attributes (5 strings of 5 to 40
//! characters, two of them built at run time, 3 integers, a bool, a double), one event with 2
//! attributes; a resource with 6 attributes. About 538 bytes encoded.

use opentelemetry::{
    Context, KeyValue,
    trace::{
        Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, TraceContextExt as _, TraceFlags,
        TraceId, TraceState, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};

/// Makes the span over and over, for one thread.
pub struct SpanMaker {
    tracer: SdkTracer,
    parent: Context,
    paths: Vec<String>,
    users: Vec<String>,
    made: usize,
}

impl SpanMaker {
    /// A maker whose spans go to the processors of `provider`.
    pub fn new(provider: &SdkTracerProvider) -> Self {
        Self {
            tracer: provider.tracer(SCOPE_NAME),
            parent: Context::new().with_remote_span_context(remote_parent()),
            paths: (0..VARIANTS)
                .map(|n| format!("/api/v1/products/{n:06}/reviews/latest"))
                .collect(),
            users: (0..VARIANTS).map(|n| format!("customer-{n:012}")).collect(),
            made: 0,
        }
    }

    /// Starts, fills and ends one span; returns its id.
    pub fn emit(&mut self) -> u64 {
        let variant = self.made % VARIANTS;
        self.made += 1;
        let builder = SpanBuilder::from_name(NAME)
            .with_kind(SpanKind::Server)
            .with_attributes(self.attributes(variant));
        let mut span = self.tracer.build_with_context(builder, &self.parent);
        span.add_event(
            "cache.miss",
            vec![
                KeyValue::new("cache.key", "product:reviews:page-1"),
                KeyValue::new("cache.shard", (variant % 8) as i64),
            ],
        );
        let id = u64::from_be_bytes(span.span_context().span_id().to_bytes());
        span.end();
        id
    }

    fn attributes(&self, variant: usize) -> [KeyValue; 10] {
        [
            KeyValue::new("http.request.method", "PATCH"),
            KeyValue::new("http.route", "/api/v1/products/{id}/reviews/latest"),
            KeyValue::new("url.path", self.paths[variant].clone()),
            KeyValue::new("enduser.id", self.users[variant].clone()),
            KeyValue::new("server.address", "shop-frontend.example.internal"),
            KeyValue::new("http.response.status_code", 200),
            KeyValue::new("http.response.body.size", 4096 + variant as i64),
            KeyValue::new("server.port", 8443),
            KeyValue::new("cache.hit", variant.is_multiple_of(2)),
            KeyValue::new("app.discount.ratio", 0.125 * variant as f64),
        ]
    }
}

/// The resource with its 6 attributes.
pub fn resource() -> Resource {
    Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "shop-frontend"),
            KeyValue::new("service.version", "1.42.0"),
            KeyValue::new("service.instance.id", "6f0c2c3e-5b0e-4f0e-9f6e-0d1c2b3a4f5e"),
            KeyValue::new("deployment.environment.name", "benchmark"),
            KeyValue::new("host.name", "node-17.example.internal"),
            KeyValue::new("telemetry.sdk.language", "rust"),
        ])
        .build()
}

fn remote_parent() -> SpanContext {
    SpanContext::new(
        TraceId::from(0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736),
        SpanId::from(0x00f0_67aa_0ba9_02b7),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    )
}

/// 20 characters.
const NAME: &str = "PATCH /products/list";
const SCOPE_NAME: &str = "spanwire-bench";
/// Enough different values that no branch predictor learns them, few enough to stay in cache.
const VARIANTS: usize = 64;
