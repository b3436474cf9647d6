//! The specification's self-metrics (`otel.sdk.processor.*`, `otel.sdk.exporter.*`) through a
//! meter provider of the user's.
//!
//! Source: semantic conventions 1.44, `model/otel/metrics.yaml`.

use std::borrow::Cow;
use std::sync::{Arc, Weak};

use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter, MeterProvider};
use opentelemetry::{InstrumentationScope, KeyValue};

use crate::exporter::Exporter;
use crate::model::{Signal, Status};
use crate::pipeline::home::{Home, Live};
use crate::pipeline::observe::{Component, Observer, Operation};
use crate::stats::{ByCause, ExporterStats, ProcessorStats, Server, Stats};

/// Reports what `exporter` does as metrics of `provider`: those that the semantic conventions
/// name for processors and exporters of an SDK. Call it once for a provider.
///
/// | metric, for `span`, `log`, `metric_data_point` | instrument | what |
/// |---|---|---|
/// | `otel.sdk.processor.*.queue.size`, `.queue.capacity` | up-down counters | records that wait, and how many of the mean size have room |
/// | `otel.sdk.processor.*.processed` | counter | handed to the exporter, or with `error.type` given up before |
/// | `otel.sdk.exporter.*.inflight` | up-down counter | handed to the exporter and neither delivered nor given up |
/// | `otel.sdk.exporter.*.exported` | counter | delivered, or with `error.type` not |
/// | `otel.sdk.exporter.operation.duration` | histogram, seconds | one request each, retries and pauses included |
///
/// All but the last are read from [`Exporter::stats`] when the provider collects, so they cost
/// nothing in between; the last is recorded on the exporter's thread when a request has ended.
/// `exporter` may be the one that delivers these metrics: a collection changes what the next one
/// tells, and makes none.
///
/// The exporter is not kept alive by this; once it is gone there is nothing more to observe. What a forked
/// child does is not reported to its parent's provider: observe its exporter again there.
///
/// # Examples
///
/// ```
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
/// use spanwire::otel_0_33::{MetricExporter, observe};
///
/// let exporter = spanwire::Exporter::builder().endpoint("http://localhost:4318").build()?;
/// let provider = SdkMeterProvider::builder()
///     .with_periodic_exporter(MetricExporter::new(&exporter))
///     .build();
/// observe(&exporter, &provider);
/// # drop(provider);
/// # exporter.shutdown(std::time::Duration::ZERO).ok();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn observe(exporter: &Exporter, provider: &dyn MeterProvider) {
    let scope = InstrumentationScope::builder("spanwire").with_version(env!("CARGO_PKG_VERSION"));
    let meter = provider.meter_with_scope(scope.build());
    let home = exporter.home();
    for signal in Signal::ALL {
        observe_exporter(&meter, signal, &home);
        if signal != Signal::Metrics {
            observe_processor(&meter, signal, &home);
        }
    }
    let durations = meter
        .f64_histogram("otel.sdk.exporter.operation.duration")
        .with_unit("s")
        .with_description("The duration of exporting a batch of telemetry records.")
        .build();
    if let Some(Live { shared, .. }) = home.live() {
        shared.observers().for_each(|observer| time_operations(observer, durations.clone()));
    }
}

fn observe_exporter(meter: &Meter, signal: Signal, home: &Arc<Home>) {
    let name = name_of(signal);
    let stats = of_exporters(signal, home);
    meter
        .i64_observable_up_down_counter(format!("otel.sdk.exporter.{name}.inflight"))
        .with_unit(unit_of(signal))
        .with_description("Records handed to the exporter whose export has not ended.")
        .with_callback(move |out| {
            for exporter in stats() {
                out.observe(whole(exporter.in_flight), &of_exporter(&exporter));
            }
        })
        .build();
    let stats = of_exporters(signal, home);
    meter
        .u64_observable_counter(format!("otel.sdk.exporter.{name}.exported"))
        .with_unit(unit_of(signal))
        .with_description("Records whose export has ended, successful or failed.")
        .with_callback(move |out| {
            for exporter in stats() {
                observe_causes(out, &exporter.exported, of_exporter(&exporter));
            }
        })
        .build();
}

