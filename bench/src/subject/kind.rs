//! The names of peers in tables and JSON, and what each of them is.

use std::{fmt, str::FromStr};

use super::Wire;
use crate::{
    receive::{Protocol, encoding::Encoding},
    shape::{Shape, Signal},
};

/// A peer: a library with its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// spanwire over io_uring.
    SpanwireUring,
    /// spanwire over epoll.
    SpanwireEpoll,
    /// opentelemetry-otlp with its default client (reqwest, blocking) behind the SDK's batch
    /// processor with its default batch of 512.
    OtlpHttp,
    /// The same with batches of 2048.
    OtlpHttp2048,
    /// The same with batches of 8192.
    OtlpHttp8192,
    /// The same with batches that have as many bytes as spanwire's requests.
    OtlpHttpEqual,
    /// opentelemetry-otlp with hyper, driven by tokio on the batch processor's thread.
    OtlpHyper,
    /// opentelemetry-otlp with hyper behind the SDK's asynchronous batch processor, which exports
    /// concurrently.
    OtlpAsync,
    /// The same with batches of 8192: what hides a long way best.
    OtlpAsync8192,
    /// opentelemetry-otlp over gRPC (tonic) behind the SDK's batch processor.
    OtlpGrpc,
    /// The same with batches of 2048.
    OtlpGrpc2048,
    /// The same behind the asynchronous batch processor.
    OtlpGrpcAsync,
    /// Spans of `tracing` through tracing-opentelemetry to spanwire.
    TracingSpanwire,
    /// The same to opentelemetry-otlp.
    TracingOtlp,
    /// fastrace, whose reporter goes through opentelemetry-otlp.
    Fastrace,
    /// emit with emit_otlp.
    EmitOtlp,
    /// The SDK with something behind it that drops each record at once: the floor of what the
    /// SDK's users pay.
    Noop,
    /// spanwire's exporter behind the SDK's trait, called with ready batches.
    SpanwireAlone,
    /// opentelemetry-otlp with its default client, called with ready batches.
    OtlpHttpAlone,
    /// opentelemetry-otlp with hyper, called with ready batches.
    OtlpHyperAlone,
    /// opentelemetry-otlp over gRPC, called with ready batches.
    OtlpGrpcAlone,
    /// Requests that were encoded beforehand on a blocking socket: what the sink can take.
    SinkCeiling,
}

/// How a peer takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// spanwire.
    Ours,
    /// What spanwire is compared with.
    Rival,
    /// What everybody pays.
    Floor,
    /// What nobody can be faster than.
    Ceiling,
}

/// What a peer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Records made through the OpenTelemetry SDK.
    Sdk,
    /// Spans made through another library.
    Other,
    /// Spans of `tracing`.
    Tracing,
    /// Ready batches.
    Alone,
    /// Ready requests.
    Bytes,
}

