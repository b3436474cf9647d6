//! What is chosen of metrics.

use super::Builder;
use crate::model::{HistogramAggregation, TemporalityPreference};

impl Builder {
    /// Over which interval the points of metrics are reported. Default
    /// `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE` (`cumulative`, `delta`, `lowmemory`),
    /// else cumulative.
    pub fn metrics_temporality(mut self, preference: TemporalityPreference) -> Self {
        self.metrics.temporality = Some(preference);
        self
    }

    /// How histograms put measurements into buckets, for providers that have the view
    /// `otel_0_33::preferred_histograms`. Default
    /// `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION` (`explicit_bucket_histogram`,
    /// `base2_exponential_bucket_histogram`), else explicit buckets.
    pub fn metrics_histograms(mut self, aggregation: HistogramAggregation) -> Self {
        self.metrics.histograms = Some(aggregation);
        self
    }
}
