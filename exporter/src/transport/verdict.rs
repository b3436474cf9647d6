//! What an answer means: the OTLP/HTTP rules H6 to H15 as pure functions.
//!
//! | answer | meaning |
//! |---|---|
//! | any 2xx | delivered; `partial_success` in its body says what was not kept |
//! | 429, 502, 503, 504 | try again, not before `Retry-After` |
//! | any other | refused: sending it again is forbidden (H9), redirects are not followed |
//! | a 2xx head, then nothing, or a body above the limit | delivered: the peer has taken the request |
//! | any other head, then a body above the limit | refused: such an answer is not retryable (H6) |
//! | no head | try again: whether the peer took it is unknown |
//! | what is no head of HTTP/1.x, or one above the limit | refused: the next one would be the same |
//!
//! Source: opentelemetry-proto, docs/specification.md, "OTLP/HTTP Response".

use std::io;
use std::time::{Duration, SystemTime};

use super::http1::{Response, ResponseError};
#[cfg(feature = "tls")]
use super::tls::TlsError;
use crate::model::{Failure, Outcome, Phase, Status};
use crate::wire::response::{MESSAGE_BYTES_MAX, PartialSuccess, RpcStatus};

/// Why an answer did not come whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The connection was lost; in the operating system's words.
    Lost(String),
    /// TLS has ended it; in words for the user.
    #[cfg(feature = "tls")]
    Insecure(String),
    /// The attempt's time was up; what it was busy with.
    TimedOut(&'static str),
    /// What came is no acceptable response.
    Broken(ResponseError),
}

/// What a whole answer to a request with `sent` records means at `now`.
pub(crate) fn judge(response: &Response, sent: u64, now: SystemTime) -> Outcome {
    match response.status {
        200..=299 => delivered(response, sent),
        429 | 502..=504 => Outcome::Retry {
            not_before: response.retry_after.as_deref().and_then(|value| wait(value, now)),
            why: Failure::answer(Status::Http(response.status), error_text(response)),
        },
        status => Outcome::Refused { why: refusal(status, error_text(response)) },
    }
}

/// Why a request was refused. 415 is what RFC 7694 wants a peer to say of a content coding that it
/// does not know; it may mean the type of the body, too, so it counts for encoded ones only.
fn refusal(status: u16, message: String) -> Failure {
    Failure { refuses_encoding: status == 415, ..Failure::answer(Status::Http(status), message) }
}

/// What an answer means that was cut; `partial` is what is known of it, if its head had come.
pub(crate) fn judge_cut(
    cut: &Cut,
    partial: Option<Response>,
    sent: u64,
    now: SystemTime,
) -> Outcome {
    let Some(mut response) = partial else { return judge_headless(cut) };
    let is_success = matches!(response.status, 200..=299);
    if !is_success && *cut == Cut::Broken(ResponseError::BodyTooLarge) {
        // H6: not retryable, even where the status is.
        let status = Some(Status::Http(response.status));
        let why = Failure { status, ..broken(ResponseError::BodyTooLarge) };
        return Outcome::Refused { why };
    }
    // Half a message says nothing; the status says enough.
    response.body.clear();
    match judge(&response, sent, now) {
        Outcome::Delivered { rejected, status, .. } => {
            let text =
                format!("the collector took the data, but its answer was cut: {}", cut.text());
            Outcome::Delivered { rejected, warning: Some(text), status }
        }
        other => other,
    }
}

/// For the fuzz target, which knows no outcomes: how many of `sent` records were rejected, if
/// `response` means that the request was delivered.
#[cfg(feature = "internals")]
pub fn rejected_by(response: &Response, sent: u64) -> Option<u64> {
    match judge(response, sent, SystemTime::UNIX_EPOCH) {
        Outcome::Delivered { rejected, .. } => Some(rejected),
        _ => None,
    }
}

/// For the fuzz target: the wait that a `Retry-After` of `value` asks for at `now`.
#[cfg(feature = "internals")]
pub fn retry_after(value: &[u8], now: SystemTime) -> Option<Duration> {
    wait(value, now)
}

fn judge_headless(cut: &Cut) -> Outcome {
    match cut {
        Cut::Lost(_) | Cut::Broken(ResponseError::Truncated) => {
            Outcome::retry(Failure::new(Phase::Exchange, cut.text()))
        }
        #[cfg(feature = "tls")]
        Cut::Insecure(_) => Outcome::retry(Failure::new(Phase::Tls, cut.text())),
        Cut::TimedOut(_) => Outcome::retry(Failure::new(Phase::Timeout, cut.text())),
        Cut::Broken(error) => Outcome::Refused { why: broken(*error) },
    }
}

fn broken(error: ResponseError) -> Failure {
    Failure::new(Phase::Protocol, error.to_string())
}

impl Cut {
    /// The connection was lost with `error`.
    pub(crate) fn lost(error: &io::Error) -> Self {
        #[cfg(feature = "tls")]
        if TlsError::is(error) {
            return Self::Insecure(error.to_string());
        }
        Self::Lost(error.to_string())
    }

