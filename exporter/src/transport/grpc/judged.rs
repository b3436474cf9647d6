//! For the fuzz target: an answer in the bytes of a stranger, and what is made of it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::client::coding_of;
use super::frame::MessageReader;
use super::status::RpcAnswer;
use super::verdict::{Answer, Cut, judge, judge_cut};
use crate::model::Outcome;

/// What became of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The peer took it.
    Delivered {
        /// Records that it did not keep.
        rejected: u64,
    },
    /// It is sent again.
    Retry {
        /// Not before.
        not_before: Option<Duration>,
    },
    /// It is dropped.
    Refused,
}

/// Judges an answer to a request with `sent` records whose message may have `bytes_max` bytes.
/// Fields that HTTP/2 would not let through are left out.
pub fn judge_answer(
    http_status: u16,
    fields: &[(&[u8], &[u8])],
    pieces: &[&[u8]],
    bytes_max: usize,
    sent: u64,
) -> Judged {
    let fields: HeaderMap = fields
        .iter()
        .filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?))
        })
        .collect();
    let mut reader = MessageReader::new(bytes_max);
    let fed = pieces.iter().try_for_each(|piece| reader.feed(piece));
    let outcome = match fed {
        Err(error) => judge_cut(Cut::Message(error)),
        Ok(()) => {
            let (status, message) = (RpcAnswer::read(&fields), reader.finish(coding_of(&fields)));
            judge(Answer { http_status, is_grpc: true, status, message }, sent)
        }
    };
    match outcome {
        Outcome::Delivered { rejected, .. } => Judged::Delivered { rejected },
        Outcome::Retry { not_before, .. } => Judged::Retry { not_before },
        Outcome::Refused { .. } => Judged::Refused,
    }
}
