//! The passive handshake on records: SYN to embryo or cookie, final ACK to an established connection.
//!
//! It must never take state for a SYN beyond the listener's backlog, and never believe an ACK that neither an embryo nor
//! a cookie of ours explains.

use core::time::Duration;

use super::classify::Meta;
use super::endpoint::{Endpoint, EndpointVerdict};
use super::reply::{ReplyOptions, TcpReply};
use crate::conn::rounded::AnswerTicks;
use crate::conn::{ConnFlags, Embryo, FlowKey, Found, WindowShifts};
use crate::counters::Counter;
use crate::local::listener::{ListenerConfig, ListenerId, SynPolicy};
use crate::seq::SeqNum;
use crate::tcp::answer_limits::Answer;
use crate::tcp::cookie;
use crate::tcp::handshake::{AnsweredSyn, EmbryoNumbers, EmbryoStep, embryo_step};
use crate::tcp::negotiated::Negotiated;
use crate::tcp::profile::{Profile, ProfileId};
use crate::tcp::reset::Reset;
use crate::tcp::segment::{OFFERS_SACK, SegmentOptions};
use crate::tcp::timestamps::is_older;
use crate::time::Instant;
use crate::wire::ethernet::{self, MacAddr};
use crate::wire::tcp::Flags;
use crate::wire::tcp_options::usual_syn;
use crate::worker::opening::{KeptSyn, default_peer_mss, local_mss, tuple};

/// The properties of a new embryo besides its SYN.
#[derive(Clone, Copy)]
pub(super) struct EmbryoStart {
    pub(super) key: FlowKey,
    pub(super) listener: ListenerId,
    /// That of the listener.
    pub(super) profile: ProfileId,
    pub(super) iss: SeqNum,
    /// The record in TIME-WAIT that it takes over.
    pub(super) reopens: Option<Found>,
}

impl Endpoint {
    /// A SYN for a listener.
    #[inline(always)]
    pub(super) fn on_syn(&mut self, listener: ListenerId) -> EndpointVerdict {
        let Some(config) = self.listeners.config(listener) else {
            return self.ended(Counter::ListenDropped);
        };
        // Distinguished by a test and not by a match: cookies are what a flood meets, and a jump through a table costs it 10 %.
        //~ A full accept queue drops SYNs of every policy:
        //~   `config.policy == SynPolicy::CookieAlways && !self.accept_queues.is_any_full()`
        //~   -> `config.policy == SynPolicy::CookieAlways`; a_full_queue_drops_syns_whatever_the_option_and_the_policy
        if config.policy == SynPolicy::CookieAlways && !self.accept_queues.is_any_full() {
            return EndpointVerdict::Cookie(config.profile);
        }
        EndpointVerdict::Syn(listener)
    }

    /// A SYN for a listener that doesn't answer each with a cookie.
    #[inline(never)]
    pub(super) fn on_syn_by_policy(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        listener: ListenerId,
        config: ListenerConfig,
        now: Instant,
    ) -> EndpointVerdict {
        match config.policy {
            SynPolicy::Drop => self.ended(Counter::SynDroppedPolicy),
            SynPolicy::Rst => {
                let ack = meta.seq.add(u32::from(meta.payload_len).wrapping_add(1));
                let reset = Reset {
                    seq: SeqNum(0),
                    ack,
                    flags: Flags::RST_ACK,
                };
                self.reset(Counter::SynResetPolicy, reset)
            }
            //~ A full accept queue drops SYNs: `if self.accept_queues.is_full(listener) =>` -> `if false =>`;
            //~   backlog_and_one_wait_and_then_syns_are_dropped
            _ if self.accept_queues.is_full(listener) => {
                self.accept_queues.refuse(listener);
                self.ended(Counter::SynDroppedAcceptFull)
            }
            SynPolicy::CookieAlways => self.send_cookie(meta, bytes, config.profile, now),
            policy @ (SynPolicy::Embryo | SynPolicy::CookieWhenFull) => {
                let waiting = self.embryos.get(usize::from(listener.0));
                //~ The backlog is a limit: `waiting < config.backlog` -> `{ let _ = waiting; true }`;
                //~   a_full_backlog_drops_and_a_place_that_is_free_again_is_used
                let embryo = if waiting.is_some_and(|&waiting| waiting < config.backlog) {
                    let iss = self.isn.iss(tuple(&meta.key), now);
                    let start = EmbryoStart {
                        key: meta.key,
                        listener,
                        profile: config.profile,
                        iss,
                        reopens: None,
                    };
                    self.embryo_of(meta, bytes, start, now)
                } else {
                    None
                };
                match embryo {
                    Some(reply) => self.reply(Counter::SynEmbryo, reply),
                    None if policy == SynPolicy::Embryo => {
                        self.accept_queues.refuse(listener);
                        self.ended(Counter::SynDroppedFull)
                    }
                    //~ A full backlog falls back to cookies: -> `None => self.ended(Counter::SynDroppedFull),`;
                    //~   a_full_backlog_falls_back_to_cookies_when_told_to
                    None => self.send_cookie(meta, bytes, config.profile, now),
                }
            }
        }
    }

