//! The output of a connection, one segment at a time: [`Tcb::poll_output`].
//!
//! It must never be asked for a segment that the caller can't send: numbers advance when it answers.

use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::tcp::deadline::Deadline;
use crate::tcp::env::Env;
use crate::tcp::nagle::Question;
use crate::tcp::persist;
use crate::tcp::retransmit::TimerMode;
use crate::tcp::segment::{Flags, OFFERS_SACK, SegmentOptions, SendPlan};
use crate::tcp::state::State;
use crate::tcp::tcb::{Tcb, ms};

/// The data that the application has queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unsent {
    /// Bytes queued behind SND.NXT, never sent before.
    pub len: u32,
}

/// A stretch of sequence space about to go out.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    seq: SeqNum,
    len: u32,
    fin: bool,
    push: bool,
    is_retransmission: bool,
}

impl Tcb {
    /// Whether [`Tcb::poll_output`] has nothing to say: known at a glance for most connections that have been asked once.
    /// False decides nothing.
    #[must_use]
    #[inline(always)]
    pub fn is_silent(&self, unsent: Unsent) -> bool {
        const DUE: u16 = Bits::RST_DUE | Bits::PROBE_DUE | Bits::KEEPALIVE_DUE;
        let fin = self.bits.has(Bits::FIN_WANTED) && !self.bits.has(Bits::FIN_SENT);
        let owes = self.bits.has(DUE) || fin || unsent.len > 0 || self.ack.is_due();
        !owes && self.rtx_nxt == self.snd_nxt && !self.is_opening()
    }

    /// The next segment that should go out now, or `None`. The caller sends what it gets: for TCP it is sent.
    pub fn poll_output(&mut self, unsent: Unsent, env: &mut Env<'_>) -> Option<SendPlan> {
        if self.bits.take(Bits::RST_DUE) {
            return Some(self.reset(env));
        }
        match self.state {
            State::Closed | State::Listen => None,
            State::SynSent | State::SynReceivedPassive | State::SynReceivedActive => {
                self.handshake_segment(env)
            }
            State::TimeWait => self.owed_ack(env),
            _ => self.ordinary_segment(unsent, env),
        }
    }

    fn ordinary_segment(&mut self, unsent: Unsent, env: &mut Env<'_>) -> Option<SendPlan> {
        //~ Duplicate ACKs go before data: -> `if false {`; acks_of_what_lies_ahead_go_before_data
        if self.ack.owes_duplicate() {
            return self.owed_ack(env); // before data: the peer counts only segments without any
        }
        if let Some(stretch) = self.to_retransmit() {
            return Some(self.retransmit(stretch, env));
        }
        if self.bits.take(Bits::PROBE_DUE)
            && let Some(plan) = self.probe_window(unsent, env)
        {
            return Some(plan);
        }
        if self.bits.take(Bits::KEEPALIVE_DUE) {
            // §3.8.4: SEG.SEQ = SND.NXT-1, no data (SHLD-12).
            env.counters.keepalive_probes += 1;
            //~ A keepalive probe pays no ACK: `self.probe(self.snd_nxt.sub(1), env)`
            //~   -> `self.plan(self.snd_nxt.sub(1), Flags::ACK, 0, env)`; a_keepalive_probe_pays_no_ack
            //~ A keepalive probe lies below SND.NXT, so that it is answered: `self.probe(self.snd_nxt.sub(1), env)`
            //~   -> `self.probe(self.snd_nxt, env)`; keepalive_probes_an_idle_peer_and_gives_up_after_nine
            return Some(self.probe(self.snd_nxt.sub(1), env));
        }
        if let Some(plan) = self.new_segment(unsent, env) {
            return Some(plan);
        }
        self.watch_window(unsent, env);
        self.owed_ack(env)
    }

    /// A pure ACK, if one is owed.
    fn owed_ack(&mut self, env: &mut Env<'_>) -> Option<SendPlan> {
        self.ack
            .is_due()
            .then(|| self.plan(self.acceptable_seq(), Flags::ACK, 0, env))
    }

