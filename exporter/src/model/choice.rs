//! What a user may choose of OTLP, as the specification names it, and what of it this build has.
//!
//! Source: opentelemetry-specification, protocol/exporter.md, "Configuration Options".

use std::fmt;

/// How requests are framed and encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// OTLP/HTTP with protobuf bodies: `http/protobuf`.
    #[default]
    HttpProtobuf,
    /// OTLP/HTTP with JSON bodies: `http/json`. About three times as long as protobuf, and made of
    /// it on the exporter's thread.
    HttpJson,
    /// OTLP/gRPC: `grpc`. With the feature `grpc` only.
    Grpc,
}

impl Protocol {
    /// The protocol that `word` names, in any case.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all = [Self::HttpProtobuf, Self::HttpJson, Self::Grpc];
        all.into_iter().find(|choice| choice.word().eq_ignore_ascii_case(word))
    }

    /// Whether this build can do it.
    pub(crate) fn is_supported(self) -> bool {
        match self {
            Self::HttpProtobuf | Self::HttpJson => true,
            Self::Grpc => cfg!(feature = "grpc"),
        }
    }

    /// The media type of a body (H3); of gRPC that of its stream.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "application/x-protobuf",
            Self::HttpJson => "application/json",
            Self::Grpc => "application/grpc",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
            Self::Grpc => "grpc",
        }
    }
}

impl fmt::Display for Protocol {
    /// As in `OTEL_EXPORTER_OTLP_PROTOCOL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How the bodies of requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all: `none`.
    #[default]
    None,
    /// `gzip`.
    Gzip,
    /// `zstd`, of builds with the feature `zstd`: it is C, so these need a C compiler.
    Zstd,
}

impl Compression {
    /// The compression that `word` names, in any case.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all = [Self::None, Self::Gzip, Self::Zstd];
        all.into_iter().find(|choice| choice.word().eq_ignore_ascii_case(word))
    }

    /// Whether this build can do it.
    pub(crate) fn is_supported(self) -> bool {
        self != Self::Zstd || cfg!(feature = "zstd")
    }

    fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    /// As in `OTEL_EXPORTER_OTLP_COMPRESSION`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Who gets the records of a signal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignalExporter {
    /// A collector, over OTLP: `otlp`.
    #[default]
    Otlp,
    /// The standard output, as lines of OTLP/JSON: `console`, or `otlp/stdout`.
    Stdout,
    /// Nobody: `none`. What comes in is neither encoded nor counted.
    None,
}

impl SignalExporter {
    /// The exporter that `word` names, in any case.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all = [
            ("otlp", Self::Otlp),
            ("console", Self::Stdout),
            ("otlp/stdout", Self::Stdout),
            ("none", Self::None),
        ];
        all.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, it)| it)
    }
}

impl fmt::Display for SignalExporter {
    /// As in `OTEL_TRACES_EXPORTER`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Otlp => "otlp",
            Self::Stdout => "console",
            Self::None => "none",
        })
    }
}