    /// The offers of a SYN that we take up. The connection will go by the same settings: an option that only the
    /// SYN-ACK agrees to leaves the peer waiting for it.
    #[inline(always)]
    fn offer(&self, options: &[u8]) -> SegmentOptions {
        let settings = &self.config.tcp;
        let mut offer = if settings.timestamps && settings.window_scaling {
            SegmentOptions::parse_syn(options)
        } else {
            self.offer_within_settings(options)
        };
        //~ SACK-permitted of embryos and cookies counts if both SYNs had it;
        //~   sack_permitted_is_not_kept_before_it_is_offered
        offer.sack_permitted &= OFFERS_SACK;
        offer
    }

    /// Apart, because taking options away costs a flood 3 % even where none is taken.
    #[cold]
    #[inline(never)]
    fn offer_within_settings(&self, options: &[u8]) -> SegmentOptions {
        let mut offer = SegmentOptions::parse_syn(options);
        let settings = &self.config.tcp;
        if !settings.timestamps {
            offer.timestamps = None;
        }
        if !settings.window_scaling {
            offer.window_scale = None;
        }
        offer
    }

    /// Answers a SYN with a cookie and keeps nothing.
    #[inline(never)]
    pub(super) fn send_cookie(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        profile: ProfileId,
        now: Instant,
    ) -> EndpointVerdict {
        let offer = self.offer(meta.options(bytes));
        self.answer = self.cookie_reply(&meta.key, meta.seq, &offer, profile, now);
        EndpointVerdict::Reply
    }

    /// The same for the SYN of a flood: over IPv4, with the options of a Linux SYN, to an endpoint that takes them all. `None` when
    /// it is another. What is known of it when compiling leaves a third of the work.
    #[inline(always)]
    pub(super) fn usual_cookie(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        profile: ProfileId,
        now: Instant,
    ) -> Option<TcpReply> {
        let key = meta.key.as_v4()?;
        let settings = &self.config.tcp;
        if !(settings.timestamps && settings.window_scaling) {
            return None;
        }
        let mut offer = usual_syn(meta.options(bytes))?;
        offer.sack_permitted &= OFFERS_SACK;
        Some(self.cookie_reply(&key, meta.seq, &offer, profile, now))
    }

    #[inline(always)]
    fn cookie_reply(
        &mut self,
        key: &FlowKey,
        irs: SeqNum,
        offer: &SegmentOptions,
        profile: ProfileId,
        now: Instant,
    ) -> TcpReply {
        let profile = &self.profiles.get(profile).profile;
        let timestamps = offer.timestamps;
        let negotiated = Negotiated::new(offer, default_peer_mss(key));
        let tuple = tuple(key);
        let clock_ms = match timestamps {
            Some(_) => self
                .isn
                .timestamp_offset_ms(tuple)
                .wrapping_add(now.as_ms() as u32),
            None => 0,
        };
        let cookie = self.cookies.make(tuple, irs, negotiated, now, clock_ms);
        self.cookie_sent_at = Some(now);
        self.counters.bump(Counter::SynCookieSent);
        let our_scale = negotiated.window_scale.map(|_| profile.window_scale());
        TcpReply {
            seq: cookie.iss,
            ack: irs.add(1),
            flags: Flags::SYN_ACK,
            window: profile.syn_window(),
            // Without timestamps the peer's scale has no place in the cookie, so ours isn't offered either.
            options: ReplyOptions::NONE
                .with_mss(self.our_mss(key, profile))
                .with_window_scale(our_scale.filter(|_| timestamps.is_some()))
                .with_timestamps(cookie.tsval.zip(timestamps.map(|ts| ts.tsval))),
        }
    }

