//! What one attempt to deliver a request meant.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

use crate::model::Signal;

/// The meaning of one attempt, decided by the transport and acted on by delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Outcome {
    /// The peer took the request; it is never sent again.
    Delivered {
        /// Records that the peer says it did not keep; at most what was sent.
        rejected: u64,
        /// What the peer, or we, found odd about a success.
        warning: Option<String>,
        /// What it answered with; none if nobody answered, as of a file.
        status: Option<Status>,
    },
    /// The request may succeed later, unchanged.
    Retry {
        /// The peer asked for at least this much time (`Retry-After`).
        not_before: Option<Duration>,
        /// Why it did not succeed now.
        why: Failure,
    },
    /// The request must not be sent again (H9): it is dropped and counted.
    Refused {
        /// Why.
        why: Failure,
    },
}

impl Outcome {
    /// Retryable, and the peer named no time.
    pub(crate) fn retry(why: Failure) -> Self {
        Self::Retry { not_before: None, why }
    }
}

/// Why an attempt failed: where, with which status, in whose words.
///
/// It names neither the endpoint nor any header, so it can be logged as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How far the attempt came.
    pub(crate) phase: Phase,
    /// What the peer answered with, if it did.
    pub(crate) status: Option<Status>,
    /// The operating system's or the peer's words; may be empty.
    pub(crate) message: String,
    /// The peer says that it cannot read the encoding of the body: later ones are to go without.
    pub(crate) refuses_encoding: bool,
}

/// What an answer says first, in the terms of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// An HTTP status, of OTLP/HTTP.
    Http(u16),
    /// A `google.rpc.Code`, of OTLP/gRPC; also one that stands for what happened instead of an
    /// answer, as gRPC defines it.
    #[cfg_attr(
        not(any(test, feature = "grpc")),
        expect(dead_code, reason = "the gRPC transport makes them")
    )]
    Grpc(u8),
}

impl Status {
    /// As `error.type` of the semantic conventions has it: the number of HTTP, the name of gRPC.
    pub(crate) fn error_type(self) -> Cow<'static, str> {
        match self {
            Self::Http(status) => status.to_string().into(),
            Self::Grpc(code) => self.name().map_or_else(|| code.to_string().into(), Cow::Borrowed),
        }
    }

    /// What gRPC calls it.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Http(_) => None,
            Self::Grpc(code) => GRPC_CODES.get(usize::from(code)).copied(),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Http(status) => write!(f, "{status}"),
            Self::Grpc(code) => match GRPC_CODES.get(usize::from(code)) {
                Some(name) => write!(f, "{name} ({code})"),
                None => write!(f, "{code}"),
            },
        }
    }
}

/// How far an attempt came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The user's source of headers had none to give.
    Headers,
    /// The host name has no address.
    Resolve,
    /// No address accepted a connection.
    Connect,
    /// No TLS with whom a connection leads to, or no more; the message says what to do.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "TLS makes them"))]
    Tls,
    /// The proxy between did not open a tunnel; the collector was not asked.
    Proxy,
    /// The connection was lost before a whole answer had come; the peer may have the data.
    Exchange,
    /// The attempt's time was up; the peer may have the data.
    Timeout,
    /// What came back was no acceptable response of HTTP/1.1 or gRPC.
    Protocol,
    /// What was encoded could not be encoded otherwise: a bug.
    Encode,
    /// The body is longer than requests may be.
    Size,
    /// A line could not be written to the file, or not to its end.
    Write,
    /// A whole answer with a status that is not success.
    Answer,
}

impl Phase {
    /// As `error.type` of the semantic conventions has it.
    fn error_type(self) -> &'static str {
        match self {
            Self::Resolve => "name_resolution_error",
            Self::Connect => "connection_error",
            Self::Tls => "tls_error",
            Self::Proxy => "proxy_error",
            Self::Exchange => "connection_lost",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol_error",
            Self::Headers => "header_source_error",
            Self::Encode => "encoding_error",
            Self::Size => "oversize",
            Self::Write => "write_error",
            // An answer has a status.
            Self::Answer => "_OTHER",
        }
    }
}

impl Failure {
    /// A failure before there was an answer.
    pub(crate) fn new(phase: Phase, message: impl Into<String>) -> Self {
        Self { phase, status: None, message: message.into(), refuses_encoding: false }
    }

    /// An answer other than success.
    pub(crate) fn answer(status: Status, message: impl Into<String>) -> Self {
        Self { status: Some(status), ..Self::new(Phase::Answer, message) }
    }
}

