//! [`Tcb`]: one connection in numbers. It holds no buffers, does no I/O, reads no clock and knows no NIC.
//!
//! It must never send: what it wants sent it says when asked.
//!
//! The methods come in five families: getters here; opens in `opening`; events (`on_segment` in `input`, `on_timer` in `timers`);
//! commands (`close`, `shutdown`, `abort`, `on_read`, `mark_urgent`, `on_profile`, `on_icmp` in `commands`); and `poll_output` in `output`.

use arrayvec::ArrayVec;

use crate::bits::Bits;
use crate::memory::prefetch_read;
use crate::seq::SeqNum;
use crate::tcp::ack::AckPolicy;
use crate::tcp::answer_limits::AnswerLimits;
use crate::tcp::black_hole::BlackHole;
use crate::tcp::congestion::Congestion;
use crate::tcp::deadline::Deadline;
use crate::tcp::env::Env;
use crate::tcp::keepalive::Keepalive;
use crate::tcp::negotiated::Negotiated;
use crate::tcp::reassembly::{RANGES_MAX, Range, Reassembly};
use crate::tcp::retransmit::{Overdue, TimerMode};
use crate::tcp::rtt::{Rto, RttEstimator, RttTimer};
use crate::tcp::state::{Event, State};
use crate::tcp::time_wait::TimeWaitTcb;
use crate::tcp::timestamps::TimestampState;
use crate::tcp::verdict::{CloseReason, Events, IcmpErrorKind};
use crate::tcp::window::{self, ReceiveWindow, SendWindow};
use crate::time::Instant;

/// The parameters of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenParams {
    /// Our initial sequence number, RFC 6528.
    pub iss: SeqNum,
    /// Added to the timestamp clock, RFC 7323 §7.1.
    pub timestamp_offset: u32,
    /// The MSS that we announce, in bytes: what our link's MTU leaves without options (RFC 6691).
    pub local_mss: u16,
    /// The MSS that the path carries as far as is known, in bytes, options included: at most `local_mss` (RFC 1191,
    /// RFC 8201).
    pub path_mss: u16,
    /// The MSS of a peer that says none: 536 (IPv4) or 1220 (IPv6), MUST-15.
    pub default_peer_mss: u16,
    /// Bytes that may wait for the application to read them.
    pub rcv_buf: u32,
}

/// One connection. The first two cache lines are what an ordinary segment touches; `cold` begins behind them.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub struct Tcb {
    /// SND.UNA.
    pub(super) snd_una: SeqNum,
    /// SND.NXT: never moves back.
    pub(super) snd_nxt: SeqNum,
    /// The next number to send: SND.NXT, or below it what is to be sent again.
    pub(super) rtx_nxt: SeqNum,
    /// The first number behind the last segment below the MSS (Minshall).
    pub(super) snd_sml: SeqNum,
    pub(super) snd_wnd: SendWindow,
    pub(super) rcv: ReceiveWindow,
    pub(super) ts: TimestampState,
    pub(super) rto: Rto,
    pub(super) congestion: Congestion,
    /// When data was last sent, in ms (restart after idle).
    pub(super) sent_ms: u32,
    /// Retransmission, persist or override, by `timer_mode`.
    pub(super) rtx_timer: Deadline,
    /// Delayed ACK.
    pub(super) ack_timer: Deadline,
    pub(super) rtt_timer: RttTimer,
    /// When the peer was last heard, in ms (keepalive).
    pub(super) heard_ms: u32,
    /// Effective MSS: payload bytes of a full segment.
    pub(super) mss: u16,
    pub(super) bits: Bits,
    pub(super) ack: AckPolicy,
    pub(super) state: State,
    /// Send scale in the upper half, receive scale in the lower.
    pub(super) scales: u8,
    /// Expiries of `rtx_timer` without an ACK of new data.
    pub(super) expiries: u8,
    pub(super) timer_mode: TimerMode,
    /// Something was received ahead of a gap: whether `cold.reassembly` has ranges, without reading it.
    pub(super) has_ranges: bool,
    pub(super) cold: Cold,
}