    /// A SYN that would end this TIME-WAIT: it becomes an embryo with an ISS above the old connection's numbers, or is dropped
    /// and TIME-WAIT goes on. Never a cookie, whatever the listener prefers: a cookie's ISS can't be chosen.
    pub(super) fn on_reopening_syn(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        time_wait: Found,
        iss_after: SeqNum,
        now: Instant,
    ) -> EndpointVerdict {
        let listeners = &self.listeners;
        let open = self.listener_of(&meta.key);
        let Some((listener, &config)) = open.and_then(|id| Some((id, listeners.config(id)?)))
        else {
            return self.ended(Counter::TimeWaitDropped);
        };
        if matches!(config.policy, SynPolicy::Drop | SynPolicy::Rst) {
            return self.on_syn_by_policy(meta, bytes, listener, config, now);
        }
        if self.accept_queues.is_full(listener) {
            self.accept_queues.refuse(listener);
            return self.ended(Counter::SynDroppedAcceptFull);
        }
        let iss = self.isn.iss(tuple(&meta.key), now);
        //~ The reopened connection starts above the old numbers: `if iss.after(iss_after) {` -> `if true {`;
        //~   a_newer_syn_reopens_with_a_higher_iss
        let iss = if iss.after(iss_after) {
            iss
        } else {
            iss_after.add(1 + (iss.0 & 0xffff))
        };
        let start = EmbryoStart {
            key: meta.key,
            listener,
            profile: config.profile,
            iss,
            reopens: Some(time_wait),
        };
        match self.embryo_of(meta, bytes, start, now) {
            None => {
                self.accept_queues.refuse(listener);
                self.ended(Counter::SynDroppedFull)
            }
            Some(reply) => self.reply(Counter::SynEmbryo, reply),
        }
    }

    /// Turns any SYN into an embryo; `None` when there is no place for one more.
    #[inline(always)]
    fn embryo_of(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        start: EmbryoStart,
        now: Instant,
    ) -> Option<TcpReply> {
        let offer = self.offer(meta.options(bytes));
        self.make_embryo(meta, bytes, &offer, start, now)
    }

    /// Keeps a SYN that offers this.
    #[inline(always)]
    pub(super) fn make_embryo(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        offer: &SegmentOptions,
        start: EmbryoStart,
        now: Instant,
    ) -> Option<TcpReply> {
        let EmbryoStart {
            key,
            listener,
            profile,
            iss,
            reopens,
        } = start;
        let key = &key;
        let negotiated = Negotiated::new(offer, default_peer_mss(key));
        // RFC 7323 §2.3: windows are scaled both ways or not at all.
        let mut shifts = WindowShifts::default();
        if let Some(peer_scale) = negotiated.window_scale {
            let our_scale = self.profiles.get(profile).profile.window_scale();
            shifts = WindowShifts::new(peer_scale, our_scale);
        }
        let embryo = Embryo {
            irs: meta.seq,
            iss,
            ts_recent: offer.timestamps.map_or(0, |ts| ts.tsval),
            peer_mss: negotiated.peer_mss,
            peer_window: meta.window,
            flags: ConnFlags::of(&negotiated),
            shifts,
            listener: listener.0,
            answers: AnswerTicks::default(),
            mac: ethernet::source(bytes),
            profile,
            unused: 0,
            timestamp_offset: self.isn.timestamp_offset_ms(tuple(key)),
        };
        let deadline = now + self.config.handshake.syn_ack_rto;
        let table = &mut self.table;
        let placed = match reopens {
            Some(time_wait) => table.reopen(time_wait, &embryo, deadline).ok(),
            None => table.insert_embryo(key, meta.hash, &embryo, deadline).ok(),
        };
        placed?;
        if let Some(count) = self.embryos.get_mut(usize::from(listener.0)) {
            *count += 1;
        }
        Some(self.syn_ack(key, &embryo, now))
    }

    /// The SYN-ACK of an embryo, the first one or again.
    #[inline(always)]
    pub(super) fn syn_ack(&self, key: &FlowKey, embryo: &Embryo, now: Instant) -> TcpReply {
        let scaled = embryo.flags.has(ConnFlags::WINDOW_SCALE);
        let profile = &self.profiles.get(embryo.profile).profile;
        TcpReply {
            seq: embryo.iss,
            ack: embryo.irs.add(1),
            flags: Flags::SYN_ACK,
            window: profile.syn_window(),
            options: ReplyOptions::NONE
                .with_mss(self.our_mss(key, profile))
                .with_window_scale(scaled.then_some(embryo.shifts.receive()))
                .with_timestamps(embryo_stamps(embryo, now)),
        }
    }

