//! A TCP proxy that misbehaves on command: what stands between an exporter and its collector on a
//! bad day.
//!
//! In scope: delays, stalls, half-open connections, resets at a byte of an answer, slow readers, and
//! answers over HTTP/1.1 that no collector should give. It forwards bytes, so it does not care what
//! they are: gRPC and TLS go through it as well, but for the answers. Out of scope: loss and
//! reordering of packets, which need a network namespace.
//!
//! ```text
//! exporter ──▶ reader ──[chunk, due]──▶ writer ──▶ collector
//! exporter ◀── writer ◀──[chunk, due]── reader ◀── collector      two threads a direction
//! ```
//!
//! As a library: [`Proxy::start`] and [`Proxy::set`]. As a process, `spanwire proxy`, it speaks lines:
//!
//! ```text
//! stdout  127.0.0.1:41235          first line: where it listens
//! stdin   stall                    a fault, as in a script without its time; in force at once
//! stdin   status                   asks only
//! stdout  {"fault":"stall","open":2,"accepted":7,"bytes_up":100,"bytes_down":9,"queued":0}
//! stdin   (end of file)            ends it
//! ```
//!
//! A script has a line for each change: when, counted from the start, and what. `#` begins a
//! comment.
//!
//! ```text
//! 0s    pass
//! 2s    latency 20ms               # a round trip takes so much longer
//! 4s    stall
//! 5500ms blackhole
//! 8s    reset 17                   # after the 17th byte of an answer
//! 10s   slow 100000                # bytes a second from the exporter
//! 12s   answer 503 retry-after 1
//! 14s   pass
//! ```

pub use fault::Fault;
pub use process::{Options, ProxyProcess, run};
pub use proxy::{Proxy, Status};
pub use script::Script;

mod answer;
mod fault;
mod process;
mod proxy;
mod relay;
mod script;
