//! Durations that were measured, and their percentiles.

use std::time::Duration;

/// A set of measured durations.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn add(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The `percent`-th percentile by nearest rank (the smallest sample that at least so many per cent do not exceed);
    /// `None` without samples.
    pub fn percentile(&self, percent: u32) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort();
        let rank = (sorted.len() * percent as usize).div_ceil(100).max(1);
        sorted.get(rank - 1).copied()
    }

    /// The largest.
    pub fn max(&self) -> Option<Duration> {
        self.0.iter().max().copied()
    }

    /// Those above a bound.
    pub fn above(&self, bound: Duration) -> usize {
        self.0.iter().filter(|sample| **sample > bound).count()
    }
}

impl FromIterator<Duration> for Samples {
    fn from_iter<I: IntoIterator<Item = Duration>>(samples: I) -> Self {
        Samples(samples.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let samples: Samples = (1..=30).map(Duration::from_millis).collect();
        assert_eq!(samples.percentile(50), Some(Duration::from_millis(15)));
        assert_eq!(samples.percentile(99), Some(Duration::from_millis(30)));
        assert_eq!(samples.percentile(0), Some(Duration::from_millis(1)));
        assert_eq!(samples.above(Duration::from_millis(29)), 1);
        assert_eq!(Samples::default().percentile(50), None);
    }
}
