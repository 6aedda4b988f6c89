//! A connection at rest: established, and nothing whatsoever under way. [`RestTcb`] is its [`Tcb`] in a quarter of the bytes.
//!
//! It must never forget anything by which the connection decides later: [`Tcb::resume`] gives back the same connection, unlike
//! `parked`, which keeps less. A connection that would lose something stays as it is.

use super::black_hole::BlackHole;
use super::congestion::Congestion;
use super::env::Env;
use super::keepalive::Keepalive;
use super::parked;
use super::retransmit::Overdue;
use super::rtt::{Rto, RttEstimator};
use super::state::State;
use super::tcb::{OpenParams, Tcb, Terms};
use super::verdict::IcmpErrorKind;
use super::window::{ReceiveWindow, SendWindow};
use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::time::Instant;

/// What was negotiated: the only bits of a connection at rest.
const NEGOTIATED: u16 = Bits::TIMESTAMPS | Bits::SCALING | Bits::SACK_PERMITTED;

/// An established connection that has nothing in flight, nothing to say and nothing unread: SND.UNA is SND.NXT, RCV.NXT is
/// Last.ACK.sent, no timer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestTcb {
    snd_nxt: SeqNum,
    snd_wnd: SendWindow,
    rcv_nxt: SeqNum,
    rcv_wnd: u32,
    ts_recent: u32,
    ts_offset: u32,
    ts_recent_s: u32,
    rto: Rto,
    rtt: RttEstimator,
    congestion: Congestion,
    sent_ms: u32,
    heard_ms: u32,
    iss: SeqNum,
    irs: SeqNum,
    mss: u16,
    local_mss: u16,
    path_mss: u16,
    peer_mss: u16,
    retransmissions: u16,
    bits: Bits,
    scales: u8,
    soft_error: Option<IcmpErrorKind>,
}

impl RestTcb {
    /// As [`Tcb::idle_ms`].
    #[must_use]
    pub fn idle_ms(&self, now: Instant) -> u32 {
        parked::idle_ms(self.sent_ms, self.heard_ms, now)
    }
}

impl Tcb {
    /// Whether nothing is under way: then [`Tcb::rest`] may find that everything fits its form.
    #[inline]
    fn is_at_rest(&self) -> bool {
        //~ A connection rests when its state is ESTABLISHED: `self.state == State::Established` -> `true`;
        //~   a_connection_rests_only_when_nothing_is_under_way
        //~ A connection with something in flight does not rest: `&& self.snd_una == self.snd_nxt` -> nothing;
        //~   a_connection_rests_only_when_nothing_is_under_way
        //~ A connection whose ACK is owed does not rest: `&& self.ack.is_settled()` -> nothing;
        //~   a_connection_rests_only_when_nothing_is_under_way
        //~ A connection with something unread does not rest: `&& self.rcv.queued() == 0` -> nothing;
        //~   a_connection_rests_only_when_nothing_is_under_way
        //~ A connection with a gap does not rest: `| u8::from(self.has_ranges)` -> nothing;
        //~   a_connection_rests_only_when_nothing_is_under_way
        //~ A connection that a timer has expired for does not rest: `= self.expiries` -> `= 0`;
        //~   a_connection_rests_only_when_nothing_is_under_way
        //~ A connection that suspects a loss does not rest: `| self.congestion.signs_of_loss()` -> nothing;
        //~   a_connection_rests_only_when_nothing_is_under_way
        //~ A connection with more than its options in its bits does not rest:
        //~   `&& !self.bits.has(!NEGOTIATED)` -> nothing;
        //~   a_connection_rests_only_when_nothing_is_under_way
        let is_under_way = self.expiries
            | (self.timer_mode as u8)
            | u8::from(self.has_ranges)
            | self.congestion.signs_of_loss();
        self.state == State::Established
            && self.snd_una == self.snd_nxt
            && self.rtx_nxt == self.snd_nxt
            && is_under_way == 0
            && !self.bits.has(!NEGOTIATED)
            && self.ack.is_settled()
            && self.rcv.queued() == 0
            && self.rtx_timer.is_off()
            && self.ack_timer.is_off()
            && self.rtt_timer.is_idle()
            && self.ts.last_ack_sent == self.rcv.nxt
    }

