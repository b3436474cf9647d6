//! What keeps the export going, and ends it.

use std::error::Error;
use std::fmt;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use spanwire_runtime::PerProcess;

use crate::error::{FlushError, ShutdownError};
use crate::exporter::{DROP_LIMIT, Exporter};
use crate::model::Signal;

/// The three providers and their exporter, with one end: [`shutdown`](Self::shutdown).
///
/// When it is dropped without that, it shuts down within [`DROP_LIMIT`], and what is lost by
/// that is told to nobody but [`Exporter::stats`].
///
/// In a forked child it is about the child's spans and log records. Metrics are not collected
/// there: the SDK's reader has its thread in the parent, and is not asked for what it cannot do.
#[derive(Debug)]
#[must_use = "when it is dropped, the export ends"]
pub struct Guard {
    tracers: SdkTracerProvider,
    loggers: SdkLoggerProvider,
    meters: SdkMeterProvider,
    exporter: Option<Exporter>,
    has_ended: bool,
    /// Tells the process that set all of it up from those that it forks.
    here: PerProcess<()>,
}

impl Guard {
    pub(super) fn new(
        tracers: SdkTracerProvider,
        loggers: SdkLoggerProvider,
        meters: SdkMeterProvider,
        exporter: Option<Exporter>,
    ) -> Self {
        Self { tracers, loggers, meters, exporter, has_ended: false, here: PerProcess::new(()) }
    }

    /// The provider of tracers; unless it was asked not to be, it is the global one.
    pub fn tracer_provider(&self) -> &SdkTracerProvider {
        &self.tracers
    }

    /// The provider of loggers, for bridges: there is no global one.
    pub fn logger_provider(&self) -> &SdkLoggerProvider {
        &self.loggers
    }

    /// The provider of meters; unless it was asked not to be, it is the global one.
    pub fn meter_provider(&self) -> &SdkMeterProvider {
        &self.meters
    }

    /// The exporter; none if the SDK is disabled.
    pub fn exporter(&self) -> Option<&Exporter> {
        self.exporter.as_ref()
    }

    /// Collects the metrics now and delivers everything that came in so far, within `limit`;
    /// blocks this thread. Nothing is given up: delivery goes on after a timeout.
    ///
    /// # Errors
    ///
    /// [`GuardError::Flush`] as [`Exporter::flush`], [`GuardError::Provider`] for what a
    /// provider says of what else was added to it, [`GuardError::Late`] if a provider is not
    /// done in time.
    pub fn flush(&self, limit: Duration) -> Result<(), GuardError> {
        let (tracers, loggers) = (self.tracers.clone(), self.loggers.clone());
        let deadline = Instant::now().checked_add(limit);
        let providers = all_within(
            deadline,
            [
                Box::new(move || tracers.force_flush()),
                Box::new(move || loggers.force_flush()),
                self.of_meters(SdkMeterProvider::force_flush),
            ],
        );
        let Some(exporter) = &self.exporter else { return Ok(()) };
        exporter.flush(left(deadline)).map_err(GuardError::Flush)?;
        of_providers(providers)
    }

    /// Collects the metrics once more, closes the providers, delivers what came in within
    /// `limit`, and ends the exporter's thread; blocks this thread.
    ///
    /// # Errors
    ///
    /// [`GuardError::Shutdown`] as [`Exporter::shutdown`], the others as
    /// [`flush`](Self::flush). The export has ended in any case.
    pub fn shutdown(mut self, limit: Duration) -> Result<(), GuardError> {
        self.end(limit)
    }

    fn end(&mut self, limit: Duration) -> Result<(), GuardError> {
        self.has_ended = true;
        let (tracers, loggers) = (self.tracers.clone(), self.loggers.clone());
        let deadline = Instant::now().checked_add(limit);
        let providers = all_within(
            deadline,
            [
                Box::new(move || tracers.shutdown_with_timeout(limit)),
                Box::new(move || loggers.shutdown_with_timeout(limit)),
                self.of_meters(move |meters| meters.shutdown_with_timeout(limit)),
            ],
        );
        let Some(exporter) = &self.exporter else { return Ok(()) };
        exporter.shutdown(left(deadline)).map_err(GuardError::Shutdown)?;
        of_providers(providers)
    }

