//! [`TokenBucket`]: at most so many of something a second (RFC 4443 §2.4 (f) asks for one on ICMP errors).
//!
//! Called by: the endpoint. It must never be shared between workers: a global limit is a side channel (CVE-2016-5696).

use crate::time::Instant;

/// Tokens flow in at a fixed rate and up to one second's worth; each event takes one.
#[derive(Debug, Clone)]
pub(super) struct TokenBucket {
    rate_pps: u32,
    tokens: u32,
    /// Up to when tokens have been counted in.
    filled_until: Instant,
}

impl TokenBucket {
    /// A full bucket. A rate of 0 lets nothing through.
    pub(super) fn new(rate_pps: u32) -> Self {
        Self {
            rate_pps,
            tokens: rate_pps,
            filled_until: Instant::ZERO,
        }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self.tokens == 0 {
            self.fill(now);
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }

    fn fill(&mut self, now: Instant) {
        let elapsed_ns = now.since(self.filled_until).as_nanos();
        let tokens = elapsed_ns * u128::from(self.rate_pps) / 1_000_000_000;
        if tokens > 0 {
            self.tokens = u32::try_from(tokens).unwrap_or(u32::MAX).min(self.rate_pps);
            self.filled_until = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_of_one_second_then_the_rate() {
        let mut bucket = TokenBucket::new(100);
        let start = Instant::from_ms(5_000);
        let taken = |bucket: &mut TokenBucket, at| (0..1000).filter(|_| bucket.take(at)).count();
        assert_eq!(
            taken(&mut bucket, start),
            200,
            "the full bucket, then what flowed in since time zero"
        );
        assert_eq!(taken(&mut bucket, start), 0);
        assert_eq!(taken(&mut bucket, Instant::from_ms(5_010)), 1);
        assert_eq!(taken(&mut bucket, Instant::from_ms(5_015)), 0);
        assert_eq!(taken(&mut bucket, Instant::from_ms(9_000)), 100);
        assert!(!TokenBucket::new(0).take(start));
    }
}
