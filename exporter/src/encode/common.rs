//! What all signals share: attribute values, resources and scopes.
//!
//! A producer's values are walked where they are: its type implements [`Value`], which says to a
//! [`Place`] what it is. [`Attributes`] writes the attributes of one record within its limits.

use std::collections::HashSet;

use spanwire_runtime::buf::{Cursor, Padded};

use super::envelope::Frame;
use super::limits::{AttributeLimits, Duplicates};
use crate::wire::fields::{
    any_value, array_value, instrumentation_scope, key_value, key_value_list, resource_records,
    scope_records,
};
use crate::wire::write::{
    CONTINUES, Wire, field_len, key, message, put_len, put_str_unless_empty, put_uint_unless_zero,
    to_bytes, varint, varint_len,
};

pub(crate) mod key;
mod names;

use self::key::KeyRecord;
use self::names::Names;

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
    /// `bytes_value`
    Bytes(&'a [u8]),
}

/// What can be written as an `AnyValue`.
pub(crate) trait Value {
    /// Calls one of the methods of `place`, once.
    fn put(&self, place: Place<'_, '_>);
}

/// Where one value goes: an attribute, an element of an array, the body of a log record.
pub(crate) struct Place<'p, 'm> {
    out: &'p mut Cursor<'m>,
    /// The field of the value, or of the attribute if it has a name.
    field: u8,
    name: Name<'p>,
    limits: &'p AttributeLimits,
    around: Around,
}

/// What the value is called.
#[derive(Clone, Copy, Debug)]
enum Name<'p> {
    /// It is no attribute.
    None,
    /// A key that is encoded as it is written.
    Plain(&'p str),
    /// A key that was encoded before.
    Record(&'p KeyRecord),
}

/// What is around a value, inside of its attribute.
#[derive(Clone, Copy, Debug, Default)]
struct Around {
    /// Arrays and maps; at most `depth_max`.
    depth: u32,
    /// Messages in each other; at most [`MESSAGES_MAX`].
    messages: u32,
}

/// Writes the attributes of one message, as if they were set one after another: equal keys are
/// resolved, and what is beyond the limits is cut or dropped.
///
/// What it has written is its memory: it looks back at the bytes, so nothing else is kept of an
/// attribute than a bit that says whether its key may have occurred.
#[must_use = "`end` tells how many attributes were dropped"]
pub(crate) struct Attributes<'l> {
    limits: &'l AttributeLimits,
    /// The field of the attributes in the message around them.
    field: u8,
    /// Those that are written.
    count: u32,
    dropped: u32,
    names: Names,
}

impl<'p, 'm> Place<'p, 'm> {
    /// The field `field` of a message, which is not an attribute. Of `limits` the depth applies,
    /// and to what is in maps the rule of equal keys; its length applies as well, so give
    /// `Limits::exempt` for a log record's body.
    #[inline]
    pub(crate) fn field(out: &'p mut Cursor<'m>, field: u8, limits: &'p AttributeLimits) -> Self {
        Self { out, field, name: Name::None, limits, around: Around::default() }
    }

