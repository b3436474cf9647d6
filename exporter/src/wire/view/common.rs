//! What all signals share: attributes and their values, resources and scopes.

use super::super::fields::{
    any_value, array_value, instrumentation_scope, key_value, key_value_list, resource,
};
use super::super::read::{Malformed, Value, varint};
use super::message::{Message, Walk};
use super::{getters, view};

/// A value of any kind: of an attribute, of an element of an array, or the body of a log record.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnyValue<'a> {
    /// No value, which is a value too. Also an index into the strings of profiles, which other
    /// signals do not have.
    Empty,
    /// `string_value`
    String(&'a str),
    /// `bool_value`
    Bool(bool),
    /// `int_value`
    Int(i64),
    /// `double_value`
    Double(f64),
    /// `array_value`
    Array(Array<'a>),
    /// `kvlist_value`
    KeyValues(Attributes<'a>),
    /// `bytes_value`
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&'a str> {
        if let Self::String(text) = *self { Some(text) } else { None }
    }

    /// The integer, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        if let Self::Int(value) = *self { Some(value) } else { None }
    }

    #[inline(never)] // `of_pair` has tried what is usual, and is short without it.
    pub(super) fn of(message: Message<'a>) -> Result<Self, Malformed> {
        match message.only_field().and_then(Self::of_scalar) {
            Some(value) => value,
            None => Self::of_unusual(message),
        }
    }

    /// A short string, or an integer, and nothing else.
    #[inline(always)]
    fn of_usual(bytes: &'a [u8]) -> Option<Result<Self, Malformed>> {
        match *bytes {
            [STRING, len @ ..0x80, ref text @ ..] if text.len() == usize::from(len) => {
                Some(Value::Len(text).text().map(Self::String))
            }
            [INT, ref rest @ ..] => {
                let mut rest = rest;
                let value = varint(&mut rest).ok()?;
                rest.is_empty().then_some(Ok(Self::Int(value as i64)))
            }
            _ => None,
        }
    }

    /// A value that is not a message.
    #[inline]
    fn of_scalar((number, value): (u32, Value<'a>)) -> Option<Result<Self, Malformed>> {
        Some(match number {
            any_value::STRING_VALUE => value.text().map(Self::String),
            any_value::BOOL_VALUE => value.varint().map(|value| Self::Bool(value != 0)),
            any_value::INT_VALUE => value.varint().map(|value| Self::Int(value as i64)),
            any_value::DOUBLE_VALUE => value.fixed64().map(f64::from_bits).map(Self::Double),
            any_value::BYTES_VALUE => value.bytes().map(Self::Bytes),
            any_value::STRING_VALUE_STRINDEX => value.varint().map(|_| Self::Empty),
            _ => return None,
        })
    }

    fn of_unusual(message: Message<'a>) -> Result<Self, Malformed> {
        let Some(member) = message.last_member(is_any_value)? else { return Ok(Self::Empty) };
        if let Some(value) = Self::of_scalar((member.number, member.value)) {
            return value;
        }
        let inner = member.message()?;
        Ok(match member.number {
            any_value::ARRAY_VALUE => Self::Array(Array::over(inner)),
            _ => Self::KeyValues(Attributes::new(inner, key_value_list::VALUES)),
        })
    }

    /// The value of a `KeyValue`.
    // A usual value is made where it is returned: to copy one that was just written waits for
    // the store.
    #[inline(always)]
    fn of_pair(pair: Message<'a>) -> Result<Self, Malformed> {
        if let Some((_, value)) = pair.whole().and_then(usual_pair) {
            let value = pair.inner(value)?;
            return match value.whole().and_then(Self::of_usual) {
                Some(value) => value,
                None => Self::of(value),
            };
        }
        Self::of_unusual_pair(pair)
    }

    #[cold]
    fn of_unusual_pair(pair: Message<'a>) -> Result<Self, Malformed> {
        pair.message(key_value::VALUE)?.map_or(Ok(Self::Empty), Self::of)
    }
}

/// `string_value_strindex` as well: outside of profiles it means that there is no value.
fn is_any_value(number: u32) -> bool {
    (any_value::STRING_VALUE..=any_value::STRING_VALUE_STRINDEX).contains(&number)
}

/// The elements of an array. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Array<'a> {
    around: Message<'a>,
    walk: Walk<'a>,
}

impl<'a> Array<'a> {
    fn over(message: Message<'a>) -> Self {
        Self { around: message, walk: message.walk() }
    }
}

impl<'a> Iterator for Array<'a> {
    type Item = Result<AnyValue<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let element = self.walk.next_of(array_value::VALUES)?;
        let value =
            element.and_then(|value| self.around.inner(value.bytes()?)).and_then(AnyValue::of);
        if value.is_err() {
            self.walk.end();
        }
        Some(value)
    }
}

