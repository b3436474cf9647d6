//! Reading protobuf from bytes that somebody else made.
//!
//! Nothing here panics, allocates or recurses; each length is checked against what is left.
//! Malformed input is an error and never mistaken for an absent field.

use std::fmt;

use super::write::VARINT_LEN_MAX;

/// The fields of one message, in the order in which they stand. Ends after the first error.
///
/// What a field means is up to the caller: [`Span`](super::Span) and the other views know it.
///
/// # Examples
///
/// ```
/// use spanwire::wire::{Fields, Malformed, Value};
///
/// // Field 1 is the varint 150, field 2 the string "ok".
/// let message = [0x08, 0x96, 0x01, 0x12, 0x02, b'o', b'k'];
/// let fields: Result<Vec<_>, _> = Fields::new(&message).collect();
/// assert_eq!(fields?, [(1, Value::Varint(150)), (2, Value::Len(b"ok"))]);
///
/// // A length that reaches beyond its message is an error, not an absent field.
/// assert_eq!(Fields::new(&message[..6]).last(), Some(Err(Malformed::Truncated)));
/// # Ok::<(), Malformed>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    /// Groups may nest so deep.
    groups_max: u8,
}

/// A field's value as far as the wire tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer, bool or enum. A negative int32 or int64 is its two's complement in 64 bits,
    /// a sint32 or sint64 is still zigzag encoded.
    Varint(u64),
    /// A fixed64, sfixed64, or the bits of a double.
    Fixed64(u64),
    /// A string, bytes, a message or a packed field.
    Len(&'a [u8]),
    /// The fields of a group, balanced and not too deep. OTLP has none; skip it.
    Group(&'a [u8]),
    /// A fixed32, sfixed32, or the bits of a float.
    Fixed32(u32),
}

/// Why bytes are not the protobuf message that they should be. The fault is the sender's, and
/// sending the same again will not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// They end inside a field.
    Truncated,
    /// A varint has more than ten bytes or more than 64 bits; a key more than five or 32.
    Overlong,
    /// A key has field number 0 or a wire type that does not exist.
    Key,
    /// A group ends that was not begun, or they nest deeper than [`DEPTH_MAX`].
    Group,
    /// Something other than a record stands in a run of records.
    NotARecord,
    /// A field that OTLP knows has another type than there.
    Type,
    /// A string is not UTF-8.
    Utf8,
    /// Messages nest deeper than [`DEPTH_MAX`].
    Depth,
    /// A message is split in more ways than a view can follow: see [the module](super).
    Scattered,
}

impl<'a> Fields<'a> {
    /// Reads `message`, without its length.
    pub fn new(message: &'a [u8]) -> Self {
        Self::at_depth(message, 0)
    }

    /// The same for a message inside `depth` others, whose groups may nest less deep.
    pub(crate) fn at_depth(message: &'a [u8], depth: u8) -> Self {
        Self { rest: message, groups_max: DEPTH_MAX.saturating_sub(depth) }
    }

    /// The same for another message there.
    pub(crate) fn again(&self, message: &'a [u8]) -> Self {
        Self { rest: message, ..*self }
    }

