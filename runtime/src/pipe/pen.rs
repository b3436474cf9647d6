//! The one writer of a chunk.

use super::Tag;
use super::chunk::{Mark, RECORDS_MAX, RunStart};
use super::shared::Shared;
use crate::buf::Cursor;
use crate::sync::shim::limits::RUNS_MAX;

/// The right to write into one chunk. There is one for each chunk that is neither in the pool
/// nor sealed: made by the ledger when the chunk leaves the pool, moved by value, given up when
/// the chunk is sealed. It is neither `Clone` nor `Copy`, and that is what soundness rests on.
#[derive(Debug)]
pub(super) struct Pen {
    pub(super) chunk: u32,
    /// When this chunk became somebody's; grows with each thread's chunks. See `ledger`.
    pub(super) sequence: u64,
    /// What is committed.
    at: Mark,
    /// Tag of the last run; only meaningful if `at.runs` is not zero.
    tag: Tag,
}

/// The record does not fit into the rest of the chunk.
pub(super) struct NoRoom;

impl Pen {
    /// The pen of a chunk that comes from the pool.
    pub(super) fn new(chunk: u32, sequence: u64) -> Self {
        Self { chunk, sequence, at: Mark::default(), tag: Tag::default() }
    }

    /// Whether nothing was committed yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.at.records == 0
    }

    /// Bytes committed.
    pub(super) fn bytes(&self) -> u32 {
        self.at.bytes
    }

    /// Writes one record behind the committed ones and commits it. If it does not fit, or if
    /// `encode` panics, nothing has happened.
    #[inline]
    pub(super) fn write(
        &mut self,
        shared: &Shared,
        tag: Tag,
        encode: &mut impl FnMut(&mut Cursor<'_>),
    ) -> Result<(), NoRoom> {
        let begins_run = self.at.runs == 0 || self.tag != tag;
        if self.at.records == RECORDS_MAX || begins_run && self.at.runs as usize == RUNS_MAX {
            return Err(NoRoom);
        }
        let written = self.encode(shared, encode).ok_or(NoRoom)?;
        if begins_run {
            self.begin_run(shared, tag);
        }
        self.at.bytes += written;
        self.at.records += 1;
        shared.chunk(self.chunk).commit(self.at);
        Ok(())
    }

    /// Lets `encode` write into what is free of the chunk; the number of bytes if they fit.
    #[inline]
    fn encode(&self, shared: &Shared, encode: &mut impl FnMut(&mut Cursor<'_>)) -> Option<u32> {
        let free = shared.range(self.chunk, self.at.bytes, shared.config.chunk_bytes as u32);
        // SAFETY: this pen is the chunk's only writer (see the type), it is borrowed mutably as
        // long as the memory is, and readers stay below the committed mark (`Slice`), where
        // `free` begins.
        let memory = unsafe { shared.slab.write(free) };
        let (start, room) = (memory.as_ptr(), memory.len());
        let mut cursor = Cursor::new(memory);
        encode(&mut cursor);
        // At most the bytes of a chunk, which fit.
        cursor.finish(start, room).map(|written| written as u32)
    }

    fn begin_run(&mut self, shared: &Shared, tag: Tag) {
        let start = RunStart { tag, bytes: self.at.bytes, records: self.at.records };
        // SAFETY: this is the chunk's pen, and entries from `at.runs` on are not committed.
        unsafe { shared.chunk(self.chunk).begin_run(self.at.runs, start) };
        self.at.runs += 1;
        self.tag = tag;
    }
}
