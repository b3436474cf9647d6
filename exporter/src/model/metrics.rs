//! What a user may choose of metrics, as the specification of the OTLP metric exporter names it.
//!
//! Source: opentelemetry-specification, metrics/sdk_exporters/otlp.md, "Additional Environment
//! Variable Configuration".

use std::fmt;

/// Over which interval the data points of metrics are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TemporalityPreference {
    /// Since the start, for all instruments: `cumulative`.
    #[default]
    Cumulative,
    /// Since the last collection: `delta`. Up-down counters stay cumulative: their changes alone
    /// say little.
    Delta,
    /// As [`Delta`](Self::Delta) for counters and histograms that are measured synchronously, and
    /// cumulative for observed counters, so that the SDK need not remember what it reported:
    /// `lowmemory`.
    LowMemory,
}

impl TemporalityPreference {
    /// The preference that `word` names, in any case.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all = [Self::Cumulative, Self::Delta, Self::LowMemory];
        all.into_iter().find(|choice| choice.word().eq_ignore_ascii_case(word))
    }

    fn word(self) -> &'static str {
        match self {
            Self::Cumulative => "cumulative",
            Self::Delta => "delta",
            Self::LowMemory => "lowmemory",
        }
    }
}

impl fmt::Display for TemporalityPreference {
    /// As in `OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How histograms put measurements into buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HistogramAggregation {
    /// With the bounds that the instrument, a view or the SDK's default gives:
    /// `explicit_bucket_histogram`.
    #[default]
    ExplicitBuckets,
    /// With bounds that grow by a factor and follow the data:
    /// `base2_exponential_bucket_histogram`.
    Exponential,
}

impl HistogramAggregation {
    /// The aggregation that `word` names, in any case.
    pub(crate) fn named(word: &str) -> Option<Self> {
        let all = [Self::ExplicitBuckets, Self::Exponential];
        all.into_iter().find(|choice| choice.word().eq_ignore_ascii_case(word))
    }

    fn word(self) -> &'static str {
        match self {
            Self::ExplicitBuckets => "explicit_bucket_histogram",
            Self::Exponential => "base2_exponential_bucket_histogram",
        }
    }
}

impl fmt::Display for HistogramAggregation {
    /// As in `OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What was chosen of metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetricPreferences {
    /// Over which interval points are reported.
    pub(crate) temporality: TemporalityPreference,
    /// How the histograms of `otel_0_33::preferred_histograms` put measurements into buckets.
    pub(crate) histograms: HistogramAggregation,
}

/// What was chosen in one place; `None` is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct GivenMetricPreferences {
    /// See [`MetricPreferences::temporality`].
    pub(crate) temporality: Option<TemporalityPreference>,
    /// See [`MetricPreferences::histograms`].
    pub(crate) histograms: Option<HistogramAggregation>,
}

impl GivenMetricPreferences {
    /// What is given here, then what is given there, then the defaults.
    pub(crate) fn or(self, other: Self) -> MetricPreferences {
        MetricPreferences {
            temporality: self.temporality.or(other.temporality).unwrap_or_default(),
            histograms: self.histograms.or(other.histograms).unwrap_or_default(),
        }
    }
}
