//! Writing protobuf: keys that the compiler knows, short lengths in one store, no padding.

use std::iter::successors;

use bytes::Bytes;
use spanwire_runtime::buf::{Cursor, Padded};

/// How a field is laid out (protobuf encoding, "Message Structure").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// int32, int64, uint32, uint64, bool, enum.
    Varint = 0,
    /// fixed64, sfixed64, double.
    Fixed64 = 1,
    /// string, bytes, messages, packed repeated fields.
    Len = 2,
    /// fixed32, sfixed32, float.
    Fixed32 = 5,
}

/// The one-byte key of field `number`.
///
/// # Panics
/// If the key needs more than one byte. Used in constants only, so that is a compile error.
pub(crate) const fn key(number: u32, wire: Wire) -> u8 {
    assert!(number > 0 && number < 16, "the key of this field has two bytes");
    (number << 3) as u8 | wire as u8
}

/// The two-byte key of field `number`.
///
/// # Panics
/// If the key needs fewer or more than two bytes. Used in constants only.
pub(crate) const fn wide_key(number: u32, wire: Wire) -> [u8; 2] {
    assert!(number >= 16 && number < 2048, "the key of this field has not two bytes");
    let key = (number << 3) | wire as u32;
    [key as u8 | CONTINUES, (key >> 7) as u8]
}

/// Bytes of `value` as a varint: 1 to 10.
#[inline]
pub(crate) const fn varint_len(value: u64) -> usize {
    if value < 1 << 7 {
        return 1;
    }
    // ceil(bits / 7) without a division.
    let top_bit = 63 - value.leading_zeros() as usize;
    (top_bit * 9 + 73) / 64
}

/// Bytes of a field with a one-byte key and a length: key, length, and `len` bytes.
#[inline]
pub(crate) const fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Writes a varint.
#[inline]
pub(crate) fn put_varint(out: &mut Cursor<'_>, value: u64) {
    if value < 1 << 7 {
        out.put_u8(value as u8);
    } else if value < 1 << 14 {
        out.put_array([value as u8 | CONTINUES, (value >> 7) as u8]);
    } else if value < 1 << 21 {
        let middle = (value >> 7) as u8 | CONTINUES;
        out.put_array([value as u8 | CONTINUES, middle, (value >> 14) as u8]);
    } else {
        let (bytes, len) = varint(value);
        out.put_row(Padded::new(bytes, len));
    }
}

/// Writes the key and the length of a field whose `len` bytes follow.
#[inline]
pub(crate) fn put_len(out: &mut Cursor<'_>, key: u8, len: usize) {
    if len < 1 << 7 {
        out.put_array([key, len as u8]);
    } else if len < 1 << 14 {
        out.put_array([key, len as u8 | CONTINUES, (len >> 7) as u8]);
    } else {
        out.put_u8(key);
        put_varint(out, len as u64);
    }
}

/// Writes a string or bytes field, also if it is empty.
#[inline]
pub(crate) fn put_bytes(out: &mut Cursor<'_>, key: u8, bytes: &[u8]) {
    put_len(out, key, bytes.len());
    out.put_slice(bytes);
}

/// Writes a string field unless it has the default value of proto3.
#[inline]
pub(crate) fn put_str_unless_empty(out: &mut Cursor<'_>, key: u8, text: &str) {
    if !text.is_empty() {
        put_bytes(out, key, text.as_bytes());
    }
}

/// Writes a uint32, uint64 or enum field unless it has the default value of proto3.
#[inline]
pub(crate) fn put_uint_unless_zero(out: &mut Cursor<'_>, key: u8, value: u64) {
    if value != 0 {
        out.put_u8(key);
        put_varint(out, value);
    }
}

/// Writes a fixed64 field unless it has the default value of proto3.
#[inline]
pub(crate) fn put_fixed64_unless_zero(out: &mut Cursor<'_>, key: u8, value: u64) {
    if value != 0 {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        out.put_array([key, a, b, c, d, e, f, g, h]);
    }
}

