//! One test a rule; the rules are numbered in opentelemetry-proto's order, H6 to H15.

use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use proptest::prelude::*;
use prost::Message;

use super::*;

fn response(status: u16, body: &[u8]) -> Response {
    let mut response = Response::default();
    (response.status, response.body) = (status, body.to_vec());
    response
}

fn partial_success(rejected_spans: i64, error_message: &str) -> Vec<u8> {
    let error_message = error_message.to_owned();
    let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message });
    ExportTraceServiceResponse { partial_success }.encode_to_vec()
}

fn judged(response: &Response) -> Outcome {
    judge(response, 10, SystemTime::UNIX_EPOCH)
}

fn delivered_with(status: u16, rejected: u64, warning: Option<&str>) -> Outcome {
    let status = Some(Status::Http(status));
    Outcome::Delivered { rejected, warning: warning.map(str::to_owned), status }
}

#[test]
fn any_2xx_is_success_even_without_a_readable_body() {
    for status in 200..300 {
        assert_eq!(judged(&response(status, b"")), delivered_with(status, 0, None));
        let odd = judged(&response(status, b"<html>"));
        assert!(matches!(odd, Outcome::Delivered { rejected: 0, warning: Some(_), .. }), "{odd:?}");
    }
}

#[test]
fn a_body_of_another_type_is_not_read_as_protobuf() {
    let mut odd = response(200, &partial_success(5, "no"));
    odd.content_type = Some(b"application/json; charset=utf-8".to_vec());
    assert!(matches!(judged(&odd), Outcome::Delivered { rejected: 0, warning: Some(_), .. }));
    odd.content_type = Some(b"text/html".to_vec());
    assert!(matches!(judged(&odd), Outcome::Delivered { rejected: 0, warning: Some(_), .. }));
    for name in ["application/x-protobuf", "Application/Protobuf ; a=b"] {
        odd.content_type = Some(name.as_bytes().to_vec());
        assert!(matches!(judged(&odd), Outcome::Delivered { rejected: 5, .. }), "{name}");
    }
}

#[test]
fn a_partial_success_in_json_counts_by_its_type_or_without_one() {
    let body = br#" {"partialSuccess":{"rejectedSpans":"5","errorMessage":"no"}} "#;
    let mut answer = response(200, body);
    let types = [None, Some("application/json"), Some("Application/JSON; charset=utf-8")];
    for content_type in types {
        answer.content_type = content_type.map(|value| value.as_bytes().to_vec());
        let expected = delivered_with(200, 5, Some("the collector rejected 5 of 10 records: no"));
        assert_eq!(judged(&answer), expected, "{content_type:?}");
    }
    answer.content_type = Some(b"application/x-protobuf".to_vec());
    assert!(matches!(judged(&answer), Outcome::Delivered { rejected: 0, warning: Some(_), .. }));
    for body in ["{}", r#"{"partialSuccess":{}}"#, r#"{"partialSuccess":null,"more":[1]}"#] {
        let outcome = judged(&response(200, body.as_bytes()));
        assert_eq!(outcome, delivered_with(200, 0, None), "{body}");
    }
}

