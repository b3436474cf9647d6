//! Replaces the numbers of an encoded metric where all else is unchanged.
//!
//! Most of a data point is its attributes, and they are the same at every collection. Times,
//! values, counts and bounds have a fixed width. So a [`Patch`] walks what was written before,
//! compares what lays it out with what would be written now, and overwrites the numbers:
//!
//! ```text
//! 0a len { 11 <start> 19 <time> 31 <value>  3a len { key, value } 3a len { .. } }
//! compare     store      store     store    compare ...
//! ```
//!
//! Every step returns `None` at the first difference. The bytes are then half new, half old, and
//! good for nothing: the metric is written afresh.

use super::points::{
    BOUNDS, BUCKET_COUNTS, COUNT, Extremes, HistogramHead, MAX, MIN, NUMBER_HEAD_LEN, Number,
    START_TIME, SUM, TIME, Times, number_head,
};
use super::{DESCRIPTION, Data, IS_MONOTONIC, Identity, NAME, POINT, RECORD, TEMPORALITY, UNIT};
use crate::wire::fields::{any_value, key_value};
use crate::wire::write::{CONTINUES, Wire, key};

/// A walk over encoded metrics.
#[derive(Debug)]
pub(crate) struct Patch<'a> {
    bytes: &'a mut [u8],
    /// What is before was compared and overwritten.
    at: usize,
    /// How the last point began, and its bytes with key and length.
    last_point: ([u8; POINT_HEAD_LEN], usize),
}

/// Where a message ends that was entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a message has to be left where it ends"]
pub(crate) struct End(usize);

impl End {
    /// Where the extremes of a histogram's point that ends here begin.
    #[inline]
    pub(crate) fn before(self, extremes: Extremes) -> Self {
        let written = usize::from(extremes.min.is_some()) + usize::from(extremes.max.is_some());
        Self(self.0.saturating_sub(written * EXTREME_LEN))
    }
}