    /// A value without parts.
    // So that the compiler knows the kind of the value at each call. Unoptimised, what it needs
    // of the stack would be needed once for each array or map around it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn scalar(self, value: Scalar<'_>) {
        let value = match self.limits.value_len_max {
            Some(len) => value.cut(len),
            None => value,
        };
        match self.name {
            Name::Plain(name) => put_attribute(self.out, self.field, name, value),
            Name::Record(key) => put_keyed(self.out, self.field, key, value),
            Name::None => value.put(self.out, self.field),
        }
    }

    /// An array.
    #[inline(always)] // Taken apart, it stays in registers for what is no array.
    pub(crate) fn list<V: Value>(self, values: impl IntoIterator<Item = V>) {
        let Self { out, field, name, limits, around } = self;
        put_list(out, field, name.text(), limits, around, values);
    }

    /// A map.
    #[inline(always)] // See `list`.
    pub(crate) fn map<K: AsRef<str>, V: Value>(self, entries: impl IntoIterator<Item = (K, V)>) {
        let Self { out, field, name, limits, around } = self;
        put_map(out, field, name.text(), limits, around, limits.duplicates, entries);
    }

    /// A map whose entries are all there. Of a long one equal keys are found with a table: to look
    /// back from each entry would take the square of their number.
    #[inline(always)] // See `list`.
    pub(crate) fn entries<'e, E, V: Value>(
        self,
        entries: &'e [E],
        pair: impl Fn(&'e E) -> (&'e str, V),
    ) {
        if entries.len() > MANY && self.limits.duplicates == Duplicates::LastWins {
            let last = last_of_each(entries, |entry| pair(entry).0);
            self.unique_map(last.into_iter().map(pair));
        } else {
            self.map(entries.iter().map(pair));
        }
    }

    /// A map of which it is known that no two keys are equal: looking for such, in a map of many
    /// thousand entries, would take most of the time.
    #[inline(always)] // See `list`.
    pub(crate) fn unique_map<K: AsRef<str>, V: Value>(
        self,
        entries: impl IntoIterator<Item = (K, V)>,
    ) {
        let Self { out, field, name, limits, around } = self;
        put_map(out, field, name.text(), limits, around, Duplicates::Keep, entries);
    }

    /// A value with parts, which are the message `member` of the oneof; an empty value if that
    /// is too deep. `fill` writes them, each at most `messages` deeper than this value.
    fn parts(self, member: u8, messages: u32, fill: impl FnOnce(&mut Cursor<'_>, Around)) {
        let Some(around) = self.around.deeper(messages, self.limits) else {
            return self.scalar(Scalar::Empty);
        };
        let put = |out: &mut Cursor<'_>, field| {
            message(out, field, PARTS_LEN, |out| {
                message(out, member, PARTS_LEN, |out| fill(out, around));
            });
        };
        let Some(name) = self.name.text() else { return put(self.out, self.field) };
        message(self.out, self.field, PARTS_LEN + name.len(), |out| {
            put_str_unless_empty(out, NAME, name);
            put(out, VALUE);
        });
    }
}

#[inline(never)]
fn put_list<V: Value>(
    out: &mut Cursor<'_>,
    field: u8,
    name: Option<&str>,
    limits: &AttributeLimits,
    around: Around,
    values: impl IntoIterator<Item = V>,
) {
    let name = name.map_or(Name::None, Name::Plain);
    let place = Place { out, field, name, limits, around };
    place.parts(ARRAY_VALUE, LIST_MESSAGES, |out, around| {
        for value in values {
            value.put(Place { out: &mut *out, field: VALUES, name: Name::None, limits, around });
        }
    });
}

#[inline(never)]
fn put_map<K: AsRef<str>, V: Value>(
    out: &mut Cursor<'_>,
    field: u8,
    name: Option<&str>,
    limits: &AttributeLimits,
    around: Around,
    duplicates: Duplicates,
    entries: impl IntoIterator<Item = (K, V)>,
) {
    let name = name.map_or(Name::None, Name::Plain);
    let place = Place { out, field, name, limits, around };
    place.parts(KVLIST_VALUE, MAP_MESSAGES, |out, around| {
        let mut names = Names::new(out.len());
        for (name, value) in entries {
            if duplicates == Duplicates::LastWins {
                names.admit(out, name.as_ref());
            }
            let name = Name::Plain(name.as_ref());
            value.put(Place { out: &mut *out, field: ENTRIES, name, limits, around });
        }
    });
}

/// The last entry of each name, in their order.
#[cold]
fn last_of_each<'e, E>(entries: &'e [E], name: impl Fn(&'e E) -> &'e str) -> Vec<&'e E> {
    let mut seen = HashSet::with_capacity(entries.len());
    let mut kept: Vec<_> = entries.iter().rev().filter(|entry| seen.insert(name(entry))).collect();
    kept.reverse();
    kept
}

impl<'p> Name<'p> {
    #[inline(always)]
    fn text(self) -> Option<&'p str> {
        match self {
            Self::None => None,
            Self::Plain(name) => Some(name),
            Self::Record(key) => Some(key.name()),
        }
    }
}

impl Around {
    /// What is around the parts of a value that are `messages` deeper, if it may have parts.
    fn deeper(self, messages: u32, limits: &AttributeLimits) -> Option<Self> {
        let messages = self.messages + messages;
        let fits = self.depth < limits.depth_max && messages <= MESSAGES_MAX;
        fits.then_some(Self { depth: self.depth + 1, messages })
    }
}

impl<'l> Attributes<'l> {
    /// Attributes under the key `field` of the message that is being written.
    #[inline]
    pub(crate) fn begin(out: &Cursor<'_>, field: u8, limits: &'l AttributeLimits) -> Self {
        Self { limits, field, count: 0, dropped: 0, names: Names::new(out.len()) }
    }

