//! The whole of it at once: an exporter and the three providers of opentelemetry_sdk 0.33, set up
//! as the environment says.

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::global;
use opentelemetry::propagation::{TextMapCompositePropagator, TextMapPropagator};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::{LoggerProviderBuilder, SdkLoggerProvider};
use opentelemetry_sdk::metrics::{MeterProviderBuilder, PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::propagation::{BaggagePropagator, TraceContextPropagator};
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, TracerProviderBuilder};

use crate::builder::Builder;
use crate::env::{OfSdk, Propagator};
use crate::error::BuildError;
use crate::exporter::Exporter;
use crate::ingest::otel_0_33::log_processor::LogProcessor;
use crate::ingest::otel_0_33::metrics::exporter::MetricExporter;
use crate::ingest::otel_0_33::metrics::views::preferred_histograms;
use crate::ingest::otel_0_33::processor::SpanProcessor;
use crate::model::Signal;

mod guard;

pub use self::guard::{Guard, GuardError};

/// Sets up an exporter and providers of traces, logs and metrics as the environment says, and
/// makes those of traces and metrics the global ones.
///
/// Call it first thing in `main`, and keep the [`Guard`]: its [`shutdown`](Guard::shutdown)
/// delivers what is left. It needs no async runtime and works in any. [`Init`] sets up the same
/// with settings of your own; [`Builder::explain`](crate::Builder::explain) tells of each variable
/// what became of it.
///
/// - Propagators are those of `OTEL_PROPAGATORS`.
/// - The resource is that of `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, and spans are
///   sampled by `OTEL_TRACES_SAMPLER`: these the SDK reads by itself.
/// - A signal whose `OTEL_TRACES_EXPORTER` (and its like) is `none` has a provider without a
///   processor. With `OTEL_SDK_DISABLED=true` nothing is started, and nothing but propagators is
///   made global.
/// - There is no global provider of logs: hand [`Guard::logger_provider`] to a bridge, such as
///   `opentelemetry-appender-tracing`.
///
/// # Errors
///
/// [`InitError::Build`] if the exporter cannot be built, [`InitError::AlreadyDone`] the second
/// time in a process.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let guard = spanwire::init()?;
///     // ... the service runs ...
///     guard.shutdown(Duration::from_secs(5))?;
///     Ok(())
/// }
/// ```
pub fn init() -> Result<Guard, InitError> {
    Init::builder().install()
}

/// As [`init`], with an exporter of your own settings.
///
/// # Errors
///
/// As [`init`].
pub fn init_with(exporter: Builder) -> Result<Guard, InitError> {
    Init::builder().exporter(exporter).install()
}

/// Sets up what [`init`] sets up, with settings of your own.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use opentelemetry_sdk::Resource;
/// use opentelemetry_sdk::trace::Sampler;
/// use spanwire::{Exporter, Init};
///
/// let guard = Init::builder()
///     .exporter(Exporter::builder().endpoint("http://localhost:4318"))
///     .resource(Resource::builder().with_service_name("shop").build())
///     .tracer_provider(|builder| builder.with_sampler(Sampler::TraceIdRatioBased(0.1)))
///     .metric_interval(Duration::from_secs(10))
///     .install()?;
/// // ... the service runs ...
/// guard.shutdown(Duration::from_secs(5))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing is set up before `install`"]
pub struct Init {
    exporter: Builder,
    resource: Option<Resource>,
    tracers: Change<TracerProviderBuilder>,
    loggers: Change<LoggerProviderBuilder>,
    meters: Change<MeterProviderBuilder>,
    metric_interval: Option<Duration>,
    propagators: Option<Vec<Box<dyn TextMapPropagator + Send + Sync>>>,
    is_global: bool,
}

/// What the caller does to a provider's builder.
type Change<B> = Box<dyn FnOnce(B) -> B + Send>;

impl Init {
    /// What the environment says.
    pub fn builder() -> Self {
        Self {
            exporter: Exporter::builder(),
            resource: None,
            tracers: Box::new(|builder| builder),
            loggers: Box::new(|builder| builder),
            meters: Box::new(|builder| builder),
            metric_interval: None,
            propagators: None,
            is_global: true,
        }
    }

    /// The exporter of all three providers. Default [`Exporter::builder`].
    pub fn exporter(mut self, builder: Builder) -> Self {
        self.exporter = builder;
        self
    }

    /// What everything is about: the resource of all three providers. Default what the SDK's
    /// detectors find, `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME` among it.
    pub fn resource(mut self, resource: Resource) -> Self {
        self.resource = Some(resource);
        self
    }

    /// Changes the builder of the tracer provider, which has its processor already: a sampler,
    /// limits, further processors.
    pub fn tracer_provider(
        mut self,
        change: impl FnOnce(TracerProviderBuilder) -> TracerProviderBuilder + Send + 'static,
    ) -> Self {
        self.tracers = Box::new(change);
        self
    }

    /// Changes the builder of the logger provider, which has its processor already.
    pub fn logger_provider(
        mut self,
        change: impl FnOnce(LoggerProviderBuilder) -> LoggerProviderBuilder + Send + 'static,
    ) -> Self {
        self.loggers = Box::new(change);
        self
    }

    /// Changes the builder of the meter provider, which has its reader already: views, further
    /// readers.
    pub fn meter_provider(
        mut self,
        change: impl FnOnce(MeterProviderBuilder) -> MeterProviderBuilder + Send + 'static,
    ) -> Self {
        self.meters = Box::new(change);
        self
    }

    /// How often metrics are collected and exported. Default `OTEL_METRIC_EXPORT_INTERVAL`, else
    /// a minute; so is zero.
    pub fn metric_interval(mut self, interval: Duration) -> Self {
        self.metric_interval = Some(interval).filter(|interval| !interval.is_zero());
        self
    }

