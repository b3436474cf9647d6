//! What all views are made of: a message that may be split.

use super::super::read::{DEPTH_MAX, Fields, Malformed, Value, unzigzag};

/// A message somewhere in encoded bytes.
///
/// Protobuf merges the occurrences of a message field, which is to concatenate their bytes. That
/// would need memory, so a split message is known as the message around it and the field number
/// of its parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// Its fields; or, if it is split, fields of the message around it.
    bytes: &'a [u8],
    /// The number of its parts in `bytes`, or [`WHOLE`].
    parts: u32,
    /// Messages around it, up to the one where the walk began.
    depth: u8,
}

impl<'a> Message<'a> {
    /// The message where a walk begins.
    pub(super) fn outermost(bytes: &'a [u8]) -> Self {
        Self { bytes, parts: WHOLE, depth: 0 }
    }

    /// Its bytes, if it is not split.
    #[inline]
    pub(super) fn whole(self) -> Option<&'a [u8]> {
        (self.parts == WHOLE).then_some(self.bytes)
    }

    /// All fields, of one part after the other.
    #[inline]
    pub(super) fn walk(self) -> Walk<'a> {
        let (inside, around) = self.inside_and_around();
        let [inside, around] = [inside, around].map(|bytes| Fields::at_depth(bytes, self.depth));
        Walk { inside, around, parts: self.parts }
    }

    /// A message inside of this one, of which `bytes` are all.
    #[inline]
    pub(super) fn inner(self, bytes: &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self { bytes, parts: WHOLE, depth: deeper(self.depth)? })
    }

    /// The last value of a field; if there are several, all are checked.
    #[inline]
    pub(super) fn last<T>(
        self,
        number: u32,
        read: impl Fn(Value<'a>) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Malformed> {
        let (mut walk, mut last) = (self.walk(), None);
        while let Some(value) = walk.next_of(number) {
            last = Some(read(value?)?);
        }
        Ok(last)
    }

    /// A string, or "" if it is absent; the same for the other types of proto3.
    pub(super) fn text(self, number: u32) -> Result<&'a str, Malformed> {
        self.last(number, Value::text).map(Option::unwrap_or_default)
    }

    pub(super) fn bytes(self, number: u32) -> Result<&'a [u8], Malformed> {
        self.last(number, Value::bytes).map(Option::unwrap_or_default)
    }

    pub(super) fn boolean(self, number: u32) -> Result<bool, Malformed> {
        Ok(self.uint64(number)? != 0)
    }

    pub(super) fn uint64(self, number: u32) -> Result<u64, Malformed> {
        self.last(number, Value::varint).map(Option::unwrap_or_default)
    }

    /// Of a longer number the low half counts, as it does in other implementations.
    pub(super) fn uint32(self, number: u32) -> Result<u32, Malformed> {
        Ok(self.uint64(number)? as u32)
    }

    /// An int32 or an enum.
    pub(super) fn int32(self, number: u32) -> Result<i32, Malformed> {
        Ok(self.uint64(number)? as i32)
    }

    pub(super) fn sint32(self, number: u32) -> Result<i32, Malformed> {
        self.uint32(number).map(unzigzag)
    }

    pub(super) fn fixed32(self, number: u32) -> Result<u32, Malformed> {
        self.last(number, Value::fixed32).map(Option::unwrap_or_default)
    }

    pub(super) fn fixed64(self, number: u32) -> Result<u64, Malformed> {
        self.last(number, Value::fixed64).map(Option::unwrap_or_default)
    }

    pub(super) fn double(self, number: u32) -> Result<f64, Malformed> {
        self.optional_double(number).map(Option::unwrap_or_default)
    }

    pub(super) fn optional_double(self, number: u32) -> Result<Option<f64>, Malformed> {
        Ok(self.last(number, Value::fixed64)?.map(f64::from_bits))
    }

    /// The field's message, merged.
    pub(super) fn message(self, number: u32) -> Result<Option<Self>, Malformed> {
        self.last_member(|found| found == number)?.map(Member::message).transpose()
    }

    /// The member of a oneof that is set: the last.
    pub(super) fn last_member(
        self,
        is_member: impl Fn(u32) -> bool,
    ) -> Result<Option<Member<'a>>, Malformed> {
        let mut last: Option<Member<'a>> = None;
        for (part, fields) in self.parts().enumerate() {
            let mut fields = Fields::at_depth(fields?, self.depth);
            loop {
                let tail = fields.rest();
                let Some(field) = fields.next() else { break };
                let (number, value) = field?;
                if is_member(number) {
                    let after = fields.rest().len();
                    let count = Count::One;
                    let here = Member { number, value, tail, after, part, count, around: self };
                    last = Some(match last {
                        Some(before) if before.number == number => before.and(here),
                        _ => here,
                    });
                }
            }
        }
        Ok(last)
    }

    /// The field of a message that has one, as a usual `AnyValue` has.
    #[inline]
    pub(super) fn only_field(self) -> Option<(u32, Value<'a>)> {
        let mut fields = Fields::at_depth(self.whole()?, self.depth);
        let field = fields.next()?.ok()?;
        fields.rest().is_empty().then_some(field)
    }

    fn parts(self) -> impl Iterator<Item = Result<&'a [u8], Malformed>> {
        let (inside, around) = self.inside_and_around();
        let whole = (self.parts == WHOLE).then_some(Ok(inside));
        let parts = Fields::at_depth(around, self.depth).filter_map(move |field| match field {
            Ok((number, value)) if number == self.parts => Some(value.bytes()),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        });
        whole.into_iter().chain(parts)
    }

    /// The fields of this message, or those of the one around its parts.
    fn inside_and_around(self) -> (&'a [u8], &'a [u8]) {
        if self.parts == WHOLE { (self.bytes, &[]) } else { (&[], self.bytes) }
    }
}

