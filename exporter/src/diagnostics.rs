//! What the exporter tells its user while it runs: rate-limited, to a handler of the user's.
//!
//! An exporter must not flood the log that it may itself be exporting: at most one diagnostic of
//! a kind is delivered in [`INTERVAL`], and the next one says how many were left out.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spanwire_runtime::fs::unbuffered;

use crate::model::{DestinationName, Signal};

/// Something that the user of an exporter may want to know.
///
/// # Examples
///
/// ```
/// fn log(diagnostic: &spanwire::Diagnostic) {
///     eprintln!("telemetry: {diagnostic} ({} more)", diagnostic.suppressed);
/// }
/// # let _: fn(&spanwire::Diagnostic) = log;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// What it is about; the rate is limited for each kind of each signal on its own.
    pub kind: Kind,
    /// The signal that it happened to; none if it is about the exporter as a whole.
    pub signal: Option<Signal>,
    /// The destination beside the main one that it is about; none if it is about the main one or
    /// about all of them. The rate is limited for each on its own, too.
    pub destination: Option<DestinationName>,
    /// What happened, whose fault it is and what to do; one line, without header values.
    pub message: String,
    /// The cause, if it is about a failed attempt: the status that the collector answered with, or
    /// how far the attempt came, as `error.type` of the semantic conventions has it.
    pub error_type: Option<Cow<'static, str>>,
    /// How many of this kind there were so far, those left out and this one included.
    pub count: u64,
    /// Diagnostics of this kind left out since the last one delivered.
    pub suppressed: u64,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(signal) = self.signal {
            write!(f, "{signal}")?;
            if let Some(destination) = self.destination {
                write!(f, " to {destination}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        match self.suppressed {
            0 => Ok(()),
            count => write!(f, " ({count} like it were not shown)"),
        }
    }
}

/// Kinds of diagnostics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The configuration has something odd that was ignored.
    Configuration,
    /// io_uring is not in use although it was considered.
    Driver,
    /// Producers are faster than delivery: records are dropped.
    BufferFull,
    /// A destination is slower than the others for too long: it has more waiting than its share
    /// of the buffer, and records are dropped for it alone.
    DestinationFull,
    /// No more records are dropped for want of room. Who was told of the beginning is told of
    /// this in any case.
    BufferRecovered,
    /// A record is too large to be sent: it is dropped.
    Oversize,
    /// The collector cannot be reached or asks for later attempts; they go on.
    ExportFailing,
    /// The collector, or the file, takes data again.
    ExportRecovered,
    /// The collector refused a request for good: its records are dropped.
    Refused,
    /// The collector cannot read compressed requests, for good: what was in this one is dropped,
    /// later ones are sent as they are.
    EncodingRefused,
    /// The collector did not keep some records of a request, or had a remark.
    PartialSuccess,
    /// The retry budget of a request is spent: its records are dropped.
    RetriesExhausted,
    /// There are more instrumentation scopes or resources than the exporter's table holds: the
    /// records of the others are dropped.
    TooManyScopes,
    /// A certificate or key file was replaced by one that cannot be used: what was loaded before
    /// stays in use.
    Certificates,
    /// A forked process could start no exporter of its own: what ends in it is dropped.
    Forked,
    /// A delivery died (a bug): nothing of its signal is delivered any more.
    Died,
}

impl Kind {
    /// How bad it is.
    #[must_use]
    pub fn level(self) -> Level {
        match self {
            Self::BufferFull
            | Self::Oversize
            | Self::Refused
            | Self::EncodingRefused
            | Self::RetriesExhausted
            | Self::TooManyScopes
            | Self::Died => Level::Error,
            Self::Driver | Self::BufferRecovered | Self::ExportRecovered => Level::Info,
            _ => Level::Warn,
        }
    }
}

/// How bad it is what a diagnostic tells of; and which ones are delivered: those of a level and
/// of the worse ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Delivers nothing: `none`.
    Off,
    /// Records are lost, or will be: `error`.
    Error,
    /// Something may become a loss, or is not as it was asked for: `warn`.
    Warn,
    /// Good to know: `info`.
    #[default]
    Info,
}

impl Level {
    /// The level that `word` names, in any case; there is nothing below `info`.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all = [
            ("none", Self::Off),
            ("off", Self::Off),
            ("fatal", Self::Error),
            ("error", Self::Error),
            ("warn", Self::Warn),
            ("warning", Self::Warn),
            ("info", Self::Info),
            ("debug", Self::Info),
            ("trace", Self::Info),
        ];
        all.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, it)| it)
    }
}

/// What a diagnostic is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct About {
    kind: Kind,
    signal: Option<Signal>,
    destination: Option<DestinationName>,
}

