//! How sure a figure over several runs is: a 95 % interval by the bootstrap.
//!
//! Rounds are paired: what the machine did during a round hit all rows of it. So whole rounds are
//! drawn with replacement, as many as there were; the statistic (a ratio of medians, say) is taken
//! of each draw; the interval spans 95 % of what comes out. It says how much the medians would move
//! if the rounds were run again on the same machine in the same state, and nothing about another
//! machine. With fewer than about six rounds it is too narrow to mean much.

/// Where a figure lies in 95 of 100 repetitions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// The interval of `statistic`, which is given the numbers of the rounds that were drawn, some
    /// of them several times. The same rounds give the same interval.
    pub fn of(rounds: usize, statistic: impl Fn(&[usize]) -> f64) -> Self {
        if rounds == 0 {
            return Self::default();
        }
        let mut random = fastrand::Rng::with_seed(SEED);
        let mut draw = vec![0; rounds];
        let mut figures: Vec<f64> = (0..DRAWS)
            .map(|_| {
                draw.fill_with(|| random.usize(..rounds));
                statistic(&draw)
            })
            .collect();
        figures.sort_by(f64::total_cmp);
        Self { low: figures[TAIL], high: figures[DRAWS - 1 - TAIL] }
    }
}

/// The middle of the values, or the mean of the middle two; NaN when there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count => f64::midpoint(values[(count - 1) / 2], values[count / 2]),
    }
}

/// Enough that the ends of the interval do not depend on the draw.
const DRAWS: usize = 2000;
/// 2.5 % of the draws are beyond either end.
const TAIL: usize = DRAWS / 40;
/// Any; a fixed one makes figures reproducible.
const SEED: u64 = 0x5eed;
