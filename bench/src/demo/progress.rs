//! The progress line of the demo, on stderr: rewritten in place on a terminal, a line every two
//! seconds elsewhere.

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use super::Options;
use crate::{collector::Collector, shape::Signal, subject::Telemetry, timed::Timings};

/// Where the progress line takes its figures from.
pub(super) struct Watched<'a> {
    pub(super) served: &'a AtomicU64,
    pub(super) options: &'a Options,
    pub(super) telemetry: &'a Telemetry,
    pub(super) collector: Option<&'a Collector>,
    pub(super) timings: &'a Timings,
}

/// Runs `work` while a thread tells of its progress.
pub(super) fn during<T>(watched: &Watched<'_>, work: impl FnOnce() -> T) -> T {
    if watched.options.quiet {
        return work();
    }
    let (end, ended) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || tell(watched, &ended));
        let result = work();
        drop(end);
        result
    })
}

fn tell(watched: &Watched<'_>, ended: &Receiver<()>) {
    let start = Instant::now();
    let mut err = io::stderr();
    let (period, begin, end) = if err.is_terminal() {
        (Duration::from_millis(200), "\r\x1b[K", "")
    } else {
        (Duration::from_secs(2), "", "\n")
    };
    while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(period) {
        // Nobody to read it is no reason to stop.
        let _ = write!(err, "{begin}{}{end}", watched.line(start.elapsed()));
        let _ = err.flush();
    }
    let _ = writeln!(err, "{begin}{}", watched.line(start.elapsed()));
}

impl Watched<'_> {
    fn line(&self, elapsed: Duration) -> String {
        let counts = self.telemetry.counts_of(Signal::Traces);
        let decoded = self
            .collector
            .map_or(String::new(), |c| format!(", decoded {}", c.records(Signal::Traces)));
        format!(
            "{:5.1} s  {}: requests {} of {}, spans {}, delivered {}{decoded}, dropped {}",
            elapsed.as_secs_f64(),
            counts.driver,
            // Ordering: Relaxed, see `super::client`.
            self.served.load(Ordering::Relaxed),
            self.options.requests,
            self.timings.count(),
            counts.delivered,
            counts.dropped,
        )
    }
}
