//! The span that every figure of this project is about, made through the OpenTelemetry API.
//!
//! A 20-character name, kind server, a remote parent, 10 attributes (5 strings of 5 to 40
//! characters, two of them built at run time, 3 integers, a bool, a double), one event with 2
//! attributes; a resource with 6 attributes. About 538 bytes encoded. Other shapes are in
//! [`crate::shape`].

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

use crate::shape::{Attribute, Shape};

/// Makes the span over and over, for one thread.
pub struct SpanMaker {
    tracer: SdkTracer,
    parent: Context,
    /// What all spans take their attributes from, in turn.
    variants: Vec<Vec<Attribute>>,
    has_event: bool,
    made: usize,
}

impl SpanMaker {
    /// A maker whose spans go to the processors of `provider`.
    pub fn new(provider: &SdkTracerProvider) -> Self {
        Self::shaped(provider, Shape::Typical)
    }

    /// A maker of spans of another shape.
    pub fn shaped(provider: &SdkTracerProvider, shape: Shape) -> Self {
        Self {
            tracer: provider.tracer(SCOPE_NAME),
            parent: Context::new().with_remote_span_context(remote_parent()),
            variants: (0..VARIANTS).map(|variant| shape.span_attributes(variant)).collect(),
            has_event: shape.has_event(),
            made: 0,
        }
    }

    /// Starts, fills and ends one span; returns its id.
    pub fn emit(&mut self) -> u64 {
        let variant = self.made % VARIANTS;
        self.made += 1;
        let attributes = self.variants[variant].iter().map(Attribute::to_key_value);
        let builder =
            SpanBuilder::from_name(NAME).with_kind(SpanKind::Server).with_attributes(attributes);
        let mut span = self.tracer.build_with_context(builder, &self.parent);
        if self.has_event {
            span.add_event(
                EVENT_NAME,
                vec![
                    KeyValue::new("cache.key", EVENT_KEY),
                    KeyValue::new("cache.shard", (variant % 8) as i64),
                ],
            );
        }
        let id = u64::from_be_bytes(span.span_context().span_id().to_bytes());
        span.end();
        id
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
pub(crate) const NAME: &str = "PATCH /products/list";
/// The event's name, and the value of its first attribute.
pub(crate) const EVENT_NAME: &str = "cache.miss";
pub(crate) const EVENT_KEY: &str = "product:reviews:page-1";
pub(crate) const SCOPE_NAME: &str = "spanwire-bench";
/// Enough different values that no branch predictor learns them, few enough to stay in cache.
pub(crate) const VARIANTS: usize = 64;
