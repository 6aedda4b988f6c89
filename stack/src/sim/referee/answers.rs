//! The rule on answers to segments that can't be accepted: challenge ACKs (RFC 5961 §7) and answers to old segments.
//!
//! It must never count an ACK that says something new, nor one that text out of order has earned.

use core::time::Duration;

use super::stream::Stream;
use super::{Found, Rule, Sent};
use crate::time::Instant;

/// ACKs that say nothing new and that no text has earned, at most at once: what a burst of challenges and of old segments draws,
/// and as many again for what else an endpoint may repeat.
const BURST: u32 = 10;

/// Repetitions that text may have earned in advance: an endpoint owes so many duplicates at most.
const EARNED: u32 = 16;

/// The answers of one end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answers {
    /// Acknowledgment and right edge of its last segment.
    last: [u32; 2],
    /// Segments with text that it got and that may draw a duplicate ACK each.
    earned: u32,
    /// When all answers so far are paid for: two in an interval, one from either budget.
    paid_at: Instant,
}

impl Default for Answers {
    fn default() -> Self {
        Self {
            last: [0; 2],
            earned: 0,
            paid_at: Instant::ZERO,
        }
    }
}

impl Answers {
    /// Text (or a SYN or FIN) was delivered that isn't all old.
    pub(super) fn earn(&mut self) {
        self.earned = (self.earned + 1).min(EARNED);
    }

    /// Judges a segment; `window` is its window in bytes.
    pub(super) fn judge(&mut self, sent: &Sent<'_>, own: &Stream, window: u32, found: &mut Found) {
        let segment = sent.segment;
        let says = [segment.ack, segment.ack.wrapping_add(window)];
        let is_probe = sent.at < own.next;
        let repeats = segment.len() == 0 && !is_probe && self.last == says;
        self.last = says;
        if !repeats {
            return;
        }
        //~ Text out of order earns its answers: -> `if false {`; answers_that_text_out_of_order_earns_are_no_challenges
        if self.earned > 0 {
            self.earned -= 1;
            return;
        }
        let each: Duration = sent.bounds.challenge_interval / 2;
        self.paid_at = self.paid_at.max(sent.now) + each;
        let ahead = self.paid_at - sent.now;
        //~ Answers without end are seen: -> `if false {`; answers_without_end
        if ahead > each * BURST {
            found.add(Rule::AnswerLimit, || {
                format!("repeats an ACK without need, {ahead:?} ahead of the limit")
            });
        }
    }
}
