//! Commands of the application, or of the network layer on its behalf, to a connection: close, shutdown, abort, read, options,
//! urgent data, ICMP errors. RFC 9293 §3.9.1 and §3.10.
//!
//! It must never send: what follows from a command comes out of `poll_output`.

use core::time::Duration;

use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::tcp::deadline::Deadline;
use crate::tcp::env::Env;
use crate::tcp::state::{Event, State};
use crate::tcp::tcb::Tcb;
use crate::tcp::verdict::{CloseReason, Events, IcmpErrorKind};

/// How soon an ACK that could not be sent is tried again, at the earliest: buffers come back when the NIC has sent some.
const UNSENT_ACK_DELAY: Duration = Duration::from_millis(10);

impl Tcb {
    /// The application wants neither to send nor to read any more (§3.10.4). What is queued is sent first, then a FIN.
    /// Unread data means that the peer is reset instead (RFC 1122 §4.2.2.13), and so does data that arrives later; a profile may
    /// say so of every close.
    pub fn close(&mut self, env: &mut Env<'_>) -> Events {
        self.bits.set(Bits::APP_CLOSED);
        //~ A close resets where the profile says so: -> `if false {`; closing_may_reset
        if env.settings.profile.resets_on_close {
            return self.abort_because(CloseReason::Aborted, env);
        }
        if self.rcv.queued() > 0 && (self.state.takes_text() || self.state == State::CloseWait) {
            //~ Closing with unread data resets; closing_with_unread_data_resets
            return self.abort_because(CloseReason::UnreadData, env);
        }
        if self.state == State::FinWait2 {
            //~ FIN-WAIT-2 also ends when the application closes later;
            //~   a_half_closed_connection_still_receives_without_a_time_limit
            self.arm_slow(env.now, env.settings.profile.fin_wait_2);
        }
        self.shutdown(env)
    }

    /// Whether the application has closed for good: bytes that are still queued will not be read.
    #[must_use]
    #[inline]
    pub const fn app_has_closed(&self) -> bool {
        self.bits.has(Bits::APP_CLOSED)
    }

    /// The application sends no more, but reads on (half-close, MAY-1). What is queued is sent first, then a FIN.
    pub fn shutdown(&mut self, env: &mut Env<'_>) -> Events {
        match self.state {
            State::SynSent => self.finish(Event::Close, CloseReason::Graceful, env),
            // Queued until ESTABLISHED, as §3.10.4 has it for data; the FIN is no different.
            State::SynReceivedPassive | State::SynReceivedActive => {
                self.bits.set(Bits::FIN_WANTED);
                Events::NONE
            }
            State::Established | State::CloseWait => {
                self.bits.set(Bits::FIN_WANTED);
                self.transition(Event::Close, env);
                Events::NONE
            }
            _ => Events::NONE,
        }
    }

    /// Ends the connection at once (§3.10.5); `poll_output` gives the reset where the state asks for one. Bytes that
    /// are still queued will not be read, not even of a connection that has ended well.
    pub fn abort(&mut self, env: &mut Env<'_>) -> Events {
        //~ After an abort the app reads nothing; by_abort_after_both_have_ended_with_bytes_unread
        self.bits.set(Bits::APP_CLOSED);
        self.abort_because(CloseReason::Aborted, env)
    }

    /// Ends the connection because others need what it holds ([`CloseReason::Evicted`], RFC 6429).
    pub fn evict(&mut self, env: &mut Env<'_>) -> Events {
        self.abort_because(CloseReason::Evicted, env)
    }

    pub(super) fn abort_because(&mut self, reason: CloseReason, env: &mut Env<'_>) -> Events {
        let resets = self.state.is_syn_received()
            || self.state.takes_text()
            || self.state == State::CloseWait;
        let events = self.finish(Event::Abort, reason, env);
        if resets {
            self.bits.set(Bits::RST_DUE);
        }
        events
    }

    /// Whether the application may queue more text: until it has closed its direction, or the connection is over.
    #[must_use]
    #[inline]
    pub const fn may_queue(&self) -> bool {
        let open = self.state.sends_text()
            || matches!(self.state, State::SynSent)
            || self.state.is_syn_received();
        open && !self.bits.has(Bits::FIN_WANTED)
    }

