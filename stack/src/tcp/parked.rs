//! A parked connection: established, nothing queued, nothing unacknowledged (RFC 9293 §3.10.7.4, ESTABLISHED). [`ParkedTcb`]
//! is what is left of its [`Tcb`], [`parked_step`] what a segment does to it.
//!
//! It must never carry data: whatever brings data or a FIN has to unpark the connection first.

use super::ack::AckPolicy;
use super::answer_limits::{Answer, AnswerLimits};
use super::congestion::Congestion;
use super::env::Env;
use super::handshake::paws_rejects;
use super::negotiated::Negotiated;
use super::rtt::{Rto, RttEstimator};
use super::segment::{Flags, Segment};
use super::state::State;
use super::tcb::{OpenParams, Tcb, ms};
use super::timestamps;
use super::window::{ReceiveWindow, SendWindow, acceptable, is_ack_at_edge};
use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::time::Instant;

/// Whatever of these is set is still to be done.
const PENDING: u16 = Bits::FIN_WANTED
    | Bits::FIN_SENT
    | Bits::APP_CLOSED
    | Bits::RST_DUE
    | Bits::RTX_HEAD
    | Bits::PROBE_DUE
    | Bits::KEEPALIVE_DUE
    | Bits::FORCE_SEND
    | Bits::FIN_AHEAD
    | Bits::URGENT_OUT
    | Bits::SLOW_SET;

/// All that an established connection has to remember while nothing happens. SND.UNA equals SND.NXT.
///
/// It forgets MAX.SND.WND (the present window takes its place), the last ICMP error, and what NewReno remembers of
/// losses that are all repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParkedTcb {
    /// SND.NXT, and SND.UNA.
    pub snd_nxt: SeqNum,
    /// RCV.NXT, and Last.ACK.sent.
    pub rcv_nxt: SeqNum,
    /// RCV.WND, in bytes from `rcv_nxt`: what was offered and mustn't shrink (SHLD-14).
    pub rcv_wnd: u32,
    /// SND.WND as a header says it, not scaled.
    pub peer_window: u16,
    /// The negotiated options. The MSS of the peer is cut to the MTU of our link; the MTU of the path is kept elsewhere.
    pub negotiated: Negotiated,
    /// Rcv.Wind.Shift, 0 to 14; 0 without window scaling.
    pub rcv_scale: u8,
    /// TS.Recent; meaningless without timestamps.
    pub ts_recent: u32,
    /// When the peer was last heard, in whole seconds: the age of `ts_recent` (RFC 7323 §5.5).
    pub heard_s: u32,
    /// SRTT in microseconds; 0 before the first sample.
    pub srtt_us: u32,
    /// RTTVAR in microseconds.
    pub rttvar_us: u32,
    /// RTO in microseconds. A backoff lasts until the next sample (RFC 6298 §5), so it outlasts parking.
    pub rto_us: u32,
    /// cwnd in bytes; what is above the initial window is forgotten (RFC 5681 §4.1).
    pub cwnd: u32,
    /// ssthresh in bytes; `u32::MAX` before the first loss.
    pub ssthresh: u32,
    /// How often it answers what it can't accept.
    pub answers: AnswerLimits,
}

// Parking and unparking.
impl Tcb {
    /// The state to keep of this connection if it parks now; `None` unless it is ESTABLISHED and nothing whatsoever
    /// is pending: nothing in flight, no ACK or window update owed or delayed, nothing unread or ahead of a gap, no close,
    /// no urgent data. A connection with keepalive never parks: its timer stays with it.
    ///
    /// Three things are the caller's to know: `poll_output` has said `None`, nothing is queued for sending, and the
    /// connection has been idle for an RTO ([`Tcb::idle_ms`]). Parking earlier does no harm but that cwnd is cut.
    #[must_use]
    pub fn park(&self, env: &Env<'_>) -> Option<ParkedTcb> {
        let peer_window = self.snd_wnd.size >> self.snd_scale();
        //~ A connection does not park while an ACK waits: `&& self.ack.is_settled()` -> nothing;
        //~   whatever_is_pending_keeps_it_open
        let is_quiet = self.state == State::Established
            && self.flight() == 0
            && !self.bits.has(PENDING)
            && self.rtx_timer.is_off()
            && self.ack_timer.is_off()
            && self.ack.is_settled()
            && self.rcv.queued() == 0
            && self.cold.reassembly.is_empty()
            && self.urgent_left().is_none()
            && !env.settings.profile.keepalive
            // The window of a SYN-ACK isn't scaled. Scaled it may become zero, which would make us probe.
            && (peer_window > 0 || self.snd_wnd.size == 0);
        if !is_quiet {
            return None;
        }
        Some(ParkedTcb {
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv.nxt,
            rcv_wnd: self.rcv.size(),
            peer_window: peer_window.min(0xffff) as u16,
            negotiated: Negotiated {
                //~ Parking forgets what the path took: -> `peer_mss: self.mss + self.options_len(),`;
                //~   an_unparked_connection_goes_by_what_is_known_then
                peer_mss: self.full_mss(env) + self.options_len(),
                ..self.negotiated()
            },
            rcv_scale: self.rcv_scale(),
            ts_recent: self.ts.recent,
            heard_s: timestamps::now_s(env.now)
                .wrapping_sub(ms(env.now).wrapping_sub(self.heard_ms) / 1_000),
            srtt_us: self.cold.rtt.srtt_us().unwrap_or(0),
            rttvar_us: self.cold.rtt.rttvar_us(),
            rto_us: self.rto.us(),
            cwnd: self.congestion.window(),
            ssthresh: self.congestion.threshold(),
            answers: self.cold.answers,
        })
    }