    /// TSval and TSecr of a segment to send now, when the connection uses timestamps.
    pub(super) fn stamps(
        &self,
        key: &FlowKey,
        flags: ConnFlags,
        ts_recent: u32,
        now: Instant,
    ) -> Option<(u32, u32)> {
        let clock = || {
            self.isn
                .timestamp_offset_ms(tuple(key))
                .wrapping_add(now.as_ms() as u32)
        };
        flags
            .has(ConnFlags::TIMESTAMPS)
            .then(|| (clock(), ts_recent))
    }

    /// The listener of an embryo, when a segment is the one that this expects: it completes the handshake, and has nothing
    /// unusual. Of any other [`Endpoint::on_embryo`] says what it does.
    #[inline(always)]
    pub(super) fn completes_handshake(&self, meta: &Meta, found: Found) -> Option<ListenerId> {
        //~ Only a final ACK with no other option than timestamps opens in one step: `meta.expected()?`
        //~   -> `{ let mut m = *meta; m.options_kind = super::classify::OptionsKind::Timestamps; m }.expected()?`;
        //~   timestamps_in_another_layout_are_read_all_the_same
        let (segment, embryo) = (meta.expected()?, self.table.embryo(found)?);
        let fits_timestamps = match segment.timestamps {
            // Without timestamps TS.Recent is 0: what is newer than that opens here, what is older where they aren't looked at.
            //~ PAWS for the final ACK in one step: `!is_older(option.tsval, embryo.ts_recent)`
            //~   -> `{ let _ = (option, is_older); true }`; the_final_ack_is_judged_by_its_timestamps_in_one_step_too
            Some(option) => !is_older(option.tsval, embryo.ts_recent),
            //~ A final ACK without the timestamps that were agreed on opens nothing in one step:
            //~   `!embryo.flags.has(ConnFlags::TIMESTAMPS)` -> `true`;
            //~   the_final_ack_is_judged_by_its_timestamps_in_one_step_too
            None => !embryo.flags.has(ConnFlags::TIMESTAMPS),
        };
        // The first number of the window is always in it: no profile has a window of 0.
        //~ The final ACK in one step begins the window: `segment.seq == embryo.irs.add(1)` -> `true`;
        //~   the_final_ack_is_judged_by_its_numbers_in_one_step_too
        //~ The final ACK in one step acknowledges our SYN: `&& segment.ack == embryo.iss.add(1)` -> nothing;
        //~   the_final_ack_is_judged_by_its_numbers_in_one_step_too
        //~ The final ACK in one step has the ACK bit: `== Flags::ACK` -> `.with(Flags::ACK) == Flags::ACK`;
        //~   the_final_ack_is_judged_by_its_flags_in_one_step_too
        //~ The final ACK in one step is no SYN: `.without(Flags::PSH)` -> `.without(Flags::PSH).without(Flags::SYN)`;
        //~   the_final_ack_is_judged_by_its_flags_in_one_step_too
        //~ The final ACK in one step is no reset: `.without(Flags::PSH)` -> `.without(Flags::PSH).without(Flags::RST)`;
        //~   the_final_ack_is_judged_by_its_flags_in_one_step_too
        let is_expected = segment.seq == embryo.irs.add(1)
            && segment.ack == embryo.iss.add(1)
            && segment.flags.without(Flags::FIN).without(Flags::PSH) == Flags::ACK
            && fits_timestamps;
        is_expected.then_some(ListenerId(embryo.listener))
    }