    /// The IP layer found no way to the peer: its neighbour, or the router's, doesn't answer. Before the connection is
    /// synchronised this ends it (EHOSTUNREACH at once, as hosts do for their own link; MUST-56 speaks of ICMP, which
    /// anybody may send); afterwards it is remembered as a soft error.
    pub fn on_no_route(&mut self, env: &mut Env<'_>) -> Events {
        let error = IcmpErrorKind::Unreachable;
        self.cold.soft_error = Some(error);
        if self.state == State::SynSent {
            return self.finish(Event::Timeout, CloseReason::Unreachable(error), env);
        }
        Events::NONE
    }

    /// The segment that `poll_output` gave last could not be built, for want of a buffer or a way. What it carried is
    /// repeated by its timer; an ACK has none, so it is owed again in a moment.
    pub fn on_unsent(&mut self, env: &Env<'_>) {
        let has_acks = self.state.takes_text() || self.state.sends_text();
        if has_acks && self.ack_timer.is_off() {
            let delay = env.settings.profile.ack_delay.max(UNSENT_ACK_DELAY);
            self.ack_timer = Deadline::after(env.now, delay);
        }
    }

    /// The application took `len` bytes of what was received. When that opens the window far enough, the peer hears of it at
    /// once. Nothing else makes a window update: a SYN-ACK offers less than the buffer has, for want of a scale, and the
    /// next segment that goes anyway says the rest.
    #[inline]
    pub fn on_read(&mut self, len: u32) {
        self.rcv.read(len);
        //~ Urgent data that was read is over: `self.bits.has(Bits::URGENT_IN)` -> `false`;
        //~   urgent_data_that_was_read_is_over
        if self.bits.has(Bits::URGENT_IN) && self.urgent_left().is_none() {
            self.bits.clear(Bits::URGENT_IN);
        }
        if self.state.takes_text() && self.rcv.wants_update(self.mss(), self.rcv_scale()) {
            //~ Reading opens the window by a segment of its own;
            //~   a_closed_receive_window_answers_probes_and_reopens_by_a_segment
            self.ack.now();
        }
    }

    /// The application has chosen another profile, whose settings are those of `env`.
    pub fn on_profile(&mut self, env: &Env<'_>) {
        //~ Another profile brings its buffer; a_larger_buffer_is_offered_at_once_when_it_is_read_into
        self.rcv.set_buf(env.settings.profile.rcv_buf);
        //~ Keepalive's switch on a living connection; keepalive_can_be_switched_on_a_living_connection
        self.arm_keepalive(env);
    }

    /// The last of the `queued` bytes, which begin with the oldest that isn't acknowledged, is the last urgent one: the
    /// pointer of what is sent from here on points behind it (MUST-62).
    pub fn mark_urgent(&mut self, queued: u32) {
        let syn = u32::from(self.is_opening());
        //~ The SYN does not count as urgent data: `queued + syn` -> `queued + 0 * syn`;
        //~   what_is_marked_before_the_handshake_is_urgent_after_it
        self.cold.snd_up = self.snd_una.add(queued + syn);
        self.bits.set(Bits::URGENT_OUT);
    }

    /// An ICMP error quoted this sequence number of ours. Recorded (MUST-47, MUST-54); only a hard one ends a
    /// connection, and only before it is synchronised (RFC 5927 §5.2). Ignored unless the number is in flight (§4.1).
    ///
    /// `None` when it is ignored.
    pub fn on_icmp(
        &mut self,
        error: IcmpErrorKind,
        quoted_seq: SeqNum,
        env: &mut Env<'_>,
    ) -> Option<Events> {
        //~ ICMP must quote what is in flight: -> `if false {`; icmp_is_recorded_and_shows_in_the_reason
        if !self.quotes_flight(quoted_seq, env) {
            return None;
        }
        self.cold.soft_error = Some(error);
        let is_synchronised = !matches!(self.state, State::SynSent | State::SynReceivedActive);
        //~ ICMP ends nothing that is synchronised: `&& !is_synchronised` -> nothing;
        //~   icmp_is_recorded_and_shows_in_the_reason
        if error == IcmpErrorKind::PortUnreachable && !is_synchronised {
            return Some(self.finish(Event::Timeout, CloseReason::Unreachable(error), env));
        }
        Some(Events::NONE)
    }
}
