//! Fields that occur again and again.

use super::super::read::{Malformed, Value, fixed64, varint};
use super::message::{Message, Walk};

/// The messages of a repeated field, in the order in which they stand. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Repeated<'a, V> {
    around: Message<'a>,
    walk: Walk<'a>,
    number: u32,
    view: fn(Message<'a>) -> V,
}

impl<'a, V> Repeated<'a, V> {
    pub(super) fn new(around: Message<'a>, number: u32, view: fn(Message<'a>) -> V) -> Self {
        Self { around, walk: around.walk(), number, view }
    }

    fn one(&self, value: Value<'a>) -> Result<V, Malformed> {
        Ok((self.view)(self.around.inner(value.bytes()?)?))
    }
}

impl<V> Iterator for Repeated<'_, V> {
    type Item = Result<V, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let one = match self.walk.next_of(self.number)? {
            Ok(value) => self.one(value),
            Err(error) => Err(error),
        };
        if one.is_err() {
            self.walk.end();
        }
        Some(one)
    }
}

/// The numbers of a repeated field, packed in any number of segments, or not packed, or both.
/// Ends after the first error.
#[derive(Clone, Debug)]
pub struct Packed<'a, T> {
    walk: Walk<'a>,
    number: u32,
    /// What was not read yet of this segment.
    segment: &'a [u8],
    layout: Layout<T>,
}

/// How numbers are packed, and what they are.
#[derive(Clone, Copy, Debug)]
enum Layout<T> {
    Fixed64(fn(u64) -> T),
    Varint(fn(u64) -> T),
}

impl<'a, T> Packed<'a, T> {
    pub(super) fn fixed64(message: Message<'a>, number: u32, make: fn(u64) -> T) -> Self {
        Self { walk: message.walk(), number, segment: &[], layout: Layout::Fixed64(make) }
    }

    pub(super) fn varint(message: Message<'a>, number: u32, make: fn(u64) -> T) -> Self {
        Self { walk: message.walk(), number, segment: &[], layout: Layout::Varint(make) }
    }

    fn number(&mut self) -> Result<Option<T>, Malformed> {
        while self.segment.is_empty() {
            let Some(value) = self.walk.next_of(self.number) else { return Ok(None) };
            match (value?, &self.layout) {
                (Value::Len(segment), _) => self.segment = segment,
                (Value::Fixed64(bits), Layout::Fixed64(make)) => return Ok(Some(make(bits))),
                (Value::Varint(value), Layout::Varint(make)) => return Ok(Some(make(value))),
                _ => return Err(Malformed::Type),
            }
        }
        Ok(Some(match self.layout {
            Layout::Fixed64(make) => make(fixed64(&mut self.segment)?),
            Layout::Varint(make) => make(varint(&mut self.segment)?),
        }))
    }
}

impl<T> Iterator for Packed<'_, T> {
    type Item = Result<T, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let number = self.number();
        if number.is_err() {
            self.segment = &[];
            self.walk.end();
        }
        number.transpose()
    }
}
