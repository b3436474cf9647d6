//! The queues that are compared, one file each.

use super::{queue::Visit, row::Peer};
#[cfg(not(feature = "rivals"))]
use crate::subject::NEEDS_RIVALS;

#[cfg(feature = "rivals")]
mod array_queue;
#[cfg(feature = "rivals")]
mod crossbeam;
#[cfg(feature = "rivals")]
mod rtrb;
mod spanwire;
mod tokio;

/// Does `visit` with the queue of `peer`, for records of `N` bytes.
///
/// # Errors
///
/// As `visit`; and when the peer is not compiled in.
pub fn push<const N: usize, T>(
    peer: Peer,
    visit: impl Visit<N, Output = Result<T, String>>,
) -> Result<T, String> {
    match peer {
        Peer::Spanwire => visit.visit::<spanwire::Pipe>(),
        Peer::Tokio => visit.visit::<tokio::Channel>(),
        #[cfg(feature = "rivals")]
        Peer::Rtrb => visit.visit::<rtrb::Rings>(),
        #[cfg(feature = "rivals")]
        Peer::ArrayQueue => visit.visit::<array_queue::Queue>(),
        #[cfg(feature = "rivals")]
        Peer::Crossbeam => visit.visit::<crossbeam::Channel>(),
        Peer::SdkBatch => Err("the SDK's processor takes spans only".to_owned()),
        #[cfg(not(feature = "rivals"))]
        _ => Err(NEEDS_RIVALS.to_owned()),
    }
}
