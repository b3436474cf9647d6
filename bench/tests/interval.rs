//! The intervals that goals are decided on.

use proptest::prelude::*;
use spanwire_bench::{
    compare::{
        Row,
        goals::Wanted,
        interval::{Interval, median},
        table::{CPU, Compared, Figure, Line},
    },
    subject::Kind,
};

fn line(peer: Kind, cpu: &[f64]) -> Line {
    let row = |&cpu_s_per_million| Row { cpu_s_per_million, ..Row::default() };
    Line { peer, runs: cpu.iter().map(row).collect(), lost: 0 }
}

fn times(more: &[f64], less: &[f64]) -> Compared {
    Compared::times(&line(Kind::OtlpHttp, more), &line(Kind::SpanwireUring, less), CPU)
}

/// As many runs of one row as of the other.
fn runs() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    prop::collection::vec((0.1..10.0, 0.1..10.0), 1..20).prop_map(|pairs| pairs.into_iter().unzip())
}

proptest! {
    // Each case draws some thousand times.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn an_interval_has_the_ratio_of_the_extremes_around_it((more, less) in runs()) {
        let of = times(&more, &less);
        let [more, less] = [more, less].map(Figure::of);
        prop_assert!(of.interval.low <= of.interval.high);
        prop_assert!(more.min / less.max <= of.interval.low + 1e-9);
        prop_assert!(of.interval.high <= more.max / less.min + 1e-9);
        prop_assert!((of.value - more.median / less.median).abs() < 1e-9);
    }

    #[test]
    fn the_same_runs_give_the_same_interval((more, less) in runs()) {
        prop_assert_eq!(times(&more, &less), times(&more, &less));
    }

    #[test]
    fn an_interval_grows_with_what_it_is_of((more, less) in runs(), factor in 0.5..4.0_f64) {
        let scaled: Vec<_> = more.iter().map(|value| value * factor).collect();
        let (one, other) = (times(&more, &less).interval, times(&scaled, &less).interval);
        prop_assert!((one.low * factor - other.low).abs() < 1e-6);
        prop_assert!((one.high * factor - other.high).abs() < 1e-6);
    }

    #[test]
    fn runs_that_agree_leave_no_doubt(count in 1..20_usize, more in 0.1..10.0, less in 0.1..10.0) {
        let of = times(&vec![more; count], &vec![less; count]);
        prop_assert_eq!(of.interval, Interval { low: of.value, high: of.value });
    }

    /// What slowed a round slowed both rows of it, and says nothing about their ratio.
    #[test]
    fn what_hits_a_whole_round_does_not_widen_the_interval(
        rounds in prop::collection::vec(0.1..10.0_f64, 1..20), ratio in 1.0..9.0_f64,
    ) {
        let more: Vec<_> = rounds.iter().map(|round| round * ratio).collect();
        let of = times(&more, &rounds);
        prop_assert!((of.interval.low - ratio).abs() < 1e-9 && (of.interval.high - ratio).abs() < 1e-9);
    }

    #[test]
    fn half_of_the_values_are_on_either_side_of_the_median(
        values in prop::collection::vec(-10.0..10.0, 1..30),
    ) {
        let middle = median(values.clone());
        let below = values.iter().filter(|value| **value < middle).count();
        let above = values.iter().filter(|value| **value > middle).count();
        prop_assert!(below <= values.len() / 2 && above <= values.len() / 2);
    }
}

/// Of a distribution whose median is known: 95 of 100 intervals ought to hold it. Medians of few
/// runs are coarse, so the bound is generous; an interval of the wrong tail would be far below it.
#[test]
fn most_intervals_hold_what_they_are_about() {
    let mut random = fastrand::Rng::with_seed(7);
    let trials = 80;
    let holding = (0..trials).filter(|_| {
        let runs: Vec<f64> = (0..15).map(|_| 1.0 + random.f64()).collect();
        let Interval { low, high } = Compared::alone(&line(Kind::Noop, &runs), CPU).interval;
        (low..=high).contains(&1.5)
    });
    let holding = holding.count();
    assert!(holding >= trials * 85 / 100, "{holding} of {trials}");
}

#[test]
fn no_runs_have_no_interval() {
    assert_eq!(Interval::of(0, |_| 1.0), Interval::default());
    assert!(median(Vec::new()).is_nan());
}

#[test]
fn a_goal_is_decided_by_the_unfavourable_end() {
    let measured = Compared { value: 8.5, interval: Interval { low: 7.9, high: 9.1 } };
    assert!(!Wanted::AtLeast(8.0).is_met_by(&measured), "the median alone does not do");
    assert!(Wanted::AtLeast(7.9).is_met_by(&measured));
    assert!(!Wanted::AtMost(9.0).is_met_by(&measured));
    assert!(Wanted::AtMost(9.1).is_met_by(&measured));
}

#[test]
fn a_figure_within_the_floor_is_infinitely_better() {
    let [ours, floor] = [0.2, 0.3].map(|cpu| line(Kind::Noop, &[cpu]));
    let of = Compared::times_over(&line(Kind::OtlpHttp, &[3.0]), &ours, &floor, CPU);
    assert_eq!(of.value, f64::INFINITY);
}