/// Fields that only handshakes, losses, closing and idle timers touch.
#[derive(Debug, Clone)]
#[repr(C, align(64))]
pub(super) struct Cold {
    pub(super) params: OpenParams,
    pub(super) irs: SeqNum,
    pub(super) rtt: RttEstimator,
    /// The second at which TS.Recent was taken.
    pub(super) ts_recent_s: u32,
    pub(super) rcv_fin: SeqNum,
    pub(super) snd_up: SeqNum,
    pub(super) rcv_up: SeqNum,
    pub(super) keepalive: Keepalive,
    pub(super) soft_error: Option<IcmpErrorKind>,
    pub(super) peer_mss: u16,
    pub(super) black_hole: BlackHole,
    /// FIN-WAIT-2, TIME-WAIT or keepalive, by state.
    pub(super) slow_timer: Deadline,
    pub(super) overdue: Overdue,
    pub(super) answers: AnswerLimits,
    /// Segments sent again, 65,535 at most.
    pub(super) retransmissions: u16,
    pub(super) close_reason: Option<CloseReason>,
    pub(super) reassembly: Reassembly,
}

impl Cold {
    fn new(params: OpenParams) -> Self {
        Self {
            params,
            irs: SeqNum(0),
            rtt: RttEstimator::default(),
            ts_recent_s: 0,
            rcv_fin: SeqNum(0),
            snd_up: SeqNum(0),
            rcv_up: SeqNum(0),
            keepalive: Keepalive::default(),
            peer_mss: params.default_peer_mss,
            black_hole: BlackHole::None,
            slow_timer: Deadline::OFF,
            overdue: Overdue::NOTHING,
            answers: AnswerLimits::NEW,
            retransmissions: 0,
            soft_error: None,
            close_reason: None,
            reassembly: Reassembly::default(),
        }
    }

    /// As [`Tcb::begin`].
    #[inline(always)]
    fn begin(&mut self, of: &OpenParams, said_mss: u16) {
        let Self {
            params,
            irs,
            rtt,
            ts_recent_s,
            rcv_fin,
            snd_up,
            rcv_up,
            keepalive,
            peer_mss,
            black_hole,
            slow_timer,
            overdue,
            answers,
            retransmissions,
            soft_error,
            close_reason,
            reassembly,
        } = self;
        *params = *of;
        *irs = SeqNum(0);
        *rtt = RttEstimator::default();
        *ts_recent_s = 0;
        (*rcv_fin, *snd_up, *rcv_up) = (SeqNum(0), SeqNum(0), SeqNum(0));
        *keepalive = Keepalive::default();
        *peer_mss = said_mss;
        *black_hole = BlackHole::None;
        *slow_timer = Deadline::OFF;
        *overdue = Overdue::NOTHING;
        *answers = AnswerLimits::NEW;
        *retransmissions = 0;
        *soft_error = None;
        *close_reason = None;
        reassembly.clear();
    }
}

/// The settings of a connection from its beginning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    pub(super) bits: Bits,
    /// As [`Tcb::scales`].
    pub(super) scales: u8,
    pub(super) peer_mss: u16,
    /// Payload bytes of a full segment.
    pub(super) mss: u16,
}

impl Terms {
    /// The options that our SYN offers, and the defaults for a peer that sends none.
    #[inline(always)]
    pub(super) fn offered(params: &OpenParams, env: &Env<'_>) -> Self {
        let mut bits = Bits::default();
        if env.settings.timestamps {
            bits.set(Bits::TIMESTAMPS);
        }
        if env.settings.window_scaling {
            bits.set(Bits::SCALING);
        }
        Self {
            bits,
            scales: our_scale(params, env),
            peer_mss: params.default_peer_mss,
            mss: params.path_mss.max(env.settings.mss_min),
        }
    }
}

/// Rcv.Wind.Shift that our SYN offers; 0 when it offers none.
#[inline(always)]
pub(super) const fn our_scale(params: &OpenParams, env: &Env<'_>) -> u8 {
    if env.settings.window_scaling {
        window::scale_for(params.rcv_buf)
    } else {
        0
    }
}

impl Tcb {
    /// Starts loading what a segment touches, the first line of the cold part included: the RTT estimator stands there.
    #[inline(always)]
    pub fn prefetch(&self) {
        prefetch_read(&self.snd_una);
        prefetch_read(&self.congestion);
        prefetch_read(&self.cold.params);
    }
}

