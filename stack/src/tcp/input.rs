//! SEGMENT ARRIVES, RFC 9293 §3.10.7, step by step: each step is a function with its clause beside it.
//!
//! It must never send, and never panic on anything that a peer can say: numbers wrap, odd segments have an [`Outcome`].

use crate::bits::Bits;
use crate::tcp::answer_limits::Answer;
use crate::tcp::congestion::{Ack, Reaction};
use crate::tcp::deadline::Deadline;
use crate::tcp::env::Env;
use crate::tcp::retransmit::TimerMode;
use crate::tcp::rtt::Rto;
use crate::tcp::segment::{Flags, Segment};
use crate::tcp::state::{Event, State};
use crate::tcp::tcb::{Tcb, ms};
use crate::tcp::time_wait::TimeWaitStep;
use crate::tcp::timestamps;
use crate::tcp::verdict::{CloseReason, Events, Outcome, Reply, Verdict};
use crate::tcp::window::{WindowUpdate, is_ack_at_edge};

/// A segment ends early with this outcome, or goes on to the next step.
pub(super) type StepResult<T = ()> = Result<T, Outcome>;

/// A segment on its way through the steps: what lies outside of the window is cut off.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrived {
    pub(super) seg: Segment,
    /// Bytes of payload cut off at the front.
    pub(super) skip: u32,
    /// Its outcome, if no later step decides otherwise.
    pub(super) outcome: Outcome,
}

impl Tcb {
    /// Judges one segment of this connection. What is to be sent in answer comes out of `poll_output` afterwards,
    /// except for a [`Reply::Reset`], which is made from the segment itself.
    #[inline]
    pub fn on_segment(&mut self, seg: Segment, env: &mut Env<'_>) -> Verdict {
        let mut verdict = Verdict::new(Outcome::NoConnection);
        // Built once and changed in place: a copy of what was just written in small parts stalls.
        let mut arrived = Arrived {
            seg,
            skip: 0,
            outcome: Outcome::PureAck,
        };
        verdict.outcome = match self.state {
            State::Closed | State::Listen => self.arrives_in_closed(&arrived.seg, &mut verdict),
            State::SynSent => match self.arrives_in_syn_sent(&mut arrived, &mut verdict, env) {
                Ok(outcome) | Err(outcome) => outcome,
            },
            State::TimeWait => self.arrives_in_time_wait(&arrived.seg, &mut verdict, env),
            _ => match self.arrives_in_others(&mut arrived, &mut verdict, env) {
                Ok(outcome) | Err(outcome) => outcome,
            },
        };
        env.counters.count(verdict.outcome);
        verdict
    }

    /// §3.10.7.1: "all data in the incoming segment is discarded"; anything but a RST draws a reset.
    const fn arrives_in_closed(&self, seg: &Segment, verdict: &mut Verdict) -> Outcome {
        if !seg.flags.rst() {
            verdict.reply = Reply::Reset;
        }
        Outcome::NoConnection
    }

