//! Timestamps: TS.Recent, PAWS and our own clock, RFC 7323 §3 to §5.
//!
//! It must never judge a RST by PAWS (§5.2).

use crate::seq::SeqNum;
use crate::tcp::segment::TimestampOption;
use crate::time::Instant;

/// After this long without an update TS.Recent says nothing any more (RFC 7323 §5.5): 24 days.
pub const RECENT_VALID_S: u32 = 24 * 24 * 3600;

/// Whether a TSval comes before `recent` on the circle of timestamps: what PAWS rejects (§5.3 R1).
#[must_use]
#[inline]
pub const fn is_older(tsval: u32, recent: u32) -> bool {
    (tsval.wrapping_sub(recent) as i32) < 0
}

/// The state of the option on one connection. Meaningless unless it was negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimestampState {
    /// TS.Recent: the value to echo.
    pub recent: u32,
    /// Added to our clock, so that it reveals nothing about other connections or the machine (§7.1).
    pub offset: u32,
    /// Last.ACK.sent: the acknowledgment number of the last segment sent.
    pub last_ack_sent: SeqNum,
}

impl TimestampState {
    /// Our timestamp clock: 1 tick a millisecond, shifted by the connection's offset.
    #[must_use]
    #[inline]
    pub const fn clock(&self, now: Instant) -> u32 {
        (now.as_ms() as u32).wrapping_add(self.offset)
    }

    /// The option for a segment that goes out now.
    #[must_use]
    #[inline]
    pub const fn option(&self, now: Instant, with_ack: bool) -> TimestampOption {
        TimestampOption {
            tsval: self.clock(now),
            tsecr: if with_ack { self.recent } else { 0 },
        }
    }

    /// PAWS, rule R1: whether this value is older than TS.Recent.
    #[must_use]
    #[inline]
    pub const fn is_old(&self, tsval: u32) -> bool {
        is_older(tsval, self.recent)
    }

    /// Rule R3 (§4.3): takes the value of a segment that isn't older and starts no later than what was last
    /// acknowledged. Says whether it was taken.
    #[inline]
    pub const fn update(&mut self, tsval: u32, seg_seq: SeqNum) -> bool {
        //~ TS.Recent moves only by segments that cover Last.ACK.sent: `&& !seg_seq.after(self.last_ack_sent)`
        //~   -> nothing; recent_moves_only_for_segments_that_cover_the_last_ack
        let take = !self.is_old(tsval) && !seg_seq.after(self.last_ack_sent);
        if take {
            //~ TS.Recent moves; recent_moves_only_for_segments_that_cover_the_last_ack
            self.recent = tsval;
        }
        take
    }

    /// The round-trip time that an echoed value stands for, in microseconds; `None` for a value that our clock can't
    /// have shown. At least one tick, since that is what the clock can tell.
    #[must_use]
    pub const fn rtt_us(&self, tsecr: u32, now: Instant) -> Option<u32> {
        let ticks = self.clock(now).wrapping_sub(tsecr);
        if ticks > 600_000 {
            return None; // older than any retransmission, or from the future
        }
        Some(if ticks == 0 { 1_000 } else { ticks * 1_000 })
    }
}

/// Whether TS.Recent is too old to judge by, given the second at which it was last taken.
#[must_use]
pub const fn recent_is_outdated(taken_s: u32, now: Instant) -> bool {
    now_s(now).wrapping_sub(taken_s) > RECENT_VALID_S
}

/// The time in whole seconds, for remembering when TS.Recent was taken.
#[must_use]
#[inline]
pub const fn now_s(now: Instant) -> u32 {
    (now.as_ms() / 1_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(recent: u32) -> TimestampState {
        TimestampState {
            recent,
            offset: 0,
            last_ack_sent: SeqNum(1000),
        }
    }

    #[test]
    fn an_older_value_is_old_across_the_wrap() {
        assert!(at(10).is_old(9) && !at(10).is_old(10) && !at(10).is_old(11));
        assert!(at(2).is_old(u32::MAX) && !at(u32::MAX).is_old(2));
    }

    #[test]
    fn recent_moves_only_for_segments_that_cover_the_last_ack() {
        let mut ts = at(10);
        assert!(!ts.update(11, SeqNum(1001)) && ts.recent == 10);
        assert!(ts.update(11, SeqNum(1000)) && ts.recent == 11);
        assert!(!ts.update(10, SeqNum(1000)) && ts.recent == 11);
    }

    #[test]
    fn recent_is_outdated_after_24_days() {
        let taken = now_s(Instant::from_ms(5_000));
        let after = |s: u64| Instant::from_ms(5_000 + s * 1_000);
        assert!(!recent_is_outdated(taken, after(u64::from(RECENT_VALID_S))));
        assert!(recent_is_outdated(
            taken,
            after(u64::from(RECENT_VALID_S) + 1)
        ));
    }

    #[test]
    fn the_clock_is_shifted_and_wraps() {
        let ts = TimestampState {
            offset: u32::MAX,
            ..at(7)
        };
        assert_eq!(ts.clock(Instant::from_ms(1)), 0);
        assert_eq!(
            ts.option(Instant::from_ms(2), true),
            TimestampOption { tsval: 1, tsecr: 7 }
        );
        assert_eq!(ts.option(Instant::from_ms(2), false).tsecr, 0);
        assert_eq!(ts.rtt_us(u32::MAX, Instant::from_ms(31)), Some(31_000));
        assert_eq!(
            ts.rtt_us(31, Instant::from_ms(31)),
            None,
            "echo from the future"
        );
        assert_eq!(ts.rtt_us(30, Instant::from_ms(31)), Some(1_000));
    }
}
