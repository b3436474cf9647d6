//! What a receiver answers: bytes of a stranger, read tolerantly.

mod json;

use std::time::Duration;

use super::fields::{export_response, partial_success, rpc_status};
use super::read::{Fields, Malformed, Value};

/// `partial_success` of an `Export*ServiceResponse`. The default means full success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartialSuccess {
    /// How many records the receiver did not take; a stranger's number, possibly negative.
    pub(crate) rejected: i64,
    /// Why, or a warning if nothing was rejected; at most [`MESSAGE_BYTES_MAX`] bytes.
    pub(crate) message: String,
}

/// `google.rpc.Status`, the body of an OTLP/HTTP error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RpcStatus {
    /// A `google.rpc.Code`; 0 if the receiver omitted it, as OTLP/HTTP allows.
    pub(crate) code: i32,
    /// What the developer should know; at most [`MESSAGE_BYTES_MAX`] bytes.
    pub(crate) message: String,
    /// The wait that a `google.rpc.RetryInfo` among the details asks for.
    #[cfg_attr(not(feature = "grpc"), allow(dead_code, reason = "OTLP/HTTP has Retry-After"))]
    pub(crate) retry_delay: Option<Duration>,
}

impl PartialSuccess {
    /// Reads the body of a successful response; of traces, logs or metrics, which differ in
    /// names only.
    ///
    /// # Errors
    /// The body is not a protobuf message. (The request was successful nevertheless.)
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for field in Fields::new(body) {
            if let (export_response::PARTIAL_SUCCESS, Value::Len(message)) = field? {
                // A field given twice is merged.
                read.merge(message)?;
            }
        }
        Ok(read)
    }

    fn merge(&mut self, message: &[u8]) -> Result<(), Malformed> {
        for field in Fields::new(message) {
            match field? {
                (partial_success::REJECTED, Value::Varint(count)) => self.rejected = count as i64,
                (partial_success::ERROR_MESSAGE, Value::Len(text)) => self.message = lossy(text),
                _ => {}
            }
        }
        Ok(())
    }
}

impl RpcStatus {
    /// Reads the body of a failed response.
    ///
    /// # Errors
    /// The body is not a protobuf message: proxies answer in HTML.
    pub(crate) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut read = Self::default();
        for field in Fields::new(body) {
            match field? {
                // An int32 on the wire is a 64-bit varint of which the low half counts.
                (rpc_status::CODE, Value::Varint(code)) => read.code = code as i32,
                (rpc_status::MESSAGE, Value::Len(text)) => read.message = lossy(text),
                (rpc_status::DETAILS, Value::Len(any)) => {
                    read.retry_delay = read.retry_delay.or(retry_info(any)?);
                }
                _ => {}
            }
        }
        Ok(read)
    }
}

/// The delay of a `google.protobuf.Any`, if a `RetryInfo` is in it. One that names no delay asks
/// for none.
fn retry_info(any: &[u8]) -> Result<Option<Duration>, Malformed> {
    let (mut is_retry_info, mut info): (bool, &[u8]) = (false, &[]);
    for field in Fields::new(any) {
        match field? {
            // What stands before the last slash is nobody's concern.
            (rpc_status::ANY_TYPE_URL, Value::Len(url)) => {
                is_retry_info = url.rsplit(|byte| *byte == b'/').next() == Some(RETRY_INFO);
            }
            (rpc_status::ANY_VALUE, Value::Len(value)) => info = value,
            _ => {}
        }
    }
    if !is_retry_info {
        return Ok(None);
    }
    let mut delay = Duration::ZERO;
    for field in Fields::new(info) {
        if let (rpc_status::RETRY_INFO_DELAY, Value::Len(message)) = field? {
            delay = duration(message)?;
        }
    }
    Ok(Some(delay))
}

/// A `google.protobuf.Duration`; a negative one is none.
fn duration(message: &[u8]) -> Result<Duration, Malformed> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    for field in Fields::new(message) {
        match field? {
            (rpc_status::DURATION_SECONDS, Value::Varint(count)) => seconds = count as i64,
            (rpc_status::DURATION_NANOS, Value::Varint(count)) => nanos = count as i32,
            _ => {}
        }
    }
    let seconds = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Ok(seconds.saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))))
}

/// Text for a diagnostic: the first [`MESSAGE_BYTES_MAX`] bytes, what is not UTF-8 replaced.
fn lossy(text: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(&text[..text.len().min(MESSAGE_BYTES_MAX)]).into_owned();
    // A replacement character has three bytes and may stand for a single one.
    while text.len() > MESSAGE_BYTES_MAX {
        text.pop();
    }
    text
}