    /// Writes one attribute, or counts it as dropped.
    #[inline(always)] // See `Place::scalar`.
    pub(crate) fn put(&mut self, out: &mut Cursor<'_>, name: &str, value: &(impl Value + ?Sized)) {
        if self.limits.duplicates == Duplicates::LastWins && self.names.admit(out, name) {
            self.count -= 1;
        }
        self.put_admitted(out, Name::Plain(name), value);
    }

    /// The same with a key that was encoded before.
    #[inline(always)] // See `Place::scalar`.
    pub(crate) fn put_keyed(
        &mut self,
        out: &mut Cursor<'_>,
        key: &KeyRecord,
        value: &(impl Value + ?Sized),
    ) {
        let checks = self.limits.duplicates == Duplicates::LastWins;
        if checks && self.names.admit_hashed(out, key.name(), key.hash) {
            self.count -= 1;
        }
        self.put_admitted(out, Name::Record(key), value);
    }

    #[inline(always)]
    fn put_admitted(
        &mut self,
        out: &mut Cursor<'_>,
        name: Name<'_>,
        value: &(impl Value + ?Sized),
    ) {
        if self.count >= self.limits.count_max {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.count += 1;
        let (field, limits, around) = (self.field, self.limits, Around::default());
        value.put(Place { out, field, name, limits, around });
    }

    /// How many were dropped because there were too many.
    #[inline]
    pub(crate) fn end(self) -> u32 {
        self.dropped
    }
}

impl Value for Scalar<'_> {
    #[inline(always)]
    fn put(&self, place: Place<'_, '_>) {
        place.scalar(*self);
    }
}

impl<V: Value + ?Sized> Value for &V {
    #[inline(always)]
    fn put(&self, place: Place<'_, '_>) {
        (**self).put(place);
    }
}

