//! What is refused before anything is started: values of the code that would not work.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Builder;
use crate::error::BuildError;

impl Builder {
    /// Refuses what would not work, rather than to do something else.
    pub(super) fn check_bounds(&self) -> Result<(), BuildError> {
        let records_max = self.batch.records_max.unwrap_or(1);
        let bounds = [
            ("Builder::batch_bytes", self.batch.target_bytes as u64, 1..=u64::MAX),
            ("Builder::batch_records", records_max, 1..=u64::MAX),
            ("Builder::request_bytes_max", self.batch.request_bytes_max as u64, REQUEST_BYTES),
            ("Builder::response_bytes_max", self.response_bytes_max as u64, RESPONSE_BYTES),
            (
                "Builder::buffer_bytes",
                self.buffer_bytes.unwrap_or(1 << 20) as u64,
                BUFFER_BYTES_BOUNDS,
            ),
            ("Builder::in_flight", self.lanes.unwrap_or(1) as u64, LANES_BOUNDS),
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

    pub(super) fn check_backoff(&self) -> Result<(), BuildError> {
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
}

/// What the runtime takes.
const WORKERS_BOUNDS: RangeInclusive<u64> = 1..=64;
/// Below a mebibyte a few threads' chunks would be all of it; the pool is one allocation.
pub(super) const BUFFER_BYTES_BOUNDS: RangeInclusive<u64> = 1 << 20..=1 << 36;
/// Room for a resource, a scope and a span; and what a message may have at most.
const REQUEST_BYTES: RangeInclusive<u64> = 1 << 10..=i32::MAX as u64;
/// Room for a remark; and the most that a message may have.
const RESPONSE_BYTES: RangeInclusive<u64> = 1 << 10..=i32::MAX as u64;
/// Below this, a dead endpoint would be asked thousands of times a second (H11).
const BACKOFF_MIN: Duration = Duration::from_millis(1);
const LANES_BOUNDS: RangeInclusive<u64> = 1..=64;
