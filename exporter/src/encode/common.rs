//! What all signals share: attribute values, resources and scopes.

use spanwire_runtime::buf::Cursor;

use super::envelope::Frame;
use crate::wire::fields::{
    any_value, array_value, instrumentation_scope, key_value, resource_records, scope_records,
};
use crate::wire::write::{
    Wire, field_len, key, message, put_len, put_str_unless_empty, put_varint, to_bytes, varint_len,
};

/// A value without parts.
///
/// It is a member of a oneof, so it is written even if it is zero, false or empty: unlike other
/// fields of proto3, its presence tells its type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scalar<'a> {
    /// No member of the oneof: an empty value.
    Empty,
    /// `bool_value`
    Bool(bool),
    /// `int_value`
    Int(i64),
    /// `double_value`
    Double(f64),
    /// `string_value`
    Str(&'a str),
}

/// Writes one attribute, where `field` is the key of the attributes in the message around it.
#[inline(always)] // So that the compiler knows the kind of the value at each call.
pub(crate) fn attribute(out: &mut Cursor<'_>, field: u8, name: &str, value: Scalar<'_>) {
    attribute_name(out, field, name, field_len(value.len()));
    value.put(out, VALUE);
}

/// Writes one attribute whose value is an array.
pub(crate) fn array_attribute<'a>(
    out: &mut Cursor<'_>,
    field: u8,
    name: &str,
    values: impl Iterator<Item = Scalar<'a>> + Clone,
) {
    let array_len = values.clone().map(|value| field_len(value.len())).sum();
    let value_len = field_len(array_len);
    attribute_name(out, field, name, field_len(value_len));
    put_len(out, VALUE, value_len);
    put_len(out, ARRAY_VALUE, array_len);
    values.for_each(|value| value.put(out, VALUES));
}

/// Encodes what a `ResourceSpans` says besides its spans. `attributes` writes the attributes
/// under the key that it is given; it is called again if they need more room.
pub(crate) fn resource(schema_url: &str, attributes: impl Fn(&mut Cursor<'_>, u8)) -> Frame {
    let head = to_bytes(ROOM, |out| {
        message(out, RESOURCE, ROOM, |out| attributes(out, RESOURCE_ATTRIBUTES));
    });
    let tail = to_bytes(ROOM, |out| put_str_unless_empty(out, RESOURCE_SCHEMA_URL, schema_url));
    Frame { head, tail }
}

/// Encodes what a `ScopeSpans` says besides its spans; see [`resource`].
pub(crate) fn scope(
    name: &str,
    version: &str,
    schema_url: &str,
    attributes: impl Fn(&mut Cursor<'_>, u8),
) -> Frame {
    let head = to_bytes(ROOM, |out| {
        message(out, SCOPE, ROOM, |out| {
            put_str_unless_empty(out, SCOPE_NAME, name);
            put_str_unless_empty(out, SCOPE_VERSION, version);
            attributes(out, SCOPE_ATTRIBUTES);
        });
    });
    let tail = to_bytes(ROOM, |out| put_str_unless_empty(out, SCOPE_SCHEMA_URL, schema_url));
    Frame { head, tail }
}

/// The start of a `KeyValue` up to the field of its value, which takes `value_len` bytes.
#[inline]
fn attribute_name(out: &mut Cursor<'_>, field: u8, name: &str, value_len: usize) {
    let len = field_len(name.len()) + value_len;
    if len < 1 << 7 && !name.is_empty() {
        out.put_array([field, len as u8, NAME, name.len() as u8]);
        out.put_slice(name.as_bytes());
    } else {
        unusual_name(out, field, name, value_len);
    }
}

#[cold]
fn unusual_name(out: &mut Cursor<'_>, field: u8, name: &str, value_len: usize) {
    let name_len = if name.is_empty() { 0 } else { field_len(name.len()) };
    put_len(out, field, name_len + value_len);
    put_str_unless_empty(out, NAME, name);
}

impl Scalar<'_> {
    /// Bytes of the `AnyValue`, without its key and length.
    #[inline(always)]
    fn len(self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Bool(_) => 2,
            Self::Int(value) => 1 + varint_len(value as u64),
            Self::Double(_) => 9,
            Self::Str(text) => field_len(text.len()),
        }
    }

    /// Writes the `AnyValue` as the field with this key.
    #[inline(always)]
    fn put(self, out: &mut Cursor<'_>, key: u8) {
        match self {
            Self::Empty => out.put_array([key, 0]),
            Self::Bool(value) => out.put_array([key, 2, BOOL_VALUE, u8::from(value)]),
            Self::Int(value) => put_int(out, key, value as u64),
            Self::Double(value) => {
                let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
                out.put_array([key, 9, DOUBLE_VALUE, a, b, c, d, e, f, g, h]);
            }
            Self::Str(text) => put_str(out, key, text),
        }
    }
}

