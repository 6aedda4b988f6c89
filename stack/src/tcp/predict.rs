//! Header prediction: the segment that a connection in good order expects next, taken in one step.
//!
//! It must never decide otherwise than [`Tcb::on_segment`] does, and never skip one of its checks: what is not exactly expected
//! changes nothing here and goes through the steps of `input`. `tests/predict.rs` compares both, field by field.

use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::tcp::congestion::Ack;
use crate::tcp::deadline::Deadline;
use crate::tcp::env::Env;
use crate::tcp::segment::{Flags, OFFERS_SACK, Segment, TimestampOption};
use crate::tcp::state::{Event, State};
use crate::tcp::tcb::{Tcb, ms};
use crate::tcp::timestamps;
use crate::tcp::verdict::{CloseReason, Events, Outcome};
use crate::tcp::window::WindowUpdate;

/// With one of these set, a segment goes through all steps.
const UNUSUAL: u16 = Bits::PROBE_DUE
    | Bits::KEEPALIVE_DUE
    | Bits::FORCE_SEND
    | Bits::SYN_LOST
    | Bits::URGENT_OUT
    | Bits::URGENT_IN;

/// A received segment as far as prediction looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExpectedSegment {
    /// SEG.SEQ.
    pub seq: SeqNum,
    /// SEG.ACK.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// SEG.WND as on the wire, not scaled.
    pub window: u16,
    /// Bytes of payload. All of it has a place.
    pub payload_len: u32,
    /// The timestamps, where they are its only option; `None` where it has no option. A segment with any other must not be
    /// given.
    pub timestamps: Option<TimestampOption>,
}

impl ExpectedSegment {
    #[inline(always)]
    pub(super) const fn window_update(&self) -> WindowUpdate {
        WindowUpdate {
            field: self.window,
            seq: self.seq,
            ack: self.ack,
        }
    }
}

/// The effect of an expected segment on its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prediction {
    /// Bytes of text that it acknowledged for the first time.
    pub acked_len: u32,
    /// Other events.
    pub events: Events,
}

impl Tcb {
    /// Takes a segment that is exactly expected: in order, acknowledging all that was sent, within the window, with nothing
    /// unusual under way. `None`, and nothing has changed, for any other: that one is for [`Tcb::on_segment`].
    #[inline(always)]
    pub fn predict(&mut self, seg: &ExpectedSegment, env: &mut Env<'_>) -> Option<Prediction> {
        if !self.expects(seg) {
            return None;
        }
        let mut events = Events::NONE;
        self.heard_ms = ms(env.now);
        self.predict_timestamp(seg, env);
        let state = self.state;
        let is_opening = state == State::SynReceivedPassive;
        let acked = seg.ack.since(self.snd_una);
        let mut acked_len = 0;
        if acked > 0 {
            let acks_fin = u32::from(self.bits.has(Bits::FIN_SENT));
            acked_len = acked - u32::from(is_opening) - acks_fin;
            self.predict_ack(seg, acked, is_opening, env);
        }
        let mut outcome = Outcome::PureAck;
        if is_opening {
            self.transition(Event::AckOfSyn, env);
            self.snd_wnd.set(seg.window_update(), self.snd_scale());
            self.predict_opened(env);
            events.add(Events::OPENED);
            outcome = Outcome::Handshake;
        } else {
            self.snd_wnd.update(seg.window_update(), self.snd_scale());
            if self.bits.has(Bits::FIN_SENT) {
                events.add(self.predict_ack_of_fin(env));
            }
        }
        if seg.payload_len > 0 || seg.flags.fin() {
            events.add(self.predict_text(seg, env));
            if !is_opening {
                outcome = Outcome::InOrder;
            }
        }
        env.counters.count(outcome);
        env.counters.predicted(state);
        Some(Prediction { acked_len, events })
    }