impl Kind {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 22] = [
        Self::SpanwireUring,
        Self::SpanwireEpoll,
        Self::OtlpHttp,
        Self::OtlpHttp2048,
        Self::OtlpHttp8192,
        Self::OtlpHttpEqual,
        Self::OtlpHyper,
        Self::OtlpAsync,
        Self::OtlpAsync8192,
        Self::OtlpGrpc,
        Self::OtlpGrpc2048,
        Self::OtlpGrpcAsync,
        Self::Fastrace,
        Self::EmitOtlp,
        Self::TracingSpanwire,
        Self::TracingOtlp,
        Self::Noop,
        Self::SpanwireAlone,
        Self::OtlpHttpAlone,
        Self::OtlpHyperAlone,
        Self::OtlpGrpcAlone,
        Self::SinkCeiling,
    ];

    /// The name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::SpanwireUring => "spanwire-uring",
            Self::SpanwireEpoll => "spanwire-epoll",
            Self::OtlpHttp => "otlp-http",
            Self::OtlpHttp2048 => "otlp-http-2048",
            Self::OtlpHttp8192 => "otlp-http-8192",
            Self::OtlpHttpEqual => "otlp-http-equal",
            Self::OtlpHyper => "otlp-hyper",
            Self::OtlpAsync => "otlp-async",
            Self::OtlpAsync8192 => "otlp-async-8192",
            Self::OtlpGrpc => "otlp-grpc",
            Self::OtlpGrpc2048 => "otlp-grpc-2048",
            Self::OtlpGrpcAsync => "otlp-grpc-async",
            Self::OtlpGrpcAlone => "otlp-grpc-alone",
            Self::TracingSpanwire => "tracing-spanwire",
            Self::TracingOtlp => "tracing-otlp",
            Self::Fastrace => "fastrace",
            Self::EmitOtlp => "emit-otlp",
            Self::Noop => "noop",
            Self::SpanwireAlone => "spanwire-alone",
            Self::OtlpHttpAlone => "otlp-http-alone",
            Self::OtlpHyperAlone => "otlp-hyper-alone",
            Self::SinkCeiling => "sink-ceiling",
        }
    }

    /// How it takes part.
    pub fn role(self) -> Role {
        match self {
            Self::SpanwireUring
            | Self::SpanwireEpoll
            | Self::TracingSpanwire
            | Self::SpanwireAlone => Role::Ours,
            Self::Noop => Role::Floor,
            Self::SinkCeiling => Role::Ceiling,
            _ => Role::Rival,
        }
    }

    /// What it is given.
    pub fn class(self) -> Class {
        match self {
            Self::TracingSpanwire | Self::TracingOtlp => Class::Tracing,
            Self::Fastrace | Self::EmitOtlp => Class::Other,
            Self::SpanwireAlone
            | Self::OtlpHttpAlone
            | Self::OtlpHyperAlone
            | Self::OtlpGrpcAlone => Class::Alone,
            Self::SinkCeiling => Class::Bytes,
            _ => Class::Sdk,
        }
    }

    /// Whether spanwire's peer `self` is set against `other`: both are given the same, or what
    /// comes of it is the same spans.
    pub fn meets(self, other: Self) -> bool {
        let same = self.class() == other.class();
        let spans = self.class() == Class::Sdk && other.class() == Class::Other;
        self.role() == Role::Ours && other.role() == Role::Rival && (same || spans)
    }

    /// Whether it is opentelemetry-otlp behind a processor of the SDK.
    pub fn is_otlp(self) -> bool {
        self.role() == Role::Rival && self.class() == Class::Sdk
    }

    /// Whether it takes part in the rows at a fixed rate: one of each way to build an exporter.
    pub fn is_paced(self) -> bool {
        use Kind::{
            Noop, OtlpAsync, OtlpGrpc, OtlpGrpcAsync, OtlpHttp, OtlpHyper, SpanwireEpoll,
            SpanwireUring,
        };
        matches!(
            self,
            SpanwireUring
                | SpanwireEpoll
                | OtlpHttp
                | OtlpHyper
                | OtlpAsync
                | OtlpGrpc
                | OtlpGrpcAsync
                | Noop
        )
    }

    /// The value of SPANWIRE_IO that selects this peer's driver.
    pub fn io(self) -> Option<&'static str> {
        match self {
            Self::SpanwireUring => Some("uring"),
            Self::SpanwireEpoll => Some("epoll"),
            _ => None,
        }
    }

    /// Whether it is there only with the feature `rivals`.
    pub fn needs_rivals(self) -> bool {
        let ours = self.class() != Class::Tracing && self.role() != Role::Rival;
        !ours
    }

    /// Why it has no row for this signal in this shape, if it has none.
    pub fn lacks(self, signal: Signal, shape: Shape) -> Option<&'static str> {
        let is_async = matches!(self, Self::OtlpAsync | Self::OtlpGrpcAsync);
        let all_signals = self.is_paced() && !is_async || self == Self::SinkCeiling;
        match signal {
            Signal::Logs | Signal::Metrics if self == Self::SinkCeiling => Some(ONLY_SPANS),
            Signal::Logs | Signal::Metrics if !all_signals => Some(ONLY_SPANS),
            Signal::Traces if self.class() == Class::Tracing && shape == Shape::Heavy => {
                Some("a span of tracing has at most 32 fields")
            }
            _ => None,
        }
    }

    /// Why it has no row over this wire, if it has none; `is_far` is a wire with a delay.
    pub fn lacks_wire(self, wire: &Wire, is_far: bool) -> Option<&'static str> {
        let protocol = wire.protocol.unwrap_or_default();
        let is_plain = wire.encoding == Encoding::None && wire.ca.is_none();
        let ours = self.role() == Role::Ours || self == Self::Noop;
        let is_grpc = matches!(
            self,
            Self::OtlpGrpc | Self::OtlpGrpc2048 | Self::OtlpGrpcAsync | Self::OtlpGrpcAlone
        );
        let is_foreign = matches!(self, Self::Fastrace | Self::EmitOtlp | Self::SinkCeiling);
        let is_hyper = matches!(
            self,
            Self::OtlpHyper | Self::OtlpAsync | Self::OtlpAsync8192 | Self::OtlpHyperAlone
        );
        let needs_distance = self == Self::OtlpAsync8192;
        match protocol {
            _ if needs_distance && !is_far => Some("it takes part with --rtt only"),
            _ if ours => None,
            Protocol::Grpc if !is_grpc => Some("it speaks HTTP"),
            Protocol::Http | Protocol::HttpJson if is_grpc => Some("it speaks gRPC"),
            _ if is_foreign && !(is_plain && protocol == Protocol::Http) => {
                Some("it takes part over plain HTTP in protobuf only")
            }
            _ if is_hyper && wire.ca.is_some() => Some("its default connector has no TLS"),
            _ => None,
        }
    }

    /// How many records of one thread may be outstanding, when its queue takes no more. fastrace sends
    /// three commands a span through a ring of 10240; what does not fit stays with the thread until
    /// its next span, and is lost with the thread.
    pub fn outstanding_max(self) -> u64 {
        if self == Self::Fastrace { 3000 } else { u64::MAX }
    }

    /// Records in a batch of the SDK's processor, for peers that have one; `record_bytes` is the
    /// size of an encoded record.
    pub fn batch(self, record_bytes: usize) -> Option<usize> {
        match self {
            Self::OtlpHttp
            | Self::OtlpHyper
            | Self::OtlpAsync
            | Self::OtlpGrpc
            | Self::OtlpGrpcAsync
            | Self::TracingOtlp => Some(512),
            Self::OtlpHttp2048 | Self::OtlpGrpc2048 => Some(2048),
            Self::OtlpHttp8192 | Self::OtlpAsync8192 => Some(8192),
            Self::OtlpHttpEqual => Some((REQUEST_BYTES / record_bytes.max(1)).clamp(512, 32768)),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|kind| kind.name() == name);
        named.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("there is no peer {name:?}; the peers are {names}")
        })
    }
}

const ONLY_SPANS: &str = "it takes part with spans only";
/// The default of spanwire's `batch_bytes`.
const REQUEST_BYTES: usize = 512 << 10;
