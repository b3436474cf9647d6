//! A flood: producers that never pause, at default settings, and what it does to memory and to the
//! spans.

use std::{
    fmt,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{
    child::{self, ChildOptions, PATIENCE},
    number,
};
use crate::{
    drive::{self, Plan},
    measure,
    report::rounded,
    subject::Kind,
};

/// What one flood left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Flooded {
    /// Whose.
    pub peer: Kind,
    /// Records emitted.
    pub emitted: u64,
    /// Records that the peer says were rejected or dropped.
    pub refused: u64,
    /// Records that the sink received; filled in by the parent.
    pub received: u64,
    /// How long it took, the last flush included.
    pub seconds: f64,
    /// CPU seconds of the process for a million emitted records.
    pub cpu_s_per_million: f64,
    /// The greatest resident memory in the beginning: the first ten seconds, or the first half.
    pub rss_begin_mb: f64,
    /// The greatest after that.
    pub rss_rest_mb: f64,
}

/// Runs one flood in this process.
///
/// # Errors
///
/// When the peer cannot be opened or does not end; the text tells.
pub fn run(options: &ChildOptions, seconds: u64) -> Result<Flooded, String> {
    let subject = child::open(options)?;
    let period = Duration::from_secs(seconds);
    let plan = Plan { threads: options.threads, period: Some(period), ..Plan::default() };
    let begin = BEGIN.min(period / 2);
    let (start, cpu) = (Instant::now(), measure::process_cpu());
    let ((emitted, flushed), [rss_begin_mb, rss_rest_mb]) = watched(begin, || {
        let emitted = drive::drive(&subject, &plan);
        (emitted, subject.peer.flush(PATIENCE))
    });
    let (elapsed, cpu) = (start.elapsed(), measure::process_cpu().saturating_sub(cpu));
    if let Err(error) = flushed {
        // A peer that dropped says so here; the counts tell how much.
        eprintln!("{}: {error}", options.peer);
    }
    subject.shutdown(PATIENCE);
    let counts = subject.peer.counts();
    Ok(Flooded {
        peer: options.peer,
        emitted: emitted.records,
        refused: counts.rejected + counts.dropped,
        received: 0,
        seconds: elapsed.as_secs_f64(),
        cpu_s_per_million: cpu.as_secs_f64() * 1e6 / emitted.records.max(1) as f64,
        rss_begin_mb,
        rss_rest_mb,
    })
}

/// Runs `work` while a thread looks at the memory of the process: what `work` returns, and the
/// greatest values before and after `begin` has passed.
fn watched<T>(begin: Duration, work: impl FnOnce() -> T) -> (T, [f64; 2]) {
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watcher = scope.spawn(move || {
            let (start, mut most) = (Instant::now(), [0.0; 2]);
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK_EVERY) {
                let part = usize::from(start.elapsed() >= begin);
                most[part] = f64::max(most[part], measure::rss_mb());
            }
            most
        });
        let result = work();
        drop(end);
        (result, watcher.join().unwrap_or_default())
    })
}

impl Flooded {
    /// Emitted records that neither arrived nor were reported as dropped.
    pub fn lost(&self) -> i64 {
        self.emitted.wrapping_sub(self.received + self.refused).cast_signed()
    }

    /// The greatest resident memory.
    pub fn rss_mb(&self) -> f64 {
        self.rss_begin_mb.max(self.rss_rest_mb)
    }

    /// By how much it grew after the beginning.
    pub fn rss_growth_mb(&self) -> f64 {
        (self.rss_rest_mb - self.rss_begin_mb).max(0.0)
    }

    /// Between processes and for tools.
    pub fn to_json(&self) -> Value {
        json!({
            "peer": self.peer.name(),
            "emitted": self.emitted,
            "delivered": self.received,
            "dropped": self.refused,
            "lost": self.lost(),
            "seconds": rounded(self.seconds, 1000.0),
            "delivered_per_s": (self.received as f64 / self.seconds).round(),
            "cpu_s_per_million": rounded(self.cpu_s_per_million, 1000.0),
            "rss_mb": rounded(self.rss_mb(), 10.0),
            "rss_begin_mb": rounded(self.rss_begin_mb, 10.0),
            "rss_rest_mb": rounded(self.rss_rest_mb, 10.0),
            "rss_growth_mb": rounded(self.rss_growth_mb(), 10.0),
        })
    }

    /// Reads what `to_json` wrote.
    ///
    /// # Errors
    ///
    /// When `line` is not JSON or lacks one of the keys; the text names which.
    pub fn from_json(line: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(line)
            .map_err(|error| format!("a flood is not JSON ({error}): {line:?}"))?;
        Ok(Self {
            peer: value["peer"].as_str().unwrap_or_default().parse()?,
            emitted: number(&value, "emitted")? as u64,
            refused: number(&value, "dropped")? as u64,
            received: number(&value, "delivered")? as u64,
            seconds: number(&value, "seconds")?,
            cpu_s_per_million: number(&value, "cpu_s_per_million")?,
            rss_begin_mb: number(&value, "rss_begin_mb")?,
            rss_rest_mb: number(&value, "rss_rest_mb")?,
        })
    }
}

impl fmt::Display for Flooded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<16} {:>11} emitted {:>11} delivered {:>11} dropped {:>11} lost  {:>6.3} CPU s per 1M  \
             RSS {:.1} MB, later {:.1}",
            self.peer,
            self.emitted,
            self.received,
            self.refused,
            self.lost(),
            self.cpu_s_per_million,
            self.rss_begin_mb,
            self.rss_rest_mb
        )
    }
}

/// By then pools, stacks and buffers have been touched.
const BEGIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(100);