impl Tcb {
    /// A connection that was never begun: a place for [`Tcb::begin`].
    fn blank(params: OpenParams, env: &Env<'_>) -> Self {
        Self {
            snd_una: SeqNum(0),
            snd_nxt: SeqNum(0),
            rtx_nxt: SeqNum(0),
            snd_sml: SeqNum(0),
            snd_wnd: SendWindow::default(),
            rcv: ReceiveWindow::default(),
            ts: TimestampState::default(),
            rto: Rto::initial(env.settings),
            congestion: Congestion::new(0, env.settings.initial_window),
            sent_ms: 0,
            rtx_timer: Deadline::OFF,
            ack_timer: Deadline::OFF,
            rtt_timer: RttTimer::default(),
            heard_ms: 0,
            mss: 0,
            bits: Bits::default(),
            ack: AckPolicy::default(),
            state: State::Closed,
            scales: 0,
            expiries: 0,
            timer_mode: TimerMode::Retransmit,
            has_ranges: false,
            cold: Cold::new(params),
        }
    }

    pub(super) fn new(params: OpenParams, env: &Env<'_>) -> Self {
        let mut tcb = Self::blank(params, env);
        tcb.begin(&params, env);
        tcb
    }

    /// A new connection in the place of the one that stood there. In place, because moving a connection costs as much as making
    /// it.
    #[inline(always)]
    pub(super) fn begin(&mut self, params: &OpenParams, env: &Env<'_>) {
        self.begin_on(params, &Terms::offered(params, env), env);
    }

    /// The same on these terms.
    #[inline(always)]
    pub(super) fn begin_on(&mut self, params: &OpenParams, terms: &Terms, env: &Env<'_>) {
        // Named without `..`, so that no field can be forgotten.
        let Self {
            snd_una,
            snd_nxt,
            rtx_nxt,
            snd_sml,
            snd_wnd,
            rcv,
            ts,
            rto,
            congestion,
            sent_ms,
            rtx_timer,
            ack_timer,
            rtt_timer,
            heard_ms,
            mss,
            bits,
            ack,
            state,
            scales,
            expiries,
            timer_mode,
            has_ranges,
            cold,
        } = self;
        (*snd_una, *snd_nxt, *rtx_nxt, *snd_sml) = (params.iss, params.iss, params.iss, params.iss);
        *snd_wnd = SendWindow::default();
        *rcv = ReceiveWindow::new(SeqNum(0), params.rcv_buf);
        *ts = TimestampState {
            offset: params.timestamp_offset,
            ..TimestampState::default()
        };
        *rto = Rto::initial(env.settings);
        *mss = terms.mss;
        *congestion = Congestion::new((*mss).into(), env.settings.initial_window);
        (*sent_ms, *heard_ms) = (ms(env.now), ms(env.now));
        (*rtx_timer, *ack_timer) = (Deadline::OFF, Deadline::OFF);
        *rtt_timer = RttTimer::default();
        (*bits, *scales) = (terms.bits, terms.scales);
        *ack = AckPolicy::default();
        *state = State::Closed;
        *expiries = 0;
        *timer_mode = TimerMode::Retransmit;
        *has_ranges = false;
        cold.begin(params, terms.peer_mss);
    }

    /// The negotiated options; before that, those that would be accepted.
    pub(super) fn negotiated(&self) -> Negotiated {
        Negotiated {
            peer_mss: self.cold.peer_mss,
            window_scale: self.bits.has(Bits::SCALING).then(|| self.snd_scale()),
            timestamps: self.bits.has(Bits::TIMESTAMPS),
            sack_permitted: self.bits.has(Bits::SACK_PERMITTED),
        }
    }

    /// The effective MSS that the peer and our link allow: what the path takes from it is not the connection's to remember.
    pub(super) fn full_mss(&self, env: &Env<'_>) -> u16 {
        let mss = self.cold.peer_mss.min(self.cold.params.local_mss);
        mss.saturating_sub(self.options_len())
            .max(env.settings.mss_min)
    }

    #[inline]
    pub(super) fn options_len(&self) -> u16 {
        self.negotiated().options_len()
    }
}

// Getters.
impl Tcb {
    /// The state.
    #[must_use]
    #[inline]
    pub const fn state(&self) -> State {
        self.state
    }

