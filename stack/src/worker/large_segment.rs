//! Large segments for a NIC that cuts them (TCP segmentation offload): segments in a row become one, which the NIC takes apart
//! again.
//!
//! It must never change what stands on the wire: the NIC's segments are those that the protocol has asked for one by one.

use crate::conn::connections::Parts;
use crate::tcp::profiles::Profiles;
use crate::tcp::segment::{Flags, SendPlan};
use crate::time::Instant;

/// Segments in a row as one.
#[derive(Debug)]
pub(super) struct LargeSegment {
    /// All of them; their flags are those of the last.
    pub(super) whole: SendPlan,
    /// Bytes of payload in each but the last.
    segment_bytes: u32,
    /// The protocol's output after them, where it did not fit in.
    pub(super) next: Option<SendPlan>,
}

impl LargeSegment {
    /// Asks a connection for the segments that follow `first`, as long as they fit behind it; `bytes_max` of payload at most.
    #[inline(never)]
    pub(super) fn collect<F>(
        first: SendPlan,
        parts: &mut Parts<'_, F>,
        profiles: &Profiles,
        (bytes_max, now): (u32, Instant),
    ) -> Self {
        let mut large = Self {
            whole: first,
            segment_bytes: first.payload_len,
            next: None,
        };
        while large.may_go_on(bytes_max) {
            let unsent = parts.conn.unsent();
            if parts.conn.tcb.is_silent(unsent) {
                break;
            }
            let (tcb, mut env) = parts.protocol(profiles, now);
            let Some(plan) = tcb.poll_output(unsent, &mut env) else {
                break;
            };
            if !large.take(&plan) {
                large.next = Some(plan);
                break;
            }
        }
        large
    }

    /// Whether another segment may follow: all so far are of one length and have nothing but an ACK.
    fn may_go_on(&self, bytes_max: u32) -> bool {
        //~ Only full segments without PSH and FIN have others behind them: `self.whole.flags == Flags::ACK` -> `true`;
        //~   segments_in_a_row_become_one_and_others_stay_apart
        let is_open = self.whole.flags == Flags::ACK && self.segment_bytes > 0;
        let is_full = is_open && self.whole.payload_len.is_multiple_of(self.segment_bytes);
        is_full && self.whole.payload_len + self.segment_bytes <= bytes_max
    }

    /// Appends the segment of `plan`, if it goes on where the last one ended and says the same.
    fn take(&mut self, plan: &SendPlan) -> bool {
        let whole = &mut self.whole;
        let follows = plan.seq == whole.seq.add(whole.payload_len)
            && plan.payload_offset == whole.payload_offset + whole.payload_len;
        let says_the_same = plan.ack == whole.ack
            && plan.window == whole.window
            && plan.options == whole.options
            && plan.is_retransmission == whole.is_retransmission
            && plan.urgent == 0;
        let flags = [Flags::ACK, ACK_PSH, ACK_FIN, ACK_PSH.with(Flags::FIN)];
        //~ A longer segment stays apart: `(1..=self.segment_bytes).contains(&plan.payload_len)` -> `true`;
        //~   segments_in_a_row_become_one_and_others_stay_apart
        let fits =
            (1..=self.segment_bytes).contains(&plan.payload_len) && flags.contains(&plan.flags);
        if !(follows && says_the_same && fits) {
            return false;
        }
        whole.payload_len += plan.payload_len;
        whole.flags = plan.flags;
        true
    }

    /// How the NIC is to cut it: bytes of payload in each segment, 0 for one that is no longer than that.
    #[inline]
    pub(super) fn cut(&self) -> u16 {
        if self.whole.payload_len > self.segment_bytes {
            self.segment_bytes as u16 // an MSS
        } else {
            0
        }
    }

    /// Segments in it.
    pub(super) fn segments(&self) -> u32 {
        self.whole.payload_len.div_ceil(self.segment_bytes.max(1))
    }

    /// The segments, one by one.
    pub(super) fn pieces(&self) -> impl Iterator<Item = SendPlan> {
        let (whole, count) = (self.whole, self.segments());
        (0..count).map(move |number| {
            let ahead = number * self.segment_bytes;
            let is_last = number + 1 == count;
            SendPlan {
                seq: whole.seq.add(ahead),
                payload_offset: whole.payload_offset + ahead,
                payload_len: (whole.payload_len - ahead).min(self.segment_bytes),
                flags: if is_last { whole.flags } else { Flags::ACK },
                ..whole
            }
        })
    }
}

const ACK_PSH: Flags = Flags::ACK.with(Flags::PSH);
const ACK_FIN: Flags = Flags::ACK.with(Flags::FIN);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::SeqNum;

    fn plan(seq: u32, len: u32, flags: Flags) -> SendPlan {
        SendPlan {
            seq: SeqNum(seq),
            flags,
            payload_len: len,
            payload_offset: seq,
            ..SendPlan::default()
        }
    }

    fn large(plans: &[SendPlan]) -> (LargeSegment, usize) {
        let mut large = LargeSegment {
            whole: plans[0],
            segment_bytes: plans[0].payload_len,
            next: None,
        };
        let more = plans[1..].iter();
        let taken = more.take_while(|plan| large.may_go_on(400) && large.take(plan));
        let taken = 1 + taken.count();
        (large, taken)
    }

    #[test]
    fn segments_in_a_row_become_one_and_others_stay_apart() {
        let ack = |seq, len| plan(seq, len, Flags::ACK);
        let row = [
            ack(0, 100),
            ack(100, 100),
            plan(200, 30, ACK_PSH),
            ack(230, 100),
        ];
        let (whole, taken) = large(&row);
        assert_eq!((taken, whole.segments(), whole.cut()), (3, 3, 100));
        assert_eq!(whole.whole, plan(0, 230, ACK_PSH));
        assert_eq!(whole.pieces().collect::<Vec<_>>(), row[..3]);
        let apart = |second: SendPlan| large(&[ack(0, 100), second]).1 == 1;
        assert!(apart(ack(101, 100)) && apart(ack(100, 101)) && apart(ack(100, 0)));
        assert!(apart(plan(100, 100, Flags::RST_ACK)));
        assert!(apart(SendPlan {
            window: 1,
            ..ack(100, 100)
        }));
        assert!(apart(SendPlan {
            ack: SeqNum(1),
            ..ack(100, 100)
        }));
        assert!(apart(SendPlan {
            is_retransmission: true,
            ..ack(100, 100)
        }));
        assert!(apart(SendPlan {
            urgent: 1,
            ..ack(100, 100)
        }));
        assert!(!apart(plan(100, 100, ACK_FIN)));
        let short_first = large(&[ack(0, 100), ack(100, 30), ack(130, 100)]);
        assert_eq!(short_first.1, 2, "only the last may be short");
        let pushed = large(&[plan(0, 100, ACK_PSH), ack(100, 100)]);
        assert_eq!((pushed.1, pushed.0.cut()), (1, 0), "PSH ends it");
        let many: Vec<_> = (0..6).map(|n| ack(n * 100, 100)).collect();
        assert_eq!(large(&many).1, 4, "no longer than the NIC takes");
    }
}