    /// The same connection again. `params` brings what all connections of its kind have (MSS, buffer) and what can be
    /// computed again (timestamp offset); its ISS isn't looked at. cwnd is the restart window.
    #[must_use]
    pub fn unpark(params: OpenParams, parked: &ParkedTcb, env: &Env<'_>) -> Self {
        let mut tcb = Self::new(params, env);
        tcb.state = State::Established; // no arrow of the diagram: it never left
        tcb.bits = Bits::default();
        tcb.scales = parked.rcv_scale;
        tcb.set_negotiated(&parked.negotiated, env);
        tcb.snd_una = parked.snd_nxt;
        tcb.snd_nxt = parked.snd_nxt;
        tcb.rtx_nxt = parked.snd_nxt;
        tcb.snd_sml = parked.snd_nxt;
        let snd_wnd = u32::from(parked.peer_window) << tcb.snd_scale();
        tcb.snd_wnd = SendWindow::resume(snd_wnd, parked.rcv_nxt, parked.snd_nxt);
        tcb.rcv = ReceiveWindow::resume(parked.rcv_nxt, parked.rcv_wnd, params.rcv_buf);
        tcb.ts.recent = parked.ts_recent;
        tcb.ts.last_ack_sent = parked.rcv_nxt;
        tcb.cold.ts_recent_s = parked.heard_s;
        tcb.cold.irs = parked.rcv_nxt.sub(1); // what it receives is counted from here
        tcb.cold.rtt = RttEstimator::resume(parked.srtt_us, parked.rttvar_us);
        tcb.rto = Rto::from_estimate(parked.rto_us.into(), env.settings);
        tcb.congestion = Congestion::resume(
            parked.cwnd.max(tcb.mss()),
            parked.ssthresh,
            tcb.mss(),
            env.settings.initial_window,
        );
        tcb.ack = AckPolicy::default();
        tcb.cold.answers = parked.answers;
        tcb
    }

    /// Milliseconds since data was last sent for the first time or the peer was last heard, whichever is later; modulo
    /// 49 days.
    #[must_use]
    pub fn idle_ms(&self, now: Instant) -> u32 {
        idle_ms(self.sent_ms, self.heard_ms, now)
    }
}

/// [`Tcb::idle_ms`], by the two times that it goes by, in milliseconds.
pub(super) fn idle_ms(sent_ms: u32, heard_ms: u32, now: Instant) -> u32 {
    let since = |then_ms: u32| ms(now).wrapping_sub(then_ms);
    since(sent_ms).min(since(heard_ms))
}

/// The numbers that a parked connection keeps for judging segments. SND.UNA equals SND.NXT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParkedNumbers {
    /// SND.NXT, and SND.UNA.
    pub snd_nxt: SeqNum,
    /// RCV.NXT.
    pub rcv_nxt: SeqNum,
    /// RCV.WND in bytes.
    pub rcv_wnd: u32,
    /// The largest window that we ever offered, in bytes.
    pub rcv_wnd_max: u32,
    /// The largest window that the peer ever offered, in bytes (MAX.SND.WND of RFC 5961 §5.2).
    pub max_snd_wnd: u32,
    /// TS.Recent when timestamps are in use.
    pub ts_recent: Option<u32>,
}

/// The reaction of a parked connection to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParkedStep {
    /// Only acknowledgement, window or timestamp; nothing to answer.
    Ack,
    /// A valid reset: the connection ends.
    Reset,
    /// Answer `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>` within this budget, drop the segment.
    Answer(Answer),
    /// Drop without an answer.
    Drop,
    /// Data, urgent data ahead, or FIN: the connection must be unparked to take it.
    Unpark,
}

