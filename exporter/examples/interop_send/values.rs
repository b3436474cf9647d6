//! Values that are easily lost or bent.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use opentelemetry::{Array, KeyValue, Value};

/// `nanos` after the epoch; small ones are moved to a usual date first.
pub(crate) fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(if nanos == 0 { 0 } else { nanos | DATE_NANOS })
}

/// Every kind of value, with the members of each that are easily lost.
pub(crate) fn every_value() -> Vec<KeyValue> {
    let mut found = vec![
        KeyValue::new("bool.true", true),
        KeyValue::new("bool.false", false),
        KeyValue::new("bools", Value::Array(Array::Bool(vec![true, false, true]))),
        KeyValue::new("bools.none", Value::Array(Array::Bool(vec![]))),
        KeyValue::new("ints", Value::Array(Array::I64(vec![0, -1, i64::MAX]))),
        KeyValue::new("doubles", Value::Array(Array::F64(vec![0.0, -1.5, f64::MAX]))),
        KeyValue::new("strings", Value::Array(Array::String(vec!["".into(), "ü".into()]))),
        KeyValue::new("strings.none", Value::Array(Array::String(vec![]))),
        KeyValue::new("", "an empty key"),
    ];
    let ints = [0, 1, -1, 127, 128, 16383, 16384, i64::MIN, i64::MAX, 1 << 53];
    found.extend(ints.map(|int| KeyValue::new(format!("int.{int}"), int)));
    let doubles = [0.0, -0.0, 0.1, f64::MIN_POSITIVE, f64::MAX, f64::NAN, f64::INFINITY];
    found.extend(doubles.map(|double| KeyValue::new(format!("double.{double:e}"), double)));
    found
}

/// Lengths around the steps of a length prefix, every Unicode plane, and what JSON escapes.
pub(crate) fn strings() -> Vec<String> {
    let lengths = [0, 1, 127, 128, 16383, 16384, 20000];
    let mut found: Vec<_> = lengths.map(|length| "x".repeat(length)).into();
    let planes = (0..=16_u32).filter_map(|plane| char::from_u32((plane << 16) + 0x1F4A));
    found.push(planes.collect());
    found.push("\0\u{1}\u{1f}\"\\/\u{7f}\u{2028}\u{feff}<&>".into());
    found
}

/// 2026-11-21, in nanoseconds, with room for small numbers below.
const DATE_NANOS: u64 = 1_795_219_200_000_000_000 & !0xFF;