    /// §3.10.7.3.
    fn arrives_in_syn_sent(
        &mut self,
        arrived: &mut Arrived,
        verdict: &mut Verdict,
        env: &mut Env<'_>,
    ) -> StepResult<Outcome> {
        let seg = &arrived.seg;
        // First: "If SEG.ACK =< ISS or SEG.ACK > SND.NXT, send a reset (unless the RST bit is set)".
        let acks_syn = seg.flags.ack() && self.acks_new(seg);
        if seg.flags.ack() && !acks_syn {
            if !seg.flags.rst() {
                verdict.reply = Reply::Reset;
            }
            return Err(Outcome::HandshakeBadAck);
        }
        // Second: a RST counts only if it acknowledges our SYN (RFC 5961 §3.2 has it the same way).
        if seg.flags.rst() {
            if !acks_syn {
                return Err(Outcome::HandshakeIgnored);
            }
            verdict
                .events
                .add(self.finish(Event::Rst, CloseReason::Refused, env));
            return Err(Outcome::RstAccepted);
        }
        // Third, security: not built. Fourth: the SYN. Fifth: neither SYN nor RST: drop.
        if !seg.flags.syn() {
            return Err(Outcome::HandshakeIgnored);
        }
        self.learn_syn(seg, env);
        self.snd_wnd.set(WindowUpdate::of(seg), 0);
        self.heard_ms = ms(env.now);
        if !acks_syn {
            // Simultaneous open (MUST-10): our SYN again, as a SYN-ACK. What the peer's SYN carries besides comes again.
            self.transition(Event::Syn, env);
            self.rtx_nxt = self.snd_una;
            //~ A SYN that acknowledges nothing teaches no way: -> `return Ok(Outcome::Handshake);`;
            //~   a_blind_syn_does_not_redirect_an_active_open
            return Ok(Outcome::SynCrossed);
        }
        self.take_ack(seg, verdict, env);
        self.transition(Event::SynAck, env);
        self.opened(verdict, env);
        //~ The SYN-ACK is acknowledged; an_active_open_takes_three_segments
        self.ack.now();
        // "Continue processing at the sixth step": what came with the SYN-ACK.
        arrived.outcome = Outcome::Handshake;
        arrived.seg.seq = arrived.seg.seq.add(1);
        arrived.seg.flags = arrived.seg.flags.without(Flags::SYN);
        self.trim_to_window(arrived);
        self.text_and_fin(arrived, verdict, env)
    }

    /// §3.10.7.4: SYN-RECEIVED and all synchronised states but TIME-WAIT.
    fn arrives_in_others(
        &mut self,
        arrived: &mut Arrived,
        verdict: &mut Verdict,
        env: &mut Env<'_>,
    ) -> StepResult<Outcome> {
        let seg = &arrived.seg;
        if self.state.is_syn_received() && seg.flags.syn() && seg.seq == self.cold.irs {
            self.handshake_again(arrived, env)?;
        }
        self.check_timestamp(&arrived.seg, env)?;
        self.first_check_sequence(arrived, env)?;
        self.second_check_rst(&arrived.seg, verdict, env)?;
        // Third, security and compartment: not built (RFC 9293 §A.1 leaves it to those who use it).
        self.fourth_check_syn(&arrived.seg, verdict, env)?;
        self.fifth_check_ack(arrived, verdict, env)?;
        self.text_and_fin(arrived, verdict, env)
    }

    /// The peer's SYN again. Alone: our SYN-ACK got lost, so it goes out again (within the limit for old segments: no
    /// reflection). With the ACK of our SYN, and nothing besides: simultaneous open as §3.5 Figure 8 draws it, which the
    /// acceptability test alone would not let through. Whatever else begins at the SYN is for the steps to judge.
    fn handshake_again(&mut self, arrived: &mut Arrived, env: &mut Env<'_>) -> StepResult {
        let seg = &mut arrived.seg;
        //~ SYN-RECEIVED takes a SYN,ACK of a simultaneous open only: `self.state == State::SynReceivedActive &&`
        //~   -> nothing; syn_received_takes_no_syn_that_brings_data_or_a_fin
        //~ SYN-RECEIVED takes a SYN,ACK by itself only: `&& seg.len() == 1` -> nothing;
        //~   syn_received_takes_no_syn_that_brings_data_or_a_fin
        let is_figure_8 = self.state == State::SynReceivedActive && seg.len() == 1;
        if is_figure_8 && seg.flags.ack() && !seg.flags.rst() && self.acks_new(seg) {
            seg.seq = seg.seq.add(1);
            seg.flags = seg.flags.without(Flags::SYN);
            // The window of a SYN isn't scaled; the next segment says it exactly.
            seg.window >>= self.snd_scale();
            return Ok(());
        }
        if seg.flags.intersects(Flags::RST | Flags::ACK | Flags::FIN) {
            return Ok(());
        }
        //~ The SYN-ACK again, within the limit for old segments: -> `if true {`;
        //~   the_peers_syn_again_brings_our_syn_ack_again_within_the_limit
        if self.admits(Answer::OldText, env) {
            //~ The peer's SYN again gets the SYN-ACK again;
            //~   the_peers_syn_again_brings_our_syn_ack_again_within_the_limit
            self.rtx_nxt = self.snd_una;
        }
        Err(Outcome::SynRetransmitted)
    }