impl<'a> Patch<'a> {
    /// Walks `bytes`, which the functions of [`super`] have written.
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, at: 0, last_point: ([0; POINT_HEAD_LEN], 0) }
    }

    /// Whether all was walked.
    pub(crate) fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Leaves a message, all of which was walked.
    #[inline]
    pub(crate) fn leave(&self, end: End) -> Option<()> {
        (self.at == end.0).then_some(())
    }

    /// Enters a metric of this identity and kind. Returns the end of its data, which is its own.
    pub(crate) fn metric(&mut self, identity: &Identity<'_>, data: Data) -> Option<End> {
        let metric = self.identified(identity)?;
        self.enter(data.key()).filter(|end| *end == metric)
    }

    /// Enters a metric of this identity, as far as its data.
    pub(crate) fn identified(&mut self, identity: &Identity<'_>) -> Option<End> {
        let metric = self.enter(RECORD)?;
        self.text(NAME, identity.name)?;
        self.text(DESCRIPTION, identity.description)?;
        self.text(UNIT, identity.unit)?;
        Some(metric)
    }

    /// Whether another data point stands here.
    #[inline]
    pub(crate) fn is_at_point(&self) -> bool {
        self.bytes.get(self.at) == Some(&POINT)
    }

    /// Enters a data point.
    ///
    /// The points of a metric are about as long as one another. One that begins as the last did
    /// has its length; so where the next begins does not depend on a load, and the processor
    /// need not wait for it.
    #[inline]
    pub(crate) fn point(&mut self) -> Option<End> {
        let start = self.at;
        let head = *self.bytes.get(start..)?.first_chunk()?;
        if head == self.last_point.0 {
            let (width, len) = (head_len(head), self.last_point.1);
            self.at = start + width;
            return Some(End(start + len));
        }
        let end = self.enter(POINT)?;
        self.last_point = (head, end.0 - start);
        Some(end)
    }

    /// Compares what stands behind the points, and leaves the metric.
    pub(crate) fn leave_metric(&mut self, data: Data, end: End) -> Option<()> {
        self.uint(TEMPORALITY, data.temporality())?;
        self.uint(IS_MONOTONIC, data.is_monotonic().into())?;
        self.leave(end)
    }

    /// Overwrites what a number begins with.
    #[inline]
    pub(crate) fn number(&mut self, times: Times, value: Number) -> Option<()> {
        let head: &mut [u8; NUMBER_HEAD_LEN] =
            self.bytes.get_mut(self.at..)?.first_chunk_mut().filter(|_| times.are_set())?;
        let new = number_head(times, value);
        // Integers and doubles are as long as each other, so a change of the type is patched too.
        if [head[0], head[9]] != [new[0], new[9]] {
            return None;
        }
        *head = new;
        self.at += NUMBER_HEAD_LEN;
        Some(())
    }

    /// Overwrites what a histogram's point begins with. Bounds are part of its layout.
    pub(crate) fn histogram(
        &mut self,
        head: &HistogramHead,
        bucket_counts: impl Iterator<Item = u64>,
        bounds: impl Iterator<Item = f64>,
    ) -> Option<()> {
        self.fixed64(START_TIME, nonzero(head.times.start_unix_nano)?)?;
        self.fixed64(TIME, nonzero(head.times.unix_nano)?)?;
        self.fixed64(COUNT, nonzero(head.count)?)?;
        self.optional_double(SUM, head.sum)?;
        self.packed(BUCKET_COUNTS, bucket_counts, |old, new| {
            *old = new.to_le_bytes();
            true
        })?;
        self.packed(BOUNDS, bounds, |old, new| *old == new.to_le_bytes())
    }

    /// Overwrites what a histogram's point ends with.
    pub(crate) fn extremes(&mut self, extremes: Extremes) -> Option<()> {
        self.optional_double(MIN, extremes.min)?;
        self.optional_double(MAX, extremes.max)
    }

    /// Compares an attribute with a string value.
    #[inline]
    pub(crate) fn text_attribute(&mut self, key: u8, name: &str, text: &str) -> Option<()> {
        let len = name.len() + text.len() + ATTRIBUTE_OVERHEAD;
        if len >= SHORT || name.is_empty() {
            return self.long_text_attribute(key, name, text);
        }
        let text_len = text.len() as u8;
        let value = [ATTRIBUTE_VALUE, text_len + 2, STRING_VALUE, text_len];
        let rest = self.named(key, name, len)?;
        let (head, texted) = rest.split_first_chunk()?;
        (*head == value && same(texted, text.as_bytes())).then_some(())
    }

    /// Compares an attribute with an integer of at most 14 bits, such as a status or a port, and
    /// a name that is neither empty nor long.
    #[inline]
    pub(crate) fn small_attribute(&mut self, key: u8, name: &str, value: u16) -> Option<()> {
        debug_assert!((1..SHORT - 7).contains(&name.len()) && value < 1 << 14);
        if value < 1 << 7 {
            let value = [ATTRIBUTE_VALUE, 2, INT_VALUE, value as u8];
            return (*self.named(key, name, name.len() + 6)? == value).then_some(());
        }
        let (low, high) = (value as u8 | CONTINUES, (value >> 7) as u8);
        let value = [ATTRIBUTE_VALUE, 3, INT_VALUE, low, high];
        (*self.named(key, name, name.len() + 7)? == value).then_some(())
    }

    /// Compares bytes that are written as they are.
    #[inline]
    pub(crate) fn exactly(&mut self, expected: &[u8]) -> Option<()> {
        let found = self.bytes.get(self.at..)?.get(..expected.len())?;
        self.at += expected.len();
        same(found, expected).then_some(())
    }

    /// Passes by what is up to the end of a message, without a look at it. For measuring what
    /// the comparison costs.
    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn skip_to(&mut self, end: End) {
        self.at = end.0;
    }

    /// Enters a message whose key this is.
    #[inline]
    fn enter(&mut self, key: u8) -> Option<End> {
        let rest = self.bytes.get(self.at..)?;
        let &[found, first, ..] = rest else { return None };
        if found != key {
            return None;
        }
        let (len, width) = if first < CONTINUES { (first.into(), 1) } else { long_len(rest)? };
        self.at += 1 + width;
        let end = self.at.checked_add(len)?;
        (end <= self.bytes.len()).then_some(End(end))
    }

    /// Compares a short number that is left out if it is zero.
    fn uint(&mut self, key: u8, value: u8) -> Option<()> {
        if value == 0 { Some(()) } else { self.exactly(&[key, value]) }
    }

    /// Compares a string that is left out if it is empty.
    fn text(&mut self, key: u8, text: &str) -> Option<()> {
        if text.is_empty() {
            return Some(());
        }
        let end = self.enter(key)?;
        self.exactly(text.as_bytes())?;
        self.leave(end)
    }

    /// Compares the name of an attribute of `len` bytes, fewer than [`SHORT`]; passes by the whole
    /// and returns what is behind the name.
    #[inline]
    fn named(&mut self, key: u8, name: &str, len: usize) -> Option<&[u8]> {
        let attribute = self.bytes.get(self.at..)?.get(..2 + len)?;
        self.at += 2 + len;
        let (head, rest) = attribute.split_first_chunk()?;
        let (named, rest) = rest.split_at_checked(name.len())?;
        let is_same = *head == [key, len as u8, ATTRIBUTE_NAME, name.len() as u8];
        (is_same && same(named, name.as_bytes())).then_some(rest)
    }

    /// [`text_attribute`](Self::text_attribute) with lengths of any width. Lengths that end
    /// where their parts end are those of the parts: they are canonical in what was written.
    #[cold]
    fn long_text_attribute(&mut self, key: u8, name: &str, text: &str) -> Option<()> {
        let attribute = self.enter(key)?;
        self.text(ATTRIBUTE_NAME, name)?;
        let value = self.enter(ATTRIBUTE_VALUE)?;
        // A member of a oneof is written even if it is empty.
        let string = self.enter(STRING_VALUE)?;
        self.exactly(text.as_bytes())?;
        self.leave(string)?;
        self.leave(value)?;
        self.leave(attribute)
    }

    #[inline]
    fn fixed64(&mut self, key: u8, value: [u8; 8]) -> Option<()> {
        let field: &mut [u8; 9] = self.bytes.get_mut(self.at..)?.first_chunk_mut()?;
        if field[0] != key {
            return None;
        }
        field[1..].copy_from_slice(&value);
        self.at += 9;
        Some(())
    }

    /// One that is absent has to be absent before as well: then its key is not met here, but is
    /// taken for what comes next, and the comparison of that fails.
    #[inline]
    fn optional_double(&mut self, key: u8, value: Option<f64>) -> Option<()> {
        match value {
            Some(value) => self.fixed64(key, value.to_le_bytes()),
            None => Some(()),
        }
    }

    /// Walks a packed field of as many values as `values` has.
    #[inline]
    fn packed<T>(
        &mut self,
        key: u8,
        mut values: impl Iterator<Item = T>,
        each: impl Fn(&mut [u8; 8], T) -> bool,
    ) -> Option<()> {
        let Some(first) = values.next() else { return Some(()) };
        let end = self.enter(key)?;
        let (packed, _) = self.bytes.get_mut(self.at..end.0)?.as_chunks_mut();
        let mut packed = packed.iter_mut();
        let is_same = each(packed.next()?, first)
            && values.all(|value| packed.next().is_some_and(|old| each(old, value)));
        self.at = end.0;
        (is_same && packed.next().is_none()).then_some(())
    }
}

