//! The invariants of a connection, checked after every call.
//!
//! It must never be asked by what runs: it is for tests, the simulated world and the fuzzers.

use crate::bits::Bits;
use crate::tcp::reassembly::Range;
use crate::tcp::state::State;
use crate::tcp::tcb::Tcb;
use crate::tcp::window;

impl Tcb {
    /// Checks the invariants that hold after every call, whatever a peer sends. For tests and the simulated world.
    ///
    /// # Errors
    /// The first relation that doesn't hold.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        self.check_numbers()?;
        self.check_bits()
    }

    fn check_numbers(&self) -> Result<(), &'static str> {
        let (una, flight) = (self.snd_una, self.flight());
        if flight > i32::MAX as u32 {
            return Err("snd_una is behind snd_nxt");
        }
        if self.rtx_nxt.since(una) > flight {
            return Err("rtx_nxt lies outside of snd_una..=snd_nxt");
        }
        if self.rcv.size() > 0xffff << window::SCALE_MAX {
            return Err("the receive window is wider than a field can say");
        }
        let outside = |r: &Range| {
            !r.start.after(self.rcv.nxt) || r.end.after(self.rcv.edge()) || !r.start.before(r.end)
        };
        if self.cold.reassembly.ranges().iter().any(outside) {
            return Err("a range lies outside of the receive window");
        }
        if self.congestion.window() < u32::from(self.mss).min(1) {
            return Err("cwnd is zero");
        }
        if self.has_ranges == self.cold.reassembly.is_empty() {
            return Err("has_ranges doesn't say whether there are ranges");
        }
        let is_over = matches!(self.state, State::Closed | State::Listen);
        if is_over && self.deadline().is_some() {
            return Err("a closed connection waits for a timer");
        }
        let waits = flight > 0
            && !is_over
            && !self.bits.has(Bits::PROBE_DUE)
            && self.rtx_nxt == self.snd_nxt;
        if waits && self.rtx_timer.is_off() {
            return Err("something is in flight and no timer runs");
        }
        Ok(())
    }

    /// The bits that follow from others: prediction looks at these only.
    fn check_bits(&self) -> Result<(), &'static str> {
        let is_over = matches!(self.state, State::Closed | State::Listen);
        if self.bits.has(Bits::RST_DUE) && !is_over {
            return Err("a reset is due of a connection that isn't over");
        }
        if self.bits.has(Bits::RTX_HEAD) && self.rtx_nxt == self.snd_nxt {
            return Err("the oldest segment is to be sent again, and nothing is");
        }
        if self.bits.has(Bits::FIN_AHEAD) && self.is_opening() {
            return Err("a FIN was taken before the connection opened");
        }
        if self.bits.has(Bits::APP_CLOSED) && !self.bits.has(Bits::FIN_WANTED) && !is_over {
            return Err("the application has closed, and no FIN is wanted");
        }
        if self.bits.has(Bits::FIN_WANTED) && self.state == State::SynSent {
            return Err("a close has not withdrawn an open");
        }
        let is_half_closed = matches!(self.state, State::FinWait2 | State::TimeWait);
        if is_half_closed && !self.bits.has(Bits::FIN_SENT) {
            return Err("our FIN was acknowledged and never sent");
        }
        if self.state == State::SynSent
            && self.flight() > 0
            && !self.bits.has(Bits::SYN_LOST)
            && (self.rtx_nxt != self.snd_nxt || self.expiries > 0)
        {
            return Err("our SYN was lost, and no bit says so");
        }
        Ok(())
    }
}
