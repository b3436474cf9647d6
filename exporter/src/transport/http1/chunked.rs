//! The chunked transfer coding (RFC 9112, section 7.1), decoded as it arrives.
//!
//! ```text
//! Size ─► Space ─► Extension ─► SizeLf ─┬─ size > 0 ─► Data ─► DataCr ─► DataLf ─► Size ...
//!                                       └─ size = 0 ─► TrailerStart ─┬─► EndLf ─► Done
//!                                                ▲                   └─► Trailer ─► TrailerLf
//!                                                └──────────────────────────────────────┘
//! ```
//!
//! Lines end in CR LF and nothing else: a bare LF is where two readers begin to disagree.

use super::response::ResponseError;

/// Decodes one body.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    state: State,
    /// Size of the chunk while it is read; then bytes of it still owed.
    size: u64,
    /// Digits of the chunk size so far, at most [`SIZE_DIGITS_MAX`].
    digits: u8,
    /// Bytes of extensions and trailers skipped so far, at most [`SKIPPED_BYTES_MAX`].
    skipped: usize,
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// First digit of a chunk size.
    #[default]
    SizeStart,
    /// A digit, or what follows the digits.
    Size,
    /// Blank between size and extension or line end; some servers pad the size.
    Space,
    /// Part of an extension, which is skipped.
    Extension,
    /// LF after the size line.
    SizeLf,
    /// A byte of the chunk.
    Data,
    /// CR after the chunk.
    DataCr,
    /// LF after the chunk.
    DataLf,
    /// First byte of a trailer line, or the CR of the empty line that ends the body.
    TrailerStart,
    /// Part of a trailer line, which is skipped.
    Trailer,
    /// LF after a trailer line.
    TrailerLf,
    /// LF after the empty line.
    EndLf,
    /// The body is complete.
    Done,
}

impl Chunked {
    /// Whether the body is complete.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Bytes that the current chunk still owes.
    pub(super) fn owed(&self) -> u64 {
        if self.state == State::Data { self.size } else { 0 }
    }

    /// Takes the start of `input`: appends data to `body`, or steps over one byte of framing.
    /// Returns how many bytes were taken, 0 only if `input` is empty or the body is complete.
    pub(super) fn advance(
        &mut self,
        input: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<usize, ResponseError> {
        let Some(first) = input.first() else { return Ok(0) };
        match self.state {
            State::Done => Ok(0),
            State::Data => Ok(self.take_data(input, body)),
            _ => self.step(*first).map(|next| {
                self.state = next;
                1
            }),
        }
    }

    fn take_data(&mut self, input: &[u8], body: &mut Vec<u8>) -> usize {
        let count = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len());
        body.extend_from_slice(&input[..count]);
        self.size -= count as u64;
        if self.size == 0 {
            self.state = State::DataCr;
        }
        count
    }

    /// The state after `byte` of framing.
    fn step(&mut self, byte: u8) -> Result<State, ResponseError> {
        match (self.state, byte) {
            (State::SizeStart | State::Size, byte) if byte.is_ascii_hexdigit() => self.digit(byte),
            (State::Size | State::Space, b' ' | b'\t') => self.skip(State::Space),
            (State::Size | State::Space, b';') => self.skip(State::Extension),
            (State::Size | State::Space | State::Extension, b'\r') => Ok(State::SizeLf),
            (State::Extension, byte) if byte != b'\n' => self.skip(State::Extension),
            (State::SizeLf, b'\n') if self.size > 0 => Ok(self.begin_data()),
            (State::SizeLf | State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeStart),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::Trailer, b'\r') => Ok(State::TrailerLf),
            (State::TrailerStart | State::Trailer, byte) if byte != b'\n' => {
                self.skip(State::Trailer)
            }
            (State::EndLf, b'\n') => Ok(State::Done),
            _ => Err(ResponseError::Chunk(self.expected())),
        }
    }

    fn digit(&mut self, byte: u8) -> Result<State, ResponseError> {
        let value = char::from(byte).to_digit(16).map_or(0, u64::from);
        if self.digits == SIZE_DIGITS_MAX {
            return Err(ResponseError::Chunk("a chunk size of at most 16 digits"));
        }
        self.digits += 1;
        self.size = self.size << 4 | value;
        Ok(State::Size)
    }

    fn begin_data(&mut self) -> State {
        self.digits = 0;
        State::Data
    }

    fn skip(&mut self, next: State) -> Result<State, ResponseError> {
        self.skipped += 1;
        match self.skipped <= SKIPPED_BYTES_MAX {
            true => Ok(next),
            false => Err(ResponseError::Chunk("at most 16 KiB of extensions and trailers")),
        }
    }

    fn expected(&self) -> &'static str {
        match self.state {
            State::SizeStart | State::Size => "a chunk size",
            State::Space | State::Extension => "a chunk extension",
            State::DataCr | State::DataLf => "the end of a chunk",
            State::TrailerStart | State::Trailer => "a trailer",
            _ => "a line feed",
        }
    }
}

/// Blanks, extensions and trailers are skipped, but not for ever: an endless one would hold the
/// connection although the body never grows.
const SKIPPED_BYTES_MAX: usize = 16 << 10;
/// Digits of a chunk size: what 64 bits hold. Leading zeros count, so they have an end too.
const SIZE_DIGITS_MAX: u8 = 16;
