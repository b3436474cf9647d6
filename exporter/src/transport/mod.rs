//! Carrying requests to a collector.
//!
//! What can be decided without a socket is pure: where an endpoint string points (`endpoint`),
//! whether a proxy is between (`proxy`), the bytes of HTTP/1.1 ([`http1`]), what an answer means
//! (`verdict`). What needs one drives those: `connect`, over which kind of socket `connection`
//! hides, and `client`. `lines` is what stands in for a collector: a file. There is no pool: each of
//! the exporter's lanes owns a client, and a client keeps one connection; but lanes of gRPC (`grpc`)
//! share one.

pub(crate) mod balance;
pub(crate) mod client;
pub(crate) mod connect;
pub(crate) mod connection;
pub(crate) mod endpoint;
#[cfg(feature = "grpc")]
pub(crate) mod grpc;
pub(crate) mod header_source;
#[cfg_attr(
    not(feature = "internals"),
    allow(dead_code, reason = "a codec is whole; the client does not need all of it")
)]
pub mod http1;
pub(crate) mod lines;
pub(crate) mod proxy;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod verdict;

#[cfg(all(feature = "grpc", feature = "internals"))]
#[doc(hidden)]
pub use self::grpc::judged::{Judged, judge_answer};
#[cfg(feature = "internals")]
#[doc(hidden)]
pub use self::verdict::{rejected_by, retry_after};