    fn text(&self) -> String {
        match self {
            Self::Lost(message) => message.clone(),
            #[cfg(feature = "tls")]
            Self::Insecure(message) => message.clone(),
            Self::TimedOut(busy_with) => format!("time was up while {busy_with}"),
            Self::Broken(error) => error.to_string(),
        }
    }
}

/// A success, with what its body says. An empty body is full success, an unreadable one too.
fn delivered(response: &Response, sent: u64) -> Outcome {
    let status = Some(Status::Http(response.status));
    if response.body.is_empty() {
        return Outcome::Delivered { rejected: 0, warning: None, status };
    }
    let Some(partial) = partial_success(response) else {
        return Outcome::Delivered { rejected: 0, warning: Some(unreadable(response)), status };
    };
    taken(&partial, sent, status)
}

/// A success whose answer says `partial`.
pub(super) fn taken(partial: &PartialSuccess, sent: u64, status: Option<Status>) -> Outcome {
    // A peer can reject no more than it was sent, and not less than nothing.
    let rejected = u64::try_from(partial.rejected).unwrap_or(0).min(sent);
    let message = one_line(&partial.message);
    let warning = match (rejected, message.is_empty()) {
        (0, true) => None,
        (0, false) => Some(format!("the collector remarks: {message}")),
        (_, true) => Some(format!("the collector rejected {rejected} of {sent} records")),
        (_, false) => {
            Some(format!("the collector rejected {rejected} of {sent} records: {message}"))
        }
    };
    Outcome::Delivered { rejected, warning, status }
}

/// What is said of a success whose body is not what it should be.
fn unreadable(response: &Response) -> String {
    let answered = format!("the collector answered {}", response.status);
    match &response.content_encoding {
        None => format!("{answered} with a body that is no OTLP message"),
        Some(coding) => {
            let coding = &coding[..coding.len().min(CODING_BYTES_MAX)];
            let coding = one_line(&String::from_utf8_lossy(coding));
            format!("{answered} with a body encoded as {coding}, which nobody asked for")
        }
    }
}

/// What the body of an error says: a `google.rpc.Status` (H8), or the text of a proxy.
fn error_text(response: &Response) -> String {
    match rpc_status(response) {
        Some(status) => one_line(&status.message),
        // Nobody can read it.
        None if response.content_encoding.is_some() => String::new(),
        None => {
            let start = &response.body[..response.body.len().min(TEXT_BYTES_MAX)];
            one_line(&String::from_utf8_lossy(start))
        }
    }
}

fn partial_success(response: &Response) -> Option<PartialSuccess> {
    match form(response)? {
        Form::Protobuf => PartialSuccess::read(&response.body).ok(),
        Form::Json => PartialSuccess::read_json(&response.body).ok(),
    }
}

fn rpc_status(response: &Response) -> Option<RpcStatus> {
    match form(response)? {
        Form::Protobuf => RpcStatus::read(&response.body).ok(),
        Form::Json => RpcStatus::read_json(&response.body).ok(),
    }
}

/// How a body is to be read.
#[derive(Clone, Copy)]
enum Form {
    Protobuf,
    Json,
}

/// The form of a body, by its type: a peer should answer in the form of the request (H7), but what
/// it says of its answer is believed. None if it is of another type, or encoded.
fn form(response: &Response) -> Option<Form> {
    if response.content_encoding.is_some() {
        return None;
    }
    let Some(value) = &response.content_type else {
        // No message of protobuf begins like an object of JSON: it would be a group.
        let is_json = response.body.trim_ascii_start().starts_with(b"{");
        return Some(if is_json { Form::Json } else { Form::Protobuf });
    };
    let kind = value.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let known = TYPES.iter().find(|(name, _)| kind.eq_ignore_ascii_case(name.as_bytes()));
    known.map(|(_, form)| *form)
}

/// The start of `text`, at most [`MESSAGE_BYTES_MAX`] bytes, without line breaks and other control
/// characters: it goes into somebody's log, and a stranger decides what it is.
pub(super) fn one_line(text: &str) -> String {
    let text = start_of(text.trim(), MESSAGE_BYTES_MAX);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The start of `text`, at most `bytes_max` long, that ends with a whole character.
pub(super) fn start_of(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    // A character has at most four bytes.
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The wait that a `Retry-After` asks for: seconds or a date (RFC 9110, section 10.2.3).
fn wait(value: &[u8], now: SystemTime) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?.trim();
    let asked = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that no u64 holds mean a very long time too.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let at = httpdate::parse_http_date(value).ok()?;
        at.duration_since(now).unwrap_or(Duration::ZERO)
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

/// No `Retry-After` is believed beyond this. A longer one is a mistake, and would silence an
/// exporter without a retry budget.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest piece of a body that is not protobuf in a diagnostic.
const TEXT_BYTES_MAX: usize = 256;
/// Longest name of a content coding in a diagnostic.
const CODING_BYTES_MAX: usize = 32;
/// Content types that are understood: those of OTLP (H3), and the registered one of protobuf.
const TYPES: [(&str, Form); 3] = [
    ("application/x-protobuf", Form::Protobuf),
    ("application/protobuf", Form::Protobuf),
    ("application/json", Form::Json),
];

#[cfg(test)]
mod tests;
