//! Records that are longer than a chunk: each in an allocation of its own.
//!
//! They are rare, so they may cost: the encoder is called again for each size that is tried, and
//! the record is queued under the ledger's lock. Their memory is bounded twice: one record by
//! [`Config::record_bytes_max`], all that are queued or lent by [`Config::large_bytes`]. What is
//! being encoded is its thread's own and not counted yet.

use std::fmt;
use std::sync::Arc;

use super::config::Config;
use super::shared::Shared;
use super::{Refusal, Tag};
use crate::buf::Cursor;

/// One record.
pub(super) struct Large {
    pub(super) tag: Tag,
    bytes: Box<[u8]>,
}

impl Large {
    /// Encodes a record that does not fit a chunk.
    ///
    /// # Errors
    ///
    /// [`Refusal::Oversize`] if it is longer than any record may be.
    pub(super) fn encode(
        config: &Config,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Result<Self, Refusal> {
        let longest = config.record_bytes_max.min(config.large_bytes);
        let mut room = config.chunk_bytes;
        while room < longest {
            room = room.saturating_mul(GROWTH).min(longest);
            let mut bytes = Vec::new();
            if Cursor::append_to(&mut bytes, room, &mut *encode).is_ok() {
                return Ok(Self { tag, bytes: bytes.into_boxed_slice() });
            }
        }
        Err(Refusal::Oversize)
    }

    /// Its bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

impl fmt::Debug for Large {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Large({} bytes)", self.len())
    }
}

/// A record that was handed out. When it is dropped, others may take its room.
pub(super) struct Lent {
    shared: Arc<Shared>,
    large: Large,
}

impl Lent {
    pub(super) fn new(shared: &Arc<Shared>, large: Large) -> Self {
        Self { shared: Arc::clone(shared), large }
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.large.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.shared.end_large(self.large.len());
    }
}

/// How much more room the encoder gets when it needs more: what is not written is not touched,
/// so a large step costs little.
const GROWTH: usize = 4;