#[test]
fn a_body_in_a_coding_that_was_not_undone_is_not_read() {
    let mut answer = response(200, &partial_success(5, "no"));
    answer.content_encoding = Some(b"br\n".to_vec());
    let text = "the collector answered 200 with a body encoded as br, which nobody asked for";
    assert_eq!(judged(&answer), delivered_with(200, 0, Some(text)));
    answer.status = 400;
    match judged(&answer) {
        Outcome::Refused { why } => assert_eq!(why.message, ""),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_415_is_a_refusal_of_the_encoding() {
    for status in 300..600 {
        if let Outcome::Refused { why } = judged(&response(status, b"")) {
            assert_eq!(why.refuses_encoding, status == 415, "{status}");
        }
    }
}

#[test]
fn an_empty_partial_success_is_full_success() {
    assert_eq!(judged(&response(200, &partial_success(0, ""))), delivered_with(200, 0, None));
}

#[test]
fn a_partial_success_is_never_sent_again_and_its_count_is_clamped_to_what_was_sent() {
    for (claimed, rejected) in [(3, 3), (10, 10), (11, 10), (i64::MAX, 10)] {
        let text = format!("the collector rejected {rejected} of 10 records: quota");
        let outcome = judged(&response(200, &partial_success(claimed, "quota")));
        assert_eq!(outcome, delivered_with(200, rejected, Some(&text)));
    }
    for claimed in [-1, i64::MIN] {
        assert_eq!(
            judged(&response(200, &partial_success(claimed, ""))),
            delivered_with(200, 0, None)
        );
    }
}

#[test]
fn a_message_without_rejections_is_a_warning() {
    let outcome = judged(&response(202, &partial_success(0, "use\nTLS")));
    assert_eq!(outcome, delivered_with(202, 0, Some("the collector remarks: use TLS")));
}

#[test]
fn only_429_502_503_and_504_are_retried() {
    for status in 200..1000 {
        match (judged(&response(status, b"")), status) {
            (Outcome::Delivered { .. }, 200..=299) => {}
            (Outcome::Retry { not_before: None, why }, 429 | 502 | 503 | 504)
            | (Outcome::Refused { why }, 300..=428 | 430..=501 | 505..) => {
                assert_eq!((why.phase, why.status), (Phase::Answer, Some(Status::Http(status))));
            }
            (outcome, status) => panic!("{status}: {outcome:?}"),
        }
    }
}

#[test]
fn a_retry_after_in_seconds_is_honoured_and_bounded() {
    let wait = |value: &str| {
        let mut busy = response(503, b"");
        busy.retry_after = Some(value.as_bytes().to_vec());
        match judged(&busy) {
            Outcome::Retry { not_before, .. } => not_before.map(|wait| wait.as_secs()),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(wait("0"), Some(0));
    assert_eq!(wait(" 120 "), Some(120));
    assert_eq!(wait("86401"), Some(86400));
    assert_eq!(wait("99999999999999999999999999"), Some(86400));
    for nonsense in ["", "-1", "1.5", "soon", "+1", "1 s"] {
        assert_eq!(wait(nonsense), None, "{nonsense}");
    }
}

#[test]
fn a_retry_after_date_is_honoured_in_all_three_forms_and_a_past_one_means_now() {
    let now = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:00 GMT").unwrap();
    let wait = |value: &str| wait(value.as_bytes(), now).map(|wait| wait.as_secs());
    assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
    assert_eq!(wait("Sunday, 06-Nov-94 08:49:37 GMT"), Some(37));
    assert_eq!(wait("Sun Nov  6 08:49:37 1994"), Some(37));
    assert_eq!(wait("Sun, 06 Nov 1994 08:48:59 GMT"), Some(0));
    assert_eq!(wait("Sat, 06 Nov 2094 08:49:37 GMT"), Some(86400));
    assert_eq!(wait("Sun, 99 Nov 1994 08:49:37 GMT"), None);
}

#[test]
fn the_status_message_of_an_error_is_shown_on_one_line() {
    let why = |response: &Response| match judged(response) {
        Outcome::Refused { why } => why.message,
        other => panic!("{other:?}"),
    };
    // google.rpc.Status { code: 3, message: "bad\nspan" }
    assert_eq!(why(&response(400, b"\x08\x03\x12\x08bad\nspan")), "bad span");
    assert_eq!(why(&response(400, br#"{"code":3,"message":"bad\nspan"}"#)), "bad span");
    let mut html = response(404, b"<h1>\x1b[31mNot\r\nFound</h1>\n");
    html.content_type = Some(b"text/html".to_vec());
    assert_eq!(why(&html), "<h1> [31mNot  Found</h1>");
    let long = response(500, &[b'<'; 5000]);
    assert!(why(&long).len() <= TEXT_BYTES_MAX);
    assert!(why(&response(400, &[0xff; 2000])).len() <= 3 * TEXT_BYTES_MAX);
}

#[test]
fn what_a_peer_says_is_cut_between_characters() {
    for (text, kept) in [("\u{e9}", 1024), ("x", 1024), ("\u{20ac}", 1023), ("\u{10348}", 1024)] {
        let line = one_line(&text.repeat(MESSAGE_BYTES_MAX));
        assert_eq!(line, text.repeat(kept / text.len()), "{text}");
    }
    // No form of an answer gets more than that into a diagnostic.
    let long = "no ".repeat(1 << 20);
    let json = format!(r#"{{"partialSuccess":{{"errorMessage":"{long}"}}}}"#);
    for body in [partial_success(5, &long), json.into_bytes()] {
        match judged(&response(200, &body)) {
            Outcome::Delivered { warning: Some(text), .. } => assert!(text.len() < 1200),
            other => panic!("{other:?}"),
        }
    }
    let status = [&b"\x12\x80\x80\x80\x01"[..], &[b'x'; 2 << 20]].concat();
    let json = format!(r#"{{"message":"{long}"}}"#);
    for body in [status, json.into_bytes(), long.into_bytes()] {
        match judged(&response(400, &body)) {
            Outcome::Refused { why } => {
                assert!((1..=MESSAGE_BYTES_MAX).contains(&why.message.len()), "{why:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn without_a_head_only_a_lost_or_late_answer_is_retried() {
    let judged = |cut: Cut| judge_cut(&cut, None, 10, SystemTime::UNIX_EPOCH);
    let retried = [
        (Cut::Lost("reset".into()), Phase::Exchange),
        (Cut::Broken(ResponseError::Truncated), Phase::Exchange),
        (Cut::TimedOut("connecting"), Phase::Timeout),
    ];
    for (cut, phase) in retried {
        match judged(cut) {
            Outcome::Retry { not_before: None, why } => assert_eq!(why.phase, phase),
            other => panic!("{other:?}"),
        }
    }
    for error in [ResponseError::HeadTooLarge, ResponseError::Head(httparse::Error::Token)] {
        match judged(Cut::Broken(error)) {
            Outcome::Refused { why } => assert_eq!(why.phase, Phase::Protocol),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_cut_answer_means_what_its_status_says() {
    let judged = |status, cut: Cut| {
        // So far it reads as a partial success, but more may have been to come.
        let partial = response(status, &partial_success(5, "no"));
        judge_cut(&cut, Some(partial), 10, SystemTime::UNIX_EPOCH)
    };
    let cuts = [
        Cut::Lost("reset".into()),
        Cut::TimedOut("waiting for the answer"),
        Cut::Broken(ResponseError::Truncated),
        Cut::Broken(ResponseError::Chunk("a chunk size")),
    ];
    for cut in cuts {
        let taken = judged(200, cut.clone());
        assert!(matches!(taken, Outcome::Delivered { warning: Some(_), .. }), "{taken:?}");
        assert!(matches!(judged(503, cut.clone()), Outcome::Retry { .. }));
        assert!(matches!(judged(400, cut), Outcome::Refused { .. }));
    }
}

#[test]
fn a_success_stays_one_if_its_body_is_above_the_limit() {
    let cut = Cut::Broken(ResponseError::BodyTooLarge);
    for status in [200, 202, 299] {
        let answer = response(status, &partial_success(5, "no"));
        let outcome = judge_cut(&cut, Some(answer), 10, SystemTime::UNIX_EPOCH);
        let warning = "the collector took the data, but its answer was cut: the response body is \
                       above the limit";
        assert_eq!(outcome, delivered_with(status, 0, Some(warning)));
    }
}

#[test]
fn any_other_answer_with_a_body_above_the_limit_is_refused_even_if_its_status_is_retryable() {
    for status in [302, 400, 429, 503] {
        let cut = Cut::Broken(ResponseError::BodyTooLarge);
        let outcome = judge_cut(&cut, Some(response(status, b"")), 10, SystemTime::UNIX_EPOCH);
        match outcome {
            Outcome::Refused { why } => assert_eq!(why.status, Some(Status::Http(status))),
            other => panic!("{other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn no_answer_of_a_stranger_panics_or_rejects_more_than_was_sent(
        status in 200..1000_u16,
        body in prop::collection::vec(any::<u8>(), 0..300),
        retry_after in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        content_type in prop::option::of("(application/x-protobuf|application/json|text/html)?[ -~]{0,5}"),
        sent in any::<u64>(),
    ) {
        let mut answer = response(status, &body);
        answer.retry_after = retry_after;
        answer.content_type = content_type.map(String::into_bytes);
        if let Outcome::Delivered { rejected, .. } = judge(&answer, sent, SystemTime::now()) {
            prop_assert!(rejected <= sent);
        }
    }
}