/// Writes a message field whose length is not known before it is written.
///
/// Reserves the bytes that a length of about `guess` needs; where the guess was wrong the
/// message is moved, so the length is canonical always. An overflowed cursor ignores all that.
#[inline]
pub(crate) fn message(
    out: &mut Cursor<'_>,
    key: u8,
    guess: usize,
    fill: impl FnOnce(&mut Cursor<'_>),
) {
    out.put_u8(key);
    let length_at = out.len();
    let reserved = reserve(out, guess);
    let start = out.len();
    fill(out);
    let len = out.len() - start;
    if reserved == 2 && (1 << 7..1 << 14).contains(&len) {
        out.patch(length_at, &[len as u8 | CONTINUES, (len >> 7) as u8]);
    } else if reserved == 1 && len < 1 << 7 {
        out.patch(length_at, &[len as u8]);
    } else {
        settle(out, length_at, reserved, len);
    }
}

/// What `fill` writes, as bytes of their own. It is called again with twice the room for as long
/// as it does not fit. For what is written once: resources, scopes, request headers.
pub(crate) fn to_bytes(room: usize, fill: impl Fn(&mut Cursor<'_>)) -> Bytes {
    let mut written = Vec::new();
    successors(Some(room.max(1)), |room| room.checked_mul(2))
        .find(|&room| Cursor::append_to(&mut written, room, &fill).is_ok());
    written.into()
}

#[inline]
fn reserve(out: &mut Cursor<'_>, guess: usize) -> usize {
    if guess < 1 << 7 {
        out.put_u8(0);
        1
    } else if guess < 1 << 14 {
        out.put_array([0; 2]);
        2
    } else {
        out.put_array([0; 3]);
        3
    }
}

/// Moves a message of `len` bytes behind the length that it really needs.
#[cold]
fn settle(out: &mut Cursor<'_>, length_at: usize, reserved: usize, len: usize) {
    let (bytes, needed) = varint(len as u64);
    if needed > reserved {
        out.open_gap(length_at, needed - reserved);
    } else if needed < reserved {
        out.close_gap(length_at, reserved - needed);
    }
    out.patch(length_at, &bytes[..needed]);
}

/// A varint and how many bytes of it count.
#[inline]
pub(crate) fn varint(mut value: u64) -> ([u8; VARINT_LEN_MAX], usize) {
    let mut bytes = [0; VARINT_LEN_MAX];
    let mut len = 0;
    while value >= 1 << 7 {
        bytes[len] = value as u8 | CONTINUES;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    (bytes, len + 1)
}

/// The bit of a varint's byte that says that another byte follows.
pub(crate) const CONTINUES: u8 = 0x80;

/// Bytes of the longest varint: 64 bits in groups of seven.
pub(crate) const VARINT_LEN_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;
    use proptest::prelude::*;

    fn written(fill: impl Fn(&mut Cursor<'_>)) -> Vec<u8> {
        to_bytes(64, fill).to_vec()
    }

    /// Every width of a varint, at both of its ends.
    fn boundaries() -> impl Strategy<Value = u64> {
        let near_powers = (0_u32..64, -2_i64..=2)
            .prop_map(|(bits, offset)| (1_u64 << bits).wrapping_add_signed(offset));
        prop_oneof![near_powers, any::<u64>()]
    }

    proptest! {
        #[test]
        fn varints_are_prosts(value in boundaries()) {
            let mut expected = Vec::new();
            prost::encoding::encode_varint(value, &mut expected);
            prop_assert_eq!(&written(|out| put_varint(out, value)), &expected);
            prop_assert_eq!(varint_len(value), expected.len());
        }

        #[test]
        fn a_message_has_its_canonical_length_whatever_was_guessed(
            len in prop_oneof![0_usize..300, 16_300_usize..16_500, 2_097_100_usize..2_097_200],
            guess in prop_oneof![Just(0_usize), Just(200), Just(20_000)],
        ) {
            let body: Vec<u8> = (0..len).map(|index| index as u8).collect();
            let mut expected = vec![0x12];
            prost::encoding::encode_varint(len as u64, &mut expected);
            expected.extend_from_slice(&body);
            let message = to_bytes(len + 16, |out| message(out, 0x12, guess, |out| out.put_slice(&body)));
            prop_assert!(message == expected);
            prop_assert_eq!(field_len(len), expected.len());
        }
    }

    #[test]
    fn a_message_that_does_not_fit_only_says_so() {
        for room in 0..300 {
            let mut memory = vec![MaybeUninit::uninit(); room];
            let mut out = Cursor::new(&mut memory);
            message(&mut out, 0x0a, 0, |out| {
                message(out, 0x0a, 500, |out| out.put_slice(&[7; 200]));
                out.put_slice(&[9; 90]);
            });
            assert_eq!(out.is_overflowed(), room < 1 + 2 + (1 + 2 + 200) + 90, "{room}");
        }
    }

    #[test]
    fn keys_are_prosts() {
        for number in 1..16 {
            let mut expected = Vec::new();
            let wire = prost::encoding::WireType::LengthDelimited;
            prost::encoding::encode_key(number, wire, &mut expected);
            assert_eq!(vec![key(number, Wire::Len)], expected);
        }
        for number in [16, 17, 127, 128, 2047] {
            let mut expected = Vec::new();
            let wire = prost::encoding::WireType::ThirtyTwoBit;
            prost::encoding::encode_key(number, wire, &mut expected);
            assert_eq!(wide_key(number, Wire::Fixed32).to_vec(), expected);
        }
    }
}
