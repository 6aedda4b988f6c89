//! The contents of a segment: urgent pointer, text and FIN, the sixth to eighth step of RFC 9293 §3.10.7.4.
//!
//! It must never touch the bytes: it says which of them are wanted.

use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::tcp::env::Env;
use crate::tcp::input::{Arrived, StepResult};
use crate::tcp::reassembly::{InsertOutcome, Range};
use crate::tcp::segment::Segment;
use crate::tcp::state::{Event, State};
use crate::tcp::tcb::Tcb;
use crate::tcp::verdict::{CloseReason, Events, Outcome, Payload, Reply, Verdict};

impl Tcb {
    /// The sixth to eighth step, and what the segment ends as.
    pub(super) fn text_and_fin(
        &mut self,
        arrived: &mut Arrived,
        verdict: &mut Verdict,
        env: &mut Env<'_>,
    ) -> StepResult<Outcome> {
        self.sixth_check_urg(arrived, verdict);
        self.seventh_process_text(arrived, verdict, env)?;
        self.eighth_check_fin(arrived, verdict, env);
        Ok(arrived.outcome)
    }

    /// "Sixth, check the URG bit": RCV.UP = max(RCV.UP, SEG.UP), and tell the user when it moved (MUST-32).
    fn sixth_check_urg(&mut self, arrived: &Arrived, verdict: &mut Verdict) {
        let seg = &arrived.seg;
        if !seg.flags.contains(crate::tcp::segment::Flags::URG) || !self.state.takes_text() {
            return;
        }
        let up = seg.seq.sub(arrived.skip).add(seg.urgent.into());
        let known = self.bits.has(Bits::URGENT_IN) && !up.after(self.cold.rcv_up);
        if !known && up.after(self.rcv.nxt) {
            self.bits.set(Bits::URGENT_IN);
            self.cold.rcv_up = up;
            verdict.events.add(Events::URGENT);
        }
    }

    /// "Seventh, process the segment text": ESTABLISHED, FIN-WAIT-1 and FIN-WAIT-2; elsewhere "this should not occur
    /// since a FIN has been received; ignore the segment text".
    fn seventh_process_text(
        &mut self,
        arrived: &mut Arrived,
        verdict: &mut Verdict,
        env: &mut Env<'_>,
    ) -> StepResult {
        if arrived.seg.payload_len == 0 {
            return Ok(());
        }
        if !self.state.takes_text() {
            //~ Text behind a FIN is acknowledged; text_behind_the_fin_is_ignored_and_acknowledged
            self.ack.now();
            return Err(Outcome::AfterFin);
        }
        //~ Data after close resets: -> `if false {`; data_after_close_resets
        if self.bits.has(Bits::APP_CLOSED) {
            // §3.6.1: "TCP endpoint MUST/SHOULD send a RST to show that data was lost" (SHLD-3).
            verdict.reply = Reply::Reset;
            verdict
                .events
                .add(self.finish(Event::Abort, CloseReason::DataAfterClose, env));
            return Err(Outcome::AfterClose);
        }
        if self.bits.has(Bits::FIN_AHEAD) {
            self.cut_behind_fin(&mut arrived.seg);
            if arrived.seg.payload_len == 0 {
                self.ack.now();
                return Err(Outcome::AfterFin);
            }
        }
        if arrived.seg.seq == self.rcv.nxt {
            self.take_in_order(arrived, verdict, env);
        } else {
            self.take_out_of_order(arrived, verdict, env);
        }
        Ok(())
    }

    /// "Eighth, check the FIN bit". A FIN counts once everything before it was received; one that came ahead of a gap
    /// is remembered.
    fn eighth_check_fin(
        &mut self,
        arrived: &mut Arrived,
        verdict: &mut Verdict,
        env: &mut Env<'_>,
    ) {
        if !self.state.takes_text() {
            return;
        }
        let seg = &arrived.seg;
        if seg.flags.fin() && !self.bits.has(Bits::FIN_AHEAD) {
            let fin = seg.seq.add(seg.payload_len);
            let is_last = self.cold.reassembly.end().is_none_or(|end| !end.after(fin));
            if is_last && !fin.before(self.rcv.nxt) {
                self.cold.rcv_fin = fin;
                //~ A FIN ahead of a gap is remembered; a_fin_ahead_of_a_gap_counts_once_the_gap_is_filled
                self.bits.set(Bits::FIN_AHEAD);
                if fin != self.rcv.nxt && seg.payload_len == 0 {
                    self.ack.duplicate(env.settings);
                    arrived.outcome = Outcome::OutOfOrder;
                }
            }
        }
        if self.bits.has(Bits::FIN_AHEAD) && self.cold.rcv_fin == self.rcv.nxt {
            self.take_fin(verdict, env);
            if arrived.outcome != Outcome::Handshake {
                arrived.outcome = Outcome::InOrder;
            }
        }
    }

