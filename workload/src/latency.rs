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

/// The widths of buckets double from this power of two of ns on (the library's choice for [`SHORTEST_NS`])...
const UNIT_BITS: u32 = 6;
/// ...each time behind so many of them, as a power of two (its choice for [`DIGITS`]).
const HALF_BITS: u32 = 10;
/// Times below this lie in buckets of the first width.
const FIRST_MASK: u64 = (1 << (UNIT_BITS + HALF_BITS + 1)) - 1;
/// Buckets up to [`LONGEST_NS`] and to the end of its power of two.
const BUCKETS: usize = ((LONGEST_NS.ilog2() - UNIT_BITS - HALF_BITS + 2) << HALF_BITS) as usize;

/// Times, in the buckets of an HDR histogram. Counting is one addition, since a benchmark does it several times per connection;
/// everything that is read from them is the library's [`Histogram`] of the same counts.
#[derive(Debug, Clone)]
pub struct Latency(Box<[u64; BUCKETS]>);

impl Default for Latency {
    fn default() -> Self {
        Self::new()
    }
}

impl Latency {
    /// No times yet; takes the memory for all of them.
    ///
    /// # Panics
    /// Never: the length is that of the type.
    #[must_use]
    pub fn new() -> Self {
        // Not an array that is moved: it would pass over the stack.
        let counts = vec![0; BUCKETS].into_boxed_slice();
        Self(counts.try_into().expect("as many as it has"))
    }

    /// Adds one time.
    #[inline]
    pub fn record(&mut self, time_ns: u64) {
        let index = index_of(time_ns);
        match self.0.get_mut(index) {
            Some(count) => *count += 1,
            None => self.0[index_of(LONGEST_NS)] += 1,
        }
    }

    /// Adds all times of another, exactly.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, others) in self.0.iter_mut().zip(&*other.0) {
            *mine += others;
        }
    }

    /// The times as the library's histogram, in ns.
    ///
    /// # Panics
    /// Never: the bounds are constants that the histogram accepts, and a test makes one.
    #[must_use]
    pub fn histogram(&self) -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(SHORTEST_NS, LONGEST_NS, DIGITS)
            .expect("constant bounds that are in order");
        for (index, &count) in self.0.iter().enumerate().filter(|&(_, &count)| count > 0) {
            // Each bucket begins at a value that the histogram has a bucket for.
            histogram.saturating_record_n(first_of(index), count);
        }
        histogram
    }

    /// The times in buckets, ascending, those without any left out: from, to (exclusive), both in ns, and how many. A bucket is at
    /// most an eighth of its times wide.
    #[must_use]
    pub fn buckets(&self) -> Vec<(u64, u64, u64)> {
        let mut buckets: Vec<(u64, u64, u64)> = Vec::new();
        for value in self.histogram().iter_recorded() {
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
        let histogram = self.histogram();
        (!histogram.is_empty()).then(|| Duration::from_nanos(histogram.mean().round() as u64))
    }

    /// How many times there are.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The longest; `None` without any.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        let histogram = self.histogram();
        (!histogram.is_empty()).then(|| Duration::from_nanos(histogram.max()))
    }

    /// The time that `percent` (0 to 100) of all stay within; `None` when fewer than ten lie beyond it.
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let beyond = self.samples() as f64 * (1.0 - percent / 100.0);
        // Not exactly: 1 − 0.999 is a little less than a thousandth.
        (beyond + 1e-6 >= SAMPLES_BEYOND)
            .then(|| Duration::from_nanos(self.histogram().value_at_percentile(percent)))
    }
}

/// The place of a time among the buckets, which may lie behind the last one.
#[inline]
const fn index_of(time_ns: u64) -> usize {
    let doublings = (time_ns | FIRST_MASK).ilog2() - (UNIT_BITS + HALF_BITS);
    ((doublings as usize) << HALF_BITS) + (time_ns >> (doublings + UNIT_BITS)) as usize
}

/// The least time of a bucket, in ns.
const fn first_of(index: usize) -> u64 {
    let doublings = (index >> HALF_BITS).saturating_sub(1);
    ((index - (doublings << HALF_BITS)) as u64) << (doublings as u32 + UNIT_BITS)
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
    fn the_buckets_are_those_of_the_library() {
        let mut library =
            Histogram::<u64>::new_with_bounds(SHORTEST_NS, LONGEST_NS, DIGITS).expect("in order");
        assert_eq!(library.distinct_values(), BUCKETS);
        let mut latency = Latency::new();
        let mut random = stack::rng::Random::new(3);
        let mut record = |time_ns: u64| {
            library.saturating_record(time_ns);
            latency.record(time_ns);
        };
        // Around every power of two, and at random places of every order of magnitude.
        for bits in 0..64 {
            for time_ns in (1_u64 << bits).saturating_sub(3)..=(1_u64 << bits) + 3 {
                record(time_ns);
            }
            for _ in 0..300 {
                record(random.next_u64() >> bits);
            }
        }
        record(LONGEST_NS);
        record(u64::MAX);
        assert_eq!(latency.samples(), library.len());
        let ours = latency.histogram();
        assert_eq!(ours, library);
        assert_eq!((ours.min(), ours.max()), (library.min(), library.max()));
        for percent in [0.0, 1.0, 50.0, 99.9, 100.0] {
            assert_eq!(
                ours.value_at_percentile(percent),
                library.value_at_percentile(percent)
            );
        }
        assert!((ours.mean() - library.mean()).abs() < f64::EPSILON * library.mean());
    }

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