    /// A segment whose tuple is an embryo's.
    #[inline(never)]
    pub(super) fn on_embryo(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        found: Found,
        now: Instant,
    ) -> EndpointVerdict {
        let Some(embryo) = self.table.embryo(found).copied() else {
            return self.ended(Counter::EmbryoDropped);
        };
        let with_timestamps = embryo.flags.has(ConnFlags::TIMESTAMPS);
        let window = self.profiles.get(embryo.profile).profile.syn_window();
        let numbers = EmbryoNumbers {
            irs: embryo.irs,
            iss: embryo.iss,
            rcv_wnd: u32::from(window),
            ts_recent: with_timestamps.then_some(embryo.ts_recent),
            requires_timestamp: self.config.tcp.require_timestamps,
        };
        match embryo_step(&numbers, &meta.segment(bytes)) {
            EmbryoStep::SynAckAgain => {
                if !self.embryo_may_answer(found, &embryo, Answer::OldText, now) {
                    return self.ended(Counter::EmbryoAnswerLimited);
                }
                if let Some(record) = self.table.embryo_mut(found) {
                    record.flags = record.flags.with(ConnFlags::ANSWERED_AGAIN);
                }
                let reply = self.syn_ack(&meta.key, &embryo, now);
                self.reply(Counter::EmbryoSynAgain, reply)
            }
            EmbryoStep::Answer(answer) => {
                if !self.embryo_may_answer(found, &embryo, answer, now) {
                    return self.ended(Counter::EmbryoAnswerLimited);
                }
                let reply = TcpReply {
                    seq: embryo.iss.add(1),
                    ack: embryo.irs.add(1),
                    flags: Flags::ACK,
                    // The window that the SYN-ACK has offered, in the scale of all segments behind it (RFC 7323 §2.2).
                    //~ A challenge of an embryo offers in the scale of the connection: -> `window,`;
                    //~   a_challenge_offers_what_the_syn_ack_has_offered
                    window: window >> embryo.shifts.receive(),
                    options: ReplyOptions::NONE.with_timestamps(embryo_stamps(&embryo, now)),
                };
                self.reply(Counter::EmbryoChallenged, reply)
            }
            EmbryoStep::Drop => self.ended(Counter::EmbryoDropped),
            EmbryoStep::BadAck(reset) => self.reset(Counter::EmbryoBadAck, reset),
            EmbryoStep::Reset => {
                self.end_embryo(found, meta, ListenerId(embryo.listener));
                self.ended(Counter::EmbryoReset)
            }
            EmbryoStep::BackToListen => {
                self.end_embryo(found, meta, ListenerId(embryo.listener));
                self.ended(Counter::EmbryoBackToListen)
            }
            EmbryoStep::Establish => EndpointVerdict::Establish(found, ListenerId(embryo.listener)),
        }
    }

    /// Whether an embryo has this answer left. Two spoofed SYNs make two embryos of ours that take each other's SYN-ACK for
    /// an unacceptable segment: without a limit they would answer each other for as long as they live.
    fn embryo_may_answer(
        &mut self,
        found: Found,
        embryo: &Embryo,
        answer: Answer,
        now: Instant,
    ) -> bool {
        let mut limits = embryo.answers.limits(now);
        //~ An embryo answers within a limit: `limits.admit(answer, now, self.config.tcp.challenge_interval)`
        //~   -> `{ let _ = limits.admit(answer, now, self.config.tcp.challenge_interval); true }`;
        //~   junk_takes_nothing_from_the_answers_to_the_syn_again
        let admitted = limits.admit(answer, now, self.config.tcp.challenge_interval);
        if admitted && let Some(record) = self.table.embryo_mut(found) {
            //~ An embryo keeps its limit: -> `let _ = record;`; junk_takes_nothing_from_the_answers_to_the_syn_again
            record.answers = AnswerTicks::new(limits, false);
        }
        admitted
    }

    /// An ACK for a listener that no record explains: a cookie's, or a stranger's. Apart, because what it keeps takes registers
    /// from the answer to a SYN.
    #[inline(never)]
    pub(super) fn on_listener_ack(
        &mut self,
        meta: &Meta,
        bytes: &[u8],
        listener: ListenerId,
        reset: Reset,
        now: Instant,
    ) -> EndpointVerdict {
        let lifetime = Duration::from_secs(2 * cookie::EPOCH_S);
        let alive = self
            .cookie_sent_at
            .is_some_and(|sent_at| now.since(sent_at) < lifetime);
        //~ The ACK of a cookie opens a connection: -> `if true {`; with_timestamps_every_option_survives
        //~ ACKs are looked at only while a cookie may live: `if !alive ||` -> `if (!alive && false) ||`;
        //~   acks_are_not_checked_before_a_cookie_was_sent
        if !alive || meta.flags.syn() {
            return self.reset(Counter::ListenAckReset, reset);
        }
        let timestamps = meta.segment_options(bytes).timestamps;
        let tsecr = timestamps.map(|ts| ts.tsecr);
        let (irs, iss) = (meta.seq.sub(1), meta.ack.sub(1));
        let Some(negotiated) = self.cookies.open(tuple(&meta.key), irs, iss, tsecr, now) else {
            return self.reset(Counter::CookieRejected, reset);
        };
        //~ A cookie opens one connection: -> `if false {`;
        //~   a_late_copy_of_its_first_segment_opens_no_ended_connection_again
        if self.spent_cookies.is_spent(meta.hash, iss) {
            return self.reset(Counter::CookieSpent, reset);
        }
        let config = self.listeners.config(listener);
        self.kept_syn = Some(KeptSyn {
            syn: AnsweredSyn {
                irs,
                window: meta.window,
                ts_recent: timestamps.map_or(0, |ts| ts.tsval),
                negotiated,
            },
            iss,
            listener: listener.0,
            profile: config.map_or(ProfileId::DEFAULT, |config| config.profile),
            timestamp_offset: self.isn.timestamp_offset_ms(tuple(&meta.key)),
        });
        EndpointVerdict::EstablishCookie
    }

