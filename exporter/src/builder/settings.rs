//! From a builder and the environment to settings that are complete and valid.

use std::any::Any;
use std::ffi::OsString;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use spanwire_runtime::driver::Choice;
use spanwire_runtime::pipe;

use super::Builder;
use super::output::Output;
use crate::batch;
use crate::diagnostics::{Diagnostics, Kind};
use crate::env::{self, Given, GivenEndpoint, GivenHeader};
use crate::error::BuildError;
use crate::model::{Compression, Protocol, Signal};
use crate::pipeline::assemble::{LineSettings, Settings};
use crate::pipeline::carrier::{Collector, Target};
use crate::transport::endpoint::{Endpoint, Scope};
use crate::transport::http1::RequestHead;

impl Builder {
    pub(super) fn settings(self) -> Result<Settings, BuildError> {
        self.check_bounds()?;
        self.check_backoff()?;
        let output = self.output.as_ref().map(Output::open).transpose()?;
        let (given, warnings) = match output {
            None => env::read(&self.lookup)?,
            Some(_) => env::read(&|name| self.variable_for_output(name))?,
        };
        let io = self.choose_io(given.io)?;
        let [traces, logs, metrics] = given.signals;
        let lines = [
            self.line(Signal::Traces, traces, output.as_ref())?,
            self.line(Signal::Logs, logs, output.as_ref())?,
            self.line(Signal::Metrics, metrics, output.as_ref())?,
        ];
        let is_output = output.is_some();
        let diagnostics = self.on_diagnostic.map_or_else(Diagnostics::default, Diagnostics::new);
        if !warnings.is_empty() {
            let all: Vec<_> = warnings.iter().map(ToString::to_string).collect();
            diagnostics.report(Kind::Configuration, &all.join("; "), Instant::now());
        }
        Ok(Settings {
            lines,
            retry: self.retry,
            // Lines of one file are written one after the other anyway.
            lanes: if is_output { 1 } else { self.lanes },
            io,
            thread_name: self.thread_name,
            workers: self.workers,
            on_thread_start,
            diagnostics,
            limits: self.limits.or(&given.limits).resolve(),
            metrics: self.metrics.or(given.metrics),
        })
    }

    /// The settings of one signal, of which the environment says `given`.
    fn line(
        &self,
        signal: Signal,
        given: env::OfSignal,
        output: Option<&Target>,
    ) -> Result<LineSettings, BuildError> {
        let timeout = self.timeout.or(given.timeout).unwrap_or(TIMEOUT);
        let batch = batch::Limits {
            // More than a quarter of the buffer would keep too little for those who append.
            target_bytes: self.batch.target_bytes.min(self.buffer_bytes / 4),
            records_max: self.batch.records_max.or(given.batch_records_max),
            ..self.batch
        };
        let (age_max, target) = (given.schedule_delay, output.cloned());
        Ok(LineSettings {
            target: target.map_or_else(|| self.collector(signal, given), Ok)?,
            timeout: (!timeout.is_zero()).then_some(timeout),
            submit_bytes_max: self.buffer_bytes,
            pipe: self.pipe_config(signal, batch.target_bytes),
            batch,
            age_max: self.age_max.or(age_max).unwrap_or(AGE_MAX),
        })
    }

    /// The collector of a signal.
    fn collector(&self, signal: Signal, given: env::OfSignal) -> Result<Target, BuildError> {
        let (protocol, compression) = self.choices(&given)?;
        Ok(Target::Collector(Box::new(Collector {
            endpoint: self.choose_endpoint(signal, given.endpoint)?,
            headers: self.merge_headers(given.headers)?,
            header_source: self.header_source.clone(),
            protocol,
            coding: self.coding(compression)?,
            response_bytes_max: self.response_bytes_max,
        })))
    }

    /// A variable, unless it is about collectors: there is none.
    fn variable_for_output(&self, name: &str) -> Option<OsString> {
        let is_about_collectors = name.starts_with("OTEL_EXPORTER_OTLP_")
            && !name.starts_with("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY")
            && !name.starts_with("OTEL_EXPORTER_OTLP_METRICS_DEFAULT");
        (!is_about_collectors).then(|| (self.lookup)(name)).flatten()
    }

    /// A pool of the configured size whose worker is woken for two batches, or for a quarter of it.
    fn pipe_config(&self, signal: Signal, batch_bytes: usize) -> pipe::Config {
        let mut config = pipe::Config::default();
        if signal == Signal::Metrics {
            // They are submitted in whole groups and not appended one by one.
            (config.chunks, config.chunk_bytes) = (0, 0);
            return config;
        }
        config.chunks = self.buffer_bytes.div_ceil(config.chunk_bytes);
        // Two batches: a wake costs the thread that rings microseconds, so of spans of the usual
        // size less than one in a thousand is to pay for it.
        config.wake_bytes = batch_bytes.saturating_mul(2).min(self.buffer_bytes / 4);
        config.record_bytes_max = self.batch.request_bytes_max;
        config.large_bytes = self.buffer_bytes / 2;
        config.when_full = self.when_full;
        config
    }

    /// Refuses what would not work, rather than to do something else.
    fn check_bounds(&self) -> Result<(), BuildError> {
        let records_max = self.batch.records_max.unwrap_or(1);
        let bounds = [
            ("Builder::batch_bytes", self.batch.target_bytes as u64, 1..=u64::MAX),
            ("Builder::batch_records", records_max, 1..=u64::MAX),
            ("Builder::request_bytes_max", self.batch.request_bytes_max as u64, REQUEST_BYTES),
            ("Builder::response_bytes_max", self.response_bytes_max as u64, RESPONSE_BYTES),
            ("Builder::buffer_bytes", self.buffer_bytes as u64, BUFFER_BYTES_BOUNDS),
            ("Builder::in_flight", self.lanes as u64, LANES_BOUNDS),
            ("Builder::workers", self.workers as u64, WORKERS_BOUNDS),
        ];
        match bounds.into_iter().find(|(_, value, bounds)| !bounds.contains(value)) {
            None => Ok(()),
            Some((source_name, value, bounds)) => Err(BuildError::InvalidValue {
                value: value.to_string(),
                source_name,
                why: format!("it must be from {} to {}", bounds.start(), bounds.end()),
            }),
        }
    }

