//! Where bytes are written: the checked cursor of the encoders.

/// Writes into a bounded piece of memory. A write that does not fit marks the cursor as
/// overflowed and writes nothing; every later write is then ignored too, so an encoder checks
/// once, at the end.
#[derive(Debug)]
pub struct Cursor<'a> {
    _todo: &'a mut [std::mem::MaybeUninit<u8>],
}

impl<'a> Cursor<'a> {
    /// Writes into `memory`.
    pub fn new(_memory: &'a mut [std::mem::MaybeUninit<u8>]) -> Self {
        todo!()
    }
    /// Bytes written so far.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether a write did not fit.
    pub fn is_overflowed(&self) -> bool {
        todo!()
    }
    /// Appends one byte.
    pub fn put_u8(&mut self, _byte: u8) {
        todo!()
    }
    /// Appends bytes whose number is known to the compiler.
    pub fn put_array<const N: usize>(&mut self, _bytes: [u8; N]) {
        todo!()
    }
    /// Appends `bytes`.
    pub fn put_slice(&mut self, _bytes: &[u8]) {
        todo!()
    }
    /// Replaces what was written at `at`. Panics beyond `len` unless overflowed.
    pub fn patch(&mut self, _at: usize, _bytes: &[u8]) {
        todo!()
    }
    /// Moves what was written from `at` on by `by` bytes towards the end, leaving a gap of
    /// unspecified but initialised bytes at `at` (checks room).
    pub fn open_gap(&mut self, _at: usize, _by: usize) {
        todo!()
    }
    /// Moves what was written from `at + by` on back to `at`; `by` bytes fewer are written.
    pub fn close_gap(&mut self, _at: usize, _by: usize) {
        todo!()
    }
    /// What was written.
    pub fn written(&self) -> &[u8] {
        todo!()
    }
}