    /// Whether the part that losses, urgent data and budgets leave behind is as it was at the beginning.
    fn is_cold_part_new(&self, env: &Env<'_>) -> bool {
        //~ A connection that has just answered what it can't accept does not rest:
        //~   `&& self.cold.answers.are_paid(env.now)` -> nothing; the_budgets_of_answers_outlast_a_rest
        //~ A connection whose path swallows large segments does not rest:
        //~   `self.cold.black_hole == BlackHole::None` -> `true`; what_is_left_behind_keeps_a_connection_from_resting
        //~ A connection that waits for an answer does not rest:
        //~   `&& self.cold.overdue == Overdue::NOTHING` -> nothing; what_is_left_behind_keeps_a_connection_from_resting
        //~ A connection with another buffer than its profile's does not rest:
        //~   `&& self.rcv.buf() == env.settings.profile.rcv_buf` -> nothing;
        //~   what_is_left_behind_keeps_a_connection_from_resting
        let cold = &self.cold;
        self.cold.black_hole == BlackHole::None
            && self.cold.overdue == Overdue::NOTHING
            && self.cold.answers.are_paid(env.now)
            && self.rcv.buf() == env.settings.profile.rcv_buf
            && cold.keepalive == Keepalive::default()
            && cold.params.timestamp_offset == self.ts.offset
            && cold.close_reason.is_none()
    }

    /// Whether nothing but SYNs was carried in either direction since it opened, or was unparked.
    #[must_use]
    pub fn is_unused(&self) -> bool {
        self.acked_len() <= 1 && self.rcv.nxt.since(self.cold.irs) <= 1
    }

    /// This connection in the form for a rest; `None` unless nothing is under way and the form holds all of it. As with parking,
    /// two things are the caller's to know: `poll_output` has said `None`, and nothing is queued for sending.
    #[must_use]
    pub fn rest(&self, env: &Env<'_>) -> Option<RestTcb> {
        if !self.is_at_rest() || !self.is_cold_part_new(env) {
            return None;
        }
        let cold = &self.cold;
        Some(RestTcb {
            snd_nxt: self.snd_nxt,
            snd_wnd: self.snd_wnd,
            rcv_nxt: self.rcv.nxt,
            rcv_wnd: self.rcv.size(),
            ts_recent: self.ts.recent,
            ts_offset: self.ts.offset,
            ts_recent_s: cold.ts_recent_s,
            rto: self.rto,
            rtt: cold.rtt,
            congestion: self.congestion,
            sent_ms: self.sent_ms,
            heard_ms: self.heard_ms,
            iss: cold.params.iss,
            irs: cold.irs,
            mss: self.mss,
            local_mss: cold.params.local_mss,
            path_mss: cold.params.path_mss,
            peer_mss: cold.peer_mss,
            retransmissions: cold.retransmissions,
            bits: self.bits,
            scales: self.scales,
            soft_error: cold.soft_error,
        })
    }

    /// The connection that rested, in the place of whichever stood here. `env` has the settings of its profile;
    /// `default_peer_mss` is that of its family ([`OpenParams::default_peer_mss`]).
    pub fn resume(&mut self, rest: &RestTcb, default_peer_mss: u16, env: &Env<'_>) {
        let rcv_buf = env.settings.profile.rcv_buf;
        let params = OpenParams {
            iss: rest.iss,
            timestamp_offset: rest.ts_offset,
            local_mss: rest.local_mss,
            path_mss: rest.path_mss,
            default_peer_mss,
            rcv_buf,
        };
        let terms = Terms {
            bits: rest.bits,
            scales: rest.scales,
            peer_mss: rest.peer_mss,
            mss: rest.mss,
        };
        self.begin_on(&params, &terms, env);
        self.state = State::Established; // no arrow of the diagram: it never left
        (self.snd_una, self.snd_nxt, self.rtx_nxt) = (rest.snd_nxt, rest.snd_nxt, rest.snd_nxt);
        // Nothing small is in flight.
        self.snd_sml = rest.snd_nxt;
        self.snd_wnd = rest.snd_wnd;
        self.rcv = ReceiveWindow::resume(rest.rcv_nxt, rest.rcv_wnd, rcv_buf);
        (self.ts.recent, self.ts.last_ack_sent) = (rest.ts_recent, rest.rcv_nxt);
        (self.rto, self.congestion) = (rest.rto, rest.congestion);
        (self.sent_ms, self.heard_ms) = (rest.sent_ms, rest.heard_ms);
        let cold = &mut self.cold;
        cold.irs = rest.irs;
        cold.rtt = rest.rtt;
        cold.ts_recent_s = rest.ts_recent_s;
        cold.retransmissions = rest.retransmissions;
        cold.soft_error = rest.soft_error;
    }
}

// With what its place keeps beside it, two lines.
const _: () = assert!(size_of::<RestTcb>() <= 104);
