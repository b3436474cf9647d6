//! Which keys a message has so far, to find the one that occurs twice.

use spanwire_runtime::buf::Cursor;

use super::NAME;

/// The keys of the attributes that were written from `start` on.
///
/// A set of bits says of most new keys that they are new. Of the others (few, as long as there
/// are fewer attributes than bits) the bytes that were written tell.
pub(super) struct Names {
    /// A bit for each hash that has occurred: a bloom filter with one hash.
    seen: [u64; WORDS],
    /// Where the first attribute is.
    start: usize,
}

impl Names {
    #[inline]
    pub(super) fn new(start: usize) -> Self {
        Self { seen: [0; WORDS], start }
    }

    /// Makes room for an attribute called `name`: removes the one that has that name. Whether
    /// there was one.
    #[inline(always)]
    pub(super) fn admit(&mut self, out: &mut Cursor<'_>, name: &str) -> bool {
        self.admit_hashed(out, name, hash(name.as_bytes()))
    }

    /// The same if the [`hash`] of the name is known.
    #[inline(always)]
    pub(super) fn admit_hashed(&mut self, out: &mut Cursor<'_>, name: &str, hash: u32) -> bool {
        let word = &mut self.seen[hash as usize / 64 % WORDS];
        let bit = 1 << (hash % 64);
        let is_new = *word & bit == 0;
        *word |= bit;
        !is_new && remove(out, self.start, name)
    }
}

/// Nine bits of the length and both ends of a key: what is between tells fewer keys apart
/// (`http.request.method`, `http.request.size`) than it costs to read.
#[inline]
pub(super) const fn hash(name: &[u8]) -> u32 {
    let (head, tail) = ends(name);
    let ends = head ^ tail.rotate_left(29) ^ name.len() as u64;
    (ends.wrapping_mul(SPREAD) >> (64 - HASH_BITS)) as u32
}

/// The first and the last bytes, at most eight each; they overlap in a short key.
#[inline]
const fn ends(name: &[u8]) -> (u64, u64) {
    if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
        return (u64::from_le_bytes(*head), u64::from_le_bytes(*tail));
    }
    if let (Some(head), Some(tail)) = (name.first_chunk(), name.last_chunk()) {
        return (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64);
    }
    match name {
        [a, b, c] => ((*a as u64) << 16 | (*b as u64) << 8 | *c as u64, 0),
        [a, b] => ((*a as u64) << 8 | *b as u64, 0),
        [a] => (*a as u64, 0),
        _ => (0, 0),
    }
}

/// Removes the attribute called `name` from what was written from `start` on, if it is there.
#[cold]
fn remove(out: &mut Cursor<'_>, start: usize, name: &str) -> bool {
    // What has overflowed is of no use, and its last attribute is not whole.
    if out.is_overflowed() {
        return false;
    }
    let Some((at, len)) = find(&out.written()[start..], name.as_bytes()) else { return false };
    out.close_gap(start + at, len);
    true
}

/// Where the `KeyValue` called `name` is in a run of them, and its bytes with key and length.
fn find(run: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    while at < run.len() {
        let (entry_at, entry_len) = length(run, at + 1)?;
        let end = entry_at + entry_len;
        if is_called(run.get(entry_at..end)?, name) {
            return Some((at, end - at));
        }
        at = end;
    }
    None
}

/// Whether the inside of a `KeyValue` begins with this key; an empty one is left out.
fn is_called(entry: &[u8], name: &[u8]) -> bool {
    if entry.first() != Some(&NAME) {
        return name.is_empty();
    }
    length(entry, 1).is_some_and(|(at, len)| entry.get(at..at + len) == Some(name))
}

/// Reads the length at `at`: where what it tells of begins, and its bytes.
fn length(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut len = 0;
    for shift in (0..32).step_by(7) {
        let byte = *bytes.get(at)?;
        at += 1;
        len |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((at, len));
        }
    }
    None
}

/// 512 bits: of ten keys in a record, one in eleven records looks back in vain.
const WORDS: usize = 8;
const HASH_BITS: u32 = (WORDS * 64).ilog2();
/// An odd number whose bits are spread (the golden ratio).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
