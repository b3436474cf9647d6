//! The reader of answers in JSON.
//!
//! Promises: no panic; what it takes is JSON; it reads what a naive reader over serde_json does.
//!
//! An input is a body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::{Map, Number, Value};
use spanwire::internals::{json_partial_success, json_status};

fuzz_target!(|body: &[u8]| {
    let (partial, status) = (json_partial_success(body), json_status(body));
    if partial.is_some() || status.is_some() {
        serde_json::from_slice::<IgnoredAny>(body).expect("what is taken is JSON");
    }
    let Ok(whole) = serde_json::from_slice::<Value>(body) else { return };
    if !is_comparable(body) {
        return;
    }
    let empty = Map::new();
    let whole = if whole.is_null() { Some(&empty) } else { whole.as_object() };
    assert_eq!(partial, whole.and_then(naive_partial));
    let naive = whole.and_then(|whole| naive_read(whole, &NAMES[5..6], "message"));
    assert_eq!(status, naive.map(|(code, message)| (code as i32, message)));
});

/// serde_json keeps the last of equal names whatever the others are, and reads deeper; and long
/// messages are cut.
fn is_comparable(body: &[u8]) -> bool {
    let count =
        |name: &&str| body.windows(name.len()).filter(|part| *part == name.as_bytes()).count();
    let has_equal_names = NAMES.iter().any(|name| count(name) > 1)
        || NAMES[1..4].iter().map(|name| count(name)).sum::<usize>() > 1;
    let depth = body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    // An escape may hide a name.
    !has_equal_names
        && depth < 100
        && body.len() < 1024
        && !body.windows(2).any(|two| two == b"\\u")
}

fn naive_partial(whole: &Map<String, Value>) -> Option<(i64, String)> {
    match whole.get("partialSuccess") {
        None | Some(Value::Null) => Some((0, String::new())),
        Some(partial) => naive_read(partial.as_object()?, &NAMES[1..4], "errorMessage"),
    }
}

fn naive_read(object: &Map<String, Value>, integers: &[&str], text: &str) -> Option<(i64, String)> {
    let number = integers.iter().find_map(|name| object.get(*name));
    let number = number.map_or(Some(0), integer)?;
    match object.get(text) {
        None | Some(Value::Null) => Some((number, String::new())),
        Some(message) => Some((number, message.as_str()?.to_owned())),
    }
}

fn integer(value: &Value) -> Option<i64> {
    let whole = |number: &Number| {
        let float = number.as_f64().filter(|float| float.fract() == 0.0);
        number.as_i64().or_else(|| float.map(|float| float as i64))
    };
    match value {
        Value::Null => Some(0),
        Value::Number(number) => whole(number),
        Value::String(text) => {
            let number = serde_json::from_str::<Number>(text).ok()?;
            (text.trim() == text).then(|| whole(&number)).flatten()
        }
        _ => None,
    }
}

const NAMES: [&str; 7] = [
    "partialSuccess",
    "rejectedSpans",
    "rejectedLogRecords",
    "rejectedDataPoints",
    "errorMessage",
    "code",
    "message",
];
