//! `SystemTime` as OTLP has it.

use std::hash::{Hash, Hasher};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970. Earlier times are 0, which OTLP reads as unknown; times after the
/// year 2554 are the last one that fits.
///
/// A span has two or three of them, and `SystemTime::duration_since` is two calls that no compiler
/// inlines: a sixth of what encoding a span costs. So the parts are read from what the time tells
/// a hasher, if this standard library tells the parts, which is tried out once.
#[inline]
pub(crate) fn unix_nano(time: SystemTime) -> u64 {
    if *TELLS_PARTS.get_or_init(tells_parts) {
        return told(time).map_or_else(|| asked(time), Parts::nanos);
    }
    asked(time)
}

/// The answer by the book.
fn asked(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    nanos(since.as_secs(), since.subsec_nanos())
}

#[inline]
fn nanos(seconds: u64, nanos: u32) -> u64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos.into())
}

#[inline(always)]
fn told(time: SystemTime) -> Option<Parts> {
    let mut parts = Parts::default();
    time.hash(&mut parts);
    (parts.calls == 2).then_some(parts)
}

/// Whether a time tells its seconds since 1970 and the nanoseconds of the last one, as it does
/// on Unix. Samples are enough: what tells something else does not tell these.
fn tells_parts() -> bool {
    let samples = [
        UNIX_EPOCH,
        UNIX_EPOCH + Duration::from_nanos(1),
        UNIX_EPOCH + Duration::new(1_764_000_000, 123_456_789),
        UNIX_EPOCH + Duration::new(1 << 34, 999_999_999),
        UNIX_EPOCH - Duration::from_nanos(1),
        UNIX_EPOCH - Duration::new(1_000_000_000, 500_000_000),
    ];
    samples.into_iter().all(|time| told(time).is_some_and(|parts| parts.nanos() == asked(time)))
}

/// What a hasher was told.
#[derive(Default)]
struct Parts {
    seconds: i64,
    nanos: u32,
    /// 2 if it was told seconds and nanoseconds, in this order.
    calls: u32,
}

impl Parts {
    #[inline(always)]
    fn nanos(self) -> u64 {
        u64::try_from(self.seconds).map_or(0, |seconds| nanos(seconds, self.nanos))
    }
}

impl Hasher for Parts {
    #[inline(always)]
    fn write_i64(&mut self, seconds: i64) {
        self.seconds = seconds;
        self.calls = if self.calls == 0 { 1 } else { OTHER };
    }

    #[inline(always)]
    fn write_u32(&mut self, nanos: u32) {
        self.nanos = nanos;
        self.calls = if self.calls == 1 { 2 } else { OTHER };
    }

    #[inline(always)]
    fn write(&mut self, _: &[u8]) {
        self.calls = OTHER;
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Anything else was told.
const OTHER: u32 = u32::MAX;

static TELLS_PARTS: OnceLock<bool> = OnceLock::new();

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_agree(before in any::<bool>(), seconds in 0_u64..1 << 40, nanos in 0_u32..1_000_000_000) {
            let offset = Duration::new(seconds, nanos);
            let time = if before { UNIX_EPOCH - offset } else { UNIX_EPOCH + offset };
            prop_assert_eq!(unix_nano(time), asked(time));
        }
    }

    #[test]
    fn a_time_that_tells_something_else_is_asked() {
        let mut parts = Parts::default();
        parts.write_u64(7);
        assert_ne!(parts.calls, 2);
        let mut parts = Parts::default();
        parts.write_u32(1);
        parts.write_i64(1);
        assert_ne!(parts.calls, 2);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_standard_library_tells_the_parts() {
        assert!(tells_parts());
    }
}
