//! One thing to measure, and the memory that is written to.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// A row by a peer, ready to run.
pub struct Body {
    lap: Box<dyn FnMut() -> Duration>,
    /// Records of a lap, at least one.
    pub operations: usize,
    /// Encoded bytes of a record, on average.
    pub bytes: f64,
}

impl Body {
    /// A lap is a call of `run`.
    pub(super) fn new(operations: usize, bytes: usize, mut run: impl FnMut() + 'static) -> Self {
        let lap = move || {
            let begun = Instant::now();
            run();
            begun.elapsed()
        };
        Self::of(operations, bytes, lap)
    }

    /// A lap is a call of `run` with what `make` made, which is not timed.
    pub(super) fn consuming<T>(
        operations: usize,
        bytes: usize,
        mut make: impl FnMut() -> T + 'static,
        mut run: impl FnMut(T) + 'static,
    ) -> Self {
        let lap = move || {
            let input = make();
            let begun = Instant::now();
            run(input);
            begun.elapsed()
        };
        Self::of(operations, bytes, lap)
    }

    fn of(operations: usize, bytes: usize, lap: impl FnMut() -> Duration + 'static) -> Self {
        let operations = operations.max(1);
        Self { lap: Box::new(lap), operations, bytes: bytes as f64 / operations as f64 }
    }

    /// Runs once; how long it took.
    pub fn lap(&mut self) -> Duration {
        (self.lap)()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operations, bytes, .. } = self;
        f.debug_struct("Body").field("operations", operations).field("bytes", bytes).finish()
    }
}

/// 64 KiB that are written again and again, as a chunk of the pipe is.
pub(super) struct Chunk(Vec<u8>);

impl Chunk {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(CHUNK_BYTES))
    }

    /// The chunk behind what was written last, or its beginning if there is no room for `bytes`.
    #[inline]
    pub(super) fn with_room(&mut self, bytes: usize) -> &mut Vec<u8> {
        if self.0.len() + bytes > CHUNK_BYTES {
            self.0.clear();
        }
        &mut self.0
    }

    /// What was written since the chunk began; it begins again.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let taken = self.0.clone();
        self.0.clear();
        taken
    }
}

/// Whether what was encoded is what the oracle makes of the same.
///
/// # Errors
///
/// Says where they begin to differ.
pub(super) fn verify(ours: &[u8], oracle: &[u8]) -> Result<(), String> {
    if ours == oracle {
        return Ok(());
    }
    let at = ours.iter().zip(oracle).take_while(|(ours, oracle)| ours == oracle).count();
    let (ours, oracle) = (ours.len(), oracle.len());
    Err(format!("the bytes are not the oracle's: {ours} and {oracle}, different from byte {at} on"))
}

/// As large as a chunk of the pipe.
const CHUNK_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_differ_from_the_oracles_are_an_error_that_says_where() {
        assert_eq!(verify(b"abc", b"abc"), Ok(()));
        let error = verify(b"abcd", b"abx").unwrap_err();
        assert!(error.contains("4 and 3, different from byte 2"), "{error}");
    }

    #[test]
    fn a_chunk_begins_again_when_it_is_full() {
        let mut chunk = Chunk::new();
        chunk.with_room(CHUNK_BYTES).resize(CHUNK_BYTES - 1, 0);
        assert_eq!(chunk.with_room(1).len(), CHUNK_BYTES - 1);
        assert_eq!(chunk.with_room(2).len(), 0);
    }

    #[test]
    fn what_a_lap_consumes_is_made_anew() {
        let mut made = 0;
        let mut body = Body::consuming(
            4,
            40,
            move || {
                made += 1;
                made
            },
            |made| assert!((1..3).contains(&made)),
        );
        body.lap();
        body.lap();
        assert_eq!((body.operations, body.bytes), (4, 10.0));
    }
}
