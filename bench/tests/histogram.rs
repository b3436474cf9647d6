//! The histogram keeps its promises against the naive oracle, a sorted vector.

use proptest::prelude::*;
use spanwire_bench::histogram::{Histogram, Percentiles};

fn histogram(values: &[u64]) -> Histogram {
    let mut histogram = Histogram::default();
    values.iter().for_each(|value| histogram.record(*value));
    histogram
}

/// The least value at or below which `per_mille` of 1000 values lie.
fn oracle(sorted: &[u64], per_mille: usize) -> u64 {
    sorted[(sorted.len() * per_mille).div_ceil(1000).max(1) - 1]
}

/// Values of every magnitude, the boundaries of buckets among them.
fn value() -> impl Strategy<Value = u64> {
    (0..64u32, any::<u64>(), -1i64..=1)
        .prop_map(|(shift, bits, step)| (bits >> shift).wrapping_add_signed(step))
}

proptest! {
    #[test]
    fn a_percentile_is_never_below_the_true_one_and_at_most_a_32nd_above(
        mut values in prop::collection::vec(value(), 1..400), per_mille in 1..=1000usize,
    ) {
        let reported = histogram(&values).at_per_mille(per_mille as u64);
        values.sort_unstable();
        let truth = oracle(&values, per_mille);
        prop_assert!(reported >= truth, "{reported} < {truth}");
        prop_assert!(reported - truth <= truth / 32, "{reported} is far above {truth}");
    }

    #[test]
    fn the_mean_is_exact(values in prop::collection::vec(0..1u64 << 40, 1..200)) {
        let mean = values.iter().sum::<u64>() as f64 / values.len() as f64;
        let reported = histogram(&values).percentiles().mean;
        prop_assert!((reported - mean).abs() <= mean * 1e-12);
    }

    #[test]
    fn merged_histograms_are_the_histogram_of_all_values(
        left in prop::collection::vec(value(), 0..100), right in prop::collection::vec(value(), 0..100),
    ) {
        let mut merged = histogram(&left);
        merged.merge(&histogram(&right));
        let all = histogram(&[left, right].concat());
        prop_assert_eq!(merged.percentiles(), all.percentiles());
        prop_assert_eq!(merged.count(), all.count());
    }
}

#[test]
fn small_values_are_exact() {
    for value in 0..32 {
        assert_eq!(histogram(&[value, 1000]).at_per_mille(500), value);
    }
}

#[test]
fn an_empty_histogram_is_all_zeros() {
    assert_eq!(Histogram::default().percentiles(), Percentiles::default());
}