fn observe_processor(meter: &Meter, signal: Signal, home: &Arc<Home>) {
    let name = name_of(signal);
    let stats = of_processors(signal, home);
    meter
        .i64_observable_up_down_counter(format!("otel.sdk.processor.{name}.queue.size"))
        .with_unit(unit_of(signal))
        .with_description("Records that wait to be handed to the exporter.")
        .with_callback(move |out| {
            for processor in stats() {
                out.observe(whole(processor.queue_size), &of_processor(&processor));
            }
        })
        .build();
    let stats = of_processors(signal, home);
    meter
        .i64_observable_up_down_counter(format!("otel.sdk.processor.{name}.queue.capacity"))
        .with_unit(unit_of(signal))
        .with_description("How many records of the mean size have room in the buffer.")
        .with_callback(move |out| {
            for processor in stats() {
                if let Some(capacity) = processor.queue_capacity {
                    out.observe(whole(capacity), &of_processor(&processor));
                }
            }
        })
        .build();
    let stats = of_processors(signal, home);
    meter
        .u64_observable_counter(format!("otel.sdk.processor.{name}.processed"))
        .with_unit(unit_of(signal))
        .with_description("Records handed to the exporter, or given up before.")
        .with_callback(move |out| {
            for processor in stats() {
                observe_causes(out, &processor.processed, of_processor(&processor));
            }
        })
        .build();
}

/// Records how long each operation took. Called on the exporter's thread.
fn time_operations(observer: &Observer, durations: Histogram<f64>) {
    let base = attributes(&observer.component, observer.server());
    observer.listen(Arc::new(move |operation: &Operation| {
        let mut attributes = base.clone();
        attributes.extend(operation.error_type.clone().map(error_type));
        attributes.extend(operation.status.map(status));
        durations.record(operation.duration.as_secs_f64(), &attributes);
    }));
}

/// The figures of the exporters of a signal when they are asked for; none once it is gone.
fn of_exporters(
    signal: Signal,
    home: &Arc<Home>,
) -> impl Fn() -> Vec<ExporterStats> + Send + Sync + 'static {
    let exporters =
        move |stats: Stats| stats.exporters.into_iter().filter(move |it| it.signal == signal);
    let home = Arc::downgrade(home);
    move || stats(&home).into_iter().flat_map(exporters).collect()
}

/// The same of the buffer in front of them.
fn of_processors(
    signal: Signal,
    home: &Arc<Home>,
) -> impl Fn() -> Vec<ProcessorStats> + Send + Sync + 'static {
    let processors =
        move |stats: Stats| stats.processors.into_iter().filter(move |it| it.signal == signal);
    let home = Arc::downgrade(home);
    move || stats(&home).into_iter().flat_map(processors).collect()
}

fn stats(home: &Weak<Home>) -> Option<Stats> {
    home.upgrade().map(|home| home.stats())
}

fn observe_causes(
    out: &dyn AsyncInstrument<u64>,
    causes: &[ByCause],
    mut attributes: Vec<KeyValue>,
) {
    let common = attributes.len();
    for ByCause { error_type: cause, records } in causes {
        attributes.truncate(common);
        attributes.extend(cause.clone().map(error_type));
        out.observe(*records, &attributes);
    }
}

fn of_exporter(stats: &ExporterStats) -> Vec<KeyValue> {
    let ExporterStats { component_type: kind, component_name: name, server, .. } = stats;
    attributes(&Component { kind, name: Arc::clone(name) }, server.as_ref())
}

fn of_processor(stats: &ProcessorStats) -> Vec<KeyValue> {
    let ProcessorStats { component_type: kind, component_name: name, .. } = stats;
    attributes(&Component { kind, name: Arc::clone(name) }, None)
}

fn attributes(component: &Component, server: Option<&Server>) -> Vec<KeyValue> {
    // Room for the cause and the status as well.
    let mut attributes = Vec::with_capacity(ATTRIBUTES_MAX);
    attributes.push(KeyValue::new("otel.component.type", component.kind));
    attributes.push(KeyValue::new("otel.component.name", Arc::clone(&component.name)));
    if let Some(Server { address, port }) = server {
        attributes.push(KeyValue::new("server.address", Arc::clone(address)));
        attributes.extend(port.map(|port| KeyValue::new("server.port", i64::from(port))));
    }
    attributes
}

fn error_type(cause: Cow<'static, str>) -> KeyValue {
    KeyValue::new("error.type", cause)
}

fn status(status: Status) -> KeyValue {
    match status {
        Status::Http(code) => KeyValue::new("http.response.status_code", i64::from(code)),
        Status::Grpc(_) => KeyValue::new("rpc.status_code", status.error_type()),
    }
}

/// What the specification calls the records of a signal, in the names of metrics.
fn name_of(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "span",
        Signal::Logs => "log",
        Signal::Metrics => "metric_data_point",
    }
}

/// The same in units.
fn unit_of(signal: Signal) -> &'static str {
    match signal {
        Signal::Traces => "{span}",
        Signal::Logs => "{log_record}",
        Signal::Metrics => "{data_point}",
    }
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Type, name, address, port, cause and status.
const ATTRIBUTES_MAX: usize = 6;