    /// What is asked of the provider of meters: nothing in a forked child, where its reader has no
    /// thread, so that nobody would answer.
    fn of_meters(
        &self,
        ask: impl FnOnce(&SdkMeterProvider) -> OTelSdkResult + Send + 'static,
    ) -> Work {
        let meters = self.meters.clone();
        match self.here.is_first() {
            true => Box::new(move || ask(&meters)),
            false => Box::new(|| Ok(())),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.here.is_first() {
            // The last of its handles would ask the reader all the same.
            std::mem::forget(self.meters.clone());
        }
        if !self.has_ended {
            // Who wants to know calls `shutdown`.
            let _ = self.end(DROP_LIMIT);
        }
    }
}

/// Does the work of each provider, in the order of [`Signal::ALL`], on a thread of its own: the
/// SDK's reader of metrics waits as long as it takes, whatever limit it is given, and one slow
/// provider is not to use up the time of the others. What is not done by `deadline` is left to
/// end by itself.
fn all_within(deadline: Option<Instant>, work: [Work; Signal::ALL.len()]) -> Results {
    let (tell, told) = mpsc::channel();
    for (index, work) in work.into_iter().enumerate() {
        let tell = tell.clone();
        let name = "spanwire-guard".to_owned();
        let run = move || {
            // As on all threads of ours: what the SDK and others say of it is not exported.
            let _suppressed = Context::enter_telemetry_suppressed_scope();
            tell.send((index, work()))
        };
        // Without a thread it is as late as it can be.
        let _ = thread::Builder::new().name(name).spawn(run);
    }
    drop(tell);
    let mut results = [const { None }; Signal::ALL.len()];
    while let Ok((index, result)) = told.recv_timeout(left(deadline)) {
        results[index] = Some(result);
    }
    results
}

type Work = Box<dyn FnOnce() -> OTelSdkResult + Send>;

/// `None` is one that is not done.
type Results = [Option<OTelSdkResult>; Signal::ALL.len()];

/// What the exporter has not said already: what became of other processors and readers.
fn of_providers(results: Results) -> Result<(), GuardError> {
    for (signal, result) in Signal::ALL.into_iter().zip(results) {
        match result {
            // Whoever shut it down was told.
            Some(Ok(()) | Err(OTelSdkError::AlreadyShutdown)) => {}
            Some(Err(error)) => return Err(GuardError::Provider { signal, error }),
            None => return Err(GuardError::Late { signal }),
        }
    }
    Ok(())
}

fn left(deadline: Option<Instant>) -> Duration {
    deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()))
}

/// Why not everything was delivered.
#[derive(Debug)]
#[non_exhaustive]
pub enum GuardError {
    /// Of a flush.
    Flush(FlushError),
    /// Of a shutdown.
    Shutdown(ShutdownError),
    /// A provider says so of what was added to it: another processor, another reader.
    Provider {
        /// Whose provider.
        signal: Signal,
        /// What it says.
        error: OTelSdkError,
    },
    /// A provider was not done in time: another processor, or a callback that measures.
    Late {
        /// Whose provider.
        signal: Signal,
    },
}

impl fmt::Display for GuardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flush(error) => error.fmt(f),
            Self::Shutdown(error) => error.fmt(f),
            Self::Provider { signal, error } => {
                write!(f, "the provider of {signal} says of what was added to it: {error}")
            }
            Self::Late { signal } => write!(
                f,
                "the provider of {signal} was not done in time; look for a slow callback or \
                 another processor"
            ),
        }
    }
}

impl Error for GuardError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Flush(error) => error.source(),
            Self::Shutdown(error) => error.source(),
            Self::Provider { error, .. } => Some(error),
            Self::Late { .. } => None,
        }
    }
}
