//! Views: how the instruments of a provider are aggregated.

use opentelemetry_sdk::metrics::{Aggregation, Instrument, InstrumentKind, Stream};

use crate::exporter::Exporter;
use crate::model::HistogramAggregation;

/// A view by which all histograms have exponential buckets: no bounds to choose, and a relative
/// error of a few percent over any range.
///
/// It applies to every instrument of the kind histogram, also to those that were made with bounds
/// of their own: a view sees only what an instrument is called and what it measures in. If another
/// view of the provider matches the same instrument, the SDK makes a metric of each. At most 160
/// buckets on either side of zero, as the specification has it.
///
/// # Examples
///
/// ```
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
///
/// let provider = SdkMeterProvider::builder()
///     .with_view(spanwire::otel_0_33::exponential_histograms())
///     .build();
/// ```
pub fn exponential_histograms()
-> impl Fn(&Instrument) -> Option<Stream> + Send + Sync + 'static + use<> {
    |instrument| {
        let is_histogram = instrument.kind() == InstrumentKind::Histogram;
        is_histogram.then(exponential).flatten()
    }
}

/// A view by which histograms have the buckets that `exporter` was configured for: exponential
/// ones as with [`exponential_histograms`], or those that they would have without a view.
///
/// That is [`Builder::metrics_histograms`](crate::Builder::metrics_histograms) or the variable
/// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`. The SDK's exporters cannot choose
/// an aggregation by themselves, so the choice needs a view.
///
/// # Examples
///
/// ```
/// use opentelemetry_sdk::metrics::SdkMeterProvider;
/// use spanwire::HistogramAggregation;
/// use spanwire::otel_0_33::{MetricExporter, preferred_histograms};
///
/// let exporter = spanwire::Exporter::builder()
///     .metrics_histograms(HistogramAggregation::Exponential)
///     .build()?;
/// let provider = SdkMeterProvider::builder()
///     .with_periodic_exporter(MetricExporter::new(&exporter))
///     .with_view(preferred_histograms(&exporter))
///     .build();
/// # drop(provider);
/// # exporter.shutdown(std::time::Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn preferred_histograms(
    exporter: &Exporter,
) -> impl Fn(&Instrument) -> Option<Stream> + Send + Sync + 'static + use<> {
    let preferred = exporter.home().settings().metrics.histograms;
    let exponential = exponential_histograms();
    move |instrument| match preferred {
        HistogramAggregation::Exponential => exponential(instrument),
        HistogramAggregation::ExplicitBuckets => None,
    }
}

fn exponential() -> Option<Stream> {
    let aggregation = Aggregation::Base2ExponentialHistogram {
        max_size: MAX_SIZE,
        max_scale: MAX_SCALE,
        record_min_max: true,
    };
    Stream::builder().with_aggregation(aggregation).build().ok()
}

/// Buckets on either side of zero (metrics/sdk.md, "Base2 Exponential Bucket Histogram
/// Aggregation").
const MAX_SIZE: u32 = 160;

/// The finest resolution that is begun with (as above).
const MAX_SCALE: i8 = 20;
