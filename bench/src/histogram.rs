//! A log-linear histogram of nanoseconds: constant memory, constant time to record, a relative
//! error below 1/32.
//!
//! Values below 32 are exact. Above, each power of two is cut into 32 equal buckets, so a reported
//! percentile is at most one bucket (3.2 %) above the true one. The mean is exact: it comes from
//! the sum, not from the buckets.

/// Counts of values by magnitude. See the module's text for its precision.
#[derive(Clone)]
pub struct Histogram {
    counts: Box<[u64]>,
    count: u64,
    sum: u128,
    max: u64,
}

/// What the tools print of a histogram, in the unit of the recorded values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Percentiles {
    /// The exact mean, 0 when nothing was recorded.
    pub mean: f64,
    /// The median.
    pub p50: u64,
    /// 99 % of the values are at or below this one.
    pub p99: u64,
    /// 99.9 % of the values are at or below this one.
    pub p999: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into(), count: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Records one value.
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    /// Adds everything that `other` recorded.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// How many values were recorded.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The value at or below which `per_mille` of 1000 values lie, rounded up to its bucket's last
    /// value. 0 when nothing was recorded.
    pub fn at_per_mille(&self, per_mille: u64) -> u64 {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return last_value(index).min(self.max);
            }
        }
        0
    }

    /// Mean, median and the two tails.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            mean: if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 },
            p50: self.at_per_mille(500),
            p99: self.at_per_mille(990),
            p999: self.at_per_mille(999),
        }
    }
}

fn bucket(value: u64) -> usize {
    if value < SUB {
        return value as usize;
    }
    let exponent = 63 - value.leading_zeros();
    let shift = exponent - SUB_BITS;
    ((u64::from(shift) + 1) * SUB + ((value >> shift) - SUB)) as usize
}

/// The largest value that `bucket` maps to `index`.
fn last_value(index: usize) -> u64 {
    let index = index as u64;
    if index < SUB {
        return index;
    }
    let shift = index / SUB - 1;
    let first = (index % SUB + SUB) << shift;
    first + ((1 << shift) - 1)
}

/// Each power of two has 2^5 buckets.
const SUB_BITS: u32 = 5;
const SUB: u64 = 1 << SUB_BITS;
/// The exact values below 32, then 32 buckets for each of the exponents 5 to 63.
const BUCKETS: usize = (SUB as usize) * (64 - SUB_BITS as usize + 1);
