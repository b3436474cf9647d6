//! The metric exporter.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::metrics::Temporality;
use opentelemetry_sdk::metrics::data::{ResourceMetrics, ScopeMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use spanwire_runtime::PerProcess;

use super::super::export::outcome;
use super::super::lifecycle::{self, FLUSH_LIMIT};
use super::super::resource::encode_resource;
use super::data::points_of;
use super::image::MetricImage;
use crate::encode::envelope::Group;
use crate::exporter::Exporter;
use crate::model::{Signal, TemporalityPreference};
use crate::pipeline::door::Door;
use crate::pipeline::reply::Answer;
use crate::pipeline::submission::Settlement;

/// Encodes each collection of a meter provider and hands it to an [`Exporter`].
///
/// It belongs into a `PeriodicReader`. What it encoded is kept, and the next collection only
/// overwrites the numbers of those points whose attributes are the same as before. `export`
/// resolves once the collector has answered or the data is given up, within
/// [`Builder::timeout`](crate::Builder::timeout), retries included; it needs no async runtime and
/// works in any. What the collector did not keep is an error, and counted: in
/// [`Stats`](crate::Stats) metrics are counted in data points.
///
/// A collection without data points is not sent. Unsigned values above `i64::MAX`, which OTLP
/// cannot express, arrive as `i64::MAX`. Of attributes with equal keys the first counts, because
/// it is the one by which the SDK tells time series apart.
///
/// Histograms have exponential buckets with the view
/// [`exponential_histograms`](super::views::exponential_histograms).
///
/// Shutting the provider down closes this exporter only; delivery ends with
/// [`Exporter::shutdown`].
///
/// # Examples
///
/// ```
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
/// use spanwire::otel_0_33::{MetricExporter, exponential_histograms};
///
/// let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
/// let provider = SdkMeterProvider::builder()
///     .with_periodic_exporter(MetricExporter::new(&exporter))
///     .with_view(exponential_histograms())
///     .build();
/// # drop(provider);
/// # exporter.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MetricExporter {
    /// Each process has its own: another's lock may be held by a thread that is not there.
    states: PerProcess<Mutex<State>>,
    closed: AtomicBool,
    /// Keeps delivery alive for as long as the provider may collect.
    exporter: Exporter,
}

/// What one collection leaves for the next.
struct State {
    /// Whose resource is `resource`.
    door: Arc<Door>,
    /// That of the provider, which is known from the first collection on.
    resource: Option<Resource>,
    image: MetricImage,
}

impl MetricExporter {
    /// A new way into `exporter`. Its temporality is that of
    /// [`Builder::metrics_temporality`](crate::Builder::metrics_temporality).
    #[must_use = "an exporter does nothing until a reader has it"]
    pub fn new(exporter: &Exporter) -> Self {
        let states = PerProcess::new(Mutex::new(State::new(exporter)));
        Self { states, closed: AtomicBool::new(false), exporter: exporter.clone() }
    }

    /// Encodes and hands over, to the door that is returned. An error if nothing can come in.
    fn submit(
        &self,
        metrics: &ResourceMetrics,
    ) -> Result<(Arc<Door>, Answer<Settlement>), OTelSdkError> {
        let Some(mut state) = self.lock() else {
            self.exporter.home().turn_away(Signal::Metrics, points(metrics));
            return Err(OTelSdkError::AlreadyShutdown);
        };
        state.know_resource(&self.exporter, metrics.resource());
        let door = Arc::clone(&state.door);
        let answer = door.submit_encoded(points(metrics), || state.encode(metrics));
        Ok((door, answer))
    }

    /// Closes the door, with the lock held: a collection of another resource opens another door.
    fn close(&self) -> Result<Arc<Door>, OTelSdkError> {
        let state = self.lock().ok_or(OTelSdkError::AlreadyShutdown)?;
        // Ordering: Relaxed; the lock orders it, and a forked child is a copy of one moment.
        self.closed.store(true, Ordering::Relaxed);
        if !state.door.close() {
            return Err(OTelSdkError::AlreadyShutdown);
        }
        Ok(Arc::clone(&state.door))
    }

    /// This process's state; none if it has no exporter.
    fn lock(&self) -> Option<MutexGuard<'_, State>> {
        // Before the state is made: one thing is made at a time.
        self.exporter.home().live()?;
        let state = self.states.get_or_make(|| {
            let state = State::new(&self.exporter);
            // Ordering: see `close`.
            if self.closed.load(Ordering::Relaxed) {
                state.door.close();
            }
            Mutex::new(state)
        });
        state.map(|state| state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PushMetricExporter for MetricExporter {
    fn export(&self, metrics: &ResourceMetrics) -> impl Future<Output = OTelSdkResult> + Send {
        // Now, while the metrics are there: the future does not borrow them.
        let submitted = self.submit(metrics);
        async move {
            let (door, answer) = submitted?;
            outcome(&door, answer).await
        }
    }

    /// Waits for the exports under way, within [`FLUSH_LIMIT`]: nothing else is held back here.
    fn force_flush(&self) -> OTelSdkResult {
        let state = self.lock().ok_or(OTelSdkError::AlreadyShutdown)?;
        let door = Arc::clone(&state.door);
        drop(state);
        lifecycle::flush(&door, FLUSH_LIMIT)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        lifecycle::flush(&*self.close()?, timeout)
    }

    fn temporality(&self) -> Temporality {
        match self.exporter.home().settings().metrics.temporality {
            TemporalityPreference::Cumulative => Temporality::Cumulative,
            TemporalityPreference::Delta => Temporality::Delta,
            TemporalityPreference::LowMemory => Temporality::LowMemory,
        }
    }
}

impl fmt::Debug for MetricExporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricExporter").finish_non_exhaustive()
    }
}

impl State {
    fn new(exporter: &Exporter) -> Self {
        let door = Door::open(exporter.home(), Signal::Metrics);
        let image = MetricImage::within(door.limits());
        Self { door: Arc::new(door), resource: None, image }
    }

    fn know_resource(&mut self, exporter: &Exporter, resource: &Resource) {
        if !self.door.is_closed() && self.resource.as_ref() != Some(resource) {
            self.resource = Some(resource.clone());
            self.door = Arc::new(open(exporter, resource));
        }
    }

    /// Nothing for a closed door, which turns it away.
    fn encode(&mut self, metrics: &ResourceMetrics) -> Vec<Group> {
        if self.door.is_closed() {
            return Vec::new();
        }
        // Half an image would be left by a panic; then the next collection begins anew.
        let begun = MetricImage::within(self.door.limits());
        let mut image = std::mem::replace(&mut self.image, begun);
        image.encode(metrics);
        let groups = image.groups();
        self.image = image;
        groups
    }
}

/// A door for the metrics of `resource`.
fn open(exporter: &Exporter, resource: &Resource) -> Door {
    let mut door = Door::open(exporter.home(), Signal::Metrics);
    door.set_resource(encode_resource(resource, door.limits()));
    door
}

fn points(metrics: &ResourceMetrics) -> u64 {
    metrics.scope_metrics().flat_map(ScopeMetrics::metrics).map(points_of).sum()
}