    /// The same for the SYN-ACK of an active open whose SYN went out once: it acknowledges that, and brings nothing besides.
    #[inline(always)]
    pub fn predict_syn_ack(&mut self, seg: &Segment, env: &mut Env<'_>) -> Option<Prediction> {
        //~ A SYN-ACK is predicted in SYN-SENT: `self.state == State::SynSent` -> `true`;
        //~   prediction_is_right_while_a_connection_opens
        //~ A predicted SYN-ACK has no other flags: `&& seg.flags == Flags::SYN_ACK` -> nothing;
        //~   prediction_is_right_while_a_connection_opens
        //~ A predicted SYN-ACK has no text: `&& seg.payload_len == 0` -> nothing;
        //~   prediction_is_right_while_a_connection_opens
        //~ A predicted SYN-ACK acknowledges our SYN: `&& seg.ack == self.snd_nxt` -> nothing;
        //~   prediction_is_right_while_a_connection_opens
        //~ A SYN-ACK is predicted once our SYN was sent: `&& self.flight() == 1` -> nothing;
        //~   prediction_is_right_while_a_connection_opens
        //~ A SYN-ACK is predicted unless our SYN was lost: `has(UNUSUAL)` -> `has(UNUSUAL & !Bits::SYN_LOST)`;
        //~   prediction_is_right_while_a_connection_opens
        let is_expected = self.state == State::SynSent
            && seg.flags == Flags::SYN_ACK
            && seg.payload_len == 0
            && seg.ack == self.snd_nxt
            && self.flight() == 1
            && !self.bits.has(UNUSUAL);
        if !is_expected {
            return None;
        }
        self.learn_syn(seg, env);
        self.snd_wnd.set(WindowUpdate::of(seg), 0);
        self.heard_ms = ms(env.now);
        let echo = seg.options.timestamps.map(|option| option.tsecr);
        self.sample_rtt(seg.ack, echo, env);
        self.snd_una = seg.ack;
        self.rtx_timer = Deadline::OFF;
        self.transition(Event::SynAck, env);
        self.predict_opened(env);
        self.ack.now();
        env.counters.count(Outcome::Handshake);
        env.counters.predicted(State::SynSent);
        Some(Prediction {
            acked_len: 0,
            events: Events::OPENED,
        })
    }

