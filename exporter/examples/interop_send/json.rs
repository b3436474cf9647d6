//! What was sent, as JSON: written from the types of the API, by none of spanwire's encoders.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry::logs::AnyValue;
use opentelemetry::{Array, InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::Resource;

pub(crate) fn resource(resource: &Resource) -> String {
    object(&[
        ("attributes", attributes(resource.iter().map(|(key, value)| (key.as_str(), value)))),
        ("schema_url", string(resource.schema_url().unwrap_or_default())),
    ])
}

pub(crate) fn scope(scope: &InstrumentationScope, name: &str) -> String {
    object(&[
        ("name", string(name)),
        ("version", string(scope.version().unwrap_or_default())),
        ("attributes", attributes(scope.attributes().map(|kv| (kv.key.as_str(), &kv.value)))),
        ("schema_url", string(scope.schema_url().unwrap_or_default())),
    ])
}

pub(crate) fn key_values(some: &[KeyValue]) -> String {
    attributes(some.iter().map(|kv| (kv.key.as_str(), &kv.value)))
}

fn attributes<'a>(some: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    list(some.map(|(key, found)| list([string(key), value(found)].into_iter())))
}

/// `[type, value]`; a double as its bits, so that no text form comes between.
fn value(value: &Value) -> String {
    let bool = |bool: &bool| list(["\"bool\"".into(), bool.to_string()].into_iter());
    let int = |int: &i64| list(["\"int\"".into(), int.to_string()].into_iter());
    let double = |double: &f64| double_value(*double);
    let text = |text: &str| list(["\"string\"".into(), string(text)].into_iter());
    let elements = match value {
        Value::Bool(one) => return bool(one),
        Value::I64(one) => return int(one),
        Value::F64(one) => return double(one),
        Value::String(one) => return text(one.as_str()),
        Value::Array(Array::Bool(some)) => list(some.iter().map(bool)),
        Value::Array(Array::I64(some)) => list(some.iter().map(int)),
        Value::Array(Array::F64(some)) => list(some.iter().map(double)),
        Value::Array(Array::String(some)) => list(some.iter().map(|one| text(one.as_str()))),
        _ => panic!("a kind of value that this example does not know"),
    };
    format!("[\"array\",{elements}]")
}

/// The same for a value of a log record.
pub(crate) fn any_value(value: &AnyValue) -> String {
    let typed = |kind: &str, value: String| list([string(kind), value].into_iter());
    match value {
        AnyValue::Boolean(one) => typed("bool", one.to_string()),
        AnyValue::Int(one) => typed("int", one.to_string()),
        AnyValue::Double(one) => double_value(*one),
        AnyValue::String(one) => typed("string", string(one.as_str())),
        AnyValue::Bytes(bytes) => typed("bytes", string(&hexadecimal(bytes))),
        AnyValue::ListAny(some) => typed("array", list(some.iter().map(any_value))),
        AnyValue::Map(some) => {
            let mut pairs: Vec<_> = some.iter().collect();
            pairs.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
            let pairs = pairs.into_iter().map(|(key, value)| pair(key.as_str(), any_value(value)));
            typed("map", list(pairs))
        }
        _ => panic!("a kind of value that this example does not know"),
    }
}

pub(crate) fn pair(key: &str, value: String) -> String {
    list([string(key), value].into_iter())
}

/// As its bits, so that no text form comes between.
pub(crate) fn double(value: f64) -> String {
    string(&format!("{:016x}", value.to_bits()))
}

fn double_value(value: f64) -> String {
    list([string("double"), double(value)].into_iter())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn nanos(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

pub(crate) fn object(members: &[(&str, String)]) -> String {
    let members: Vec<_> = members.iter().map(|(key, json)| format!("\"{key}\":{json}")).collect();
    format!("{{{}}}", members.join(","))
}

pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(","))
}

pub(crate) fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => json.extend(['\\', c]),
            '\0'..='\u{1f}' => write!(json, "\\u{:04x}", u32::from(c)).expect("a String takes all"),
            _ => json.push(c),
        }
    }
    json + "\""
}