    /// When `on_timer` wants to be called next.
    #[must_use]
    #[inline]
    pub fn deadline(&self) -> Option<Instant> {
        let earliest = self.rtx_timer.earlier(self.ack_timer);
        if self.bits.has(Bits::SLOW_SET) {
            return self.deadline_or_slow(earliest);
        }
        earliest.instant()
    }

    /// Apart, or the compiler reads the slow timer's line for each connection, and looks at the bit afterwards.
    #[inline(never)]
    fn deadline_or_slow(&self, earliest: Deadline) -> Option<Instant> {
        earliest.earlier(self.cold.slow_timer).instant()
    }

    /// Why the connection ended, once it has.
    #[must_use]
    pub const fn close_reason(&self) -> Option<CloseReason> {
        self.cold.close_reason
    }

    /// The last ICMP error that the connection heard of.
    #[must_use]
    pub const fn soft_error(&self) -> Option<IcmpErrorKind> {
        self.cold.soft_error
    }

    /// Whether nothing is left to send or to wait for: the record can go.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        matches!(self.state, State::Closed | State::Listen) && !self.bits.has(Bits::RST_DUE)
    }

    /// Whether the retransmission timer has expired since the peer last acknowledged anything.
    #[must_use]
    #[inline]
    pub fn is_unanswered(&self) -> bool {
        self.expiries > 0 && self.timer_mode == TimerMode::Retransmit
    }

    /// How often the retransmission timer has expired in a row.
    #[must_use]
    #[inline]
    pub const fn timeouts(&self) -> u8 {
        self.expiries
    }

    /// Payload bytes of a full segment.
    #[must_use]
    #[inline]
    pub const fn mss(&self) -> u32 {
        self.mss as u32
    }

    /// Numbers sent and not acknowledged.
    #[must_use]
    #[inline]
    pub const fn flight(&self) -> u32 {
        self.snd_nxt.since(self.snd_una)
    }

    /// Numbers that the peer has acknowledged since the connection opened or was unparked, modulo 2^32.
    #[must_use]
    pub const fn acked_len(&self) -> u32 {
        self.snd_una.since(self.cold.params.iss)
    }

    /// Whether we open the connection and nothing has been sent yet.
    #[must_use]
    #[inline]
    pub fn is_syn_unsent(&self) -> bool {
        self.state == State::SynSent && self.snd_nxt == self.snd_una
    }

    /// Bytes received in order that the application has not taken.
    #[must_use]
    pub const fn unread(&self) -> u32 {
        self.rcv.queued()
    }

    /// SND.UNA, SND.NXT and RCV.NXT, for views and checks of ICMP quotes.
    #[must_use]
    pub const fn numbers(&self) -> (SeqNum, SeqNum, SeqNum) {
        (self.snd_una, self.snd_nxt, self.rcv.nxt)
    }

    /// RCV.WND in bytes, as the peer knows it.
    #[must_use]
    pub const fn receive_window(&self) -> u32 {
        self.rcv.size()
    }

    /// SND.WND in bytes.
    #[must_use]
    pub const fn send_window(&self) -> u32 {
        self.snd_wnd.size
    }

    /// Congestion control, for views.
    #[must_use]
    pub const fn congestion(&self) -> &Congestion {
        &self.congestion
    }

    /// Smoothed round-trip time in microseconds, once there was a sample.
    #[must_use]
    pub const fn srtt_us(&self) -> Option<u32> {
        self.cold.rtt.srtt_us()
    }

    /// The retransmission timeout, backoff included.
    #[must_use]
    pub const fn rto(&self) -> core::time::Duration {
        self.rto.duration()
    }

    /// Whether both SYNs permitted SACK: never before ours do ([`super::segment::OFFERS_SACK`]).
    #[must_use]
    pub const fn sack_permitted(&self) -> bool {
        self.bits.has(Bits::SACK_PERMITTED)
    }

    /// The ranges received ahead of gaps.
    #[must_use]
    pub fn out_of_order(&self) -> ArrayVec<Range, RANGES_MAX> {
        self.cold.reassembly.ranges().iter().copied().collect()
    }

    /// How many bytes of urgent data the application has still to read, if any were announced (MUST-33).
    #[must_use]
    pub const fn urgent_left(&self) -> Option<u32> {
        let fin = !self.state.takes_text() as u32; // once taken, it lies between the last byte and RCV.NXT
        let unread = self.rcv.nxt.sub(self.rcv.queued()).sub(fin);
        if self.bits.has(Bits::URGENT_IN) && self.cold.rcv_up.after(unread) {
            Some(self.cold.rcv_up.since(unread))
        } else {
            None
        }
    }

    /// The state of the connection that TIME-WAIT keeps; for any other state it makes no sense.
    #[must_use]
    pub fn to_time_wait(&self) -> TimeWaitTcb {
        TimeWaitTcb {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv.nxt,
            timestamps: self.bits.has(Bits::TIMESTAMPS).then_some(self.ts),
            deadline: self.cold.slow_timer,
            rcv_wnd: (self.rcv.size() >> self.rcv_scale()).min(0xffff) as u16,
            window_max: self.rcv.largest(),
            answers: self.cold.answers,
        }
    }
}

