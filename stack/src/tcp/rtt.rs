//! Round-trip time and retransmission timeout: [`RttTimer`] times one segment at a time, [`RttEstimator`] smooths,
//! [`Rto`] backs off. RFC 6298 with Karn's algorithm.
//!
//! It must never use floating point, and never take a sample from a segment that was sent twice (§3).

use core::time::Duration;

use crate::seq::SeqNum;
use crate::tcp::settings::Settings;
use crate::time::Instant;

/// The one segment being timed: RFC 6298 §3 wants at least one sample per round trip, and one is what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RttTimer {
    /// The first number behind the segment.
    end: SeqNum,
    /// When it was sent, in microseconds; 0 when nothing is timed.
    sent_us: u32,
}

impl RttTimer {
    /// Starts timing a segment that is sent for the first time, unless another is being timed.
    #[inline]
    pub const fn start(&mut self, end: SeqNum, now: Instant) {
        //~ One segment is timed at a time: -> `if true {`; one_segment_is_timed_until_its_end_is_acknowledged
        if self.sent_us == 0 {
            self.end = end;
            self.sent_us = (now.as_us() as u32) | 1; // 0 means none; a microsecond is nobody's measure
        }
    }

    /// Something was sent again: from now on an ACK can't tell which copy it answers (Karn's algorithm).
    #[inline]
    pub const fn cancel(&mut self) {
        //~ A segment sent twice gives no sample (Karn); karn_a_segment_sent_twice_gives_no_sample
        self.sent_us = 0;
    }

    /// Whether nothing is being timed.
    #[must_use]
    #[inline]
    pub const fn is_idle(&self) -> bool {
        self.sent_us == 0
    }

    /// The round-trip time in microseconds, when `ack` covers the segment being timed.
    #[inline]
    pub const fn stop(&mut self, ack: SeqNum, now: Instant) -> Option<u32> {
        if self.sent_us == 0 || ack.before(self.end) {
            return None;
        }
        let rtt_us = (now.as_us() as u32).wrapping_sub(self.sent_us);
        self.sent_us = 0;
        // A clock that stands still between two turns may make the forced low bit look like the future.
        Some(if (rtt_us as i32) <= 0 { 1 } else { rtt_us })
    }
}

/// SRTT and RTTVAR in microseconds, RFC 6298 §2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RttEstimator {
    srtt_us: u32,
    rttvar_us: u32,
}

impl RttEstimator {
    /// Estimates that a record kept, in microseconds; SRTT is 0 before the first sample.
    #[must_use]
    pub const fn resume(srtt_us: u32, rttvar_us: u32) -> Self {
        Self { srtt_us, rttvar_us }
    }

    /// The smoothed round-trip time in microseconds, or `None` before the first sample.
    #[must_use]
    pub const fn srtt_us(&self) -> Option<u32> {
        if self.srtt_us == 0 {
            None
        } else {
            Some(self.srtt_us)
        }
    }

    /// RTTVAR in microseconds.
    #[must_use]
    pub const fn rttvar_us(&self) -> u32 {
        self.rttvar_us
    }

    /// Takes one sample (§2.2, §2.3: alpha 1/8, beta 1/4) and returns SRTT + 4 RTTVAR in microseconds, not bounded.
    pub fn sample(&mut self, rtt_us: u32) -> u64 {
        let rtt_us = rtt_us.clamp(1, 600_000_000);
        if self.srtt_us == 0 {
            self.srtt_us = rtt_us;
            self.rttvar_us = rtt_us / 2;
        } else {
            let error = self.srtt_us.abs_diff(rtt_us);
            //~ RTTVAR is smoothed: `self.rttvar_us - self.rttvar_us / 4 + error / 4` -> `error`;
            //~   the_first_sample_sets_both_and_later_ones_are_smoothed
            self.rttvar_us = self.rttvar_us - self.rttvar_us / 4 + error / 4;
            //~ SRTT is smoothed: `self.srtt_us - self.srtt_us / 8 + rtt_us / 8` -> `rtt_us`;
            //~   the_first_sample_sets_both_and_later_ones_are_smoothed
            self.srtt_us = (self.srtt_us - self.srtt_us / 8 + rtt_us / 8).max(1);
        }
        self.estimate_us()
    }

    /// SRTT + 4 RTTVAR, in microseconds.
    #[must_use]
    const fn estimate_us(&self) -> u64 {
        //~ RTO counts RTTVAR four times: `4 * self.rttvar_us as u64` -> `self.rttvar_us as u64`;
        //~   the_first_sample_sets_both_and_later_ones_are_smoothed
        self.srtt_us as u64 + 4 * self.rttvar_us as u64
    }
}

/// RTO and its backoff, RFC 6298 §2.4, §2.5, §5.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rto {
    base_us: u32,
}

