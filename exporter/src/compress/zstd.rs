//! zstd (RFC 8878): one frame a body.

use std::fmt;

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

use super::{CompressError, Pieces};

/// A compression context, used for one frame after another.
pub(super) struct Zstd(CCtx<'static>);

impl Zstd {
    pub(super) fn new(level: u8) -> Result<Self, CompressError> {
        let mut context = CCtx::try_create().ok_or(CompressError)?;
        for parameter in
            [CParameter::CompressionLevel(level.into()), CParameter::WindowLog(WINDOW_LOG)]
        {
            context.set_parameter(parameter).map_err(|_| CompressError)?;
        }
        Ok(Self(context))
    }

    /// The length is in the frame's head: a receiver can allocate at once, and tables are sized
    /// by it here, too.
    pub(super) fn begin(&mut self, bytes: usize) -> Result<(), CompressError> {
        self.0.reset(ResetDirective::SessionOnly).map_err(|_| CompressError)?;
        self.0.set_pledged_src_size(Some(bytes as u64)).map_err(|_| CompressError)?;
        Ok(())
    }

    pub(super) fn feed(&mut self, slice: &[u8], out: &mut Pieces) -> Result<(), CompressError> {
        let mut input = InBuffer::around(slice);
        while input.pos() < slice.len() {
            self.step(&mut input, out, ZSTD_EndDirective::ZSTD_e_continue)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut Pieces) -> Result<(), CompressError> {
        let mut nothing = InBuffer::around(&[]);
        while self.step(&mut nothing, out, ZSTD_EndDirective::ZSTD_e_end)? > 0 {}
        Ok(())
    }

    /// Goes on until the input is taken or the piece is full; what is left to be written, if
    /// this is the end.
    fn step(
        &mut self,
        input: &mut InBuffer<'_>,
        out: &mut Pieces,
        directive: ZSTD_EndDirective,
    ) -> Result<usize, CompressError> {
        let taken = input.pos();
        let mut output = OutBuffer::around(out.room());
        let left =
            self.0.compress_stream2(&mut output, input, directive).map_err(|_| CompressError)?;
        let written = output.pos();
        out.written(written);
        let rest = &input.src[input.pos()..];
        let is_stuck = (taken, 0) == (input.pos(), written);
        if is_stuck && (left > 0 || !rest.is_empty()) { Err(CompressError) } else { Ok(left) }
    }
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").finish_non_exhaustive()
    }
}

/// 512 KiB, which is what the collector's own gRPC exporter uses, and a sixteenth of what RFC 9659
/// allows: a receiver keeps as much for each stream that it reads.
const WINDOW_LOG: u32 = 19;
