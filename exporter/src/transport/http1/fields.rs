//! What the header fields of a response say about its body and its connection (RFC 9112).

use super::response::{CloseReason, ResponseError};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body.
    Empty,
    /// This many bytes; more than 0.
    Length(u64),
    /// Transfer-Encoding: chunked.
    Chunked,
    /// The connection ends with the body.
    UntilClose,
}

/// Decides the framing by RFC 9112, section 6.3, for a response to a POST.
///
/// Stricter than the RFC where being lenient invites smuggling: a length beside a transfer
/// coding, and a transfer coding in HTTP/1.0, are errors.
pub(super) fn framing(head: &httparse::Response<'_, '_>) -> Result<Framing, ResponseError> {
    if matches!(head.code, Some(204 | 304)) {
        return Ok(Framing::Empty);
    }
    let length = content_length(head)?;
    match (is_chunked(head)?, length) {
        (true, Some(_)) => Err(ResponseError::Framing("content-length beside transfer-encoding")),
        (true, None) if head.version == Some(0) => {
            Err(ResponseError::Framing("transfer-encoding in HTTP/1.0"))
        }
        (true, None) => Ok(Framing::Chunked),
        (false, Some(0)) => Ok(Framing::Empty),
        (false, Some(length)) => Ok(Framing::Length(length)),
        (false, None) => Ok(Framing::UntilClose),
    }
}

/// Why the connection cannot be used again, as far as the head tells (RFC 9112, section 9.3).
pub(super) fn close_reason(head: &httparse::Response<'_, '_>) -> Option<CloseReason> {
    let says = |token: &[u8]| list(head, "connection").any(|item| item.eq_ignore_ascii_case(token));
    if says(b"close") {
        return Some(CloseReason::Asked);
    }
    (head.version == Some(0) && !says(b"keep-alive")).then_some(CloseReason::Http10)
}

/// The first value of `name`.
pub(super) fn first(head: &httparse::Response<'_, '_>, name: &str) -> Option<Vec<u8>> {
    values(head, name).next().map(<[u8]>::to_vec)
}

/// The length that all Content-Length values agree on (RFC 9110, section 8.6).
fn content_length(head: &httparse::Response<'_, '_>) -> Result<Option<u64>, ResponseError> {
    let mut agreed = None;
    for item in list(head, "content-length") {
        let length = digits(item).ok_or(ResponseError::Framing("malformed content-length"))?;
        if agreed.is_some_and(|other| other != length) {
            return Err(ResponseError::Framing("contradictory content-length"));
        }
        agreed = Some(length);
    }
    Ok(agreed)
}

/// Whether the body is chunked. Any other coding is an error: none was offered.
fn is_chunked(head: &httparse::Response<'_, '_>) -> Result<bool, ResponseError> {
    let mut codings = list(head, "transfer-encoding");
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(only), None) if only.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(ResponseError::Framing("transfer-encoding other than chunked")),
    }
}

fn digits(item: &[u8]) -> Option<u64> {
    if item.is_empty() || !item.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(item).ok()?.parse().ok()
}

/// The comma-separated items of all values of `name`, trimmed. An empty value is one empty item.
fn list<'a>(
    head: &'a httparse::Response<'_, '_>,
    name: &'static str,
) -> impl Iterator<Item = &'a [u8]> {
    values(head, name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn values<'a>(head: &'a httparse::Response<'_, '_>, name: &str) -> impl Iterator<Item = &'a [u8]> {
    head.headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}