    /// SND.NXT, unless the peer's window shrank below it: the peer would drop an ACK from beyond its window.
    pub(super) fn acceptable_seq(&self) -> SeqNum {
        //~ ACKs stay within a window that shrank: -> `self.snd_nxt`; acks_stay_within_a_window_that_shrank
        self.snd_una.add(self.flight().min(self.snd_wnd.size))
    }

    /// §3.10.5 and §3.10.4: `<SEQ=SND.NXT><CTL=RST>`; with an ACK, which no receiver minds and middleboxes like, and with
    /// timestamps where they are in use (RFC 7323 §3.2, a SHOULD).
    fn reset(&self, env: &Env<'_>) -> SendPlan {
        let with_timestamps = self.bits.has(Bits::TIMESTAMPS);
        SendPlan {
            seq: self.acceptable_seq(),
            ack: self.rcv.nxt,
            flags: Flags::RST_ACK,
            options: SegmentOptions {
                //~ Our resets carry timestamps where they are in use:
                //~   `with_timestamps.then(|| self.ts.option(env.now, true))` -> `None`;
                //~   a_reset_carries_timestamps_where_they_are_in_use
                timestamps: with_timestamps.then(|| self.ts.option(env.now, true)),
                ..SegmentOptions::default()
            },
            ..SendPlan::default()
        }
    }

    /// SYN or SYN-ACK, first or again; in SYN-RECEIVED also an owed ACK.
    fn handshake_segment(&mut self, env: &mut Env<'_>) -> Option<SendPlan> {
        let answers = self.state != State::SynSent;
        if self.rtx_nxt != self.snd_una {
            return if answers { self.owed_ack(env) } else { None };
        }
        let is_retransmission = self.snd_nxt != self.snd_una;
        self.snd_nxt = self.snd_una.add(1);
        self.rtx_nxt = self.snd_nxt;
        if is_retransmission {
            env.counters.retransmitted_segments += 1;
            self.cold.retransmissions = self.cold.retransmissions.saturating_add(1);
            //~ A SYN sent again stops the timing (Karn); a_lost_syn_starts_data_with_one_segment_and_three_seconds
            self.rtt_timer.cancel();
        } else {
            self.rtt_timer.start(self.snd_nxt, env.now);
        }
        self.arm_retransmission(env);
        self.ack.sent(false, &mut self.ack_timer);
        Some(SendPlan {
            seq: self.snd_una,
            ack: if answers { self.rcv.nxt } else { SeqNum(0) },
            flags: if answers { Flags::SYN_ACK } else { Flags::SYN },
            window: self.rcv.offer_unscaled(),
            options: self.syn_options(answers, env),
            is_retransmission,
            ..SendPlan::default()
        })
    }

    /// MSS always (MAY-3); the others as offered, or as the peer's SYN had them.
    fn syn_options(&self, answers: bool, env: &Env<'_>) -> SegmentOptions {
        SegmentOptions {
            mss: Some(self.cold.params.local_mss),
            window_scale: self.bits.has(Bits::SCALING).then_some(self.rcv_scale()),
            sack_permitted: OFFERS_SACK,
            timestamps: self
                .bits
                .has(Bits::TIMESTAMPS)
                .then(|| self.ts.option(env.now, answers)),
        }
    }

    /// Data between `rtx_nxt` and SND.NXT, as far as the peer's window and the loss window let it go. The oldest
    /// segment doesn't wait for the congestion window (RFC 5681 §3.2).
    fn to_retransmit(&self) -> Option<Stretch> {
        if self.rtx_nxt == self.snd_nxt {
            return None;
        }
        let ahead = self.rtx_nxt.since(self.snd_una);
        let window = self.snd_wnd.size.saturating_sub(ahead);
        let fin_sent = self.bits.has(Bits::FIN_SENT);
        let data_end = self.snd_nxt.sub(fin_sent.into());
        let left = data_end.since(self.rtx_nxt);
        //~ A retransmission stays within a window that shrank: `.min(window)` -> nothing;
        //~   a_shrunk_window_stops_new_data_but_not_the_connection
        let len = self.mss().min(left).min(window);
        //~ A FIN is sent again: `let fin = fin_sent &&` -> `let fin = false && fin_sent &&`;
        //~   the_fin_waits_for_room_and_is_sent_again_when_lost
        //~ A FIN is not sent again beyond a window that shrank: `window > len` -> `window >= len`;
        //~   a_fin_on_a_full_segment_is_sent_again_with_it_as_far_as_the_window_goes
        let fin = fin_sent && len == left && window > len;
        let occupied = len + u32::from(fin);
        //~ The oldest segment does not wait for cwnd: `(ahead > 0 &&` -> `(`;
        //~   a_fin_on_a_full_segment_is_sent_again_with_it_as_far_as_the_window_goes
        //~ A retransmission waits for the loss window: `ahead + occupied > self.congestion.window()` -> `false`;
        //~   a_timeout_starts_over_with_one_segment
        if occupied == 0 || (ahead > 0 && ahead + occupied > self.congestion.window()) {
            return None;
        }
        //~ PSH on the last segment sent again: -> `let push = false;`;
        //~   a_fin_on_a_full_segment_is_sent_again_with_it_as_far_as_the_window_goes
        let push = len == left;
        Some(Stretch {
            seq: self.rtx_nxt,
            len,
            fin,
            push,
            is_retransmission: true,
        })
    }