    /// Whether this is the segment that the connection expects.
    #[inline(always)]
    fn expects(&self, seg: &ExpectedSegment) -> bool {
        //~ A predicted segment begins at RCV.NXT: `seg.seq == self.rcv.nxt` -> `true`;
        //~   prediction_is_right_near_what_is_expected
        //~ A predicted segment acknowledges all that was sent: `seg.ack == self.snd_nxt` -> `true`;
        //~   prediction_is_right_near_what_is_expected
        //~ A predicted segment has ACK, PSH and FIN at most:
        //~   `&& seg.flags.without(Flags::FIN).without(Flags::PSH) == Flags::ACK` -> nothing;
        //~   prediction_is_right_near_what_is_expected
        //~ A predicted segment has neither ECE nor CWR: `without(Flags::FIN)` -> `without(Flags(0xc1))`;
        //~   the_extraordinary_is_not_predicted
        //~ Nothing is predicted of what is unusual: `|| self.is_unusual()` -> nothing;
        //~   prediction_is_right_whatever_is_under_way
        let is_in_order = seg.seq == self.rcv.nxt
            && seg.ack == self.snd_nxt
            && seg.flags.without(Flags::FIN).without(Flags::PSH) == Flags::ACK;
        if !is_in_order || self.is_unusual() {
            return false;
        }
        //~ Timestamps are predicted where they were negotiated: `self.bits.has(Bits::TIMESTAMPS) &&` -> nothing;
        //~   prediction_is_right_near_what_is_expected
        //~ A predicted timestamp is not old: `&& !self.ts.is_old(option.tsval)` -> nothing;
        //~   prediction_is_right_near_what_is_expected
        //~ A segment without timestamps is predicted where there are none: `None => !self.bits.has(Bits::TIMESTAMPS)`
        //~   -> `None => true`; prediction_is_right_near_what_is_expected
        let fits_timestamps = match seg.timestamps {
            Some(option) => self.bits.has(Bits::TIMESTAMPS) && !self.ts.is_old(option.tsval),
            None => !self.bits.has(Bits::TIMESTAMPS),
        };
        //~ A predicted segment ends within the window: `|| len > self.rcv.size()` -> nothing;
        //~   prediction_is_right_whatever_is_under_way
        //~ A predicted FIN counts as a number: `+ u32::from(seg.flags.fin())` -> nothing;
        //~   prediction_is_right_whatever_is_under_way
        // The FIN counts too: a window that it would fill is for the steps to judge.
        let len = seg.payload_len + u32::from(seg.flags.fin());
        if !fits_timestamps || len > self.rcv.size() {
            return false;
        }
        //~ Nothing is predicted behind a FIN that came ahead: `!self.bits.has(Bits::FIN_AHEAD)` -> `true`;
        //~   prediction_is_right_whatever_is_under_way
        //~ No text is predicted once the app has closed: `(seg.payload_len == 0 || !self.bits.has(Bits::APP_CLOSED))`
        //~   -> `true`; prediction_is_right_whatever_is_under_way
        //~ Nothing is predicted behind the FIN: `=> len == 0` -> `=> true`; prediction_is_right_whatever_is_under_way
        //~ The ACK of a SYN-ACK is predicted when that was sent: `seg.ack != self.snd_una &&` -> nothing;
        //~   prediction_is_right_while_a_connection_opens
        //~ The ACK of a SYN-ACK is predicted unless a FIN is to follow: `&& !self.bits.has(Bits::FIN_WANTED)`
        //~   -> nothing; prediction_is_right_while_a_connection_opens
        //~ Nothing is predicted in other states: `_ => false` -> `_ => true`;
        //~   prediction_is_right_whatever_is_under_way
        match self.state {
            State::Established | State::FinWait1 | State::FinWait2 => {
                !self.bits.has(Bits::FIN_AHEAD)
                    && (seg.payload_len == 0 || !self.bits.has(Bits::APP_CLOSED))
            }
            State::CloseWait | State::LastAck => len == 0,
            State::SynReceivedPassive => {
                seg.ack != self.snd_una && !self.bits.has(Bits::FIN_WANTED)
            }
            _ => false,
        }
    }

    /// Whether something is under way that makes a segment more than its numbers: a loss, a closed window, a gap, urgent data.
    #[inline(always)]
    fn is_unusual(&self) -> bool {
        //~ It is unusual that a window probe is due: `UNUSUAL` -> `UNUSUAL & !Bits::PROBE_DUE`;
        //~   prediction_is_right_whatever_is_under_way
        //~ It is unusual that a keepalive probe is due: `UNUSUAL` -> `UNUSUAL & !Bits::KEEPALIVE_DUE`;
        //~   prediction_is_right_whatever_is_under_way
        //~ It is unusual that the override is due: `UNUSUAL` -> `UNUSUAL & !Bits::FORCE_SEND`;
        //~   prediction_is_right_whatever_is_under_way
        //~ It is unusual that our SYN was lost: `UNUSUAL` -> `UNUSUAL & !Bits::SYN_LOST`;
        //~   an_embryo_grows_up_with_the_window_it_offered
        //~ It is unusual that urgent data is to be sent: `UNUSUAL` -> `UNUSUAL & !Bits::URGENT_OUT`;
        //~   prediction_is_right_whatever_is_under_way
        //~ It is unusual that urgent data came: `UNUSUAL` -> `UNUSUAL & !Bits::URGENT_IN`;
        //~   the_extraordinary_is_not_predicted
        //~ It is unusual that something is to be sent again: `|| self.rtx_nxt != self.snd_nxt` -> nothing;
        //~   prediction_is_right_whatever_is_under_way
        //~ It is unusual that the timer has expired: `= self.expiries` -> `= 0`;
        //~   prediction_is_right_whatever_is_under_way
        //~ It is unusual that the timer stands for something else: `| (self.timer_mode as u8)`
        //~   -> nothing; prediction_is_right_whatever_is_under_way
        //~ It is unusual that the window is closed: `|| self.snd_wnd.size == 0` -> nothing;
        //~   the_extraordinary_is_not_predicted
        //~ It is unusual that something came ahead: `| u8::from(self.has_ranges)` -> nothing;
        //~   prediction_is_right_whatever_is_under_way
        //~ It is unusual that duplicate ACKs are owed: `| self.ack.duplicates_owed()` -> nothing;
        //~   prediction_is_right_whatever_is_under_way
        //~ It is unusual that a loss is being repaired, or suspected: `| self.congestion.signs_of_loss()` -> nothing;
        //~   the_extraordinary_is_not_predicted
        // One test of numbers that are mostly all zero, not a jump for each.
        let is_under_way = self.expiries
            | (self.timer_mode as u8)
            | u8::from(self.has_ranges)
            | self.ack.duplicates_owed()
            | self.congestion.signs_of_loss();
        self.bits.has(UNUSUAL)
            || self.rtx_nxt != self.snd_nxt
            || self.snd_wnd.size == 0
            || is_under_way != 0
    }

