//! [`TokenBucket`]: at most so many of something a second (RFC 4443 §2.4 (f) asks for one on ICMP errors).
//!
//! It must never be shared between workers: a global limit is a side channel (CVE-2016-5696).

use crate::time::Instant;

/// Tokens flow in at a fixed rate and up to [`TokenBucket::BURST_MS`] of it; each event takes one. So in any stretch of time
/// there are at most as many events as the rate allows, and one burst.
///
/// Kept as the time at which all tokens so far are paid for, one after the other.
#[derive(Debug, Clone)]
pub(super) struct TokenBucket {
    /// Nanoseconds that a token costs; 0 lets nothing through.
    cost_ns: u64,
    burst_ns: u64,
    paid_until: Instant,
}

impl TokenBucket {
    /// Tokens that may be taken at once, as the time in which they flow in: 50 ms (Linux: 50 at 1000 a second), and one
    /// token at least.
    pub(super) const BURST_MS: u64 = 50;

    /// A full bucket. A rate of 0 lets nothing through.
    pub(super) const fn new(rate_pps: u32) -> Self {
        let cost_ns = match rate_pps {
            0 => 0,
            rate if rate > 1_000_000_000 => 1,
            rate => 1_000_000_000 / rate as u64,
        };
        let burst_ns = Self::BURST_MS * 1_000_000;
        Self {
            cost_ns,
            burst_ns: if burst_ns > cost_ns {
                burst_ns
            } else {
                cost_ns
            },
            paid_until: Instant::ZERO,
        }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.cost_ns == 0 {
            return false;
        }
        //~ ICMP errors save up no more than a burst: `self.paid_until.as_ns().max(now.as_ns())`
        //~   -> `self.paid_until.as_ns()`; a_small_burst_and_then_the_rate
        let paid_ns = self.paid_until.as_ns().max(now.as_ns()) + self.cost_ns;
        let admitted = paid_ns <= now.as_ns() + self.burst_ns;
        if admitted {
            //~ ICMP errors keep to their rate; three_thousand_in_an_eighth_of_a_second_draw_its_share_and_a_burst
            self.paid_until = Instant::from_ns(paid_ns);
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut TokenBucket, ns: impl Iterator<Item = u64>) -> usize {
        ns.filter(|&ns| bucket.take(Instant::from_ns(ns))).count()
    }

    #[test]
    fn a_small_burst_and_then_the_rate() {
        let mut bucket = TokenBucket::new(100);
        let at = |ms: u64| [ms * 1_000_000; 1000].into_iter();
        assert_eq!(taken(&mut bucket, at(5_000)), 5);
        assert_eq!(taken(&mut bucket, at(5_009)), 0);
        assert_eq!(taken(&mut bucket, at(5_010)), 1);
        assert_eq!(taken(&mut bucket, at(5_030)), 2);
        assert_eq!(
            taken(&mut bucket, at(9_000)),
            5,
            "no more than a burst is saved up"
        );
        assert!(!TokenBucket::new(0).take(Instant::from_ms(5_000)));
        assert_eq!(taken(&mut TokenBucket::new(1), at(5_000)), 1);
    }

    /// 3,000 in 0.13 s, as it was found in use.
    #[test]
    fn three_thousand_in_an_eighth_of_a_second_draw_its_share_and_a_burst() {
        let mut bucket = TokenBucket::new(1000);
        let arrivals = (0..3_000).map(|i| 60_000_000_000 + i * 130_000_000 / 3_000);
        assert_eq!(taken(&mut bucket, arrivals), 179);
    }

    #[test]
    fn the_rate_is_kept_over_a_long_time() {
        for rate in [1, 7, 1000, 333_333] {
            let mut bucket = TokenBucket::new(rate);
            let step = 500_000_000 / u64::from(rate);
            let arrivals = (0..20 * u64::from(rate)).map(|i| 60_000_000_000 + i * step);
            let burst = (rate as usize / 20).max(1);
            let taken = taken(&mut bucket, arrivals);
            let expected = 10 * rate as usize;
            assert!(
                (expected..=expected + burst + 1).contains(&taken),
                "{rate}: {taken}"
            );
        }
    }
}