    /// What was not read yet; nothing after an error.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The value of the next field with this number; what is between is checked and skipped.
    #[inline]
    pub(crate) fn next_of(&mut self, number: u32) -> Option<Result<Value<'a>, Malformed>> {
        while !self.rest.is_empty() {
            // Most of OTLP is fields like these.
            if let Some((found, value)) = short(&mut self.rest, number) {
                if found == number {
                    return Some(Ok(Value::Len(value)));
                }
                continue;
            }
            match self.next()? {
                Ok((found, value)) if found == number => return Some(Ok(value)),
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    /// Hands the bytes of all fields with this number to `visit`, checks the rest.
    #[inline]
    pub(crate) fn each_of(
        &self,
        number: u32,
        mut visit: impl FnMut(&'a [u8]) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let mut rest = self.rest;
        while !rest.is_empty() {
            if let Some((found, bytes)) = short(&mut rest, number) {
                if found == number {
                    visit(bytes)?;
                }
                continue;
            }
            let mut fields = self.again(rest);
            let (found, value) = fields.field()?;
            rest = fields.rest;
            if found == number {
                visit(value.bytes()?)?;
            }
        }
        Ok(())
    }

    #[inline]
    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let (number, wire) = key(&mut self.rest)?;
        let value = match wire {
            GROUP_START => Value::Group(group(&mut self.rest, number, self.groups_max)?),
            _ => value(&mut self.rest, wire)?,
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// What a field of a known type may be.
impl<'a> Value<'a> {
    #[inline]
    pub(crate) fn varint(self) -> Result<u64, Malformed> {
        if let Self::Varint(value) = self { Ok(value) } else { Err(Malformed::Type) }
    }

    #[inline]
    pub(crate) fn fixed64(self) -> Result<u64, Malformed> {
        if let Self::Fixed64(value) = self { Ok(value) } else { Err(Malformed::Type) }
    }

    #[inline]
    pub(crate) fn fixed32(self) -> Result<u32, Malformed> {
        if let Self::Fixed32(value) = self { Ok(value) } else { Err(Malformed::Type) }
    }

    /// A bytes field or a message.
    #[inline]
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        if let Self::Len(value) = self { Ok(value) } else { Err(Malformed::Type) }
    }

    #[inline]
    pub(crate) fn text(self) -> Result<&'a str, Malformed> {
        str::from_utf8(self.bytes()?).map_err(|_| Malformed::Utf8)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "ends inside a field",
            Self::Overlong => "has an overlong varint",
            Self::Key => "has an invalid field key",
            Self::Group => "has an unbalanced or too deeply nested group",
            Self::NotARecord => "has something else between its records",
            Self::Type => "has a field of another type than OTLP's",
            Self::Utf8 => "has a string that is not UTF-8",
            Self::Depth => "has too deeply nested messages",
            Self::Scattered => "has a message that is split over the parts of a split message",
        })
    }
}

impl std::error::Error for Malformed {}

/// The records of a run, each with its key and length: field 2 of `ScopeSpans`, `ScopeLogs` and
/// `ScopeMetrics`, again and again. Ends after the first error.
///
/// # Examples
///
/// ```
/// use spanwire::wire::Records;
///
/// let run = [0x12, 0x01, 0xAA, 0x12, 0x02, 0xBB, 0xCC];
/// let records: Result<Vec<_>, _> = Records::new(&run).collect();
/// assert_eq!(records?, [&run[..3], &run[3..]]);
/// # Ok::<(), spanwire::wire::Malformed>(())
/// ```
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Walks `run`.
    pub fn new(run: &'a [u8]) -> Self {
        Self { rest: run }
    }

    fn record(&mut self) -> Result<&'a [u8], Malformed> {
        let whole = self.rest;
        let Some((&RECORD_KEY, rest)) = whole.split_first() else {
            return Err(Malformed::NotARecord);
        };
        self.rest = rest;
        value(&mut self.rest, LEN)?;
        Ok(&whole[..whole.len() - self.rest.len()])
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<&'a [u8], Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.record();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

/// The field that `rest` begins with if it is whole and needs one byte for its key, and another if
/// it has a length. Of another wire type only what is not `number`.
#[inline(always)]
fn short<'a>(rest: &mut &'a [u8], number: u32) -> Option<(u32, &'a [u8])> {
    let [key @ 8..0x80, after @ ..] = *rest else { return None };
    let found = u32::from(key >> 3);
    let (value, after) = match (key & 7, after) {
        (LEN, [len @ ..0x80, after @ ..]) => after.split_at_checked(usize::from(*len))?,
        (FIXED64, _) if found != number => after.split_at_checked(8)?,
        (VARINT, [..0x80, ..]) if found != number => after.split_at(1),
        _ => return None,
    };
    *rest = after;
    Some((found, value))
}

/// A field's number and wire type.
#[inline]
fn key(rest: &mut &[u8]) -> Result<(u32, u8), Malformed> {
    let key = match **rest {
        [byte, ref after @ ..] if byte < 0x80 => {
            *rest = after;
            u32::from(byte)
        }
        _ => long_key(rest)?,
    };
    let (number, wire) = (key >> 3, (key & 7) as u8);
    if number == 0 { Err(Malformed::Key) } else { Ok((number, wire)) }
}

#[inline]
fn long_key(rest: &mut &[u8]) -> Result<u32, Malformed> {
    // Field numbers of 16 and more: the flags of a span and of a log record.
    if let [low @ 0x80..=0xff, high @ ..0x80, ref after @ ..] = **rest {
        *rest = after;
        return Ok(u32::from(low & 0x7f) | u32::from(high) << 7);
    }
    longest_key(rest)
}

