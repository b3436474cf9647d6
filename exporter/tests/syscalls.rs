//! How many system calls an export costs: those of the exporter's thread are written down.
#![cfg(all(target_os = "linux", not(spanwire_portable)))]

#[path = "../../runtime/tests/support/seccomp.rs"]
mod seccomp;
mod support;

use std::sync::mpsc;
use std::time::Duration;

use seccomp::Calls;
use spanwire::{DiagnosticKind as Kind, Exporter, Io};
use support::otel::{LONG, drivers, end_spans, provider};
use support::{Collector, Reply};

/// A request that carries what an age gathers costs a sleep until then and an exchange. On a ring
/// that is two calls; a poller needs a send, a wait and a receive for the exchange.
#[test]
fn an_export_costs_two_calls_on_a_ring_and_four_with_a_poller() {
    for io in drivers() {
        let Some(mut watched) = Watched::start(io) else { continue };
        let most = if io == Io::Uring { 2 } else { 4 };
        let mut tries = Vec::new();
        while tries.iter().all(|calls| *calls > most * ROUNDS + ENDS) {
            assert!(tries.len() < TRIES, "{io:?}: {tries:?} calls of {ROUNDS} exports");
            watched.export(1);
            watched.calls.take();
            watched.export(ROUNDS);
            tries.push(watched.calls.take().len());
        }
        eprintln!("{io:?}: {tries:?} calls of {ROUNDS} exports");
    }
}

/// An exporter whose thread is watched, and what it exports to.
struct Watched {
    collector: Collector,
    exporter: Exporter,
    calls: Calls,
    ended: usize,
}

impl Watched {
    /// None if there is no watching here.
    fn start(io: Io) -> Option<Self> {
        // The answer to the first request is remarkable, so the exporter's thread calls us.
        let remark = b"\x0a\x03\x12\x01x";
        let collector = Collector::concurrent(|number| match number {
            0 => Reply::AcceptWith(remark.to_vec()),
            _ => Reply::Accept,
        });
        let calls = Calls::new();
        let (to_be_watched, (sender, receiver)) = (calls.clone(), mpsc::channel());
        let exporter = Exporter::builder()
            .env_from(|_| None)
            .endpoint(collector.endpoint())
            .batch_age(AGE)
            .io(io)
            .on_diagnostic(move |diagnostic| match diagnostic.kind {
                // Where io_uring is denied, that is told first, and by another thread.
                Kind::Driver => {}
                _ => sender.send(to_be_watched.of_this_thread()).unwrap(),
            })
            .build()
            .unwrap();
        let mut watched = Self { collector, exporter, calls, ended: 0 };
        watched.export(1);
        match receiver.recv_timeout(LONG).unwrap() {
            Ok(()) => Some(watched),
            Err(error) => {
                eprintln!("SKIPPED: no thread can be watched here: {error}");
                None
            }
        }
    }

    /// Has as many requests sent, one after the other.
    fn export(&mut self, requests: usize) {
        let provider = provider(&self.exporter, "service");
        for _ in 0..requests {
            end_spans(&provider, SPANS);
            self.ended += SPANS;
            self.collector.wait_for_spans(self.ended);
        }
        // Shutting its door down would flush.
        std::mem::forget(provider);
    }
}

/// How often it may be tried: a machine that is busy keeps the test from ending spans in time, and
/// then the thread sleeps as idle and has to be woken.
const TRIES: usize = 10;
/// Requests that are counted.
const ROUNDS: usize = 40;
/// Calls that the first of them makes after the last one before, and the last one after.
const ENDS: usize = 2;
/// Spans of a request.
const SPANS: usize = 10;
/// How long a request gathers.
const AGE: Duration = Duration::from_millis(20);