    fn retransmit(&mut self, stretch: Stretch, env: &mut Env<'_>) -> SendPlan {
        self.rtx_nxt = if self.bits.take(Bits::RTX_HEAD) {
            self.snd_nxt
        } else {
            stretch.seq.add(stretch.len + u32::from(stretch.fin))
        };
        self.arm_retransmission(env);
        self.stretch(stretch, env)
    }

    /// New data and FIN, within both windows, as Nagle and silly-window avoidance let them go.
    fn new_segment(&mut self, unsent: Unsent, env: &mut Env<'_>) -> Option<SendPlan> {
        let done = self.bits.has(Bits::FIN_SENT) || self.rtx_nxt != self.snd_nxt;
        if done || !self.state.sends_text() {
            return None;
        }
        let fin_wanted = self.bits.has(Bits::FIN_WANTED);
        if unsent.len == 0 && !fin_wanted {
            return None;
        }
        let flight = self.flight();
        if flight == 0 {
            //~ After an idle RTO cwnd is the restart window; after_an_idle_time_the_window_is_the_initial_one
            self.restart_after_idle(env);
        }
        let usable = self.snd_wnd.size.saturating_sub(flight);
        let sml = self.snd_sml.since(self.snd_una);
        let len = Question {
            mss: self.mss(),
            queued: unsent.len,
            usable,
            congestion: self
                .congestion
                .send_limit(self.mss())
                .saturating_sub(flight),
            window_max: self.snd_wnd.max,
            //~ Nagle's switch: `nagle: env.settings.profile.nagle &&` -> `nagle: true &&`;
            //~   nagle_holds_the_second_small_write
            //~ A FIN that waits is no reason to hold: `nagle: env.settings.profile.nagle && !fin_wanted`
            //~   -> `nagle: env.settings.profile.nagle`; nagle_holds_the_second_small_write
            nagle: env.settings.profile.nagle && !fin_wanted,
            //~ Full segments in flight hold nothing (Minshall): `small_in_flight: sml != 0 && sml <= flight`
            //~   -> `small_in_flight: { let _ = sml; flight > 0 }`;
            //~   what_is_queued_goes_in_full_segments_and_the_last_pushes
            small_in_flight: sml != 0 && sml <= flight,
            force: self.bits.has(Bits::FORCE_SEND),
        }
        .segment_len()
        .unwrap_or(0);
        let is_last = len == unsent.len;
        let fin = fin_wanted && is_last && usable > len;
        if len == 0 && !fin {
            return None;
        }
        //~ The override sends once; a_silly_window_is_filled_only_after_the_override
        self.bits.clear(Bits::FORCE_SEND);
        let seq = self.snd_nxt;
        Some(self.send_new(
            Stretch {
                seq,
                len,
                fin,
                push: is_last,
                is_retransmission: false,
            },
            env,
        ))
    }