impl Failure {
    /// The cause as `error.type` of the semantic conventions has it: of low cardinality, and the
    /// status if the collector answered.
    pub(crate) fn error_type(&self) -> Cow<'static, str> {
        self.status.map_or_else(|| self.phase.error_type().into(), Status::error_type)
    }

    /// What happened to a request of `signal`, whose fault it is, and what to do next.
    pub(crate) fn describe(&self, signal: Signal) -> String {
        let mut text = self.what().to_owned();
        // Of gRPC, a status stands for what happened also where nobody answered.
        if let Some(status) = self.status.filter(|_| self.phase == Phase::Answer) {
            // Writing to a string does not fail.
            let _ = write!(text, " {status}");
        }
        if !self.message.is_empty() {
            let _ = write!(text, ": {}", self.message);
        }
        if self.phase != Phase::Tls {
            let _ = write!(text, "; {}", self.next_step(signal));
        }
        text
    }

    fn is_of_grpc(&self) -> bool {
        matches!(self.status, Some(Status::Grpc(_)))
    }

    /// Whose fault it is.
    fn what(&self) -> &'static str {
        match self.phase {
            Phase::Headers => "cannot get the headers of a request from their source",
            Phase::Resolve => "cannot resolve the collector's host name",
            Phase::Connect => "cannot connect to the collector",
            Phase::Tls => "no secure connection to the collector",
            Phase::Proxy => "cannot reach the collector through the proxy",
            Phase::Exchange => "lost the connection to the collector",
            Phase::Timeout => "the collector did not answer in time",
            Phase::Protocol if self.is_of_grpc() => "the collector's answer is not acceptable gRPC",
            Phase::Protocol => "the collector's answer is not acceptable HTTP/1.1",
            Phase::Encode => "cannot encode the request",
            Phase::Size => "the request is too large",
            Phase::Write => "cannot write OTLP/JSON",
            Phase::Answer => "the collector answered with status",
        }
    }

    /// What the reader can do.
    fn next_step(&self, signal: Signal) -> Cow<'static, str> {
        let step = match self.phase {
            Phase::Headers => "check what Builder::header_source was given",
            Phase::Resolve => "check the endpoint's host and the resolver",
            Phase::Connect => "check that it runs and listens at the endpoint",
            Phase::Tls => "do what was said",
            Phase::Proxy => "check the proxy, or list the collector's host in NO_PROXY",
            Phase::Exchange => "check the collector's log, or a proxy's between",
            Phase::Timeout => "check the collector's load, or raise OTEL_EXPORTER_OTLP_TIMEOUT",
            Phase::Protocol if self.is_of_grpc() => {
                "check that the endpoint is an OTLP/gRPC port, not HTTP/1.1 or TLS"
            }
            Phase::Protocol => "check that the endpoint is an OTLP/HTTP port, not gRPC or TLS",
            Phase::Encode => "this is a bug in spanwire, report it",
            Phase::Size => "lower Builder::batch_bytes, or raise Builder::request_bytes_max",
            Phase::Write => "check that there is space left, and who else has the file",
            Phase::Answer => match self.status {
                Some(Status::Http(status)) => return next_step_for_http(status, signal),
                Some(Status::Grpc(code)) => next_step_for_grpc(code),
                None => SEE_LOG,
            },
        };
        step.into()
    }
}

/// What to do about an answer with the HTTP `status`.
fn next_step_for_http(status: u16, signal: Signal) -> Cow<'static, str> {
    let step = match status {
        300..=399 => "redirects are not followed: set the endpoint to the final address",
        401 | 403 => "check the credentials in the configured headers",
        404 | 405 => {
            return format!("check the path of the endpoint, usually /{}", signal.path()).into();
        }
        413 => "lower the request size limit, or raise the collector's",
        429 | 502..=504 => "the collector is overloaded or not ready",
        400..=499 => "the collector does not accept this data: see its log",
        _ => SEE_LOG,
    };
    step.into()
}

/// What to do about an answer with the gRPC status `code`.
fn next_step_for_grpc(code: u8) -> &'static str {
    match code {
        1 | 10 | 14 | 15 => "the collector is overloaded or not ready",
        4 => "check the collector's load, or raise OTEL_EXPORTER_OTLP_TIMEOUT",
        // A request above its limit is the one to most servers, and the other to tonic's.
        8 | 11 => "the collector is overloaded, or the request is too large for it",
        7 | 16 => "check the credentials in the configured headers",
        12 => "check that the endpoint is an OTLP/gRPC port, and that it takes this signal",
        3 | 5 | 6 | 9 => "the collector does not accept this data: see its log",
        _ => SEE_LOG,
    }
}

const SEE_LOG: &str = "see the collector's log";
/// Names of the codes, by number (grpc, doc/statuscodes.md).
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_path_is_answered_with_the_one_of_the_signal() {
        let text = Failure::answer(Status::Http(404), "").describe(Signal::Logs);
        assert!(text.ends_with("check the path of the endpoint, usually /v1/logs"), "{text}");
    }

    #[test]
    fn a_failure_says_whose_fault_it_is_and_what_to_do_next() {
        let cases = [
            (
                Failure::new(Phase::Connect, "connection refused"),
                "cannot connect to the collector: connection refused; check that it runs and \
                 listens at the endpoint",
            ),
            (
                Failure::answer(Status::Http(401), ""),
                "the collector answered with status 401; check the credentials in the configured \
                 headers",
            ),
            (
                Failure::answer(Status::Http(400), "bad span"),
                "the collector answered with status 400: bad span; the collector does not accept \
                 this data: see its log",
            ),
            (
                Failure::answer(Status::Grpc(16), "no token"),
                "the collector answered with status UNAUTHENTICATED (16): no token; check the \
                 credentials in the configured headers",
            ),
            (
                Failure::answer(Status::Grpc(11), "message length too large"),
                "the collector answered with status OUT_OF_RANGE (11): message length too large; \
                 the collector is overloaded, or the request is too large for it",
            ),
            (
                Failure {
                    status: Some(Status::Grpc(14)),
                    ..Failure::new(Phase::Protocol, "frame with invalid size")
                },
                "the collector's answer is not acceptable gRPC: frame with invalid size; check \
                 that the endpoint is an OTLP/gRPC port, not HTTP/1.1 or TLS",
            ),
        ];
        for (failure, text) in cases {
            assert_eq!(failure.describe(Signal::Traces), text);
        }
    }
}
