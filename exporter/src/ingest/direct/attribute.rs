//! Attributes as plain data.

use spanwire_runtime::buf::Cursor;

use crate::encode::common::key::KeyRecord;
use crate::encode::common::{self, Attributes, Place, Scalar};
use crate::encode::limits::AttributeLimits;

/// An attribute's key that was encoded when the program was compiled; see [`key!`](crate::key).
#[derive(Clone, Copy, Debug)]
pub struct Key(&'static KeyRecord);

/// A name and a value, borrowed from the program.
///
/// # Examples
///
/// ```
/// use spanwire::direct::{Attribute, Key, Value};
///
/// const METHOD: Key = spanwire::key!("http.request.method");
/// let attributes = [
///     METHOD.str("GET"),
///     Attribute::new("cache.hit", true),
///     Attribute::new("retries", Value::List(&[Value::Int(1), Value::Int(7)])),
/// ];
/// assert_eq!(attributes[0].name(), "http.request.method");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Attribute<'a> {
    name: Name<'a>,
    value: Value<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Name<'a> {
    Key(Key),
    Plain(&'a str),
}

/// What an attribute says, or the body of a log record.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// Nothing, which is not the same as an absent attribute.
    Empty,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A fraction, an infinity, or no number.
    Double(f64),
    /// Text.
    Str(&'a str),
    /// Bytes that are no text.
    Bytes(&'a [u8]),
    /// Values, of one kind or several.
    List(&'a [Self]),
    /// Values with names.
    Map(&'a [Attribute<'a>]),
}

impl Key {
    /// What [`key!`](crate::key) expands to.
    #[doc(hidden)]
    pub const fn of(record: &'static KeyRecord) -> Self {
        Self(record)
    }

    /// The key as text.
    pub const fn name(self) -> &'static str {
        self.0.name()
    }

    /// An attribute with any value.
    #[inline]
    pub const fn value<'a>(self, value: Value<'a>) -> Attribute<'a> {
        Attribute { name: Name::Key(self), value }
    }

    /// An attribute with a text.
    #[inline]
    pub const fn str(self, text: &str) -> Attribute<'_> {
        self.value(Value::Str(text))
    }

    /// An attribute with a whole number.
    #[inline]
    pub const fn int(self, number: i64) -> Attribute<'static> {
        self.value(Value::Int(number))
    }

    /// An attribute with a fraction.
    #[inline]
    pub const fn double(self, number: f64) -> Attribute<'static> {
        self.value(Value::Double(number))
    }

    /// An attribute with a yes or no.
    #[inline]
    pub const fn bool(self, truth: bool) -> Attribute<'static> {
        self.value(Value::Bool(truth))
    }

    /// An attribute with bytes.
    #[inline]
    pub const fn bytes(self, bytes: &[u8]) -> Attribute<'_> {
        self.value(Value::Bytes(bytes))
    }
}

impl<'a> Attribute<'a> {
    /// An attribute whose name is known when the program runs only; a [`Key`] costs less.
    #[inline]
    pub fn new(name: &'a str, value: impl Into<Value<'a>>) -> Self {
        Self { name: Name::Plain(name), value: value.into() }
    }

    /// What it is called.
    pub fn name(&self) -> &'a str {
        match self.name {
            Name::Key(key) => key.name(),
            Name::Plain(name) => name,
        }
    }

    /// What it says.
    pub fn value(&self) -> Value<'a> {
        self.value
    }
}

/// Two attributes are equal if their names and values are, however the names came to be.
impl PartialEq for Attribute<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name() && self.value == other.value
    }
}

/// Writes all attributes under the key `field` of the message around them. How many of them were
/// dropped.
#[inline]
pub(super) fn put_attributes(
    out: &mut Cursor<'_>,
    field: u8,
    attributes: &[Attribute<'_>],
    limits: &AttributeLimits,
) -> u32 {
    let mut written = Attributes::begin(out, field, limits);
    for attribute in attributes {
        match attribute.name {
            Name::Key(key) => written.put_keyed(out, key.0, &attribute.value),
            Name::Plain(name) => written.put(out, name, &attribute.value),
        }
    }
    written.end()
}

/// About how many bytes some attributes take.
#[inline]
pub(super) fn guess_len(attributes: &[Attribute<'_>]) -> usize {
    attributes.len() * TYPICAL_LEN
}

impl common::Value for Value<'_> {
    #[inline(always)] // Each arm is the only one that the compiler sees of `Place::scalar`.
    fn put(&self, place: Place<'_, '_>) {
        match self {
            Self::Str(text) => place.scalar(Scalar::Str(text)),
            Self::Int(number) => place.scalar(Scalar::Int(*number)),
            Self::Bool(truth) => place.scalar(Scalar::Bool(*truth)),
            Self::Double(number) => place.scalar(Scalar::Double(*number)),
            Self::Bytes(bytes) => place.scalar(Scalar::Bytes(bytes)),
            Self::Empty => place.scalar(Scalar::Empty),
            Self::List(values) => place.list(*values),
            Self::Map(entries) => place.entries(entries, |entry| (entry.name(), entry.value)),
        }
    }
}

macro_rules! from {
    ($($kind:ty => $value:ident),+ $(,)?) => {$(
        impl<'a> From<$kind> for Value<'a> {
            fn from(value: $kind) -> Self {
                Self::$value(value.into())
            }
        }
    )+};
}

from! {
    bool => Bool,
    i64 => Int,
    i32 => Int,
    u32 => Int,
    f64 => Double,
    &'a str => Str,
    &'a [u8] => Bytes,
    &'a [Value<'a>] => List,
    &'a [Attribute<'a>] => Map,
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Str(text)
    }
}

/// Bytes of a typical attribute: a name of some 16 bytes, a short value, and 8 bytes around.
const TYPICAL_LEN: usize = 32;
