//! How a [`Tcb`] comes into being: by our SYN, by the peer's, or after an embryo or a cookie has answered it.
//!
//! It must never take from a SYN what ours didn't offer.

use super::deadline::Deadline;
use super::env::Env;
use super::handshake::AnsweredSyn;
use super::negotiated::Negotiated;
use super::predict::{ExpectedSegment, Prediction};
use super::segment::{OFFERS_SACK, Segment};
use super::state::{Event, State};
use super::tcb::{OpenParams, Tcb, Terms, our_scale};
use super::timestamps;
use super::verdict::{Events, Outcome};
use super::window::{self, ReceiveWindow, SendWindow, WindowUpdate};
use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::time::Instant;

/// Time at which a SYN-ACK went out that neither an open connection nor its timer sent, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynAckSent {
    /// Once, then: the ACK gives a sample of the round-trip time (RFC 6298 §3).
    Once(Instant),
    /// More than once, and the ACK doesn't say which it answers (Karn); or by a cookie, which keeps nothing so fine.
    Unknown,
    /// Again by the timer: lost, or late (RFC 6298 §5.7).
    Again,
}

impl Tcb {
    /// An active open: the next `poll_output` gives the SYN (RFC 9293 §3.10.1).
    #[must_use]
    pub fn connect(params: OpenParams, env: &mut Env<'_>) -> Self {
        let mut tcb = Self::closed(env);
        tcb.open_actively(&params, env);
        tcb
    }

    /// [`Tcb::connect`] in the place of a connection that has ended.
    #[inline]
    pub fn open_actively(&mut self, params: &OpenParams, env: &mut Env<'_>) {
        self.begin(params, env);
        self.transition(Event::ActiveOpen, env);
    }

    /// A connection that isn't open yet.
    #[must_use]
    pub fn closed(env: &Env<'_>) -> Self {
        let params = OpenParams {
            iss: SeqNum(0),
            timestamp_offset: 0,
            local_mss: env.settings.mss_min,
            path_mss: env.settings.mss_min,
            default_peer_mss: env.settings.mss_min,
            rcv_buf: 0,
        };
        Self::new(params, env)
    }

    /// A passive open by this SYN, without an embryo: the next `poll_output` gives the SYN-ACK (§3.10.7.2, third).
    /// Payload of the SYN is not taken; the peer sends it again.
    #[must_use]
    #[inline]
    pub fn accept(params: OpenParams, syn: &Segment, env: &mut Env<'_>) -> Self {
        let mut tcb = Self::closed(env);
        tcb.listen(&params, env);
        tcb.learn_syn(syn, env);
        tcb.snd_wnd.set(WindowUpdate::of(syn), 0);
        tcb
    }

    /// A passive open whose SYN-ACK was sent by an embryo or a cookie, with this window field: the ACK that completes
    /// it is to be given to `on_segment` next. In the place of a connection that has ended.
    #[inline(never)]
    pub fn open_answered(
        &mut self,
        params: &OpenParams,
        syn: &AnsweredSyn,
        offered_window: u16,
        syn_ack: SynAckSent,
        env: &mut Env<'_>,
    ) {
        self.begin_on(params, &Terms::agreed(params, &syn.negotiated, env), env);
        self.await_ack(env);
        self.cold.irs = syn.irs;
        if syn.negotiated.timestamps {
            self.learn_timestamp(syn.ts_recent, syn.irs.add(1), env);
        }
        self.snd_wnd = SendWindow::resume(syn.window.into(), syn.irs, SeqNum(0));
        self.rcv = ReceiveWindow::resume(syn.irs.add(1), offered_window.into(), params.rcv_buf);
        self.snd_nxt = params.iss.add(1);
        self.rtx_nxt = self.snd_nxt;
        self.rtx_timer = Deadline::after_us(env.now, self.rto.us());
        match syn_ack {
            //~ A SYN-ACK sent once gives a sample: `self.rtt_timer.start(self.snd_nxt, at)` -> `{ let _ = at; }`;
            //~   the_ack_of_a_syn_ack_sent_once_is_a_sample
            SynAckSent::Once(at) => self.rtt_timer.start(self.snd_nxt, at),
            SynAckSent::Unknown => {}
            SynAckSent::Again => self.bits.set(Bits::SYN_LOST),
        }
    }

