//! gzip (RFC 1952): one member a body.

use flate2::{Compress, Compression, FlushCompress, Status};

use super::{CompressError, Pieces};

/// A deflate state with a gzip wrapper around it.
#[derive(Debug)]
pub(super) struct Gzip {
    state: Compress,
    level: Compression,
    /// A member was begun and is not finished.
    is_open: bool,
}

impl Gzip {
    pub(super) fn new(level: u8) -> Self {
        let level = Compression::new(level.into());
        Self { state: Compress::new_gzip(level, WINDOW_BITS), level, is_open: false }
    }

    /// Starts a member. One that was given up costs a new state: of zlib-rs 0.6.8, a state that is
    /// reset in the middle of a member spoils the next one.
    pub(super) fn begin(&mut self) {
        match self.is_open {
            true => self.state = Compress::new_gzip(self.level, WINDOW_BITS),
            false => self.state.reset(),
        }
        self.is_open = true;
    }

    pub(super) fn feed(&mut self, slice: &[u8], out: &mut Pieces) -> Result<(), CompressError> {
        let mut rest = slice;
        while !rest.is_empty() {
            let before = self.state.total_in();
            self.step(rest, out, FlushCompress::None)?;
            // At most the length of the slice.
            let taken = (self.state.total_in() - before) as usize;
            rest = rest.get(taken..).ok_or(CompressError)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Pieces) -> Result<(), CompressError> {
        while self.step(&[], out, FlushCompress::Finish)? != Status::StreamEnd {}
        self.is_open = false;
        Ok(())
    }

    /// Goes on until the slice is taken or the piece is full. Each step takes or writes something.
    fn step(
        &mut self,
        slice: &[u8],
        out: &mut Pieces,
        flush: FlushCompress,
    ) -> Result<Status, CompressError> {
        let before = (self.state.total_in(), self.state.total_out());
        let status =
            self.state.compress_vec(slice, out.room(), flush).map_err(|_| CompressError)?;
        let is_stuck = before == (self.state.total_in(), self.state.total_out());
        match is_stuck && status != Status::StreamEnd {
            true => Err(CompressError),
            false => Ok(status),
        }
    }
}

/// The largest window, as gzip has it.
const WINDOW_BITS: u8 = 15;
