//! One lease on a part of a chunk.

use std::fmt;
use std::sync::Arc;

use super::shared::Shared;

/// Committed bytes of one chunk, and the promise that the chunk is not used again before this
/// is dropped. Keeps the slab alive, also after the pipe and the drainer are gone.
pub(super) struct Slice {
    shared: Arc<Shared>,
    chunk: u32,
    /// In the chunk: `from <= to <= committed bytes`.
    from: u32,
    to: u32,
}

impl Slice {
    /// Leases bytes `from..to` of `chunk`. By the drainer only.
    ///
    /// # Safety
    ///
    /// - The caller has acquired a commit of the chunk that covers `to`, and the chunk has not
    ///   been reset since.
    pub(super) unsafe fn lease(shared: &Arc<Shared>, chunk: u32, from: u32, to: u32) -> Self {
        shared.chunk(chunk).lease();
        Self { shared: Arc::clone(shared), chunk, from, to }
    }
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        let range = self.shared.range(self.chunk, self.from, self.to);
        // SAFETY: `lease` was promised that these bytes are committed and that the caller has
        // acquired them; whoever got the slice from it got that too. The pen writes only above
        // the committed mark, and the lease keeps the chunk from being reset.
        unsafe { self.shared.slab.read(range) }
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        self.shared.slab.end_read(self.shared.range(self.chunk, self.from, self.to));
        self.shared.chunk(self.chunk).end_lease();
    }
}

impl fmt::Debug for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chunk, from, to, .. } = self;
        write!(f, "Slice(chunk {chunk}, {from}..{to})")
    }
}
