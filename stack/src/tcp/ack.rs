//! When received data is acknowledged: delayed ACK (RFC 9293 §3.8.6.3), every second segment (SHLD-19), at once when
//! something is missing or was filled (RFC 5681 §4.2).
//!
//! It must never let an ACK wait 500 ms or longer (MUST-40; [`crate::tcp::settings::Settings::validate`] holds the
//! bound).

use crate::tcp::deadline::Deadline;
use crate::tcp::settings::Settings;
use crate::time::Instant;

/// The acknowledgment that is owed to the peer. Small on purpose: it lives in the hot line of the connection; its deadline beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AckPolicy {
    duplicates: u8,
    segments: u8,
    is_due: bool,
}

impl AckPolicy {
    /// An ACK is owed now, whatever else is sent.
    #[inline]
    pub const fn now(&mut self) {
        self.is_due = true;
    }

    /// A segment came out of order or again: it gets an ACK of its own, since the peer counts them (RFC 5681 §3.2).
    #[inline]
    pub const fn duplicate(&mut self, settings: &Settings) {
        //~ Duplicate ACKs have a limit: -> `if self.duplicates < u8::MAX {`;
        //~   each_out_of_order_segment_is_owed_its_ack_until_the_gap_is_filled
        if self.duplicates < settings.duplicate_acks_max {
            self.duplicates += 1;
        }
    }

    /// A segment with data came in order. Says whether an ACK shouldn't wait for the end of the burst.
    #[inline(always)]
    pub fn in_order(
        &mut self,
        fills_gap: bool,
        deadline: &mut Deadline,
        now: Instant,
        settings: &Settings,
    ) -> bool {
        // From here on the acknowledgment moves: ACKs still owed for the gap would only look like new duplicates.
        //~ Text that fills a gap is acknowledged at once;
        //~   each_out_of_order_segment_is_owed_its_ack_until_the_gap_is_filled
        //~ An ACK for what wasn't kept does not wait: `fills_gap || self.duplicates > 0` -> `fills_gap`;
        //~   an_ack_owed_for_what_was_not_kept_does_not_wait
        self.is_due |= fills_gap || self.duplicates > 0;
        self.duplicates = 0;
        self.segments = self.segments.saturating_add(1);
        //~ The ACK of a single segment waits: -> `if true {`; the_first_segment_waits_the_second_does_not
        //~ The second full segment does not wait: `self.segments >= 2 || settings.profile.ack_delay.is_zero()`
        //~   -> `settings.profile.ack_delay.is_zero()`; the_first_segment_waits_the_second_does_not
        //~ A delay of zero means none: `self.segments >= 2 || settings.profile.ack_delay.is_zero()`
        //~   -> `self.segments >= 2`; a_zero_delay_acknowledges_each_segment
        if self.segments >= 2 || settings.profile.ack_delay.is_zero() {
            self.is_due = true;
        } else if deadline.is_off() {
            //~ A delayed ACK has a timer; the_first_segment_waits_the_second_does_not
            *deadline = Deadline::after(now, settings.profile.ack_delay);
        }
        //~ A long burst asks for an ACK in between: -> `false`; a_long_burst_asks_for_an_ack_in_between
        self.segments >= settings.ack_stretch_segments
    }

    /// Whether duplicate ACKs are owed: they must be segments of their own.
    #[must_use]
    #[inline]
    pub const fn owes_duplicate(&self) -> bool {
        self.duplicates > 0
    }

    /// How many duplicate ACKs are owed.
    #[must_use]
    #[inline(always)]
    pub const fn duplicates_owed(&self) -> u8 {
        self.duplicates
    }

    /// Whether an ACK is owed now.
    #[must_use]
    #[inline]
    pub const fn is_due(&self) -> bool {
        self.is_due || self.duplicates > 0
    }

    /// Whether everything received was acknowledged: nothing is owed now, and nothing waits for its delay to end.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        !self.is_due() && self.segments == 0
    }

    /// A segment with an ACK went out.
    #[inline]
    pub const fn sent(&mut self, is_pure: bool, deadline: &mut Deadline) {
        if is_pure && self.duplicates > 0 {
            //~ Each duplicate ACK is a segment of its own: -> `self.duplicates = 0;`;
            //~   each_out_of_order_segment_is_owed_its_ack_until_the_gap_is_filled
            self.duplicates -= 1;
        }
        self.is_due = false;
        //~ Data carries the delayed ACK; every_second_segment_is_acknowledged_and_a_burst_once
        self.segments = 0;
        //~ A segment that carries the ACK stops its timer; the_first_segment_waits_the_second_does_not
        *deadline = Deadline::OFF;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_segment_waits_the_second_does_not() {
        let (settings, now) = (Settings::default(), Instant::from_ms(5));
        let (mut acks, mut deadline) = (AckPolicy::default(), Deadline::OFF);
        acks.in_order(false, &mut deadline, now, &settings);
        assert!(!acks.is_due());
        assert_eq!(deadline.instant(), Some(now + settings.profile.ack_delay));
        acks.in_order(false, &mut deadline, now, &settings);
        assert!(acks.is_due());
        acks.sent(true, &mut deadline);
        assert!(!acks.is_due() && deadline.is_off());
    }

    #[test]
    fn a_zero_delay_acknowledges_each_segment() {
        let mut settings = Settings::default();
        settings.profile.ack_delay = core::time::Duration::ZERO;
        let (mut acks, mut deadline) = (AckPolicy::default(), Deadline::OFF);
        acks.in_order(false, &mut deadline, Instant::ZERO, &settings);
        assert!(acks.is_due() && deadline.is_off());
    }

    #[test]
    fn each_out_of_order_segment_is_owed_its_ack_until_the_gap_is_filled() {
        let settings = Settings::default();
        let (mut acks, mut deadline) = (AckPolicy::default(), Deadline::OFF);
        for _ in 0..3 {
            acks.duplicate(&settings);
        }
        acks.sent(true, &mut deadline);
        assert!(acks.owes_duplicate());
        acks.in_order(true, &mut deadline, Instant::ZERO, &settings);
        assert!(acks.is_due() && !acks.owes_duplicate());
        for _ in 0..1000 {
            acks.duplicate(&settings);
        }
        let mut sent = 0;
        while acks.is_due() {
            acks.sent(true, &mut deadline);
            sent += 1;
        }
        assert_eq!(sent, u32::from(settings.duplicate_acks_max));
    }

    #[test]
    fn an_ack_owed_for_what_was_not_kept_does_not_wait() {
        let settings = Settings::default();
        let (mut acks, mut deadline) = (AckPolicy::default(), Deadline::OFF);
        acks.duplicate(&settings);
        acks.in_order(false, &mut deadline, Instant::ZERO, &settings);
        assert!(acks.is_due() && !acks.owes_duplicate());
    }

    #[test]
    fn a_long_burst_asks_for_an_ack_in_between() {
        let settings = Settings::default();
        let (mut acks, mut deadline) = (AckPolicy::default(), Deadline::OFF);
        let asked = (0..8)
            .map(|_| acks.in_order(false, &mut deadline, Instant::ZERO, &settings))
            .position(|a| a);
        assert_eq!(asked, Some(7));
    }
}
