//! From a builder and the environment to settings that are complete and valid.

use std::any::Any;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use spanwire_runtime::driver::Choice;
use spanwire_runtime::pipe;

use super::Builder;
use super::checks::BUFFER_BYTES_BOUNDS;
use super::collector::unused_files;
use super::destination;
use super::explain::is_about_collectors;
use super::output::Output;
use crate::batch;
use crate::diagnostics::{Diagnostics, Kind};
use crate::env::{self, OfSignal, Reading, So, Warning};
use crate::error::BuildError;
use crate::model::{Signal, SignalExporter};
use crate::pipeline::assemble::{LineSettings, Settings};
use crate::pipeline::carrier::Target;
use crate::retry;

impl Builder {
    /// Everything that an exporter needs, with what is odd about it told.
    pub(super) fn settings(self) -> Result<Settings, BuildError> {
        let Reading { settings, mut warnings, .. } = self.read_env();
        let settings = self.resolve(settings, &mut warnings)?;
        if !warnings.is_empty() {
            let all: Vec<_> = warnings.iter().map(ToString::to_string).collect();
            settings.diagnostics.report(Kind::Configuration, &all.join("; "), Instant::now());
        }
        Ok(settings)
    }

    /// Whether nothing is to be exported, and what else there is for who sets up providers.
    #[cfg(feature = "otel_0_33")]
    pub(crate) fn sdk(&self) -> (bool, env::OfSdk) {
        let given = self.read_env().settings;
        (self.is_disabled.or(given.is_disabled).unwrap_or(false), given.sdk)
    }

    /// What the environment says, but for collectors if there is a file in their place.
    pub(super) fn read_env(&self) -> Reading {
        match self.output {
            None => env::read(&self.lookup),
            Some(_) => env::read(&|name| self.variable_for_output(name)),
        }
    }

    /// Joins what the code says with what the environment says. What is wrong with a signal that
    /// nobody exports is a warning.
    pub(super) fn resolve(
        mut self,
        given: env::Settings,
        warnings: &mut Vec<Warning>,
    ) -> Result<Settings, BuildError> {
        self.check_bounds()?;
        self.check_backoff()?;
        self.level = self.level.or(given.level);
        let io = self.choose_io(given.io)?;
        let is_disabled = self.is_disabled.or(given.is_disabled).unwrap_or(false);
        let mut targets = Targets { output: None, is_disabled, exporters: given.exporters };
        let [traces, logs, metrics] = given.signals;
        let mut lines = [
            self.line(Signal::Traces, traces, &mut targets, warnings)?,
            self.line(Signal::Logs, logs, &mut targets, warnings)?,
            self.line(Signal::Metrics, metrics, &mut targets, warnings)?,
        ];
        let diagnostics = self.diagnostics();
        let mut destinations = self.destinations;
        for destination in &mut destinations {
            destination.tell(self.on_diagnostic.as_ref(), self.level);
        }
        let beside = destination::add(destinations, &mut lines)?;
        Ok(Settings {
            lines,
            beside,
            io,
            thread_name: self.thread_name,
            workers: self.workers,
            on_thread_start,
            diagnostics,
            limits: self.limits.or(&given.limits).resolve(),
            metrics: self.metrics.or(given.metrics),
        })
    }

    /// Who is told of what goes wrong.
    pub(super) fn diagnostics(&self) -> Diagnostics {
        let handler = self.on_diagnostic.clone();
        let diagnostics = handler.map_or_else(Diagnostics::default, Diagnostics::new);
        diagnostics.from(self.level.unwrap_or_default())
    }

    /// The settings of one signal, of which the environment says `given`.
    fn line(
        &self,
        signal: Signal,
        given: Result<OfSignal, BuildError>,
        targets: &mut Targets,
        warnings: &mut Vec<Warning>,
    ) -> Result<LineSettings, BuildError> {
        let exporter = self.choose_exporter(signal, targets);
        let reached = given.and_then(|given| Ok((self.collector(signal, &given)?, given)));
        if exporter == SignalExporter::Otlp && self.output.is_none() {
            let (target, given) = reached?;
            let path = self.unused_path(&target, signal, &given);
            for warning in unused_files(&target, &given.tls).into_iter().chain(path) {
                if !warnings.contains(&warning) {
                    warnings.push(warning);
                }
            }
            return Ok(self.line_to(target, signal, &given));
        }
        let given = match reached {
            Ok((_, given)) => given,
            Err(error) => {
                warnings.extend(self.output.is_none().then(|| unused(signal, exporter, &error)));
                OfSignal::default()
            }
        };
        let target = match exporter {
            SignalExporter::None => nowhere(signal)?,
            _ => targets.output(self.output.as_ref())?,
        };
        let is_off = exporter == SignalExporter::None;
        Ok(LineSettings { is_off, ..self.line_to(target, signal, &given) })
    }