/// The step of RFC 9293 3.10.7.4 for ESTABLISHED, in the RFC's order, as far as a parked connection can take it.
#[must_use]
pub fn parked_step(parked: &ParkedNumbers, segment: &Segment) -> ParkedStep {
    let flags = segment.flags;
    //~ While it is parked, an ACK from the right edge counts:
    //~   `|| is_ack_at_edge(segment, parked.rcv_nxt, parked.rcv_wnd);` -> `;`;
    //~   an_acknowledgement_from_the_right_edge_counts
    let in_window = acceptable(segment.seq, segment.len(), parked.rcv_nxt, parked.rcv_wnd)
        || is_ack_at_edge(segment, parked.rcv_nxt, parked.rcv_wnd);
    if !in_window || paws_rejects(parked.ts_recent, segment.tsval(), flags) {
        return if flags.rst() {
            ParkedStep::Drop
        } else {
            //~ Junk for a parked connection silences no answer to old data: -> `ParkedStep::Answer(Answer::Challenge)`;
            //~   parked::junk_does_not_silence_the_answers_to_what_is_old
            ParkedStep::Answer(Answer::to(segment, parked.rcv_nxt, parked.rcv_wnd_max))
        };
    }
    if flags.rst() {
        //~ While it is parked, a RST must be exact: -> `return if true {`; resets_end_it_only_when_exact
        return if segment.seq == parked.rcv_nxt {
            ParkedStep::Reset
        } else {
            ParkedStep::Answer(Answer::Challenge)
        };
    }
    if flags.syn() {
        return ParkedStep::Answer(Answer::Challenge);
    }
    if !flags.ack() {
        return ParkedStep::Drop;
    }
    // RFC 5961 §5.2: SND.UNA - MAX.SND.WND =< SEG.ACK =< SND.NXT.
    if parked.snd_nxt.since(segment.ack) > parked.max_snd_wnd {
        return ParkedStep::Answer(Answer::Challenge);
    }
    if !segment.is_empty() || flags.contains(Flags::URG) {
        //~ Data unparks a parked connection: -> `ParkedStep::Ack`; data_and_fin_unpark_it_and_nothing_without_ack_does
        ParkedStep::Unpark
    } else {
        ParkedStep::Ack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARKED: ParkedNumbers = ParkedNumbers {
        snd_nxt: SeqNum(10),
        rcv_nxt: SeqNum(u32::MAX),
        rcv_wnd: 100,
        rcv_wnd_max: 1_000,
        max_snd_wnd: 50,
        ts_recent: None,
    };

    const CHALLENGE: ParkedStep = ParkedStep::Answer(Answer::Challenge);

    fn step(seq: u32, ack: u32, flags: Flags, payload_len: u32) -> ParkedStep {
        let (seq, ack) = (SeqNum(seq), SeqNum(ack));
        let segment = Segment {
            seq,
            ack,
            flags,
            payload_len,
            ..Segment::default()
        };
        parked_step(&PARKED, &segment)
    }

    #[test]
    fn resets_end_it_only_when_exact() {
        assert_eq!(step(u32::MAX, 0, Flags::RST, 0), ParkedStep::Reset);
        assert_eq!(step(0, 0, Flags::RST, 0), CHALLENGE);
        assert_eq!(step(99, 0, Flags::RST, 0), ParkedStep::Drop);
    }

    #[test]
    fn syns_are_challenged_wherever_they_lie() {
        for seq in [0, 50, 5_000, u32::MAX] {
            assert_eq!(step(seq, 10, Flags::SYN, 0), CHALLENGE);
            assert_eq!(step(seq, 10, Flags::SYN_ACK, 0), CHALLENGE);
        }
        // The SYN-ACK again, because our ACK of it was lost.
        let answer = ParkedStep::Answer(Answer::OldText);
        assert_eq!(step(u32::MAX - 1, 10, Flags::SYN_ACK, 0), answer);
    }

    #[test]
    fn acknowledgements_of_the_future_or_the_distant_past_are_challenged() {
        assert_eq!(step(u32::MAX, 10, Flags::ACK, 0), ParkedStep::Ack);
        assert_eq!(
            step(u32::MAX, 10u32.wrapping_sub(50), Flags::ACK, 0),
            ParkedStep::Ack
        );
        assert_eq!(
            step(u32::MAX, 10u32.wrapping_sub(51), Flags::ACK, 0),
            CHALLENGE
        );
        assert_eq!(step(u32::MAX, 11, Flags::ACK, 0), CHALLENGE);
    }

    /// As an open connection takes it: the peer has sent all that the window takes, and it got lost.
    #[test]
    fn an_acknowledgement_from_the_right_edge_counts() {
        let edge = u32::MAX.wrapping_add(100);
        assert_eq!(step(edge, 10, Flags::ACK, 0), ParkedStep::Ack);
        assert_eq!(step(edge, 11, Flags::ACK, 0), CHALLENGE);
        assert_eq!(step(edge, 10, Flags::ACK, 1), CHALLENGE);
        assert_eq!(step(edge, 10, Flags::ACK | Flags::FIN, 0), CHALLENGE);
        assert_eq!(step(edge, 10, Flags::RST, 0), ParkedStep::Drop);
        assert_eq!(step(edge + 1, 10, Flags::ACK, 0), CHALLENGE);
    }

    #[test]
    fn data_and_fin_unpark_it_and_nothing_without_ack_does() {
        assert_eq!(step(u32::MAX, 10, Flags::ACK, 1), ParkedStep::Unpark);
        assert_eq!(
            step(u32::MAX, 10, Flags::ACK | Flags::FIN, 0),
            ParkedStep::Unpark
        );
        assert_eq!(
            step(u32::MAX, 10, Flags::ACK | Flags::URG, 0),
            ParkedStep::Unpark
        );
        assert_eq!(step(u32::MAX, 10, Flags::NONE, 1), ParkedStep::Drop);
        assert_eq!(step(200, 10, Flags::ACK, 1), CHALLENGE);
    }
}
