//! Keys that are encoded when the program is compiled.

use spanwire_runtime::buf::PaddedRef;

use super::names::hash;
use super::{NAME, VALUE};

/// A key with all that an attribute says of it: in wire format, and how it is told from others.
#[derive(Debug)]
pub struct KeyRecord {
    /// The field of the key, whole, and the tag of the value's field behind it; copied as one
    /// piece of a size that the compiler knows.
    bytes: [u8; RECORD_LEN],
    /// How many of `bytes` count; 0 for a key that is too long for them, or empty.
    len: u8,
    /// See `Names`.
    pub(super) hash: u32,
    name: &'static str,
}

impl KeyRecord {
    /// Encodes `name`. In constants this costs nothing at run time.
    pub const fn new(name: &'static str) -> Self {
        let mut record = Self { bytes: [0; RECORD_LEN], len: 0, hash: hash(name.as_bytes()), name };
        let text = name.as_bytes();
        if text.is_empty() || text.len() > NAME_LEN_MAX {
            return record;
        }
        record.bytes[0] = NAME;
        record.bytes[1] = text.len() as u8;
        let mut at = 0;
        while at < text.len() {
            record.bytes[2 + at] = text[at];
            at += 1;
        }
        record.bytes[2 + at] = VALUE;
        record.len = text.len() as u8 + 3;
        record
    }

    /// The key.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The bytes of the key and of the value's tag, if they are there.
    #[inline(always)]
    pub(super) fn encoded(&self) -> Option<PaddedRef<'_, RECORD_LEN>> {
        (self.len > 0).then(|| PaddedRef::new(&self.bytes, self.len.into()))
    }
}

/// One cache line for keys of up to 61 bytes; semantic conventions have none that is longer.
const RECORD_LEN: usize = 64;
const NAME_LEN_MAX: usize = RECORD_LEN - 3;
