//! The three kinds of telemetry.

use std::fmt;

/// A kind of telemetry. Each has buffer, batches, connections and counters of its own in an
/// exporter, so a collector that is slow with one does not hold up the others.
///
/// # Examples
///
/// ```
/// use spanwire::Signal;
///
/// let paths: Vec<_> = Signal::ALL.into_iter().map(Signal::path).collect();
/// assert_eq!(paths, ["v1/traces", "v1/logs", "v1/metrics"]);
/// assert_eq!(Signal::Logs.to_string(), "logs");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
    /// Metrics, counted in data points.
    Metrics,
}

impl Signal {
    /// All of them, in the order of [`index`](Self::index).
    pub const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// Its place in [`ALL`](Self::ALL).
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The path that OTLP/HTTP appends to a base URL, without a slash in front (opentelemetry-proto,
    /// docs/specification.md, "OTLP/HTTP Request").
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Traces => "v1/traces",
            Self::Logs => "v1/logs",
            Self::Metrics => "v1/metrics",
        }
    }

    /// What its records are called: the things that [`Stats`](crate::Stats) counts.
    #[must_use]
    pub const fn records(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Logs => "log records",
            Self::Metrics => "data points",
        }
    }
}

impl fmt::Display for Signal {
    /// As in the names of the specification: `traces`, `logs`, `metrics`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_a_place_in_the_list() {
        for (place, signal) in Signal::ALL.into_iter().enumerate() {
            assert_eq!(signal.index(), place);
        }
    }
}