    /// RFC 7323 §5.3 R3: PAWS let it pass.
    #[inline(always)]
    fn predict_timestamp(&mut self, seg: &ExpectedSegment, env: &Env<'_>) {
        //~ Prediction moves TS.Recent by Last.ACK.sent: `&& self.ts.update(option.tsval, seg.seq)`
        //~   -> `&& { self.ts.recent = option.tsval; true }`; prediction_is_right_whatever_is_under_way
        if let Some(option) = seg.timestamps
            && option.tsval != self.ts.recent
            && self.ts.update(option.tsval, seg.seq)
        {
            self.cold.ts_recent_s = timestamps::now_s(env.now);
        }
    }

    /// All that was in flight is acknowledged: RTT sample, congestion window, the timer stops.
    #[inline(always)]
    fn predict_ack(&mut self, seg: &ExpectedSegment, acked: u32, is_opening: bool, env: &Env<'_>) {
        let echo = seg.timestamps.map(|option| option.tsecr);
        self.sample_rtt(seg.ack, echo, env);
        self.snd_una = seg.ack;
        if !is_opening {
            let (flight, mss) = (acked, self.mss());
            // Not in recovery, so it asks for no retransmission.
            let _ = self.congestion.on_ack(Ack {
                ack: seg.ack,
                acked,
                flight,
                mss,
            });
        }
        self.rtx_timer = Deadline::OFF;
    }

    /// The part of [`Tcb::opened`] for a connection whose SYN-ACK went out once.
    #[inline(always)]
    pub(super) fn predict_opened(&mut self, env: &Env<'_>) {
        let initial = env.settings.initial_window;
        self.congestion = crate::tcp::congestion::Congestion::new(self.mss(), initial);
        self.sent_ms = ms(env.now);
        self.arm_keepalive(env);
    }

    /// FIN-WAIT-1 and LAST-ACK: our FIN is acknowledged.
    #[inline(always)]
    fn predict_ack_of_fin(&mut self, env: &mut Env<'_>) -> Events {
        match self.state {
            State::LastAck => self.finish(Event::AckOfFin, CloseReason::Graceful, env),
            State::FinWait1 => {
                self.transition(Event::AckOfFin, env);
                if self.bits.has(Bits::APP_CLOSED) {
                    self.arm_slow(env.now, env.settings.profile.fin_wait_2);
                }
                Events::NONE
            }
            _ => Events::NONE,
        }
    }

    /// Text in order, and the FIN behind it.
    #[inline(always)]
    pub(super) fn predict_text(&mut self, seg: &ExpectedSegment, env: &mut Env<'_>) -> Events {
        let mut events = Events::NONE;
        if seg.payload_len > 0 {
            self.rcv.take(seg.payload_len);
            if self
                .ack
                .in_order(false, &mut self.ack_timer, env.now, env.settings)
            {
                events.add(Events::ACK_NOW);
            }
        }
        if seg.flags.fin() {
            self.cold.rcv_fin = self.rcv.nxt;
            self.bits.set(Bits::FIN_AHEAD);
            self.rcv.take_fin();
            self.ack.now();
            events.add(Events::PEER_CLOSED);
            self.transition(Event::Fin, env);
            if self.state == State::TimeWait {
                events.add(self.enter_time_wait(env));
            }
        }
        events
    }
}