    /// RFC 7323 §5.3 R1 (PAWS) and §3.2 (a segment without the option). Never for a RST (§5.2).
    fn check_timestamp(&mut self, seg: &Segment, env: &mut Env<'_>) -> StepResult {
        //~ PAWS is not for a RST: `|| seg.flags.rst()` -> nothing; timestamps_guard_against_old_segments
        if !self.bits.has(Bits::TIMESTAMPS) || seg.flags.rst() {
            return Ok(());
        }
        let Some(option) = seg.options.timestamps else {
            let drop = env.settings.require_timestamps;
            //~ A segment without the timestamp is dropped: -> `return if drop && false {`;
            //~   timestamps_guard_against_old_segments
            return if drop {
                Err(Outcome::TimestampMissing)
            } else {
                Ok(())
            };
        };
        //~ PAWS drops segments of another time: -> `if true {`; timestamps_guard_against_old_segments
        if !self.ts.is_old(option.tsval) {
            return Ok(());
        }
        //~ PAWS ends after 24 days: -> `if false {`; paws_outlasts_parking_for_24_days
        if timestamps::recent_is_outdated(self.cold.ts_recent_s, env.now) {
            self.ts.recent = option.tsval; // §5.5: after 24 days it says nothing
            return Ok(());
        }
        self.acknowledge_unacceptable(seg, env);
        Err(Outcome::Paws)
    }

    /// "First, check sequence number". What is acceptable is cut to the window.
    fn first_check_sequence(&mut self, arrived: &mut Arrived, env: &mut Env<'_>) -> StepResult {
        let seg = &arrived.seg;
        if !self.rcv.accepts(seg.seq, seg.len()) {
            //~ Unacceptable segments are dropped: -> `let _ = self.at_closed_window(arrived, env);`;
            //~   what_lies_outside_of_the_window_is_cut_off
            self.at_closed_window(arrived, env)?;
        }
        let seg = &arrived.seg;
        //~ A peer that is heard isn't idle; an_answer_keeps_it_alive
        self.heard_ms = ms(env.now);
        if !seg.flags.rst() && !seg.flags.syn() {
            self.trim_to_window(arrived);
        }
        Ok(())
    }

    /// RFC 7323 §5.3 R3, for a segment whose ACK is acceptable too: taken from a forged one, TS.Recent would shut out the
    /// peer for the 24 days of §5.5.
    #[inline]
    fn take_timestamp(&mut self, arrived: &Arrived, env: &Env<'_>) {
        if let Some(option) = arrived.seg.options.timestamps
            && self.bits.has(Bits::TIMESTAMPS)
            && option.tsval != self.ts.recent
            && self
                .ts
                .update(option.tsval, arrived.seg.seq.sub(arrived.skip))
        {
            self.cold.ts_recent_s = timestamps::now_s(env.now);
        }
    }

    /// An unacceptable segment: "send an acknowledgment in reply (unless the RST bit is set)", drop. One exception:
    /// "If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept valid
    /// ACKs, URGs, and RSTs" (MUST-66): its text is cut off. A FIN that comes alone needs no room and is taken too. The other
    /// is an ACK from the right edge ([`is_ack_at_edge`]).
    fn at_closed_window(&mut self, arrived: &mut Arrived, env: &mut Env<'_>) -> StepResult {
        let seg = &mut arrived.seg;
        if seg.flags.rst() {
            return Err(Outcome::RstOutOfWindow);
        }
        let is_probe = self.rcv.size() == 0 && seg.seq == self.rcv.nxt && !seg.flags.syn();
        //~ A closed window still takes ACKs: `if is_probe ||` -> `if (is_probe && false) ||`;
        //~   a_closed_receive_window_answers_probes_and_reopens_by_a_segment
        if is_probe || is_ack_at_edge(seg, self.rcv.nxt, self.rcv.size()) {
            if seg.payload_len > 0 {
                seg.payload_len = 0;
                seg.flags = seg.flags.without(Flags::FIN);
                arrived.outcome = Outcome::WindowProbe;
                //~ A probe of a closed window gets its answer;
                //~   a_closed_receive_window_answers_probes_and_reopens_by_a_segment
                self.ack.now();
            }
            return Ok(());
        }
        let seg = arrived.seg;
        self.acknowledge_unacceptable(&seg, env);
        let is_old = !seg.end().after(self.rcv.nxt) && !seg.is_empty();
        Err(if is_old {
            Outcome::Duplicate
        } else {
            Outcome::OutOfWindow
        })
    }

