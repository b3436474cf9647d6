//! The rows of `compare pipe`, and who takes part.

use std::fmt;

use clap::ValueEnum;

use super::{on_end, peer, push};
use crate::compare::{
    lines::{self, Unit},
    rows::{self, Goal, Limit, Row as _},
    samples::Samples,
};

/// What is measured: records of 64 or 512 bytes from 1 to 16 threads; ends of spans from 1 or 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[allow(missing_docs, reason = "a name is its record and its threads")]
pub enum Row {
    #[value(name = "push_64_t1")]
    Push64T1,
    #[value(name = "push_64_t2")]
    Push64T2,
    #[value(name = "push_64_t4")]
    Push64T4,
    #[value(name = "push_64_t8")]
    Push64T8,
    #[value(name = "push_64_t16")]
    Push64T16,
    #[value(name = "push_512_t1")]
    Push512T1,
    #[value(name = "push_512_t2")]
    Push512T2,
    #[value(name = "push_512_t4")]
    Push512T4,
    #[value(name = "push_512_t8")]
    Push512T8,
    #[value(name = "push_512_t16")]
    Push512T16,
    #[value(name = "on_end_t1")]
    OnEndT1,
    #[value(name = "on_end_t2")]
    OnEndT2,
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Peer {
    /// spanwire's pipe; its span processor with the exporter behind it.
    Spanwire,
    /// One ring for each thread.
    Rtrb,
    /// One lock-free queue for all threads.
    ArrayQueue,
    /// A bounded channel of crossbeam.
    Crossbeam,
    /// A bounded channel of tokio.
    Tokio,
    /// The SDK's batch processor with an exporter that does nothing.
    SdkBatch,
}

/// What a row does.
enum Body {
    /// Bytes of a record, threads.
    Push(usize, usize),
    /// Threads.
    OnEnd(usize),
}

impl Row {
    fn body(self) -> Body {
        match self {
            Self::Push64T1 => Body::Push(64, 1),
            Self::Push64T2 => Body::Push(64, 2),
            Self::Push64T4 => Body::Push(64, 4),
            Self::Push64T8 => Body::Push(64, 8),
            Self::Push64T16 => Body::Push(64, 16),
            Self::Push512T1 => Body::Push(512, 1),
            Self::Push512T2 => Body::Push(512, 2),
            Self::Push512T4 => Body::Push(512, 4),
            Self::Push512T8 => Body::Push(512, 8),
            Self::Push512T16 => Body::Push(512, 16),
            Self::OnEndT1 => Body::OnEnd(1),
            Self::OnEndT2 => Body::OnEnd(2),
        }
    }

    /// Whether its allocations are counted: through the SDK, they are the SDK's.
    pub(super) fn counts_allocations(self) -> bool {
        matches!(self.body(), Body::Push(..))
    }

    /// What they are reported as.
    pub(super) fn allocations_bench(self) -> String {
        format!("{}_allocations", self.name())
    }

    /// Allocations for a record, by the threads that push.
    ///
    /// # Errors
    ///
    /// When nobody counts, or the row has no such figure.
    pub(super) fn allocations(self, peer: Peer) -> Result<f64, String> {
        match self.body() {
            Body::Push(64, threads) => peer::push::<64, _>(peer, push::Allocations { threads }),
            Body::Push(_, threads) => peer::push::<512, _>(peer, push::Allocations { threads }),
            Body::OnEnd(_) => Err(format!("{} has no count of allocations", self.name())),
        }
    }
}

impl lines::Peer for Peer {
    fn is_ours(self) -> bool {
        self == Self::Spanwire
    }
}

impl rows::Row for Row {
    type Peer = Peer;

    const SUBJECT: &'static str = "pipe";
    const CHILD: &'static str = "compare-pipe-child";
    const PACKAGES: &'static [&'static str] = &[
        "spanwire-runtime",
        "spanwire",
        "opentelemetry_sdk",
        "rtrb",
        "crossbeam-queue",
        "crossbeam-channel",
        "tokio",
    ];
    const GOALS: &'static [Goal] = &[
        goal("push_64_t1", 20.0),
        goal("push_64_t2", 20.0),
        goal("push_64_t4", 20.0),
        goal("push_64_t8", 20.0),
        goal("push_64_t16", 20.0),
        goal("push_64_t1_allocations", 0.0),
        goal("push_64_t16_allocations", 0.0),
        goal("on_end_t1_added", 110.0),
        goal("on_end_t1_p999", 1000.0),
    ];

    fn suits(self, peer: Peer) -> bool {
        match self.body() {
            Body::Push(..) => peer != Peer::SdkBatch,
            Body::OnEnd(_) => matches!(peer, Peer::Spanwire | Peer::SdkBatch),
        }
    }

    fn figures(self) -> Vec<(String, Unit)> {
        let (name, ns) = (self.name(), |bench| (bench, Unit::Ns));
        let tails = ["p50", "p99", "p999"].map(|of| format!("{name}_{of}"));
        match self.body() {
            // With more threads than processors a tail is the scheduler's.
            Body::Push(_, 1 | 2) => [vec![name], tails.to_vec()].concat(),
            Body::Push(..) => vec![name],
            Body::OnEnd(_) => [vec![format!("{name}_added")], tails.to_vec()].concat(),
        }
        .into_iter()
        .map(ns)
        .collect()
    }

    fn has(peer: Peer) -> bool {
        cfg!(feature = "rivals") || matches!(peer, Peer::Spanwire | Peer::SdkBatch | Peer::Tokio)
    }

    fn measure(self, peer: Peer, samples: Samples) -> Result<Vec<f64>, String> {
        match self.body() {
            Body::Push(64, threads) => peer::push::<64, _>(peer, push::Times { threads, samples }),
            Body::Push(_, threads) => peer::push::<512, _>(peer, push::Times { threads, samples }),
            Body::OnEnd(threads) => on_end::measure(peer, threads, samples),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&rows::name_of(self))
    }
}

const fn goal(bench: &'static str, at_most: f64) -> Goal {
    Goal { bench, peer: "spanwire", at_most: Limit::Value(at_most) }
}
