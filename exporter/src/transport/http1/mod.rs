//! An HTTP/1.1 client codec without I/O: one POST with a known length, and its response.
//!
//! Bytes go in, a response comes out; there is no socket, no clock and no allocation that the
//! peer could size beyond the limits.
//!
//! In scope: interim responses, the three ways a body can be framed, keep-alive, limits on
//! everything, gzip and (feature `zstd`) zstd of an answer. Out of scope: pipelining, redirects, other codings, upgrades, trailers (they are
//! skipped), TLS (it is below), the meaning of a status (it is in `verdict`).
//!
//! # States
//!
//! [`ResponseReader`] is always in one of these; an error is final.
//!
//! ```text
//!              1xx but 101 (at most INTERIM_MAX)
//!               ┌───┐
//!               │   ▼
//! start ──────► Head ──── 204, 304, content-length: 0 ────────────────► Done
//!                │                                                      ▲
//!                ├──── content-length: N ──► Length ──── N bytes ───────┤
//!                ├──── chunked ────────────► Chunked ─── last chunk ────┤
//!                └──── neither ────────────► UntilClose ─ end of stream ┘
//! ```
//!
//! | state | owns | end of stream means |
//! |---|---|---|
//! | Head | the head's bytes so far, at most `head_bytes_max` | truncated |
//! | Length | the body so far, bytes still owed | truncated |
//! | Chunked | the body so far, the chunk state (`chunked.rs`) | truncated |
//! | UntilClose | the body so far | the body is complete |
//! | Done | the whole response | nothing: it is done |
//!
//! # Examples
//!
//! ```
//! # #[cfg(feature = "internals")] {
//! use spanwire::internals::http1::{Progress, RequestHead, ResponseLimits, ResponseReader};
//!
//! let head = RequestHead::new("localhost:4318", "/v1/traces", "application/json", &[]);
//! let request = head.render(3, None).concat();
//! assert!(request.starts_with(b"POST /v1/traces HTTP/1.1\r\nhost: localhost:4318\r\n"));
//! assert!(request.ends_with(b"\r\ncontent-length: 3\r\n\r\n"));
//!
//! let mut reader = ResponseReader::new(ResponseLimits::default());
//! // An interim response, then the head in two pieces: each call says whether to read on.
//! assert_eq!(reader.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20"), Ok(Progress::NeedMore));
//! assert_eq!(reader.feed(b"0 OK\r\ncontent-length: 2\r\n\r\n"), Ok(Progress::NeedMore));
//! assert_eq!(reader.feed(b"\x0a\x00"), Ok(Progress::Done));
//!
//! let response = reader.into_response().unwrap();
//! assert_eq!((response.status, &response.body[..]), (200, &b"\x0a\x00"[..]));
//! assert_eq!(response.close, None); // the connection may carry the next request
//! # }
//! ```
#![cfg_attr(
    not(feature = "internals"),
    allow(unreachable_pub, unused_imports, reason = "reachable for the fuzz targets only")
)]

mod chunked;
pub(super) mod coding;
mod fields;
mod head;
mod response;

pub(super) use self::head::OWN_USER_AGENT;
#[cfg(feature = "grpc")]
pub(in crate::transport) use self::head::user_agent;
pub use self::head::{HeadError, RequestHead};
pub use self::response::{
    CloseReason, Progress, Response, ResponseError, ResponseLimits, ResponseReader,
};

#[cfg(test)]
mod tests;
