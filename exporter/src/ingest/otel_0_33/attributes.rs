//! Attributes of opentelemetry 0.33.

use opentelemetry::{Array, KeyValue, StringValue, Value};
use spanwire_runtime::buf::Cursor;

use crate::encode::common::{self, Attributes, Place, Scalar};
use crate::encode::limits::AttributeLimits;

/// Writes all attributes under the key `field` of the message around them. How many of them were
/// dropped.
#[inline]
pub(crate) fn put_attributes(
    out: &mut Cursor<'_>,
    field: u8,
    attributes: &[KeyValue],
    limits: &AttributeLimits,
) -> u32 {
    let mut written = Attributes::begin(out, field, limits);
    for KeyValue { key, value, .. } in attributes {
        written.put(out, key.as_str(), value);
    }
    written.end()
}

/// About how many bytes some attributes take: spares most messages a move. Strings are not
/// looked at, because that costs what it saves.
#[inline]
pub(crate) fn guess_len(attributes: &[KeyValue]) -> usize {
    attributes.len() * TYPICAL_LEN
}

impl common::Value for Value {
    #[inline(always)] // Each arm is the only one that the compiler sees of `Place::scalar`.
    fn put(&self, place: Place<'_, '_>) {
        match self {
            Self::String(text) => place.scalar(Scalar::Str(text.as_str())),
            Self::I64(value) => place.scalar(Scalar::Int(*value)),
            Self::Bool(value) => place.scalar(Scalar::Bool(*value)),
            Self::F64(value) => place.scalar(Scalar::Double(*value)),
            Self::Array(array) => put_array(place, array),
            // A kind that a later patch release adds.
            _ => place.scalar(Scalar::Empty),
        }
    }
}

#[inline(always)] // See `Place::list`.
fn put_array(place: Place<'_, '_>, array: &Array) {
    match array {
        Array::Bool(values) => place.list(values.iter().copied().map(Scalar::Bool)),
        Array::I64(values) => place.list(values.iter().copied().map(Scalar::Int)),
        Array::F64(values) => place.list(values.iter().copied().map(Scalar::Double)),
        Array::String(values) => place.list(values.iter().map(text)),
        // A kind that a later patch release adds.
        _ => place.scalar(Scalar::Empty),
    }
}

fn text(text: &StringValue) -> Scalar<'_> {
    Scalar::Str(text.as_str())
}

/// Bytes of a typical attribute: a name of some 16 bytes, a short value, and 8 bytes around.
const TYPICAL_LEN: usize = 32;
