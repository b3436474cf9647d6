//! Attributes of opentelemetry 0.33.

use opentelemetry::{Array, Key, KeyValue, StringValue, Value};
use spanwire_runtime::buf::Cursor;

use crate::encode::common::{Scalar, array_attribute, attribute};

/// Writes all attributes under the key `field` of the message around them.
#[inline]
pub(crate) fn put_attributes(out: &mut Cursor<'_>, field: u8, attributes: &[KeyValue]) {
    for KeyValue { key, value, .. } in attributes {
        put_attribute(out, field, key, value);
    }
}

/// Writes one attribute.
#[inline]
pub(crate) fn put_attribute(out: &mut Cursor<'_>, field: u8, key: &Key, value: &Value) {
    let key = key.as_str();
    match value {
        Value::String(text) => attribute(out, field, key, Scalar::Str(text.as_str())),
        Value::I64(value) => attribute(out, field, key, Scalar::Int(*value)),
        Value::Bool(value) => attribute(out, field, key, Scalar::Bool(*value)),
        Value::F64(value) => attribute(out, field, key, Scalar::Double(*value)),
        Value::Array(array) => put_array(out, field, key, array),
        // A kind that a later patch release adds.
        _ => attribute(out, field, key, Scalar::Empty),
    }
}

/// About how many bytes some attributes take: spares most messages a move. Strings are not
/// looked at, because that costs what it saves.
#[inline]
pub(crate) fn guess_len(attributes: &[KeyValue]) -> usize {
    attributes.len() * TYPICAL_LEN
}

fn put_array(out: &mut Cursor<'_>, field: u8, key: &str, array: &Array) {
    match array {
        Array::Bool(values) => {
            array_attribute(out, field, key, values.iter().copied().map(Scalar::Bool))
        }
        Array::I64(values) => {
            array_attribute(out, field, key, values.iter().copied().map(Scalar::Int))
        }
        Array::F64(values) => {
            array_attribute(out, field, key, values.iter().copied().map(Scalar::Double))
        }
        Array::String(values) => array_attribute(out, field, key, values.iter().map(text)),
        // A kind that a later patch release adds.
        _ => attribute(out, field, key, Scalar::Empty),
    }
}

fn text(text: &StringValue) -> Scalar<'_> {
    Scalar::Str(text.as_str())
}

/// Bytes of a typical attribute: a name of some 16 bytes, a short value, and 8 bytes around.
const TYPICAL_LEN: usize = 32;
