use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;

use super::*;
use crate::wire::response::MESSAGE_BYTES_MAX;

fn answer(code: u8, retry_delay: Option<Duration>) -> Answer {
    let status = Some(RpcAnswer { code, message: "why".to_owned(), retry_delay });
    Answer { http_status: 200, is_grpc: true, status, message: Ok(None) }
}

fn success(rejected_spans: i64, error_message: &str) -> Answer {
    let error_message = error_message.to_owned();
    let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
    let message = ExportTraceServiceResponse { partial_success }.encode_to_vec();
    Answer { message: Ok(Some(message)), ..answer(code::OK, None) }
}

/// What becomes of it in a word, and the code that it has.
fn fate(outcome: &Outcome) -> (&'static str, u8) {
    let (word, status) = match outcome {
        Outcome::Delivered { status, .. } => ("delivered", *status),
        Outcome::Retry { why, .. } => ("retry", why.status),
        Outcome::Refused { why } => ("refused", why.status),
    };
    match status {
        Some(Status::Grpc(code)) => (word, code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn g7_each_status_is_retried_or_refused_by_the_table_of_the_specification() {
    let retried = [1, 4, 10, 11, 14, 15];
    for code in 1..=16 {
        let word = if retried.contains(&code) { "retry" } else { "refused" };
        assert_eq!(fate(&judge(answer(code, None), 5)), (word, code), "without RetryInfo");
        let word = if retried.contains(&code) || code == 8 { "retry" } else { "refused" };
        let asked = Some(Duration::from_secs(3));
        let outcome = judge(answer(code, asked), 5);
        assert_eq!(fate(&outcome), (word, code), "with RetryInfo");
        if let Outcome::Retry { not_before, why } = outcome {
            assert_eq!((not_before, &*why.message), (asked, "why"));
        }
    }
}

#[test]
fn g4_a_message_without_partial_success_is_full_success() {
    let full = Outcome::Delivered { rejected: 0, warning: None, status: Some(Status::Grpc(0)) };
    assert_eq!(judge(success(0, ""), 5), full);
    let empty = Answer { message: Ok(Some(vec![])), ..answer(code::OK, None) };
    assert_eq!(judge(empty, 5), full);
}

#[test]
fn g5_g6_a_partial_success_is_delivered_with_its_count_and_its_words() {
    match judge(success(3, "quota"), 5) {
        Outcome::Delivered { rejected: 3, warning: Some(text), .. } => {
            assert_eq!(text, "the collector rejected 3 of 5 records: quota");
        }
        other => panic!("{other:?}"),
    }
    match judge(success(0, "use TLS"), 5) {
        Outcome::Delivered { rejected: 0, warning: Some(text), .. } => {
            assert_eq!(text, "the collector remarks: use TLS");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_success_stays_one_without_a_readable_message() {
    for message in [Ok(None), Ok(Some(vec![0xff])), Err(MessageError::Compressed)] {
        let odd = Answer { message, ..answer(code::OK, None) };
        match judge(odd, 5) {
            Outcome::Delivered { rejected: 0, warning: Some(_), .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn wire2_without_a_grpc_status_the_http_status_stands_for_one() {
    for (http_status, expected) in [
        (200, ("refused", 2)),
        (400, ("refused", 13)),
        (401, ("refused", 16)),
        (403, ("refused", 7)),
        (404, ("refused", 12)),
        (418, ("refused", 2)),
        (429, ("retry", 14)),
        (431, ("refused", 13)),
        (500, ("refused", 2)),
        (502, ("retry", 14)),
        (503, ("retry", 14)),
        (504, ("retry", 14)),
    ] {
        for is_grpc in [true, false] {
            let bare = Answer { http_status, is_grpc, status: None, message: Ok(None) };
            assert_eq!(fate(&judge(bare, 5)), expected, "{http_status}");
        }
    }
}

#[test]
fn wire3_the_reason_of_a_reset_stands_for_a_status() {
    for reason in 0..16 {
        let expected = match reason {
            7 => ("retry", 14),
            8 => ("retry", 1),
            11 => ("refused", 8),
            12 => ("refused", 7),
            _ => ("refused", 13),
        };
        assert_eq!(fate(&judge_cut(Cut::Reset(reason))), expected, "{reason}");
    }
}

#[test]
fn what_is_lost_or_late_is_tried_again_and_what_is_no_message_is_not() {
    for (cut, expected, phase) in [
        (Cut::Lost("reset".into()), ("retry", 14), Phase::Exchange),
        (Cut::TimedOut("waiting"), ("retry", 4), Phase::Timeout),
        (Cut::Protocol("frame size".into()), ("retry", 14), Phase::Protocol),
        (Cut::Malformed("header".into()), ("refused", 13), Phase::Protocol),
        (Cut::Message(MessageError::TooLarge), ("refused", 8), Phase::Protocol),
        (Cut::Message(MessageError::Several), ("refused", 13), Phase::Protocol),
    ] {
        let outcome = judge_cut(cut);
        assert_eq!(fate(&outcome), expected);
        match outcome {
            Outcome::Retry { why, .. } | Outcome::Refused { why } => assert_eq!(why.phase, phase),
            Outcome::Delivered { .. } => unreachable!(),
        }
    }
}

#[test]
fn what_a_peer_says_when_it_goes_away_is_one_line_with_an_end() {
    // The debug data of a GOAWAY frame is in the words of h2.
    let long = format!("it goes away: ({:?})", "\n\u{e9}".repeat(8 << 10));
    for cut in [Cut::Lost(long.clone()), Cut::Protocol(long.clone()), Cut::Malformed(long)] {
        match judge_cut(cut) {
            Outcome::Retry { why, .. } | Outcome::Refused { why } => {
                assert!(why.message.len() <= MESSAGE_BYTES_MAX, "{}", why.message.len());
            }
            Outcome::Delivered { .. } => unreachable!(),
        }
    }
}
