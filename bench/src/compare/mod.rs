//! `spanwire compare`: spanwire beside others, each row in a process of its own. Of exporters, here;
//! of runtimes, in [`runtime`].
//!
//! ```text
//! compare ──▶ one `spanwire sink` for all
//!    └──────▶ `spanwire compare-child --peer X` again and again, in random order, one at a time
//! ```
//!
//! What is the same for all: the record ([`crate::span`], [`crate::log`], [`crate::metric`]), the producers ([`crate::drive`]), the
//! sink, the allocator, the warm-up, and the limit of outstanding spans, at which a producer pauses
//! so that nobody needs to drop. What is measured and how is said in [`child`].

use serde_json::Value;

pub use child::{ChildOptions, Row, run as run_child};
pub use export::{Comparison, Mode, Options, Section, run};

pub mod child;
mod children;
pub mod encode;
mod export;
pub mod flood;
pub mod goals;
pub mod interval;
pub mod lines;
pub mod pipe;
mod program;
pub mod rows;
pub mod runtime;
pub mod samples;
pub mod table;
mod text;
mod versions;

/// What can be compared.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum Command {
    /// Spans from the OpenTelemetry SDK to a receiver: cost and throughput of the exporters
    Export(Options),
    /// From telemetry to bytes: spanwire's encoders beside prost, opentelemetry-proto and memcpy
    Encode(encode::Options),
    /// From one thread to another: spanwire's pipe beside other queues, and a span's end
    Pipe(pipe::Options),
    /// Tasks, timers, wake-ups and a TCP echo: spanwire's runtime beside other runtimes
    Runtime(runtime::Options),
}

/// The allocator that all rows run on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Allocator {
    /// The system's, that of the C library.
    #[default]
    Glibc,
    /// mimalloc.
    Mimalloc,
}

/// A number that a child process wrote under `key`.
fn number(value: &Value, key: &str) -> Result<f64, String> {
    value[key].as_f64().ok_or_else(|| format!("a row lacks {key:?}: {value}"))
}