impl About {
    /// The same of one destination; `None` is the main one.
    pub(crate) fn to(self, destination: Option<DestinationName>) -> Self {
        Self { destination, ..self }
    }
}

impl From<Kind> for About {
    fn from(kind: Kind) -> Self {
        Self { kind, signal: None, destination: None }
    }
}

impl From<(Kind, Signal)> for About {
    fn from((kind, signal): (Kind, Signal)) -> Self {
        Self { kind, signal: Some(signal), destination: None }
    }
}

/// Receives diagnostics, on whatever thread notices them.
pub(crate) type Handler = Arc<dyn Fn(&Diagnostic) + Send + Sync>;

/// Delivers diagnostics to a handler at a bounded rate.
#[derive(Clone)]
pub(crate) struct Diagnostics {
    handler: Handler,
    limiter: Arc<Mutex<Limiter>>,
    level: Level,
}

impl Diagnostics {
    /// Delivers to `handler`.
    pub(crate) fn new(handler: Handler) -> Self {
        Self { handler, limiter: Arc::default(), level: Level::default() }
    }

    /// Delivers those of `level` and of the worse ones only.
    pub(crate) fn from(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// To the same handler, at a rate of its own.
    pub(crate) fn afresh(&self) -> Self {
        Self { limiter: Arc::default(), ..self.clone() }
    }

    /// Delivers `message` unless one of its kind was delivered within [`INTERVAL`] before `now`;
    /// true if it was delivered.
    ///
    /// A handler that panics loses this diagnostic, no more.
    pub(crate) fn report(&self, about: impl Into<About>, message: &str, now: Instant) -> bool {
        self.report_cause(about, message, None, now)
    }

    /// The same of a failed attempt, with its cause.
    pub(crate) fn report_cause(
        &self,
        about: impl Into<About>,
        message: &str,
        error_type: Option<Cow<'static, str>>,
        now: Instant,
    ) -> bool {
        let about = about.into();
        if about.kind.level() > self.level {
            return false;
        }
        let admitted = self.limiter().admit(about, now);
        if let Some(admitted) = admitted {
            self.deliver(about, message, error_type, admitted);
        }
        admitted.is_some()
    }

    /// Delivers `message` in any case: it is the end of something that was delivered.
    pub(crate) fn tell(&self, about: impl Into<About>, message: &str) {
        let about = about.into();
        let told = self.limiter().count(about);
        self.deliver(about, message, None, told);
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver(
        &self,
        about: About,
        message: &str,
        error_type: Option<Cow<'static, str>>,
        admitted: Admitted,
    ) {
        let About { kind, signal, destination } = about;
        let (message, Admitted { count, suppressed }) = (message.to_owned(), admitted);
        let diagnostic =
            Diagnostic { kind, signal, destination, message, error_type, count, suppressed };
        // The lock is released: a handler may end a span, which may report in turn.
        let _ = catch_unwind(AssertUnwindSafe(|| (self.handler)(&diagnostic)));
    }
}

impl Default for Diagnostics {
    /// Writes one line to stderr for each diagnostic.
    fn default() -> Self {
        Self::new(Arc::new(print))
    }
}

impl fmt::Debug for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Diagnostics").finish_non_exhaustive()
    }
}

/// Decides which diagnostics are delivered (pure: the caller brings the clock).
#[derive(Debug, Default)]
struct Limiter {
    /// One entry for each kind that ever occurred, of each signal.
    seen: Vec<Seen>,
}

#[derive(Debug)]
struct Seen {
    about: About,
    /// None if none was, or if what was told came in any case.
    delivered: Option<Instant>,
    count: u64,
    suppressed: u64,
}

/// A diagnostic that is to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Admitted {
    /// How many of its kind there were, it included.
    count: u64,
    /// How many of them were left out since the last one.
    suppressed: u64,
}

impl Limiter {
    /// `Some` if a diagnostic about this is to be delivered at `now`.
    fn admit(&mut self, about: impl Into<About>, now: Instant) -> Option<Admitted> {
        let seen = self.seen(about.into());
        seen.count = seen.count.saturating_add(1);
        let is_recent = |delivered: Instant| now.saturating_duration_since(delivered) < INTERVAL;
        if seen.delivered.is_some_and(is_recent) {
            seen.suppressed = seen.suppressed.saturating_add(1);
            return None;
        }
        seen.delivered = Some(now);
        Some(Admitted { count: seen.count, suppressed: std::mem::take(&mut seen.suppressed) })
    }

    /// Counts one that is delivered in any case.
    fn count(&mut self, about: About) -> Admitted {
        let seen = self.seen(about);
        seen.count = seen.count.saturating_add(1);
        Admitted { count: seen.count, suppressed: std::mem::take(&mut seen.suppressed) }
    }

