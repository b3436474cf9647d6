//! What the specification's variables say of metrics alone
//! (`metrics/sdk_exporters/otlp.md`, "Additional Environment Variable Configuration").

use super::Env;
use crate::model::{GivenMetricPreferences, HistogramAggregation, TemporalityPreference};

/// What the environment says of the form of metrics.
pub(super) fn preferences(env: &mut Env<'_>) -> GivenMetricPreferences {
    let temporality = env.first_word("temporality", &[TEMPORALITY], TemporalityPreference::named);
    let histograms =
        env.first_word("histogram aggregation", &[HISTOGRAMS], HistogramAggregation::named);
    GivenMetricPreferences {
        temporality: temporality.map(|given| given.value),
        histograms: histograms.map(|given| given.value),
    }
}

const TEMPORALITY: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
const HISTOGRAMS: &str = "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION";
