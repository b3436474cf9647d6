//! What the two receivers, [`crate::sink`] and [`crate::collector`], have in common beyond counting:
//! the protocols.
//!
//! In scope: OTLP over gRPC, encodings of bodies, TLS with a certificate authority of its own. All of
//! it is written on foreign libraries (h2, flate2, zstd, rustls), so that spanwire is not judged by
//! itself.

pub mod encoding;
pub mod grpc;
pub mod json;
pub mod tls;

use std::{fmt, str::FromStr};

/// How OTLP is carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum Protocol {
    /// gRPC over HTTP/2.
    Grpc,
    /// Protobuf over HTTP/1.1.
    #[default]
    Http,
    /// JSON over HTTP/1.1.
    HttpJson,
}

impl Protocol {
    /// The name on the command line and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
            Self::HttpJson => "http-json",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Protocol {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Grpc, Self::Http, Self::HttpJson];
        let named = all.into_iter().find(|protocol| protocol.name() == name);
        named.ok_or_else(|| format!("there is no protocol {name:?}"))
    }
}

/// The OTLP/HTTP specification has no limit; opentelemetry-otlp stops at 64 MiB. It holds before and
/// after decompression.
pub const BODY_BYTES_MAX: usize = 64 << 20;
