//! Laps, and what they say.

use std::time::{Duration, Instant};

/// How long a row is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// About so long, and at least `LAPS_MIN` laps.
    Time(Duration),
    /// So many laps, of which none is a warm-up.
    Laps(usize),
}

impl Extent {
    /// For rows that have no laps: `a_milli` things for each millisecond, at most `most`.
    pub fn things(self, a_milli: usize, most: usize) -> usize {
        match self {
            Self::Time(time) => {
                let millis = usize::try_from(time.as_millis()).unwrap_or(usize::MAX);
                millis.max(1).saturating_mul(a_milli).min(most)
            }
            Self::Laps(laps) => laps.saturating_mul(a_milli).min(most),
        }
    }
}

/// The laps of one row in one process.
#[derive(Clone, Debug)]
pub struct Samples {
    extent: Extent,
    begun: Option<Instant>,
    laps: Vec<f64>,
}

impl Samples {
    /// Without a lap so far.
    pub fn new(extent: Extent) -> Self {
        Self { extent, begun: None, laps: Vec::new() }
    }

    /// How long the row is measured.
    pub fn extent(&self) -> Extent {
        self.extent
    }

    /// When the next lap begins, which is now; none when there were enough of them.
    pub fn lap(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let begun = *self.begun.get_or_insert(now);
        let wants_more = match self.extent {
            Extent::Time(time) => now - begun < time || self.laps.len() < LAPS_MIN,
            Extent::Laps(laps) => self.laps.len() < laps,
        };
        wants_more.then(Instant::now)
    }

    /// Ends the lap that began at `begun`, of so many operations.
    pub fn done(&mut self, begun: Instant, operations: usize) {
        self.record(begun.elapsed(), operations);
    }

    /// Adds a lap that somebody else has timed.
    pub fn record(&mut self, time: Duration, operations: usize) {
        self.laps.push(time.as_nanos() as f64 / operations as f64);
    }

    /// The lap in the middle: nanoseconds an operation.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The lap below which lies the part `q` of all; the first quarter was a warm-up and does not
    /// count.
    pub fn quantile(&self, q: f64) -> f64 {
        let warm_up = match self.extent {
            Extent::Time(_) => self.laps.len() / WARM_UP_PART,
            Extent::Laps(_) => 0,
        };
        let mut laps = self.laps[warm_up..].to_vec();
        laps.sort_by(f64::total_cmp);
        let at = (laps.len().saturating_sub(1)) as f64 * q;
        laps.get(at.round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// One for the warm-up, and one that counts.
const LAPS_MIN: usize = 2;
/// The first quarter.
const WARM_UP_PART: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(extent: Extent, laps: &[u64]) -> Samples {
        let mut samples = Samples::new(extent);
        laps.iter().for_each(|&lap| samples.record(Duration::from_nanos(lap * 10), 10));
        samples
    }

    #[test]
    fn the_warm_up_does_not_count() {
        let laps = [900, 800, 3, 1, 2, 5, 4, 6];
        let timed = samples(Extent::Time(Duration::ZERO), &laps);
        assert_eq!((timed.quantile(0.0), timed.quantile(1.0)), (1.0, 6.0));
        assert_eq!(samples(Extent::Laps(8), &laps).quantile(1.0), 900.0);
    }

    #[test]
    fn the_median_is_one_of_the_laps() {
        assert_eq!(samples(Extent::Laps(3), &[7, 9, 8]).median(), 8.0);
        assert!(samples(Extent::Laps(0), &[]).median().is_nan());
    }

    #[test]
    fn laps_end_by_time_or_by_number() {
        let mut by_number = Samples::new(Extent::Laps(2));
        let mut by_time = Samples::new(Extent::Time(Duration::ZERO));
        for samples in [&mut by_number, &mut by_time] {
            let mut laps = 0;
            while let Some(begun) = samples.lap() {
                laps += 1;
                samples.done(begun, 1);
            }
            assert_eq!(laps, 2);
        }
    }

    #[test]
    fn things_grow_with_the_extent_up_to_a_bound() {
        assert_eq!(Extent::Time(Duration::from_millis(3)).things(10, 1000), 30);
        assert_eq!(Extent::Time(Duration::from_secs(3)).things(10, 1000), 1000);
        assert_eq!(Extent::Laps(2).things(10, 1000), 20);
    }
}
