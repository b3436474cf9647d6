//! Where bytes are written: the checked cursor of the encoders.
//!
//! In scope: writing into memory of a fixed size, once, forward, without asking for more. Out of
//! scope: what the bytes mean (see `spanwire::wire`), and growing.

mod cursor;

pub use self::cursor::{Cursor, Overflow};
