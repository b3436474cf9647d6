//! The oracle is serde_json, read in the naive way.

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn partial(rejected: i64, message: &str) -> PartialSuccess {
    PartialSuccess { rejected, message: message.to_owned() }
}

#[test]
fn the_answers_of_all_signals_are_read_as_the_oracle_writes_them() {
    let error_message = "no \"room\"\n\u{1f980}".to_owned();
    let traces = ExportTraceServiceResponse {
        partial_success: Some(ExportTracePartialSuccess {
            rejected_spans: 3,
            error_message: error_message.clone(),
        }),
    };
    let logs = ExportLogsServiceResponse {
        partial_success: Some(ExportLogsPartialSuccess {
            rejected_log_records: 3,
            error_message: error_message.clone(),
        }),
    };
    let metrics = ExportMetricsServiceResponse {
        partial_success: Some(ExportMetricsPartialSuccess {
            rejected_data_points: 3,
            error_message: error_message.clone(),
        }),
    };
    let all = [
        serde_json::to_vec(&traces).unwrap(),
        serde_json::to_vec_pretty(&logs).unwrap(),
        serde_json::to_vec(&metrics).unwrap(),
    ];
    for body in all {
        assert_eq!(PartialSuccess::read_json(&body), Ok(partial(3, &error_message)));
    }
    let full = serde_json::to_vec(&ExportTraceServiceResponse::default()).unwrap();
    assert_eq!(PartialSuccess::read_json(&full), Ok(PartialSuccess::default()));
}

#[test]
fn integers_are_numbers_or_strings_and_saturate() {
    let rejected = |value: &str| {
        let body = format!("{{\"partialSuccess\":{{\"rejectedSpans\":{value}}}}}");
        PartialSuccess::read_json(body.as_bytes()).map(|read| read.rejected)
    };
    for (value, expected) in [
        ("5", 5),
        ("\"5\"", 5),
        ("-5", -5),
        ("\"-5\"", -5),
        ("5.0", 5),
        ("\"1e2\"", 100),
        ("null", 0),
        ("-0", 0),
        ("9223372036854775807", i64::MAX),
        ("99999999999999999999", i64::MAX),
        ("-1e999", i64::MIN),
    ] {
        assert_eq!(rejected(value), Ok(expected), "{value}");
    }
    for value in ["true", "5.5", "\"\"", "\" 5\"", "\"5 \"", "\"5x\"", "[]", "{}", "01", "+1", "."]
    {
        assert_eq!(rejected(value), Err(NotJson), "{value}");
    }
}

#[test]
fn unknown_names_are_skipped_and_the_last_of_equal_ones_counts() {
    let body =
        br#" { "x" : [1, {"partialSuccess": {"rejectedSpans": 9}}, "\\\""], "partialSuccess":
        {"rejectedSpans": 1, "errorMessage": "one"}, "partialSuccess": {"more": null,
        "rejectedSpans": 2, "rejectedSpans": "3"}, "rejectedSpans": 8 } "#;
    assert_eq!(PartialSuccess::read_json(body), Ok(partial(3, "")));
    let nulls = br#"{"partialSuccess":null}"#;
    assert_eq!(PartialSuccess::read_json(nulls), Ok(PartialSuccess::default()));
}

