//! One trace, drawn as text: a tree by parent, a bar by time.
//!
//! ```text
//! trace 000000000000000000000000000004bf  4 spans of shop, 1 error, 400 µs
//!
//!                                0                 200 µs              400 µs
//! GET               demo.client  ████████████████████████████████████████   400 µs
//! └ GET /cart/{id}  demo.shop        ▐███████████████████████████▌          280 µs ✗
//!   │                                500 Internal Server Error
//!   ├ db query      demo.shop         ▐█████████▌                           100 µs
//!   └ render        demo.shop                       ▐▌                       12 µs
//! ```
//!
//! In scope: the choice of a trace worth looking at ([`Kept`]), and the drawing ([`draw()`]), which is a
//! pure function. Out of scope: where the spans come from.

mod draw;
mod kept;

pub use draw::{Style, draw};
pub use kept::Kept;

/// A span as it is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Its id.
    pub id: u64,
    /// That of its parent; 0 when it has none.
    pub parent: u64,
    /// Its name.
    pub name: String,
    /// The `service.name` of its resource.
    pub service: String,
    /// The name of its instrumentation scope.
    pub scope: String,
    /// When it started, in nanoseconds of the Unix epoch.
    pub start: u64,
    /// When it ended.
    pub end: u64,
    /// What it says about its error; empty for one without a text.
    pub error: Option<String>,
}

/// The spans of one trace, in any order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// Its id.
    pub id: u128,
    /// Its spans.
    pub spans: Vec<Span>,
}

impl Trace {
    /// Whether every span but one has its parent here.
    pub fn is_whole(&self) -> bool {
        let is_root = |span: &&Span| !self.spans.iter().any(|other| other.id == span.parent);
        self.spans.iter().filter(is_root).count() == 1
    }

    /// How many of its spans are errors.
    pub fn errors(&self) -> usize {
        self.spans.iter().filter(|span| span.error.is_some()).count()
    }
}