    /// [`Tcb::open_answered`] and [`Tcb::predict`] of the ACK that completes it, in one step: each number is written once. The
    /// caller has seen that it is this: it begins the window, acknowledges our SYN, has ACK and besides it PSH and FIN at most, and
    /// its timestamp, if it has one, is not old. `None`, and nothing has changed, where it is unusual in another way.
    #[inline(always)]
    pub fn open_expected(
        &mut self,
        params: &OpenParams,
        syn: &AnsweredSyn,
        (offered_window, syn_ack): (u16, SynAckSent),
        seg: &ExpectedSegment,
        env: &mut Env<'_>,
    ) -> Option<Prediction> {
        let negotiated = &syn.negotiated;
        let len = seg.payload_len + u32::from(seg.flags.fin());
        //~ A final ACK opens in one step with timestamps where they were agreed on:
        //~   `seg.timestamps.is_some() == negotiated.timestamps` -> `true`; the_final_ack_opens_in_one_step_as_in_two
        //~ A final ACK opens in one step within the window: `&& len <= offered_window.into()` -> `&& len < u32::MAX`;
        //~   the_final_ack_opens_in_one_step_as_in_two
        //~ A final ACK opens in one step unless our SYN-ACK was lost: `&& syn_ack != SynAckSent::Again` -> nothing;
        //~   the_final_ack_opens_in_one_step_as_in_two
        let is_usual = seg.timestamps.is_some() == negotiated.timestamps
            && len <= offered_window.into()
            && syn_ack != SynAckSent::Again;
        if !is_usual {
            return None;
        }
        let rcv_nxt = syn.irs.add(1);
        self.begin_on(params, &Terms::agreed(params, negotiated, env), env);
        self.await_ack(env);
        self.cold.irs = syn.irs;
        if let Some(option) = seg.timestamps {
            // Not older than that of the SYN, and it begins where the SYN ended: TS.Recent moves.
            self.learn_timestamp(option.tsval, rcv_nxt, env);
        }
        self.rcv = ReceiveWindow::resume(rcv_nxt, offered_window.into(), params.rcv_buf);
        (self.snd_nxt, self.rtx_nxt, self.snd_una) = (seg.ack, seg.ack, seg.ack);
        if let SynAckSent::Once(at) = syn_ack {
            self.rtt_timer.start(seg.ack, at);
        }
        self.sample_rtt(seg.ack, seg.timestamps.map(|option| option.tsecr), env);
        self.transition(Event::AckOfSyn, env);
        self.snd_wnd = SendWindow::resume(syn.window.into(), syn.irs, SeqNum(0));
        self.snd_wnd.set(seg.window_update(), self.snd_scale());
        self.predict_opened(env);
        let mut events = Events::OPENED;
        if len > 0 {
            events.add(self.predict_text(seg, env));
        }
        env.counters.count(Outcome::Handshake);
        env.counters.predicted(State::SynReceivedPassive);
        Some(Prediction {
            acked_len: 0,
            events,
        })
    }

    /// The listener's state, in which a SYN has come.
    #[inline(always)]
    fn listen(&mut self, params: &OpenParams, env: &mut Env<'_>) {
        self.begin(params, env);
        self.await_ack(env);
    }

    /// LISTEN is the listener's state; the arrow is taken on its behalf.
    #[inline(always)]
    fn await_ack(&mut self, env: &mut Env<'_>) {
        self.state = State::Listen;
        self.transition(Event::Syn, env);
    }

    /// Takes what the peer's SYN says: numbers and options (RFC 9293 §3.7.1, RFC 7323 §2.3 and §3.2).
    #[inline(always)]
    pub(super) fn learn_syn(&mut self, syn: &Segment, env: &Env<'_>) {
        let mut offer = syn.options;
        // Options that our SYN doesn't carry are not negotiated.
        if !self.bits.has(Bits::TIMESTAMPS) {
            offer.timestamps = None;
        }
        if !self.bits.has(Bits::SCALING) {
            offer.window_scale = None;
        }
        //~ SACK-permitted counts if both SYNs had it: -> `offer.sack_permitted &= true;`;
        //~   options_are_used_only_if_both_sides_sent_them
        offer.sack_permitted &= OFFERS_SACK;
        let default_mss = self.cold.params.default_peer_mss;
        let negotiated = Negotiated::new(&offer, default_mss);
        let ts_recent = offer.timestamps.map_or(0, |option| option.tsval);
        self.agree(syn.seq, ts_recent, &negotiated, env);
    }

    /// Both SYNs are known.
    #[inline(always)]
    fn agree(&mut self, irs: SeqNum, ts_recent: u32, negotiated: &Negotiated, env: &Env<'_>) {
        self.cold.irs = irs;
        self.rcv.start(irs);
        if negotiated.timestamps {
            self.learn_timestamp(ts_recent, self.rcv.nxt, env);
        }
        self.set_negotiated(negotiated, env);
    }

    /// TSval of the peer's SYN.
    #[inline(always)]
    fn learn_timestamp(&mut self, ts_recent: u32, rcv_nxt: SeqNum, env: &Env<'_>) {
        self.ts.recent = ts_recent;
        self.ts.last_ack_sent = rcv_nxt;
        self.cold.ts_recent_s = timestamps::now_s(env.now);
    }

    #[inline]
    pub(super) fn set_negotiated(&mut self, negotiated: &Negotiated, env: &Env<'_>) {
        const AGREED: u16 = Bits::TIMESTAMPS | Bits::SCALING | Bits::SACK_PERMITTED;
        self.bits.clear(AGREED);
        self.bits.set_all(agreed_bits(negotiated));
        self.scales = match negotiated.window_scale {
            Some(scale) => self.rcv_scale() | scale.min(window::SCALE_MAX) << 4,
            None => 0,
        };
        self.cold.peer_mss = negotiated.peer_mss;
        self.set_path_mss(self.cold.params.path_mss, env);
    }
}

/// The options that two SYNs agreed on, as bits of a connection.
#[inline(always)]
fn agreed_bits(negotiated: &Negotiated) -> Bits {
    let mut bits = Bits::default();
    for (bit, is_set) in [
        (Bits::TIMESTAMPS, negotiated.timestamps),
        (Bits::SCALING, negotiated.window_scale.is_some()),
        (Bits::SACK_PERMITTED, negotiated.sack_permitted),
    ] {
        if is_set {
            bits.set(bit);
        }
    }
    bits
}

impl Terms {
    /// The options that both SYNs agreed on.
    #[inline(always)]
    fn agreed(params: &OpenParams, negotiated: &Negotiated, env: &Env<'_>) -> Self {
        let scales = match negotiated.window_scale {
            Some(scale) => our_scale(params, env) | scale.min(window::SCALE_MAX) << 4,
            None => 0,
        };
        let mss = negotiated.peer_mss.min(params.path_mss);
        Self {
            bits: agreed_bits(negotiated),
            scales,
            peer_mss: negotiated.peer_mss,
            mss: mss
                .saturating_sub(negotiated.options_len())
                .max(env.settings.mss_min),
        }
    }
}