/// A member of a oneof, or a message field; with what it is merged of if it is a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member<'a> {
    /// Its field number.
    pub(super) number: u32,
    /// Its last value; all of it unless it is a message.
    pub(super) value: Value<'a>,
    /// From the first of its occurrences to the end of the part that they are in,
    tail: &'a [u8],
    /// with this many bytes after the last.
    after: usize,
    /// Counts the parts of the message around it.
    part: usize,
    count: Count,
    around: Message<'a>,
}

/// How many occurrences are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    One,
    /// Several in the same part.
    Several,
    /// Several in several parts.
    Scattered,
}

impl<'a> Member<'a> {
    fn and(self, here: Self) -> Self {
        if self.part != here.part || self.count == Count::Scattered {
            return Self { count: Count::Scattered, ..here };
        }
        Self { tail: self.tail, count: Count::Several, ..here }
    }

    pub(super) fn message(self) -> Result<Message<'a>, Malformed> {
        match self.count {
            Count::One => self.around.inner(self.value.bytes()?),
            Count::Several => {
                let bytes = &self.tail[..self.tail.len() - self.after];
                Ok(Message { parts: self.number, ..self.around.inner(bytes)? })
            }
            Count::Scattered => Err(Malformed::Scattered),
        }
    }
}

/// The fields of a message that may be split, by their numbers.
#[derive(Clone, Debug)]
pub(super) struct Walk<'a> {
    /// The fields of this part.
    inside: Fields<'a>,
    /// The fields that come after this part in the message around it.
    around: Fields<'a>,
    parts: u32,
}

impl<'a> Walk<'a> {
    /// The value of the next field with this number. Nothing comes after an error.
    #[inline]
    pub(super) fn next_of(&mut self, number: u32) -> Option<Result<Value<'a>, Malformed>> {
        loop {
            match self.inside.next_of(number) {
                Some(Ok(value)) => return Some(Ok(value)),
                Some(Err(error)) => return Some(Err(self.fail(error))),
                None if self.around.rest().is_empty() => return None,
                None => {}
            }
            if let Err(error) = self.next_part() {
                return Some(Err(self.fail(error)));
            }
        }
    }

    /// Hands the messages of the remaining fields with this number to `visit`.
    #[inline]
    pub(super) fn each_of(
        &self,
        number: u32,
        mut visit: impl FnMut(&'a [u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.inside.each_of(number, &mut visit)?;
        if self.around.rest().is_empty() {
            return Ok(());
        }
        self.around.each_of(self.parts, |part| self.inside.again(part).each_of(number, &mut visit))
    }

    #[cold]
    fn fail(&mut self, error: Malformed) -> Malformed {
        self.end();
        error
    }

    /// Nothing comes any more.
    pub(super) fn end(&mut self) {
        let nothing = Fields::new(&[]);
        [self.inside, self.around] = [nothing.clone(), nothing];
    }

    #[cold]
    fn next_part(&mut self) -> Result<(), Malformed> {
        if let Some(part) = self.around.next_of(self.parts) {
            self.inside = self.inside.again(part?.bytes()?);
        }
        Ok(())
    }
}

fn deeper(depth: u8) -> Result<u8, Malformed> {
    if depth < DEPTH_MAX { Ok(depth + 1) } else { Err(Malformed::Depth) }
}

/// No field has this number.
const WHOLE: u32 = 0;
