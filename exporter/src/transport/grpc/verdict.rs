//! What a gRPC answer means: the OTLP/gRPC rules G3 to G9 as pure functions.
//!
//! | answer | meaning |
//! |---|---|
//! | status OK | delivered; `partial_success` in its message says what was not kept |
//! | CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS | try again, not before the delay of a `RetryInfo` |
//! | RESOURCE_EXHAUSTED with a `RetryInfo` | likewise; without one it is final |
//! | any other status | refused |
//! | no status | the HTTP status stands for one |
//! | a message above the limit | refused (G3), whatever would have followed |
//! | the stream was reset | the reason of the reset stands for a status |
//! | the connection was lost, or its peer goes away | UNAVAILABLE: try again |
//! | the time is up | DEADLINE_EXCEEDED: try again |
//!
//! Sources: opentelemetry-proto, docs/specification.md, "OTLP/gRPC Response"; grpc,
//! doc/http-grpc-status-mapping.md and doc/PROTOCOL-HTTP2.md, "Errors".

use super::frame::MessageError;
use super::status::{RpcAnswer, code};
use crate::model::{Failure, Outcome, Phase, Status};
use crate::transport::verdict::{one_line, taken};
use crate::wire::response::PartialSuccess;

/// A whole answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The HTTP status.
    pub(super) http_status: u16,
    /// Whether its content is said to be gRPC's.
    pub(super) is_grpc: bool,
    /// What its trailers say, or its headers if it has nothing else.
    pub(super) status: Option<RpcAnswer>,
    /// Its message, if it has one.
    pub(super) message: Result<Option<Vec<u8>>, MessageError>,
}

/// Why no whole answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The peer has reset the stream, with this code of HTTP/2.
    Reset(u32),
    /// The peer broke a rule of HTTP/2 in the answer itself.
    Malformed(String),
    /// The peer broke a rule of HTTP/2 for the whole connection; or speaks something else.
    Protocol(String),
    /// The connection was lost, or its peer goes away; in somebody's words.
    Lost(String),
    /// The attempt's time was up; what it was busy with.
    TimedOut(&'static str),
    /// The message of the answer is none, or above the limit.
    Message(MessageError),
}

/// What a whole answer to a request with `sent` records means.
pub(super) fn judge(answer: Answer, sent: u64) -> Outcome {
    let Some(status) = answer.status else {
        return of_http(answer.http_status, answer.is_grpc);
    };
    match status.code {
        code::OK => delivered(answer.message, sent),
        _ => judge_status(status),
    }
}

/// What it means that no whole answer came.
pub(super) fn judge_cut(cut: Cut) -> Outcome {
    match cut {
        Cut::Reset(reason) => judge_status(RpcAnswer {
            code: code_of_reset(reason),
            message: format!("the stream was reset: {}", reason_name(reason)),
            retry_delay: None,
        }),
        Cut::Malformed(text) => refused(Phase::Protocol, code::INTERNAL, text),
        Cut::Protocol(text) => retry(Phase::Protocol, code::UNAVAILABLE, text),
        Cut::Lost(text) => retry(Phase::Exchange, code::UNAVAILABLE, text),
        Cut::TimedOut(busy_with) => {
            let text = format!("time was up while {busy_with}");
            retry(Phase::Timeout, code::DEADLINE_EXCEEDED, text)
        }
        Cut::Message(MessageError::TooLarge) => {
            refused(Phase::Protocol, code::RESOURCE_EXHAUSTED, MessageError::TooLarge.to_string())
        }
        Cut::Message(error) => refused(Phase::Protocol, code::INTERNAL, error.to_string()),
    }
}

/// A status other than OK.
fn judge_status(status: RpcAnswer) -> Outcome {
    let why = Failure {
        // Of a message in a coding that the peer has not, gRPC says the same as of a call.
        refuses_encoding: status.code == code::UNIMPLEMENTED,
        ..Failure::answer(Status::Grpc(status.code), status.message)
    };
    let may_be_retried = match status.code {
        code::CANCELLED
        | code::DEADLINE_EXCEEDED
        | code::ABORTED
        | code::OUT_OF_RANGE
        | code::UNAVAILABLE
        | code::DATA_LOSS => true,
        // Without a RetryInfo the request itself may be too large (G7).
        code::RESOURCE_EXHAUSTED => status.retry_delay.is_some(),
        _ => false,
    };
    match may_be_retried {
        true => Outcome::Retry { not_before: status.retry_delay, why },
        false => Outcome::Refused { why },
    }
}

/// A success, with what its message says. One without a message, or with one that cannot be read,
/// is a success too: the status has said so.
fn delivered(message: Result<Option<Vec<u8>>, MessageError>, sent: u64) -> Outcome {
    let status = Some(Status::Grpc(code::OK));
    let odd = |what: &str| {
        let warning = Some(format!("the collector took the data, but {what}"));
        Outcome::Delivered { rejected: 0, warning, status }
    };
    match message {
        Ok(Some(message)) => match PartialSuccess::read(&message) {
            Ok(partial) => taken(&partial, sent, status),
            Err(_) => odd("its response is no OTLP message"),
        },
        Ok(None) => odd("sent no response message"),
        Err(error) => odd(&error.to_string()),
    }
}

/// An answer that is not gRPC's: a proxy's, or of a server that speaks something else.
fn of_http(http_status: u16, is_grpc: bool) -> Outcome {
    let content = if is_grpc { "" } else { " and content that is not gRPC's" };
    let outcome = judge_status(RpcAnswer {
        code: code_of_http(http_status),
        message: format!("HTTP status {http_status} without a gRPC status{content}"),
        retry_delay: None,
    });
    match outcome {
        // It was not the peer of the call who said so: a wrong address is no opinion on codings.
        Outcome::Refused { why } => {
            Outcome::Refused { why: Failure { refuses_encoding: http_status == 415, ..why } }
        }
        other => other,
    }
}

fn code_of_http(http_status: u16) -> u8 {
    match http_status {
        400 | 431 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502..=504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    }
}

/// The code that stands for the reason of a RST_STREAM.
fn code_of_reset(reason: u32) -> u8 {
    match reason {
        REFUSED_STREAM => code::UNAVAILABLE,
        CANCEL => code::CANCELLED,
        ENHANCE_YOUR_CALM => code::RESOURCE_EXHAUSTED,
        INADEQUATE_SECURITY => code::PERMISSION_DENIED,
        _ => code::INTERNAL,
    }
}

fn reason_name(reason: u32) -> String {
    match REASONS.get(reason as usize) {
        Some(name) => (*name).to_owned(),
        None => format!("{reason:#x}"),
    }
}

fn retry(phase: Phase, code: u8, message: String) -> Outcome {
    Outcome::retry(failure(phase, code, &message))
}

fn refused(phase: Phase, code: u8, message: String) -> Outcome {
    Outcome::Refused { why: failure(phase, code, &message) }
}

fn failure(phase: Phase, code: u8, message: &str) -> Failure {
    Failure { status: Some(Status::Grpc(code)), ..Failure::new(phase, one_line(message)) }
}

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;
const INADEQUATE_SECURITY: u32 = 12;
/// Names of HTTP/2's error codes, by number (RFC 9113, section 7).
const REASONS: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

#[cfg(test)]
mod tests;
