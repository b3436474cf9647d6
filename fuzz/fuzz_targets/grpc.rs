//! What a gRPC answer means, over arbitrary fields and bytes: framing, status, details.
//!
//! Promises: no panic; the size of the pieces does not matter; a peer never rejects more records
//! than it was sent, and never asks for more than a day; only a status that the specification
//! names is retried; without a status nothing is delivered.
//!
//! The first byte of an input is the size of the pieces, the second chooses the limit. Lines
//! follow: the HTTP status, then fields, then an empty one; the rest is the body. So
//! `@0200\ngrpc-status: 0\n\n...` in a corpus file is readable.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use spanwire::internals::{Judged, judge_answer};

fuzz_target!(|input: &[u8]| {
    let [piece_bytes, limit, rest @ ..] = input else { return };
    let (head, body) = split_at_empty_line(rest);
    let mut lines = head.split(|byte| *byte == b'\n');
    let http_status = lines.next().and_then(number).unwrap_or(200);
    let fields: Vec<(&[u8], &[u8])> = lines.filter_map(field).collect();
    let bytes_max = [0, 16, 1 << 10, 4 << 20][usize::from(*limit % 4)];
    let judge = |pieces: &[&[u8]]| judge_answer(http_status, &fields, pieces, bytes_max, SENT);

    let judged = judge(&[body]);
    assert_eq!(judged, judge(&body.chunks(1).collect::<Vec<_>>()), "in single bytes");
    let pieces: Vec<_> = body.chunks(usize::from(*piece_bytes).max(1)).collect();
    assert_eq!(judged, judge(&pieces), "in pieces");
    check(&judged, http_status, &fields, body, bytes_max);
});

fn check(
    judged: &Judged,
    http_status: u16,
    fields: &[(&[u8], &[u8])],
    body: &[u8],
    bytes_max: usize,
) {
    let has_status = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"grpc-status"));
    match judged {
        Judged::Delivered { rejected } => {
            assert!(*rejected <= SENT && has_status);
            assert!(body.len() <= bytes_max.saturating_add(PREFIX_BYTES), "above the limit");
        }
        Judged::Retry { not_before } => {
            assert!(not_before.is_none_or(|wait| wait <= Duration::from_secs(24 * 60 * 60)));
            assert!(has_status || matches!(http_status, 429 | 502..=504), "{http_status}");
        }
        Judged::Refused => {}
    }
}

fn split_at_empty_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&bytes[..at], &bytes[at + 2..]),
        None => (bytes, &[]),
    }
}

fn number(digits: &[u8]) -> Option<u16> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    Some((&line[..colon], line[colon + 1..].trim_ascii()))
}

/// Records in the request that is answered.
const SENT: u64 = 10;
/// What stands before a message.
const PREFIX_BYTES: usize = 5;