    /// Removes an embryo and gives its place in the backlog back.
    pub(super) fn end_embryo(&mut self, found: Found, meta: &Meta, listener: ListenerId) {
        if self.table.remove(found, meta.hash) {
            self.leave_backlog(listener);
        }
    }

    pub(super) fn leave_backlog(&mut self, listener: ListenerId) {
        if let Some(count) = self.embryos.get_mut(usize::from(listener.0)) {
            *count = count.saturating_sub(1);
        }
    }

    /// An embryo whose SYN-ACK is due again: its key, where it goes, and the SYN-ACK, with the next deadline set. Embryos that have had
    /// all their retransmissions, or whose listener was closed, end on the way; at most `budget` records are touched.
    pub(super) fn due_syn_ack(
        &mut self,
        now: Instant,
        budget: &mut u32,
    ) -> Option<(FlowKey, MacAddr, TcpReply)> {
        while *budget > 0 {
            //~ The SYN-ACK of an embryo is sent again: `self.table.due_embryo(now)?` -> `None::<Found>?`;
            //~   the_syn_ack_is_sent_again_after_1_3_and_7_s_and_ends_after_15
            let found = self.table.due_embryo(now)?;
            *budget -= 1;
            let key = self.table.key(found)?;
            let embryo = *self.table.embryo(found)?;
            let sent = self.table.embryo_retransmits(found)?;
            let listener = ListenerId(embryo.listener);
            let is_closed = self.listeners.config(listener).is_none();
            //~ No SYN-ACK comes again from a closed listener: `is_closed || sent` -> `sent`;
            //~   what_waits_at_a_port_that_closes_is_reset
            //~ An embryo ends: `sent >= self.config.handshake.syn_ack_retries` -> `false`;
            //~   the_syn_ack_is_sent_again_after_1_3_and_7_s_and_ends_after_15
            if is_closed || sent >= self.config.handshake.syn_ack_retries {
                if self.table.remove(found, self.hasher.hash(&key)) {
                    //~ An embryo that ends leaves the backlog: -> `let _ = listener;`;
                    //~   embryos_that_expire_leave_the_backlog
                    self.leave_backlog(listener);
                }
                self.counters.bump(Counter::EmbryoExpired);
                continue;
            }
            // RFC 6298 §5.5: the timer doubles. The exponent is bounded by the queue levels of the table.
            //~ The wait of an embryo doubles: `(1 << (sent + 1).min(7))` -> `1`;
            //~   the_syn_ack_is_sent_again_after_1_3_and_7_s_and_ends_after_15
            let rto = self.config.handshake.syn_ack_rto * (1 << (sent + 1).min(7));
            self.table.requeue_embryo(found, now + rto);
            self.counters.bump(Counter::SynAckRetransmitted);
            //~ A SYN-ACK again goes where the SYN came from: `embryo.mac,` -> `MacAddr::ZERO,`;
            //~   the_syn_ack_goes_where_the_syn_came_from
            return Some((key, embryo.mac, self.syn_ack(&key, &embryo, now)));
        }
        None
    }

    /// The MSS that we announce.
    #[inline]
    fn our_mss(&self, key: &FlowKey, profile: &Profile) -> u16 {
        local_mss(key, self.mtu).min(profile.mss_max)
    }
}

/// TSval and TSecr of a segment of an embryo to send now, when it uses timestamps.
#[inline(always)]
fn embryo_stamps(embryo: &Embryo, now: Instant) -> Option<(u32, u32)> {
    let tsval = embryo.timestamp_offset.wrapping_add(now.as_ms() as u32);
    embryo
        .flags
        .has(ConnFlags::TIMESTAMPS)
        .then_some((tsval, embryo.ts_recent))
}
