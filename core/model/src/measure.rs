//! Plain measures: numbers that a worker counts and the switch turns into metrics at a scrape.

use std::time::Duration;

/// Upper bounds in seconds for the relay latency of packets and messages.
pub const RELAY_BOUNDS: &[f64] = &[
    5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1,
];
/// Upper bounds in seconds for what networks do to media: jitter, round trips.
pub const NETWORK_BOUNDS: &[f64] = &[
    1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 3e-2, 5e-2, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0,
];
/// Upper bounds in seconds for one plugin call.
pub const HOOK_BOUNDS: &[f64] = &[
    1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 5e-2,
];
/// Upper bounds in seconds for the fan-out of a message.
pub const FANOUT_BOUNDS: &[f64] = &[
    1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
];
/// Upper bounds in seconds for a SIP transaction.
pub const TRANSACTION_BOUNDS: &[f64] = &[
    1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0,
];
/// Upper bounds for how many receive one message.
pub const RECIPIENT_BOUNDS: &[f64] = &[0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0];

/// A histogram of one thread: plain integers, no locks.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    /// An empty histogram; `bounds` are inclusive upper bounds in rising order, the last bucket (all
    /// that is larger) is added.
    pub fn new(bounds: &'static [f64]) -> Self {
        Self {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// Counts a value.
    pub fn record(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket] += 1;
        self.sum += value;
    }

    /// Counts a duration, in seconds.
    pub fn record_duration(&mut self, value: Duration) {
        self.record(value.as_secs_f64());
    }

    /// Adds another histogram of the same bounds, as from another thread.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.bounds, other.bounds);
        for (own, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *own += theirs;
        }
        self.sum += other.sum;
    }

    /// The upper bounds, without the last bucket's.
    pub const fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// How many values fell into each bucket (not cumulative), the last one without a bound.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// The sum of all values.
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// How many values were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_on_a_bound_belongs_below_it() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 9.0] {
            histogram.record(value);
        }
        assert_eq!(histogram.counts(), [2, 2, 1]);
        assert_eq!(histogram.count(), 5);
        assert!((histogram.sum() - 14.0).abs() < 1e-9);
    }

    #[test]
    fn merging_adds_bucket_by_bucket() {
        let (mut one, mut two) = (Histogram::new(&[1.0]), Histogram::new(&[1.0]));
        one.record(0.5);
        two.record(0.5);
        two.record(3.0);
        one.merge(&two);
        assert_eq!(one.counts(), [2, 1]);
    }
}
