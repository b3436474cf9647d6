//! `grpc-timeout`: how long the peer may take, in at most eight digits and a unit.
//!
//! Source: grpc, doc/PROTOCOL-HTTP2.md, "Timeout".

use std::time::Duration;

use http::HeaderValue;

/// The header's value for `limit`, in the finest unit that has room for it; never less than
/// asked, so the peer does not give up before we do.
pub(super) fn grpc_timeout(limit: Duration) -> HeaderValue {
    // A zero means nothing to some peers.
    let nanos = limit.as_nanos().max(1);
    let fitting = UNITS.iter().find_map(|(unit, nanos_each)| {
        let count = nanos.div_ceil(*nanos_each);
        (count <= COUNT_MAX).then(|| format!("{count}{unit}"))
    });
    let text = fitting.unwrap_or_else(|| format!("{COUNT_MAX}H"));
    // Digits and a letter are always a header value.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("10S"))
}

/// Eight digits.
const COUNT_MAX: u128 = 99_999_999;
/// Units and what they are in nanoseconds, finest first.
const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60 * 1_000_000_000),
    ('H', 3_600 * 1_000_000_000),
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(limit: Duration) -> String {
        grpc_timeout(limit).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_limit_is_written_in_the_finest_unit_that_fits() {
        for (limit, expected) in [
            (Duration::ZERO, "1n"),
            (Duration::from_nanos(99_999_999), "99999999n"),
            (Duration::from_nanos(100_000_000), "100000u"),
            (Duration::from_secs(10), "10000000u"),
            (Duration::from_secs(100), "100000m"),
            (Duration::from_secs(100_000), "100000S"),
            (Duration::from_secs(u64::MAX), "99999999H"),
            (Duration::MAX, "99999999H"),
        ] {
            assert_eq!(text(limit), expected, "{limit:?}");
        }
    }

    proptest! {
        #[test]
        fn no_limit_has_more_than_eight_digits_or_becomes_shorter(nanos in any::<u64>()) {
            let written = text(Duration::from_nanos(nanos));
            let (digits, unit) = written.split_at(written.len() - 1);
            let each = UNITS.iter().find(|(name, _)| unit.starts_with(*name)).unwrap().1;
            prop_assert!(digits.len() <= 8);
            let stands_for = digits.parse::<u128>().unwrap() * each;
            prop_assert!(stands_for >= u128::from(nanos));
            prop_assert!(stands_for - u128::from(nanos) <= each);
        }
    }
}
