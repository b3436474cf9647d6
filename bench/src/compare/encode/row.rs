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
    /// 1000 points of a counter with 5 attributes, written afresh: for each.
    PointsRebuilt,
    /// The same points again, verified and patched in place: for each.
    PointsVerified,
    /// Patched without being verified: for each.
    PointsPatched,
    /// 250 points of a histogram with 16 buckets and 5 attributes, written afresh: for each.
    HistogramsRebuilt,
    /// The same points again, verified and patched in place: for each.
    HistogramsVerified,
    /// Patched without being verified: for each.
    HistogramsPatched,
    /// A request of typical spans to OTLP/JSON: for each span.
    JsonSpan,
    /// The seventh attribute of an encoded typical span, found by its key.
    WalkFound,
    /// A key that the span does not have.
    WalkAbsent,
    /// All attributes of the span.
    WalkAll,
}

/// Who encodes, and from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Peer {
    /// spanwire, from what the SDK hands over.
    Spanwire,
    /// spanwire, from plain data with keys that were encoded when the program was compiled.
    SpanwirePlain,
    /// prost, from its own structs.
    Prost,
    /// opentelemetry-proto's transform of what the SDK hands over, prost, and dropping it all: what
    /// opentelemetry-otlp does.
    Transform,
    /// serde, from prost's structs.
    Serde,
    /// A copy of the finished bytes.
    Memcpy,
}

impl Peer {
    /// What a body says to a peer that its row does not suit.
    pub(super) fn takes_no_part(self) -> String {
        format!("{self} takes no part in this row")
    }
}

impl lines::Peer for Peer {
    fn is_ours(self) -> bool {
        matches!(self, Self::Spanwire | Self::SpanwirePlain)
    }
}

impl rows::Row for Row {
    type Peer = Peer;

    const SUBJECT: &'static str = "encode";
    const CHILD: &'static str = "compare-encode-child";
    const PACKAGES: &'static [&'static str] =
        &["spanwire", "opentelemetry_sdk", "opentelemetry-proto", "prost"];
    const GOALS: &'static [Goal] = &[
        Goal { bench: "span_typical", peer: "spanwire-plain", at_most: Limit::Value(45.0) },
        Goal {
            bench: "span_typical",
            peer: "spanwire-plain",
            at_most: Limit::Times(5.0, "memcpy"),
        },
        goal("log_5", 100.0),
        goal("points_rebuilt", 60.0),
        goal("points_verified", 30.0),
        goal("points_patched", 3.0),
        goal("walk_found", 30.0),
    ];

    fn suits(self, peer: Peer) -> bool {
        match self {
            // Nobody else keeps an image; they write all points afresh.
            Self::PointsVerified
            | Self::PointsPatched
            | Self::HistogramsVerified
            | Self::HistogramsPatched => peer == Peer::Spanwire,
            Self::JsonSpan => matches!(peer, Peer::Spanwire | Peer::Serde),
            // prost decodes, and then looks.
            Self::WalkFound | Self::WalkAbsent | Self::WalkAll => {
                matches!(peer, Peer::Spanwire | Peer::Prost)
            }
            Self::SpanBare | Self::SpanTypical | Self::SpanSpec => peer != Peer::Serde,
            _ => !matches!(peer, Peer::SpanwirePlain | Peer::Serde),
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