    fn check_backoff(&self) -> Result<(), BuildError> {
        let (first, longest) = (self.retry.initial, self.retry.step_max);
        let refused = |value: Duration, why: String| {
            let (value, source_name) = (format!("{value:?}"), "Builder::retry_backoff");
            Err(BuildError::InvalidValue { value, source_name, why })
        };
        if first < BACKOFF_MIN {
            return refused(first, format!("the first pause must be at least {BACKOFF_MIN:?}"));
        }
        if longest < first {
            return refused(
                longest,
                format!("the longest pause must be at least {first:?}, the first"),
            );
        }
        Ok(())
    }

    /// What is chosen from whichever source wins. Refuses what OTLP knows and this build cannot do.
    fn choices(&self, given: &env::OfSignal) -> Result<(Protocol, Compression), BuildError> {
        let protocol = winner(self.protocol, "Builder::protocol", given.protocol);
        let protocol = check_choice("protocol", protocol, Protocol::is_supported)?;
        let compression = winner(self.compression, "Builder::compression", given.compression);
        Ok((protocol, check_choice("compression", compression, Compression::is_supported)?))
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

    fn choose_endpoint(
        &self,
        signal: Signal,
        given: Option<GivenEndpoint>,
    ) -> Result<Endpoint, BuildError> {
        let base = Scope::Base(signal);
        if let Some(url) = &self.signal_endpoints[signal.index()] {
            return Endpoint::parse(url, Scope::Signal(signal), ENDPOINT_METHODS[signal.index()]);
        }
        if let Some(url) = &self.endpoint {
            return Endpoint::parse(url, base, "Builder::endpoint");
        }
        match given {
            Some(GivenEndpoint { value, is_base: true, source_name }) => {
                Endpoint::parse(&value, base, source_name)
            }
            Some(GivenEndpoint { value, is_base: false, source_name }) => {
                Endpoint::parse(&value, Scope::Signal(signal), source_name)
            }
            None => Endpoint::parse(ENDPOINT, base, "the default"),
        }
    }

    /// Headers of the environment, with those of the code in place of their namesakes.
    fn merge_headers(
        &self,
        given: Vec<GivenHeader>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, BuildError> {
        let mut headers = given;
        for (index, (name, value)) in self.headers.iter().enumerate() {
            let header = env::parse_header(name, value.as_bytes(), index, "Builder::header")?;
            env::merge_headers(&mut headers, vec![header]);
        }
        for header in &headers {
            check_header(header)?;
        }
        Ok(headers.into_iter().map(|header| (header.name, header.value)).collect())
    }
}

/// What the code chose, else what the environment did.
fn winner<T>(
    code: Option<T>,
    source_name: &'static str,
    given: Option<Given<T>>,
) -> Option<Given<T>> {
    code.map(|value| Given { value, source_name }).or(given)
}

fn check_choice<T: fmt::Display + Copy + Default>(
    what: &'static str,
    chosen: Option<Given<T>>,
    is_supported: fn(T) -> bool,
) -> Result<T, BuildError> {
    match chosen {
        Some(Given { value, source_name }) if !is_supported(value) => {
            Err(BuildError::Unsupported { what, value: value.to_string(), source_name })
        }
        Some(Given { value, .. }) => Ok(value),
        None => Ok(T::default()),
    }
}

fn check_header(header: &GivenHeader) -> Result<(), BuildError> {
    RequestHead::check(&header.name).map_err(|error| BuildError::InvalidHeader {
        name: header.name.to_string(),
        source_name: header.source_name,
        why: error.to_string(),
    })
}

#[cfg(feature = "otel_0_33")]
fn on_thread_start() -> Box<dyn Any> {
    crate::ingest::otel_0_33::suppress_telemetry()
}

#[cfg(not(feature = "otel_0_33"))]
fn on_thread_start() -> Box<dyn Any> {
    Box::new(())
}

/// What sets the endpoint of a signal, in the order of [`Signal::ALL`].
const ENDPOINT_METHODS: [&str; Signal::ALL.len()] =
    ["Builder::traces_endpoint", "Builder::logs_endpoint", "Builder::metrics_endpoint"];
/// The specification's default (exporter.md, "Configuration options").
const ENDPOINT: &str = "http://localhost:4318";
/// The specification's default, per attempt.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The latency of a quiet service.
const AGE_MAX: Duration = Duration::from_secs(1);
/// What the runtime takes.
const WORKERS_BOUNDS: RangeInclusive<u64> = 1..=64;
/// Below a mebibyte a few threads' chunks would be all of it; the pool is one allocation.
const BUFFER_BYTES_BOUNDS: RangeInclusive<u64> = 1 << 20..=1 << 36;
/// Room for a resource, a scope and a span; and what a message may have at most.
const REQUEST_BYTES: RangeInclusive<u64> = 1 << 10..=i32::MAX as u64;
/// Room for a remark; and the most that a message may have.
const RESPONSE_BYTES: RangeInclusive<u64> = 1 << 10..=i32::MAX as u64;
/// Below this, a dead endpoint would be asked thousands of times a second (H11).
const BACKOFF_MIN: Duration = Duration::from_millis(1);
const LANES_BOUNDS: RangeInclusive<u64> = 1..=64;

#[cfg(test)]
mod tests;
