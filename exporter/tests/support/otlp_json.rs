//! The JSON of opentelemetry-proto's serde, and what it has in common with ours.
//!
//! Where that mapping is right but writes more (defaults, nulls), both are reduced to what means
//! something; where it is not right (NaN and infinities of most fields are null), both lose the
//! value. `docs/decisions/012-json.md` lists the differences.

use serde_json::{Map, Value};

/// Without nulls, defaults and empty lists.
pub(crate) fn reduced(json: Value) -> Value {
    reduce("", false, json)
}

fn reduce(key: &str, in_summary: bool, json: Value) -> Value {
    match json {
        Value::Object(members) => {
            let in_summary = in_summary || key == "summary";
            let members = members.into_iter().map(|(key, value)| {
                let value = reduce(&key, in_summary, value);
                (key, value)
            });
            let kept = members.filter(|(key, value)| is_kept(key, in_summary, value));
            Value::Object(kept.collect::<Map<_, _>>())
        }
        Value::Array(some) => {
            Value::Array(some.into_iter().map(|one| reduce(key, in_summary, one)).collect())
        }
        // Ours of what serde has as null.
        Value::String(text) if DOUBLES.contains(&key) && NOT_NUMBERS.contains(&&*text) => {
            Value::Null
        }
        // The examples have 5 for 5.0, and ids in capitals.
        Value::Number(number) if DOUBLES.contains(&key) => Value::from(number.as_f64()),
        Value::String(id) if IDS.contains(&key) => Value::String(id.to_lowercase()),
        other => other,
    }
}

fn is_kept(key: &str, in_summary: bool, value: &Value) -> bool {
    let has_presence = PRESENT.contains(&key) && !(in_summary && key == "sum");
    match value {
        // Of profiles only: treated as absent.
        _ if key.ends_with("Strindex") => false,
        Value::Null => false,
        Value::Array(some) => !some.is_empty(),
        Value::Object(_) => true,
        _ if has_presence => true,
        Value::String(text) => !text.is_empty() && text != "0",
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64().map(f64::to_bits) != Some(0),
    }
}

/// Members of oneofs, and optional fields.
const PRESENT: [&str; 10] = [
    "stringValue",
    "boolValue",
    "intValue",
    "doubleValue",
    "bytesValue",
    "asDouble",
    "asInt",
    "sum",
    "min",
    "max",
];
const IDS: [&str; 3] = ["traceId", "spanId", "parentSpanId"];
/// Doubles that serde writes as numbers only.
const DOUBLES: [&str; 7] =
    ["doubleValue", "asDouble", "sum", "min", "max", "zeroThreshold", "explicitBounds"];
const NOT_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
