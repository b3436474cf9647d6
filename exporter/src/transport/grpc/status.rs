//! What a gRPC answer says of itself: `grpc-status`, `grpc-message`, `grpc-status-details-bin`.
//!
//! Bytes of a stranger, read tolerantly: what cannot be read is left out, nothing fails.
//!
//! Source: grpc, doc/PROTOCOL-HTTP2.md, "Responses".

use std::time::Duration;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use percent_encoding::percent_decode;

use crate::transport::verdict::{RETRY_AFTER_MAX, one_line};
use crate::wire::response::{MESSAGE_BYTES_MAX, RpcStatus};

/// The status in the trailers of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RpcAnswer {
    /// One of the 17 codes.
    pub(super) code: u8,
    /// What the developer should know, on one line; at most [`MESSAGE_BYTES_MAX`] bytes.
    pub(super) message: String,
    /// The wait that a `RetryInfo` asks for, at most a day.
    pub(super) retry_delay: Option<Duration>,
}

impl RpcAnswer {
    /// Reads the status from trailers, or from the headers of an answer that is nothing else;
    /// none if there is no `grpc-status`.
    pub(super) fn read(fields: &HeaderMap) -> Option<Self> {
        let code = code_of(fields.get("grpc-status")?.as_bytes());
        let details =
            fields.get("grpc-status-details-bin").and_then(|value| decode(value.as_bytes()));
        let details = details.and_then(|bytes| RpcStatus::read(&bytes).ok()).unwrap_or_default();
        let message = fields.get("grpc-message").map(|value| text_of(value.as_bytes()));
        let message = message.filter(|text| !text.is_empty()).unwrap_or(details.message);
        Some(Self {
            code,
            message: one_line(&message),
            retry_delay: details.retry_delay.map(|delay| delay.min(RETRY_AFTER_MAX)),
        })
    }
}

/// Whether `value` may be that of a header whose name ends with `-bin`.
pub(super) fn is_binary_value(value: &[u8]) -> bool {
    decode(value).is_some()
}

/// The decimal number of a code; what is none of the codes is UNKNOWN.
fn code_of(digits: &[u8]) -> u8 {
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.filter(|code| *code <= code::UNAUTHENTICATED).unwrap_or(code::UNKNOWN)
}

/// A percent-encoded message; what is no UTF-8 is replaced.
fn text_of(value: &[u8]) -> String {
    let value = &value[..value.len().min(MESSAGE_BYTES_MAX)];
    percent_decode(value).decode_utf8_lossy().into_owned()
}

/// Base64, padded or not. A field given twice is joined by a comma; the first one counts.
fn decode(value: &[u8]) -> Option<Vec<u8>> {
    let first = value.split(|byte| *byte == b',').next()?.trim_ascii();
    BASE64.decode(first).ok()
}

/// Peers pad or do not, and some leave bits behind (the specification asks to accept both).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The codes (grpc, doc/statuscodes.md).
pub(super) mod code {
    pub(in super::super) const OK: u8 = 0;
    pub(in super::super) const CANCELLED: u8 = 1;
    pub(in super::super) const UNKNOWN: u8 = 2;
    pub(in super::super) const DEADLINE_EXCEEDED: u8 = 4;
    pub(in super::super) const PERMISSION_DENIED: u8 = 7;
    pub(in super::super) const RESOURCE_EXHAUSTED: u8 = 8;
    pub(in super::super) const ABORTED: u8 = 10;
    pub(in super::super) const OUT_OF_RANGE: u8 = 11;
    pub(in super::super) const UNIMPLEMENTED: u8 = 12;
    pub(in super::super) const INTERNAL: u8 = 13;
    pub(in super::super) const UNAVAILABLE: u8 = 14;
    pub(in super::super) const DATA_LOSS: u8 = 15;
    pub(in super::super) const UNAUTHENTICATED: u8 = 16;
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn read(fields: &[(&'static str, &[u8])]) -> Option<RpcAnswer> {
        let fields = fields.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
        });
        RpcAnswer::read(&fields.collect())
    }