/// Bytes of key and length, of which these are the first.
#[inline]
fn head_len(head: [u8; POINT_HEAD_LEN]) -> usize {
    if head[1] < CONTINUES {
        2
    } else if head[2] < CONTINUES {
        3
    } else {
        4
    }
}

/// The bytes of a number that is not left out.
fn nonzero(value: u64) -> Option<[u8; 8]> {
    (value != 0).then_some(value.to_le_bytes())
}

/// A length of two or three bytes behind a key, and its width. Longer ones do not occur: a
/// metric is cut long before.
#[inline]
fn long_len(rest: &[u8]) -> Option<(usize, usize)> {
    let &[_, first, second, ..] = rest else { return None };
    let len = usize::from(first & !CONTINUES) | usize::from(second & !CONTINUES) << 7;
    if second < CONTINUES {
        return Some((len, 2));
    }
    let third = *rest.get(3)?;
    (third < CONTINUES).then_some((len | usize::from(third) << 14, 3))
}

/// Compares without a call where both are short, as names and values are: two words that
/// overlap in the middle.
#[inline(always)]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match a.len() {
        0..4 => a == b,
        4..8 => ends::<4>(a) == ends::<4>(b),
        8..=16 => ends::<8>(a) == ends::<8>(b),
        17..=32 => ends::<16>(a) == ends::<16>(b),
        _ => a == b,
    }
}

#[inline(always)]
fn ends<const N: usize>(bytes: &[u8]) -> Option<(&[u8; N], &[u8; N])> {
    Some((bytes.first_chunk()?, bytes.last_chunk()?))
}

/// Key and length of a point, at most: [`long_len`] reads three bytes. A shorter one is followed
/// by the same key in all points.
const POINT_HEAD_LEN: usize = 4;

/// Bytes of an attribute besides name and text, without its own key and length.
const ATTRIBUTE_OVERHEAD: usize = 6;

/// Lengths below have one byte.
const SHORT: usize = CONTINUES as usize;

/// A key and a double.
const EXTREME_LEN: usize = 9;
const ATTRIBUTE_NAME: u8 = key(key_value::KEY, Wire::Len);
const ATTRIBUTE_VALUE: u8 = key(key_value::VALUE, Wire::Len);
const STRING_VALUE: u8 = key(any_value::STRING_VALUE, Wire::Len);
const INT_VALUE: u8 = key(any_value::INT_VALUE, Wire::Varint);

#[cfg(test)]
mod tests;
