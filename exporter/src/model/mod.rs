//! Plain data that the stages hand to each other: what is sent, and what came of sending it.

mod choice;
mod outcome;
mod payload;
mod signal;

pub use self::choice::{Compression, Protocol};
pub(crate) use self::outcome::{Failure, Outcome, Phase};
pub(crate) use self::payload::Payload;
pub use self::signal::Signal;
