//! The cursor writes what a `Vec` would, up to its room, and never a byte more.

use std::mem::MaybeUninit;

use proptest::prelude::*;
use spanwire_runtime::buf::{Cursor, Overflow, Padded, PaddedRef};

/// One call of an encoder; positions are fractions of what is written, so that most are valid.
#[derive(Clone, Debug)]
enum Op {
    U8(u8),
    Array([u8; 9]),
    Slice(Vec<u8>),
    Row { first: Vec<u8>, number: [u8; 13], len: usize, last: Vec<u8> },
    Patch { at: usize, bytes: Vec<u8> },
    OpenGap { at: usize, by: usize },
    CloseGap { at: usize, by: usize },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        any::<u8>().prop_map(Op::U8),
        any::<[u8; 9]>().prop_map(Op::Array),
        prop::collection::vec(any::<u8>(), 0..80).prop_map(Op::Slice),
        (short(), any::<[u8; 13]>(), 0_usize..=13, short())
            .prop_map(|(first, number, len, last)| Op::Row { first, number, len, last }),
        (any::<usize>(), prop::collection::vec(any::<u8>(), 0..6))
            .prop_map(|(at, bytes)| Op::Patch { at, bytes }),
        (any::<usize>(), 0_usize..20).prop_map(|(at, by)| Op::OpenGap { at, by }),
        (any::<usize>(), 0_usize..20).prop_map(|(at, by)| Op::CloseGap { at, by }),
    ]
}

fn short() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40)
}

/// The oracle: a vector with a limit, written without regard for speed.
struct Model {
    bytes: Vec<u8>,
    room: usize,
    overflowed: bool,
}

impl Model {
    fn insert(&mut self, at: usize, new: &[u8]) {
        if self.overflowed || self.bytes.len() + new.len() > self.room {
            self.overflowed |= !new.is_empty();
            return;
        }
        self.bytes.splice(at..at, new.iter().copied());
    }
}

fn apply(op: &Op, cursor: &mut Cursor<'_>, model: &mut Model) {
    let end = model.bytes.len();
    match op {
        Op::U8(byte) => {
            cursor.put_u8(*byte);
            model.insert(end, &[*byte]);
        }
        Op::Array(bytes) => {
            cursor.put_array(*bytes);
            model.insert(end, bytes);
        }
        Op::Slice(bytes) => {
            cursor.put_slice(bytes);
            model.insert(end, bytes);
        }
        Op::Row { first, number, len, last } => {
            let number_first = Padded::new(*number, *len);
            cursor.put_row((
                first.as_slice(),
                (number_first, [1, 2]),
                last.as_slice(),
                number_first,
                PaddedRef::new(number, *len),
            ));
            let number = &number[..*len];
            model.insert(end, &[first, number, &[1, 2], last, number, number].concat());
        }
        Op::Patch { at, bytes } => {
            let at = at % (end.saturating_sub(bytes.len()) + 1);
            let bytes = &bytes[..bytes.len().min(end)];
            cursor.patch(at, bytes);
            if !model.overflowed {
                model.bytes[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
        Op::OpenGap { at, by } => {
            let at = at % (end + 1);
            cursor.open_gap(at, *by);
            model.insert(at, &vec![0; *by]);
        }
        Op::CloseGap { at, by } => {
            let by = *by.min(&end);
            let at = at % (end - by + 1);
            cursor.close_gap(at, by);
            if !model.overflowed {
                model.bytes.drain(at..at + by);
            }
        }
    }
}

const GUARD: u8 = 0xa5;

proptest! {
    #[test]
    fn writes_what_a_vector_would(room in 0_usize..300, ops in prop::collection::vec(op(), 0..40)) {
        let mut memory = vec![MaybeUninit::new(GUARD); room + 64];
        let mut model = Model { bytes: Vec::new(), room, overflowed: false };
        {
            let mut cursor = Cursor::new(&mut memory[..room]);
            for op in &ops {
                apply(op, &mut cursor, &mut model);
                prop_assert_eq!(cursor.is_overflowed(), model.overflowed);
                prop_assert_eq!(cursor.written(), model.bytes.as_slice());
                prop_assert_eq!(cursor.len(), model.bytes.len());
            }
        }
        // SAFETY: the whole vector was made of initialised bytes.
        let untouched = memory[room..].iter().all(|byte| unsafe { byte.assume_init() } == GUARD);
        prop_assert!(untouched, "wrote beyond its memory");
    }
}

#[test]
fn every_length_of_a_slice_is_copied_whole() {
    let source: Vec<u8> = (0..=255).collect();
    for size in 0..=source.len() {
        let mut out = vec![7];
        Cursor::append_to(&mut out, size, |cursor| cursor.put_slice(&source[..size])).unwrap();
        assert_eq!(out[1..], source[..size], "{size} bytes");
    }
}

#[test]
fn a_row_needs_no_more_room_than_it_is_long() {
    let row = || ([1, 2], b"abc".as_slice(), Padded::new([7; 10], 4));
    for room in 0..40 {
        let mut memory = vec![MaybeUninit::uninit(); room];
        let mut cursor = Cursor::new(&mut memory);
        cursor.put_row(row());
        assert_eq!(cursor.is_overflowed(), room < 9, "{room}");
        let expected: &[u8] = if room < 9 { b"" } else { b"\x01\x02abc\x07\x07\x07\x07" };
        assert_eq!(cursor.written(), expected);
    }
}

#[test]
#[should_panic(expected = "5 bytes of an array of 4")]
fn a_padded_number_is_not_longer_than_its_array() {
    let _ = Padded::new([0; 4], 5);
}

#[test]
fn nothing_is_written_after_an_overflow_even_if_it_would_fit() {
    let mut memory = [MaybeUninit::uninit(); 4];
    let mut cursor = Cursor::new(&mut memory);
    cursor.put_array([1, 2]);
    cursor.put_slice(&[3, 4, 5]);
    cursor.put_u8(6);
    cursor.patch(0, &[9]);
    cursor.patch(100, &[9]);
    cursor.open_gap(100, 1);
    cursor.close_gap(100, 1);
    assert!(cursor.is_overflowed());
    assert_eq!(cursor.remaining(), 0);
    assert_eq!(cursor.written(), [1, 2]);
}

#[test]
fn an_overflow_leaves_the_vector_as_it_was() {
    let mut out = vec![1];
    let result = Cursor::append_to(&mut out, 3, |cursor| cursor.put_array([0; 4]));
    assert!(matches!(result, Err(Overflow { room: 3, .. })));
    assert_eq!(out, [1]);
}

#[test]
fn an_encoder_that_swaps_its_cursor_writes_nothing() {
    let mut out = vec![1];
    let result = Cursor::append_to(&mut out, 8, |cursor| {
        *cursor = Cursor::new(vec![MaybeUninit::new(2); 8].leak());
        cursor.put_array([3; 4]);
    });
    assert!(result.is_err(), "the vector's memory was never written");
    assert_eq!(out, [1]);
}

#[test]
#[should_panic(expected = "2 bytes at 3 are not all below 4")]
fn a_patch_beyond_what_is_written_panics() {
    let mut out = Vec::new();
    let _ = Cursor::append_to(&mut out, 8, |cursor| {
        cursor.put_array([0; 4]);
        cursor.patch(3, &[1, 2]);
    });
}

#[test]
#[should_panic(expected = "are not all below")]
fn a_gap_that_wraps_around_panics() {
    let mut out = Vec::new();
    let _ = Cursor::append_to(&mut out, 8, |cursor| {
        cursor.put_array([0; 4]);
        cursor.close_gap(2, usize::MAX);
    });
}
