//! Where bytes are written: the checked cursor of the encoders; and what is left of a list of buffers.
//!
//! In scope: writing into memory of a fixed size, once, forward, without asking for more. Out of
//! scope: what the bytes mean (see `spanwire::wire`), and growing.

mod cursor;
mod pieces;
mod row;

pub use self::cursor::{Cursor, Overflow};
pub(crate) use self::pieces::advance;
pub use self::row::{Padded, PaddedRef, Row};