    /// The same once it is known where to.
    fn line_to(&self, target: Target, signal: Signal, given: &OfSignal) -> LineSettings {
        let export_timeout = self.export_timeout.or(given.export_timeout);
        // Zero is no limit; none given is another limit's business.
        let export_limit = export_timeout.filter(|limit| !limit.is_zero());
        let timeout = self.timeout.or(given.timeout).unwrap_or(TIMEOUT);
        let timeout = Some(timeout).filter(|limit| !limit.is_zero());
        let buffer_bytes = self.buffer_bytes_of(given);
        let lanes = self.lanes.or(given.in_flight).unwrap_or(LANES);
        // More than a quarter of the buffer would keep too little for those who append.
        let target_bytes = self.batch.target_bytes.min(buffer_bytes / 4);
        let batch = batch::Limits {
            target_bytes,
            records_max: self.batch.records_max.or(given.batch_records_max),
            // All lanes together hold the buffer at most; and what is left of a batch joins one.
            merged_bytes_max: (buffer_bytes / lanes).max(2 * target_bytes),
            ..self.batch
        };
        let budget = self
            .retry_budget
            .or_else(|| export_timeout.map(|_| export_limit.unwrap_or(Duration::MAX)));
        // Lines of one file are written one after the other anyway.
        LineSettings {
            lanes: if matches!(target, Target::Lines(_)) { 1 } else { lanes },
            target,
            is_off: false,
            retry: retry::Policy { budget: budget.unwrap_or(self.retry.budget), ..self.retry },
            timeout: timeout.into_iter().chain(export_limit).min(),
            submit_timeout: if export_timeout.is_some() { export_limit } else { timeout },
            submit_bytes_max: buffer_bytes,
            pipe: self.pipe_config(signal, batch.target_bytes, buffer_bytes),
            batch,
            age_max: self.age_max.or(given.schedule_delay).unwrap_or(AGE_MAX),
            share: None,
            beside: Vec::new(),
        }
    }

    /// The buffer of a signal: as large as so many records, where the environment counts them.
    fn buffer_bytes_of(&self, given: &OfSignal) -> usize {
        let (least, most) = BUFFER_BYTES_BOUNDS.into_inner();
        let sized = given.queue_records_max.map(|records| {
            let bytes = records.saturating_mul(RECORD_BYTES).clamp(least, most);
            usize::try_from(bytes).unwrap_or(usize::MAX)
        });
        self.buffer_bytes.or(sized).unwrap_or(BUFFER_BYTES)
    }

    /// Who gets a signal.
    fn choose_exporter(&self, signal: Signal, targets: &Targets) -> SignalExporter {
        if targets.is_disabled {
            return SignalExporter::None;
        }
        // A file that the code names is the code's word on who gets what it does not name.
        let given = targets.exporters[signal.index()].filter(|_| self.output.is_none());
        self.exporters[signal.index()].or(given).unwrap_or_default()
    }

    /// A variable, unless it is about collectors: there is none.
    fn variable_for_output(&self, name: &str) -> Option<OsString> {
        (!is_about_collectors(name)).then(|| (self.lookup)(name)).flatten()
    }

    /// A pool of the configured size whose worker is woken for two batches, or for a quarter of it.
    fn pipe_config(&self, signal: Signal, batch_bytes: usize, buffer_bytes: usize) -> pipe::Config {
        let mut config = pipe::Config::default();
        if signal == Signal::Metrics {
            // They are submitted in whole groups and not appended one by one.
            (config.chunks, config.chunk_bytes) = (0, 0);
            return config;
        }
        config.chunks = buffer_bytes.div_ceil(config.chunk_bytes);
        // Two batches: a wake costs the thread that rings microseconds, so of spans of the usual
        // size less than one in a thousand is to pay for it.
        config.wake_bytes = batch_bytes.saturating_mul(2).min(buffer_bytes / 4);
        config.record_bytes_max = self.batch.request_bytes_max;
        config.large_bytes = buffer_bytes / 2;
        config.when_full = self.when_full;
        config
    }

    fn choose_io(&self, given: Option<String>) -> Result<Choice, BuildError> {
        if let Some(choice) = self.io {
            return Ok(choice);
        }
        let value = given.unwrap_or_default();
        value.parse().map_err(|_| BuildError::InvalidValue {
            value,
            source_name: env::IO,
            why: "it must be auto, uring or epoll".to_owned(),
        })
    }
}

/// Who gets the signals, as far as it is known.
struct Targets {
    is_disabled: bool,
    /// What the environment says.
    exporters: [Option<SignalExporter>; Signal::ALL.len()],
    /// The file or standard output, once it is needed; all signals share it.
    output: Option<Target>,
}

impl Targets {
    /// What the code named in place of a collector, else the standard output.
    fn output(&mut self, named: Option<&Output>) -> Result<Target, BuildError> {
        let target = match self.output.take() {
            Some(target) => target,
            None => named.unwrap_or(&Output::Stdout).open()?,
        };
        Ok(self.output.insert(target).clone())
    }
}

/// A collector that is never asked: no record of its signal comes in.
fn nowhere(signal: Signal) -> Result<Target, BuildError> {
    Builder::new().env_from(|_| None).collector(signal, &OfSignal::default())
}

/// What would be an error if `signal` went to a collector.
fn unused(signal: Signal, exporter: SignalExporter, error: &BuildError) -> Warning {
    let why = format!("the exporter of {signal} is {exporter}, so this has no effect: {error}");
    Warning {
        source_name: error.source_name().unwrap_or("the configuration"),
        so: So::Ignored,
        why,
    }
}

#[cfg(feature = "otel_0_33")]
fn on_thread_start() -> Box<dyn Any> {
    crate::ingest::otel_0_33::suppress_telemetry()
}

#[cfg(not(feature = "otel_0_33"))]
fn on_thread_start() -> Box<dyn Any> {
    Box::new(())
}

/// The specification's default, per attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The latency of a quiet service.
const AGE_MAX: Duration = Duration::from_secs(1);
/// What a record is taken for where the buffer is to hold a number of them: a span of the usual
/// size, and as much again.
const RECORD_BYTES: u64 = 1 << 10;
/// Half a minute of 1000 spans a second.
const BUFFER_BYTES: usize = 16 << 20;
/// Enough to hide a round trip, few enough to spare the peer.
const LANES: usize = 4;

#[cfg(test)]
mod tests;