    fn send_new(&mut self, stretch: Stretch, env: &mut Env<'_>) -> SendPlan {
        self.snd_nxt = self.snd_nxt.add(stretch.len + u32::from(stretch.fin));
        self.rtx_nxt = self.snd_nxt;
        if stretch.fin {
            self.bits.set(Bits::FIN_SENT);
        }
        if stretch.len < self.mss() {
            //~ The last small segment is remembered; nagle_holds_the_second_small_write
            self.snd_sml = self.snd_nxt;
        }
        self.rtt_timer.start(self.snd_nxt, env.now);
        self.sent_ms = ms(env.now);
        self.arm_retransmission(env);
        self.stretch(stretch, env)
    }

    /// RFC 5681 §4.1: after more than an RTO without sending, what was known of the path is old.
    #[inline(always)]
    pub(super) fn restart_after_idle(&mut self, env: &Env<'_>) {
        let idle_ms = ms(env.now).wrapping_sub(self.sent_ms);
        if u64::from(idle_ms) * 1_000 > u64::from(self.rto.us()) {
            self.restart(env);
        }
    }

    #[inline(never)]
    fn restart(&mut self, env: &Env<'_>) {
        self.congestion
            .on_idle(self.mss(), env.settings.initial_window);
    }

    /// A zero-window probe (§3.8.6.1): no text, from just below the window, so that every receiver must answer with its
    /// window (first step of §3.10.7.4). The RFC's own probe is an octet of new data, which puts SND.NXT beyond the
    /// peer's window: two sides that probe each other that way, each having taken the other's octet, find all further
    /// ACKs of each other unacceptable and never end (seed 19585 of `tests::pipe` did).
    fn probe_window(&mut self, unsent: Unsent, env: &mut Env<'_>) -> Option<SendPlan> {
        if self.snd_wnd.size > 0 {
            return None;
        }
        if self.flight() == 0 && !self.has_text(unsent) {
            self.timer_mode = TimerMode::Retransmit;
            self.cold.overdue.answered(); // nothing is asked any more
            return None;
        }
        env.counters.window_probes += 1;
        //~ Probes are counted, and so double; probes_start_after_an_rto_and_double_and_silence_ends_them
        self.expiries = self.expiries.saturating_add(1);
        self.timer_mode = TimerMode::Persist;
        //~ Unanswered probes end the connection at R2: `.waiting(env.now, core::time::Duration::ZERO)`
        //~   -> `.answered()`; probes_start_after_an_rto_and_double_and_silence_ends_them
        self.cold
            .overdue
            .waiting(env.now, core::time::Duration::ZERO);
        //~ Unanswered probes are counted; probes_start_after_an_rto_and_double_and_silence_ends_them
        self.cold.overdue.tried();
        //~ A probe starts the probe timer again; probes_start_after_an_rto_and_double_and_silence_ends_them
        self.arm_persist(env);
        //~ A probe pays no ACK: `self.probe(self.snd_una.sub(1), env)`
        //~   -> `self.plan(self.snd_una.sub(1), Flags::ACK, 0, env)`; a_window_probe_pays_no_ack
        Some(self.probe(self.snd_una.sub(1), env))
    }

    /// Whether text or a FIN waits that was never sent.
    fn has_text(&self, unsent: Unsent) -> bool {
        let fin_due = self.bits.has(Bits::FIN_WANTED) && !self.bits.has(Bits::FIN_SENT);
        (unsent.len > 0 || fin_due) && self.state.sends_text()
    }

    /// Nothing is in flight, something is queued, and it may not go: without a timer it would never be tried again.
    fn watch_window(&mut self, unsent: Unsent, env: &Env<'_>) {
        if !self.has_text(unsent) || self.flight() > 0 || !self.rtx_timer.is_off() {
            return;
        }
        if self.snd_wnd.size == 0 {
            self.timer_mode = TimerMode::Persist;
            self.expiries = 0;
            //~ A closed window starts the probe timer; probes_start_after_an_rto_and_double_and_silence_ends_them
            self.arm_persist(env);
        } else {
            self.timer_mode = TimerMode::SwsOverride;
            //~ The override timer ends the wait for a silly window; a_silly_window_is_filled_only_after_the_override
            self.rtx_timer = Deadline::after(env.now, env.settings.sws_override);
        }
    }

    pub(super) fn arm_persist(&mut self, env: &Env<'_>) {
        let max = env.settings.persist_max;
        let wanted = persist::interval(self.rto.duration(), self.expiries, max);
        let wait = self
            .cold
            .overdue
            .limit(env.now, wanted, &self.patience(env));
        self.rtx_timer = Deadline::after(env.now, wait);
    }