    /// Adds a way for context to travel between services. Default `OTEL_PROPAGATORS`, else W3C
    /// Trace Context and Baggage; the first one that is added takes their place.
    pub fn propagator(
        mut self,
        propagator: impl TextMapPropagator + Send + Sync + 'static,
    ) -> Self {
        self.propagators.get_or_insert_default().push(Box::new(propagator));
        self
    }

    /// Makes nothing global: no provider and no propagator, as a library or a test wants it. It
    /// may be done any number of times.
    pub fn without_globals(mut self) -> Self {
        self.is_global = false;
        self
    }

    /// Starts the exporter, sets the providers up and makes them global.
    ///
    /// # Errors
    ///
    /// As [`init`]; after an error nothing has changed.
    pub fn install(self) -> Result<Guard, InitError> {
        if !self.is_global {
            return Ok(self.set_up()?.1);
        }
        let mut is_done = IS_DONE.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_done {
            return Err(InitError::AlreadyDone);
        }
        let (propagators, guard) = self.set_up()?;
        global::set_text_map_propagator(TextMapCompositePropagator::new(propagators));
        if guard.exporter().is_some() {
            global::set_tracer_provider(guard.tracer_provider().clone());
            global::set_meter_provider(guard.meter_provider().clone());
        }
        *is_done = true;
        Ok(guard)
    }

    fn set_up(self) -> Result<(Propagators, Guard), BuildError> {
        let (is_disabled, given) = self.exporter.sdk();
        let OfSdk { propagators, metric_interval } = given;
        let propagators = self.propagators.unwrap_or_else(|| propagators_of(propagators));
        if is_disabled {
            return Ok((propagators, disabled()));
        }
        let exporter = self.exporter.build()?;
        let resource = self.resource.unwrap_or_else(|| Resource::builder().build());
        let interval = self.metric_interval.or(metric_interval).unwrap_or(METRIC_INTERVAL);
        let tracers = (self.tracers)(tracers(&exporter, resource.clone())).build();
        let loggers = (self.loggers)(loggers(&exporter, resource.clone())).build();
        let meters = (self.meters)(meters(&exporter, resource, interval)).build();
        Ok((propagators, Guard::new(tracers, loggers, meters, Some(exporter))))
    }
}

type Propagators = Vec<Box<dyn TextMapPropagator + Send + Sync>>;

fn propagators_of(given: Option<Vec<Propagator>>) -> Propagators {
    let given = given.unwrap_or_else(|| vec![Propagator::TraceContext, Propagator::Baggage]);
    let made = given.into_iter().map(|propagator| match propagator {
        Propagator::TraceContext => Box::new(TraceContextPropagator::new()) as Box<_>,
        Propagator::Baggage => Box::new(BaggagePropagator::new()) as Box<_>,
    });
    made.collect()
}

/// Providers that record nothing, and no exporter.
fn disabled() -> Guard {
    let tracers = SdkTracerProvider::builder().with_sampler(Sampler::AlwaysOff).build();
    let (loggers, meters) = (SdkLoggerProvider::builder(), SdkMeterProvider::builder());
    Guard::new(tracers, loggers.build(), meters.build(), None)
}

fn tracers(exporter: &Exporter, resource: Resource) -> TracerProviderBuilder {
    let builder = SdkTracerProvider::builder().with_resource(resource);
    match exporter.wants(Signal::Traces) {
        true => builder.with_span_processor(SpanProcessor::new(exporter)),
        false => builder,
    }
}

fn loggers(exporter: &Exporter, resource: Resource) -> LoggerProviderBuilder {
    let builder = SdkLoggerProvider::builder().with_resource(resource);
    match exporter.wants(Signal::Logs) {
        true => builder.with_log_processor(LogProcessor::new(exporter)),
        false => builder,
    }
}

fn meters(exporter: &Exporter, resource: Resource, interval: Duration) -> MeterProviderBuilder {
    let builder = SdkMeterProvider::builder().with_resource(resource);
    if !exporter.wants(Signal::Metrics) {
        return builder;
    }
    let reader = PeriodicReader::builder(MetricExporter::new(exporter)).with_interval(interval);
    builder.with_reader(reader.build()).with_view(preferred_histograms(exporter))
}

impl fmt::Debug for Init {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Init")
            .field("exporter", &self.exporter)
            .field("resource", &self.resource)
            .field("metric_interval", &self.metric_interval)
            .field("is_global", &self.is_global)
            .finish_non_exhaustive()
    }
}

/// Why nothing was set up.
#[derive(Debug)]
#[non_exhaustive]
pub enum InitError {
    /// The exporter cannot be built. Mostly the configuration's fault; the error says where.
    Build(BuildError),
    /// It was done before in this process. The caller's to fix: call it once, in `main`.
    AlreadyDone,
}

impl fmt::Display for InitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Build(error) => error.fmt(f),
            Self::AlreadyDone => f.write_str(
                "spanwire was set up before in this process; do it once, in main, and hand the \
                 guard's providers on",
            ),
        }
    }
}

impl Error for InitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Build(error) => error.source(),
            Self::AlreadyDone => None,
        }
    }
}

impl From<BuildError> for InitError {
    fn from(error: BuildError) -> Self {
        Self::Build(error)
    }
}

/// Whether the globals were set; held while they are.
static IS_DONE: Mutex<bool> = Mutex::new(false);
/// The specification's default (metrics/sdk.md, "Periodic exporting MetricReader").
const METRIC_INTERVAL: Duration = Duration::from_secs(60);
