//! gzip (RFC 1952): one member a body.

use std::fmt;

use zlib_rs::{Deflate, DeflateFlush, Status};

use super::{CompressError, Pieces};

/// A deflate state with a gzip wrapper around it.
pub(super) struct Gzip {
    state: Deflate,
    level: u8,
    /// A member was begun and is not finished.
    is_open: bool,
}

impl Gzip {
    pub(super) fn new(level: u8) -> Self {
        Self { state: fresh(level), level, is_open: false }
    }

    /// Starts a member. One that was given up costs a new state: of zlib-rs 0.6.8, a state that is
    /// reset in the middle of a member spoils the next one.
    pub(super) fn begin(&mut self) {
        match self.is_open {
            true => self.state = fresh(self.level),
            false => self.state.reset(),
        }
        self.is_open = true;
    }

    pub(super) fn feed(&mut self, slice: &[u8], out: &mut Pieces) -> Result<(), CompressError> {
        let mut rest = slice;
        while !rest.is_empty() {
            let before = self.state.total_in();
            self.step(rest, out, DeflateFlush::NoFlush)?;
            // At most the length of the slice.
            let taken = (self.state.total_in() - before) as usize;
            rest = rest.get(taken..).ok_or(CompressError)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Pieces) -> Result<(), CompressError> {
        while self.step(&[], out, DeflateFlush::Finish)? != Status::StreamEnd {}
        self.is_open = false;
        Ok(())
    }

    /// Goes on until the slice is taken or the piece is full. Each step takes or writes something.
    fn step(
        &mut self,
        slice: &[u8],
        out: &mut Pieces,
        flush: DeflateFlush,
    ) -> Result<Status, CompressError> {
        let before = (self.state.total_in(), self.state.total_out());
        let status = self.state.compress(slice, out.room(), flush).map_err(|_| CompressError)?;
        let after = (self.state.total_in(), self.state.total_out());
        // At most the room.
        out.written((after.1 - before.1) as usize);
        match before == after && status != Status::StreamEnd {
            true => Err(CompressError),
            false => Ok(status),
        }
    }
}

impl fmt::Debug for Gzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gzip").field("level", &self.level).finish_non_exhaustive()
    }
}

fn fresh(level: u8) -> Deflate {
    Deflate::new(level.into(), true, GZIP_WINDOW_BITS)
}

/// The largest window, 2^15 as gzip has it; 16 more says that it is gzip (zlib.h, deflateInit2).
const GZIP_WINDOW_BITS: u8 = 15 + 16;
