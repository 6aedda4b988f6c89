//! [`Latency`]: how long connections or requests took, to three digits, in memory taken at start.
//!
//! It must never allocate while it records.

use core::time::Duration;

use hdrhistogram::Histogram;

/// Shortest and longest time that has a bucket of its own, in ns; what is longer counts as the longest.
const SHORTEST_NS: u64 = 100;
const LONGEST_NS: u64 = 100_000_000_000;
const DIGITS: u8 = 3;
/// A percentile is shown when this many samples lie beyond it.
const SAMPLES_BEYOND: f64 = 10.0;

/// Times, as a histogram.
#[derive(Debug, Clone)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// No times yet; takes the memory for all of them.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram accepts, and a test makes one.
    #[must_use]
    pub fn new() -> Self {
        Self(
            Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, DIGITS)
                .expect("constant bounds that are in order"),
        )
    }

    /// Adds one time.
    #[inline]
    pub fn record(&mut self, time_ns: u64) {
        self.0.saturating_record(time_ns);
    }

    /// Adds all times of another, exactly.
    pub(crate) fn merge(&mut self, other: &Self) {
        // Both have the bounds of this type.
        let _ = self.0.add(&other.0);
    }

    /// The histogram itself, in ns.
    #[must_use]
    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }

    /// The times in buckets, ascending, those without any left out: from, to (exclusive), both in ns, and how many. A bucket is at
    /// most an eighth of its times wide.
    #[must_use]
    pub fn buckets(&self) -> Vec<(u64, u64, u64)> {
        let mut buckets: Vec<(u64, u64, u64)> = Vec::new();
        for value in self.0.iter_recorded() {
            let (from, to) = bucket_of(value.value_iterated_to());
            match buckets.last_mut() {
                Some(last) if last.0 == from => last.2 += value.count_since_last_iteration(),
                _ => buckets.push((from, to, value.count_since_last_iteration())),
            }
        }
        buckets
    }

    /// The mean; `None` without any.
    #[must_use]
    pub(crate) fn mean(&self) -> Option<Duration> {
        (self.samples() > 0).then(|| Duration::from_nanos(self.0.mean().round() as u64))
    }

    /// Forgets all times.
    pub(crate) fn clear(&mut self) {
        self.0.reset();
    }

    /// How many times there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.0.len()
    }

    /// The longest; `None` without any.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.samples() > 0).then(|| Duration::from_nanos(self.0.max()))
    }

    /// The time that `percent` (0 to 100) of all stay within; `None` when fewer than ten lie beyond it.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let beyond = self.samples() as f64 * (1.0 - percent / 100.0);
        // Not exactly: 1 − 0.999 is a little less than a thousandth.
        (beyond + 1e-6 >= SAMPLES_BEYOND)
            .then(|| Duration::from_nanos(self.0.value_at_percentile(percent)))
    }
}

/// The bucket of a time: its three highest bits behind the first one stand.
fn bucket_of(time_ns: u64) -> (u64, u64) {
    let shift = (u64::BITS - time_ns.leading_zeros()).saturating_sub(4);
    let from = time_ns >> shift;
    (from << shift, (from + 1) << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_in_one_bucket_and_buckets_are_narrow() {
        let mut latency = Latency::new();
        for k in 1..2000_u64 {
            latency.record(k * k * 1000);
        }
        let buckets = latency.buckets();
        assert_eq!(buckets.iter().map(|b| b.2).sum::<u64>(), 1999);
        for pair in buckets.windows(2) {
            assert!(pair[0].1 <= pair[1].0, "{pair:?}");
        }
        for &(from, to, _) in &buckets {
            assert!((to - from) * 8 <= from.max(8), "{from} to {to}");
        }
        let below = buckets
            .iter()
            .filter(|b| b.1 <= 1_048_576)
            .map(|b| b.2)
            .sum::<u64>();
        assert_eq!(below, 32, "the square of 33 is the first beyond 2^20 ns");
    }
}