#[test]
fn a_status_is_read_with_or_without_its_code() {
    let read = |body: &str| RpcStatus::read_json(body.as_bytes());
    let status = |code, message: &str| {
        Ok(RpcStatus { code, message: message.to_owned(), retry_delay: None })
    };
    assert_eq!(read(r#"{"code":3,"message":"bad","details":[{"@type":"x"}]}"#), status(3, "bad"));
    assert_eq!(read(r#"{"message":"caf\u00e9 \ud83e\udd80"}"#), status(0, "café 🦀"));
    assert_eq!(read("{}"), status(0, ""));
    for body in ["", "<html>", "{", "{}x", "[]", "\"x\"", "{\"code\":\"x\"}", "{\"message\":1}"] {
        assert_eq!(read(body), Err(NotJson), "{body}");
    }
}

#[test]
fn what_nests_too_deeply_is_refused_and_needs_no_stack() {
    let nested = |depth: usize| {
        let body = format!("{{\"x\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        RpcStatus::read_json(body.as_bytes())
    };
    assert_eq!(nested(99), Ok(RpcStatus::default()));
    assert_eq!(nested(100), Err(NotJson));
    assert_eq!(RpcStatus::read_json(&b"{\"x\":".repeat(1 << 20)), Err(NotJson));
}

#[test]
fn a_long_message_is_cut_at_a_character() {
    let body = format!("{{\"message\":\"{}\"}}", "é".repeat(4000));
    let read = RpcStatus::read_json(body.as_bytes()).unwrap();
    assert!(read.message.len() <= MESSAGE_BYTES_MAX);
    assert!(read.message.starts_with(&"é".repeat(500)));
}

/// What a naive reader makes of a body; `None` if it is none of ours.
fn naive(body: &[u8]) -> Option<PartialSuccess> {
    let whole: Value = serde_json::from_slice(body).ok()?;
    let partial = match &whole {
        Value::Null => return Some(PartialSuccess::default()),
        whole => match whole.as_object()?.get("partialSuccess") {
            None | Some(Value::Null) => return Some(PartialSuccess::default()),
            Some(partial) => partial.as_object()?,
        },
    };
    let mut read = PartialSuccess::default();
    for (name, value) in partial {
        match (name.as_str(), value) {
            ("rejectedSpans", Value::Number(number)) => read.rejected = number.as_i64()?,
            ("rejectedSpans", Value::String(text)) => read.rejected = text.parse().ok()?,
            ("errorMessage", Value::String(text)) => read.message = text.clone(),
            ("rejectedSpans" | "errorMessage", Value::Null) => {}
            ("rejectedSpans" | "errorMessage", _) => return None,
            _ => {}
        }
    }
    Some(read)
}

fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<i32>().prop_map(|value| format!("\"{value}\"")),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"(\\\\u[0-9a-f]{4}|[ -~&&[^\"\\\\]]|\\\\[nrtbf/\"\\\\]){0,8}\"",
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof![
            Just("partialSuccess".to_owned()),
            Just("rejectedSpans".to_owned()),
            Just("errorMessage".to_owned()),
            "[a-z]{0,3}",
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[ {} ]", all.join(" ,\n"))),
            // Twice the same name is decided by a test of its own.
            prop::collection::btree_map(name, inner, 0..4).prop_map(|all| {
                let all: Vec<_> =
                    all.iter().map(|(name, value)| format!("\"{name}\"\t:{value}")).collect();
                format!("{{{}}}", all.join(","))
            }),
        ]
    })
}

/// A valid text, sometimes with a few bytes put in.
fn almost_json() -> impl Strategy<Value = Vec<u8>> {
    // No exponents: serde_json refuses numbers that are none of its own.
    let planted = prop::option::of((any::<prop::sample::Index>(), "[\\[\\]{}\",:0-9\\\\.+ -]"));
    (any_json(), planted).prop_map(|(text, planted)| {
        let mut bytes = text.into_bytes();
        if let Some((at, more)) = planted {
            let at = at.index(bytes.len() + 1);
            bytes.splice(at..at, more.into_bytes());
        }
        bytes
    })
}

proptest! {
    #[test]
    fn a_body_is_read_as_the_naive_reader_does(body in almost_json()) {
        let read = PartialSuccess::read_json(&body).ok();
        match naive(&body) {
            Some(expected) => prop_assert_eq!(read, Some(expected)),
            // Ours takes whole floats for integers, and numbers of any size; never what is no
            // JSON for JSON.
            None => if read.is_some() {
                let checked: Result<Value, _> = serde_json::from_slice(&body);
                prop_assert!(checked.is_ok_and(|value| value.is_object()), "{read:?}");
            },
        }
    }

    #[test]
    fn no_bytes_of_a_stranger_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = PartialSuccess::read_json(&body);
        let _ = RpcStatus::read_json(&body);
    }
}
