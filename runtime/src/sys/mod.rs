//! What only some systems have, behind one boundary.
//!
//! `linux` has what the kernel there offers, `portable` has twins made of the standard library;
//! the two have the same items. A build with `--cfg spanwire_portable` takes the twins on Linux
//! too, which is how they are tested. The other modules hold what differs between unix and
//! Windows alone.
//!
//! No other file asks which system it is built for, but for a few lines that
//! `bench/tests/tidy.rs` lists.

#[cfg(all(feature = "internals", target_os = "linux"))]
pub mod child;
#[cfg(feature = "internals")]
pub mod counting;
pub mod errno;
pub mod files;
pub mod fork;
pub mod signals;
pub mod socket;

#[cfg(all(target_os = "linux", not(spanwire_portable)))]
mod linux;
#[cfg(all(target_os = "linux", not(spanwire_portable)))]
pub use self::linux::{Envelope, Futex, Header, Peer, open, wiped};

#[cfg(not(all(target_os = "linux", not(spanwire_portable))))]
mod portable;
#[cfg(not(all(target_os = "linux", not(spanwire_portable))))]
pub use self::portable::{Envelope, Futex, Header, NO_URING, Peer, open, wiped};