    /// "Second, check the RST bit", with RFC 5961 §3.2.
    fn second_check_rst(
        &mut self,
        seg: &Segment,
        verdict: &mut Verdict,
        env: &mut Env<'_>,
    ) -> StepResult {
        if !seg.flags.rst() {
            return Ok(());
        }
        //~ A RST must hit RCV.NXT exactly: -> `if false {`; a_blind_reset_must_hit_exactly
        if seg.seq != self.rcv.nxt {
            self.challenge(env);
            return Err(Outcome::RstChallenged);
        }
        let reason = match self.state {
            State::SynReceivedPassive => CloseReason::BackToListen,
            State::SynReceivedActive => CloseReason::Refused,
            _ => CloseReason::Reset,
        };
        verdict.events.add(self.finish(Event::Rst, reason, env));
        Err(Outcome::RstAccepted)
    }

    /// "Fourth, check the SYN bit", with RFC 5961 §4.2.
    fn fourth_check_syn(
        &mut self,
        seg: &Segment,
        verdict: &mut Verdict,
        env: &mut Env<'_>,
    ) -> StepResult {
        if !seg.flags.syn() {
            return Ok(());
        }
        if self.state == State::SynReceivedPassive {
            verdict
                .events
                .add(self.finish(Event::Syn, CloseReason::BackToListen, env));
            return Err(Outcome::SynRestart);
        }
        //~ A SYN is challenged; a_syn_in_a_synchronised_state_is_challenged_wherever_it_is
        self.challenge(env);
        Err(Outcome::SynChallenged)
    }

    /// "Fifth, check the ACK field", with RFC 5961 §5.2.
    fn fifth_check_ack(
        &mut self,
        arrived: &mut Arrived,
        verdict: &mut Verdict,
        env: &mut Env<'_>,
    ) -> StepResult {
        let seg = &arrived.seg;
        if !seg.flags.ack() {
            return Err(Outcome::AckMissing);
        }
        if self.state.is_syn_received() {
            if !self.acks_new(seg) {
                verdict.reply = Reply::Reset;
                return Err(Outcome::HandshakeBadAck);
            }
            self.take_timestamp(arrived, env);
            self.take_ack(seg, verdict, env);
            self.transition(Event::AckOfSyn, env);
            self.snd_wnd.set(WindowUpdate::of(seg), self.snd_scale());
            self.opened(verdict, env);
            arrived.outcome = Outcome::Handshake;
            return Ok(());
        }
        let oldest = self.snd_una.sub(self.snd_wnd.max);
        //~ An ACK of the unsent or the distant past is challenged: -> `if false {`;
        //~   an_ack_must_lie_between_the_oldest_window_and_what_was_sent
        if seg.ack.since(oldest) > self.snd_nxt.since(oldest) {
            self.challenge(env);
            let unsent = seg.ack.after(self.snd_nxt);
            return Err(if unsent {
                Outcome::AckOfUnsent
            } else {
                Outcome::AckTooOld
            });
        }
        self.take_timestamp(arrived, env);
        if self.timer_mode == TimerMode::Persist {
            //~ Answered probes go on for ever; a_closed_window_is_probed_for_ever_as_long_as_it_answers
            self.probe_answered(env);
        }
        if self.acks_new(seg) {
            self.take_ack(seg, verdict, env);
        } else if self.is_duplicate_ack(arrived) {
            arrived.outcome = Outcome::DuplicateAck;
            self.take_duplicate_ack(env);
        }
        if !seg.ack.before(self.snd_una) {
            let was_closed = self.snd_wnd.size == 0;
            let taken = self.snd_wnd.update(WindowUpdate::of(seg), self.snd_scale());
            if taken && was_closed && self.snd_wnd.size > 0 {
                //~ An opened window ends probing; what_a_closed_window_cut_off_goes_again_as_soon_as_it_opens
                self.window_opened(env);
            }
        }
        self.check_ack_of_fin(verdict, env)
    }

