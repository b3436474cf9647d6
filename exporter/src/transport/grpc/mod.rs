//! OTLP/gRPC: the unary call `Export` over HTTP/2.
//!
//! In scope: gRPC's framing, metadata, deadlines and statuses, and what each means; one
//! connection that the lanes of a destination share. HTTP/2 itself is the crate `h2`'s. Out of
//! scope: streaming calls, service configs, balancing
//! (it is above).
//!
//! ```text
//! lane ─► client ─┐ head, body, timeout                       ┌─► verdict ─► outcome
//! lane ─► client ─┼──► channel ──► link ══ h2 ══ task ── wire ─┤
//! lane ─► client ─┘    (shared)    (one connection)            └─ frame, status
//! ```
//!
//! Pure: `frame`, `status`, `timeout`, `head`, `body`, `verdict`, `keepalive`. What drives them:
//! `client`, one for each lane; `channel`, which opens a connection when one is needed; `link`, a
//! connection and the task that moves its bytes; `wire`, its socket as h2 takes it. All of it runs
//! on one worker, and `quiet` keeps it out of the program's own telemetry.

mod body;
pub(crate) mod channel;
pub(crate) mod client;
mod frame;
pub(crate) mod head;
#[cfg(feature = "internals")]
pub(crate) mod judged;
pub(crate) mod keepalive;
mod link;
mod quiet;
mod status;
mod timeout;
mod verdict;
mod wire;