/// Attributes, or the pairs of a map: keys and values in the order in which they stand. Ends
/// after the first error.
///
/// # Examples
///
/// ```
/// use spanwire::wire::{AnyValue, Span};
///
/// // Field 9 of a span is an attribute: key (1) "a", value (2) an int_value (3).
/// let span = [0x4a, 0x07, 0x0a, 0x01, b'a', 0x12, 0x02, 0x18, 0x05];
/// let attributes = Span::new(&span).attributes();
/// assert_eq!(attributes.get("a")?.and_then(|value| value.as_i64()), Some(5));
/// assert!(attributes.get("b")?.is_none());
/// for attribute in attributes {
///     let (key, value) = attribute?;
///     assert!(key == "a" && matches!(value, AnyValue::Int(5)));
/// }
/// # Ok::<(), spanwire::wire::Malformed>(())
/// ```
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    around: Message<'a>,
    walk: Walk<'a>,
    number: u32,
}

impl<'a> Attributes<'a> {
    #[inline]
    pub(super) fn new(around: Message<'a>, number: u32) -> Self {
        Self { around, walk: around.walk(), number }
    }

    /// The value of the last attribute, of those not iterated over yet, whose key is `key`. Takes
    /// time in proportion to the bytes of the message, not to the number of its attributes.
    ///
    /// # Errors
    /// The message around the attributes is malformed, or an attribute is up to its key, or the
    /// value that was found.
    pub fn get(&self, key: &str) -> Result<Option<AnyValue<'a>>, Malformed> {
        let mut found = None;
        self.walk.each_of(self.number, |pair| {
            if self.has_key(pair, key)? {
                found = Some(pair);
            }
            Ok(())
        })?;
        let Some(pair) = found else { return Ok(None) };
        AnyValue::of_pair(self.around.inner(pair)?).map(Some)
    }

    #[inline]
    fn has_key(&self, pair: &[u8], key: &str) -> Result<bool, Malformed> {
        match usual_pair(pair) {
            Some((found, _)) => Ok(found == key.as_bytes()),
            None => self.has_unusual_key(pair, key),
        }
    }

    #[cold]
    fn has_unusual_key(&self, pair: &[u8], key: &str) -> Result<bool, Malformed> {
        Ok(self.around.inner(pair)?.text(key_value::KEY)? == key)
    }

    fn pair(&self, value: Value<'a>) -> Result<(&'a str, AnyValue<'a>), Malformed> {
        let pair = self.around.inner(value.bytes()?)?;
        Ok((pair.text(key_value::KEY)?, AnyValue::of_pair(pair)?))
    }
}

/// Key and value of a `KeyValue` that is a short key, a short value, and nothing else.
#[inline]
fn usual_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let [KEY, key_len @ ..0x80, rest @ ..] = pair else { return None };
    let (key, value) = rest.split_at_checked(usize::from(*key_len))?;
    let [VALUE, value_len @ ..0x80, value @ ..] = value else { return None };
    (value.len() == usize::from(*value_len)).then_some((key, value))
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(&'a str, AnyValue<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.walk.next_of(self.number)?;
        let pair = field.and_then(|value| self.pair(value));
        if pair.is_err() {
            self.walk.end();
        }
        Some(pair)
    }
}

view! {
    /// What the telemetry is about.
    Resource
}

impl<'a> Resource<'a> {
    /// `attributes`
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, resource::ATTRIBUTES)
    }

    getters! {
        /// `dropped_attributes_count`
        dropped_attributes_count: uint32 -> u32 = resource::DROPPED_ATTRIBUTES_COUNT;
    }
}

view! {
    /// An `InstrumentationScope`: the library that made the records.
    Scope
}

impl<'a> Scope<'a> {
    getters! {
        /// `name`
        name: text -> &'a str = instrumentation_scope::NAME;
        /// `version`
        version: text -> &'a str = instrumentation_scope::VERSION;
        /// `dropped_attributes_count`
        dropped_attributes_count: uint32 -> u32 = instrumentation_scope::DROPPED_ATTRIBUTES_COUNT;
    }

    /// `attributes`
    #[inline]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.message, instrumentation_scope::ATTRIBUTES)
    }
}

/// The first byte of a usual `KeyValue`.
const KEY: u8 = (key_value::KEY << 3 | 2) as u8;
/// What follows its key.
const VALUE: u8 = (key_value::VALUE << 3 | 2) as u8;
/// The first byte of a text.
const STRING: u8 = (any_value::STRING_VALUE << 3 | 2) as u8;
/// The first byte of an integer.
const INT: u8 = (any_value::INT_VALUE << 3) as u8;