#[cold]
fn longest_key(rest: &mut &[u8]) -> Result<u32, Malformed> {
    // A conforming parser refuses keys of more than five bytes (conformance suite,
    // BadTag_OverlongVarint), although longer ones would be accepted as values.
    u32::try_from(bounded_varint(rest, KEY_LEN_MAX)?).map_err(|_| Malformed::Overlong)
}

#[inline]
fn value<'a>(rest: &mut &'a [u8], wire: u8) -> Result<Value<'a>, Malformed> {
    Ok(match wire {
        VARINT => Value::Varint(varint(rest)?),
        FIXED64 => Value::Fixed64(fixed64(rest)?),
        LEN => {
            let len = usize::try_from(varint(rest)?).map_err(|_| Malformed::Truncated)?;
            Value::Len(take(rest, len)?)
        }
        FIXED32 => Value::Fixed32(u32::from_le_bytes(array(rest)?)),
        GROUP_END => return Err(Malformed::Group),
        _ => return Err(Malformed::Key),
    })
}

/// Skips to the end of a group whose start was read, with the groups inside.
#[cold]
fn group<'a>(rest: &mut &'a [u8], number: u32, depth_max: u8) -> Result<&'a [u8], Malformed> {
    let fields = *rest;
    let mut open = [number; DEPTH_MAX as usize];
    let mut depth = usize::from(depth_max > 0);
    if depth == 0 {
        return Err(Malformed::Group);
    }
    loop {
        let before = rest.len();
        match key(rest)? {
            (number, GROUP_START) => {
                *open[..depth_max.into()].get_mut(depth).ok_or(Malformed::Group)? = number;
                depth += 1;
            }
            (number, GROUP_END) if number == open[depth - 1] => depth -= 1,
            (_, wire) => drop(value(rest, wire)?),
        }
        if depth == 0 {
            return Ok(&fields[..fields.len() - before]);
        }
    }
}

/// The varint that `rest` begins with.
#[inline]
pub(crate) fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    match **rest {
        [byte, ref after @ ..] if byte < 0x80 => {
            *rest = after;
            Ok(u64::from(byte))
        }
        _ => bounded_varint(rest, VARINT_LEN_MAX),
    }
}

/// The fixed64 that `rest` begins with.
#[inline]
pub(crate) fn fixed64(rest: &mut &[u8]) -> Result<u64, Malformed> {
    array(rest).map(u64::from_le_bytes)
}

/// 0, -1, 1, -2 ... for 0, 1, 2, 3 ...
pub(crate) fn unzigzag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

fn bounded_varint(rest: &mut &[u8], len_max: usize) -> Result<u64, Malformed> {
    let mut value = 0_u64;
    for index in 0..len_max {
        let [byte] = array(rest)?;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            // The tenth byte carries the last of 64 bits.
            let fits = index + 1 < VARINT_LEN_MAX || byte < 2;
            return if fits { Ok(value) } else { Err(Malformed::Overlong) };
        }
    }
    Err(Malformed::Overlong)
}

#[inline]
fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (array, after) = rest.split_first_chunk().ok_or(Malformed::Truncated)?;
    *rest = after;
    Ok(*array)
}

#[inline]
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (taken, after) = rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
    *rest = after;
    Ok(taken)
}

/// Messages and groups may nest so deep: as other implementations have it (protobuf C++, Java,
/// upb and prost: 100).
pub const DEPTH_MAX: u8 = 100;

/// Bytes of the longest key: 32 bits in groups of seven.
const KEY_LEN_MAX: usize = 5;

