//! Reading protobuf from bytes that somebody else made.
//!
//! Nothing here panics, allocates or recurses; each length is checked against what is left.
//! Malformed input is an error and never mistaken for an absent field.

use std::fmt;

use super::write::VARINT_LEN_MAX;

/// The fields of one message, in the order in which they stand. Groups are skipped, and the
/// iterator ends after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// A field's value as far as the wire tells it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// An integer, bool or enum.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// A string, bytes, a message or a packed field.
    Len(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
}

/// Why bytes are not a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// They end inside a field.
    Truncated,
    /// A varint has more than ten bytes or more than 64 bits; a key more than five or 32.
    Overlong,
    /// A key has field number 0 or a wire type that does not exist.
    Key,
    /// A group ends that was not begun, or they nest deeper than [`GROUP_DEPTH_MAX`].
    Group,
    /// Something other than a record stands in a run of records.
    NotARecord,
}

impl<'a> Fields<'a> {
    /// Reads `message`, without its length.
    pub(crate) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Malformed> {
        while !self.rest.is_empty() {
            match key(&mut self.rest)? {
                (number, GROUP_START) => skip_group(&mut self.rest, number)?,
                (number, wire) => return Ok(Some((number, value(&mut self.rest, wire)?))),
            }
        }
        Ok(None)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        field.transpose()
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
        })
    }
}

impl std::error::Error for Malformed {}

/// The records of a run, each with its key and length: what `encode` writes as field 2 of
/// `ScopeSpans`, `ScopeLogs` and `ScopeMetrics`. Ends after the first error.
#[derive(Clone, Debug)]
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Walks `run`.
    pub(crate) fn new(run: &'a [u8]) -> Self {
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

/// A field's number and wire type.
fn key(rest: &mut &[u8]) -> Result<(u32, u8), Malformed> {
    // A conforming parser refuses keys of more than five bytes (conformance suite,
    // BadTag_OverlongVarint), although longer ones would be accepted as values.
    let key = u32::try_from(bounded_varint(rest, KEY_LEN_MAX)?).map_err(|_| Malformed::Overlong)?;
    let (number, wire) = (key >> 3, (key & 7) as u8);
    if number == 0 { Err(Malformed::Key) } else { Ok((number, wire)) }
}

fn value<'a>(rest: &mut &'a [u8], wire: u8) -> Result<Value<'a>, Malformed> {
    Ok(match wire {
        VARINT => Value::Varint(varint(rest)?),
        FIXED64 => Value::Fixed64(u64::from_le_bytes(array(rest)?)),
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
fn skip_group(rest: &mut &[u8], number: u32) -> Result<(), Malformed> {
    let mut open = [number; GROUP_DEPTH_MAX];
    let mut depth = 1;
    while depth > 0 {
        match key(rest)? {
            (number, GROUP_START) => {
                *open.get_mut(depth).ok_or(Malformed::Group)? = number;
                depth += 1;
            }
            (number, GROUP_END) if number == open[depth - 1] => depth -= 1,
            (_, wire) => drop(value(rest, wire)?),
        }
    }
    Ok(())
}

fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    bounded_varint(rest, VARINT_LEN_MAX)
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

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Malformed> {
    let (array, after) = rest.split_first_chunk().ok_or(Malformed::Truncated)?;
    *rest = after;
    Ok(*array)
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], Malformed> {
    let (taken, after) = rest.split_at_checked(len).ok_or(Malformed::Truncated)?;
    *rest = after;
    Ok(taken)
}

/// As deep as other implementations go (protobuf C++, Java and prost: 100).
pub(crate) const GROUP_DEPTH_MAX: usize = 100;

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
    fn groups_are_skipped_with_all_that_is_inside() {
        // Field 5 opens a group; in it are field 1, another group (field 6), and a string.
        let bytes = [0x2b, 8, 1, 0x33, 18, 1, 0x2c, 0x34, 0x2c, 8, 9];
        assert_eq!(read(&bytes), Ok(vec![(1, Value::Varint(9))]));
        assert_eq!(read(&[0x2b, 0x34]), Err(Malformed::Group));
        assert_eq!(read(&[0x2c]), Err(Malformed::Group));
        assert_eq!(read(&[0x2b]), Err(Malformed::Truncated));
    }

    #[test]
    fn groups_nest_to_a_bound() {
        let nest = |depth| [vec![0x0b; depth], vec![0x0c; depth]].concat();
        assert_eq!(read(&nest(GROUP_DEPTH_MAX)), Ok(vec![]));
        assert_eq!(read(&nest(GROUP_DEPTH_MAX + 1)), Err(Malformed::Group));
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
