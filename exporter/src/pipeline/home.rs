//! An exporter in each process that has it.
//!
//! A forked child finds an exporter whose thread stayed in the parent, whose locks may be held for
//! ever and whose buffer holds the parent's records. So it starts its own, of the same settings
//! and empty, when a record first ends in it:
//!
//! ```text
//! the process that built it ── Live: thread, buffers, connections, counters
//!   └─ fork ─► Nothing ── the first record ──► Live, its own
//!                 │                        └─► Absent: it was shut down before, or no thread
//!                 │                            can be started; what comes is counted
//!                 └─ exit, exec, another fork: nothing was started for it
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use spanwire_runtime::{PerProcess, Runtime};

use crate::diagnostics::Kind;
use crate::error::{BuildError, FlushError, ShutdownError};
use crate::model::Signal;
use crate::pipeline::assemble::{self, Settings};
use crate::pipeline::shared::Shared;
use crate::stats::{Dropped, SignalStats, Stats};

/// What all processes of one exporter have in common, as each of them has a copy of it.
pub(crate) struct Home {
    settings: Settings,
    here: PerProcess<Result<Live, Absent>>,
    /// A shutdown was asked for, in this process or in one that it was forked from.
    closed: AtomicBool,
    /// Records that ended inside of the start of a child's exporter, by the thread that started
    /// it: its user's code was called.
    reentrant: [AtomicU64; Signal::ALL.len()],
}

/// An exporter that runs in this process.
pub(crate) struct Live {
    pub(crate) shared: Arc<Shared>,
    /// `None` once shut down.
    runtime: Mutex<Option<Runtime>>,
}

/// A forked child that has no exporter, and what ended in it, by signal.
pub(crate) struct Absent {
    is_shut_down: bool,
    turned_away: [AtomicU64; Signal::ALL.len()],
}

impl Home {
    /// Starts an exporter in this process.
    pub(crate) fn start(settings: Settings) -> Result<Self, BuildError> {
        let here = PerProcess::new(Ok(Live::start(&settings)?));
        Ok(Self { settings, here, closed: AtomicBool::new(false), reentrant: Default::default() })
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The exporter of this process, if anything has needed one. What has not is as a fresh one:
    /// nothing came in, nothing is to be delivered.
    #[inline]
    pub(crate) fn existing(&self) -> Option<Result<&Live, &Absent>> {
        self.here.get().map(Result::as_ref)
    }

    /// The exporter of this process, which is started if there is none; none if there cannot be
    /// one, which [`turn_away`](Self::turn_away) counts.
    #[inline]
    pub(crate) fn live(&self) -> Option<&Live> {
        self.here.get_or_make(|| self.start_again()).and_then(|here| here.as_ref().ok())
    }

    /// Counts records that found no exporter.
    #[cold]
    pub(crate) fn turn_away(&self, signal: Signal, records: u64) {
        let count = match self.here.get() {
            Some(Err(absent)) => &absent.turned_away[signal.index()],
            _ => &self.reentrant[signal.index()],
        };
        // Ordering: a statistic.
        count.fetch_add(records, Ordering::Relaxed);
    }

    /// Nothing is started from now on, in this process and those that it forks. False if somebody
    /// has said so before.
    pub(crate) fn close(&self) -> bool {
        // Ordering: a child that races with it may start or not; a shutdown is told by `End`.
        !self.closed.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn stats(&self) -> Stats {
        let stats = match self.here.get() {
            Some(Ok(live)) => live.shared.stats(),
            Some(Err(absent)) => Stats::of(Signal::ALL.map(|signal| absent.stats(signal))),
            None => return Stats::default(),
        };
        self.with_reentrant(stats)
    }

    fn start_again(&self) -> Result<Live, Absent> {
        // Ordering: a statistic. What is there was counted by the process that forked this one.
        self.reentrant.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        // Ordering: see `close`.
        if self.closed.load(Ordering::Relaxed) {
            return Err(Absent { is_shut_down: true, turned_away: Default::default() });
        }
        let settings = self.settings.in_child().map_err(|error| self.absent(&*error))?;
        Live::start(&settings).map_err(|error| self.absent(&error))
    }

    fn absent(&self, error: &dyn std::error::Error) -> Absent {
        let message = format!("the exporter of a forked process was not started: {error}");
        self.settings.diagnostics.afresh().report(Kind::Forked, &message, Instant::now());
        Absent { is_shut_down: false, turned_away: Default::default() }
    }

    /// What ended while the exporter of this process was being started.
    fn with_reentrant(&self, stats: Stats) -> Stats {
        let counts = self.reentrant.each_ref().map(load);
        if counts == [0; Signal::ALL.len()] {
            return stats;
        }
        let parts = Signal::ALL.map(|signal| {
            let (mut part, more) = (*stats.signal(signal), counts[signal.index()]);
            part.emitted += more;
            part.dropped.reentrant += more;
            part
        });
        let Stats { emitted, dropped, traces, logs, metrics, .. } = Stats::of(parts);
        Stats { emitted, dropped, traces, logs, metrics, ..stats }
    }
}

impl Live {
    fn start(settings: &Settings) -> Result<Self, BuildError> {
        let (shared, runtime) = assemble::start(settings)?;
        Ok(Self { shared, runtime: Mutex::new(Some(runtime)) })
    }

    /// Whether a shutdown that waited has dealt with the exporter's thread.
    pub(crate) fn has_ended(&self) -> bool {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    /// What runs the exporter's thread; none once it was taken.
    pub(crate) fn take_runtime(&self) -> Option<Runtime> {
        self.runtime.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Absent {
    pub(crate) fn flush_error(&self) -> FlushError {
        if self.is_shut_down { FlushError::ShutDown } else { FlushError::Forked }
    }

    pub(crate) fn shutdown_error(&self) -> ShutdownError {
        if self.is_shut_down { ShutdownError::AlreadyShutDown } else { ShutdownError::Forked }
    }

    fn stats(&self, signal: Signal) -> SignalStats {
        let emitted = load(&self.turned_away[signal.index()]);
        let mut dropped = Dropped::default();
        match self.is_shut_down {
            true => dropped.after_shutdown = emitted,
            false => dropped.forked = emitted,
        }
        SignalStats { emitted, dropped, ..SignalStats::default() }
    }
}

fn load(count: &AtomicU64) -> u64 {
    // Ordering: a statistic.
    count.load(Ordering::Relaxed)
}

impl std::fmt::Debug for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Home").finish_non_exhaustive()
    }
}