/// Encodes what a `ResourceSpans` says besides its spans. `attributes` writes the attributes
/// under the key that it is given, and says how many it dropped; it is called again if they need
/// more room.
pub(crate) fn resource(schema_url: &str, attributes: impl Fn(&mut Cursor<'_>, u8) -> u32) -> Frame {
    let head = to_bytes(ROOM, |out| {
        message(out, RESOURCE, ROOM, |out| {
            let dropped = attributes(out, RESOURCE_ATTRIBUTES);
            put_uint_unless_zero(out, RESOURCE_DROPPED_ATTRIBUTES, dropped.into());
        });
    });
    let tail = to_bytes(ROOM, |out| put_str_unless_empty(out, RESOURCE_SCHEMA_URL, schema_url));
    Frame { head, tail }
}

/// Encodes what a `ScopeSpans` says besides its spans; see [`resource`].
pub(crate) fn scope(
    name: &str,
    version: &str,
    schema_url: &str,
    attributes: impl Fn(&mut Cursor<'_>, u8) -> u32,
) -> Frame {
    let head = to_bytes(ROOM, |out| {
        message(out, SCOPE, ROOM, |out| {
            put_str_unless_empty(out, SCOPE_NAME, name);
            put_str_unless_empty(out, SCOPE_VERSION, version);
            let dropped = attributes(out, SCOPE_ATTRIBUTES);
            put_uint_unless_zero(out, SCOPE_DROPPED_ATTRIBUTES, dropped.into());
        });
    });
    let tail = to_bytes(ROOM, |out| put_str_unless_empty(out, SCOPE_SCHEMA_URL, schema_url));
    Frame { head, tail }
}

/// Writes a `KeyValue`. One whose length takes one byte is written in one go.
#[inline(always)]
fn put_attribute(out: &mut Cursor<'_>, field: u8, name: &str, value: Scalar<'_>) {
    let name_len = name.len();
    let len = 2 + name_len + 2 + value.len();
    if len >= 1 << 7 || name_len == 0 {
        return put_unusual(out, field, name, value);
    }
    let head = [field, len as u8, NAME, name_len as u8];
    let name = name.as_bytes();
    match value {
        Scalar::Empty => out.put_row((head, name, [VALUE, 0])),
        Scalar::Bool(value) => out.put_row((head, name, [VALUE, 2, BOOL_VALUE, u8::from(value)])),
        Scalar::Int(value) => {
            let value = value as u64;
            if value < 1 << 7 {
                out.put_row((head, name, [VALUE, 2, INT_VALUE, value as u8]));
            } else if value < 1 << 14 {
                let low = value as u8 | CONTINUES;
                out.put_row((head, name, [VALUE, 3, INT_VALUE, low, (value >> 7) as u8]));
            } else {
                out.put_row((head, name, int(VALUE, value)));
            }
        }
        Scalar::Double(value) => {
            out.put_row((head, name, [VALUE, 9, DOUBLE_VALUE], value.to_le_bytes()))
        }
        Scalar::Str(text) => {
            let len = text.len() as u8;
            out.put_row((head, name, [VALUE, len + 2, STRING_VALUE, len], text.as_bytes()));
        }
        Scalar::Bytes(bytes) => {
            let len = bytes.len() as u8;
            out.put_row((head, name, [VALUE, len + 2, BYTES_VALUE, len], bytes));
        }
    }
}

/// Writes a `KeyValue` whose key was encoded before.
#[inline(always)]
fn put_keyed(out: &mut Cursor<'_>, field: u8, key: &KeyRecord, value: Scalar<'_>) {
    let (Some(name), value_len) = (key.encoded(), value.len()) else {
        return put_unusual(out, field, key.name(), value);
    };
    let len = name.len() + 1 + value_len;
    if len >= 1 << 7 {
        return put_unusual(out, field, key.name(), value);
    }
    let head = [field, len as u8];
    match value {
        Scalar::Empty => out.put_row((head, name, [0])),
        Scalar::Bool(value) => out.put_row((head, name, [2, BOOL_VALUE, u8::from(value)])),
        Scalar::Int(value) if value as u64 >= 1 << 14 => {
            put_unusual(out, field, key.name(), Scalar::Int(value))
        }
        Scalar::Int(value) if value as u64 >= 1 << 7 => {
            out.put_row((head, name, [3, INT_VALUE, value as u8 | CONTINUES, (value >> 7) as u8]));
        }
        Scalar::Int(value) => out.put_row((head, name, [2, INT_VALUE, value as u8])),
        Scalar::Double(value) => {
            out.put_row((head, name, [9, DOUBLE_VALUE], value.to_le_bytes()));
        }
        Scalar::Str(text) => {
            let len = text.len() as u8;
            out.put_row((head, name, [len + 2, STRING_VALUE, len], text.as_bytes()));
        }
        Scalar::Bytes(bytes) => {
            let len = bytes.len() as u8;
            out.put_row((head, name, [len + 2, BYTES_VALUE, len], bytes));
        }
    }
}

/// Writes a `KeyValue` that is long or has no name.
#[cold]
fn put_unusual(out: &mut Cursor<'_>, field: u8, name: &str, value: Scalar<'_>) {
    let name_len = if name.is_empty() { 0 } else { field_len(name.len()) };
    put_len(out, field, name_len + field_len(value.len()));
    put_str_unless_empty(out, NAME, name);
    value.put(out, VALUE);
}

/// An `AnyValue` with a number, as the field with this key.
#[inline]
fn int(key: u8, value: u64) -> Padded<13> {
    let (bytes, len) = varint(value);
    let mut field = [0; 13];
    field[..3].copy_from_slice(&[key, len as u8 + 1, INT_VALUE]);
    field[3..].copy_from_slice(&bytes);
    Padded::new(field, 3 + len)
}

impl Scalar<'_> {
    /// The value with at most `len` characters, or bytes.
    #[inline(always)]
    fn cut(self, len: u32) -> Self {
        match self {
            Self::Str(text) if text.len() > len as usize => Self::Str(first_chars(text, len)),
            Self::Bytes(bytes) if bytes.len() > len as usize => Self::Bytes(&bytes[..len as usize]),
            _ => self,
        }
    }

    /// Bytes of the `AnyValue`, without its key and length.
    #[inline(always)]
    fn len(self) -> usize {
        match self {
            Self::Empty => 0,
            Self::Bool(_) => 2,
            Self::Int(value) => 1 + varint_len(value as u64),
            Self::Double(_) => 9,
            Self::Str(text) => field_len(text.len()),
            Self::Bytes(bytes) => field_len(bytes.len()),
        }
    }

    /// Writes the `AnyValue` as the field with this key.
    #[inline(always)]
    fn put(self, out: &mut Cursor<'_>, key: u8) {
        match self {
            Self::Empty => out.put_array([key, 0]),
            Self::Bool(value) => out.put_array([key, 2, BOOL_VALUE, u8::from(value)]),
            Self::Int(value) => out.put_row(int(key, value as u64)),
            Self::Double(value) => {
                let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
                out.put_array([key, 9, DOUBLE_VALUE, a, b, c, d, e, f, g, h]);
            }
            Self::Str(text) => put_text(out, key, STRING_VALUE, text.as_bytes()),
            Self::Bytes(bytes) => put_text(out, key, BYTES_VALUE, bytes),
        }
    }
}

#[inline]
fn put_text(out: &mut Cursor<'_>, key: u8, member: u8, text: &[u8]) {
    let len = text.len();
    if len + 2 < 1 << 7 {
        out.put_array([key, len as u8 + 2, member, len as u8]);
    } else {
        put_len(out, key, field_len(len));
        put_len(out, member, len);
    }
    out.put_slice(text);
}

/// The first `count` characters of `text`: the specification counts characters, and half of one
/// would not be UTF-8, for which receivers refuse the whole request (opentelemetry-cpp #2257).
#[cold]
fn first_chars(text: &str, count: u32) -> &str {
    match text.char_indices().nth(count as usize) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// Room for an ordinary resource or scope; larger ones are encoded again with more.
const ROOM: usize = 1024;
/// About the bytes of an array or map: most fit a one-byte length, others are moved.
const PARTS_LEN: usize = 64;

/// Entries of which equal names are not looked for one by one: as many as the bits of a name.
const MANY: usize = 512;

/// Messages that may stand in each other below a value. Decoders of protobuf (C++, upb, Java,
/// prost) take 100 in a request and refuse all of it beyond; the values that stand deepest, the
/// filtered attributes of exemplars, are the eighth.
const MESSAGES_MAX: u32 = 100 - 8;
/// `ArrayValue` and the element.
const LIST_MESSAGES: u32 = 2;
/// `KeyValueList`, `KeyValue` and the value.
const MAP_MESSAGES: u32 = 3;

const NAME: u8 = key(key_value::KEY, Wire::Len);
const VALUE: u8 = key(key_value::VALUE, Wire::Len);
const STRING_VALUE: u8 = key(any_value::STRING_VALUE, Wire::Len);
const BOOL_VALUE: u8 = key(any_value::BOOL_VALUE, Wire::Varint);
const INT_VALUE: u8 = key(any_value::INT_VALUE, Wire::Varint);
const DOUBLE_VALUE: u8 = key(any_value::DOUBLE_VALUE, Wire::Fixed64);
const ARRAY_VALUE: u8 = key(any_value::ARRAY_VALUE, Wire::Len);
const KVLIST_VALUE: u8 = key(any_value::KVLIST_VALUE, Wire::Len);
const BYTES_VALUE: u8 = key(any_value::BYTES_VALUE, Wire::Len);
const VALUES: u8 = key(array_value::VALUES, Wire::Len);
const ENTRIES: u8 = key(key_value_list::VALUES, Wire::Len);
const RESOURCE: u8 = key(resource_records::RESOURCE, Wire::Len);
const RESOURCE_SCHEMA_URL: u8 = key(resource_records::SCHEMA_URL, Wire::Len);
const RESOURCE_ATTRIBUTES: u8 = key(crate::wire::fields::resource::ATTRIBUTES, Wire::Len);
const RESOURCE_DROPPED_ATTRIBUTES: u8 =
    key(crate::wire::fields::resource::DROPPED_ATTRIBUTES_COUNT, Wire::Varint);
const SCOPE: u8 = key(scope_records::SCOPE, Wire::Len);
const SCOPE_SCHEMA_URL: u8 = key(scope_records::SCHEMA_URL, Wire::Len);
const SCOPE_NAME: u8 = key(instrumentation_scope::NAME, Wire::Len);
const SCOPE_VERSION: u8 = key(instrumentation_scope::VERSION, Wire::Len);
const SCOPE_ATTRIBUTES: u8 = key(instrumentation_scope::ATTRIBUTES, Wire::Len);
const SCOPE_DROPPED_ATTRIBUTES: u8 =
    key(instrumentation_scope::DROPPED_ATTRIBUTES_COUNT, Wire::Varint);

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, any_value};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
    use prost::Message;

    use super::super::limits::Limits;

    struct Nothings;

    impl Value for Nothings {
        fn put(&self, place: Place<'_, '_>) {
            place.list([Scalar::Empty; 2]);
        }
    }

    /// opentelemetry-dotnet #6149: an attribute without a value lost the field of the value, and
    /// receivers refused the batch.
    #[test]
    fn an_empty_value_is_an_empty_message_and_not_absent() {
        let frame = resource("", |out, field| {
            let mut attributes = Attributes::begin(out, field, &Limits::DEFAULT.exempt);
            attributes.put(out, "nothing", &Scalar::Empty);
            attributes.put(out, "nothings", &Nothings);
            attributes.end()
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