#[inline]
fn put_int(out: &mut Cursor<'_>, key: u8, value: u64) {
    if value < 1 << 7 {
        out.put_array([key, 2, INT_VALUE, value as u8]);
    } else {
        out.put_array([key, 1 + varint_len(value) as u8, INT_VALUE]);
        put_varint(out, value);
    }
}

#[inline]
fn put_str(out: &mut Cursor<'_>, key: u8, text: &str) {
    let len = text.len();
    if len + 2 < 1 << 7 {
        out.put_array([key, len as u8 + 2, STRING_VALUE, len as u8]);
    } else {
        put_len(out, key, field_len(len));
        put_len(out, STRING_VALUE, len);
    }
    out.put_slice(text.as_bytes());
}

/// Room for an ordinary resource or scope; larger ones are encoded again with more.
const ROOM: usize = 1024;

const NAME: u8 = key(key_value::KEY, Wire::Len);
const VALUE: u8 = key(key_value::VALUE, Wire::Len);
const STRING_VALUE: u8 = key(any_value::STRING_VALUE, Wire::Len);
const BOOL_VALUE: u8 = key(any_value::BOOL_VALUE, Wire::Varint);
const INT_VALUE: u8 = key(any_value::INT_VALUE, Wire::Varint);
const DOUBLE_VALUE: u8 = key(any_value::DOUBLE_VALUE, Wire::Fixed64);
const ARRAY_VALUE: u8 = key(any_value::ARRAY_VALUE, Wire::Len);
const VALUES: u8 = key(array_value::VALUES, Wire::Len);
const RESOURCE: u8 = key(resource_records::RESOURCE, Wire::Len);
const RESOURCE_SCHEMA_URL: u8 = key(resource_records::SCHEMA_URL, Wire::Len);
const RESOURCE_ATTRIBUTES: u8 = key(crate::wire::fields::resource::ATTRIBUTES, Wire::Len);
const SCOPE: u8 = key(scope_records::SCOPE, Wire::Len);
const SCOPE_SCHEMA_URL: u8 = key(scope_records::SCHEMA_URL, Wire::Len);
const SCOPE_NAME: u8 = key(instrumentation_scope::NAME, Wire::Len);
const SCOPE_VERSION: u8 = key(instrumentation_scope::VERSION, Wire::Len);
const SCOPE_ATTRIBUTES: u8 = key(instrumentation_scope::ATTRIBUTES, Wire::Len);

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
    use prost::Message;

    /// opentelemetry-dotnet #6149: an attribute without a value lost the field of the value, and
    /// receivers refused the batch.
    #[test]
    fn an_empty_value_is_an_empty_message_and_not_absent() {
        let frame = resource("", |out, field| {
            attribute(out, field, "nothing", Scalar::Empty);
            array_attribute(out, field, "nothings", [Scalar::Empty; 2].into_iter());
        });
        let nothings = ArrayValue { values: vec![AnyValue::default(); 2] };
        let nothings = AnyValue { value: Some(any_value::Value::ArrayValue(nothings)) };
        let attribute = |key: &str, value| KeyValue {
            key: key.to_owned(),
            value: Some(value),
            ..KeyValue::default()
        };
        let attributes =
            vec![attribute("nothing", AnyValue::default()), attribute("nothings", nothings)];
        let resource = Some(Resource { attributes, ..Resource::default() });
        let expected = ResourceSpans { resource, ..ResourceSpans::default() };
        assert_eq!(frame.head, expected.encode_to_vec());
    }
}