    fn take_in_order(&mut self, arrived: &mut Arrived, verdict: &mut Verdict, env: &mut Env<'_>) {
        let len = arrived.seg.payload_len;
        let fills_gap = !self.cold.reassembly.is_empty();
        self.rcv.take(len);
        let mut released = 0;
        if fills_gap {
            //~ Segments ahead of a gap are held; each_segment_ahead_of_a_gap_draws_its_own_ack_and_the_filler_one
            released = self.cold.reassembly.advance(self.rcv.nxt);
            self.has_ranges = !self.cold.reassembly.is_empty();
            self.rcv.take(released);
        }
        if self
            .ack
            .in_order(fills_gap, &mut self.ack_timer, env.now, env.settings)
        {
            verdict.events.add(Events::ACK_NOW);
        }
        verdict.payload = Payload::InOrder {
            skip: arrived.skip,
            len,
            released,
        };
        if arrived.outcome != Outcome::Handshake {
            arrived.outcome = Outcome::InOrder;
        }
    }

    fn take_out_of_order(&mut self, arrived: &mut Arrived, verdict: &mut Verdict, env: &Env<'_>) {
        let seg = &arrived.seg;
        let new = Range {
            start: seg.seq,
            end: seg.seq.add(seg.payload_len),
        };
        //~ Each segment ahead of a gap gets an ACK; each_segment_ahead_of_a_gap_draws_its_own_ack_and_the_filler_one
        self.ack.duplicate(env.settings);
        let inserted = self.cold.reassembly.insert(new);
        self.has_ranges = true;
        arrived.outcome = match inserted {
            InsertOutcome::New(Range { start, end }) => {
                let skip = arrived.skip + start.since(seg.seq);
                verdict.payload = Payload::OutOfOrder {
                    seq: start,
                    skip,
                    len: end.since(start),
                };
                Outcome::OutOfOrder
            }
            InsertOutcome::Duplicate => Outcome::OutOfOrderDuplicate,
            InsertOutcome::NoRoom => Outcome::OutOfOrderNoRoom,
        };
    }

    /// "If the FIN bit is set, signal the user, advance RCV.NXT over the FIN, and send an acknowledgment for it."
    fn take_fin(&mut self, verdict: &mut Verdict, env: &mut Env<'_>) {
        self.rcv.take_fin();
        self.clear_ranges();
        //~ A FIN is acknowledged at once; the_peer_closes_first
        self.ack.now();
        verdict.events.add(Events::PEER_CLOSED);
        self.transition(Event::Fin, env);
        if self.state == State::TimeWait {
            verdict.events.add(self.enter_time_wait(env));
        }
    }

    /// Whether text or a FIN was received ahead of a gap.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.bits.has(Bits::FIN_AHEAD) || !self.cold.reassembly.is_empty()
    }

    /// Forgets what was received ahead of gaps, and a FIN there. None of it was acknowledged: the peer sends it again.
    pub fn forget_ahead(&mut self) {
        //~ Pruned ranges are forgotten; bytes_ahead_of_old_gaps_give_way_to_those_ahead_of_new_ones
        self.clear_ranges();
        self.bits.clear(Bits::FIN_AHEAD);
    }

    /// The peer said where its data ends; what it sends behind that isn't data.
    fn cut_behind_fin(&self, seg: &mut Segment) {
        let fin: SeqNum = self.cold.rcv_fin;
        let room = if seg.seq.after(fin) {
            0
        } else {
            fin.since(seg.seq)
        };
        seg.payload_len = seg.payload_len.min(room);
    }
}
