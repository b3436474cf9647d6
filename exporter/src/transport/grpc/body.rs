//! The body of a request as h2 takes it: pieces that are framed and sent without being joined.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use super::frame::prefix;

/// A message with its prefix. A clone of the pieces shares their bytes.
#[derive(Debug)]
pub(super) struct Body {
    /// What is left, in order. No piece before `first` is looked at again.
    pieces: Vec<Bytes>,
    first: usize,
    /// Sum of what is left.
    remaining: usize,
}

impl Body {
    /// The message that `parts` make, which have `bytes` bytes together.
    pub(super) fn new(is_compressed: bool, parts: &[Bytes], bytes: u32) -> Self {
        let prefix = prefix(is_compressed, bytes);
        let remaining = prefix.len() + bytes as usize;
        let mut pieces = Vec::with_capacity(1 + parts.len());
        pieces.push(Bytes::copy_from_slice(&prefix));
        pieces.extend(parts.iter().filter(|part| !part.is_empty()).cloned());
        Self { pieces, first: 0, remaining }
    }
}

impl Buf for Body {
    fn remaining(&self) -> usize {
        self.remaining
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.get(self.first).map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, target: &mut [IoSlice<'a>]) -> usize {
        let left = &self.pieces[self.first..];
        let count = left.len().min(target.len());
        for (slot, piece) in target.iter_mut().zip(left) {
            *slot = IoSlice::new(piece);
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.remaining, "no more is taken than there is");
        self.remaining -= count;
        while count > 0 {
            let piece = &mut self.pieces[self.first];
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            // Let go of what was sent.
            *piece = Bytes::new();
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_body_is_its_prefix_and_its_parts_however_it_is_taken(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
            steps in prop::collection::vec(1_usize..60, 1..8),
        ) {
            let expected = [&prefix(true, parts.concat().len() as u32)[..], &parts.concat()].concat();
            let parts: Vec<Bytes> = parts.into_iter().map(Bytes::from).collect();
            let bytes = parts.iter().map(Bytes::len).sum::<usize>();
            let mut body = Body::new(true, &parts, bytes as u32);
            let mut taken = Vec::new();
            for step in steps.iter().cycle() {
                prop_assert_eq!(body.remaining(), expected.len() - taken.len());
                if !body.has_remaining() {
                    break;
                }
                let mut slices = [IoSlice::new(&[]); 3];
                let count = body.chunks_vectored(&mut slices);
                let all: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
                prop_assert!(all.starts_with(body.chunk()) && !body.chunk().is_empty());
                let step = (*step).min(all.len());
                taken.extend_from_slice(&all[..step]);
                body.advance(step);
            }
            prop_assert_eq!(taken, expected);
        }
    }
}
