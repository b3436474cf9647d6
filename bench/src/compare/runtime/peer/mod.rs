//! The runtimes that are compared, one file each.

use std::{fmt, net::SocketAddr};

use clap::ValueEnum;

use super::{
    lines::{self, Peer as _},
    row::Row,
    samples::Samples,
};
#[cfg(not(feature = "rivals"))]
use crate::subject::NEEDS_RIVALS;

#[cfg(feature = "rivals")]
mod glommio;
#[cfg(feature = "rivals")]
mod monoio;
#[cfg(feature = "rivals")]
mod smol;
mod spanwire;
#[cfg(feature = "rivals")]
mod tokio;

/// A runtime in one of its shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Peer {
    /// spanwire, one worker, io_uring.
    #[value(name = "spanwire-1-uring")]
    Spanwire1Uring,
    /// spanwire, one worker, epoll.
    #[value(name = "spanwire-1-epoll")]
    Spanwire1Epoll,
    /// spanwire, two workers, io_uring.
    #[value(name = "spanwire-2-uring")]
    Spanwire2Uring,
    /// spanwire, two workers, epoll.
    #[value(name = "spanwire-2-epoll")]
    Spanwire2Epoll,
    /// tokio's multi-thread runtime with two workers.
    TokioMt,
    /// tokio's current-thread runtime, driven by a thread of its own.
    TokioCt,
    /// smol's executor on two threads.
    Smol,
    /// monoio on io_uring, one thread.
    Monoio,
    /// glommio, one thread.
    Glommio,
}

impl Peer {
    /// All that this program can measure.
    pub fn all() -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|peer| cfg!(feature = "rivals") || peer.is_ours()).collect()
    }

    /// Whether its tasks can stay on a worker for good, by a call that asks for that.
    pub fn can_pin(self) -> bool {
        self.is_ours() || !self.can_share()
    }

    /// Whether its tasks may be spawned and woken by other threads.
    pub fn can_share(self) -> bool {
        !matches!(self, Self::Monoio | Self::Glommio)
    }

    /// Measures `row` in this process. `server` echoes.
    ///
    /// # Errors
    ///
    /// When the runtime cannot be opened, begins with `CANNOT_OPEN`; the text tells why.
    pub fn measure(
        self,
        row: Row,
        samples: Samples,
        server: SocketAddr,
    ) -> Result<Vec<f64>, String> {
        match self {
            Self::Spanwire1Uring => spanwire::measure(1, "uring", row, samples, server),
            Self::Spanwire1Epoll => spanwire::measure(1, "epoll", row, samples, server),
            Self::Spanwire2Uring => spanwire::measure(2, "uring", row, samples, server),
            Self::Spanwire2Epoll => spanwire::measure(2, "epoll", row, samples, server),
            #[cfg(feature = "rivals")]
            Self::TokioMt => tokio::multi_thread(row, samples, server),
            #[cfg(feature = "rivals")]
            Self::TokioCt => tokio::current_thread(row, samples, server),
            #[cfg(feature = "rivals")]
            Self::Smol => smol::measure(row, samples, server),
            #[cfg(feature = "rivals")]
            Self::Monoio => monoio::measure(row, samples, server),
            #[cfg(feature = "rivals")]
            Self::Glommio => glommio::measure(row, samples, server),
            #[cfg(not(feature = "rivals"))]
            _ => Err(NEEDS_RIVALS.to_owned()),
        }
    }
}

impl lines::Peer for Peer {
    fn is_ours(self) -> bool {
        self <= Self::Spanwire2Epoll
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no variant is hidden");
        f.pad(value.get_name())
    }
}

/// How the text begins when a peer cannot even start here.
pub(super) const CANNOT_OPEN: &str = "cannot start: ";
/// Workers of the peers that have several.
#[cfg(feature = "rivals")]
const WORKERS: usize = 2;