/// A segment to send that has no option but timestamps and no urgent data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlainSegment {
    /// Sequence number.
    pub seq: SeqNum,
    /// Acknowledgment number.
    pub ack: SeqNum,
    /// Control bits.
    pub flags: Flags,
    /// The window field, scaled already.
    pub window: u16,
    /// Bytes of payload: all that is queued, or none.
    pub payload_len: u32,
    /// Timestamps, where they are in use.
    pub timestamps: Option<TimestampOption>,
}

impl Tcb {
    /// The segment that goes out now, where it is the only one and an ordinary one: an ACK, or all that is queued, with the FIN
    /// that may follow it. As with [`Tcb::poll_output`], for TCP it is sent then. `None` for anything else, which is for
    /// `poll_output` to say. `unsent_len` is what is queued and was never sent, in bytes.
    #[inline(always)]
    pub fn predict_output(&mut self, unsent_len: u32, env: &mut Env<'_>) -> Option<PlainSegment> {
        //~ Output is predicted in states that send: `!(self.state.sends_text() || only_acks) ||` -> nothing;
        //~   the_peers_syn_again_brings_our_syn_ack_again_within_the_limit
        //~ No output is predicted of what is unusual: `|| self.is_unusual()` -> nothing;
        //~   prediction_is_right_whatever_is_under_way
        //~ A predicted ACK is owed: `} else if self.ack.is_due() {` -> `} else if true {`;
        //~   prediction_is_right_whatever_is_under_way
        //~ A predicted ACK stays within a window that shrank: `seq = self.acceptable_seq()` -> `seq = self.snd_nxt`;
        //~   prediction_is_right_whatever_is_under_way
        let only_acks = matches!(self.state, State::FinWait2 | State::TimeWait);
        if !(self.state.sends_text() || only_acks) || self.is_unusual() {
            return None;
        }
        let fin_due = self.bits.has(Bits::FIN_WANTED) && !self.bits.has(Bits::FIN_SENT);
        let mut flags = Flags::ACK;
        let mut seq = self.snd_nxt;
        if unsent_len > 0 || fin_due {
            if !self.lets_all_go(unsent_len, fin_due, env) {
                return None;
            }
            if fin_due {
                flags = flags.with(Flags::FIN);
                self.bits.set(Bits::FIN_SENT);
            }
            if unsent_len > 0 {
                flags = flags.with(Flags::PSH);
            }
            self.send_all(unsent_len + u32::from(fin_due), unsent_len, env);
        } else if self.ack.is_due() {
            seq = self.acceptable_seq();
        } else {
            return None;
        }
        self.ack.sent(flags == Flags::ACK, &mut self.ack_timer);
        self.ts.last_ack_sent = self.rcv.nxt;
        let with_timestamps = self.bits.has(Bits::TIMESTAMPS);
        Some(PlainSegment {
            seq,
            ack: self.rcv.nxt,
            flags,
            window: self.rcv.offer(self.mss(), self.rcv_scale()),
            payload_len: unsent_len,
            timestamps: with_timestamps.then(|| self.ts.option(env.now, true)),
        })
    }

