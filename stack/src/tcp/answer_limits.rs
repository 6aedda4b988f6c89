//! [`AnswerLimits`]: how often one connection answers segments that it can't accept (RFC 9293 §3.10.7.4, first step),
//! RFC 5961 §7. One rule for embryos, open connections, parked connections and TIME-WAIT.
//!
//! It must never share a budget between connections: a global one shows an attacker what the others do (CVE-2016-5696).
//! And it must never answer without a limit: two ends that disagree about their numbers would answer each other for
//! ever.
//!
//! There are two budgets, because anybody who knows the addresses and ports can use up the one:
//!
//! * **Old** segments begin within the largest window below RCV.NXT. The peer sends them in earnest: data again whose ACK
//!   got lost, a probe of our window, a keepalive probe, its SYN or FIN again. Without the ACK it gives up in the end.
//! * **Everything else** is a challenge (RFC 5961): what a blind attacker sends is nearly always this.

use core::time::Duration;

use super::segment::Segment;
use crate::seq::SeqNum;
use crate::time::Instant;

/// Answers to old segments with text, SYN or FIN that may follow each other at once. Each stands for a transmission of the
/// peer, which waits longer from one to the next; the ACK itself may be lost.
pub const OLD_BURST: u32 = 4;

/// From which budget an unacceptable segment is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Old, with text, SYN or FIN: sent again in earnest.
    OldText,
    /// Old and empty: a probe, an ACK that was overtaken, or the other half of an ACK loop. Two such answers at once would
    /// pass for duplicate ACKs.
    OldEmpty,
    /// Anything else.
    Challenge,
}

impl Answer {
    /// The budget for a segment of a connection that expects `rcv_nxt` and never offered more than `window_max` bytes.
    #[must_use]
    pub fn to(seg: &Segment, rcv_nxt: SeqNum, window_max: u32) -> Self {
        //~ Old is what begins within the largest window below RCV.NXT: `!is_old(seg.seq, rcv_nxt, window_max)`
        //~   -> `false`; old_is_what_begins_in_the_largest_window_below_rcv_nxt
        if !is_old(seg.seq, rcv_nxt, window_max) {
            Self::Challenge
        } else if seg.is_empty() {
            Self::OldEmpty
        } else {
            Self::OldText
        }
    }

    /// Whether it is one of the answers to old segments.
    #[must_use]
    pub const fn is_old(self) -> bool {
        !matches!(self, Self::Challenge)
    }

    /// Answers that may follow each other at once.
    const fn burst(self) -> u32 {
        match self {
            //~ Old segments with text are answered in a small burst: -> `Self::OldText => 1,`;
            //~   text_again_draws_four_at_once_and_then_two_a_second
            Self::OldText => OLD_BURST,
            Self::OldEmpty | Self::Challenge => 1,
        }
    }
}

/// Whether `seq` lies in [RCV.NXT − `window_max`, RCV.NXT).
const fn is_old(seq: SeqNum, rcv_nxt: SeqNum, window_max: u32) -> bool {
    let age = rcv_nxt.since(seq);
    age != 0 && age <= window_max
}

/// The two budgets of one connection. Each is kept as the time at which all answers so far are paid for: an answer costs one
/// interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerLimits {
    /// When the challenges are paid for; time zero when none was sent.
    pub challenge: Instant,
    /// When the answers to old segments are paid for; time zero when none was sent.
    pub old: Instant,
}

impl AnswerLimits {
    /// Nothing was answered yet.
    pub const NEW: Self = Self {
        challenge: Instant::ZERO,
        old: Instant::ZERO,
    };

    /// Whether all answers so far are paid for: then both budgets are full, as if none had been sent.
    #[must_use]
    pub fn are_paid(&self, now: Instant) -> bool {
        self.challenge <= now && self.old <= now
    }