    /// RFC 6298 §5.1: "if the timer is not running, start it".
    pub(super) fn arm_retransmission(&mut self, env: &Env<'_>) {
        if self.rtx_timer.is_off() || self.timer_mode != TimerMode::Retransmit {
            self.timer_mode = TimerMode::Retransmit;
            //~ The first segment in flight starts the timer: `Deadline::after_us(env.now, self.rto.us())`
            //~   -> `Deadline::OFF`; data_is_sent_again_with_backoff_until_r2
            self.rtx_timer = Deadline::after_us(env.now, self.rto.us());
        }
    }

    #[inline(always)]
    fn stretch(&mut self, stretch: Stretch, env: &mut Env<'_>) -> SendPlan {
        let Stretch {
            seq,
            len,
            fin,
            push,
            is_retransmission,
        } = stretch;
        let mut flags = Flags::ACK;
        if fin {
            flags = flags.with(Flags::FIN);
        }
        if push && len > 0 {
            flags = flags.with(Flags::PSH); // MUST-61: on the last segment buffered
        }
        let mut plan = if is_retransmission {
            env.counters.retransmitted_segments += 1;
            //~ Segments sent again are counted for each connection: `self.cold.retransmissions.saturating_add(1)`
            //~   -> `0`; an_open_connection_says_what_was_negotiated_and_measured
            self.cold.retransmissions = self.cold.retransmissions.saturating_add(1);
            //~ A retransmission stops the timing (Karn);
            //~   karn_the_backoff_stays_until_something_sent_once_is_acknowledged
            self.rtt_timer.cancel();
            // Where only the ACK of it got lost, the peer drops it unread, and our acknowledgment with it: what is owed
            // stays owed. Its window may be read, so it binds.
            let window = self.rcv.offer(self.mss(), self.rcv_scale());
            //~ A retransmission pays no ACK: -> `{ let _ = window; self.plan(seq, flags, len, env) }`;
            //~   a_retransmission_pays_no_ack
            self.header(seq, flags, len, window, env)
        } else {
            self.plan(seq, flags, len, env)
        };
        plan.payload_offset = seq.since(self.snd_una);
        plan.is_retransmission = is_retransmission;
        if self.bits.has(Bits::URGENT_OUT) && self.cold.snd_up.after(seq) {
            plan.flags = plan.flags.with(Flags::URG);
            plan.urgent = self.cold.snd_up.since(seq).min(0xffff) as u16;
        }
        plan
    }

    /// A segment that its receiver must drop, with an ACK (first step of §3.10.7.4): a probe. It pays no ACK that is owed
    /// and offers nothing: two sides with equal timers would swallow each other's ACKs for ever.
    fn probe(&self, seq: SeqNum, env: &Env<'_>) -> SendPlan {
        let window = self.rcv.offered(self.rcv_scale());
        self.header(seq, Flags::ACK, 0, window, env)
    }

    /// A segment after the handshake that its receiver has never seen: acknowledgment, window, timestamps; and the note
    /// that they went out.
    fn plan(&mut self, seq: SeqNum, flags: Flags, payload_len: u32, env: &Env<'_>) -> SendPlan {
        let is_pure = payload_len == 0 && flags == Flags::ACK;
        self.ack.sent(is_pure, &mut self.ack_timer);
        self.ts.last_ack_sent = self.rcv.nxt;
        let window = self.rcv.offer(self.mss(), self.rcv_scale());
        self.header(seq, flags, payload_len, window, env)
    }

    #[inline]
    fn header(
        &self,
        seq: SeqNum,
        flags: Flags,
        payload_len: u32,
        window: u16,
        env: &Env<'_>,
    ) -> SendPlan {
        SendPlan {
            seq,
            ack: self.rcv.nxt,
            flags,
            window,
            payload_len,
            options: SegmentOptions {
                timestamps: self
                    .bits
                    .has(Bits::TIMESTAMPS)
                    .then(|| self.ts.option(env.now, true)),
                ..SegmentOptions::default()
            },
            ..SendPlan::default()
        }
    }
}