    /// FIN-WAIT-1, CLOSING and LAST-ACK: "if our FIN is now acknowledged".
    fn check_ack_of_fin(&mut self, verdict: &mut Verdict, env: &mut Env<'_>) -> StepResult {
        let waits = matches!(
            self.state,
            State::FinWait1 | State::Closing | State::LastAck
        );
        if !waits || !self.bits.has(Bits::FIN_SENT) || self.snd_una != self.snd_nxt {
            return Ok(());
        }
        match self.state {
            State::LastAck => {
                verdict
                    .events
                    .add(self.finish(Event::AckOfFin, CloseReason::Graceful, env));
                return Err(Outcome::PureAck);
            }
            State::Closing => {
                self.transition(Event::AckOfFin, env);
                verdict.events.add(self.enter_time_wait(env));
                return Err(Outcome::PureAck);
            }
            _ => self.transition(Event::AckOfFin, env),
        };
        if self.bits.has(Bits::APP_CLOSED) {
            //~ FIN-WAIT-2 ends when the application has closed;
            //~   fin_wait_2_ends_after_a_minute_once_the_application_closed
            self.arm_slow(env.now, env.settings.profile.fin_wait_2);
        }
        Ok(())
    }

    /// §3.10.7.4 for TIME-WAIT, judged by the record that this connection is about to become.
    fn arrives_in_time_wait(
        &mut self,
        seg: &Segment,
        verdict: &mut Verdict,
        env: &mut Env<'_>,
    ) -> Outcome {
        let mut record = self.to_time_wait();
        let (outcome, step) = record.judge(seg, env);
        self.cold.slow_timer = record.deadline;
        self.cold.answers = record.answers;
        match step {
            TimeWaitStep::Drop => {}
            TimeWaitStep::Ack(_) => self.ack.now(),
            // Counted by the record; the connection is over, and for `Reopen` the SYN is the listener's to judge.
            TimeWaitStep::Reopen { .. } | TimeWaitStep::Closed => {
                self.state = State::Closed;
                self.stop_slow();
                self.ack_timer = Deadline::OFF;
                verdict.events.add(Events::CLOSED);
            }
        }
        outcome
    }
}

// Parts of the steps.
impl Tcb {
    /// SND.UNA < SEG.ACK =< SND.NXT.
    #[inline]
    const fn acks_new(&self, seg: &Segment) -> bool {
        seg.ack.since(self.snd_una).wrapping_sub(1) < self.flight()
    }