/// Field 2 with a length.
const RECORD_KEY: u8 = 0x12;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LEN: u8 = 2;
const GROUP_START: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED32: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
        Fields::new(bytes).collect()
    }

    #[test]
    fn every_wire_type_is_read() {
        let bytes = [8, 150, 1, 17, 1, 0, 0, 0, 0, 0, 0, 0, 26, 2, 7, 8, 37, 2, 0, 0, 0];
        let expected = vec![
            (1, Value::Varint(150)),
            (2, Value::Fixed64(1)),
            (3, Value::Len(&[7, 8])),
            (4, Value::Fixed32(2)),
        ];
        assert_eq!(read(&bytes), Ok(expected));
    }

    #[test]
    fn a_key_of_any_width_is_read() {
        for number in [1, 15, 16, 17, 127, 128, 2047, 2048, 262_143, (1 << 29) - 1] {
            let mut bytes = Vec::new();
            let wire = prost::encoding::WireType::Varint;
            prost::encoding::encode_key(number, wire, &mut bytes);
            assert_eq!(read(&bytes), Err(Malformed::Truncated));
            bytes.push(7);
            assert_eq!(read(&bytes), Ok(vec![(number, Value::Varint(7))]));
        }
        // One byte more than it needs, and no number at all.
        assert_eq!(read(&[0x88, 0, 7]), Ok(vec![(1, Value::Varint(7))]));
        assert_eq!(read(&[0x80, 0, 7]), Err(Malformed::Key));
    }

    #[test]
    fn a_group_is_one_field_with_all_that_is_inside() {
        // Field 5 opens a group; in it are field 1, another group (field 6), and a string.
        let bytes = [0x2b, 8, 1, 0x33, 18, 1, 0x2c, 0x34, 0x2c, 8, 9];
        let group = (5, Value::Group(&[8, 1, 0x33, 18, 1, 0x2c, 0x34]));
        assert_eq!(read(&bytes), Ok(vec![group, (1, Value::Varint(9))]));
        assert_eq!(read(&[0x2b, 0x34]), Err(Malformed::Group));
        assert_eq!(read(&[0x2c]), Err(Malformed::Group));
        assert_eq!(read(&[0x2b]), Err(Malformed::Truncated));
    }

    #[test]
    fn groups_nest_to_a_bound() {
        let nest = |depth| [vec![0x0b; depth], vec![0x0c; depth]].concat();
        let max = usize::from(DEPTH_MAX);
        assert_eq!(read(&nest(max)).unwrap().len(), 1);
        assert_eq!(read(&nest(max + 1)), Err(Malformed::Group));
        let inside = |depth| Fields::at_depth(&nest(max - 1), depth).last().unwrap().map(drop);
        assert_eq!((inside(1), inside(2)), (Ok(()), Err(Malformed::Group)));
    }

    #[test]
    fn malformed_bytes_are_errors_and_end_the_walk() {
        let overlong_value = [&[8][..], &[0x80; 10], &[0]].concat();
        let too_large_value = [&[8][..], &[0xff; 9], &[2]].concat();
        let table: [(&[u8], Malformed); 10] = [
            (&[8], Malformed::Truncated),
            (&[8, 0x80], Malformed::Truncated),
            (&[10, 3, 1, 2], Malformed::Truncated),
            (&[10, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], Malformed::Truncated),
            (&[9, 1, 2], Malformed::Truncated),
            (&[0, 1], Malformed::Key),
            (&[15], Malformed::Key),
            (&[0x88, 0x80, 0x80, 0x80, 0x80, 0, 1], Malformed::Overlong),
            (&overlong_value, Malformed::Overlong),
            (&too_large_value, Malformed::Overlong),
        ];
        for (bytes, expected) in table {
            let mut fields = Fields::new(bytes);
            assert_eq!(fields.next(), Some(Err(expected)), "{bytes:?}");
            assert_eq!(fields.next(), None, "{bytes:?}");
        }
    }

    #[test]
    fn padded_values_and_lengths_are_accepted() {
        let padded = [8, 0x85, 0x80, 0x80, 0, 18, 0x81, 0x80, 0, 7];
        assert_eq!(read(&padded), Ok(vec![(1, Value::Varint(5)), (2, Value::Len(&[7]))]));
    }

    #[test]
    fn a_run_with_anything_else_in_it_is_refused() {
        let run = [0x12, 1, 7, 0x1a, 0];
        let records: Vec<_> = Records::new(&run).collect();
        assert_eq!(records, [Ok(&run[..3]), Err(Malformed::NotARecord)]);
        let cut: Vec<_> = Records::new(&[0x12, 2, 7]).collect();
        assert_eq!(cut, [Err(Malformed::Truncated)]);
    }

    proptest! {
        #[test]
        fn a_run_is_cut_into_the_records_that_it_was_made_of(
            lens in prop::collection::vec(prop_oneof![0_usize..5, 120_usize..140, 16_380_usize..16_390], 0..6),
        ) {
            let records: Vec<Vec<u8>> = lens
                .iter()
                .map(|&len| {
                    let mut record = vec![0x12];
                    prost::encoding::encode_varint(len as u64, &mut record);
                    record.resize(record.len() + len, 0x12);
                    record
                })
                .collect();
            let run = records.concat();
            let walked: Result<Vec<_>, _> = Records::new(&run).collect();
            prop_assert_eq!(walked.unwrap(), records);
        }

        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Fields::new(&bytes).count() <= bytes.len());
            prop_assert!(Records::new(&bytes).count() <= bytes.len());
        }
    }
}