    /// Whether this answer may be sent now; if so, it is booked. `interval` is
    /// [`crate::tcp::settings::Settings::challenge_interval`].
    #[must_use]
    pub fn admit(&mut self, answer: Answer, now: Instant, interval: Duration) -> bool {
        let paid = if answer.is_old() {
            &mut self.old
        } else {
            //~ Challenges take nothing from the answers to old segments: -> `&mut self.old`;
            //~   challenges_take_nothing_from_the_answers_to_old_segments
            &mut self.challenge
        };
        // Further ahead than a full burst it can't be: a record keeps the time modulo two minutes, and this one is over.
        if *paid > now + interval * OLD_BURST {
            //~ A time that a record keeps modulo 131 s limits no longer than a budget;
            //~   an_answer_limits_no_longer_than_its_budget_says
            *paid = now;
        }
        //~ Answers to unacceptable segments are limited: `*paid <= now + interval * (answer.burst() - 1)` -> `true`;
        //~   forty_in_two_seconds_draw_four
        let admitted = *paid <= now + interval * (answer.burst() - 1);
        if admitted {
            //~ An answer costs an interval; forty_in_two_seconds_draw_four
            *paid = now.max(*paid) + interval;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tcp::segment::Flags;

    const INTERVAL: Duration = Duration::from_millis(500);

    fn admitted(
        limits: &mut AnswerLimits,
        answer: Answer,
        at_ms: impl Iterator<Item = u64>,
    ) -> usize {
        at_ms
            .filter(|&ms| limits.admit(answer, Instant::from_ms(ms), INTERVAL))
            .count()
    }

    #[test]
    fn forty_in_two_seconds_draw_four() {
        for answer in [Answer::Challenge, Answer::OldEmpty] {
            let mut limits = AnswerLimits::NEW;
            let every_50_ms = (0..40).map(|i| 10_000 + i * 50);
            assert_eq!(admitted(&mut limits, answer, every_50_ms), 4);
        }
    }

    #[test]
    fn text_again_draws_four_at_once_and_then_two_a_second() {
        let mut limits = AnswerLimits::NEW;
        let text = Answer::OldText;
        assert_eq!(admitted(&mut limits, text, [10_000; 10].into_iter()), 4);
        assert_eq!(admitted(&mut limits, text, [10_499; 10].into_iter()), 0);
        assert_eq!(admitted(&mut limits, text, [10_500; 10].into_iter()), 1);
        assert_eq!(
            admitted(&mut limits, text, (0..10_000).map(|ms| 10_501 + ms)),
            20
        );
        assert_eq!(admitted(&mut limits, text, [60_000; 10].into_iter()), 4);
    }

    #[test]
    fn challenges_take_nothing_from_the_answers_to_old_segments() {
        let mut limits = AnswerLimits::NEW;
        assert_eq!(admitted(&mut limits, Answer::Challenge, 10_000..10_100), 1);
        assert_eq!(admitted(&mut limits, Answer::OldText, 10_100..10_101), 1);
        let mut limits = AnswerLimits::NEW;
        assert_eq!(admitted(&mut limits, Answer::OldText, 10_000..10_100), 4);
        assert_eq!(admitted(&mut limits, Answer::Challenge, 10_100..10_101), 1);
    }

    #[test]
    fn a_time_that_no_answer_can_have_left_limits_nothing() {
        let now = Instant::from_ms(10_000);
        let far = Instant::from_ms(12_001);
        let mut limits = AnswerLimits {
            challenge: far,
            old: far,
        };
        assert!(limits.admit(Answer::Challenge, now, INTERVAL));
        assert!(limits.admit(Answer::OldText, now, INTERVAL));
        assert!(!limits.admit(Answer::Challenge, now, INTERVAL));
    }

    #[test]
    fn old_is_what_begins_in_the_largest_window_below_rcv_nxt() {
        let answer = |seq, flags, payload_len| {
            let seg = Segment {
                seq: SeqNum(seq),
                flags,
                payload_len,
                ..Segment::default()
            };
            Answer::to(&seg, SeqNum(10), 100)
        };
        let below = 10u32.wrapping_sub(100);
        assert_eq!(answer(9, Flags::ACK, 0), Answer::OldEmpty);
        assert_eq!(answer(9, Flags::ACK, 1), Answer::OldText);
        assert_eq!(answer(9, Flags::SYN, 0), Answer::OldText);
        assert_eq!(answer(9, Flags::FIN, 0), Answer::OldText);
        assert_eq!(answer(below, Flags::ACK, 1), Answer::OldText);
        assert_eq!(
            answer(below.wrapping_sub(1), Flags::ACK, 1),
            Answer::Challenge
        );
        assert_eq!(answer(10, Flags::ACK, 1), Answer::Challenge);
        assert_eq!(answer(110, Flags::ACK, 0), Answer::Challenge);
    }
}
