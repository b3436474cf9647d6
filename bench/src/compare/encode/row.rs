//! The rows of `compare encode`, and who takes part.

use std::fmt;

use clap::ValueEnum;

use crate::compare::{
    lines::{self, Unit},
    rows::{self, Goal, Limit},
    samples::Samples,
};

/// What is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Row {
    /// A span without attributes.
    SpanBare,
    /// The span of `bench/src/span.rs`: 10 attributes, an event.
    SpanTypical,
    /// A span with 40 attributes.
    SpanHeavy,
    /// 10 attributes of 20 and 20 characters.
    SpanSpec,
    /// The typical span, from memory that is in no cache.
    SpanTypicalCold,
    /// A log record with 5 attributes.
    #[value(name = "log_5")]
    Log5,
    /// 1000 data points of metrics with 5 attributes, written afresh: for each.
    PointsRebuilt,
    /// The same points again, verified and patched in place: for each.
    PointsVerified,
    /// Patched without being verified: for each.
    PointsPatched,
}

/// Who encodes, and from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Peer {
    /// spanwire, from what the SDK hands over.
    Spanwire,
    /// prost, from its own structs.
    Prost,
    /// opentelemetry-proto's transform of what the SDK hands over, prost, and dropping it all: what
    /// opentelemetry-otlp does.
    Transform,
    /// A copy of the finished bytes.
    Memcpy,
}

impl lines::Peer for Peer {
    fn is_ours(self) -> bool {
        self == Self::Spanwire
    }
}

impl rows::Row for Row {
    type Peer = Peer;

    const SUBJECT: &'static str = "encode";
    const CHILD: &'static str = "compare-encode-child";
    const PACKAGES: &'static [&'static str] =
        &["spanwire", "opentelemetry_sdk", "opentelemetry-proto", "prost"];
    const GOALS: &'static [Goal] = &[
        goal("log_5", 100.0),
        goal("points_rebuilt", 60.0),
        goal("points_verified", 30.0),
        goal("points_patched", 3.0),
    ];

    fn suits(self, peer: Peer) -> bool {
        match self {
            // Nobody else keeps an image; they write all points afresh.
            Self::PointsVerified | Self::PointsPatched => peer == Peer::Spanwire,
            _ => true,
        }
    }

    fn figures(self) -> Vec<(String, Unit)> {
        vec![(self.name(), Unit::Ns), (format!("{}_bytes", self.name()), Unit::Bytes)]
    }

    fn has(_: Peer) -> bool {
        true
    }

    fn measure(self, peer: Peer, mut samples: Samples) -> Result<Vec<f64>, String> {
        let mut body = super::body(self, peer)?;
        while samples.lap().is_some() {
            let time = body.lap();
            samples.record(time, body.operations);
        }
        Ok(vec![samples.median(), body.bytes])
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