// Functions shared by the other files of the connection.
impl Tcb {
    /// The one place where the state changes. Says whether the diagram has the arrow.
    pub(super) fn transition(&mut self, event: Event, env: &mut Env<'_>) -> bool {
        let next = env.counters.transitions.step(self.state, event);
        if let Some(next) = next {
            self.state = next;
        }
        next.is_some()
    }

    /// Ends the connection for this reason.
    pub(super) fn finish(&mut self, event: Event, why: CloseReason, env: &mut Env<'_>) -> Events {
        if !self.transition(event, env) {
            return Events::NONE;
        }
        self.rtx_timer = Deadline::OFF;
        self.ack_timer = Deadline::OFF;
        self.stop_slow();
        self.cold.close_reason.get_or_insert(why);
        self.clear_ranges();
        Events::CLOSED
    }

    /// Forgets what was received ahead of gaps.
    pub(super) fn clear_ranges(&mut self) {
        self.cold.reassembly.clear();
        self.has_ranges = false;
    }

    pub(super) fn arm_slow(&mut self, now: Instant, delay: core::time::Duration) {
        self.cold.slow_timer = Deadline::after(now, delay);
        self.bits.set(Bits::SLOW_SET);
    }

    pub(super) const fn stop_slow(&mut self) {
        self.cold.slow_timer = Deadline::OFF;
        self.bits.clear(Bits::SLOW_SET);
    }

    /// Starts or stops the keepalive clock as the application chose. States with a slow deadline of their own keep it.
    #[inline(always)]
    pub(super) fn arm_keepalive(&mut self, env: &Env<'_>) {
        let applies = matches!(self.state, State::Established | State::CloseWait);
        //~ Without keepalive no clock runs: -> `if applies {`; what_is_queued_goes_in_full_segments_and_the_last_pushes
        if applies && env.settings.profile.keepalive {
            self.arm_slow(env.now, env.settings.profile.keepalive_idle);
        } else if applies {
            self.stop_slow();
        }
    }

    #[inline]
    pub(super) const fn snd_scale(&self) -> u8 {
        self.scales >> 4
    }

    #[inline]
    pub(super) const fn rcv_scale(&self) -> u8 {
        self.scales & 0x0f
    }

    /// Our SYN isn't acknowledged.
    #[must_use]
    #[inline]
    pub const fn is_opening(&self) -> bool {
        matches!(self.state, State::SynSent) || self.state.is_syn_received()
    }
}

/// The time in milliseconds, wrapping after 49 days.
#[inline]
pub(super) const fn ms(now: Instant) -> u32 {
    now.as_ms() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn the_hot_part_is_two_cache_lines() {
        assert_eq!(offset_of!(Tcb, cold), 128);
        // The lines that `prefetch` loads: one field of each.
        let lines = [
            offset_of!(Tcb, snd_una),
            offset_of!(Tcb, congestion),
            128 + offset_of!(Cold, params),
        ];
        assert_eq!(lines.map(|offset| offset / 64), [0, 1, 2]);
        // The only two of the cold part that an ordinary segment touches.
        assert!(offset_of!(Cold, rtt) < 64 && offset_of!(Cold, ts_recent_s) < 64);
        assert!(size_of::<Tcb>() <= 384, "{}", size_of::<Tcb>());
        assert_eq!(size_of::<Congestion>(), 20);
    }
}