impl Rto {
    /// The timeout before the first sample, which lies within the bounds ([`Settings::validate`]).
    #[must_use]
    #[inline]
    pub const fn initial(settings: &Settings) -> Self {
        let initial = settings.rto_initial;
        let us = initial
            .as_secs()
            .saturating_mul(1_000_000)
            .saturating_add(initial.subsec_micros() as u64);
        Self {
            base_us: if us > u32::MAX as u64 {
                u32::MAX
            } else {
                us as u32
            },
        }
    }

    /// The timeout after a sample: `estimate_us` within the configured bounds. It ends any backoff.
    #[must_use]
    pub fn from_estimate(estimate_us: u64, settings: &Settings) -> Self {
        Self {
            base_us: bounded_us(estimate_us, settings),
        }
    }

    /// The timeout by these estimates, whatever was lost since: the initial one before the first sample.
    #[must_use]
    pub fn without_backoff(rtt: &RttEstimator, settings: &Settings) -> Self {
        match rtt.srtt_us() {
            None => Self::initial(settings),
            Some(_) => Self::from_estimate(rtt.estimate_us(), settings),
        }
    }

    /// The timeout with which data begins when the SYN had to be sent again: 3 s, §5.7, unless the initial one is
    /// longer anyway.
    #[must_use]
    pub fn after_lost_syn(settings: &Settings) -> Self {
        const THREE_S_US: u64 = 3_000_000;
        Self::from_estimate(
            THREE_S_US.max(settings.rto_initial.as_micros() as u64),
            settings,
        )
    }

    /// §5.5: twice as long, up to the ceiling. It stays so until the next sample.
    pub fn back_off(&mut self, settings: &Settings) {
        self.base_us = bounded_us(u64::from(self.base_us) * 2, settings);
    }

    /// The timeout in microseconds.
    #[must_use]
    #[inline]
    pub const fn us(self) -> u32 {
        self.base_us
    }

    /// The timeout.
    #[must_use]
    #[inline]
    pub const fn duration(self) -> Duration {
        Duration::from_micros(self.base_us as u64)
    }
}

#[inline]
fn bounded_us(us: u64, settings: &Settings) -> u32 {
    let min = settings.rto_min.as_micros() as u64;
    let us = if us <= min {
        //~ The timeout has a floor: `min` -> `us`; rto_is_bounded_and_doubles_to_the_ceiling
        min
    } else {
        // The ceiling lies above the floor.
        let max = settings.rto_max.as_micros() as u64;
        //~ The timeout has a ceiling: `us.min(max)` -> `us.max(max - max)`; rto_is_bounded_and_doubles_to_the_ceiling
        us.min(max)
    };
    us.min(u64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            rto_min: Duration::from_millis(1),
            ..Settings::default()
        }
    }

    #[test]
    fn the_first_sample_sets_both_and_later_ones_are_smoothed() {
        let mut est = RttEstimator::default();
        assert_eq!(est.srtt_us(), None);
        assert_eq!(est.sample(100_000), 300_000);
        assert_eq!((est.srtt_us(), est.rttvar_us()), (Some(100_000), 50_000));
        // RTTVAR = 3/4 * 50 ms + 1/4 * 80 ms; SRTT = 7/8 * 100 ms + 1/8 * 180 ms.
        assert_eq!(est.sample(180_000), 110_000 + 4 * 57_500);
    }

    #[test]
    fn rto_is_bounded_and_doubles_to_the_ceiling() {
        let s = Settings::default();
        let mut rto = Rto::initial(&s);
        assert_eq!(rto.duration(), Duration::from_secs(1));
        assert_eq!(
            Rto::from_estimate(3_000, &s).duration(),
            Duration::from_secs(1)
        );
        for seconds in [2, 4, 8, 16, 32, 64, 120, 120] {
            rto.back_off(&s);
            assert_eq!(rto.duration(), Duration::from_secs(seconds));
        }
        assert_eq!(Rto::after_lost_syn(&s).duration(), Duration::from_secs(3));
        assert_eq!(
            Rto::from_estimate(3_000, &settings()).duration(),
            Duration::from_millis(3)
        );
    }

    #[test]
    fn karn_a_segment_sent_twice_gives_no_sample() {
        let mut timer = RttTimer::default();
        timer.start(SeqNum(10), Instant::from_ms(1));
        timer.cancel();
        assert_eq!(timer.stop(SeqNum(10), Instant::from_ms(5)), None);
    }

    #[test]
    fn one_segment_is_timed_until_its_end_is_acknowledged() {
        let mut timer = RttTimer::default();
        timer.start(SeqNum(10), Instant::from_ms(1));
        timer.start(SeqNum(20), Instant::from_ms(2));
        assert_eq!(timer.stop(SeqNum(9), Instant::from_ms(3)), None);
        let rtt_us = timer.stop(SeqNum(10), Instant::from_ms(5)).unwrap();
        assert!((3_999..=4_001).contains(&rtt_us), "{rtt_us}");
        assert_eq!(timer.stop(SeqNum(20), Instant::from_ms(6)), None);
    }
}