    /// Whether both windows, the MSS and Nagle let all that is queued go in one segment, with the FIN if that is due.
    #[inline(always)]
    fn lets_all_go(&mut self, unsent_len: u32, fin_due: bool, env: &Env<'_>) -> bool {
        //~ No text is predicted behind our FIN: -> `if false {`;
        //~   prediction_is_right_whatever_is_under_way
        if self.bits.has(Bits::FIN_SENT) {
            return false;
        }
        let flight = self.flight();
        if flight == 0 {
            //~ Predicted text after an idle time finds the restart window;
            //~   prediction_is_right_whatever_is_under_way
            self.restart_after_idle(env);
        }
        let mss = self.mss();
        let usable = self.snd_wnd.size.saturating_sub(flight);
        let congestion = self.congestion.window().saturating_sub(flight);
        let sml = self.snd_sml.since(self.snd_una);
        let small_in_flight = sml != 0 && sml <= flight;
        let is_held = env.settings.profile.nagle && !fin_due && small_in_flight;
        //~ Predicted text is one segment: `unsent_len <= mss` -> `true`; prediction_is_right_whatever_is_under_way
        //~ Predicted text fits into the window of the peer: `&& unsent_len + u32::from(fin_due) <= usable` -> nothing;
        //~   prediction_is_right_whatever_is_under_way
        //~ A predicted FIN fits into the window of the peer: `unsent_len + u32::from(fin_due) <= usable`
        //~   -> `unsent_len <= usable`; prediction_is_right_whatever_is_under_way
        //~ Predicted text fits into cwnd: `&& unsent_len <= congestion` -> nothing;
        //~   prediction_is_right_whatever_is_under_way
        //~ Nagle holds predicted text: `&& (!is_held || unsent_len == mss)` -> nothing;
        //~   prediction_is_right_whatever_is_under_way
        unsent_len <= mss
            && unsent_len + u32::from(fin_due) <= usable
            && unsent_len <= congestion
            && (!is_held || unsent_len == mss)
    }

    /// Notes that all that is queued goes out: `seq_len` numbers, `text_len` of them text.
    #[inline(always)]
    fn send_all(&mut self, seq_len: u32, text_len: u32, env: &Env<'_>) {
        self.snd_nxt = self.snd_nxt.add(seq_len);
        self.rtx_nxt = self.snd_nxt;
        if text_len < self.mss() {
            self.snd_sml = self.snd_nxt;
        }
        self.rtt_timer.start(self.snd_nxt, env.now);
        self.sent_ms = ms(env.now);
        //~ Predicted text in flight does not restart the timer: `if self.rtx_timer.is_off() {` -> `if true {`;
        //~   prediction_is_right_whatever_is_under_way
        if self.rtx_timer.is_off() {
            self.rtx_timer = Deadline::after_us(env.now, self.rto.us());
        }
    }
}

/// Our first SYN, where it offers all that we can: MSS, window scale and timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstSyn {
    /// ISS.
    pub seq: SeqNum,
    /// The window field, never scaled.
    pub window: u16,
    /// The MSS that we announce, in bytes.
    pub mss: u16,
    /// Rcv.Wind.Shift.
    pub window_scale: u8,
    /// TSval.
    pub tsval: u32,
}

impl Tcb {
    /// The first SYN of an active open; for TCP it is sent then. `None` when it was sent before, or offers less, or SACK: then
    /// [`Tcb::poll_output`] says what goes out.
    #[inline(always)]
    pub fn predict_syn(&mut self, env: &Env<'_>) -> Option<FirstSyn> {
        //~ A predicted SYN offers timestamps: `self.bits.has(Bits::TIMESTAMPS) &&` -> nothing;
        //~   prediction_is_right_while_a_connection_opens
        //~ A predicted SYN offers a scale: `&& self.bits.has(Bits::SCALING)` -> nothing;
        //~   prediction_is_right_while_a_connection_opens
        //~ A predicted SYN is the first: `|| !self.is_syn_unsent()` -> nothing;
        //~   prediction_is_right_while_a_connection_opens
        let offers_all = self.bits.has(Bits::TIMESTAMPS) && self.bits.has(Bits::SCALING);
        if OFFERS_SACK || !offers_all || !self.is_syn_unsent() {
            return None;
        }
        self.snd_nxt = self.snd_una.add(1);
        self.rtx_nxt = self.snd_nxt;
        self.rtt_timer.start(self.snd_nxt, env.now);
        self.arm_retransmission(env);
        self.ack.sent(false, &mut self.ack_timer);
        Some(FirstSyn {
            seq: self.snd_una,
            window: self.rcv.offer_unscaled(),
            mss: self.cold.params.local_mss,
            window_scale: self.rcv_scale(),
            tsval: self.ts.option(env.now, false).tsval,
        })
    }
}