    /// Advances SND.UNA: RTT sample, congestion window, retransmission timer.
    fn take_ack(&mut self, seg: &Segment, verdict: &mut Verdict, env: &mut Env<'_>) {
        let (acked, flight, mss) = (seg.ack.since(self.snd_una), self.flight(), self.mss());
        let acks_syn = u32::from(self.is_opening());
        let acks_fin = u32::from(self.bits.has(Bits::FIN_SENT) && seg.ack == self.snd_nxt);
        verdict.acked_len = acked - acks_syn - acks_fin;
        let echo = seg.options.timestamps.map(|option| option.tsecr);
        //~ The backoff outlasts an ambiguous ACK (Karn):
        //~   -> `self.rto = Rto::initial(env.settings); self.sample_rtt(seg.ack, echo, env);`;
        //~   karn_the_backoff_stays_until_something_sent_once_is_acknowledged
        self.sample_rtt(seg.ack, echo, env);
        self.snd_una = seg.ack;
        if self.rtx_nxt.before(self.snd_una) {
            self.rtx_nxt = self.snd_una;
            self.bits.clear(Bits::RTX_HEAD);
        }
        if self.bits.has(Bits::URGENT_OUT) && !self.cold.snd_up.after(self.snd_una) {
            self.bits.clear(Bits::URGENT_OUT);
        }
        if self.expiries > 0 || self.timer_mode != TimerMode::Retransmit {
            self.expiries = 0;
            //~ An ACK of new data is an answer; an_ack_of_new_data_restarts_the_timer_and_forgives
            self.cold.overdue.answered();
            self.answered_after_expiry(env);
        }
        let reaction = if acks_syn == 1 {
            Reaction::None
        } else {
            self.congestion.on_ack(Ack {
                ack: seg.ack,
                acked,
                flight,
                mss,
            })
        };
        if matches!(reaction, Reaction::PartialAck | Reaction::LaterPartialAck) {
            //~ A partial ACK retransmits the next hole; three_duplicate_acks_bring_the_segment_again_without_waiting
            self.retransmit_head();
        }
        //~ Only the first partial ACK restarts the timer: `} else if reaction != Reaction::LaterPartialAck {`
        //~   -> `} else {`; only_the_first_partial_ack_restarts_the_timer
        if self.snd_una == self.snd_nxt {
            //~ The ACK of all that is in flight stops the timer;
            //~   what_is_queued_goes_in_full_segments_and_the_last_pushes
            self.rtx_timer = Deadline::OFF; // RFC 6298 §5.2
            self.timer_mode = TimerMode::Retransmit;
        } else if reaction != Reaction::LaterPartialAck {
            //~ An ACK of new data starts the timer anew; an_ack_of_new_data_restarts_the_timer_and_forgives
            self.rtx_timer = Deadline::after_us(env.now, self.rto.us()); // §5.3
        }
    }

    /// RFC 5681 §2: something is in flight, no data, no FIN, the same acknowledgment, the same window. Answers to
    /// zero-window probes look the same and mean something else.
    fn is_duplicate_ack(&self, arrived: &Arrived) -> bool {
        let seg = &arrived.seg;
        //~ Probes of our window are no duplicates: `arrived.skip == 0 && arrived.outcome == Outcome::PureAck`
        //~   -> `arrived.skip == 0`; probes_of_our_window_are_no_duplicates
        let was_empty = arrived.skip == 0 && arrived.outcome == Outcome::PureAck;
        //~ A duplicate ACK is without data: `&& seg.is_empty()` -> nothing; only_true_duplicates_count
        //~ Data without a place is no duplicate: `&& !seg.is_stripped` -> nothing;
        //~   data_without_a_place_starts_no_fast_retransmit
        //~ A duplicate ACK has the same window: `&& u32::from(seg.window) << self.snd_scale() == self.snd_wnd.size`
        //~   -> nothing; only_true_duplicates_count
        was_empty
            && seg.ack == self.snd_una
            && self.flight() > 0
            && seg.is_empty()
            && !seg.is_stripped
            && self.snd_wnd.size > 0
            && u32::from(seg.window) << self.snd_scale() == self.snd_wnd.size
    }

    fn take_duplicate_ack(&mut self, env: &mut Env<'_>) {
        let (una, nxt, mss) = (self.snd_una, self.snd_nxt, self.mss());
        if self.congestion.on_duplicate_ack(una, nxt, mss) == Reaction::FastRetransmit {
            env.counters.fast_retransmits += 1;
            self.retransmit_head();
        }
    }

    fn retransmit_head(&mut self) {
        self.rtx_nxt = self.snd_una;
        self.bits.set(Bits::RTX_HEAD);
    }

    /// MUST-37: a peer that answers probes is alive. The wait for the next one may have been cut to R2, for want of this answer.
    fn probe_answered(&mut self, env: &Env<'_>) {
        let was_cut = self.cold.overdue.is_last_try(&self.patience(env));
        self.cold.overdue.answered();
        //~ An answered probe gives back what R2 cut off the wait: -> `if false && was_cut {`;
        //~   a_lost_probe_does_not_end_a_connection_whose_window_is_closed_for_long
        if was_cut {
            self.arm_persist(env);
        }
    }