    fn seen(&mut self, about: About) -> &mut Seen {
        let known = self.seen.iter().position(|seen| seen.about == about);
        let at = known.unwrap_or_else(|| {
            self.seen.push(Seen { about, delivered: None, count: 0, suppressed: 0 });
            self.seen.len() - 1
        });
        &mut self.seen[at]
    }
}

/// The default handler. Unlike `eprintln!` it does not panic if stderr is closed, and takes no
/// lock, which a thread of the process that this one was forked from may have had.
fn print(diagnostic: &Diagnostic) {
    use std::io::Write;
    let line = format!("spanwire: {diagnostic}\n");
    let _ = unbuffered(&std::io::stderr()).and_then(|mut out| out.write_all(line.as_bytes()));
}

/// At most one diagnostic of a kind in this time.
const INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    /// How many were left out before one that is delivered.
    fn admit(limiter: &mut Limiter, about: impl Into<About>, now: Instant) -> Option<u64> {
        limiter.admit(about, now).map(|admitted| admitted.suppressed)
    }

    #[test]
    fn one_of_a_kind_is_delivered_in_an_interval_and_the_next_counts_the_rest() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        assert_eq!(admit(&mut limiter, Kind::Refused, start), Some(0));
        assert_eq!(admit(&mut limiter, Kind::Refused, start), None);
        assert_eq!(admit(&mut limiter, Kind::Oversize, start), Some(0));
        let almost = start + INTERVAL - Duration::from_nanos(1);
        assert_eq!(admit(&mut limiter, Kind::Refused, almost), None);
        assert_eq!(admit(&mut limiter, Kind::Refused, start + INTERVAL), Some(2));
        assert_eq!(admit(&mut limiter, Kind::Refused, start + INTERVAL * 2), Some(0));
    }

    #[test]
    fn a_clock_that_goes_back_suppresses_and_does_not_panic() {
        let mut limiter = Limiter::default();
        let later = Instant::now() + INTERVAL * 2;
        assert_eq!(admit(&mut limiter, Kind::Died, later), Some(0));
        assert_eq!(admit(&mut limiter, Kind::Died, later - INTERVAL), None);
    }

    #[test]
    fn a_handler_may_report_and_may_panic() {
        let slot: Arc<Mutex<Option<Diagnostics>>> = Arc::default();
        let log: Arc<Mutex<Vec<Diagnostic>>> = Arc::default();
        let (slot_of_handler, log_of_handler) = (Arc::clone(&slot), Arc::clone(&log));
        let diagnostics = Diagnostics::new(Arc::new(move |diagnostic| {
            log_of_handler.lock().unwrap().push(diagnostic.clone());
            let inner = slot_of_handler.lock().unwrap().take();
            if let Some(inner) = inner {
                inner.report(Kind::Driver, "from the handler", Instant::now());
                panic!("a handler's bug");
            }
        }));
        *slot.lock().unwrap() = Some(diagnostics.clone());
        diagnostics.report(Kind::Refused, "first", Instant::now());
        diagnostics.report(Kind::BufferFull, "second", Instant::now());
        let log = log.lock().unwrap();
        let messages: Vec<_> = log.iter().map(|diagnostic| &*diagnostic.message).collect();
        assert_eq!(messages, ["first", "from the handler", "second"]);
    }

    #[test]
    fn a_diagnostic_says_how_many_were_left_out() {
        let diagnostic = Diagnostic {
            kind: Kind::Refused,
            signal: Some(Signal::Logs),
            destination: None,
            message: "refused".into(),
            error_type: None,
            count: 4,
            suppressed: 3,
        };
        assert_eq!(diagnostic.to_string(), "logs: refused (3 like it were not shown)");
        let destination = DestinationName::new("backup");
        let of_backup = Diagnostic { destination, suppressed: 0, ..diagnostic };
        assert_eq!(of_backup.to_string(), "logs to backup: refused");
    }

    #[test]
    fn the_rate_of_one_destination_is_not_the_rate_of_another() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let main = About::from((Kind::Refused, Signal::Logs));
        assert_eq!(admit(&mut limiter, main, now), Some(0));
        assert_eq!(admit(&mut limiter, main.to(DestinationName::new("backup")), now), Some(0));
        assert_eq!(admit(&mut limiter, main, now), None);
    }

    #[test]
    fn the_rate_of_one_signal_is_not_the_rate_of_another() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        assert_eq!(admit(&mut limiter, (Kind::Refused, Signal::Logs), now), Some(0));
        assert_eq!(admit(&mut limiter, (Kind::Refused, Signal::Traces), now), Some(0));
        assert_eq!(admit(&mut limiter, (Kind::Refused, Signal::Logs), now), None);
    }
}