    /// `Status { code: 14, message: "busy", details: [RetryInfo { retry_delay: 30 s }] }`.
    const DETAILS: &[u8] =
        b"CA4SBGJ1c3kaMAoodHlwZS5nb29nbGVhcGlzLmNvbS9nb29nbGUucnBjLlJldHJ5SW5mbxIECgIIHg";

    #[test]
    fn a_code_is_a_decimal_number_and_anything_else_is_unknown() {
        for (value, code) in
            [("0", 0), ("14", 14), ("16", 16), ("17", 2), ("-1", 2), ("", 2), ("OK", 2), ("256", 2)]
        {
            assert_eq!(read(&[("grpc-status", value.as_bytes())]).unwrap().code, code, "{value}");
        }
        assert_eq!(read(&[("grpc-message", b"no status")]), None);
    }

    #[test]
    fn a_message_is_percent_decoded_and_never_fails() {
        for (value, text) in [
            (&b"caf%C3%A9 100%25"[..], "caf\u{e9} 100%"),
            (b"50% off %zz %", "50% off %zz %"),
            (b"%ff", "\u{fffd}"),
            (b"two%0Alines", "two lines"),
        ] {
            let answer = read(&[("grpc-status", b"3"), ("grpc-message", value)]).unwrap();
            assert_eq!(answer.message, text);
        }
    }

    #[test]
    fn a_message_has_an_end_in_whatever_field_it_comes() {
        let message = b"%ff".repeat(MESSAGE_BYTES_MAX);
        let answer = read(&[("grpc-status", b"3"), ("grpc-message", &message)]).unwrap();
        assert!((1..=MESSAGE_BYTES_MAX).contains(&answer.message.len()));
        let answer = read(&[("grpc-status", b"3"), ("grpc-message", &[0xff; 4096])]).unwrap();
        assert!((1..=MESSAGE_BYTES_MAX).contains(&answer.message.len()));
    }

    #[test]
    fn details_are_read_padded_and_unpadded() {
        for padding in [&b""[..], b"=", b"=="] {
            let value = [DETAILS, padding].concat();
            let answer =
                read(&[("grpc-status", b"14"), ("grpc-status-details-bin", &value)]).unwrap();
            let is_valid = padding.is_empty() || value.len().is_multiple_of(4);
            let delay = answer.retry_delay;
            assert!(delay == Some(Duration::from_secs(30)) || !is_valid, "{padding:?}: {delay:?}");
        }
        let answer = read(&[("grpc-status", b"14"), ("grpc-status-details-bin", DETAILS)]).unwrap();
        assert_eq!((answer.message.as_str(), answer.code), ("busy", 14));
        let fields: &[(&str, &[u8])] = &[
            ("grpc-status", b"14"),
            ("grpc-message", b"wins"),
            ("grpc-status-details-bin", DETAILS),
        ];
        assert_eq!(read(fields).unwrap().message, "wins");
    }

    #[test]
    fn unreadable_details_are_left_out() {
        for value in [&b"!!!"[..], b"", b"////", b"CA4"] {
            let answer =
                read(&[("grpc-status", b"8"), ("grpc-status-details-bin", value)]).unwrap();
            assert_eq!((answer.code, answer.retry_delay), (8, None));
        }
    }

    proptest! {
        #[test]
        fn arbitrary_fields_do_no_harm(
            status in "[ -~]{0,4}",
            message in prop::collection::vec(0x20_u8..0x7f, 0..80),
            details in "[A-Za-z0-9+/=,]{0,80}",
        ) {
            let read = read(&[
                ("grpc-status", status.as_bytes()),
                ("grpc-message", &message),
                ("grpc-status-details-bin", details.as_bytes()),
            ]);
            prop_assert!(read.unwrap().code <= 16);
        }
    }
}