    /// The peer's window was closed and is not any more: what lay beyond it when it shrank goes out again.
    fn window_opened(&mut self, env: &Env<'_>) {
        if self.timer_mode == TimerMode::Retransmit {
            return; // it closed and opened within one RTO: nothing was lost by it
        }
        self.timer_mode = TimerMode::Retransmit;
        self.expiries = 0;
        self.bits.clear(Bits::PROBE_DUE);
        self.rtx_timer = Deadline::OFF;
        if self.flight() > 0 {
            //~ Data that a closed window had cut off goes as soon as it opens;
            //~   what_a_closed_window_cut_off_goes_again_as_soon_as_it_opens
            self.rtx_nxt = self.snd_una;
            self.bits.clear(Bits::RTX_HEAD);
            self.rtx_timer = Deadline::after_us(env.now, self.rto.us());
        }
    }

    /// The handshake is complete.
    fn opened(&mut self, verdict: &mut Verdict, env: &mut Env<'_>) {
        let initial = env.settings.initial_window;
        self.congestion = crate::tcp::congestion::Congestion::new(self.mss(), initial);
        if self.bits.take(Bits::SYN_LOST) {
            //~ After a lost SYN data begins with one segment; a_lost_syn_starts_data_with_one_segment_and_three_seconds
            self.congestion.on_syn_lost(self.mss());
            //~ After a lost SYN data begins with an RTO of 3 s;
            //~   a_lost_syn_starts_data_with_one_segment_and_three_seconds
            self.rto = Rto::after_lost_syn(env.settings); // RFC 6298 §5.7
        }
        self.sent_ms = ms(env.now);
        //~ An established connection starts keepalive's clock; keepalive_probes_an_idle_peer_and_gives_up_after_nine
        self.arm_keepalive(env);
        verdict.events.add(Events::OPENED);
        if self.bits.has(Bits::FIN_WANTED) {
            self.transition(Event::Close, env);
        }
    }

    /// Cuts off what was received before, and what lies beyond the window ("segments with higher beginning sequence
    /// numbers SHOULD be held", but within the window only).
    fn trim_to_window(&self, arrived: &mut Arrived) {
        let seg = &mut arrived.seg;
        if seg.seq.before(self.rcv.nxt) {
            let old = self.rcv.nxt.since(seg.seq).min(seg.payload_len);
            seg.seq = seg.seq.add(old);
            //~ Text that was received before is cut off; what_lies_outside_of_the_window_is_cut_off
            seg.payload_len -= old;
            arrived.skip += old;
        }
        let room = self.rcv.edge().since(seg.seq);
        if seg.payload_len > room {
            //~ Text beyond the window is cut off; what_lies_outside_of_the_window_is_cut_off
            seg.payload_len = room;
            seg.flags = seg.flags.without(Flags::FIN);
        }
    }

    /// The answer to an unacceptable segment, from the budget for such a segment.
    fn acknowledge_unacceptable(&mut self, seg: &Segment, env: &mut Env<'_>) {
        let answer = Answer::to(seg, self.rcv.nxt, self.rcv.largest());
        //~ An unacceptable segment is answered from the budget for its kind:
        //~   -> `if self.admits(Answer::Challenge, env) {`; hostile::junk_does_not_silence_the_answers_to_what_is_old
        if self.admits(answer, env) {
            //~ A duplicate is acknowledged; text_behind_the_fin_is_ignored_and_acknowledged
            self.ack.now();
        }
    }

    /// A challenge ACK, if this connection has one left (RFC 5961 §7).
    fn challenge(&mut self, env: &mut Env<'_>) {
        if self.admits(Answer::Challenge, env) {
            self.ack.now();
        }
    }

    fn admits(&mut self, answer: Answer, env: &mut Env<'_>) -> bool {
        let interval = env.settings.challenge_interval;
        let admitted = self.cold.answers.admit(answer, env.now, interval);
        env.counters.answer(answer, admitted);
        admitted
    }

    pub(super) fn enter_time_wait(&mut self, env: &Env<'_>) -> Events {
        self.rtx_timer = Deadline::OFF;
        self.ack_timer = Deadline::OFF;
        //~ TIME-WAIT starts 2 MSL; we_close_first
        self.arm_slow(env.now, env.settings.two_msl);
        self.cold.close_reason.get_or_insert(CloseReason::Graceful);
        Events::TIME_WAIT
    }
}