/// The full name of the message that asks for a wait (googleapis, google/rpc/error_details.proto).
const RETRY_INFO: &[u8] = b"google.rpc.RetryInfo";
/// Longer messages are cut: they go to a log, not to a reader.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceResponse,
    };
    use proptest::prelude::*;
    use prost::Message;

    fn response(rejected_spans: i64, error_message: &str) -> ExportTraceServiceResponse {
        let error_message = error_message.to_owned();
        let partial = ExportTracePartialSuccess { rejected_spans, error_message };
        ExportTraceServiceResponse { partial_success: Some(partial) }
    }

    #[test]
    fn an_empty_body_is_full_success() {
        assert_eq!(PartialSuccess::read(&[]), Ok(PartialSuccess::default()));
        let explicit = response(0, "").encode_to_vec();
        assert_eq!(PartialSuccess::read(&explicit), Ok(PartialSuccess::default()));
    }

    #[test]
    fn text_that_is_not_utf8_is_kept_readable() {
        let body = [0x12, 3, b'a', 0xff, b'b'];
        assert_eq!(RpcStatus::read(&body).unwrap().message, "a\u{fffd}b");
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        for (text, kept) in [("é", 1024), ("x", 1024), ("€", 1023), ("\u{10348}", 1024)] {
            let long = response(1, &text.repeat(MESSAGE_BYTES_MAX)).encode_to_vec();
            let read = PartialSuccess::read(&long).unwrap();
            assert_eq!(read.message.len(), kept, "{text}");
            assert!(read.message.trim_end_matches(text).len() <= 3, "{text}");
        }
        let invalid = [&[0x12, 0x80, 0x10][..], &[0xff; 2048]].concat();
        assert!(RpcStatus::read(&invalid).unwrap().message.len() <= MESSAGE_BYTES_MAX);
    }

    #[test]
    fn html_is_an_error_and_not_a_status() {
        assert!(RpcStatus::read(b"<html><body>502 Bad Gateway</body></html>").is_err());
    }

    /// `google.rpc.Status` with one detail of this type.
    fn detailed(type_url: &str, detail: &[u8]) -> Vec<u8> {
        let len = |tag: u8, bytes: &[u8]| [&[tag, bytes.len() as u8], bytes].concat();
        let any = [len(0x0a, type_url.as_bytes()), len(0x12, detail)].concat();
        [&[8, 14][..], &len(0x1a, &any)].concat()
    }

    fn delay_of(detail: &[u8]) -> Option<Duration> {
        let body = detailed("type.googleapis.com/google.rpc.RetryInfo", detail);
        RpcStatus::read(&body).unwrap().retry_delay
    }

    #[test]
    fn a_retry_info_among_the_details_is_found_and_its_delay_read() {
        assert_eq!(delay_of(&[0x0a, 2, 8, 30]), Some(Duration::from_secs(30)));
        assert_eq!(delay_of(&[0x0a, 2, 0x10, 7]), Some(Duration::from_nanos(7)));
        assert_eq!(delay_of(&[0x0a, 4, 8, 1, 0x10, 7]), Some(Duration::new(1, 7)));
        assert_eq!(delay_of(&[]), Some(Duration::ZERO));
        let negative = [&[0x0a, 11, 8][..], &[0xff; 9], &[1]].concat();
        assert_eq!(delay_of(&negative), Some(Duration::ZERO));
        let other = detailed("type.googleapis.com/google.rpc.QuotaFailure", &[0x0a, 2, 8, 30]);
        assert_eq!(RpcStatus::read(&other).unwrap().retry_delay, None);
        assert_eq!(RpcStatus::read(&[8, 14]).unwrap().retry_delay, None);
    }

    #[test]
    fn a_negative_code_is_sign_extended_on_the_wire() {
        let body = [&[8][..], &[0xff; 9], &[1]].concat();
        assert_eq!(RpcStatus::read(&body).unwrap().code, -1);
    }

    /// Bytes that are nearly a response: fields of both messages, in any order, some unknown.
    fn nearly_a_response() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            (any::<i64>(), ".{0,8}")
                .prop_map(|(count, text)| response(count, &text).encode_to_vec()),
            Just(vec![0x18, 5]),
            Just(vec![0x22, 2, 9, 9]),
            Just(vec![0x2b, 0x08, 1, 0x2c]),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_prost_reads_is_read_alike(body in nearly_a_response()) {
            if let Ok(theirs) = ExportTraceServiceResponse::decode(&*body) {
                let theirs = theirs.partial_success.unwrap_or_default();
                let expected = PartialSuccess {
                    rejected: theirs.rejected_spans,
                    message: theirs.error_message,
                };
                prop_assert_eq!(PartialSuccess::read(&body), Ok(expected));
            }
        }

        #[test]
        fn a_response_survives_the_round_trip(rejected in any::<i64>(), message in ".{0,40}") {
            let read = PartialSuccess::read(&response(rejected, &message).encode_to_vec());
            prop_assert_eq!(read, Ok(PartialSuccess { rejected, message }));
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = PartialSuccess::read(&bytes);
            let _ = RpcStatus::read(&bytes);
        }
    }
}
