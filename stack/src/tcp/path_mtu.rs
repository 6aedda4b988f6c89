//! The path's MTU as a connection sees it: what a full segment is, what happens when that changes under what is in flight
//! (RFC 1191 §6.4, RFC 8201 §5.4), and paths that swallow large segments without a word (RFC 4821 §7.7, RFC 2923 §2.1).
//!
//! It must never take a segment that didn't fit for a sign of congestion.

use crate::bits::Bits;
use crate::seq::SeqNum;
use crate::tcp::black_hole::BlackHole;
use crate::tcp::deadline::Deadline;
use crate::tcp::env::Env;
use crate::tcp::retransmit::TimerMode;
use crate::tcp::tcb::Tcb;
use crate::tcp::verdict::Events;

impl Tcb {
    /// The path carries segments of `path_mss` bytes, options included (MUST-16). Called when the connection opens and
    /// whenever more is known of the path; never goes below `Settings::mss_min`.
    ///
    /// Data in flight that may be too large is sent again at once, in smaller segments, within the congestion window
    /// that stays as it was: nothing was lost by congestion (RFC 1191 §6.4).
    pub fn set_path_mss(&mut self, path_mss: u16, env: &Env<'_>) {
        self.cold.params.path_mss = path_mss;
        let mut mss = self.carried_mss(env);
        //~ A suspicion outlasts news of the path: -> `if false {`; a_suspicion_outlasts_news_of_the_path
        if matches!(self.cold.black_hole, BlackHole::Suspected { .. }) {
            mss = mss.min(self.floor_mss(env));
        }
        let is_smaller = mss < self.mss;
        self.mss = mss;
        //~ cwnd has room for the larger segment; a_path_that_carries_more_again_is_used
        self.congestion.at_least(mss.into());
        //~ Data that fits a smaller path is not sent again: `self.flight() > mss.into()` -> `self.flight() > 0`;
        //~   what_fits_a_smaller_path_is_not_sent_again
        let may_be_too_large = self.flight() > mss.into();
        if is_smaller && may_be_too_large && !self.is_opening() {
            //~ Data in flight that is too large is sent again at once;
            //~   what_is_too_large_is_cut_again_at_once_and_that_is_no_congestion
            self.rtx_nxt = self.snd_una;
            self.bits.clear(Bits::RTX_HEAD);
            if self.timer_mode == TimerMode::Retransmit {
                //~ Data that is cut again gets a whole timeout; what_is_cut_again_gets_a_whole_timeout
                self.rtx_timer = Deadline::after_us(env.now, self.rto.us());
            }
        }
    }

    /// The MSS that the path carries, options included, as last reported.
    #[must_use]
    #[inline]
    pub const fn path_mss(&self) -> u16 {
        self.cold.params.path_mss
    }

    /// Whether an ICMP error that quotes this number of ours is about something in flight (RFC 5927 §4.1); counted where it
    /// isn't.
    pub fn quotes_flight(&self, quoted_seq: SeqNum, env: &mut Env<'_>) -> bool {
        let is_in_flight = quoted_seq.in_window(self.snd_una, self.flight());
        env.counters.icmp_out_of_window += u64::from(!is_in_flight);
        is_in_flight
    }

    /// The effective MSS by what the peer takes and the path carries.
    fn carried_mss(&self, env: &Env<'_>) -> u16 {
        let mss = self.cold.peer_mss.min(self.cold.params.path_mss);
        mss.saturating_sub(self.options_len())
            .max(env.settings.mss_min)
    }

    /// The size that every path carries: the default of [`OpenParams::default_peer_mss`] is what the least MTU of the family leaves.
    ///
    /// [`OpenParams::default_peer_mss`]: crate::tcp::tcb::OpenParams::default_peer_mss
    fn floor_mss(&self, env: &Env<'_>) -> u16 {
        let floor = self.cold.params.default_peer_mss;
        floor
            .saturating_sub(self.options_len())
            .max(env.settings.mss_min)
    }

    /// The retransmission timer expired: are only the full segments lost? After so many expiries the oldest bytes go out in
    /// a segment that every path carries. An outage looks the same, so the answer to it is followed by full segments
    /// again; if one is lost before anything as large as those that vanished was acknowledged, the path is a black hole, and
    /// [`Events::BLACK_HOLE`] says so.
    pub(super) fn look_for_black_hole(&mut self, env: &mut Env<'_>) -> Events {
        let floor = self.floor_mss(env);
        //~ Any segment above the floor may vanish, full or not: `self.flight() > u32::from(floor)`
        //~   -> `self.flight() >= u32::from(self.mss)`; a_black_hole_swallows_segments_that_are_not_full
        let is_large = self.flight() > u32::from(floor);
        //~ Small segments say nothing about sizes: `|| !is_large` -> nothing; small_segments_make_no_black_hole
        if self.mss <= floor || !is_large {
            return Events::NONE;
        }
        match self.cold.black_hole {
            //~ A trial of a full segment that was answered is over: `if self.snd_una.since(una) < vanished.into() =>`
            //~   -> `if { let _ = (una, vanished); true } =>`; an_outage_is_no_black_hole
            //~ Only a segment as large as those that vanished answers a trial:
            //~   `if self.snd_una.since(una) < vanished.into() =>`
            //~   -> `if { let _ = vanished; self.snd_una == una } =>`;
            //~   what_is_left_of_a_segment_proves_nothing_about_its_size
            //~ A full segment lost again makes a black hole: `self.snd_una.since(una) < vanished.into() => {`
            //~   -> `self.snd_una.since(una) < vanished.into() && false => {`; a_black_hole_is_found_by_silence
            BlackHole::Trial { una, vanished } if self.snd_una.since(una) < vanished.into() => {
                self.cold.black_hole = BlackHole::None;
                env.counters.black_holes += 1;
                self.set_path_mss(self.cold.params.default_peer_mss, env);
                return Events::BLACK_HOLE;
            }
            //~ No black hole is suspected before the third expiry: -> `_ if true => {`;
            //~   a_black_hole_is_found_by_silence
            _ if self.expiries >= env.settings.black_hole_expiries => {
                let vanished = self.flight().min(self.mss.into()) as u16;
                self.cold.black_hole = BlackHole::Suspected { vanished };
                env.counters.black_holes_suspected += 1;
                //~ Full segments that vanish are tried as small ones; a_black_hole_is_found_by_silence
                self.mss = floor;
            }
            _ => self.cold.black_hole = BlackHole::None,
        }
        Events::NONE
    }

    /// New data was acknowledged after an expiry.
    pub(super) fn answered_after_expiry(&mut self, env: &Env<'_>) {
        if let BlackHole::Suspected { vanished } = self.cold.black_hole {
            let una = self.snd_una;
            self.cold.black_hole = BlackHole::Trial { una, vanished };
            //~ After a small segment was answered a full one is tried; an_outage_is_no_black_hole
            self.mss = self.carried_mss(env);
            self.congestion.at_least(self.mss.into());
        }
    }
}
